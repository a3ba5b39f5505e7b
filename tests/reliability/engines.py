"""Real engines for tests: started, befallen by something in a phase, waited for as long as they take."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from orchestration.engine import engine_environment, find_mpirun
from tests.processes import PATIENCE_S, command_of, living, wait_for_end

WITHIN_S = 600.0
"""So soon [s] ends what has failed or been stopped, of what would go on for hours, or wait for ever: in seconds, as a
rule, but a machine may have other things to do."""

Process = subprocess.Popen[str]


@dataclass(frozen=True)
class End:
    """How a process ended: its exit code, what it said, and when [s since 1970]."""

    code: int
    out: str
    err: str
    at: float


@contextmanager
def started(command: list[str], env: dict[str, str]) -> Iterator[Process]:
    """Start a process in a session of its own, of which nothing is left in the end."""
    process = subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for left in living(process.pid):
            with suppress(psutil.NoSuchProcess):
                left.kill()
        process.wait()


@contextmanager
def started_engine(ranks: int, *words: str | Path, env: dict[str, str] | None = None) -> Iterator[Process]:
    """Start this Python with some words on a number of ranks."""
    launcher = [] if ranks == 1 else [str(find_mpirun()), "-n", str(ranks)]
    with started([*launcher, sys.executable, *map(str, words)], engine_environment(ranks) | (env or {})) as process:
        yield process


def end_of(process: Process) -> End:
    """Wait for the end of a process."""
    out, err = process.communicate(timeout=PATIENCE_S)
    return End(process.returncode, out, err, time.time())


def engine(ranks: int, *words: str | Path, env: dict[str, str] | None = None) -> End:
    """Let an engine do something to its end."""
    with started_engine(ranks, "-m", "mpi_engine", *words, env=env) as process:
        return end_of(process)


def befallen(event: str, phase: str, rank: int, ranks: int, note: Path, *words: str | Path) -> End:
    """Let an engine do something, and something happen to it: see `befallen_engine`."""
    driver = Path(__file__).with_name("befallen_engine.py")
    with started_engine(ranks, driver, event, phase, str(rank), note, *words) as process:
        return end_of(process)


def wait_until_nothing_is_left(launcher: Process) -> None:
    """Wait for the end of the ranks of a launcher, which may come a moment after its own."""
    wait_for_end(living(launcher.pid))


def ranks_of(launcher: Process) -> list[psutil.Process]:
    """Processes of the ranks that a launcher has started, by rank."""
    children = psutil.Process(launcher.pid).children(recursive=True)
    ranks = [child for child in children if "mpi_engine" in command_of(child)]
    return sorted(ranks, key=lambda child: int(child.environ()["OMPI_COMM_WORLD_RANK"]))


def ask(processes: list[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to processes."""
    for process in processes:
        process.send_signal(number)
