r"""How a quantity scales with the size of the network: exponents, their change with size, and what lies beyond.

Values come as [S, R], by size and seed. Each seed gives an estimate of its own, of log value as a function of log N
(the mean over seeds is thus a geometric one), and the t interval over seeds tells how well it is known, whatever the
spread at each size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.confidence import LEVEL, Interval, t_interval

Array = NDArray[np.float64]


def exponent(sizes: Sequence[float], values: ArrayLike, level: float = LEVEL) -> Interval:
    """Fit the exponent of a power law by least squares in log-log.

    Parameters
    ----------
    sizes : sequence of float
        N [S], at least two different ones.
    values : array_like of float, shape (S, R)
        By size and seed, all positive.
    level : float
        Confidence.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If sizes or values are of the wrong number, or a value is not positive and has no logarithm.
    """
    return _over_seeds(sizes, values, 1, level)[0]


def local_exponents(sizes: Sequence[float], values: ArrayLike, level: float = LEVEL) -> list[Interval]:
    """Compute the exponents between neighbouring sizes [S - 1]; parameters as for `exponent`."""
    x, y = _logarithms(sizes, values, 2)
    return [t_interval(slopes, level) for slopes in np.diff(y, axis=0) / np.diff(x)[:, None]]


def convexity(sizes: Sequence[float], values: ArrayLike, level: float = LEVEL) -> Interval:
    """Fit the curvature in log-log, which a power law has not: change of the exponent by factor e of N.

    Parameters
    ----------
    sizes, values, level
        As for `exponent`, of at least three sizes.

    Returns
    -------
    Interval
        Twice the quadratic coefficient; an interval above zero means that the exponent grows with N.
    """
    quadratic = _over_seeds(sizes, values, 2, level)[0]
    return Interval(2 * quadratic.value, 2 * quadratic.low, 2 * quadratic.high, 2 * quadratic.error)


def extrapolation(sizes: Sequence[float], values: ArrayLike, size: float, level: float = LEVEL) -> Interval:
    """Continue the power law to another size.

    Parameters
    ----------
    sizes, values, level
        As for `exponent`.
    size : float
        N to continue to.

    Returns
    -------
    Interval
        Geometric mean over seeds and its limits; the error is relative to it. The limits know of the scatter between
        seeds only: look at `convexity` for whether there is a power law to continue.
    """
    at = _over_seeds([n / size for n in sizes], values, 1, level)[1]
    return Interval(float(np.exp(at.value)), float(np.exp(at.low)), float(np.exp(at.high)), at.error)


def limit(sizes: Sequence[float], values: ArrayLike, order: float = -0.5, level: float = LEVEL) -> Interval:
    r"""Extrapolate to infinite size what approaches its limit as :math:`v_\infty + a N^{order}`.

    Parameters
    ----------
    sizes : sequence of float
        N [S], at least two different ones.
    values : array_like of float, shape (S, R)
        By size and seed, of any sign.
    order : float
        Exponent of the leading correction, negative: -1/2 for the rates and weights of a balanced network.
    level : float
        Confidence.

    Returns
    -------
    Interval
    """
    x, y = _checked(sizes, values, 2)
    return t_interval(np.polyfit(x**order, y, 1)[1], level)


def _over_seeds(sizes: Sequence[float], values: ArrayLike, degree: int, level: float) -> list[Interval]:
    """Fit a polynomial in log-log to each seed; its coefficients, that of the highest power first."""
    x, y = _logarithms(sizes, values, degree + 1)
    return [t_interval(coefficients, level) for coefficients in np.polyfit(x, y, degree)]


def _logarithms(sizes: Sequence[float], values: ArrayLike, fewest: int) -> tuple[Array, Array]:
    x, y = _checked(sizes, values, fewest)
    for size, seeds in zip(x, y, strict=True):
        if np.any(seeds <= 0):
            raise ValueError(f"a value at N = {size:g} is {seeds.min():.3g}: it has no logarithm; measure for longer")
    return np.log(x), np.log(y)


def _checked(sizes: Sequence[float], values: ArrayLike, fewest: int) -> tuple[Array, Array]:
    x, y = np.array(sizes, np.float64), np.asarray(values, np.float64)
    if y.ndim != 2 or len(y) != len(x):
        raise ValueError(f"values of shape {y.shape} do not fit {len(x)} sizes; give [sizes, seeds]")
    if len(np.unique(x)) < fewest:
        raise ValueError(f"sizes = {x.tolist()}: at least {fewest} different ones are needed; add sizes")
    if not np.isfinite(y).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(y))} values are not finite; leave out what failed")
    return x, y
