"""The benchmarks: one small sitting, what other simulators are told, the floor's arithmetic, the history."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from benchmarks.bench import main
from benchmarks.floor import Parts
from benchmarks.history import Entry, append, compare
from benchmarks.parts import PROBES, SIZES, measure
from benchmarks.peers.trains import make_trains
from benchmarks.simulators import Brian2, Nest, Result, Steelyard, median
from benchmarks.workloads import FILES, Workload
from mpi_engine.network.adjacency import is_dense

KEYS = ["simulator", "workload", "ranks", "wall_s_per_bio_s", "cpu_s_per_bio_s", "build_s", "synapses", "peak_mb",
        "rate_hz"]


def test_a_small_sitting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--ranks", "1", "--repeats", "1", "--duration-ms", "50", "--scale", "0.02"]
    assert main(["run", "W1", *small, "--output", str(tmp_path / "bench.jsonl")]) == 0
    printed = capsys.readouterr().out
    [line] = (tmp_path / "bench.jsonl").read_text(encoding="utf-8").splitlines()
    assert printed.splitlines()[-1] == line
    assert printed.startswith("parts, ns: lif ")
    assert "W1: 200 neurons, 0.05 s; floor" in printed
    result = json.loads(line)
    assert list(result) == KEYS
    assert (result["simulator"], result["workload"], result["ranks"]) == ("steelyard", "W1", 1)
    assert result["synapses"] == pytest.approx(0.1 * 200**2, abs=5 * (0.09 * 200**2) ** 0.5)
    assert all(result[key] > 0 for key in KEYS[3:])


@pytest.mark.parametrize("missing", ["Brian2", "Nest"])
def test_a_missing_peer_is_named(
    missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.simulators.CHECKOUT", tmp_path)
    assert main(["run", "W1", "--peers", missing.lower()]) == 2
    assert "is missing; `make bench` makes it" in capsys.readouterr().err


def test_what_other_simulators_are_told() -> None:
    network = Workload("W2e", 1000.0).description()
    weights = {name: p["weight_mv"] for name, p in network["projections"].items()}
    assert weights == pytest.approx({"E_to_E": 0.25, "E_to_I": 1.125, "I_to_E": -1.5, "I_to_I": -2.5})
    assert [p["parameters"]["drive"] for p in network["populations"].values()] == [3.6, 2.7]
    rule = network["projections"]["E_to_E"]["plasticity"]
    assert (rule["tau_pre_ms"], rule["b_pre"], rule["b_post"], rule["w_max"]) == (20.0, (-1e-3, 0), (1e-3, 0), 0.5)
    assert {name for name in FILES if Nest.can(Workload(name, 1000.0))} == {"W1", "W2e"}


def test_trains_have_their_rate_and_correlation() -> None:
    source = {"size": 200, "rate_hz": 20.0, "correlation": 0.2, "jitter_ms": 5.0}
    times_ms, ids = make_trains(source, {"duration_ms": 100_000.0, "dt_ms": 0.1, "seed": 1})
    counts = np.histogram2d(times_ms, ids, bins=[200, 200], range=[[0, 100_000], [0, 200]])[0]
    assert counts.mean() / 0.5 == pytest.approx(20.0, rel=0.05)
    correlations = np.corrcoef(counts.T)[np.triu_indices(200, 1)]
    assert correlations.mean() == pytest.approx(0.2, abs=0.04)


def test_the_floor_of_a_workload() -> None:
    parts, rates_hz = Parts(lif=1.0, eif=2.0, scatter=3.0, plastic=5.0, allgather=700.0), {"E": 5.0, "I": 10.0}
    update = 1e4 * 1e4 * 1e-9
    from_E_to_E, others = 5.0 * 8000 * 800 * 1e-9, (5.0 * 8000 * 200 + 10.0 * 2000 * 1000) * 1e-9
    assert parts.floor(Workload("W1", 1000.0), rates_hz) == pytest.approx(update + 3 * (from_E_to_E + others))
    on_two = (update + 5 * from_E_to_E + 3 * others) / 2 + 1e4 * 700e-9
    assert parts.floor(Workload("W2e", 1000.0), rates_hz, ranks=2) == pytest.approx(on_two)


def test_parts_are_measured_in_networks_that_do_what_they_are_for() -> None:
    for probe in PROBES:
        for n in SIZES:
            e = probe.experiment(n)
            assert {name for name in e.projections if is_dense(e, name)} == {"dense"}
            firing = {name for name, train in e.trains.items() if train.constant_rate_hz}
            assert firing == {name for name in e.trains if getattr(probe, name)}
            assert (probe.statistics, probe.plastic) == (e.recording.statistics is not None,
                                                         e.recording.weights is not None)


def test_a_part_of_a_step_is_measured() -> None:
    measured = measure(PROBES[0], 1000, 1)
    amounts = measured.amounts
    assert amounts["lif update"] == amounts["sample"] == 1000 * 10_000
    # of a hundred steps with 0.5 arrivals a neuron, or 8.3 rows of 60, the faster fifty count; when nothing disturbs,
    # they have fewest spikes, and the lower half of a normal distribution has its mean 0.8 SD below that of all
    sd, error = 8.3**-0.5, 5 * (8.3 * 50) ** -0.5
    assert -0.8 * sd - error < amounts["arrival"] / (0.5 * 1000 * 10_000) - 1 < error
    assert amounts["arrival"] == pytest.approx(60 * amounts["piece"])
    assert all(measured.seconds[part] > 0 for part in ("integrate", "record"))


def result(wall_s: float, ranks: int = 1, simulator: str = "steelyard") -> Result:
    return Result(simulator, "W1", ranks, wall_s, 0.1, 1.0, 1000, 100.0, 7.0)


def test_of_repetitions_the_median_counts() -> None:
    assert median([result(0.3), result(0.1), result(0.2)]) == result(0.2)


def test_a_regression_shows(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    for commit, cpu, results in (
        ("one", "fast", [result(0.20), result(0.12, ranks=2), result(2.0, simulator="nest")]),
        ("two", "fast", [result(0.21), result(0.15, ranks=2), result(3.0, simulator="nest")]),
        ("other", "slow", [result(0.50)]),
        ("three", "fast", [result(0.25)]),
    ):
        append(Entry(commit, "2026-01-01T00:00:00+00:00", cpu, results), path)
    lines = list(compare("W1", path))
    assert [line.split()[1] for line in lines] == ["one", "one", "two", "two", "other", "three"]
    slower = [line for line in lines if "slower" in line]
    assert [line.partition("fast")[2].strip() for line in slower] == [
        "2 ranks  0.150 s  1.25 times slower", "1 ranks  0.250 s  1.22 times slower"
    ]
    assert list(compare("W2e", path)) == []


@pytest.mark.parametrize(
    ("times_s", "slower"),
    [
        ((0.20, 0.21, 0.15, 0.20), []),                      # one that was lucky feigns no regression
        ((0.20, 0.21, 0.30, 0.24), [0.30, 0.24]),            # one that was disturbed hides none
        ((0.20, 0.21, 0.22, 0.235, 0.25), [0.235, 0.25]),    # many small steps, each within the tolerance
    ],
)
def test_a_regression_shows_beside_noise(times_s: tuple[float, ...], slower: list[float], tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    for k, time_s in enumerate(times_s):
        append(Entry(f"commit-{k}", "2026-01-01T00:00:00+00:00", "cpu", [result(time_s)]), path)
    told = [line for line in compare("W1", path) if "slower" in line]
    assert [f"{time_s:.3f} s" in line for time_s, line in zip(slower, told, strict=True)] == [True] * len(slower)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["W1", "--keep", "--scale", "0.5"], "leave out --duration-ms and --scale"),
        (["W9"], "W9: must be one of W1, W2i, W2e, EIF, plastic"),
        (["W1", "--repeats", "0"], "0: must be a number from 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with suppress(SystemExit):
        assert main(["run", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.science
@pytest.mark.parametrize("name", ["W1", "W2e", "W2i", "EIF"])
def test_brian2_simulates_the_same_network(name: str, tmp_path: Path) -> None:
    workload = Workload(name, 1000.0, scale=0.4)
    ours, theirs = Steelyard(workload, tmp_path / "ours", 1).simulate(), Brian2(workload, tmp_path).simulate()
    assert theirs.synapses == pytest.approx(ours.synapses, rel=0.01)
    assert theirs.rate_hz == pytest.approx(ours.rate_hz, rel=0.1)
