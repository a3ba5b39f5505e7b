"""Rates of the conductance-based network of Zhu, Ocker & Rosenbaum (2026) at N = 1000.

Their rates are known as read off their figures, to 0.1 Hz, from four trials of 5 s.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import analysis
from mpi_engine.experiment import load_experiment
from mpi_engine.run.job import run

EXPERIMENT = Path(analysis.__file__).parent / "studies" / "zhu2026" / "conductance.toml"
READ_OFF_HZ = {"E": 5.3, "I": 7.1}
PRECISION_HZ = 0.1
FINEST = 0.02
SEEDS = range(1, 9)
TRIALS_THERE = 4


def test_rates_at_thousand_neurons(tmp_path: Path) -> None:
    rates: dict[str, list[float]] = {"E": [], "I": []}
    for seed in SEEDS:
        run(load_experiment(EXPERIMENT, [f"seed={seed}"]), tmp_path / str(seed))
        reader = analysis.open_run(tmp_path / str(seed))
        for name, values in rates.items():
            values.append(float(reader.statistics(name).spike_count.mean()))     # spikes in blocks of 1 s
    for name, expected in READ_OFF_HZ.items():
        mean, spread = np.mean(rates[name]), np.std(rates[name], ddof=1)
        error = spread * (1 / len(SEEDS) + 1 / TRIALS_THERE) ** 0.5
        allowed = max(3 * error, FINEST * expected) + PRECISION_HZ
        assert abs(mean - expected) <= allowed, f"{name}: {mean:.2f} Hz against {expected} Hz, {allowed:.2f} allowed"
