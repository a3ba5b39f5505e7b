"""The same bits on one and on three ranks for every neuron model, synapse kind, integrator and number format.

Delays, rules and inputs take turns, so that each meets every model.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import tomli_w

Table = dict[str, Any]

MPI = Path(__file__).parents[1] / "mpi"

EIF = {"model": "eif", "tau_m_ms": 15.0, "E_L_mv": -72.0, "V_T_mv": -55.0, "Delta_T_mv": 1.0, "V_th_mv": -50.0,
       "V_reset_mv": -75.0, "V_init_mv": {"uniform": [-75.0, -55.0]}}

LIF = {key: EIF[key] for key in ("tau_m_ms", "E_L_mv", "V_reset_mv", "V_init_mv")} | {"model": "lif", "V_th_mv": -54.0}

NEURONS: dict[str, Table] = {
    "lif": LIF | {"refractory_ms": 2.0},
    "eif": EIF,
    "adex": EIF | {"model": "adex", "tau_w_ms": 50.0, "a_per_ms": 0.01, "b_mv_per_ms": 0.1},
    "drawn": EIF | {"tau_m_ms": {"uniform": [12.0, 18.0]}, "V_th_mv": {"normal": [-50.0, 0.5]}},
    "user": {"model": "user", "file": str(Path("analysis/studies/own/models.py").absolute()), "function": "izhikevich",
             "V_init_mv": -65.0},
}

SYNAPSES: dict[str, tuple[Table, Table]] = {
    "current": ({"kind": "exponential_current"}, {"kind": "exponential_current"}),
    "conductance": ({"kind": "exponential_conductance", "reversal_mv": 0.0},
                    {"kind": "exponential_conductance", "reversal_mv": -80.0}),
    "user": ({"kind": "user", "file": str(MPI / "own.py"), "function": "blocked"}, {"kind": "exponential_current"}),
}

DELAYS: list[Table] = [{}, {"delay_ms": 1.2}, {"delay_ms": {"uniform": [0.3, 2.5]}}]

PAIR = {"rule": "pair", "tau_pre_ms": 20.0, "tau_post_ms": 40.0, "a_pre": [1e-3, -1e-3], "b_post": [0.02, -1e-3]}

RULES: list[Table] = [
    {"rule": "hebbian_hard", "tau_ms": 20.0, "learning_rate_mv": 0.01, "weight_min_mv": 0.0, "weight_max_mv": 4.0},
    {"rule": "hebbian_soft", "tau_ms": 20.0, "learning_rate": 0.01, "weight_max_mv": 4.0},
    {"rule": "kohonen", "tau_ms": 20.0, "learning_rate": 0.05, "beta_mv": 2.0},
    {"rule": "oja", "tau_ms": 20.0, "learning_rate": 0.01, "beta_mv": 4.0},
    PAIR,
    PAIR | {"drift": [1e-3, -1e-3], "schedule": [{"start_ms": 50.0, "factor": 2.0}]},
    PAIR | {"pairing": "nearest_neighbour"},
    {"rule": "triplet", "tau_plus_ms": 17.0, "tau_minus_ms": 34.0, "tau_x_ms": 100.0, "tau_y_ms": 125.0,
     "a2_minus_mv": 0.01, "a3_plus_mv": 0.02},
    {"rule": "user", "file": str(MPI / "own.py"), "function": "voltage_gated"},
    {"rule": "normalisation", "interval_ms": 20.0},
]

INPUTS: list[Table] = [
    {},
    {"X": {"correlation": 0.5, "jitter_ms": 2.0}},
    {"X": {"correlation": 1.0, "jitter_ms": 0.0, "rate_hz": 30.0}},
    {"X": {"rate_hz": "60 + 50*sin(t/10)"}},
    {"noise": {"kind": "ornstein_uhlenbeck", "target": "E", "std_mv_per_ms": 0.5, "tau_ms": 5.0, "correlation": 0.3}},
    {"wave": {"kind": "current", "target": "E", "amplitude_mv_per_ms": "0.5*sin(t/5)"}},
]

CASES = list(product(NEURONS, SYNAPSES, ("forward_euler", "exponential_euler"), ("float32", "float64")))


def network(turn: int, neuron: str, synapse: str, integrator: str, dtype: str) -> Table:
    excitatory, inhibitory = SYNAPSES[synapse]
    matched = {"match_at_mv": -72.0} if synapse == "conductance" else {}
    strong = {"source": "X", "synapse": "excitatory", "probability": 0.3, "weight_mv": 40.0, **matched}
    inputs: Table = {"X": {"kind": "poisson", "size": 40, "rate_hz": 60.0}}
    for name, changes in INPUTS[turn % len(INPUTS)].items():
        inputs[name] = inputs.get(name, {}) | changes
    return {
        "run": {"duration_ms": 150.0, "integrator": integrator, "state_dtype": dtype, "weight_dtype": dtype},
        "neurons": {"tested": NEURONS[neuron]},
        "populations": {"E": {"size": 60, "neuron": "tested"}, "I": {"size": 17, "neuron": "tested"}},
        "inputs": inputs,
        "synapses": {
            "excitatory": excitatory | ({} if synapse == "user" else {"tau_ms": 8.0}),
            "inhibitory": inhibitory | {"tau_ms": 4.0},
        },
        "plasticity": {"learning": RULES[turn % len(RULES)]},
        "projections": {
            "X_to_E": {"target": "E", **strong},
            "X_to_I": {"target": "I", **strong},
            "E_to_E": {"source": "E", "target": "E", "synapse": "excitatory", "probability": 0.3, "weight_mv": 2.0,
                       "plasticity": "learning", **DELAYS[turn % len(DELAYS)], **matched},
            "I_to_E": {"source": "I", "target": "E", "synapse": "inhibitory", "in_degree": 6,
                       "weight_mv": {"uniform": [-8.0, -4.0]}, **DELAYS[(turn + 1) % len(DELAYS)], **matched},
            "E_to_I": {"source": "E", "target": "I", "synapse": "excitatory", "in_degree": 9, "weight_mv": 5.0,
                       **DELAYS[(turn + 2) % len(DELAYS)], **matched},
        },
    }


@pytest.mark.science
@pytest.mark.parametrize("turn", range(len(CASES)), ids=["-".join(case) for case in CASES])
def test_the_same_bits_on_one_and_three_ranks(turn: int, mpirun: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "experiment.toml"
    path.write_text(tomli_w.dumps(network(turn, *CASES[turn])))
    digests = set()
    for ranks, seeds in ((1, ()), (3, ("1", "2"))):
        done = mpirun(ranks, str(MPI / "digest.py"), str(path), "1500", *seeds)
        assert done.returncode == 0, done.stdout + done.stderr
        digests |= set(done.stdout.split())
    assert len(digests) == 1
