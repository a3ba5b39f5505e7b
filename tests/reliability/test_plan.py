"""What a plan says, against what a run takes."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from rich.console import Console

from mpi_engine.experiment import Experiment, ExperimentError, parse_experiment
from mpi_engine.output.checkpoints import checkpoints
from mpi_engine.run.calibration import Measurement
from mpi_engine.run.footprint import Footprint
from mpi_engine.run.simulation import Simulation
from orchestration.launcher import read_status
from orchestration.plan import Plan, make_plan, sbatch_line, show

Make = Callable[..., dict[str, Any]]

PROMISE = 0.2
"""How far a plan may be off, as a share of what a run takes."""

MIDDLE = {
    "populations": {"E": {"size": 3000}, "I": {"size": 1000}},
    "inputs": {"X": {"size": 500, "rate_hz": 200.0, "correlation": 0.0}},
    "projections": {
        "E_to_E": {"probability": 0.3, "weight_mv": 0.02}, "I_to_E": {"probability": 0.5, "weight_mv": -0.2},
        "E_to_I": {"in_degree": 300, "weight_mv": 0.1}, "X_to_E": {"weight_mv": 0.01}, "X_to_I": {"weight_mv": 0.01},
    },
    "plasticity": {"homeostatic": {"weight_norm_mv": -0.2}},
}
"""Sizes at which arrays are neither nothing nor all; only inputs fire, so a moment tells the rates of the whole."""


@pytest.fixture(scope="module")
def middle(small_experiment: Make) -> dict[str, Any]:
    return small_experiment(run={"duration_ms": 300.0}, **MIDDLE)


def bytes_of(things: Any) -> int:
    """Count the bytes of all arrays in nested containers, each memory once."""
    owners: dict[int, int] = {}

    def walk(thing: Any) -> None:
        if isinstance(thing, np.ndarray):
            owner = thing
            while isinstance(owner.base, np.ndarray):
                owner = owner.base
            owners[id(owner)] = owner.nbytes
        elif isinstance(thing, dict):
            walk(list(thing.values()))
        elif isinstance(thing, (list, tuple)):
            for item in thing:
                walk(item)

    walk(things)
    return sum(owners.values())


def test_arrays_are_counted(middle: dict[str, Any]) -> None:
    simulation = Simulation(parse_experiment(middle))
    reckoned = Footprint(simulation.experiment, 1, dict.fromkeys(simulation.experiment.sizes, 10.0)).memory()
    synapses = bytes_of([simulation.projections, [drawn.in_degree for drawn in simulation.drawn.values()]])
    drives = [drive.currents for drive in simulation.drives.values()]
    neurons = bytes_of([simulation.populations, drives, [o.total for o in simulation.neurons.observations.values()]])
    plasticity = bytes_of([simulation.pre, simulation.post, simulation.histories])
    assert reckoned["synapses"] == pytest.approx(synapses, rel=0.02)
    assert reckoned["neurons"] == pytest.approx(neurons, rel=0.02)
    assert reckoned["plasticity"] == pytest.approx(plasticity, rel=0.05)


def test_a_plan_is_within_a_fifth_of_what_a_run_takes(
    middle: dict[str, Any], mpirun: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, directory = tmp_path / "experiment" / "middle.toml", tmp_path / "run"
    path.parent.mkdir()
    path.write_text(tomli_w.dumps(middle))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))     # the plan compiles, the run does not
    plan = make_plan(path, 2)
    assert list(path.parent.iterdir()) == [path]
    done = mpirun(2, "-m", "mpi_engine", "run", path, "-o", directory)
    assert done.returncode == 0, done.stderr
    assert plan.run_file_bytes == pytest.approx((directory / "run.h5").stat().st_size, rel=PROMISE)
    [checkpoint, *_] = checkpoints(directory)
    assert plan.checkpoint_bytes == pytest.approx(checkpoint.stat().st_size, rel=PROMISE)
    used_bytes = read_status(directory)["memory_mb"] * 1e6
    assert plan.memory_bytes == pytest.approx(used_bytes, rel=PROMISE)
    assert plan.wall_time_s is not None and plan.wall_time_s > 0
    assert plan.most_ranks is not None and plan.most_ranks >= 1


@pytest.fixture
def measured(small_experiment: Make) -> Plan:
    """Make a plan of a long run of which a moment was measured on 4 ranks."""
    experiment = parse_experiment(small_experiment(run={"duration_ms": 3_600_000.0}))
    rates_hz = dict.fromkeys(experiment.sizes, 5.0)
    measurement = Measurement(4, 300_000_000, 10.0, 20.0, 100e-6, 2e-6, 0.01, 1e8, rates_hz, compiled=False)
    return Plan(experiment, 4, {"synapses": 1e8}, 4e9, 1e9, 11e9, measured=measurement)


def test_time_is_steps_and_writing(measured: Plan) -> None:
    segments, written_s = 36_000, (2 * 4e9 + 1e9) / 1e8
    assert measured.wall_time_s == pytest.approx(10 + 20 + 36_000_000 * 100e-6 + segments * 0.01 + written_s)


def test_ranks_pay_until_they_exchange_for_longer_than_they_compute(measured: Plan) -> None:
    ranks, computing_us, round_us = measured.most_ranks, 4 * 98.0, 2.0 / 2
    assert ranks is not None
    assert computing_us / ranks > round_us * log2(ranks)
    assert computing_us / (ranks + 1) <= round_us * log2(ranks + 1)


def test_the_line_that_submits_it(measured: Plan) -> None:
    words = shlex.split(sbatch_line(measured, Path("my network.toml"), ["populations.E.size=4000"]))
    assert words[0] == "sbatch" and words[-4:] == ["slurm/run.sbatch", "my network.toml", "--set",
                                                   "populations.E.size=4000"]
    options = dict(word.split("=") for word in words[1:4])
    assert options["--ntasks"] == "4"
    assert 60 * int(options["--time"]) > (measured.wall_time_s or 0)
    assert int(options["--mem-per-cpu"].removesuffix("M")) * 2**20 > measured.memory_bytes + measured.compiler_bytes


def test_what_does_not_fit_is_reckoned_but_not_tried(small_experiment: Make, tmp_path: Path) -> None:
    path = tmp_path / "huge.toml"
    path.write_text(tomli_w.dumps(small_experiment(populations={"E": {"size": 20_000_000}},
                                                   projections={"E_to_E": {"probability": 1e-4}, "E_to_I": {}})))
    plan = make_plan(path, 64)
    assert plan.measured is None and plan.wall_time_s is None
    synapses = 20e6 * 2000 / 64
    assert 2 * synapses < plan.memory_bytes < 4 * synapses
    console = Console(record=True, width=200)
    show(plan, path, [], console)
    assert "too small to try" in console.export_text()


def test_a_bad_experiment_is_not_planned(small_experiment: Make, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(tomli_w.dumps(small_experiment(populations={"E": {"size": 0}})))
    with pytest.raises(ExperimentError, match=r"populations\.E\.size"):
        make_plan(path, 2)


def test_more_ranks_need_less_each(middle: dict[str, Any]) -> None:
    experiment: Experiment = parse_experiment(middle)
    rates_hz = dict.fromkeys(experiment.sizes, 10.0)
    one, four = (sum(Footprint(experiment, ranks, rates_hz).memory().values()) for ranks in (1, 4))
    assert one / 4 < four < one / 2
    longer = experiment.model_copy(update={"run": replace_duration(experiment, 600.0)})
    assert Footprint(longer, 1, rates_hz).run_file() > 1.5 * Footprint(experiment, 1, rates_hz).run_file()


def replace_duration(experiment: Experiment, duration_ms: float) -> Any:
    return experiment.run.model_copy(update={"duration_ms": duration_ms})
