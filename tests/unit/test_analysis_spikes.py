"""Counts, irregularity and correlation of spike trains with known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import analysis
from analysis.spikes import rates_hz, trace_average, window_counts
from analysis.weights import decay_factor
from mpi_engine.experiment import load_experiment

EXAMPLE = Path(analysis.__file__).parent / "studies" / "akil2021" / "homeostatic.toml"
RNG = np.random.default_rng(7)


def poisson(rate_hz: float, size: int, duration_ms: float) -> tuple[np.ndarray, np.ndarray]:
    n = RNG.poisson(1e-3 * rate_hz * size * duration_ms)
    times = np.sort(np.ceil(RNG.uniform(0, duration_ms, n) / 0.1) * 0.1)
    return times, RNG.integers(0, size, n)


def test_windows_are_open_at_their_start_and_closed_at_their_end() -> None:
    times = np.array([0.1 * n for n in (1000, 1001, 2000, 2001, 3000, 3001)])
    ids = np.array([0, 1, 1, 2, 2, 0])
    counts = window_counts(times, ids, 3, 100.0, 300.0, 100.0)
    assert counts.tolist() == [[0, 2, 0], [0, 0, 2]]


def test_a_rest_shorter_than_a_window_is_left_out() -> None:
    times, ids = poisson(20.0, 10, 1000.0)
    counts = window_counts(times, ids, 10, 0.0, 1000.0, 300.0)
    assert counts.shape == (3, 10)
    assert counts.sum() == np.count_nonzero(times < 900.0 + 0.05)


def test_a_window_longer_than_the_run_is_refused() -> None:
    with pytest.raises(ValueError, match="window_ms = 250 does not fit into 100 ms"):
        window_counts(np.array([1.0]), np.array([0]), 1, 0.0, 100.0, 250.0)
    with pytest.raises(ValueError, match="window_ms = 0 does not fit into 100 ms; make it positive"):
        window_counts(np.array([1.0]), np.array([0]), 1, 0.0, 100.0, 0.0)


def test_rates_of_each_neuron() -> None:
    rates = rates_hz(np.array([50.0, 150.0, 160.0, 300.0]), np.array([0, 1, 1, 1]), 3, 100.0, 200.0)
    assert rates.tolist() == [0.0, 20.0, 0.0]


def test_trace_average_equals_the_step_by_step_sum() -> None:
    a, b = np.sort(RNG.integers(1, 20_000, 300)), np.sort(RNG.integers(1, 20_000, 200))
    tau, dt = 20.0, 0.1
    x, total = 0.0, 0.0
    for step in range(20_001):
        if 5000 < step <= 20_000:
            total += x * np.count_nonzero(b == step)
        x = (x + np.count_nonzero(a == step)) * (1 - dt / tau)
    measured = trace_average(a * dt, b * dt, 1, 1 - dt / tau, dt, 500.0, 2000.0)
    assert measured == pytest.approx(total / 1500.0, rel=1e-9)


@pytest.mark.parametrize("integrator", ["forward_euler", "exponential_euler"])
def test_trace_of_regular_spikes_by_each_integrator(integrator: str) -> None:
    """A spike 10 ms after each of a regular train, every 100 ms, sees a geometric series of what they left."""
    e = load_experiment(EXAMPLE, [f"run.integrator={integrator}"])
    d = decay_factor(e, 20.0)
    assert d == pytest.approx(1 - 0.1 / 20 if integrator == "forward_euler" else np.exp(-0.1 / 20), rel=1e-12)
    before = 100.0 * np.arange(1, 100)
    measured = trace_average(before, before + 10.0, 1, d, 0.1, 5000.0, 9000.0)
    assert measured == pytest.approx(d**100 / (1 - d**1000) / 100.0, rel=1e-9)


def test_trace_average_of_independent_trains_is_the_product_of_rates() -> None:
    (a, _), (b, _) = poisson(10.0, 50, 40_000.0), poisson(20.0, 50, 40_000.0)
    measured = trace_average(a, b, 50 * 50, 1 - 0.1 / 200, 0.1, 2000.0, 40_000.0)
    expected = 200.0 * (a.size / 50 / 40_000) * (b.size / 50 / 40_000)
    assert measured == pytest.approx(expected, rel=0.02)
