"""The memory of a run does not grow, however long it goes and whatever it records."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from mpi_engine.experiment import parse_experiment
from mpi_engine.output.segments import seal
from mpi_engine.output.writers import GatherWriter
from mpi_engine.run.health import Health
from mpi_engine.run.simulation import Simulation

Make = Callable[..., dict[str, Any]]

LEAST_BYTES_A_STEP = 4.0
"""A leak of less is not told from the allocator's moods; one small array a segment would be more."""


def slope_of_memory(small_experiment: Make, directory: Path, n_steps: int) -> tuple[float, float]:
    """Run with all recorders on; bytes of memory a step by least squares over the later half, and their error."""
    recording = {"segment_ms": 10.0, "statistics": {"block_ms": 5.0}, "weights": {"interval_ms": 5.0}}
    health = {"interval_ms": 5.0, "weights_interval_ms": 10.0, "max_rate_hz": 1e4}
    table = small_experiment(run={"duration_ms": n_steps / 10}, recording=recording, health=health)
    simulation = Simulation(parse_experiment(table))
    health_of, writer, process = Health(simulation), GatherWriter(None), psutil.Process()
    simulation.compile()
    simulation.start()
    steps, memory = [], []
    while simulation.step < n_steps:
        first = simulation.step
        health_of.advance(first + 100)
        path = seal(writer, directory, first, simulation.step, 0.1, simulation.take_records())
        if simulation.step % 1000 == 0:
            health_of.check_all()
            writer.write(directory / "state.h5", simulation.save(), {})
            gc.collect()
            steps.append(simulation.step)
            memory.append(process.memory_info().rss)
        for sealed in (path.parent.glob("*.h5") if simulation.step % 2000 == 0 else ()):
            if sealed != path:
                sealed.unlink()
    half = len(steps) // 2
    coefficients, covariance = np.polyfit(steps[half:], memory[half:], 1, cov=True)
    return float(coefficients[0]), float(np.sqrt(covariance[0, 0]))


def assert_flat(slope: float, error: float) -> None:
    assert slope < LEAST_BYTES_A_STEP + 3 * error, f"memory grows by {slope:.1f} +- {error:.1f} bytes a step"


def test_memory_does_not_grow(small_experiment: Make, tmp_path: Path) -> None:
    assert_flat(*slope_of_memory(small_experiment, tmp_path, 20_000))


@pytest.mark.science
def test_memory_does_not_grow_over_100000_steps(small_experiment: Make, tmp_path: Path) -> None:
    assert_flat(*slope_of_memory(small_experiment, tmp_path, 100_000))
