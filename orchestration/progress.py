"""What a person sees of a run: a live bar on a terminal, the engine's own lines in a log, and how it ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mpi_engine.run.directory import EXPERIMENT_FILE
from orchestration.engine import STOPPING_SIGNALS, Engine, Outcome, answered_signals, count_cores
from orchestration.launcher import Launch, read_status

_REFRESH_S = 0.2

PLAIN: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}
"""How lines are printed whose every character is meant."""

_UNDERSTOOD = set(Outcome) - {Outcome.BUG}
"""Exit codes with which an engine has said what there is to say: a launcher's words about them are noise."""

_ACTIVITIES = {
    "building": "building the network",
    "compiling": "compiling, once for this kind of experiment",
    "writing": "writing what was recorded",
    "checkpointing": "writing a checkpoint",
    "finishing": "writing run.h5",
}


def follow(launch: Launch, console: Console, errors: Console) -> int:
    """Start a run, show it, pass signals on to it, and say how it ended.

    Parameters
    ----------
    launch : Launch
        See `orchestration.launcher.prepare`.
    console, errors : Console
        Standard output and standard error. On a terminal the first shows a live bar instead of the engine's lines.

    Returns
    -------
    int
        The engine's exit code, or 128 plus the number of the signal that ended it.
    """
    if launch.launcher == "mpirun" and launch.ranks > (cores := count_cores()):
        say(errors, f"{launch.ranks} ranks share {cores} cores: the result is the same, -n {cores} is faster")
    on_terminal = sys.stdout.isatty() and not console.is_dumb_terminal
    lines = subprocess.DEVNULL if on_terminal else None    # they are in log.txt too
    with tempfile.TemporaryFile() as noise:
        with (
            Live(console=console, auto_refresh=False, transient=True) if on_terminal else nullcontext() as live,
            Engine(launch.command(), launch.ranks, lines, noise) as engine,
            answered_signals(engine.stop),
        ):
            code = _wait(engine, launch.directory, live, errors)
        was_stopped = code == Outcome.STOPPED or (engine.requests > 0 and code not in set(Outcome))
        _explain(code, code in _UNDERSTOOD or (was_stopped and engine.requests < 2), errors, noise)
    if was_stopped and engine.requests < 2:
        code = Outcome.STOPPED     # also if the engine had not come so far as to answer a signal
    says_all = code in (Outcome.WRONG, Outcome.UNHEALTHY, Outcome.DAMAGED)
    if (launch.directory / EXPERIMENT_FILE).exists():
        if not says_all:
            console.print(describe_end(launch.directory), **PLAIN)
    elif code == Outcome.STOPPED:
        console.print("stopped before it began; give the command again", **PLAIN)
    return code


def describe_end(directory: Path) -> str:
    """Say where a run stands that does not go any more, and what to do next."""
    run_file, status = directory / "run.h5", read_status(directory)
    if run_file.exists():
        return f"{run_file} ({decimal(run_file.stat().st_size)}); next: steelyard inspect {directory}"
    if status.get("step", 0) == 0:
        return f"stopped before the first step; next: steelyard resume {directory}"
    phase = "stopped" if status["phase"] == "stopped" else "ended"
    done = f"{status['time_ms'] / 1000:g} of {status['duration_ms'] / 1000:g} s"
    return f"{phase} at {done}; next: steelyard resume {directory}"


def branch(parent: Path, directory: Path, at: str, overrides: Sequence[str], console: Console, errors: Console) -> int:
    """Make a new run out of a checkpoint of another, and say how to start it.

    Parameters
    ----------
    parent, directory : Path
        The run directories of the other run and of the new one.
    at : str
        Biological time of the checkpoint [ms], or ``latest``.
    overrides : sequence of str
        What is changed in the dynamics.
    console, errors : Console
        Standard output and standard error.

    Returns
    -------
    int
        The engine's exit code.
    """
    command = [sys.executable, "-m", "mpi_engine", "branch", str(parent), "-o", str(directory), "--at", at]
    for override in overrides:
        command += ["--set", override]
    with tempfile.TemporaryFile() as noise:
        with Engine(command, 1, subprocess.DEVNULL, noise) as engine, answered_signals(engine.stop):
            code = _wait(engine, directory, None, errors)
        _explain(code, code in _UNDERSTOOD, errors, noise)
    if code == Outcome.DONE:
        console.print(f"next: steelyard resume {directory}", **PLAIN)
    return code


def picture(status: dict[str, Any]) -> RenderableType:
    """Draw the state of a run.

    Parameters
    ----------
    status : dict
        The engine's status.json; empty before there is one.

    Returns
    -------
    RenderableType
        A bar with the biological time, the speed and the remaining time, and the rates under it; or, while the engine
        does something of unknown length, the name of that.
    """
    line = Table.grid(padding=(0, 2), expand=True)
    line.add_column(ratio=1)
    if "speed" not in status or status["time_ms"] >= status["duration_ms"]:
        phase = status.get("phase", "starting")
        line.add_column(no_wrap=True)
        line.add_row(ProgressBar(pulse=True), _ACTIVITIES.get(phase, phase))
        return line
    for _ in range(3):
        line.add_column(no_wrap=True, justify="right")
    line.add_row(
        ProgressBar(total=status["duration_ms"], completed=status["time_ms"]),
        f"{status['time_ms'] / 1000:.2f} of {status['duration_ms'] / 1000:g} s",
        f"{status['speed']:.2f} x real time",
        f"{clock(status['remaining_s'])} left",
    )
    rates = "   ".join(f"{population} {rate:.1f} Hz" for population, rate in status["rates_hz"].items())
    return Group(line, Text(rates, style="dim"))


def say(errors: Console, message: str) -> None:
    """Print one line about the command itself, or about what is wrong."""
    errors.print(f"steelyard: {message}", **PLAIN)


def _failure(code: int) -> str:
    """Say how an engine ended that did not end by itself."""
    if code == 128 + signal.SIGKILL:
        return "the engine was killed; if nobody did it, the machine ran out of memory: see steelyard doctor"
    if code in (128 + number for number in STOPPING_SIGNALS):
        return f"the engine was ended at once by {signal.Signals(code - 128).name}; its last checkpoint is whole"
    return f"the engine failed with code {code}; what it said is above, and in log.txt"


def _wait(engine: Engine, directory: Path, live: Live | None, errors: Console) -> int:
    requests = 0
    while (code := engine.wait(_REFRESH_S)) is None:
        if live is not None:
            live.update(picture(read_status(directory)), refresh=True)
        if engine.requests and not requests:
            say(errors, "stopping; once more ends it at once")
        requests = engine.requests
    return code


def _explain(code: int, understood: bool, errors: Console, stream: IO[bytes]) -> None:
    """Print what was kept back: the engine's own messages, each once; all of it if the end is not understood."""
    stream.seek(0)
    lines = [line.decode(errors="replace").rstrip() for line in stream]
    if understood:
        lines = [line for line in dict.fromkeys(lines) if line.startswith("steelyard: ")]
    else:
        lines.append(f"steelyard: {_failure(code)}")
    for line in lines:
        errors.print(line, **PLAIN)


def clock(seconds: float) -> str:
    """Write a time as h:mm:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
