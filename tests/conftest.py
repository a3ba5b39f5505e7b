"""What all tests share: real MPI ranks, a small experiment, and no silent skipping where it counts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from orchestration.engine import engine_environment, find_mpirun
from tests.processes import PATIENCE_S

for _name in ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    os.environ.pop(_name, None)     # what commands print is looked at as it is without a terminal

Table = dict[str, Any]

_SMALL: Table = {
    "title": "A small plastic network",
    "seed": 7,
    "run": {"duration_ms": 200.0, "dt_ms": 0.1},
    "neurons": {
        "cortical": {
            "model": "eif",
            "tau_m_ms": 15.0,
            "E_L_mv": -72.0,
            "V_T_mv": -55.0,
            "Delta_T_mv": 1.0,
            "V_th_mv": -50.0,
            "V_reset_mv": -75.0,
            "V_init_mv": {"uniform": [-75.0, -55.0]},
        }
    },
    "populations": {"E": {"size": 83, "neuron": "cortical"}, "I": {"size": 21, "neuron": "cortical"}},
    "inputs": {"X": {"kind": "poisson", "size": 29, "rate_hz": 20.0, "correlation": 0.1}},
    "synapses": {
        "excitatory": {"kind": "exponential_current", "tau_ms": 8.0},
        "inhibitory": {"kind": "exponential_current", "tau_ms": 4.0},
    },
    "projections": {
        "E_to_E": {"source": "E", "target": "E", "synapse": "excitatory", "probability": 0.2, "weight_mv": 2.0},
        "I_to_E": {
            "source": "I",
            "target": "E",
            "synapse": "inhibitory",
            "probability": 0.3,
            "weight_mv": -10.0,
            "plasticity": "homeostatic",
        },
        "E_to_I": {"source": "E", "target": "I", "synapse": "excitatory", "in_degree": 11, "weight_mv": 8.0},
        "X_to_E": {"source": "X", "target": "E", "synapse": "excitatory", "probability": 0.3, "weight_mv": 30.0},
        "X_to_I": {"source": "X", "target": "I", "synapse": "excitatory", "probability": 0.3, "weight_mv": 25.0},
    },
    "plasticity": {
        "homeostatic": {
            "rule": "homeostatic",
            "tau_ms": 50.0,
            "learning_rate_mv": 0.05,
            "target_rate_hz": 10.0,
            "weight_norm_mv": -10.0,
        }
    },
    "recording": {
        "segment_ms": 100.0,
        "spikes": ["E", "I", "X"],
        "rates": {"bin_ms": 10.0},
        "statistics": {"block_ms": 50.0},
        "weights": {"interval_ms": 50.0, "sample": 20},
        "traces": {"E": {"neurons": 3, "interval_ms": 1.0}},
    },
}


@pytest.fixture(scope="session")
def small_experiment() -> Callable[..., Table]:
    """Make the table of a small plastic network; parts given by name are merged into it, key by key."""

    def make(**changes: Any) -> Table:
        return _merged(_SMALL, changes)

    return make


def _merged(table: Table, changes: Table) -> Table:
    merged = deepcopy(table)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if nested else deepcopy(value)
    return merged


@pytest.fixture(scope="session")
def mpirun() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run this Python with some arguments on a number of real MPI ranks and return what it did."""

    def run(ranks: int, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        launcher = find_mpirun()
        assert launcher is not None, "the tests need an mpirun: run .ci/setup"
        return subprocess.run(
            [str(launcher), "-n", str(ranks), sys.executable, *map(str, arguments)],
            env=engine_environment(ranks) | (env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    return run


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a session in which something was skipped, where nobody looks at it."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") == "true" and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("\nCI=true: a skipped test counts as a failure", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
