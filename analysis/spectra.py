r"""Cross-covariance functions and cross-spectra of spike trains, averaged over the pairs of two populations.

The population sums give the sum over all pairs; what each neuron has with itself is taken off, as in
`analysis.correlations`. Silent neurons count as zero. All is per (Hz)^2 or per Hz: a Poisson train of rate r has the
spectrum r, and trains that share a part c of their spikes have the cross-spectrum c r.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

NEURONS_AT_ONCE = 64


@dataclass(frozen=True)
class BinnedSpikes:
    """Spikes of a population in bins of time.

    Parameters
    ----------
    bins, ids : ndarray of int
        Bin and neuron of each spike [spikes].
    length : int
        T, number of bins.
    size : int
        n, neurons in the population, silent ones included.
    bin_ms : float
        Width of a bin [ms].
    """

    bins: Counts
    ids: Counts
    length: int
    size: int
    bin_ms: float

    @property
    def total(self) -> Array:
        """Spikes of the whole population in each bin [T]."""
        return np.bincount(self.bins, minlength=self.length).astype(np.float64)


def binned(
    times_ms: Array, ids: Counts, size: int, start_ms: float, stop_ms: float, bin_ms: float
) -> BinnedSpikes:
    """Sort spikes into bins, each open at its start and closed at its end; a rest at the end is not used.

    Parameters
    ----------
    times_ms, ids : ndarray
        Spikes of one population [spikes].
    size : int
        n, neurons in the population, silent ones included.
    start_ms, stop_ms, bin_ms : float
        Interval, burn-in left out, and width of a bin [ms].

    Returns
    -------
    BinnedSpikes

    Raises
    ------
    ValueError
        If the interval does not hold two bins.
    """
    length = int((stop_ms - start_ms) / bin_ms + 1e-9) if bin_ms > 0 else 0
    if length < 2:
        remedy = "shorten it" if bin_ms > 0 else "make it positive"
        raise ValueError(f"bin_ms = {bin_ms:g} does not fit into {stop_ms - start_ms:g} ms twice; {remedy}")
    bins = np.ceil((times_ms - start_ms) / bin_ms - 1e-9).astype(np.int64) - 1
    inside = (bins >= 0) & (bins < length)
    return BinnedSpikes(bins[inside], ids[inside], length, size, bin_ms)


def cross_covariance(
    first: BinnedSpikes, second: BinnedSpikes | None = None, max_lag_ms: float = 100.0
) -> tuple[Array, Array]:
    r"""Average the cross-covariance function over pairs of neurons.

    .. math:: C_{ab}(u) = \langle s_a(t + u)\,s_b(t) \rangle - r_a r_b

    At lag u, the mean is over the T - |u| bins that have a partner; r are means over all bins.

    Parameters
    ----------
    first : BinnedSpikes
        Spikes of a population.
    second : BinnedSpikes, optional
        Of another one, in the same bins; pairs within `first` if not given.
    max_lag_ms : float
        Longest lag [ms].

    Returns
    -------
    lags_ms : ndarray
        Lags u [L], from negative to positive; at a positive one, b is before a.
    covariance : ndarray
        C [L] in Hz^2; NaN if there is no pair.

    Raises
    ------
    ValueError
        If the bins are not the same, or the longest lag is not shorter than the record.
    """
    other = _same_bins(first, second)
    reach = int(max_lag_ms / first.bin_ms + 1e-9)
    if reach >= first.length:
        span = first.length * first.bin_ms
        raise ValueError(f"max_lag_ms = {max_lag_ms:g} is not shorter than the record of {span:g} ms; shorten it")
    lags = np.arange(-reach, reach + 1, dtype=np.float64)
    middle = first.length - 1
    products = signal.correlate(first.total, other.total, method="fft")[middle - reach : middle + reach + 1]
    products = np.rint(products)     # of whole numbers
    means = first.total.mean() * other.total.mean()
    if second is None:
        products -= _own_products(first, reach)
        rates = np.bincount(first.ids, minlength=first.size) / first.length
        means -= float((rates**2).sum())
    pairs = _pairs(first, second)
    covariance: Array = (products / (first.length - np.abs(lags)) - means) / (pairs or np.nan)
    lags_ms: Array = lags * first.bin_ms
    return lags_ms, 1e6 / first.bin_ms**2 * covariance


def cross_spectrum(
    first: BinnedSpikes, second: BinnedSpikes | None = None, resolution_hz: float = 1.0
) -> tuple[Array, NDArray[np.complex128]]:
    r"""Average the cross-spectrum over pairs of neurons, by Welch's method.

    Hann windows of 1 / resolution overlap by half; the mean of each is taken off. The estimate of a spectrum that all
    pairs share has, as their covariance, an error that more neurons do not lower: sqrt(19 / (36 M)) of it for M
    windows in the record without overlap (Welch 1967).

    Parameters
    ----------
    first, second
        As for `cross_covariance`.
    resolution_hz : float
        Distance of frequencies [Hz].

    Returns
    -------
    frequencies_hz : ndarray
        f [F], from 0 to half the rate of bins.
    spectrum : ndarray
        S [F] in Hz: the Fourier transform over u of C(u) above; NaN if there is no pair.

    Raises
    ------
    ValueError
        If the bins are not the same, or the record is shorter than 1 / resolution.
    """
    other = _same_bins(first, second)
    rate_hz = 1e3 / first.bin_ms
    length = round(rate_hz / resolution_hz)
    if not 2 <= length <= first.length:
        span = first.length * first.bin_ms
        window_ms = 1e3 / resolution_hz
        raise ValueError(f"resolution_hz = {resolution_hz:g} needs windows of {window_ms:g} ms, more than a bin of "
                         f"{first.bin_ms:g} and at most the record of {span:g}; change it")
    settings = {"fs": rate_hz, "nperseg": length, "return_onesided": False}
    # scipy conjugates its first argument
    frequencies, spectrum = signal.csd(other.total, first.total, **settings)
    if second is None:
        for start in range(0, first.size, NEURONS_AT_ONCE):
            own = np.zeros((min(NEURONS_AT_ONCE, first.size - start), first.length))
            chosen = (first.ids >= start) & (first.ids < start + len(own))
            np.add.at(own, (first.ids[chosen] - start, first.bins[chosen]), 1.0)
            spectrum = spectrum - signal.welch(own, **settings)[1].sum(axis=0)
    kept = length // 2 + 1
    scale = rate_hz**2 / (_pairs(first, second) or np.nan)
    return np.abs(frequencies[:kept]), spectrum[:kept].astype(np.complex128) * scale


def _same_bins(first: BinnedSpikes, second: BinnedSpikes | None) -> BinnedSpikes:
    other = first if second is None else second
    if (first.length, first.bin_ms) != (other.length, other.bin_ms):
        raise ValueError(f"{first.length} bins of {first.bin_ms:g} ms and {other.length} of {other.bin_ms:g} ms: "
                         "both populations must be in the same bins")
    return other


def _pairs(first: BinnedSpikes, second: BinnedSpikes | None) -> int:
    return first.size * (first.size - 1) if second is None else first.size * second.size


def _own_products(spikes: BinnedSpikes, reach: int) -> Array:
    """Count pairs of spikes of the same neuron by their distance in bins, from -reach to reach."""
    order = np.lexsort((spikes.bins, spikes.ids))
    bins, ids = spikes.bins[order], spikes.ids[order]
    counts = np.zeros(2 * reach + 1)
    counts[reach] = bins.size
    for apart in range(1, bins.size):
        distance = bins[apart:] - bins[:-apart]
        near = (ids[apart:] == ids[:-apart]) & (distance <= reach)
        if not near.any():
            break
        found = np.bincount(distance[near], minlength=reach + 1)
        counts[reach:] += found
        counts[: reach + 1] += found[::-1]
    return counts
