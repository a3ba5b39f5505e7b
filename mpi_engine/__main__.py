"""The engine's own door: ``mpirun -n 4 python -m mpi_engine run experiment.toml -o DIR``."""

from __future__ import annotations

import argparse
import ctypes
import json
import logging
import signal
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from mpi_engine.experiment import ExperimentError, load_experiment
from mpi_engine.network.ranks import LaunchError, Ranks, launched_size
from mpi_engine.run.walltime import RESERVE_S, WallTime, parse_duration
from mpi_engine.run.watcher import SIGNALS, WATCHDOG_S, hold_signals

DONE, WRONG, UNHEALTHY, DAMAGED, BUG, STOPPED = 0, 2, 3, 4, 70, 75

_PR_SET_PDEATHSIG = 1

_FIRST_SPEAKS_S = 1.0
"""Time [s] that other ranks wait before they say why they fail: where all fail alike, rank 0 has ended them then."""

_TOGETHER_S = 5.0
"""Ranks that have not failed so long [s] after one has will not: they wait for it elsewhere."""


def main() -> int:
    """Collective. Do what the command line asks for.

    Returns
    -------
    int
        0 done; 2 the experiment or the command is wrong; 3 unhealthy; 4 a file is damaged or does not fit; 75 stopped
        at a checkpoint, or before the first step: to be resumed.
    """
    arguments = _parser().parse_args()
    if arguments.command != "branch":
        hold_signals()     # until there is a watcher
    _die_with_parent()
    try:
        ranks = Ranks.world()
    except LaunchError as error:
        _say(_told(error))
        return WRONG
    _set_up_log(ranks)
    try:
        code = _do(arguments, ranks)
        ranks.meet("the end")
        return code
    except MemoryError as error:
        remedy = "take more ranks or memory, of which `steelyard plan` says how much, or a smaller network"
        _abort(f"steelyard: memory of rank {ranks.rank}: {error}; {remedy}", WRONG, ranks)
    except Exception:
        told = f"steelyard: rank {ranks.rank} of {ranks.size} failed\n{traceback.format_exc()}"
        _abort(told, BUG, ranks)


def _do(arguments: argparse.Namespace, ranks: Ranks) -> int:
    # after MPI: h5py must find the MPI library loaded
    from mpi_engine.compiled import why_not_kept  # noqa: PLC0415
    from mpi_engine.output.reader import RunError  # noqa: PLC0415
    from mpi_engine.output.writers import WriteError  # noqa: PLC0415
    from mpi_engine.run.directory import DirectoryError  # noqa: PLC0415
    from mpi_engine.run.health import UnhealthyError  # noqa: PLC0415

    actions = {"run": _run, "resume": _resume, "branch": _branch, "calibrate": _calibrate}
    try:
        if reason := why_not_kept():
            raise LaunchError(reason)
        return actions[arguments.command](arguments, ranks)
    except (ExperimentError, DirectoryError, LaunchError, RunError, UnhealthyError) as error:
        code = DAMAGED if isinstance(error, RunError) else UNHEALTHY if isinstance(error, UnhealthyError) else WRONG
        # a file that could not be written may be half closed
        if isinstance(error, WriteError) or not ranks.arrive(_TOGETHER_S):
            _abort(_told(error), code, ranks)
        if ranks.is_first:
            _say(_told(error))
        return code


def _run(arguments: argparse.Namespace, ranks: Ranks) -> int:
    """Collective. Begin a run."""
    from mpi_engine.run.job import run  # noqa: PLC0415

    limits = ranks.on_first(lambda: _limits(arguments))
    experiment = ranks.on_first(lambda: load_experiment(arguments.file, arguments.set))
    directory = arguments.output or Path("runs") / f"{arguments.file.stem}-{experiment.hash[:8]}"
    path = run(experiment, directory, ranks, arguments.writer, *limits)
    return DONE if path is not None else STOPPED


def _resume(arguments: argparse.Namespace, ranks: Ranks) -> int:
    """Collective. Go on with a run."""
    from mpi_engine.run.job import resume  # noqa: PLC0415

    limits = ranks.on_first(lambda: _limits(arguments))
    path = resume(arguments.run, arguments.set, ranks, arguments.writer, *limits)
    return DONE if path is not None else STOPPED


def _branch(arguments: argparse.Namespace, ranks: Ranks) -> int:
    """Collective. Make a new run of a checkpoint of another, on rank 0."""
    from mpi_engine.run.branch import branch  # noqa: PLC0415

    ranks.on_first(lambda: branch(arguments.run, arguments.output, arguments.at, arguments.set))
    return DONE


def _calibrate(arguments: argparse.Namespace, ranks: Ranks) -> int:
    """Collective. Measure what a run takes."""
    from mpi_engine.output.writers import choose_writer  # noqa: PLC0415
    from mpi_engine.run.calibration import calibrate  # noqa: PLC0415

    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)    # there is nothing to save before an end
    experiment = ranks.on_first(lambda: load_experiment(arguments.file, arguments.set))
    measured = calibrate(experiment, arguments.output, ranks, choose_writer(ranks.comm))
    ranks.on_first(lambda: (arguments.output / "calibration.json").write_text(json.dumps(asdict(measured))))
    return DONE


def _limits(arguments: argparse.Namespace) -> tuple[WallTime | None, float]:
    """Read the time limit, and the patience of the watchdog [s]."""
    limit = arguments.max_walltime
    limit_s = None if limit is None else parse_duration(limit, "--max-walltime")
    wall_time = WallTime.of_this_job(limit_s, parse_duration(arguments.reserve, "--reserve"))
    return wall_time, parse_duration(arguments.watchdog, "--watchdog")


def _told(error: Exception) -> str:
    return "\n".join(f"steelyard: {line}" for line in str(error).splitlines())


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _abort(words: str, code: int, ranks: Ranks) -> NoReturn:
    """Say why, and end all ranks: others may wait for this one."""
    if not ranks.is_first:
        time.sleep(_FIRST_SPEAKS_S)
    _say(words)
    ranks.abort(code)


def _die_with_parent() -> None:
    """Let the system end this rank when its launcher is killed, so that no rank lives on alone."""
    if sys.platform == "linux" and launched_size() is not None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _set_up_log(ranks: Ranks) -> None:
    log = logging.getLogger("steelyard")
    log.setLevel(logging.INFO if ranks.is_first else logging.ERROR)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("steelyard: %(message)s"))
    log.addHandler(handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mpi_engine", description="One simulation on many MPI ranks.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run an experiment")
    run.add_argument("file", type=Path, help="the experiment, in TOML")
    run.add_argument("-o", "--output", type=Path, metavar="DIR", help="the run directory; must be empty or not exist")
    resume = commands.add_parser("resume", help="go on with a run from its last checkpoint")
    branch = commands.add_parser("branch", help="make a new run, with changed dynamics, of a checkpoint of another")
    for going_on in (resume, branch):
        going_on.add_argument("run", type=Path, metavar="RUN", help="the run directory")
    branch.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="the new run's directory")
    branch.add_argument("--at", default="latest", metavar="MS", help="biological time of the checkpoint, or latest")
    calibrate = commands.add_parser("calibrate", help="run an experiment for a moment, and note what that takes")
    calibrate.add_argument("file", type=Path, help="the experiment, in TOML")
    calibrate.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where the note goes")
    for changing in (run, resume, branch, calibrate):
        changing.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key")
    for running in (run, resume):
        running.add_argument("--writer", choices=("parallel", "gather"), help="how the ranks write")
        running.add_argument("--max-walltime", metavar="S|H:M:S",
                             help="stop at a checkpoint before so long; the batch job's limit if not given")
        running.add_argument("--reserve", default=f"{RESERVE_S:g}", metavar="S|H:M:S",
                             help="time to leave before that limit [default: %(default)s]")
        running.add_argument("--watchdog", default=f"{WATCHDOG_S:g}", metavar="S|H:M:S",
                             help="print all stacks where nothing is finished for so long [default: %(default)s]")
    return parser


if __name__ == "__main__":
    sys.exit(main())
