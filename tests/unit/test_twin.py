"""The compiled step against its NumPy twin, for every rule, input, connectivity and number format."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mpi_engine.experiment import Experiment, parse_experiment
from mpi_engine.run.simulation import Simulation
from tests.state import state_of
from tests.unit.twin import Twin

EIF = {
    "model": "eif", "tau_m_ms": 15.0, "E_L_mv": -72.0, "V_T_mv": -55.0, "Delta_T_mv": 1.0, "V_th_mv": -50.0,
    "V_reset_mv": -75.0, "V_init_mv": {"uniform": [-75.0, -51.0]},
}

RULES: dict[str, dict[str, Any]] = {
    "hebbian_hard": {"rule": "hebbian_hard", "learning_rate_mv": 0.01, "weight_min_mv": 0.0, "weight_max_mv": 30.0},
    "hebbian_soft": {"rule": "hebbian_soft", "learning_rate": 0.01, "weight_max_mv": 30.0},
    "kohonen": {"rule": "kohonen", "learning_rate": 0.05, "beta_mv": 2.0},
    "oja": {"rule": "oja", "learning_rate": 0.01, "beta_mv": 25.0},
    "homeostatic": {"rule": "homeostatic", "learning_rate_mv": 0.05, "target_rate_hz": 10.0, "weight_norm_mv": -200.0},
    "pair": {"rule": "pair", "a_pre": [1e-3, -2e-3], "b_pre": [-1e-3, 1e-3], "a_post": [-1e-3, 1e-3],
             "b_post": [2e-3, -3e-3]},
}


LEARNING = {"EE": "hebbian_hard", "IE": "homeostatic", "II": "homeostatic", "EI": "pair", "XE": "kohonen", "XI": "oja",
            "YE": "hebbian_soft"}
"""What learns by which rule: recurrent projections and those of inputs."""


def network(learning: dict[str, str] = LEARNING, **changes: Any) -> dict[str, Any]:
    """A network of 230 neurons with all inputs, in which projections learn."""
    scaled = {"weight_scaling": "1/sqrt(N)"}
    inhibitory = {"synapse": "inhibitory", **scaled}
    description: dict[str, Any] = {
        "seed": 3,
        "run": {"duration_ms": 60.0, "dt_ms": 0.1},
        "neurons": {"eif": EIF},
        "populations": {"E": {"size": 181, "neuron": "eif"}, "I": {"size": 49, "neuron": "eif"}},
        "inputs": {
            "X": {"kind": "poisson", "size": 53, "rate_hz": 60.0, "correlation": 0.2, "jitter_ms": 2.0},
            "Y": {"kind": "poisson", "size": 31, "rate_hz": 200.0},
            "constant": {"kind": "current", "target": "I", "amplitude_mv_per_ms": 0.5},
            "pulse": {"kind": "current", "target": "E", "first": 20, "count": 50, "amplitude_mv_per_ms": 1.5,
                      "start_ms": 10.0, "stop_ms": 40.0},
        },
        "synapses": {
            "excitatory": {"kind": "exponential_current", "tau_ms": 8.0},
            "inhibitory": {"kind": "exponential_current", "tau_ms": 4.0},
            "feedforward": {"kind": "exponential_current", "tau_ms": 10.0},
        },
        "projections": {
            "EE": {"source": "E", "target": "E", "synapse": "excitatory", "probability": 0.2, "weight_mv": 25.0,
                   **scaled},
            "IE": {"source": "I", "target": "E", "probability": 0.3, "weight_mv": -150.0, **inhibitory},
            "EI": {"source": "E", "target": "I", "synapse": "excitatory", "in_degree": 20, "weight_mv": 112.5,
                   **scaled},
            "II": {"source": "I", "target": "I", "in_degree": 9, "self_connections": False, "weight_mv": -250.0,
                   **inhibitory},
            "XE": {"source": "X", "target": "E", "synapse": "feedforward", "probability": 0.3, "weight_mv": 180.0,
                   **scaled},
            "XI": {"source": "X", "target": "I", "synapse": "feedforward", "probability": 0.3, "weight_mv": 135.0,
                   **scaled},
            "YE": {"source": "Y", "target": "E", "synapse": "excitatory", "probability": 0.1, "weight_mv": 15.0,
                   **scaled},
        },
        "plasticity": {},
        "recording": {"segment_ms": 100.0},
    }
    for projection, by in learning.items():
        description["plasticity"][f"of_{projection}"] = {"tau_ms": 20.0, **RULES[by]}
        description["projections"][projection]["plasticity"] = f"of_{projection}"
    description["run"] |= changes
    return description


def ulps(a: np.ndarray, b: np.ndarray) -> float:
    """Largest distance in units in the last place of the larger."""
    spacing = np.spacing(np.maximum(np.abs(a), np.abs(b)))
    return float(np.max(np.abs(a - b) / spacing, initial=0.0))


LIF = {"model": "lif", "refractory_ms": 2.0} | {key: EIF[key] for key in ("tau_m_ms", "E_L_mv", "V_reset_mv")} | {
    "V_th_mv": -55.0, "V_init_mv": {"uniform": [-75.0, -56.0]}
}
ADEX = EIF | {"model": "adex", "tau_w_ms": 50.0, "a_per_ms": 0.01, "b_mv_per_ms": 0.2, "refractory_ms": 0.5}
SHARP = EIF | {"spike_current_mv_per_ms": 1.0}

CONDUCTANCES = {"excitatory": 0.0, "feedforward": 0.0, "inhibitory": -80.0}


def model_network(neuron: dict[str, Any], integrator: str, conductances: bool, **changes: Any) -> dict[str, Any]:
    """The same network with another neuron model, integrator or synapse kind."""
    description = network({"EE": "kohonen", "II": "homeostatic"}, integrator=integrator, **changes)
    description["neurons"]["eif"] = neuron
    description["recording"]["statistics"] = {"shadow_voltage": True}
    if conductances:
        for name, synapse in description["synapses"].items():
            synapse |= {"kind": "exponential_conductance", "reversal_mv": CONDUCTANCES[name]}
        for projection in description["projections"].values():
            projection["match_at_mv"] = -72.0
    return description


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_step_agrees_with_the_twin(dtype: str) -> None:
    compare_with_twin(parse_experiment(network(state_dtype=dtype, weight_dtype=dtype)))


MODELS = [
    (LIF, "forward_euler", False), (EIF, "exponential_euler", False), (SHARP, "exponential_euler", True),
    (ADEX, "forward_euler", True),
]


@pytest.mark.parametrize(("neuron", "integrator", "conductances"), MODELS)
def test_every_model_agrees_with_the_twin(neuron: dict[str, Any], integrator: str, conductances: bool) -> None:
    double = {"state_dtype": "float64", "weight_dtype": "float64"}
    compare_with_twin(parse_experiment(model_network(neuron, integrator, conductances, **double)))


def compare_with_twin(experiment: Experiment) -> None:
    """Advance step by step, and let the twin do every step from the engine's state."""
    simulation = Simulation(experiment)
    simulation.compile()
    simulation.start()
    twin = Twin(simulation)
    n_spikes = n_events = 0
    state = state_of(simulation)
    for n in range(1, experiment.n_steps + 1):
        inputs = _fired(simulation, experiment.trains)
        expected, fired, potentials = twin.step(n, state, inputs)
        simulation.advance(n)
        state = state_of(simulation)
        measured = _fired(simulation, experiment.populations)
        agreed = True
        for name in experiment.populations:
            differ = np.setxor1d(fired[name], measured[name])
            threshold = experiment.neurons[experiment.populations[name].neuron].V_th_mv
            assert np.all(np.abs(potentials[name][differ] - threshold) < 1e-9), f"step {n}: {name} fired differently"
            agreed = agreed and not differ.size
            n_spikes += fired[name].size
        if not agreed:
            continue
        for key, values in expected.items():
            if key.startswith(("V_free/", "w/")):     # passes zero, where the last place is far behind the point
                np.testing.assert_allclose(state[key], values, rtol=0, atol=1e-11, err_msg=f"step {n}: {key}")
                continue
            # sums of many charges are rounded in another order
            allowed = 4 if key.startswith(("V/", "weights/")) else 16
            assert ulps(values, state[key]) <= allowed, f"step {n}: {key}"
        n_events += sum(inputs[name].size for name in inputs)
    assert n_spikes > 200
    assert n_events > 200


def _fired(simulation: Simulation, names: Any) -> dict[str, np.ndarray]:
    x, spiking = simulation.exchange, simulation.plan.spiking
    return {name: x.fired[x.offsets[k] : x.offsets[k + 1]].astype(np.int64)
            for k, name in enumerate(spiking) if name in names}


def test_deferred_events_give_the_bits_of_immediate_ones() -> None:
    """Weights brought up to date after every step, and only at the end, are the same."""
    experiment = parse_experiment(network(duration_ms=400.0))
    states = []
    for every in (1, 333, experiment.n_steps):
        simulation = Simulation(experiment)
        simulation.compile()
        simulation.start()
        while simulation.step < experiment.n_steps:
            simulation.advance(min(simulation.step + every, experiment.n_steps))
            for name in experiment.plastic:
                simulation.present_weights(name)
        states.append(state_of(simulation))
    for other in states[1:]:
        for key, values in states[0].items():
            assert values.tobytes() == other[key].tobytes(), key
