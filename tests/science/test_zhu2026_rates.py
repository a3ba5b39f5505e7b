"""Rates of the networks of Zhu, Ocker & Rosenbaum (2026) at N = 1000, with conductance- and current-based synapses.

Their rates are known as read off their figures, to 0.1 Hz.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import analysis
from mpi_engine.experiment import parse_experiment
from mpi_engine.run.job import run

EXPERIMENT = Path(analysis.__file__).parent / "studies" / "zhu2026" / "conductance.toml"
READ_OFF_HZ = {"conductance": {"E": 5.3, "I": 7.1}, "current": {"E": 8.1, "I": 18.0}}
PRECISION_HZ = 0.1
FINEST = 0.02
SEEDS = range(1, 9)
TRIALS_THERE = 4


def table(kind: str) -> dict[str, Any]:
    description = tomllib.loads(EXPERIMENT.read_text())
    if kind == "current":
        for synapse in description["synapses"].values():
            synapse["kind"] = "exponential_current"
            del synapse["reversal_mv"]
        for projection in description["projections"].values():
            del projection["match_at_mv"]
    description["recording"] = {"statistics": {"start_ms": 1000.0, "block_ms": 1000.0}}
    return description


@pytest.mark.parametrize("kind", READ_OFF_HZ)
def test_rates_at_thousand_neurons(kind: str, tmp_path: Path) -> None:
    rates: dict[str, list[float]] = {"E": [], "I": []}
    for seed in SEEDS:
        run(parse_experiment(table(kind) | {"seed": seed}), tmp_path / str(seed))
        reader = analysis.open_run(tmp_path / str(seed))
        for name, values in rates.items():
            values.append(float(reader.statistics(name).spike_count.mean()))     # spikes in blocks of 1 s
    for name, expected in READ_OFF_HZ[kind].items():
        mean, spread = np.mean(rates[name]), np.std(rates[name], ddof=1)
        error = spread * (1 / len(SEEDS) + 1 / TRIALS_THERE) ** 0.5
        allowed = max(3 * error, FINEST * expected) + PRECISION_HZ
        assert abs(mean - expected) <= allowed, f"{name}: {mean:.2f} Hz against {expected} Hz, {allowed:.2f} allowed"
