"""Spike-count covariance and correlation by pair of populations, in O(N) from population sums.

Three numbers are often called "the correlation", and theory predicts the first and the second: the mean covariance of
pairs; the ratio of mean covariance to mean variance; the mean of the pairwise correlation coefficient. All pairs are
i != j, and all variances have ddof 1. A silent neuron (no variance) counts as zero in covariances and variances, and is
left out of the coefficient, which it does not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from analysis.confidence import block_error

Array = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class PairStatistics:
    """Means over the pairs of two populations, or of one with itself.

    Parameters
    ----------
    covariance, coefficient : float
        Mean covariance [spikes squared] and mean correlation coefficient.
    ratio : float
        Mean covariance over mean variance (geometric mean of both populations' variances).
    covariance_error, coefficient_error, ratio_error : float
        Their standard errors, from blocks of consecutive windows; NaN with fewer than four windows.
    pairs, active_pairs : int
        Number of pairs in the covariance and in the coefficient.
    """

    covariance: float
    covariance_error: float
    coefficient: float
    coefficient_error: float
    ratio: float
    ratio_error: float
    pairs: int
    active_pairs: int


def pair_statistics(first: Counts, second: Counts | None = None, blocks: int = 10) -> PairStatistics:
    """Average covariance and correlation of spike counts over all pairs of neurons.

    Parameters
    ----------
    first : ndarray
        Counts [W, n] of a population, W at least 2; see `analysis.spikes.window_counts`.
    second : ndarray, optional
        Counts [W, m] of another population in the same windows; pairs within `first` if not given.
    blocks : int
        Number of blocks of consecutive windows for the standard errors; fewer if windows are few.

    Returns
    -------
    PairStatistics
        NaN where there is no pair.
    """
    a, b = first - first.mean(axis=0), None if second is None else second - second.mean(axis=0)
    pairs = a.shape[1] * (a.shape[1] - 1) if b is None else a.shape[1] * b.shape[1]
    products = _pair_products(a, b)
    active_a, active_b = _standardised(a), None if b is None else _standardised(b)
    active = active_a.shape[1] * (active_a.shape[1] - 1 if active_b is None else active_b.shape[1])
    scores = _pair_products(active_a, active_b)
    covariance, covariance_error = _mean(products, pairs), _error(products, pairs, blocks)
    coefficient = _mean(scores, active)
    coefficient_error = _error(scores - _own_scale(active_a, active_b), active, blocks)
    squares = [(x**2).mean(axis=1) for x in (a, a if b is None else b)]
    ratio, ratio_error = _ratio_and_error(products / (pairs or np.nan), squares, blocks)
    return PairStatistics(
        covariance, covariance_error, coefficient, coefficient_error, ratio, ratio_error, pairs, active
    )


def with_diagonal(mean: float, diagonal: float, size: int) -> float:
    """Mean over the pairs i >= j, as Akil et al. (2021) average over E neurons.

    It exceeds the mean over pairs of different neurons by about 2/n times the diagonal.

    Parameters
    ----------
    mean : float
        Mean over pairs i != j.
    diagonal : float
        Mean over i = j: the mean variance, or 1 for coefficients.
    size : int
        n, number of neurons.

    Returns
    -------
    float
    """
    return ((size - 1) * mean + 2 * diagonal) / (size + 1)


def _pair_products(a: Array, b: Array | None) -> Array:
    """Sum over pairs of the product of deviations, in each window: all pairs, less each neuron with itself."""
    total = a.sum(axis=1)
    if b is None:
        products: Array = total**2 - np.einsum("wn,wn->w", a, a)
    else:
        products = total * b.sum(axis=1)
    return products


def _standardised(deviations: Array) -> Array:
    scale = deviations.std(axis=0, ddof=1)
    active = scale > 0
    scores: Array = deviations[:, active] / scale[active]
    return scores


def _own_scale(a: Array, b: Array | None) -> Array:
    """What the standard deviations of the neurons themselves change in the sum over pairs of scores, in each window.

    To first order, :math:`z_i z_j` changes a coefficient r by :math:`z_i z_j - r (z_i^2 + z_j^2) / 2`.
    """
    windows = len(a)
    if b is None:
        others = a.T @ a.sum(axis=1) / (windows - 1) - 1     # sum of r over a neuron's pairs
        scale: Array = a**2 @ others
    else:
        of_a, of_b = a.T @ b.sum(axis=1), b.T @ a.sum(axis=1)
        scale = (a**2 @ of_a + b**2 @ of_b) / 2 / (windows - 1)
    return scale


def _mean(products: Array, pairs: int) -> float:
    return float(products.sum()) / (len(products) - 1) / pairs if pairs else np.nan


def _error(products: Array, pairs: int, blocks: int) -> float:
    windows = len(products)
    return block_error(products, blocks) / pairs * windows / (windows - 1) if pairs else np.nan


def _ratio_and_error(products: Array, squares: list[Array], blocks: int) -> tuple[float, float]:
    """Divide the mean product by the geometric mean of both mean squares; errors of all three propagate together."""
    means = [float(of_one.mean()) for of_one in squares]
    if min(means) == 0:
        return np.nan, np.nan
    scaled = products / sqrt(means[0] * means[1])
    ratio = float(scaled.mean())
    return ratio, block_error(scaled - ratio / 2 * (squares[0] / means[0] + squares[1] / means[1]), blocks)
