"""A user's own neurons, synapses and rules: the shipped example, built-in models written as a user would, mistakes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from mpi_engine.dynamics.block import Plan, block_source
from mpi_engine.experiment import Experiment, ExperimentError, load_experiment, parse_experiment
from mpi_engine.run.simulation import Simulation
from tests.state import state_of

OWN = Path("analysis/studies/own")

BUILT_IN_AGAIN = '''
from mpi_engine.user import exp, neuron, rule, synapse


@neuron(
    parameters={"tau_m_ms": 15.0, "E_L_mv": -72.0, "V_T_mv": -55.0, "Delta_T_mv": 1.0, "V_th_mv": -50.0,
                "V_reset_mv": -75.0},
    threshold="V_th_mv",
    reset=lambda p: p.V_reset_mv,
)
def eif(V, I, p):
    return (p.E_L_mv - V) / p.tau_m_ms + p.Delta_T_mv / p.tau_m_ms * exp((V - p.V_T_mv) / p.Delta_T_mv) + I


@synapse(parameters={"tau_ms": 10.0}, state=["current"])
def feedforward(current, arrived, dt, p):
    current = current * (1 - dt / p.tau_ms) + arrived / p.tau_ms
    return current, current


@rule(
    parameters={"tau_ms": 50.0, "rate": 0.01, "alpha": 1.0},
    traces={"x_pre": "tau_ms", "x_post": "tau_ms"},
    on_post=lambda w, x_pre, p: w - p.rate * x_pre * w,
)
def homeostatic(w, x_post, p):
    return w - p.rate * (x_post - p.alpha) * w
'''

ADAPTING = '''
from mpi_engine.user import neuron


@neuron(parameters={"V_th_mv": 0.0}, threshold="V_th_mv", state={"I_excitatory": 0.0},
        reset=lambda I_excitatory, p: (-70.0, I_excitatory + 1.0))
def eif(V, I_excitatory, I, p):
    return I - I_excitatory - V, -I_excitatory
'''

NAMESAKES = '''
from mpi_engine.user import neuron, synapse


@neuron(parameters={"V_th_mv": 0.0}, threshold="V_th_mv", reset=lambda a_b, synaptic_0, p: (-70.0, a_b, synaptic_0),
        state={"a_b": 0.0, "synaptic_0": 0.0})
def cell(V, a_b, synaptic_0, I, p):
    return I, 1.0, 2.0


@synapse(parameters={}, state=["b"])
def a(b, arrived):
    return b + 4.0, 0.0
'''

SCALED = {"weight_scaling": "1/sqrt(N)", "probability": 0.1}

EIF = {"model": "eif", "tau_m_ms": 15.0, "E_L_mv": -72.0, "V_T_mv": -55.0, "Delta_T_mv": 1.0, "V_th_mv": -50.0,
       "V_reset_mv": -75.0, "V_init_mv": {"uniform": [-75.0, -55.0]}}


def network(own: bool, n: int = 1000, **run: Any) -> dict[str, Any]:
    """The network of Akil et al., with built-in models or with the same ones of a user's."""
    file = {"file": "models.py"}
    rule = {"rule": "homeostatic", "tau_ms": 50.0, "learning_rate_mv": 0.01 * 200.0 / n**0.5, "target_rate_hz": 10.0,
            "weight_norm_mv": -200.0}
    own_rule = {"rule": "user", **file, "function": "homeostatic", "parameters": {"rate": -0.01}}
    return {
        "run": {"duration_ms": 200.0, **run},
        "neurons": {"eif": {"model": "user", **file, "V_init_mv": EIF["V_init_mv"]} if own else EIF},
        "populations": {"E": {"size": 4 * n // 5, "neuron": "eif"}, "I": {"size": n // 5, "neuron": "eif"}},
        "inputs": {"X": {"kind": "poisson", "size": n // 5, "rate_hz": 10.0}},
        "synapses": {
            "excitatory": {"kind": "exponential_current", "tau_ms": 8.0},
            "inhibitory": {"kind": "exponential_current", "tau_ms": 4.0},
            "feedforward": {"kind": "user", **file} if own else {"kind": "exponential_current", "tau_ms": 10.0},
        },
        "plasticity": {"learning": own_rule if own else rule},
        "projections": {
            "EE": {"source": "E", "target": "E", "synapse": "excitatory", "weight_mv": 25.0, **SCALED},
            "EI": {"source": "E", "target": "I", "synapse": "excitatory", "weight_mv": 112.5, **SCALED},
            "IE": {"source": "I", "target": "E", "synapse": "inhibitory", "weight_mv": -150.0, "plasticity": "learning",
                   **SCALED},
            "II": {"source": "I", "target": "I", "synapse": "inhibitory", "weight_mv": -250.0, **SCALED},
            "XE": {"source": "X", "target": "E", "synapse": "feedforward", "weight_mv": 180.0, **SCALED},
            "XI": {"source": "X", "target": "I", "synapse": "feedforward", "weight_mv": 135.0, **SCALED},
        },
    }


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models.py").write_text(BUILT_IN_AGAIN)
    return tmp_path


def started(experiment: Experiment) -> Simulation:
    simulation = Simulation(experiment)
    simulation.compile()
    simulation.start()
    return simulation


def test_the_same_arithmetic_gives_the_same_network_as_fast(models: Path) -> None:
    """Built-in models and a user's copies: the same spikes in double precision, in hardly more time.

    A function that is called at every spike, and not compiled into the step, takes several times as long.
    """
    double = {"state_dtype": "float64", "weight_dtype": "float64"}
    tables = [network(own, **double) for own in (False, True)]
    built_in, own = (started(parse_experiment(table, directory=models)) for table in tables)
    for simulation in (built_in, own):
        simulation.advance(1000)
    assert built_in.progress.tolist() == own.progress.tolist()
    assert built_in.progress[1] > 200
    for key, values in state_of(built_in).items():
        if key.startswith(("V/", "weights/")):
            np.testing.assert_allclose(state_of(own)[key], values, rtol=1e-9, err_msg=key)
    # whatever else the machine does slows now one, now the other; a copy that is slower is so always
    assert any(_slowdown(own, built_in) < 1.3 for _ in range(10))


def _slowdown(one: Simulation, other: Simulation) -> float:
    """Median over 20 turns, which both take one after the other."""
    return float(np.median([_time(one, 100) / _time(other, 100) for _ in range(20)]))


def _time(simulation: Simulation, steps: int) -> float:
    begin = time.process_time()
    simulation.advance(simulation.step + steps)
    return time.process_time() - begin


def test_the_shipped_example_runs_and_learns() -> None:
    experiment = load_experiment(OWN / "network.toml", ["run.duration_ms=300.0"])
    simulation = started(experiment)
    initial = state_of(simulation)["weights/E_to_E"].copy()
    simulation.advance(experiment.n_steps)
    rates = simulation.progress[1:3] / (np.array([800, 200]) * 0.3)
    assert np.all((rates > 1.0) & (rates < 100.0))
    weights = state_of(simulation)["weights/E_to_E"]
    changes = (weights - initial) * 1e2     # each spike adds 0.02 or takes 0.01
    np.testing.assert_allclose(changes, np.rint(changes), atol=1e-2)
    assert changes.min() < -0.5 < 0.5 < changes.max()


def test_the_readme_shows_the_example() -> None:
    text = Path("README.md").read_text()
    for block in text.split("```python\n")[1:]:
        code = block.split("```")[0]
        if "@neuron" in code:
            assert code.strip() in (OWN / "models.py").read_text()
            return
    raise AssertionError("the README shows no user file")


def test_an_edited_file_is_another_experiment(models: Path) -> None:
    path = models / "experiment.toml"
    path.write_text(tomli_w.dumps(network(own=True)))
    before = load_experiment(path)
    (models / "models.py").write_text(BUILT_IN_AGAIN.replace("(x_post - p.alpha)", "(x_post - 2 * p.alpha)"))
    after = load_experiment(path)
    assert before.hash != after.hash
    assert block_source(Plan(before)) != block_source(Plan(after))     # whose hash is its place in the cache
    (models / "models.py").unlink()
    again = parse_experiment(after.model_dump(exclude_none=True))     # a resolved experiment needs no file
    assert again.hash == after.hash


MISTAKES: dict[str, tuple[str, str, str]] = {
    "not Python": ("def eif(V, I, p):", "def eif(V, I p):", "models.py:11:"),
    "an unknown name": ("+ I\n", "+ J\n", "name 'J' is not defined"),
    "an unknown parameter": ("p.E_L_mv - V", "p.E_K_mv - V", "E_K_mv"),
    "a missing state variable": ('state=["current"]', 'state=["current", "slow"]', "must return 3"),
    "too many values": ("return current, current", "return current, current, 1.0", "must return 2"),
    "a rule that gives NaN": ("return w - p.rate * (x_post - p.alpha) * w", 'return w * float("nan")', "returns nan"),
    "an unknown argument": ("def homeostatic(w, x_post, p):", "def homeostatic(w, x_post, u, p):", "asks for 'u'"),
    "a trace of no side": ('"x_post": "tau_ms"}', '"x": "tau_ms"}', "must end in _pre or _post"),
    "a threshold that is no parameter": ('threshold="V_th_mv"', 'threshold="V_max_mv"', "'V_max_mv' is no parameter"),
    "an import that is not there": ("from mpi_engine.user import", "import nowhere\nfrom mpi_engine.user import",
                                    "No module named 'nowhere'"),
    "a parameter with a name of Python's": ('"rate": 0.01,', '"rate": 0.01, "lambda": 1.0,', "anything 'lambda'"),
    "a state variable with a name that is taken": ('state=["current"]', 'state=["dt"]', "'dt', which is taken"),
    "the other decorator": ('@synapse(parameters={"tau_ms": 10.0}, state=["current"])\n',
                            '@rule(parameters={"tau_ms": 10.0})\n', "SynapseModel is needed"),
    "no such function": ("def feedforward(", "def feedback(", "no function feedforward"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_line(mistake: str, models: Path) -> None:
    old, new, told = MISTAKES[mistake]
    assert old in BUILT_IN_AGAIN
    (models / "models.py").write_text(BUILT_IN_AGAIN.replace(old, new))
    with pytest.raises(ExperimentError) as error:
        parse_experiment(network(own=True), directory=models)
    # a file that cannot be executed is told at each part that names it
    assert len(error.value.problems) == (3 if mistake in ("not Python", "an import that is not there") else 1)
    for problem in error.value.problems:
        assert told in str(problem)
        assert "models.py:" in str(problem)


def test_what_cannot_be_compiled_is_told_with_its_line(
    models: Path, mpirun: Callable[..., Any], tmp_path: Path
) -> None:
    """A function that Python can call and the compiler cannot; on two ranks."""
    broken = BUILT_IN_AGAIN.replace("current * (1 - dt / p.tau_ms)", "current * dt.as_integer_ratio()[0]")
    (models / "models.py").write_text(broken)
    path = models / "experiment.toml"
    path.write_text(tomli_w.dumps(network(own=True, n=100)))
    done = mpirun(2, "-m", "mpi_engine", "run", str(path), "-o", str(tmp_path / "run"))
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "models.py" in line]
    assert "synapses.feedforward.file" in line
    assert "line 17 cannot be compiled" in line
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("change", "key", "told"), [
    ({"neurons": {"eif": {"file": "nowhere.py"}}}, "neurons.eif.file", "cannot be read"),
    ({"neurons": {"eif": {"parameters": {"V_thr_mv": -40.0}}}}, "neurons.eif", "did you mean V_th_mv?"),
    ({"neurons": {"eif": {"initial": {"u": 1.0}}}}, "neurons.eif", "initial.u"),
    ({"neurons": {"eif": {"function": "homeostatic"}}}, "neurons.eif", "a NeuronModel is needed"),
    ({"plasticity": {"learning": {"parameters": {"tau_ms": 0.0}}}}, "plasticity.learning", "above 0"),
    ({"neurons": {"eif": {"file": "adapting.py"}}}, "neurons.eif.file", "a synapse of E has a variable"),
])
def test_what_the_experiment_says_of_a_file_is_checked(
    change: dict[str, Any], key: str, told: str, models: Path
) -> None:
    (models / "adapting.py").write_text(ADAPTING)
    table = network(own=True)
    for part, entries in change.items():
        for name, keys in entries.items():
            table[part][name] = table[part][name] | keys
    with pytest.raises(ExperimentError) as error:
        parse_experiment(table, directory=models)
    problem = error.value.problems[0]
    assert {found.key for found in error.value.problems} == {key}
    assert told in str(problem)


def test_variables_of_neurons_and_synapses_may_be_namesakes(tmp_path: Path) -> None:
    """A neuron's variable a_b, the variable b of a synapse a, and the name under which that is saved."""
    (tmp_path / "models.py").write_text(NAMESAKES)
    simulation = started(parse_experiment({
        "run": {"duration_ms": 2.0},
        "neurons": {"cell": {"model": "user", "file": "models.py", "V_init_mv": -70.0}},
        "populations": {"P": {"size": 2, "neuron": "cell"}},
        "synapses": {"a": {"kind": "user", "file": "models.py"}},
        "projections": {"PP": {"source": "P", "target": "P", "synapse": "a", "probability": 1.0, "weight_mv": 1.0}},
    }, directory=tmp_path))
    simulation.advance(10)
    np.testing.assert_allclose(simulation.populations["P"].state, [[1.0, 1.0], [2.0, 2.0]], rtol=1e-5)
    assert simulation.populations["P"].synaptic.tolist() == [[40.0, 40.0]]
    paths = [variable.path for variable in simulation.state]
    assert len(paths) == len(set(paths)) == len({id(variable.values) for variable in simulation.state})
    assert sum(path.startswith("/neurons/P/") for path in paths) == 1 + 2 + 1 + 1


def test_a_trace_that_a_step_outlives_is_refused(models: Path) -> None:
    table = network(own=True)
    table["plasticity"]["learning"]["parameters"] |= {"tau_ms": 0.04}
    with pytest.raises(ExperimentError, match=r"plasticity\.learning\.parameters\.tau_ms = 0\.04: is below run\.dt_ms"):
        parse_experiment(table, directory=models)
