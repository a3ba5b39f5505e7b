"""Input trains against theory: rates that change, correlations up to one, recordings; the same whatever the cuts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.stats import chi2

from mpi_engine.dynamics.stimulus import PoissonTrains, RecordedTrains
from mpi_engine.experiment import Experiment, parse_experiment
from mpi_engine.experiment.consistency import MAX_STEPS
from mpi_engine.experiment.data import read
from mpi_engine.network.partition import Partition

DT_MS = 0.1

SINE = "20 + 15*sin(2*pi*t/100)"


def experiment_with(duration_ms: float, **source: Any) -> Experiment:
    """A neuron that nothing reaches, and an input."""
    neuron = {"model": "lif", "tau_m_ms": 15.0, "E_L_mv": -72.0, "V_th_mv": -55.0, "V_reset_mv": -75.0}
    return parse_experiment({
        "seed": 5,
        "run": {"duration_ms": duration_ms, "dt_ms": DT_MS},
        "neurons": {"cell": neuron | {"V_init_mv": -72.0}},
        "populations": {"P": {"size": 1, "neuron": "cell"}},
        "inputs": {"X": source},
    })


def spikes(experiment: Experiment, cuts: tuple[int, ...] = (), begin: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Steps and ids of all spikes from a step on, put together from the parts of ranks."""
    size, partition_of = experiment.sizes["X"], len(cuts) + 1
    partition = Partition({"P": [0] * partition_of + [1], "X": [0, *cuts, size]})
    parts = []
    for rank in range(partition_of):
        make = PoissonTrains if experiment.inputs["X"].kind == "poisson" else RecordedTrains
        trains = make(experiment, "X", partition, rank, read(experiment.trains["X"]))
        trains.start_at(begin)
        trains.fill_until(experiment.n_steps)
        parts.append(np.stack([trains.train.steps[:-1], trains.train.ids[:-1]]))
    steps, ids = np.concatenate(parts, axis=1)
    order = np.lexsort((ids, steps))
    inside = steps[order] <= experiment.n_steps
    return steps[order][inside], ids[order][inside]


def poisson(**changes: Any) -> dict[str, Any]:
    return {"kind": "poisson", "size": 50, "rate_hz": 20.0} | changes


@pytest.mark.parametrize("correlation", [0.0, 0.02], ids=["independent", "correlated"])
def test_a_changing_rate_is_followed(correlation: float) -> None:
    """Chi-square of the spikes in phase bins; of the mother's, where these are what is independent."""
    n, bins = 200, 20
    source = poisson(size=n, rate_hz=SINE, correlation=correlation, jitter_ms=0.0)
    steps, _ = spikes(experiment_with(20_000.0, **source))
    if correlation:
        steps = np.unique(steps)      # a mother spike; without a copy in 2 % of them
    phase = (np.arange(1, 200_001) - 1) % 1000 * bins // 1000
    rate = 20 + 15 * np.sin(2 * np.pi * np.arange(1, 200_001) * DT_MS / 100)
    a_step = rate * 1e-3 * DT_MS
    if correlation:     # at least one copy of at least one mother spike in the step
        a_step = 1 - np.exp(-a_step / correlation * (1 - (1 - correlation) ** n))
        expected, variance = (np.bincount(phase, x) for x in (a_step, a_step * (1 - a_step)))
    else:
        expected = variance = np.bincount(phase, a_step * n)
    observed = np.bincount(phase[steps - 1], minlength=bins)
    assert 1e-3 < chi2.sf(((observed - expected) ** 2 / variance).sum(), bins) < 1 - 1e-3


@pytest.mark.parametrize("correlation", [0.0, 1.0])
def test_the_rate_at_the_end_of_a_step_holds_for_it(correlation: float) -> None:
    """Of all steps only each hundredth has a rate; those beside it have none."""
    rate = "5000*(abs(sin(pi*t/10)) < 0.02)"
    steps, _ = spikes(experiment_with(400.0, **poisson(rate_hz=rate, correlation=correlation, jitter_ms=0.0)))
    assert steps.size > 100
    assert (steps % 100 == 0).all()


def test_a_rate_file_is_interpolated(tmp_path: Path) -> None:
    (tmp_path / "rate.csv").write_text("# a ramp, then silence\ntime_ms, rate_hz\n0, 0\n1000, 80\n1000.1 0\n2000 0\n")
    source = {"kind": "poisson", "size": 300, "rate_file": str(tmp_path / "rate.csv")}
    steps, _ = spikes(experiment_with(2000.0, **source))
    counts = np.bincount((steps - 1) // 1000, minlength=20)
    n = np.arange(1, 10_001)
    expected = (n * DT_MS * 0.08).reshape(10, -1).sum(axis=1) * 1e-3 * DT_MS * 300
    assert 1e-3 < chi2.sf(((counts[:10] - expected) ** 2 / expected).sum(), 10) < 1 - 1e-3
    assert counts[10:].sum() == 0


@pytest.mark.parametrize(("rate", "jitter"), [(20.0, 5.0), (SINE, 2.0), (20.0, 0.0)])
def test_correlation(rate: float | str, jitter: float) -> None:
    """Var of the summed count S in windows T: N m + N (N - 1) c m (1 - E|j1 - j2|/T); its error from the kurtosis."""
    n, c, window_ms, duration_ms = 50, 0.3, 100.0, 400_000.0
    steps, _ = spikes(experiment_with(duration_ms, **poisson(rate_hz=rate, correlation=c, jitter_ms=jitter)))
    counts = np.bincount((steps - 1) // 1000, minlength=4000)
    m = 20e-3 * window_ms
    assert abs(counts.mean() - n * m) < 4 * np.sqrt(counts.var() / counts.size)
    edge = 2 * jitter / np.sqrt(np.pi) / window_ms
    expected = n * m + n * (n - 1) * c * m * (1 - edge)
    fourth = ((counts - counts.mean()) ** 4).mean() / counts.var() ** 2
    assert abs(counts.var() / expected - 1) < 4 * np.sqrt((fourth - 1) / counts.size)


def test_full_correlation_without_jitter_is_one_train() -> None:
    n = 7
    steps, ids = spikes(experiment_with(60_000.0, **poisson(size=n, rate_hz=30.0, correlation=1.0, jitter_ms=0.0)))
    first = steps[ids == 0]
    assert all(np.array_equal(steps[ids == k], first) for k in range(1, n))
    assert abs(first.size - 1800) < 4 * np.sqrt(1800)


def test_full_correlation_with_jitter_keeps_every_spike() -> None:
    n = 5
    steps, ids = spikes(experiment_with(60_000.0, **poisson(size=n, rate_hz=30.0, correlation=1.0, jitter_ms=3.0)))
    times = [np.sort(steps[ids == k]) * DT_MS for k in range(n)]
    counts = np.array([train.size for train in times])
    assert np.ptp(counts) <= 3      # at the two ends only
    shift = (times[0][:1000] - times[1][:1000]).std()
    assert 0 < shift < 3 * np.sqrt(2)      # sorted trains: no further apart than the pairs


@pytest.mark.parametrize("changes", [
    {"rate_hz": SINE}, {"rate_hz": SINE, "correlation": 0.2, "jitter_ms": 30.0},
    {"rate_hz": "where(t > 150, 1/(300 - t), 10)", "correlation": 0.5},
])  # fmt: skip
def test_trains_depend_on_neither_cuts_nor_the_runs_length(changes: dict[str, Any]) -> None:
    """A formula may be anything, even infinite, beyond the end."""
    steps, ids = spikes(experiment_with(250.0, **poisson(**changes)))
    assert steps.size > 20
    for other in (
        spikes(experiment_with(250.0, **poisson(**changes)), cuts=(0, 11, 50)),
        spikes(experiment_with(299.0, **poisson(**changes))),
    ):
        inside = other[0] <= 2500
        assert np.array_equal(other[0][inside], steps) and np.array_equal(other[1][inside], ids)
    late = spikes(experiment_with(250.0, **poisson(**changes)), begin=1200)
    assert np.array_equal(late[0], steps[steps >= 1200]) and np.array_equal(late[1], ids[steps >= 1200])


def test_the_last_steps_that_may_be_have_their_spikes() -> None:
    """Steps are counted in 32 bits, and made ahead of the run."""
    trains = PoissonTrains(experiment_with(250.0, **poisson()), "X", Partition({"X": [0, 50]}), 0, None)
    trains.start_at(MAX_STEPS - 3000)
    trains.fill_until(MAX_STEPS + 2)
    steps = trains.train.steps[:-1].astype(np.int64)
    assert (np.diff(steps) >= 0).all()
    assert steps[0] >= MAX_STEPS - 3000
    assert steps[-1] > MAX_STEPS
    assert steps.size == pytest.approx(50 * 20.0 * 1e-3 * DT_MS * (trains.filled_until - MAX_STEPS + 3000), rel=0.3)
    assert trains.train.steps[-1] > trains.filled_until + 1


def test_recorded_spikes_act_in_the_first_step_that_ends_at_or_after_them(tmp_path: Path) -> None:
    """Several of one source in a step are kept; the order in the file does not count."""
    own = np.arange(1, 9) * np.float64(DT_MS)       # 3 * 0.1 > 0.3
    times = np.array([*own, 0.0, 0.55, 0.5500001, 0.60000000001, 2.0, 2.0001])
    ids = np.array([*range(8), 3, 9, 9, 9, 1, 1])
    shuffled = np.random.default_rng(1).permutation(times.size)
    write_spikes(tmp_path / "x.h5", times[shuffled], ids[shuffled])
    for size, cuts in ((None, ()), (12, (4, 4))):
        source = {"kind": "recorded", "file": str(tmp_path / "x.h5")} | ({"size": size} if size else {})
        experiment = experiment_with(2.0, **source)
        assert experiment.sizes["X"] == (size or 10)
        steps, found = spikes(experiment, cuts)
        expected = sorted([*zip(range(1, 9), range(8), strict=True), (1, 3), (6, 9), (6, 9), (6, 9), (20, 1)])
        assert list(zip(steps.tolist(), found.tolist(), strict=True)) == expected


def write_spikes(path: Path, times: Any, ids: Any, units: str = "ms", name: str = "X") -> None:
    with h5py.File(path, "a") as file:
        group = file.create_group(f"spikes/{name}")
        group["timestamps"], group["node_ids"] = np.asarray(times, np.float64), np.asarray(ids, np.int64)
        group["timestamps"].attrs["units"] = units
