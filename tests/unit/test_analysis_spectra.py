"""Cross-covariance functions and spectra: of jittered copies of known spectrum, and as Elephant measures them."""

from __future__ import annotations

import neo
import numpy as np
import pytest
import quantities as pq
from elephant.conversion import BinnedSpikeTrain
from elephant.spectral import welch_psd
from elephant.spike_train_correlation import cross_correlation_histogram

from analysis.correlations import pair_statistics
from analysis.spectra import BinnedSpikes, binned, cross_covariance, cross_spectrum
from analysis.spikes import window_counts

RNG = np.random.default_rng(9)
RATE_HZ, CORRELATION, JITTER_MS, DELAY_MS, DURATION_MS = 20.0, 0.5, 4.0, 8.0, 400_000.0
SIZES = {"a": 6, "b": 4}

Trains = dict[str, tuple[np.ndarray, np.ndarray]]
"""Times [ms] and ids of each population's spikes."""


@pytest.fixture(scope="module")
def trains() -> Trains:
    """Each train has half of the spikes of one mother train, jittered; those of b come 8 ms later."""
    mother = RNG.uniform(0, DURATION_MS, RNG.poisson(1e-3 * RATE_HZ / CORRELATION * DURATION_MS))
    found = {}
    for name, size in SIZES.items():
        kept = RNG.random((size, mother.size)) < CORRELATION
        ids, spikes = np.nonzero(kept)
        delay = DELAY_MS if name == "b" else 0.0
        found[name] = mother[spikes] + delay + JITTER_MS * RNG.standard_normal(ids.size), ids
    return found


def bins(trains: Trains, name: str, bin_ms: float = 1.0) -> BinnedSpikes:
    return binned(*trains[name], SIZES[name], 0.0, DURATION_MS, bin_ms)


def test_covariance_of_jittered_copies_is_a_gaussian_at_their_delay(trains: Trains) -> None:
    """C(u) = c r N(u; delay, 2 sigma^2), b after a being a negative lag."""
    for second, delay in ((None, 0.0), ("b", -DELAY_MS)):
        lags, found = cross_covariance(bins(trains, "a"), None if second is None else bins(trains, second), 60.0)
        width = 2**0.5 * JITTER_MS
        gaussian = np.exp(-((lags - delay) ** 2) / 2 / width**2) / width / (2 * np.pi) ** 0.5
        expected = CORRELATION * RATE_HZ * 1e3 * gaussian
        # coincidences in a bin are Poisson; all pairs together are known as well as pairs without a common train
        error = np.sqrt((expected + RATE_HZ**2) * 1e6 / DURATION_MS / (min(SIZES.values()) // 2))
        assert np.all(np.abs(found - expected) < 4.5 * error)
        assert error.max() < 0.06 * expected.max()
        assert lags[np.argmax(found)] == pytest.approx(delay, abs=2.0)


def test_covariance_sums_to_that_of_counts(trains: Trains) -> None:
    """Count covariance in windows T is the sum over lags of (T - |u|) C(u), of all windows alike."""
    window_ms, bin_ms = 40.0, 2.0
    lags, found = cross_covariance(bins(trains, "a", bin_ms), max_lag_ms=window_ms)
    expected = 1e-6 * bin_ms * float(np.maximum(window_ms - np.abs(lags), 0) @ found)
    counts = window_counts(*trains["a"], SIZES["a"], 0.0, DURATION_MS, window_ms)
    assert pair_statistics(counts).covariance == pytest.approx(expected, rel=0.05)


def test_spectrum_of_jittered_copies(trains: Trains) -> None:
    """S(f) = c r exp(-4 pi^2 f^2 sigma^2), with the phase of the delay."""
    resolution_hz = 2.5
    windows = DURATION_MS * 1e-3 * resolution_hz
    for second, delay_ms in ((None, 0.0), ("b", DELAY_MS)):
        other = None if second is None else bins(trains, second)
        f, found = cross_spectrum(bins(trains, "a"), other, resolution_hz)
        low = (f > 0) & (f < 100)
        power = CORRELATION * RATE_HZ * np.exp(-((2 * np.pi * f * 1e-3 * JITTER_MS) ** 2))
        expected = power * np.exp(2j * np.pi * f * 1e-3 * delay_ms)
        # power of a pair's mean: shared by all, or by chance between single trains
        scatter = power + RATE_HZ / min(SIZES.values())
        assert np.all(np.abs(found - expected)[low] < 5 * scatter[low] * np.sqrt(19 / 36 / windows))
        assert f[1] == pytest.approx(resolution_hz)
        assert f[-1] == pytest.approx(500.0)


def test_two_trains_are_seen_as_by_elephant(trains: Trains) -> None:
    stop_ms = 20_000.0
    single = []
    for name in SIZES:
        times, ids = trains[name]
        single.append(np.sort(times[(ids == 0) & (times > 0) & (times < stop_ms)]))
    own = [binned(times, np.zeros(times.size, int), 1, 0.0, stop_ms, 2.0) for times in single]
    elephants = [BinnedSpikeTrain(neo.SpikeTrain(times, units="ms", t_stop=stop_ms), bin_size=2 * pq.ms)
                 for times in single]
    lags, found = cross_covariance(own[0], own[1], 50.0)
    histogram, their_lags = cross_correlation_histogram(*elephants[::-1], window=[-25, 25], border_correction=True)
    rates = [1e3 * times.size / stop_ms for times in single]
    counted = np.asarray(histogram.magnitude).ravel() / 10_000 / 0.002**2
    np.testing.assert_allclose(found, counted - rates[0] * rates[1], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(lags, 2.0 * np.asarray(their_lags))

    f, power = cross_spectrum(own[0], BinnedSpikes(**vars(own[0])), 1.0)     # a copy: of the train with itself
    signal = neo.AnalogSignal(own[0].total, units="dimensionless", sampling_rate=500 * pq.Hz)
    theirs_f, theirs = welch_psd(signal, len_segment=500, overlap=0.5)
    np.testing.assert_allclose(f, theirs_f.magnitude)
    one_sided = np.asarray(theirs.magnitude).ravel() * 500.0**2
    np.testing.assert_allclose(power.real[1:-1], one_sided[1:-1] / 2, rtol=1e-9)


def test_independent_trains_have_none(trains: Trains) -> None:
    times, ids = trains["a"]
    moved = (times + 50_000.0 * ids) % DURATION_MS
    control = binned(moved, ids, SIZES["a"], 0.0, DURATION_MS, 1.0)
    _, covariance = cross_covariance(control, max_lag_ms=60.0)
    error = RATE_HZ * np.sqrt(1e6 / DURATION_MS / 15)
    assert np.all(np.abs(covariance) < 4.5 * error)
    assert np.abs(covariance).mean() < 1.2 * error


def test_a_neuron_alone_has_no_partner_and_other_bins_no_pairs(trains: Trains) -> None:
    alone = binned(np.array([1.0, 5.0]), np.zeros(2, int), 1, 0.0, 100.0, 1.0)
    assert np.isnan(cross_covariance(alone, max_lag_ms=10.0)[1]).all()
    assert np.isnan(cross_spectrum(alone, resolution_hz=50.0)[1]).all()
    with pytest.raises(ValueError, match="100 bins of 1 ms and 400000 of 1 ms: both populations must be in the same"):
        cross_covariance(alone, bins(trains, "a"))
    with pytest.raises(ValueError, match="max_lag_ms = 100 is not shorter than the record of 100 ms; shorten it"):
        cross_covariance(alone)
    with pytest.raises(ValueError, match="resolution_hz = 1 needs windows of 1000 ms"):
        cross_spectrum(alone)
    with pytest.raises(ValueError, match="bin_ms = 100 does not fit into 100 ms twice; shorten it"):
        binned(np.array([1.0]), np.array([0]), 1, 0.0, 100.0, 100.0)
    with pytest.raises(ValueError, match="bin_ms = 0 does not fit into 100 ms twice; make it positive"):
        binned(np.array([1.0]), np.array([0]), 1, 0.0, 100.0, 0.0)


def test_bins_are_open_at_their_start_and_closed_at_their_end() -> None:
    found = binned(0.1 * np.array([10, 11, 20, 21, 30, 31]), np.arange(6), 6, 1.0, 3.0, 1.0)
    assert found.bins.tolist() == [0, 0, 1, 1]
    assert found.total.tolist() == [2.0, 2.0]
