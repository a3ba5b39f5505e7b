"""What no run goes on with: found wherever it is, told alike by all ranks, and the work before it kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from mpi_engine.experiment import parse_experiment
from mpi_engine.output.checkpoints import Checkpoint, checkpoints
from mpi_engine.output.reader import open_run
from mpi_engine.output.sealed import find_damage, open_sealed
from mpi_engine.run.health import DUMP, Health, UnhealthyError
from mpi_engine.run.simulation import Simulation
from mpi_engine.run.state import Synapses
from tests.reliability.engines import engine

Table = dict[str, Any]
Make = Callable[..., Table]

UNHEALTHY = 3


@pytest.fixture(scope="module")
def simulation(small_experiment: Make) -> Simulation:
    """A network that has run for a while, the same for all tests of this file: each mends what it spoils."""
    made = Simulation(parse_experiment(small_experiment()))
    made.compile()
    made.start()
    return made


@pytest.fixture
def health(simulation: Simulation) -> Health:
    return Health(simulation)


def values_of(simulation: Simulation, path: str) -> np.ndarray:
    return next(variable.values for variable in simulation.state if variable.path == path)


def test_a_healthy_network_goes_on(simulation: Simulation, health: Health) -> None:
    health.advance(1000)
    health.check_all()
    assert simulation.step == 1000


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_every_variable_of_the_state_is_watched(simulation: Simulation, health: Health, value: float) -> None:
    spoiled = 0
    for variable in simulation.state:
        if variable.path.startswith(("/history/", "/recorders/")) or variable.values.dtype.kind != "f":
            continue
        place = (variable.values.shape[0] // 2, *(0 for _ in variable.values.shape[1:]))
        before = variable.values[place]
        variable.values[place] = value
        with pytest.raises(UnhealthyError) as caught:
            health.check_all()
        variable.values[place] = before
        assert variable.path in str(caught.value)
        assert f"is {value}" in str(caught.value)
        if not isinstance(variable, Synapses):
            assert f"id {place[0]} " in str(caught.value)
        spoiled += 1
    assert spoiled >= 10
    health.check_all()


def test_the_lowest_id_of_the_first_variable_is_told(simulation: Simulation, health: Health) -> None:
    V, current = values_of(simulation, "/neurons/E/V"), values_of(simulation, "/neurons/I/V")
    before = V.copy(), current.copy()
    V[[70, 12, 33]] = math.nan
    current[3] = math.nan
    with pytest.raises(UnhealthyError, match="/neurons/E/V of id 12 is nan"):
        health.check_all()
    V[:], current[:] = before


def test_the_first_synapse_beyond_its_bounds_is_told(simulation: Simulation, small_experiment: Make) -> None:
    limits = {"health": {"weights_mv": {"I_to_E": [-20.0, 0.0]}}}
    watched = Health(simulation)
    watched._experiment = parse_experiment(small_experiment(**limits))
    synapses = next(variable for variable in simulation.state if isinstance(variable, Synapses))
    watched.check_all()
    before = synapses.values.copy()
    beyond = np.array([500, 20, 41])
    synapses.values[beyond] = [0.5, -20.5, 0.25]
    sources, targets = synapses.ends(beyond)
    first = np.lexsort((sources, targets))[0]
    with pytest.raises(UnhealthyError) as caught:
        watched.check_all()
    synapses.values[:] = before
    wanted = f"/synapses/I_to_E/weights from id {sources[first]} to id {targets[first]} is"
    assert wanted in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "lowest", "highest"),
    [
        ({"rule": "hebbian_hard", "tau_ms": 20.0, "learning_rate_mv": 0.01, "weight_min_mv": -12.0,
          "weight_max_mv": -8.0}, -12.0 - 0.01 * 11, -8.0 + 0.01 * 11),
        ({"rule": "hebbian_hard", "tau_ms": 20.0, "learning_rate_mv": 0.01, "weight_min_mv": -9.0,
          "pairing": "nearest_neighbour"}, -10.0, math.inf),
        ({"rule": "triplet", "tau_plus_ms": 20.0, "tau_minus_ms": 40.0, "tau_x_ms": 100.0, "tau_y_ms": 100.0,
          "a2_minus_mv": 0.001, "a3_plus_mv": 0.0001, "weight_max_mv": -9.0}, -math.inf, -9.0 + 0.0001 * 11 * 51),
        ({"rule": "kohonen", "tau_ms": 20.0, "learning_rate": 0.01, "beta_mv": -1.0}, -math.inf, math.inf),
    ],
)
def test_bounds_are_those_of_the_rule_and_one_event(
    rule: Table, lowest: float, highest: float, small_experiment: Make
) -> None:
    """At 500 Hz a trace of tau reaches 1 + 0.5 tau / ms, and gates let a weight pass a bound by one event."""
    table = small_experiment()
    table["plasticity"] = {"homeostatic": rule}
    assert parse_experiment(table).healthy_weights("I_to_E") == pytest.approx((lowest, highest), rel=1e-12)


SICK = {
    "infinite": {"inputs": {"c": {"kind": "current", "target": "E", "neurons": [60], "amplitude_mv_per_ms": -1e38}}},
    "runaway": {"health": {"interval_ms": 50.0, "max_rate_hz": 0.5}},
    "silent": {"health": {"interval_ms": 50.0, "min_rate_hz": 400.0}},
    "bounds": {"health": {"interval_ms": 10.0, "weights_interval_ms": 20.0, "weights_mv": {"I_to_E": [-10.0, 0.0]}}},
    "memory": {"health": {"max_memory_gb": 0.05}},
}
"""What befalls the small network; E's neuron 60 lives on the last of two ranks."""

RANKS = {"infinite": (1, 2), "runaway": (2,)}

WORDS = {
    "infinite": ("/neurons/E/V of id 60 is", "at 40 ms, step 400"),
    "runaway": ("the rate of E is", "above health.max_rate_hz = 0.5", "at 50 ms"),
    "silent": ("the rate of E is", "below health.min_rate_hz = 400", "at 50 ms"),
    "bounds": ("/synapses/I_to_E/weights from id ", "not from -10 to ", "at 20 ms"),
    "memory": ("memory of rank 0 is", "above health.max_memory_gb = 0.05"),
}


@pytest.mark.parametrize("what", SICK)
def test_a_sick_run_ends_alike_on_any_number_of_ranks(
    what: str, small_experiment: Make, mpirun: Callable[..., Any], tmp_path: Path
) -> None:
    path, changes = tmp_path / "sick.toml", SICK[what]
    path.write_text(tomli_w.dumps(small_experiment(run={"checkpoint_every_ms": 40.0}, **changes)))
    verdicts = []
    for ranks in RANKS.get(what, (1,)):
        directory = tmp_path / f"{ranks}"
        command = ["-m", "mpi_engine", "run", path, "-o", directory]
        done = mpirun(ranks, *command)
        assert done.returncode == UNHEALTHY, done.stderr
        assert "Traceback" not in done.stderr
        [verdict] = {line for line in done.stderr.splitlines() if line.startswith("steelyard: ")}
        assert all(word in verdict for word in WORDS[what])
        assert verdict.removeprefix("steelyard: ") in (directory / "log.txt").read_text()
        assert open_run(directory).verify() == []
        assert find_damage(directory / DUMP) == []
        with open_sealed(directory / DUMP) as file:
            assert file.attrs["verdict"] in verdict
            assert file.attrs["step"] * 0.1 == pytest.approx(open_run(directory).recorded_ms)
            V = file["/neurons/E/V"][()]
        assert np.isfinite(np.delete(V, 60)).all()
        assert what != "infinite" or not np.isfinite(V[60])
        for checkpoint in checkpoints(directory):
            assert np.isfinite(Checkpoint(checkpoint).read("/neurons/E/V", 0, 83)).all()
        verdicts.append(verdict)
    assert len(set(verdicts)) == 1


def test_a_resumed_run_finds_what_the_first_one_found(small_experiment: Make, tmp_path: Path) -> None:
    path, directory = tmp_path / "sick.toml", tmp_path / "run"
    limits = {"interval_ms": 50.0, "max_rate_hz": 0.5}
    path.write_text(tomli_w.dumps(small_experiment(run={"checkpoint_every_ms": 20.0}, health=limits)))
    said = []
    for command in (["run", str(path), "-o", str(directory)], ["resume", str(directory)]):
        done = engine(1, *command)
        assert done.code == UNHEALTHY, done.err
        said.append(done.err)
    assert said[0] == said[1]
    assert [Checkpoint(each).step for each in checkpoints(directory)] == [200, 400]
    done = engine(1, "resume", directory, "--set", "health.max_rate_hz=500")
    assert done.code == 0, done.err
    assert open_run(directory).finished
