"""The engine's own door: ``mpirun -n 4 python -m mpi_engine run experiment.toml -o DIR``."""

from __future__ import annotations

import argparse
import ctypes
import logging
import signal
import sys
import traceback
from pathlib import Path

from mpi_engine.experiment import Experiment, ExperimentError, load_experiment
from mpi_engine.network.ranks import LaunchError, Ranks, launched_size

DONE, WRONG, DAMAGED, BUG, STOPPED = 0, 2, 4, 70, 75

_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Collective. Run what the command line asks for.

    Returns
    -------
    int
        0 done; 2 the experiment or the command is wrong; 4 a file is damaged or does not fit; 75 stopped at a
        checkpoint, or before the first step.
    """
    arguments = _parser().parse_args()
    _die_with_parent()
    try:
        ranks = Ranks.world()
    except LaunchError as error:
        print(f"steelyard: {error}", file=sys.stderr)
        return WRONG
    _set_up_log(ranks)
    try:
        return _run(arguments, ranks)
    except Exception:
        print(f"steelyard: rank {ranks.rank} of {ranks.size} failed\n{traceback.format_exc()}", file=sys.stderr,
              flush=True)
        ranks.abort(BUG)


def _run(arguments: argparse.Namespace, ranks: Ranks) -> int:
    # after MPI: h5py must find the MPI library loaded
    from mpi_engine.output.reader import RunError  # noqa: PLC0415
    from mpi_engine.output.writers import WriteError  # noqa: PLC0415
    from mpi_engine.run.directory import DirectoryError  # noqa: PLC0415
    from mpi_engine.run.job import resume, run  # noqa: PLC0415

    try:
        if arguments.command == "resume":
            path = resume(arguments.directory, arguments.set, ranks, arguments.writer)
        elif arguments.command == "branch":
            return _branch(arguments, ranks)
        else:
            experiment = _load_experiment(arguments, ranks)
            directory = arguments.output or Path("runs") / f"{arguments.file.stem}-{experiment.hash[:8]}"
            path = run(experiment, directory, ranks, arguments.writer)
    except WriteError as error:
        _complain(error)
        ranks.abort(DAMAGED)     # the other ranks wait for this one
    except (ExperimentError, DirectoryError, LaunchError, RunError) as error:
        if ranks.is_first:
            _complain(error)
        return DAMAGED if isinstance(error, RunError) else WRONG
    return DONE if path is not None else STOPPED


def _branch(arguments: argparse.Namespace, ranks: Ranks) -> int:
    """Collective. Make a branch, on rank 0."""
    from mpi_engine.run.branch import branch  # noqa: PLC0415

    problem: Exception | None = None
    if ranks.is_first:
        try:
            branch(arguments.directory, arguments.output, arguments.at, arguments.set)
        except Exception as error:
            problem = error
    problem = ranks.broadcast(problem)
    if problem is not None:
        raise problem
    return DONE


def _load_experiment(arguments: argparse.Namespace, ranks: Ranks) -> Experiment:
    """Collective. Read the experiment on rank 0, so that all run the same one or fail with it."""
    found: Experiment | ExperimentError | None = None
    if ranks.is_first:
        try:
            found = load_experiment(arguments.file, arguments.set)
        except ExperimentError as error:
            found = error
    found = ranks.broadcast(found)
    if isinstance(found, Experiment):
        return found
    assert found is not None
    raise found


def _complain(error: Exception) -> None:
    print("\n".join(f"steelyard: {line}" for line in str(error).splitlines()), file=sys.stderr, flush=True)


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
    run.add_argument("-o", "--output", type=Path, help="the run directory; must be empty or not exist")
    resume = commands.add_parser("resume", help="go on with a run from its last checkpoint")
    resume.add_argument("directory", type=Path, help="the run directory")
    branch = commands.add_parser("branch", help="make a new run of a checkpoint, with changed dynamics")
    branch.add_argument("directory", type=Path, help="the run directory of the parent")
    branch.add_argument("-o", "--output", type=Path, required=True, help="the new run directory")
    branch.add_argument("--at", required=True, help="time of the checkpoint [ms], or latest")
    for command in (run, resume, branch):
        command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key")
    for command in (run, resume):
        command.add_argument("--writer", choices=("parallel", "gather"), help="how the ranks write")
    return parser


if __name__ == "__main__":
    sys.exit(main())
