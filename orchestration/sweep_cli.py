"""The commands `steelyard sweep ...`: many runs of one experiment, through Dask."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.filesize import decimal
from rich.live import Live

from orchestration.engine import Outcome, count_cores
from orchestration.launcher import check_ranks
from orchestration.ledger import Ledger, State
from orchestration.progress import PLAIN, say
from orchestration.sweep import Sweep, read_sweep
from orchestration.tally import STOP_WORDS, Tally

app = typer.Typer(help="Many runs of one experiment, on this machine or a cluster.")

SOME_FAILED = 1
"""Exit code if runs have failed."""

_LINE_S = 10.0

_console = Console()
_errors = Console(stderr=True)

SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP", help="The sweep, a TOML file; its runs go beside it.")]
On = Annotated[
    str, typer.Option(
        metavar="WHERE",
        help="Workers: local, on this machine; slurm, in batch jobs; allocation, on the nodes of this batch job; "
        "or those of a Dask scheduler, by its address.",
    )
]
Slots = Annotated[
    int | None, typer.Option(metavar="RANKS", min=1, help="Ranks at once on this machine; its cores, if not given.")
]


@app.command()
def plan(file: SweepFile) -> None:
    """Show what a sweep will run, or everything that is wrong with it."""
    sweep = read_sweep(file)
    for axis in sweep.axes:
        keys = ", ".join(axis.settings[0])
        first, last = (", ".join(map(str, axis.settings[k].values())) for k in (0, -1))
        _say(f"{keys}: {len(axis.settings)} from {first} to {last}" if len(axis.settings) > 1 else f"{keys}: {first}")
    ranks = f"{sweep.ranks} rank{'s' * (sweep.ranks > 1)}"
    _say(f"{len(sweep.members)} runs of {ranks} each, in {sweep.directory}: {_tally(sweep)}")


@app.command()
def run(file: SweepFile, on: On = "local", slots: Slots = None) -> None:
    """Run what is not done; again after a stop or a change. Exit code 75: stopped, run it again; 1: some failed."""
    raise typer.Exit(drive(file, on, slots, retry=False))


@app.command()
def retry(file: SweepFile, on: On = "local", slots: Slots = None) -> None:
    """Run what is not done, failed runs included."""
    raise typer.Exit(drive(file, on, slots, retry=True))


@app.command()
def status(file: SweepFile) -> None:
    """Count the runs in each state, and say why runs have failed or stopped."""
    tally = _tally(read_sweep(file))
    for line in tally.list_unfinished():
        _say(line)
    _say(str(tally))


@app.command()
def cancel(file: SweepFile) -> None:
    """Let all runs of a sweep stop at checkpoints, wherever they go, and their drivers end."""
    sweep = read_sweep(file)
    Ledger(sweep.directory).cancel()
    _say(f"asked {_tally(sweep).counts[State.RUNNING]} runs to stop; see steelyard sweep status {file}")


@app.command()
def collect(
    file: SweepFile,
    output: Annotated[Path | None, typer.Option("-o", metavar="FILE", help="SWEEP.nc, if not given.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="GROUP", help="rates, statistics, weights or traces; all, if not given.")
    ] = None,
    incomplete: Annotated[bool, typer.Option("--incomplete", help="Leave out what is missing.")] = False,
) -> None:
    """Make one labelled dataset of the finished runs, in netCDF."""
    from orchestration import collect as collection  # noqa: PLC0415  (xarray takes a second to import)

    sweep = read_sweep(file)
    path = output or sweep.directory.with_suffix(".nc")
    process = psutil.Process()
    before = process.io_counters().read_chars
    collection.save(collection.collect(sweep, only or collection.GROUPS, incomplete), path)
    _say(f"{path} ({decimal(path.stat().st_size)}); {decimal(process.io_counters().read_chars - before)} read")


def drive(file: Path, on: str, slots: int | None, retry: bool) -> int:
    """Run what is not done of a sweep, and return the exit code."""
    from orchestration.cluster import open_client  # noqa: PLC0415  (Dask takes a second to import)
    from orchestration.ensemble import Ensemble  # noqa: PLC0415

    sweep = read_sweep(file)
    check_ranks(sweep.ranks, sweep.launcher)
    with open_client(on, sweep.ranks, slots or count_cores(), sweep.directory, sweep.jobs) as client:
        _say(f"{len(sweep.members)} runs in {sweep.directory}; dashboard {client.dashboard_link}")
        with display(client.dashboard_link) as show:
            tally = Ensemble(sweep, client).run(show, retry)
    for line in tally.list_unfinished():
        say(_errors, line)
    _say(str(tally))
    if failed := tally.counts[State.FAILED]:
        say(_errors, f"{failed} failed; mend the cause, then: steelyard sweep retry {file}")
    return exit_code(tally.counts)


def exit_code(counts: Counter[State]) -> int:
    """Say how a sweep has ended: a stop comes before a failure, for the command is then to be given again."""
    if counts[State.DONE] + counts[State.FAILED] < counts.total():
        return Outcome.STOPPED
    return SOME_FAILED if counts[State.FAILED] else Outcome.DONE


def _tally(sweep: Sweep) -> Tally:
    return Tally(sweep, Ledger(sweep.directory).survey())


@contextmanager
def display(dashboard: str) -> Iterator[Callable[[Tally], None]]:
    """Provide what shows a tally: a live table on a terminal, lines in a log."""
    if _console.is_terminal and not _console.is_dumb_terminal:
        with Live(console=_console, auto_refresh=False, transient=True) as live:
            yield lambda tally: live.update(tally.picture(dashboard), refresh=True)
    else:
        yield _Lines()


class _Lines:
    """Prints a line when something has changed, but not too often; errors and requests at once."""

    def __init__(self) -> None:
        self._line = self._error = ""
        self._requests = 0
        self._next_s = 0.0

    def __call__(self, tally: Tally) -> None:
        if tally.last_error != self._error:
            self._error = tally.last_error
            say(_errors, self._error)
        if tally.requests != self._requests:
            self._requests = tally.requests
            say(_errors, STOP_WORDS[min(self._requests, len(STOP_WORDS)) - 1])
        if time.monotonic() >= self._next_s and (line := str(tally)).partition(";")[0] != self._line:
            self._line = line.partition(";")[0]
            _say(line)
            self._next_s = time.monotonic() + _LINE_S


def _say(line: str) -> None:
    _console.print(line, **PLAIN)
