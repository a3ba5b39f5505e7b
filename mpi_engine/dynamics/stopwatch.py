"""Where the time of a run goes: phases seen from Python, and laps within a step, read in one step of many.

A compiled block is timed as a whole. Inside it the clock is read at the end of each part of one step in `STRIDE`, by
which the time of the block is divided: that costs a thousandth of a step or less, and no bits.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from mpi_engine.compiled import part

STRIDE = 31
"""One step of so many is timed; prime, so that no cadence of recorders falls into step with it."""

_BLOCK = "block"


class Laps(NamedTuple):
    """What compiled code needs to time the laps of a step.

    Parameters
    ----------
    clock : ndarray of uint64, shape (2,)
        Address of ``clock_gettime``, and the number of the clock that does not jump.
    reading : ndarray of int64, shape (2,)
        What the clock shows: seconds, and nanoseconds beyond.
    last : ndarray of int64, shape (1,)
        When the lap began [ns].
    lap : ndarray of int64, shape (1,)
        Which lap of the step it is.
    elapsed : ndarray of int64, shape (n_laps,)
        Time spent in each lap, in the steps that were timed [ns].
    """

    clock: NDArray[np.uint64]
    reading: NDArray[np.int64]
    last: NDArray[np.int64]
    lap: NDArray[np.int64]
    elapsed: NDArray[np.int64]


class Timings(dict[str, float]):
    """Seconds of wall time spent, by phase.

    Attributes
    ----------
    cpu_s : dict of str to float
        Seconds of processor time of all threads of this process, by phase.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cpu_s: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of a block to a phase."""
        begin, cpu = time.monotonic(), time.process_time()
        try:
            yield
        finally:
            self[name] = self.get(name, 0.0) + time.monotonic() - begin
            self.cpu_s[name] = self.cpu_s.get(name, 0.0) + time.process_time() - cpu


class Stopwatch(Timings):
    """Seconds of wall time that a simulation spends, by part of a step.

    Parameters
    ----------
    parts : sequence of str
        Which part of a step each lap belongs to, in the order of the laps; several may belong to one.

    Attributes
    ----------
    laps : Laps
        For the compiled step.
    """

    def __init__(self, parts: Sequence[str]) -> None:
        super().__init__()
        self._parts = tuple(parts)
        address = ctypes.cast(ctypes.CDLL(None).clock_gettime, ctypes.c_void_p).value
        clock = np.array([address, time.CLOCK_MONOTONIC], np.uint64)
        self.laps = Laps(clock, *(np.zeros(n, np.int64) for n in (2, 1, 1, len(self._parts))))

    def block(self) -> AbstractContextManager[None]:
        """Time a call of the compiled step."""
        return self.phase(_BLOCK)

    def split(self) -> dict[str, float]:
        """Seconds spent until now, by part; a block of which no step was timed is in none."""
        split = {name: seconds for name, seconds in self.items() if name != _BLOCK}
        elapsed = self.laps.elapsed
        for name, share in zip(self._parts, elapsed / max(elapsed.sum(), 1), strict=True):
            split[name] = split.get(name, 0.0) + float(share) * self.get(_BLOCK, 0.0)
        return split


@intrinsic
def _call_clock(_context: Any, address: Any, clock: Any, reading: Any) -> Any:
    """Call clock_gettime through its address, so that the compiled code can be cached."""
    signature = types.intc(types.uint64, types.uint64, types.uintp)

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        address, clock, reading = args
        i32, i64 = ir.IntType(32), ir.IntType(64)
        call = builder.inttoptr(address, ir.FunctionType(i32, [i32, i64]).as_pointer())
        return builder.call(call, [builder.trunc(clock, i32), reading])

    return signature, generate


@part
def _read_clock(laps: Laps) -> int:
    """Nanoseconds since some time."""
    _call_clock(laps.clock[0], laps.clock[1], laps.reading.ctypes.data)
    return laps.reading[0] * 1_000_000_000 + laps.reading[1]


@part
def begin_laps(laps: Laps, n: int) -> None:
    """Begin the first lap of a step, if the step is timed."""
    if n % STRIDE == 1:
        laps.lap[0] = 0
        laps.last[0] = _read_clock(laps)


@part
def end_lap(laps: Laps, n: int) -> None:
    """End a lap of a step and begin the next, if the step is timed."""
    if n % STRIDE == 1:
        now = _read_clock(laps)
        laps.elapsed[laps.lap[0]] += now - laps.last[0]
        laps.lap[0] += 1
        laps.last[0] = now
