"""How irregular spike trains are: intervals within a train, and counts over windows or trials.

A Poisson process has 1 in all three measures. The coefficient of variation counts slow changes of the rate as
irregularity; CV2, which compares neighbouring intervals only, hardly does (Holt et al. 1996).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]


def fano_factors(counts: Counts) -> Array:
    """Compute the Fano factor of each neuron: variance over mean of its counts.

    Parameters
    ----------
    counts : ndarray
        Counts [W, n] of `analysis.spikes.window_counts`, or of W trials; W at least 2.

    Returns
    -------
    ndarray
        Fano factors [n] (ddof 1); NaN for a neuron without spikes.
    """
    mean = counts.mean(axis=0)
    variance = counts.var(axis=0, ddof=1)
    factors: Array = np.divide(variance, mean, out=np.full(mean.shape, np.nan), where=mean > 0)
    return factors


def coefficients_of_variation(times_ms: Array, ids: Counts, size: int, epochs: Counts | None = None) -> Array:
    """Compute the coefficient of variation of each neuron's interspike intervals.

    Parameters
    ----------
    times_ms, ids : ndarray
        Spikes of one population [spikes], in any order.
    size : int
        n, neurons in the population.
    epochs : ndarray, optional
        Number of the epoch that each spike is in [spikes]; intervals between epochs are left out.

    Returns
    -------
    ndarray
        Standard deviation (ddof 1) over mean of the intervals [n]; NaN for a neuron with fewer than two of these.
    """
    intervals, owner = _intervals(times_ms, ids, epochs)
    n = np.bincount(owner, minlength=size)
    mean = np.bincount(owner, intervals, size) / np.maximum(n, 1)
    variance = np.bincount(owner, (intervals - mean[owner]) ** 2, size) / np.maximum(n - 1, 1)
    enough = (n >= 2) & (mean > 0)
    coefficients: Array = np.divide(np.sqrt(variance), mean, out=np.full(size, np.nan), where=enough)
    return coefficients


def local_coefficients_of_variation(times_ms: Array, ids: Counts, size: int) -> Array:
    r"""Compute CV2 of each neuron, the mean of :math:`2 |T_{k+1} - T_k| / (T_{k+1} + T_k)` (Holt et al. 1996).

    Parameters
    ----------
    times_ms, ids, size
        As for `coefficients_of_variation`.

    Returns
    -------
    ndarray
        CV2 [n]; NaN for a neuron with fewer than three spikes.
    """
    intervals, owner = _intervals(times_ms, ids)
    neighbours = np.diff(owner) == 0
    later, earlier, both = intervals[1:][neighbours], intervals[:-1][neighbours], owner[1:][neighbours]
    contrast = 2 * np.abs(later - earlier) / (later + earlier)
    n = np.bincount(both, minlength=size)
    local: Array = np.divide(np.bincount(both, contrast, size), n, out=np.full(size, np.nan), where=n > 0)
    return local


def _intervals(times_ms: Array, ids: Counts, epochs: Counts | None = None) -> tuple[Array, Counts]:
    """List the interspike intervals, but for those between epochs, and whose they are, in the order of time."""
    order = np.lexsort((times_ms, ids))
    same = np.diff(ids[order]) == 0
    if epochs is not None:
        same &= np.diff(epochs[order]) == 0
    return np.diff(times_ms[order])[same], ids[order][1:][same]
