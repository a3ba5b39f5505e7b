"""Every mistake in an experiment with a coding network gives one line; what goes wrong in a run ends it in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tomli_w

from analysis.coding import CodingRun
from analysis.coding_figures import pictures
from mpi_engine.experiment import ExperimentError, parse_experiment
from mpi_engine.output.coding_reader import open_coding_run
from mpi_engine.run.job import run
from tests.coding_networks import STRUCTURED, Table, make

FREE = {"free": {"does": "run"}}

LEARN = {"does": "learn", "duration_ms": 100.0}

RECORDED = {"kind": "recorded", "file": "arm.csv", "columns": ["x", "y"], "interval_ms": 5.0}

BAD: dict[str, tuple[Table, tuple[str, ...]]] = {
    "unknown key": ({"network": {"sizes": 5}}, ("network.sizes", "did you mean size?")),
    "a population": ({"populations": {"E": {"size": 4}}}, ("populations", "network")),
    "unknown decoder": ({"network": {"decoder": {"kind": "even"}}}, ("network.decoder.kind", "'evenly_spaced'")),
    "too few neurons": ({"network": {"size": 2}}, ("network.size = 2", "give 3 at least")),
    "vectors of a wrong number": (
        {"network": {"decoder": {"kind": "given", "vectors": [[1.0, 0.0]]}}},
        ("network.decoder.vectors", "1 vectors", "network.size = 60"),
    ),
    "a vector of a wrong length": (
        {"network": {"decoder": {"kind": "given", "vectors": [[1.0, 0.0]] * 59 + [[1.0]]}}},
        ("network.decoder.vectors.59 = [1.0]", "2 components"),
    ),
    "gains the wrong way": ({"network": {"basis": STRUCTURED | {"gains": [2.0, 0.5]}}}, ("network.basis", "swap")),
    "too fast a leak": ({"network": {"leak_per_s": 2000.0}}, ("network.leak_per_s", "run.dt_ms")),
    "too fast a decay": ({"learning": {"decay_per_s": 2000.0}}, ("learning.decay_per_s", "run.dt_ms")),
    "a pulse off the step": (
        {"phases": {"free": {"does": "run", "input": {"kind": "pulses", "amplitude_per_s": 1.0, "length_ms": 0.04,
                                                      "interval_ms": [1.0, 5.0]}}}},
        ("phases.free.input.length_ms = 0.04", "run.dt_ms"),
    ),
    "a recording put into a state": (
        {"teacher": RECORDED, "phases": {"free": {"does": "run", "state": [1.0, 0.0]}}},
        ("phases.free.state", "leave it out"),
    ),
    "the exact drift of a recording": (
        {"teacher": RECORDED, "network": {"drift": "exact"}}, ("network.drift = 'exact'", "f is known")
    ),
    "a delay off the step": ({"network": {"lateral_delay_ms": 0.25}}, ("network.lateral_delay_ms", "run.dt_ms")),
    "more spikes than neurons": ({"network": {"spikes_per_step": 61}}, ("network.spikes_per_step", "60 neurons")),
    "factors with a mask": ({"learning": {"density": 0.5}}, ("density = 0.5", 'form = "per_synapse"')),
    "no phase": ({"phases": {}}, ("phases",)),
    "learning without end": ({"phases": {"learn": {"does": "learn"}}}, ("phases.learn.duration_ms", "is required")),
    "a first phase without end": (
        {"phases": FREE | {"learn": LEARN}}, ("phases.free.duration_ms", "only the last phase")
    ),
    "freely, with feedback": (
        {"phases": {"free": {"does": "run", "feedback_per_s": 10.0}}}, ("phases.free", "synchronise")
    ),
    "learning while it synchronises": (
        {"phases": {"s": {"does": "synchronise", "learning_rate_per_s2": 10.0}}}, ("phases.s", '"learn"')
    ),
    "a state of a wrong length": ({"phases": {"free": {"does": "run", "state": [1.0]}}}, ("phases.free.state", "2")),
    "an input of a wrong length": (
        {"phases": {"free": {"does": "run", "input": {"kind": "formula", "c_per_s": [1.0]}}}},
        ("phases.free.input.c_per_s", "2 components"),
    ),
    "a negative learning rate": (
        {"phases": {"learn": LEARN | {"learning_rate_per_s2": -1.0}} | FREE}, ("phases.learn.learning_rate_per_s2",)
    ),
    "trials of no phase": (
        {"phases": {"free": {"does": "run", "duration_ms": 10.0}}, "trials": {"from_phase": "fre", "count": 2}},
        ("trials.from_phase", "did you mean free?"),
    ),
    "nobody to die": ({"deaths": {"a": {"at_ms": 1.0}}}, ("deaths.a", "fraction or neurons")),
    "who is not there dies": ({"deaths": {"a": {"at_ms": 1.0, "neurons": [60]}}}, ("deaths.a.neurons = 60", "60")),
    "more dead than alive": (
        {"deaths": {"a": {"at_ms": 1.0, "fraction": 0.6}}}, ("deaths.a.fraction = 0.6", "more dead neurons than live")
    ),
    "more dead than alive, one by one": (
        {"deaths": {"a": {"at_ms": 1.0, "neurons": list(range(20))},
                    "b": {"at_ms": 2.0, "neurons": list(range(20, 40))}}},
        ("deaths.b.neurons = 40", "more dead neurons than live"),
    ),
    "recording who is not there": (
        {"recording": {"currents": {"neurons": [3, 60]}}}, ("recording.currents.neurons = 60", "60 neurons")
    ),
    "recording rates": ({"recording": {"rates": {"bin_ms": 1.0}}}, ("recording.rates",)),
    "samples of no time": (
        {"recording": {"state": {"interval_ms": 1e-12}}}, ("recording.state.interval_ms", "run.dt_ms")
    ),
    "weights looked at off the checks": (
        {"health": {"weights_interval_ms": 0.01}}, ("health.weights_interval_ms = 0.01", "health.interval_ms = 500")
    ),
    "a sample off the step": (
        {"recording": {"state": {"interval_ms": 0.25}}}, ("recording.state.interval_ms", "run.dt_ms")
    ),
}


@pytest.mark.parametrize("mistake", BAD)
def test_a_mistake_is_one_line(mistake: str) -> None:
    changes, words = BAD[mistake]
    with pytest.raises(ExperimentError) as caught:
        parse_experiment(make(**changes))
    lines = str(caught.value).splitlines()
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0]


def write(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "experiment.toml"
    path.write_text(tomli_w.dumps(make(**changes)))
    return path


def test_what_the_draw_shows_is_told_once_by_all_ranks(mpirun: Callable[..., Any], tmp_path: Path) -> None:
    path = write(tmp_path, network={"decoder": {"kind": "given", "vectors": [[1.0, 0.0], [0.0, 1.0]] * 30}})
    done = mpirun(2, "-m", "mpi_engine", "run", path, "-o", tmp_path / "run")
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("steelyard:")]
    assert len(lines) == 1
    assert "network.decoder" in lines[0]
    assert "span all 2 dimensions" in lines[0]


def test_learning_that_explodes_ends_with_exit_code_3(mpirun: Callable[..., Any], tmp_path: Path) -> None:
    """Not with a wrong number: the drift leaves the range of the exact sums, and the state is kept to be looked at."""
    wild = {"learn": LEARN | {"feedback_per_s": 0.0, "learning_rate_per_s2": 1e7}}
    done = mpirun(2, "-m", "mpi_engine", "run", write(tmp_path, phases=wild | FREE), "-o", tmp_path / "run")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "learning_rate_per_s2" in done.stderr
    with h5py.File(tmp_path / "run" / "unhealthy.h5") as file:
        assert file["coding/theta"].shape == (30, 2)


def test_what_was_recorded_before_a_teacher_diverges_is_kept(tmp_path: Path) -> None:
    """And can be looked at: state, spikes, currents and weights up to there, in pictures too."""
    flow = tmp_path / "flow.py"
    flow.write_text("from mpi_engine.user import teacher\n\n\n@teacher(parameters={})\ndef flow(x):\n"
                    "    return -x[0] + x[0] * x[0] * x[0], -x[1]\n", encoding="utf-8")
    phases = {
        "learn": LEARN | {"input": {"kind": "formula", "c_per_s": [0.0, 0.0]}},
        "free": {"does": "run", "input": {"kind": "formula", "c_per_s": [8.0, 0.0]}},
    }
    table = make(
        teacher={"kind": "user", "file": str(flow), "function": "flow", "initial_state": [0.5, 0.5]},
        phases=phases, run={"duration_ms": 2000.0},
        recording={"state": {"interval_ms": 1.0}, "currents": {"neurons": 3}, "slow_weights": {"interval_ms": 50.0}},
    )
    with pytest.raises(ExperimentError, match=r"teacher: diverges at t = 0\.\d+ s"):
        run(parse_experiment(table), tmp_path / "run")
    recorded = CodingRun(open_coding_run(tmp_path / "run"))
    x = recorded.reader.tracking().x[:, 0]
    assert 200 < len(x) < 2000
    assert np.isfinite(x).all()
    assert 5 < x[-1] < 100     # shortly before
    drawn = [[panel.get_title(loc="left") for panel in figure.axes] for figure, _ in pictures(recorded)]
    assert [titles[0] for titles in drawn] == ["Error while learning", "Free runs", "Orbit", "Spikes",
                                               f"Currents into neuron {recorded.reader.currents().ids[0]}"]
