"""Coding networks of every kind, small, for the tests."""

from __future__ import annotations

from math import cos, sin
from typing import Any

Table = dict[str, Any]

STRUCTURED = {"size": 30, "gains": [0.5, 2.0], "offset": 1.5}

DENSE = STRUCTURED | {"kind": "dense"}

WANDERING = {"kind": "ornstein_uhlenbeck", "std_per_s": 3.0, "tau_ms": 100.0}


def make(**changes: Any) -> Table:
    """A coding network of 60 neurons that learns an oscillator; changes replace whole tables."""
    table: Table = {
        "kind": "coding",
        "seed": 3,
        "run": {"duration_ms": 400.0},
        "teacher": {"kind": "oscillator", "frequency_hz": 1.5},
        "network": {"size": 60, "decoder": {"kind": "random", "norm": 0.08}, "basis": STRUCTURED},
        "phases": {
            "learn": {"does": "learn", "duration_ms": 200.0, "feedback_per_s": {"geometric": [100.0, 60.0]},
                      "learning_rate_per_s2": {"geometric": [30.0, 5.0]}, "input": WANDERING},
            "synchronise": {"does": "synchronise", "duration_ms": 100.0, "feedback_per_s": 80.0},
            "free": {"does": "run"},
        },
    }
    for key, value in changes.items():
        table[key] = table[key] | value if isinstance(value, dict) and key in ("network", "run") else value
    return table


NETWORKS: dict[str, Table] = {
    "factored": {},
    "correlated basis": {"network": {"basis": STRUCTURED | {"decorrelated": False}}},
    "the leak is learned too": {"network": {"compensates_leak": False, "linear_cost": 0.1}},
    "dense basis": {"network": {"basis": DENSE}},
    "per synapse, sparse, from random weights, with decay": {
        "learning": {"form": "per_synapse", "initial_std_per_s": 3.0, "density": 0.4, "decay_per_s": 0.5}
    },
    "per synapse, dense basis": {
        "learning": {"form": "per_synapse"},
        "network": {"basis": DENSE},
    },
    "several spikes a step": {"network": {"spikes_per_step": 4, "noise": 0.8}},
    "lateral delay": {"network": {"lateral_delay_ms": 0.3, "noise": 0.3}},
    "late and several": {"network": {"lateral_delay_ms": 0.1, "spikes_per_step": 3, "noise": 0.3}},
    "pulses": {"phases": {
        "learn": {"does": "learn", "duration_ms": 300.0, "feedback_per_s": 90.0, "learning_rate_per_s2": 20.0,
                  "input": {"kind": "pulses", "amplitude_per_s": 8.0, "length_ms": 20.0, "interval_ms": [5.0, 40.0]}},
        "free": {"does": "run", "state": [0.3, -0.6], "input": {"kind": "formula", "c_per_s": ["sin(t/20)", 0.5]}},
    }},
    "ties": {"network": {"noise": 0.0, "decoder": {"kind": "given", "vectors": [
        [0.08 * cos(0.7 * (i // 2)), 0.08 * sin(0.7 * (i // 2))] for i in range(60)
    ]}}},
}
"""In the last, neurons are alike in pairs, so that always two are as far above threshold."""
