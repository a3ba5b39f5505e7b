"""What the machine takes for the parts of a step, in the plainest compiled loops, and what workloads take at least.

The loops do what no simulator of these networks can leave out, on arrays of their size, and nothing else:

- update: V and its synaptic currents, arrivals turned to current, threshold, for leaky neurons the refractory time;
- scatter: one arrival counted at each 16-bit target of a row, rows in random order;
- plastic: a row's weights read, delivered, changed by the target's trace and by its last spike, and written;
- allgather: 64 bytes of each of two ranks.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workloads import Workload
from mpi_engine.compiled import kernel
from mpi_engine.network.mathematics import exp
from mpi_engine.network.messages import call_allgather
from mpi_engine.network.ranks import Ranks
from orchestration.engine import engine_environment, find_mpirun

Arrays = Any

_N, _K = 10_000, 1000
"""Neurons, and targets of each."""

_ROWS = 100
"""Rows that are visited before the clock is read, so that a chunk is short and seldom interrupted."""

_WORDS = 16


@dataclass(frozen=True)
class Parts:
    """Nanoseconds: of updating a neuron, for a synaptic event, and for an exchange."""

    lif: float
    eif: float
    scatter: float
    plastic: float
    allgather: float

    def floor(self, workload: Workload, rates_hz: Mapping[str, float], ranks: int = 1) -> float:
        """Least wall time of a biological second [s], where populations and inputs fire at these rates.

        Steps x (neurons x update / ranks + allgather) + events x (scatter or plastic) / ranks.
        """
        network = workload.description()
        steps = 1000 / network["dt_ms"]
        shared = steps * sum(p["size"] * getattr(self, p["model"]) for p in network["populations"].values())
        sizes = {name: p["size"] for name, p in (network["populations"] | network["inputs"]).items()}
        for p in network["projections"].values():
            events = rates_hz[p["source"]] * sizes[p["source"]] * sizes[p["target"]] * p["probability"]
            shared += events * (self.plastic if p["plasticity"] else self.scatter)
        return 1e-9 * (shared / ranks + (steps * self.allgather if ranks > 1 else 0.0))


def measure(repeats: int = 200) -> Parts:
    """Measure all parts, each as the shortest of many short chunks."""
    rng = np.random.default_rng(1)
    targets = rng.integers(0, _N, (_N, _K), np.uint16)
    targets.sort(axis=1)
    rows = rng.permutation(_N)
    weights, zero = np.full((_N, _K), 0.25, np.float32), np.zeros(_N, np.float32)

    def chunk(k: int) -> Arrays:
        return rows[k * _ROWS % _N :][:_ROWS]

    V, above, counts = zero - np.float32(70), np.zeros(_N, np.uint8), np.zeros((3, _N), np.uint16)
    currents, waiting, arrivals = np.zeros((3, _N), np.float32), np.zeros(_N, np.int16), zero.copy()
    trace, last = rng.random(_N, np.float32), rng.random(_N, np.float32)
    events = _ROWS * _K
    return Parts(
        lif=_shortest(repeats, lambda _: _update_lif(V, waiting, currents, counts, above)) / _N,
        eif=_shortest(repeats, lambda _: _update_eif(V, currents, counts, above)) / _N,
        scatter=_shortest(repeats, lambda k: _scatter(chunk(k), targets, counts[0])) / events,
        plastic=_shortest(repeats, lambda k: _learn(chunk(k), targets, weights, trace, last, arrivals)) / events,
        allgather=time_allgather(),
    )


def _shortest(repeats: int, action: Callable[[int], None]) -> float:
    """Time an action [ns], after once that compiles it."""
    action(0)
    times = []
    for k in range(repeats):
        begin = time.perf_counter_ns()
        action(k)
        times.append(time.perf_counter_ns() - begin)
    return min(times)


def time_allgather() -> float:
    """Time a call of MPI_Allgather between two ranks, from compiled code [ns]."""
    command = [str(find_mpirun()), "-n", "2", sys.executable, "-m", "benchmarks.floor"]
    checkout = Path(__file__).parents[1]
    done = subprocess.run(command, env=engine_environment(2), cwd=checkout, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


@kernel
def _update_lif(V: Arrays, waiting: Arrays, currents: Arrays, counts: Arrays, above: Arrays) -> None:
    decay, weight, leak = np.float32(0.98), np.float32(0.05), np.float32(0.1 / 15)
    E_L, V_th, V_reset, drive = np.float32(-72), np.float32(-58), np.float32(-75), np.float32(0.36)
    for i in range(V.size):
        total = drive
        for k in range(2):
            current = currents[k, i] * decay + weight * np.float32(counts[k, i])
            currents[k, i] = current
            counts[k, i] = 0
            total += current
        v = V[i] + leak * (E_L - V[i]) + np.float32(0.1) * total
        wait = waiting[i]
        v = V_reset if wait > 0 else v
        waiting[i] = max(wait - 1, 0)
        V[i] = v
        above[i] = v >= V_th


@kernel
def _update_eif(V: Arrays, currents: Arrays, counts: Arrays, above: Arrays) -> None:
    decay, weight, leak = np.float32(0.98), np.float32(0.05), np.float32(0.1 / 15)
    E_L, V_T, V_th = np.float32(-72), np.float32(-55), np.float32(-50)
    for i in range(V.size):
        total = np.float32(0)
        for k in range(3):
            current = currents[k, i] * decay + weight * np.float32(counts[k, i])
            currents[k, i] = current
            counts[k, i] = 0
            total += current
        v = V[i] + leak * (E_L - V[i] + exp(V[i] - V_T)) + np.float32(0.1) * total
        V[i] = min(v, V_th)
        above[i] = v >= V_th


@kernel
def _scatter(rows: Arrays, targets: Arrays, counts: Arrays) -> None:
    for row in rows:
        for target in targets[row]:
            counts[target] += 1


@kernel
def _learn(rows: Arrays, targets: Arrays, weights: Arrays, trace: Arrays, last: Arrays, arrivals: Arrays) -> None:
    rate = np.float32(1e-6)
    for row in rows:
        onto, w = targets[row], weights[row]
        for k in range(onto.size):
            present = w[k] + rate * last[onto[k]]
            arrivals[onto[k]] += present
            w[k] = present - rate * trace[onto[k]]


@kernel
def _exchange(times: int, mpi: Arrays, send: Arrays, receive: Arrays) -> None:
    for _ in range(times):
        call_allgather(mpi[0], send.ctypes.data, receive.ctypes.data, np.int32(_WORDS), mpi[1], mpi[2])


def main() -> None:
    """Collective. Time the exchange of the ranks that were started, and print it on rank 0 [ns]."""
    ranks, times = Ranks.world(), 1000
    mpi, send = ranks.handles(), np.zeros(_WORDS, np.int32)
    receive = np.zeros(_WORDS * ranks.size, np.int32)
    ranks.one_per_node_first(lambda: _exchange(0, mpi, send, receive))
    shortest = _shortest(50, lambda _: _exchange(times, mpi, send, receive)) / times
    if ranks.is_first:
        print(shortest)


if __name__ == "__main__":
    main()
