"""What a run will take: memory, disk and time, reckoned from the experiment and from a moment of running it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, log2
from pathlib import Path

import psutil
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from mpi_engine.experiment import Experiment, ExperimentError, Problem
from mpi_engine.run.calibration import Measurement
from mpi_engine.run.footprint import CHECKPOINT
from mpi_engine.run.kinds import make_footprint
from orchestration.engine import Engine, Outcome, answered_signals, count_cores
from orchestration.launcher import prepare, read_experiment
from orchestration.progress import clock

UNKNOWN_RATE_HZ = 20.0
"""What populations are taken to fire at where a network is too large to be tried here."""

COMPILER_BYTES = 2e8
"""Memory that a compiler is taken to need: where kernels were in the cache, or a part of them, less is measured."""

_TIME_MARGIN, _MEMORY_MARGIN = 1.5, 1.25
"""By how much a batch job asks for more than is expected."""

_LEAST_TIME_S = 300.0


@dataclass(frozen=True)
class Plan:
    """What a run on a number of ranks is expected to take.

    Parameters
    ----------
    experiment : Experiment
        What is run.
    ranks : int
        Number of ranks.
    arrays : dict of str to float
        Bytes of a rank's arrays, by what they hold.
    run_file_bytes, checkpoint_bytes, disk_bytes : float
        Size of ``run.h5`` and of a checkpoint, and most bytes on disk at a time.
    measured : Measurement or None
        What a moment of running with kernels from the cache told; None where the network is too large for this machine.
    compiler_bytes : float
        Memory that a rank takes beyond that when it compiles the kernels: one of each node whose cache has none.
    """

    experiment: Experiment
    ranks: int
    arrays: dict[str, float]
    run_file_bytes: float
    checkpoint_bytes: float
    disk_bytes: float
    measured: Measurement | None
    compiler_bytes: float = COMPILER_BYTES

    @property
    def memory_bytes(self) -> float:
        """Most memory of a rank; without what the program itself takes, if that was not measured."""
        return sum(self.arrays.values()) + self.program_bytes

    @property
    def program_bytes(self) -> float:
        """Memory of a rank for all but arrays: Python, MPI, compiled code; zero if it was not measured."""
        known = sum(size for what, size in self.arrays.items() if what != CHECKPOINT)
        return 0.0 if self.measured is None else max(0.0, self.measured.memory_bytes - known)

    @property
    def wall_time_s(self) -> float | None:
        """Time of the whole run [s], if it was measured."""
        m, e = self.measured, self.experiment
        if m is None:
            return None
        segments = ceil(e.run.duration_ms / e.recording.segment_ms)
        written = 2 * self.run_file_bytes + self.checkpoint_bytes
        return m.build_s + m.compile_s + e.n_steps * m.step_s + segments * m.seal_s + written / m.write_bytes_per_s

    @property
    def most_ranks(self) -> int | None:
        """Number of ranks beyond which they exchange spikes for longer than they compute, if it was measured.

        Computing is divided among the ranks; the collective takes longer with the logarithm of their number.
        """
        m = self.measured
        if m is None or m.ranks == 1:
            return None
        computing_s, round_s = (m.step_s - m.exchange_s) * m.ranks, m.exchange_s / log2(m.ranks)
        ranks = 1
        while computing_s / (ranks + 1) > round_s * log2(ranks + 1):
            ranks += 1
        return ranks


def make_plan(file: Path, ranks: int, overrides: Sequence[str] = ()) -> Plan:
    """Reckon what a run will take; on this machine it is run for a moment, in a temporary directory.

    Parameters
    ----------
    file, ranks, overrides
        As for a run.

    Returns
    -------
    Plan

    Raises
    ------
    ExperimentError
        If the experiment is wrong or cannot be started.
    """
    experiment = read_experiment(file, overrides)
    rates_hz = dict.fromkeys(experiment.sizes, UNKNOWN_RATE_HZ)
    arrays = make_footprint(experiment, ranks, rates_hz).memory()
    measured, compiler_bytes = None, COMPILER_BYTES
    if sum(arrays.values()) * ranks < psutil.virtual_memory().available:
        measured = _calibrate(file, ranks, overrides)
        if measured.compiled:
            with_compiler_bytes, measured = measured.memory_bytes, _calibrate(file, ranks, overrides)
            compiler_bytes = max(compiler_bytes, with_compiler_bytes - measured.memory_bytes)
        rates_hz = measured.rates_hz
    footprint = make_footprint(experiment, ranks, rates_hz)
    sizes = (footprint.run_file(), footprint.checkpoint(), footprint.disk())
    return Plan(experiment, ranks, footprint.memory(), *sizes, measured, compiler_bytes)


def _calibrate(file: Path, ranks: int, overrides: Sequence[str]) -> Measurement:
    with tempfile.TemporaryDirectory(prefix="steelyard-plan-") as temporary, tempfile.TemporaryFile() as words:
        launch = replace(prepare(file, Path(temporary), ranks, overrides), only_calibrates=True)
        with Engine(launch.command(), ranks, subprocess.DEVNULL, words) as engine, answered_signals(engine.stop):
            while (code := engine.wait(0.2)) is None:
                pass
        if engine.requests:
            raise KeyboardInterrupt
        if code != Outcome.DONE:
            words.seek(0)
            sys.stderr.write(words.read().decode(errors="replace"))
            remedy = f"the engine ended with code {code}; what it said is above"
            raise ExperimentError([Problem("calibration", str(file), remedy)], "plan")
        found = json.loads((Path(temporary) / "calibration.json").read_text(encoding="utf-8"))
    return Measurement(**found)


def show(plan: Plan, file: Path, overrides: Sequence[str], console: Console) -> None:
    """Print a plan, and the line that submits it as a batch job."""
    table = Table.grid(padding=(0, 2))
    each = ", ".join(f"{what} {decimal(round(size))}" for what, size in plan.arrays.items() if size >= 1e5)
    base = f"program {decimal(round(plan.program_bytes))}, " if plan.measured else "without the program itself: "
    table.add_row("memory a rank", decimal(round(plan.memory_bytes)), f"{base}{each}")
    kept = f"run.h5 {decimal(round(plan.run_file_bytes))}, a checkpoint {decimal(round(plan.checkpoint_bytes))}"
    if plan.measured:
        compiler = f"{decimal(round(plan.compiler_bytes))} more"
        table.add_row("", compiler, "for a compiler, on one rank of each node that has not run such a network before")
    table.add_row("disk", decimal(round(plan.disk_bytes)), f"at most; {kept}")
    if plan.measured is None:
        table.add_row("wall time", "unknown", "this machine is too small to try: plan on a node of those it runs on")
    else:
        _show_times(plan, plan.measured, table)
    console.print(table)
    console.print(sbatch_line(plan, file, overrides), markup=False, highlight=False, soft_wrap=True)


def _show_times(plan: Plan, m: Measurement, table: Table) -> None:
    step = f"{m.step_s * 1e6:.3g} us a step, of which the exchange {m.exchange_s * 1e6:.2g}"
    shared = f"; {plan.ranks} ranks shared {count_cores()} cores" if plan.ranks > count_cores() else ""
    table.add_row("wall time", clock(plan.wall_time_s or 0.0), f"{step}{shared}")
    if plan.most_ranks is None:
        table.add_row("ranks", str(plan.ranks), "plan with two or more to learn how many pay")
    else:
        table.add_row("ranks", str(plan.ranks), f"beyond {plan.most_ranks} they exchange for longer than they compute")


def sbatch_line(plan: Plan, file: Path, overrides: Sequence[str]) -> str:
    """Write the command that submits a run as a batch job, with a margin of time and memory."""
    words = ["sbatch", f"--ntasks={plan.ranks}"]
    if plan.wall_time_s is not None:
        words += [f"--time={ceil(max(_TIME_MARGIN * plan.wall_time_s, _LEAST_TIME_S) / 60)}"]
        most_bytes = plan.memory_bytes + plan.compiler_bytes
        words += [f"--mem-per-cpu={ceil(_MEMORY_MARGIN * most_bytes / 2**20)}M"]
    words += ["slurm/run.sbatch", str(file)]
    for override in overrides:
        words += ["--set", override]
    return shlex.join(words)
