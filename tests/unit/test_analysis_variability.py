"""Irregularity of trains with known answers, and as Elephant measures it."""

from __future__ import annotations

import neo
import numpy as np
import pytest
import quantities as pq
from elephant import statistics

from analysis.spikes import window_counts
from analysis.variability import coefficients_of_variation, fano_factors, local_coefficients_of_variation

RNG = np.random.default_rng(5)


def gamma(shape: float, n: int, rate_hz: float = 50.0) -> np.ndarray:
    """Spike times of a train whose intervals are gamma distributed: CV = 1 / sqrt(shape)."""
    return np.cumsum(RNG.gamma(shape, 1e3 / rate_hz / shape, n))


def test_irregularity_of_regular_gamma_and_poisson_trains() -> None:
    """CV2 of gamma intervals: the mean of 2 |2 B - 1|, B beta distributed; 3/4 for shape 2, 1 for Poisson."""
    trains = [np.arange(1, 101) * 10.0, gamma(2.0, 20_000), gamma(1.0, 20_000)]
    times, ids = np.concatenate(trains), np.repeat(np.arange(3), [len(train) for train in trains])
    order = RNG.permutation(times.size)
    cv = coefficients_of_variation(times[order], ids[order], 4)
    cv2 = local_coefficients_of_variation(times[order], ids[order], 4)
    assert (cv[0], cv2[0]) == pytest.approx((0.0, 0.0), abs=1e-12)
    assert cv[1:3].tolist() == pytest.approx([2**-0.5, 1.0], rel=4 / np.sqrt(20_000))
    assert cv2[1:3].tolist() == pytest.approx([0.75, 1.0], rel=4 / np.sqrt(20_000))
    assert np.isnan([cv[3], cv2[3]]).all()


def test_slow_changes_of_the_rate_count_in_cv_but_hardly_in_cv2() -> None:
    train = np.r_[gamma(1.0, 20_000, 10.0), 4e6 + gamma(1.0, 20_000, 40.0)]
    ids = np.zeros(train.size, int)
    assert coefficients_of_variation(train, ids, 1)[0] > 1.2
    assert local_coefficients_of_variation(train, ids, 1)[0] == pytest.approx(1.0, abs=0.03)


def test_silence_between_epochs_is_left_out() -> None:
    epochs = np.repeat(np.arange(4), 10)
    times, ids = np.arange(40) * 10.0 + 1000.0 * epochs, np.zeros(40, int)
    assert coefficients_of_variation(times, ids, 1)[0] > 2
    assert coefficients_of_variation(times, ids, 1, epochs)[0] == pytest.approx(0.0, abs=1e-12)


def test_neurons_with_too_few_spikes_have_no_irregularity() -> None:
    times, ids = np.array([1.0, 2.0, 3.0, 5.0, 9.0, 4.0]), np.array([0, 0, 1, 1, 1, 2])
    for measure in (coefficients_of_variation, local_coefficients_of_variation):
        assert np.isfinite(measure(times, ids, 4)).tolist() == [False, True, False, False]


def test_fano_factors_of_poisson_counts() -> None:
    counts = np.column_stack([RNG.poisson(5.0, (200, 200)), np.zeros(200, int)])
    factors = fano_factors(counts)
    assert factors[:200].mean() == pytest.approx(1.0, abs=4 * np.sqrt(2 / 199 / 200))
    assert np.isnan(factors[200])


def test_all_three_are_what_elephant_measures() -> None:
    trains = [gamma(shape, 400) for shape in (0.7, 1.0, 3.0)]
    times, ids = np.concatenate(trains), np.repeat(np.arange(3), 400)
    intervals = [np.diff(train) for train in trains]
    expected = [statistics.isi(train).std(ddof=1) / np.mean(statistics.isi(train)) for train in trains]
    np.testing.assert_allclose(coefficients_of_variation(times, ids, 3), expected, rtol=1e-12)
    np.testing.assert_allclose(local_coefficients_of_variation(times, ids, 3), list(map(statistics.cv2, intervals)))
    counts = window_counts(times, ids, 3, 0.0, 5000.0, 250.0)
    for n in range(3):
        windows = [neo.SpikeTrain([], units="ms", t_stop=250.0) if not c else
                   neo.SpikeTrain(np.linspace(1, 200, c), units="ms", t_stop=250.0) for c in counts[:, n]]
        biased = statistics.fanofactor(windows, warn_tolerance=0 * pq.ms)     # of ddof 0
        assert fano_factors(counts)[n] == pytest.approx(biased * 20 / 19, rel=1e-12)
