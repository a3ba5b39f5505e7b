"""Teachers: what they follow, how they are scaled, what is wrong with them; and bases that tell their states apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.orbits import orbit_distance
from mpi_engine.dynamics.basis import draw_units
from mpi_engine.dynamics.teaching import TeacherError, Teaching
from mpi_engine.experiment import CodingExperiment, ExperimentError, parse_experiment
from mpi_engine.experiment.pilot import run_pilot
from mpi_engine.run.coding import CodingSimulation
from tests.coding_networks import Table, make

FILE = '''from math import sin

from numba import njit

from mpi_engine.user import teacher


@njit
def f(rate, x):
    return -rate * x


@teacher(parameters={"rate": 2.0})
def decay(x, t, p):
    return f(p.rate, x[0]), t + 1e-8 * sin(1e12 * t)


@teacher(parameters={})
def explosion(x):
    return x[0] * x[0]


@teacher(parameters={})
def spelled_out(x):
    return -float.fromhex(x[0].hex())


@teacher(parameters={})
def too_few(x):
    return x[0]
'''


def resolved(teacher: Table, directory: Path | str = ".", **changes: Table) -> CodingExperiment:
    table = make(**changes)
    table["teacher"] = teacher
    experiment = parse_experiment(table, directory=directory)
    assert isinstance(experiment, CodingExperiment)
    return experiment


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "flows.py"
    path.write_text(FILE, encoding="utf-8")
    return path


def user(file: Path, function: str, initial_state: list[float], **more: object) -> Table:
    return {"kind": "user", "file": str(file), "function": function, "initial_state": initial_state, **more}


def test_an_oscillator_is_followed_to_fourth_order() -> None:
    """Against the exact solution, with a constant input; errors of one step are of the fifth order."""
    experiment = resolved({"kind": "oscillator", "frequency_hz": 1.5, "damping_per_s": 0.7, "scale": [2.0, 2.0],
                           "offset": [0.1, 0.0]})
    teaching = Teaching(experiment)
    c = np.tile([0.3, -0.2], (5000, 1))
    x = teaching.follow(0, teaching.initial_state, c)
    w = 2 * np.pi * 1.5
    J = np.array([[-0.7, -w], [w, -0.7]])
    rest = -np.linalg.solve(J, 2 * c[0])     # in the teacher's units
    t = np.arange(5001) * 1e-4
    turn = np.exp(-0.7 * t) * np.array([[np.cos(w * t), -np.sin(w * t)], [np.sin(w * t), np.cos(w * t)]])
    exact = rest + np.einsum("ijt,j->ti", turn, [1.0, 0.0] - rest)
    np.testing.assert_allclose(x, (exact - [0.1, 0.0]) / 2, atol=1e-10)


def test_a_teacher_is_the_same_from_any_step_on(file: Path) -> None:
    """Its time too: the sine is small, and shows the last bit of t."""
    units = {"offset": [0.0, 0.0], "scale": [1.0, 1.0]}
    experiment = resolved(user(file, "decay", [1.0, 0.0], parameters={"rate": 3.0}, **units))
    teaching = Teaching(experiment)
    c = np.random.default_rng(0).normal(size=(400, 2))
    whole = teaching.follow(0, teaching.initial_state, c)
    parts = teaching.follow(150, whole[150], c[150:])
    np.testing.assert_array_equal(parts, whole[150:])
    quiet = teaching.follow(0, teaching.initial_state, np.zeros((400, 2)))
    t = np.arange(401) * 1e-4
    np.testing.assert_allclose(quiet, np.column_stack([np.exp(-3 * t), t**2 / 2]), atol=1e-9)


def test_a_recorded_trajectory_is_interpolated_and_ends(tmp_path: Path) -> None:
    t = np.arange(60) * 0.01
    columns = np.column_stack([np.arange(60), np.sin(5 * t), 7 + 3 * np.cos(5 * t)])
    np.savetxt(tmp_path / "arm.csv", columns, delimiter=",", header="n,x,y", comments="")
    recorded = {"kind": "recorded", "file": "arm.csv", "columns": ["x", "y"], "interval_ms": 10.0}
    experiment = resolved(recorded, tmp_path)
    teaching = Teaching(experiment)
    assert teaching.drift is None
    x = teaching.follow(100, teaching.initial_state, np.zeros((7000, 2)))
    fine = np.minimum(np.arange(100, 7101) * 1e-4, 0.59)
    exact = np.column_stack([np.sin(5 * fine), 7 + 3 * np.cos(5 * fine)])
    own = np.array(experiment.teacher.offset) + np.array(experiment.teacher.scale) * x
    inside = (fine > 0.02) & (fine < 0.57)
    np.testing.assert_allclose(own[inside], exact[inside], atol=3 * 5**3 * 0.01**3)      # of the third order
    np.testing.assert_allclose(own[-1], exact[-1], atol=1e-12)                          # stays at its end
    again = Teaching(resolved(recorded | {"repeats": True}, tmp_path))
    period = round(0.59 / 1e-4)
    np.testing.assert_allclose(again.follow(period + 50, x[0], np.zeros((10, 2))),
                               again.follow(50, x[0], np.zeros((10, 2))), atol=1e-9)


def test_states_are_scaled_to_order_one_unless_told() -> None:
    experiment = resolved({"kind": "limit_cycle", "initial_state": [0.0, 1.0]})
    np.testing.assert_allclose(experiment.teacher.scale, [1.0, 1.0], atol=0.01)
    np.testing.assert_allclose(experiment.teacher.offset, [0.0, 0.0], atol=0.01)
    lorenz = resolved({"kind": "lorenz"})
    pilot = run_pilot(lorenz.teacher, None)
    assert np.abs(pilot.states).max() < 1.6
    # the field's own figures: a turn of the attractor takes about .75 s; the Jacobian's norm is some tens a second
    assert 4 < pilot.turnover_per_s < 12
    assert 10 < pilot.lipschitz_per_s < 60
    assert not pilot.comes_to_rest
    assert run_pilot(resolved({"kind": "oscillator", "damping_per_s": 2.0}).teacher, None).comes_to_rest


def test_what_was_chosen_is_in_the_experiment_and_chosen_once() -> None:
    experiment = resolved({"kind": "van_der_pol"},
                          phases={"learn": {"does": "learn", "duration_ms": 400.0}}, network={"basis": {}})
    text = experiment.to_toml()
    for key in ("std_per_s", "tau_ms", "feedback_per_s", "learning_rate_per_s2", "gains", "norm", "offset", "scale"):
        assert key in text
    assert parse_experiment(experiment.model_dump(exclude_none=True)) == experiment


@pytest.mark.parametrize(
    ("teacher", "told"),
    [
        (("explosion", [1.0]), "diverges at t = 1"),
        (("too_few", [1.0, 2.0]), "the slope of each of the 2 components"),
        (("missing", [1.0]), "no function missing"),
        (("decay", [1.0, 2.0, 3.0]), "returns 2 values; it must return 3"),
    ],
)
def test_mistakes_in_flows_are_told(file: Path, teacher: tuple[str, list[float]], told: str) -> None:
    with pytest.raises(ExperimentError, match=told):
        resolved(user(file, *teacher))


@pytest.mark.parametrize(
    ("recorded", "told"),
    [
        ({"columns": ["x"]}, "interval_ms"),
        ({"columns": ["z"], "interval_ms": 1.0}, "has no column 'z'"),
        ({"columns": ["x"], "interval_ms": 1.0, "file": "none.csv"}, "there is no file"),
        ({"columns": ["word"], "interval_ms": 1.0}, "sample 1"),
    ],
)
def test_mistakes_in_recordings_are_told(tmp_path: Path, recorded: Table, told: str) -> None:
    (tmp_path / "arm.csv").write_text("x, word\n1, 1\n2, two\n3, 3\n4, 4\n", encoding="utf-8")
    with pytest.raises(ExperimentError, match=told):
        resolved({"kind": "recorded", "file": "arm.csv", **recorded}, tmp_path)


@pytest.mark.parametrize(("after", "told"), [("x\n1\n2\n3\n5\n", "another content"), (None, "there is no file")])
def test_a_recording_that_changes_before_the_run_is_told(tmp_path: Path, after: str | None, told: str) -> None:
    path = tmp_path / "arm.csv"
    path.write_text("x\n1\n2\n3\n4\n", encoding="utf-8")
    experiment = resolved({"kind": "recorded", "file": "arm.csv", "columns": ["x"], "interval_ms": 1.0}, tmp_path)
    path.unlink()
    if after:
        path.write_text(after, encoding="utf-8")
    with pytest.raises(ExperimentError, match=rf"teacher\.file = .*{told}"):
        Teaching(experiment)


def test_divergence_in_the_run_names_time_and_state(file: Path) -> None:
    """The pilot is undisturbed, the run is not: a stable state with a way to infinity beside it."""
    file.write_text("from mpi_engine.user import teacher\n\n\n@teacher(parameters={})\ndef flow(x):\n"
                    "    return -x[0] + x[0] * x[0] * x[0]\n", encoding="utf-8")
    phases = {"free": {"does": "run", "input": {"kind": "formula", "c_per_s": [8.0]}}}
    teaching = Teaching(resolved(user(file, "flow", [0.5]), phases=phases))
    c = np.full((10_000, 1), 8.0)
    states = teaching.follow(0, teaching.initial_state, c)     # as long as it can be shown to a network
    assert 100 < len(states) < 10_000
    assert 10 < np.abs(states).max() < 100
    with pytest.raises(TeacherError, match=r"diverges at t = 0\.\d+ s, after the state \("):
        teaching.follow(len(states) - 1, states[-1], c)


def test_where_a_teacher_may_rest_elsewhere_the_middle_is_between(file: Path) -> None:
    """It begins beside an unstable state, and is at rest in one of two wells, of which the pilot sees but one."""
    file.write_text("from mpi_engine.user import teacher\n\n\n@teacher(parameters={})\ndef flow(x):\n"
                    "    return 4.0 * x[0] * (1.0 - x[0] * x[0] / 9.0)\n", encoding="utf-8")
    teacher = resolved(user(file, "flow", [0.1])).teacher
    assert abs(teacher.offset[0]) < 0.3
    assert 2.5 < teacher.scale[0] < 3.5


def test_a_flow_that_cannot_be_compiled_is_told(file: Path) -> None:
    experiment = resolved(user(file, "spelled_out", [1.0]))
    with pytest.raises(ExperimentError, match=r"teacher\.file = .*flows\.py: line 25 cannot be compiled"):
        CodingSimulation(experiment)


def test_decorrelated_units_are_orthogonal_where_the_teacher_goes() -> None:
    """Of mean square one, all together, and in the order of what each adds to those before."""
    experiment = resolved({"kind": "lorenz"}, network={"basis": {"size": 40}})
    units = draw_units(experiment)
    states = run_pilot(experiment.teacher, experiment.phases["learn"].input).spread()
    psi = np.tanh(states @ units.A.T + units.offset) @ units.mixing.T
    overlaps = psi.T @ psi / len(psi)
    assert np.trace(overlaps) == pytest.approx(40, rel=1e-6)
    assert np.abs(overlaps - np.diag(np.diag(overlaps))).max() < 1e-6
    assert (np.diff(np.diag(overlaps)) < 1e-9).all()
    assert not np.triu(units.mixing, 1).any()


def test_too_many_units_are_refused() -> None:
    experiment = resolved({"kind": "bistable"}, network={"basis": {"size": 40}})
    with pytest.raises(ExperimentError, match="units are independent over the states"):
        draw_units(experiment)


def test_a_limit_cycle_is_learned_with_defaults_in_seconds() -> None:
    """Free-running within a tenth of the cycle's size, of which an untaught network stays far away."""
    phases = {"settle": {"does": "synchronise", "duration_ms": 500.0}, "free": {"does": "run"}}
    distances = []
    for learn in ({"duration_ms": 20_000.0}, {"duration_ms": 500.0, "learning_rate_per_s2": 0.0}):
        experiment = resolved(
            {"kind": "limit_cycle", "frequency_hz": 1.3}, run={"duration_ms": learn["duration_ms"] + 5000.0},
            network={"size": 100, "decoder": {"kind": "random"}, "basis": {}},
            recording={"state": {"interval_ms": 5.0}}, phases={"learn": {"does": "learn", **learn}, **phases},
        )
        simulation = CodingSimulation(experiment)
        simulation.compile()
        simulation.start()
        states: list[np.ndarray] = []
        while simulation.step < experiment.n_steps:
            assert simulation.advance(experiment.n_steps) == 0
            records = {record.path: record.values for record in simulation.take_records()}
            states.append(np.stack([records["/coding/state/x"], records["/coding/state/xhat"]]))
        x, xhat = np.concatenate(states, axis=1)[:, -800:]
        distances.append(orbit_distance(xhat[200:], x))
    assert distances[0] < 0.1
    assert distances[1] > 0.5
