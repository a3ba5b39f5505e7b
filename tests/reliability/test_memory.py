"""The memory of a run does not grow, however long it goes and whatever it records."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpi_engine.experiment import parse_experiment
from mpi_engine.output.segments import seal
from mpi_engine.output.writers import GatherWriter
from mpi_engine.run.health import Health
from mpi_engine.run.simulation import Simulation

Make = Callable[..., dict[str, Any]]

LEAST_BYTES_A_STEP = 9.0
"""An array of a kilobyte a segment is more; what HDF5 keeps for sizes that it has not seen before is less."""

BYTES_A_BLOCK = 64
"""Of a small Python object, about; larger ones are the C library's."""


class Account(ctypes.Structure):
    """What ``mallinfo2`` of the C library tells of its heap."""

    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks",
                                                     "fsmblks", "uordblks", "fordblks", "keepcost")]


def bytes_in_use() -> int:
    """Count what is allocated and not freed: pages are kept by the allocator, and counted late by the kernel."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = Account
    account = mallinfo()
    return int(account.uordblks + account.hblkhd) + BYTES_A_BLOCK * sys.getallocatedblocks()


def growth_of_memory(small_experiment: Make, directory: Path, n_steps: int) -> float:
    """Run with all recorders on; median growth between two looks at the memory in the later half [bytes a step].

    A leak grows between any two looks. A buffer now and then grows at once, which a mean or a fit would see.
    """
    recording = {"segment_ms": 10.0, "statistics": {"block_ms": 5.0}, "weights": {"interval_ms": 5.0}}
    health = {"interval_ms": 5.0, "weights_interval_ms": 10.0, "max_rate_hz": 1e4}
    table = small_experiment(run={"duration_ms": n_steps / 10}, recording=recording, health=health)
    simulation = Simulation(parse_experiment(table))
    health_of, writer = Health(simulation), GatherWriter(None)
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
            memory.append(bytes_in_use())
        for sealed in (path.parent.glob("*.h5") if simulation.step % 2000 == 0 else ()):
            if sealed != path:
                sealed.unlink()
    half = len(steps) // 2
    return float(np.median(np.diff(memory[half:]) / np.diff(steps[half:])))


def test_memory_does_not_grow(small_experiment: Make, tmp_path: Path) -> None:
    assert growth_of_memory(small_experiment, tmp_path, 20_000) < LEAST_BYTES_A_STEP


@pytest.mark.science
def test_memory_does_not_grow_over_100000_steps(small_experiment: Make, tmp_path: Path) -> None:
    assert growth_of_memory(small_experiment, tmp_path, 100_000) < LEAST_BYTES_A_STEP
