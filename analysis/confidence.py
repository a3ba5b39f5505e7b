"""How well a number is known: intervals over seeds, and over blocks of a series in time.

Seeds are independent, and few: their mean has a t interval. Runs with all combinations of several seeds (of networks,
of inputs) share them, and are fewer than they look: `crossed_interval`. Windows in time are many, and correlated:
consecutive ones go together in blocks that are long against the correlations. A quantity that all neurons share, as
they do the covariance of correlated input, has an error that no number of neurons lowers: `common_mode_error`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A value with its confidence interval.

    Parameters
    ----------
    value, low, high : float
        The estimate and its limits; limits are NaN if there is too little to know them from.
    error : float
        Standard error.
    """

    value: float
    low: float
    high: float
    error: float

    def excludes(self, value: float) -> bool:
        """Say whether a value is outside; never of limits that are not known."""
        return value < self.low or value > self.high

    def __str__(self) -> str:
        """Format with the limits: "0.52 [0.47, 0.57]"."""
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def t_interval(values: ArrayLike, level: float = LEVEL) -> Interval:
    """Estimate a mean over independent repetitions; for paired ones, give it their differences.

    Parameters
    ----------
    values : array_like of float, shape (R,)
        One value a repetition.
    level : float
        Confidence.

    Returns
    -------
    Interval
        Student's t with R - 1 degrees of freedom; without limits for R = 1.

    Raises
    ------
    ValueError
        If there is no value, or one that is not finite.
    """
    observed = np.asarray(values, np.float64)
    if observed.size == 0 or not np.isfinite(observed).all():
        raise ValueError(f"values = {observed.tolist()}: must be finite, and at least one; leave out what failed")
    return crossed_interval(observed.reshape(-1), level)


def crossed_interval(values: ArrayLike, level: float = LEVEL) -> Interval:
    r"""Estimate a mean over repetitions that share random causes: those in a row one, those in a column another.

    Means over all other axes scatter along an axis by what its cause does, and by a share of what no cause explains.
    The squared errors along the axes add up, so that the latter is counted once an axis: the interval is rather too
    wide. Its degrees of freedom are Satterthwaite's, :math:`(\sum v_i)^2 / \sum v_i^2 / (n_i - 1)`.

    Parameters
    ----------
    values : array_like of float
        An axis for each cause, such as the seed of the network and that of its input; NaN where a value is missing.
    level : float
        Confidence.

    Returns
    -------
    Interval
        Of one axis, Student's t; without limits where no axis has two values, NaN where there is no value.
    """
    observed = np.asarray(values, np.float64)
    known = np.isfinite(observed)
    if not known.any():
        return Interval(np.nan, np.nan, np.nan, np.nan)
    mean, squares, freedoms = float(observed[known].mean()), [], []
    for axis in range(observed.ndim):
        rows = zip(np.moveaxis(observed, axis, 0), np.moveaxis(known, axis, 0), strict=True)
        means = [row[there].mean() for row, there in rows if there.any()]
        if len(means) > 1:
            squares.append(float(np.var(means, ddof=1)) / len(means))
            freedoms.append(len(means) - 1)
    if not squares:
        return Interval(mean, np.nan, np.nan, np.nan)
    error = sqrt(sum(squares))
    freedom = sum(squares) ** 2 / sum(v * v / n for v, n in zip(squares, freedoms, strict=True)) if error > 0 else 1.0
    reach = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    return Interval(mean, mean - reach, mean + reach, error)


def bootstrap(
    statistic: Callable[[NDArray[Any]], float],
    observations: NDArray[Any],
    blocks: int | None = None,
    level: float = LEVEL,
    resamples: int = 1000,
    seed: int = 1,
) -> Interval:
    """Estimate any statistic of a series, or of repetitions, by the block bootstrap.

    Parameters
    ----------
    statistic : callable
        From observations to a number.
    observations : ndarray, shape (W, ...)
        Windows in the order of time, or repetitions.
    blocks : int, optional
        Number of blocks of consecutive observations that are drawn together, with replacement; each observation by
        itself if not given. Correlations in time are short against W / blocks.
    level : float
        Confidence; the limits are percentiles.
    resamples : int
        How often to draw; the limits are known to about 1 / sqrt(resamples) of their distance.
    seed : int
        Of the draws.

    Returns
    -------
    Interval
        The statistic of the observations themselves, with the standard deviation of the draws as its error.

    Raises
    ------
    ValueError
        If there are fewer than two blocks, or fewer observations than blocks.
    """
    blocks = len(observations) if blocks is None else blocks
    if not 2 <= blocks <= len(observations):
        raise ValueError(f"blocks = {blocks}: must be from 2 to the number of observations, {len(observations)}")
    parts = np.array_split(np.arange(len(observations)), blocks)
    rng = np.random.default_rng(seed)
    drawn = [
        statistic(observations[np.concatenate([parts[block] for block in rng.integers(0, blocks, blocks)])])
        for _ in range(resamples)
    ]
    low, high = np.percentile(drawn, [50 * (1 - level), 50 * (1 + level)])
    return Interval(float(statistic(observations)), float(low), float(high), float(np.std(drawn, ddof=1)))


def block_error(values: Array, blocks: int, covariates: Sequence[NDArray[np.generic]] = ()) -> float:
    """Estimate the standard error of a series' mean from the means of consecutive blocks.

    Without covariates this is what `bootstrap` of the mean tends to, but for a factor sqrt(1 - 1 / blocks).

    Parameters
    ----------
    values : ndarray
        Series [W]; its correlations are short against W / blocks.
    blocks : int
        Number of blocks; without covariates, at most W / 2 are used.
    covariates : sequence of ndarray
        Known causes of fluctuation [blocks]; what a linear regression on them explains is not counted as error.

    Returns
    -------
    float
        NaN if there are too few blocks.
    """
    blocks = blocks if covariates else min(blocks, len(values) // 2)
    if blocks < 2 + len(covariates) or len(values) < blocks:
        return np.nan
    means = np.array([block.mean() for block in np.array_split(values, blocks)])
    design = np.column_stack([np.ones(blocks), *covariates])
    residual = means - design @ np.linalg.lstsq(design, means, rcond=None)[0]
    return float(np.linalg.norm(residual)) / sqrt((blocks - design.shape[1]) * blocks)


def common_mode_error(windows: int) -> float:
    """Relative standard error of a covariance that all pairs share, sqrt(2 / (W - 1)): more neurons do not lower it.

    Parameters
    ----------
    windows : int
        W.

    Returns
    -------
    float
    """
    return sqrt(2 / (windows - 1))
