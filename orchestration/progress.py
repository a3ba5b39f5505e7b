"""What a person sees of a run: a live bar on a terminal, the engine's own lines in a log, and how it ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestration.launcher import Engine, Launch, Outcome, count_cores, forwarded_signals

_REFRESH_S = 0.2

_PLAIN: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}

_UNDERSTOOD = set(Outcome) - {Outcome.BUG}
"""Exit codes with which an engine has said what there is to say: a launcher's words about them are noise."""

_ACTIVITIES = {
    "building": "building the network",
    "compiling": "compiling, once for this kind of experiment",
    "writing": "writing run.h5",
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
    if launch.ranks > (cores := count_cores()):
        say(errors, f"{launch.ranks} ranks share {cores} cores: the result is the same, -n {cores} is faster")
    on_terminal = sys.stdout.isatty() and not console.is_dumb_terminal
    lines = subprocess.DEVNULL if on_terminal else None    # they are in log.txt too
    with tempfile.TemporaryFile() as noise:
        with (
            Live(console=console, auto_refresh=False, transient=True) if on_terminal else nullcontext() as live,
            Engine(launch.command(), launch.ranks, lines, noise) as engine,
            forwarded_signals(engine),
        ):
            code = _wait(engine, launch.directory, live, errors)
        was_stopped = code == Outcome.STOPPED or (engine.requests > 0 and code not in set(Outcome))
        if code in _UNDERSTOOD or was_stopped:
            _repeat_reasons(errors, noise)
        else:
            _repeat(errors, noise)
            say(errors, _failure(code))
    if code == Outcome.DONE:
        run_file = launch.directory / "run.h5"
        end = f"{run_file} ({decimal(run_file.stat().st_size)})"
    elif was_stopped and launch.directory.exists():
        end = "stopped before the end"
    else:
        return code
    console.print(f"{end}; next: steelyard inspect {launch.directory}", **_PLAIN)
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
        f"{_clock(status['remaining_s'])} left",
    )
    rates = "   ".join(f"{population} {rate:.1f} Hz" for population, rate in status["rates_hz"].items())
    return Group(line, Text(rates, style="dim"))


def read_status(directory: Path) -> dict[str, Any]:
    """Read the heartbeat of a run; empty before its first."""
    try:
        status: dict[str, Any] = json.loads((directory / "status.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return status


def say(errors: Console, message: str) -> None:
    """Print one line about the command itself, or about what is wrong."""
    errors.print(f"steelyard: {message}", **_PLAIN)


def _failure(code: int) -> str:
    """Say how an engine ended that did not end by itself."""
    if code == 128 + signal.SIGKILL:
        return "the engine was killed; if nobody did it, the machine ran out of memory: see steelyard doctor"
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


def _repeat(errors: Console, stream: IO[bytes]) -> None:
    """Print all that was kept back."""
    stream.seek(0)
    errors.print(stream.read().decode(errors="replace").rstrip(), **_PLAIN)


def _repeat_reasons(errors: Console, stream: IO[bytes]) -> None:
    """Print the engine's messages out of what was kept back, each once, without the launcher's words around them."""
    stream.seek(0)
    for line in dict.fromkeys(line.decode(errors="replace").rstrip() for line in stream):
        if line.startswith("steelyard: "):
            errors.print(line, **_PLAIN)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
