"""Three ways to covariance, against NumPy, Elephant and compound Poisson trains of known correlation."""

from __future__ import annotations

import subprocess
import sys

import dask.array as da
import neo
import numpy as np
import pytest
import quantities as pq
from elephant.conversion import BinnedSpikeTrain
from elephant.spike_train_correlation import correlation_coefficient, covariance
from elephant.spike_train_generation import compound_poisson_process

from analysis import pairs
from analysis.confidence import bootstrap, common_mode_error
from analysis.correlations import pair_statistics, with_diagonal
from analysis.spikes import window_counts

RNG = np.random.default_rng(7)


def counts_with_structure(windows: int = 40) -> tuple[np.ndarray, np.ndarray]:
    common = RNG.poisson(2.0, (windows, 1))
    first = RNG.poisson(3.0, (windows, 12)) + common
    first[:, 4] = 0
    return first, RNG.poisson(1.0, (windows, 7)) + common


def test_pair_means_equal_those_of_the_full_matrices() -> None:
    first, second = counts_with_structure()
    covariance = np.cov(np.hstack([first, second]).T)
    off = ~np.eye(12, dtype=bool)
    within, across = pair_statistics(first), pair_statistics(first, second)
    assert within.covariance == pytest.approx(covariance[:12, :12][off].mean(), rel=1e-10)
    assert across.covariance == pytest.approx(covariance[:12, 12:].mean(), rel=1e-10)
    active = np.delete(first, 4, axis=1)
    correlation = np.corrcoef(np.hstack([active, second]).T)
    assert within.coefficient == pytest.approx(correlation[:11, :11][~np.eye(11, dtype=bool)].mean(), rel=1e-10)
    assert across.coefficient == pytest.approx(correlation[:11, 11:].mean(), rel=1e-10)
    assert (within.pairs, within.active_pairs, across.pairs, across.active_pairs) == (132, 110, 84, 77)
    assert within.ratio == pytest.approx(within.covariance / np.diag(covariance)[:12].mean(), rel=1e-10)


@pytest.mark.parametrize("lazy", [False, True])
def test_all_pairs_in_memory_and_in_blocks_agree_with_population_sums(lazy: bool) -> None:
    first, second = counts_with_structure()
    a, b = (pairs.blocked(counts, 5) if lazy else counts for counts in (first, second))
    for others, other, within in ((None, None, True), (second, b, False)):
        sums = pair_statistics(first, others)
        covariances, coefficients = pairs.covariances(a, other), pairs.coefficients(a, other)
        assert isinstance(covariances, da.Array) == lazy
        found = pairs.distribution(covariances, within)
        assert (found.mean, found.pairs) == (pytest.approx(sums.covariance, rel=1e-10), sums.pairs)
        found = pairs.distribution(coefficients, within)
        assert (found.mean, found.pairs) == (pytest.approx(sums.coefficient, rel=1e-10), sums.active_pairs)
        values = np.asarray(coefficients)
        chosen = np.isfinite(values) & ~(np.eye(*values.shape, dtype=bool) & within)
        assert found.sd == pytest.approx(values[chosen].std(), rel=1e-10)


def test_matrices_equal_those_of_elephant() -> None:
    trains = [np.sort(RNG.uniform(0, 10_000, n)) for n in (50, 400, 90, 120)]
    trains.append(np.sort(np.r_[trains[1][::2], RNG.uniform(0, 10_000, 60)]))
    ids = np.repeat(np.arange(5), [len(train) for train in trains])
    counts = window_counts(np.concatenate(trains), ids, 5, 0.0, 10_000.0, 250.0)
    binned = BinnedSpikeTrain([neo.SpikeTrain(train, units="ms", t_stop=10_000.0) for train in trains],
                              bin_size=250 * pq.ms)
    np.testing.assert_allclose(pairs.covariances(counts), covariance(binned, fast=False), rtol=1e-10)
    np.testing.assert_allclose(pairs.coefficients(counts), correlation_coefficient(binned, fast=False), rtol=1e-10)


def test_elephants_compound_poisson_trains_have_the_correlation_they_were_given() -> None:
    """Of mother spikes that 1 or all 20 trains have, in equal parts, a train has 1/20 and 1: c = 1 / (1 + 1/20)."""
    size, stop_ms, window_ms = 20, 500_000.0, 100.0
    amplitudes = np.zeros(size + 1)
    amplitudes[[1, size]] = 0.5
    np.random.seed(11)     # noqa: NPY002  (Elephant draws from it)
    trains = compound_poisson_process(10 * pq.Hz, amplitudes, stop_ms * pq.ms)
    ids = np.repeat(np.arange(size), [len(train) for train in trains])
    times = np.concatenate([train.rescale("ms").magnitude for train in trains])
    counts = window_counts(times, ids, size, 0.0, stop_ms, window_ms)
    found = pair_statistics(counts)
    error = common_mode_error(len(counts))
    assert found.ratio == pytest.approx(1 / (1 + 1 / size), abs=4 * error)
    assert found.covariance == pytest.approx(10 * 0.1 / (1 + 1 / size), rel=4 * error)
    shuffled = np.column_stack([RNG.permutation(column) for column in counts.T])
    control = pair_statistics(shuffled)
    assert abs(control.coefficient) < 4 / np.sqrt(len(counts) * control.pairs / 2)


def test_compound_poisson_trains_have_the_correlation_they_were_given() -> None:
    rate, correlation, size, windows, window = 0.02, 0.3, 60, 4000, 250.0
    mother = RNG.poisson(rate / correlation * window, windows)
    counts = RNG.binomial(mother[:, None], correlation, (windows, size))
    found = pair_statistics(counts)
    error = common_mode_error(windows)
    assert found.covariance == pytest.approx(correlation * rate * window, rel=4 * error)
    assert found.ratio == pytest.approx(correlation, rel=4 * error)
    assert found.coefficient == pytest.approx(correlation, rel=4 * error)
    assert found.covariance_error == pytest.approx(error * found.covariance, rel=1.0)


def test_independent_trains_are_uncorrelated_within_the_stated_error() -> None:
    found = pair_statistics(RNG.poisson(2.0, (400, 300)), blocks=20)
    assert abs(found.covariance) < 4 * found.covariance_error
    assert abs(found.coefficient) < 4 * found.coefficient_error
    assert found.coefficient_error < 1e-3


def test_stated_errors_are_those_of_the_block_bootstrap() -> None:
    counts, others = counts_with_structure(600)
    found = pair_statistics(counts, others, blocks=60)
    for name in ("covariance", "ratio", "coefficient"):
        def resampled(both: np.ndarray, name: str = name) -> float:
            return float(getattr(pair_statistics(both[:, :12], both[:, 12:]), name))

        drawn = bootstrap(resampled, np.hstack([counts, others]), blocks=60, resamples=300)
        assert getattr(found, name) == pytest.approx(drawn.value)
        assert getattr(found, f"{name}_error") == pytest.approx(drawn.error, rel=4 / np.sqrt(600))


def test_the_authors_convention_includes_the_diagonal() -> None:
    first, _ = counts_with_structure()
    covariance = np.cov(first.T)
    expected = covariance[np.tril_indices(12)].mean()
    mean = pair_statistics(first).covariance
    assert with_diagonal(mean, float(np.diag(covariance).mean()), 12) == pytest.approx(expected, rel=1e-10)


def test_silent_populations_have_a_covariance_but_no_coefficient() -> None:
    silent = np.zeros((10, 5), dtype=np.int64)
    found = pair_statistics(silent)
    assert found.covariance == 0.0
    assert np.isnan(found.coefficient)
    assert np.isnan(found.ratio)
    for counts in (silent, pairs.blocked(silent, 2)):
        assert pairs.distribution(pairs.covariances(counts), within=True) == pairs.Distribution(0.0, 0.0, 20)
        assert pairs.distribution(pairs.coefficients(counts), within=True).pairs == 0


def test_a_neuron_has_no_partner_of_its_own_and_one_window_no_covariance() -> None:
    one = pairs.distribution(pairs.covariances(np.array([[1], [2]])), within=True)
    assert (one.pairs, np.isnan(one.mean)) == (0, True)
    with pytest.raises(ValueError, match="counts in 1 and 1 windows: both must be in the same two or more"):
        pairs.covariances(np.ones((1, 3), dtype=np.int64))
    with pytest.raises(ValueError, match="counts in 4 and 3 windows"):
        pairs.coefficients(np.ones((4, 3)), np.ones((3, 3)))


HUNDRED_THOUSAND = """
from pathlib import Path
import dask, numpy as np
from analysis import pairs
from analysis.correlations import pair_statistics
rng = np.random.default_rng(7)
counts = rng.poisson(1.0, (200, 100_000)) + rng.poisson(0.2, (200, 1))
with dask.config.set(scheduler="threads", num_workers=2):
    found = pairs.distribution(pairs.covariances(pairs.blocked(counts)), within=True)
# of this program: what getrusage tells includes its parent, from before it was loaded
[peak_kb] = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
print(found.mean, pair_statistics(counts).covariance, 1024 * int(peak_kb))
"""


@pytest.mark.science
def test_all_pairs_of_a_hundred_thousand_neurons_need_less_than_4_gb() -> None:
    done = subprocess.run([sys.executable, "-c", HUNDRED_THOUSAND], capture_output=True, text=True, check=True)
    all_pairs, population_sums, bytes_used = map(float, done.stdout.split())
    assert all_pairs == pytest.approx(population_sums, rel=1e-10)
    assert bytes_used < 4e9
