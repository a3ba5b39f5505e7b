"""Where the time goes: laps by a clock that is known, and the split of real runs on ranks."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import tomli_w

from mpi_engine.dynamics.stopwatch import STRIDE, Laps, Stopwatch, begin_laps, end_lap
from mpi_engine.output.reader import open_run

OF_A_STEP = {"stimulus", "integrate", "exchange", "deliver", "learn", "record"}

Clock = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_int64))


@numba.njit(nogil=True)
def three_laps(first: int, last: int, laps: Laps) -> None:
    for n in range(first, last + 1):
        begin_laps(laps, n)
        for _ in range(3):
            end_lap(laps, n)


def test_laps_are_timed_in_one_step_of_many() -> None:
    readings = 0

    @Clock
    def clock(_: int, reading: Any) -> int:
        """Seconds that are square numbers, so that laps last 1, 3, 5 s ..."""
        nonlocal readings
        reading[0], reading[1] = readings**2, 0
        readings += 1
        return 0

    stopwatch = Stopwatch(["integrate", "deliver", "integrate"])
    stopwatch.laps.clock[0] = ctypes.cast(clock, ctypes.c_void_p).value
    with stopwatch.block():
        three_laps(1, STRIDE, stopwatch.laps)
        three_laps(STRIDE + 1, 2 * STRIDE, stopwatch.laps)
    assert readings == 2 * 4
    np.testing.assert_array_equal(stopwatch.laps.elapsed, np.array([1 + 9, 3 + 11, 5 + 13]) * 10**9)
    split = stopwatch.split()
    assert split["deliver"] / split["integrate"] == pytest.approx(14 / 28)
    assert sum(split.values()) == pytest.approx(stopwatch["block"])


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_split_of_a_run_is_its_time(
    ranks: int, small_experiment: Callable[..., dict[str, Any]], tmp_path: Path,
    mpirun: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    path = tmp_path / "small.toml"
    path.write_text(tomli_w.dumps(small_experiment(run={"duration_ms": 400.0})), encoding="utf-8")
    done = mpirun(ranks, "-m", "mpi_engine", "run", path, "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    reader = open_run(tmp_path / "run")
    split, phases_s = reader.time_split(), reader.provenance["timings_s"]
    assert f"time: {split}\n" in (tmp_path / "run" / "log.txt").read_text(encoding="utf-8")
    assert (split.n_ranks, split.simulated_ms, split.build_s) == (ranks, 400.0, phases_s["build"])
    assert set(split.seconds) == OF_A_STEP | {"write", "checkpoint", "other"}
    assert all(seconds.shape == (ranks,) and (seconds >= 0).all() for seconds in split.seconds.values())
    assert all((split.seconds[part] > 0).all() for part in OF_A_STEP)
    total_s = phases_s["run"] + phases_s["write"] + phases_s["checkpoint"]
    assert sum(seconds[0] for seconds in split.seconds.values()) == pytest.approx(total_s)     # both of rank 0
    assert (split.cpu_s > 0).all()
    assert (split.peak_memory_mb > 30).all()
