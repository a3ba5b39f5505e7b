"""What arrives, and when: the current of every neuron is rebuilt from spikes, weights and delays in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mpi_engine.experiment import parse_experiment
from mpi_engine.run.simulation import Simulation

DELAYS = {"uniform": [0.4, 2.5]}

# one synapse kind each, so that their currents are told apart
PROJECTIONS: dict[str, dict[str, Any]] = {
    "counted": {"source": "E", "weight_mv": 2.0, "delay_ms": DELAYS},
    "dense_later": {"source": "E", "weight_mv": 2.0, "delay_ms": 0.7},
    "dense_at_once": {"source": "I", "weight_mv": -2.0},
    "sparse": {"source": "E", "probability": 0.05, "weight_mv": 5.0, "delay_ms": 0.7},
    "weighted_later": {"source": "E", "weight_mv": {"normal": [2.0, 0.3]}, "delay_ms": 0.7},
    "at_once": {"source": "E", "weight_mv": {"uniform": [0.0, 1.0]}},
    "both": {"source": "I", "weight_mv": {"lognormal": [-1.0, 0.5]}, "delay_ms": DELAYS},
    # these learn, whatever they are called
    "dense": {"source": "I", "weight_mv": {"lognormal": [-1.0, 0.5]}, "delay_ms": DELAYS, "plasticity": "hardly"},
    "input": {"source": "X", "weight_mv": {"uniform": [10.0, 30.0]}, "delay_ms": DELAYS},
    "counted_input": {"source": "X", "weight_mv": 20.0, "delay_ms": {"uniform": [0.1, 60.0]}},
    "weighted": {"source": "X", "weight_mv": 10.0, "delay_ms": DELAYS, "plasticity": "hardly"},
}


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    """A network that has fired for 100 ms, with a trace of every current in every step."""
    neuron = {"model": "lif", "tau_m_ms": 10.0, "E_L_mv": -70.0, "V_th_mv": -55.0, "V_reset_mv": -70.0,
              "V_init_mv": {"uniform": [-70.0, -55.0]}}
    projections = {name: {"target": "E", "synapse": name, "probability": 0.3} | p for name, p in PROJECTIONS.items()}
    drive = {"target": "I", "source": "X", "synapse": "input", "probability": 0.3, "weight_mv": 30.0}
    experiment = parse_experiment({
        "seed": 5,
        "run": {"duration_ms": 100.0, "state_dtype": "float64", "weight_dtype": "float64"},
        "neurons": {"lif": neuron},
        "populations": {"E": {"size": 70, "neuron": "lif"}, "I": {"size": 30, "neuron": "lif"}},
        "inputs": {"X": {"kind": "poisson", "size": 20, "rate_hz": 150.0}},
        "synapses": {name: {"kind": "exponential_current", "tau_ms": 5.0} for name in PROJECTIONS},
        "projections": projections | {"drive": drive},
        "plasticity": {"hardly": {"rule": "hebbian_soft", "tau_ms": 20.0, "learning_rate": 1e-30,
                                  "weight_max_mv": 0.0}},
        "recording": {"spikes": ["E", "I", "X"], "segment_ms": 100.0,
                      "traces": {"E": {"neurons": list(range(70)), "interval_ms": 0.1}}},
    })
    simulation = Simulation(experiment)
    simulation.compile()
    simulation.start()
    simulation.advance(experiment.n_steps)
    assert simulation.step == experiment.n_steps
    return simulation


@pytest.mark.parametrize("name", PROJECTIONS)
def test_every_spike_arrives_with_its_weight_after_its_delay(name: str, simulation: Simulation) -> None:
    e = simulation.experiment
    p, drawn, synapses = e.projections[name], simulation.drawn[name], simulation.projections[name]
    (_, targets), starts = drawn.ends, np.concatenate(([0], np.cumsum(drawn.out_degree)))
    n = e.n_steps
    weights = getattr(synapses, "weights", np.full(targets.size, e.initial_weight(name)))
    recurrent = p.source in e.populations
    common = int(recurrent) if p.delay_ms is None else e.steps(p.delay_ms) if isinstance(p.delay_ms, float) else 0
    drawn_delays = getattr(synapses, "steps", np.empty(0))
    delays = drawn_delays if drawn_delays.size else np.full(weights.size, common)
    record = simulation.spikes.records[p.source]
    spikes = zip(record.steps[: record.kept[0]], record.ids[: record.kept[0]], strict=True)
    arrivals = np.zeros((n + 1000, e.populations["E"].size))
    for step, source in spikes:
        row = slice(starts[source], starts[source + 1])
        np.add.at(arrivals, (step + delays[row].astype(int), targets[row]), weights[row])
    decay = 1 - 0.1 / 5.0
    current = np.zeros(arrivals.shape[1])
    traces = simulation.neurons.traces["E"].values[:n, 1 + e.synapses_of("E").index(name)]
    assert np.abs(traces).max() > 0
    for step in range(1, n + 1):
        # a recurrent spike has decayed once where it acts, one of an input has not
        current = current * decay + arrivals[step] / 5.0 * (decay if recurrent else 1)
        assert traces[step - 1] == pytest.approx(current, rel=1e-9, abs=1e-12), f"step {step}"


@pytest.mark.parametrize("kind", [
    {"kind": "exponential_current", "tau_ms": 5.0},
    {"kind": "exponential_conductance", "tau_ms": 5.0, "reversal_mv": 0.0},
])
def test_more_spikes_in_a_step_than_a_byte_can_count_all_arrive(kind: dict[str, Any]) -> None:
    """All neurons fire in the first step: some 400 spikes at each, which become current 254 sources at a time."""
    n, f = 800, np.float32
    experiment = parse_experiment({
        "seed": 5,
        "run": {"duration_ms": 1.0, "state_dtype": "float32"},
        "neurons": {"lif": {"model": "lif", "tau_m_ms": 10.0, "E_L_mv": -70.0, "V_th_mv": -55.0, "V_reset_mv": -70.0,
                            "V_init_mv": -60.0, "refractory_ms": 2.0}},
        "populations": {"E": {"size": n, "neuron": "lif"}},
        "inputs": {"drive": {"kind": "current", "target": "E", "amplitude_mv_per_ms": 100.0, "stop_ms": 0.1}},
        "synapses": {"kind": kind},
        "projections": {"E_to_E": {"source": "E", "target": "E", "synapse": "kind", "probability": 0.5,
                                   "weight" if "reversal_mv" in kind else "weight_mv": 0.037}},
        "recording": {"spikes": ["E"]},
    })
    simulation = Simulation(experiment)
    simulation.compile()
    simulation.start()
    simulation.advance(1)
    assert simulation.spikes.records["E"].kept[0] == n
    synapses, neurons = simulation.projections["E_to_E"], simulation.populations["E"]
    sources, targets = simulation.drawn["E_to_E"].ends
    current = np.zeros(n, f)
    for first in range(0, n, 254):
        chunk = (first <= sources) & (sources < first + 254)
        current += synapses.gain[0] * np.bincount(targets[chunk], minlength=n).astype(f)
    assert np.bincount(targets).min() > 255
    present = neurons.currents[0] + synapses.gain[0] * synapses.arrivals[0].astype(f)
    np.testing.assert_array_equal(present, current)
    simulation.advance(2)
    np.testing.assert_array_equal(neurons.currents[0], current * f(1 - 0.1 / 5.0))
