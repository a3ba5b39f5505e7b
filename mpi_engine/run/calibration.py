"""Calibration: a network is built and run for a moment, to learn what a run of it will take."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from mpi_engine.compiled import cache_directory, kernel
from mpi_engine.dynamics.stopwatch import Timings
from mpi_engine.experiment import Experiment
from mpi_engine.network.exchange import Exchange, exchange, make_exchange
from mpi_engine.network.ranks import Ranks
from mpi_engine.output.layout import Record
from mpi_engine.output.writers import Writer
from mpi_engine.run.kinds import make_ready, make_simulation
from mpi_engine.run.stepping import Stepping

RUN_S, RUN_STEPS = 1.5, 1000
"""Time [s] and number of steps for which the network is run, at least."""

_EXCHANGES = 2000
_TRIAL_NUMBERS = 2**22


@dataclass(frozen=True)
class Measurement:
    """What was measured: the memory of the rank that has most, and the times of rank 0, which all share.

    Parameters
    ----------
    ranks : int
        Number of ranks.
    memory_bytes : int
        Memory of the network with everything else, without a checkpoint [B].
    build_s, compile_s : float
        Time to draw the network, and to compile its step or load it from the cache [s].
    step_s, exchange_s : float
        Time of a step, and of its collective where nobody is late [s].
    seal_s, write_bytes_per_s : float
        Time to seal a small file [s], and bytes that all ranks together write in a second.
    rates_hz : dict of str to float
        Mean rate of each population and input train [Hz].
    compiled : bool
        Whether kernels were compiled, and kept in the cache: this memory and time are not taken again.
    """

    ranks: int
    memory_bytes: int
    build_s: float
    compile_s: float
    step_s: float
    exchange_s: float
    seal_s: float
    write_bytes_per_s: float
    rates_hz: dict[str, float]
    compiled: bool


def calibrate(experiment: Experiment, directory: Path, ranks: Ranks, writer: Writer) -> Measurement:
    """Collective. Build and run an experiment for a moment, and write as it would.

    Parameters
    ----------
    experiment : Experiment
        What is measured.
    directory : Path
        Where files are written and removed; it exists.
    ranks : Ranks
        Who takes part.
    writer : Writer
        How they write.
    """
    kept, timings = _count_kernels(), Timings()
    with timings.phase("compile"):
        make_ready(experiment, ranks)
    with timings.phase("build"):
        simulation = make_simulation(experiment, ranks)
    with timings.phase("compile"):
        simulation.compile()
    simulation.start()
    step_s, rates_hz = _run(simulation)
    memory = int(psutil.Process().memory_info().rss)
    seal_s, _ = _write(writer, directory, simulation.take_records())
    trial_s, trial_bytes = _write(writer, directory, [_trial(ranks)])
    return Measurement(
        ranks.size,
        ranks.maximum(memory),
        build_s=timings["build"],
        compile_s=timings["compile"],
        step_s=step_s,
        exchange_s=_time_exchange(ranks),
        seal_s=seal_s,
        write_bytes_per_s=trial_bytes / max(trial_s - seal_s, 0.1 * trial_s),
        rates_hz=rates_hz,
        compiled=bool(ranks.maximum(_count_kernels() - kept)),
    )


def _count_kernels() -> int:
    """Count what the cache keeps; it may be another one on every node."""
    return sum(1 for _ in cache_directory().rglob("*.nbc"))


def _run(simulation: Stepping) -> tuple[float, dict[str, float]]:
    """Collective. Run for a moment; the time of a step [s] and the rates [Hz] in its later half."""
    e, ranks = simulation.experiment, simulation.ranks
    stride, begun, step_s = 32, time.monotonic(), 0.0
    first, before = 0, simulation.progress[1:].copy()
    least = min(RUN_STEPS, e.n_steps)
    while simulation.step < least or not ranks.broadcast(simulation.step == e.n_steps or _since(begun) > RUN_S):
        first, before, at = simulation.step, simulation.progress[1:].copy(), time.monotonic()
        stride *= 2
        while simulation.step < min(first + stride, e.n_steps):
            simulation.advance(min(first + stride, e.n_steps))
            if simulation.is_full:
                simulation.take_records()
        step_s = (time.monotonic() - at) / (simulation.step - first)
    ran_s = (simulation.step - first) * e.run.dt_ms * 1e-3
    spikes = (simulation.progress[1:] - before).tolist()
    return step_s, {name: count / (size * ran_s) for (name, size), count in zip(e.sizes.items(), spikes, strict=True)}


def _since(begun: float) -> float:
    return time.monotonic() - begun


def _trial(ranks: Ranks) -> Record:
    """Make numbers of which each rank has a part."""
    first, last = (_TRIAL_NUMBERS * part // ranks.size for part in (ranks.rank, ranks.rank + 1))
    values = np.arange(first, last, dtype=np.float64)
    return Record("/trial", (_TRIAL_NUMBERS,), values.dtype, grows=False, start=(first,), values=values)


def _write(writer: Writer, directory: Path, records: list[Record]) -> tuple[float, int]:
    """Collective. Write a file and remove it; how long that took [s] and its bytes."""
    path, begun = directory / "trial.h5", time.monotonic()
    writer.write(path, records, {})
    took_s = time.monotonic() - begun
    n_bytes = writer.on_first(lambda: path.stat().st_size)
    writer.on_first(path.unlink)
    return took_s, n_bytes


def _time_exchange(ranks: Ranks) -> float:
    """Collective. Time of a collective of an ordinary message [s]; none on one rank."""
    if ranks.size == 1:
        return 0.0
    x = make_exchange(ranks, 1, ranks.size)
    _exchange_repeatedly(x, 1)
    ranks.barrier()
    begun = time.monotonic()
    _exchange_repeatedly(x, _EXCHANGES)
    return (time.monotonic() - begun) / _EXCHANGES


@kernel
def _exchange_repeatedly(x: Exchange, times: int) -> None:
    for _ in range(times):
        exchange(x)
