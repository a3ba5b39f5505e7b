"""Networks that between them have everything whose bits could depend on ranks or restarts: changes to the small one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Table = dict[str, Any]

STRONG = {"kind": "current", "target": "E", "amplitude_mv_per_ms": 2000.0, "start_ms": 20.0, "stop_ms": 20.1}

ADAPTIVE = {"model": "adex", "tau_w_ms": 50.0, "a_per_ms": 0.01, "b_mv_per_ms": 0.1, "refractory_ms": 1.0}

DRAWN_DELAYS = {"uniform": [0.3, 2.0]}

MODELS = str(Path("analysis/studies/own/models.py").absolute())

OWN = str(Path(__file__).with_name("own.py"))

NETWORKS: dict[str, Table] = {
    "plastic and correlated": {"inputs": {"X": {"rate_hz": 50.0, "jitter_ms": 3.0}}},
    "double precision": {"run": {"state_dtype": "float64", "weight_dtype": "float64"}},
    "smaller than the ranks": {"populations": {"I": {"size": 3}}, "projections": {"E_to_I": {"in_degree": 2}}},
    "a rank without synapses": {"projections": {"X_to_E": {"probability": 0.02}, "E_to_E": {"probability": 0.01}}},
    "silent": {"inputs": {"X": {"rate_hz": 0.0}}, "neurons": {"cortical": {"V_init_mv": -72.0}}},
    "all fire in one step": {"inputs": {"shock": STRONG}},
    "inputs that change": {
        "subpopulations": {
            "E1": {"population": "E", "first": 30, "count": 40},
            "few": {"population": "E", "neurons": [2, 82]},
        },
        "inputs": {
            "X": {"rate_hz": "40 + 30*sin(2*pi*t/70)", "jitter_ms": 3.0},
            "ramp": {"kind": "current", "target": "E1", "amplitude_mv_per_ms": 0.0, "ramp_to_mv_per_ms": 1.5,
                     "start_ms": 40.0, "stop_ms": 150.0},
            "wave": {"kind": "current", "target": "few", "amplitude_mv_per_ms": "1.5*(sin(t/5) > 0)"},
            "step": {"kind": "current", "target": "E", "neurons": [3, 50], "amplitude_mv_per_ms": 1.0, "stop_ms": 90.0},
            "noise": {"kind": "ornstein_uhlenbeck", "target": "E1", "mean_mv_per_ms": 0.3, "std_mv_per_ms": 0.8,
                      "tau_ms": 5.0, "correlation": 0.4},
        },
    },
    "conductances, delays, adaptation": {
        "run": {"integrator": "exponential_euler"},
        "neurons": {"cortical": ADAPTIVE},
        "synapses": {
            "excitatory": {"kind": "exponential_conductance", "reversal_mv": 0.0},
            "inhibitory": {"kind": "exponential_conductance", "reversal_mv": -80.0},
        },
        "projections": {
            "E_to_E": {"match_at_mv": -72.0, "delay_ms": 1.5},
            "I_to_E": {"match_at_mv": -72.0, "delay_ms": 0.8},
            "E_to_I": {"match_at_mv": -72.0},
            "X_to_E": {"match_at_mv": -72.0, "delay_ms": 0.3},
            "X_to_I": {"match_at_mv": -72.0},
        },
        "subpopulations": {
            "E1": {"population": "E", "count": 40},
            "E2": {"population": "E", "neurons": [3, 41, 42, 80, 82]},
        },
        "recording": {
            "rates": {"subpopulations": ["E1", "E2"]},
            "statistics": {"average_ms": 0.5, "shadow_voltage": True},
            "weights": {"targets": {"I_to_E": ["E2", "E1"]}},
            "traces": {"E2": {"neurons": 2, "interval_ms": 0.3}},
        },
    },
    "drawn connections, weights and delays": {
        "inputs": {"X": {"rate_hz": 50.0}},
        "populations": {"E": {"positions": "torus"}, "I": {"positions": "torus"}},
        "subpopulations": {
            "E1": {"population": "E", "first": 20, "count": 30},
            "E2": {"population": "E", "neurons": [0, 3, 5, 30, 31, 32, 80]},
        },
        "projections": {
            "E_to_E": {"probability": 0.9, "profile": {"shape": "gaussian", "width": 0.2}, "delay_ms": DRAWN_DELAYS},
            "I_to_E": {"weight_mv": {"normal": [-10.0, 1.0]}, "delay_ms": DRAWN_DELAYS},
            "E_to_I": {"in_degree": {"normal": [11.0, 3.0]}, "weight_mv": {"lognormal": [8.0, 0.5]},
                       "delay_ms": DRAWN_DELAYS},
            "X_to_E": {"probability": [[0.5, 0.1], [0.1, 0.5]], "weight_mv": {"uniform": [20.0, 40.0]}},
            "E1_to_E2": {"source": "E1", "target": "E2", "synapse": "excitatory", "in_degree": 5, "weight_mv": 2.0},
        },
    },
    "rules of every kind, drawn neurons, a user's functions": {
        "inputs": {"X": {"rate_hz": 60.0}},
        "neurons": {
            "cortical": {"E_L_mv": {"normal": [-72.0, 0.5]}, "tau_m_ms": {"uniform": [12.0, 18.0]}},
            "own": {"model": "user", "file": MODELS, "function": "izhikevich", "V_init_mv": -65.0,
                    "parameters": {"d_mv_per_ms": {"lognormal": [6.0, 0.2]}}},
        },
        "populations": {"I": {"neuron": "own"}},
        "synapses": {"I": {"kind": "user", "file": OWN, "function": "blocked"}},     # called like its population
        "plasticity": {
            "triplet": {"rule": "triplet", "a2_minus_mv": 0.1, "a3_minus_mv": 0.02, "a2_plus_mv": 0.05,
                        "a3_plus_mv": 0.1, "tau_plus_ms": 17.0, "tau_minus_ms": 34.0, "tau_x_ms": 100.0,
                        "tau_y_ms": 125.0, "schedule": [{"start_ms": 60.0, "factor": 0.5}]},
            "drift": {"rule": "pair", "tau_pre_ms": 20.0, "tau_post_ms": 40.0, "b_post": [0.02, 0.0],
                      "drift": [0.0, -1e-3], "pairing": "nearest_neighbour"},
            "sum": {"rule": "normalisation", "interval_ms": 40.0},
            "voltage_gated": {"rule": "user", "file": OWN, "schedule": [{"start_ms": 100.0, "factor": 0.0}]},
        },
        "projections": {
            "E_to_E": {"plasticity": ["triplet", "drift", "sum"]},
            "X_to_E": {"plasticity": "voltage_gated"},
            "I_to_E": {"plasticity": ["homeostatic"]},
            "X_to_I": {"synapse": "I", "weight_mv": 60.0},
        },
    },
}
