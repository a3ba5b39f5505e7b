"""What a batch job does: begin or go on with its run, and have itself requeued until that is done."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from rich.console import Console

from mpi_engine.experiment import ExperimentError, Problem, load_experiment
from orchestration import slurm
from orchestration.launcher import Launch, Outcome, prepare, prepare_resume, read_status
from orchestration.progress import follow, say

_console = Console(soft_wrap=True)
_errors = Console(stderr=True, soft_wrap=True)

EXPERIMENT_FILE = "experiment.toml"

STOPPED_BY_USER = "steelyard stop"
"""Reason in the heartbeat of a run that somebody has stopped: it is not requeued."""


def main() -> int:
    """Run what the command line asks for; the exit code is the engine's, or 75 if this job has been requeued."""
    # SLURM's warning before the time limit may come before there is an engine, which looks at the clock itself
    signal.signal(signal.SIGUSR1, lambda *_: None)
    arguments = _parser().parse_args()
    try:
        code: int = arguments.action(arguments)
    except ExperimentError as error:
        for line in str(error).splitlines():
            say(_errors, line)
        return Outcome.WRONG
    return code


def run(arguments: argparse.Namespace) -> int:
    """Attempt one run in this job, on as many ranks as the job has tasks."""
    job, ranks = slurm.this_job(), int(os.environ.get("SLURM_NTASKS", "1"))
    given: Path = arguments.path
    directory: Path = given if given.is_dir() else arguments.output or Path("runs") / f"{given.stem}-{job}"
    options = {"writer": arguments.writer, "reserve_s": arguments.reserve, "launcher": arguments.launcher}
    if not given.is_dir() and not (directory / EXPERIMENT_FILE).exists():
        launch = prepare(given, directory, ranks, arguments.set, **options)
    else:
        if not given.is_dir() and os.environ.get("SLURM_RESTART_COUNT", "0") == "0":
            _check_same(given, arguments.set, directory)
        launch = prepare_resume(directory, ranks, **options)
    return attempt(launch, lambda: follow(launch, _console, _errors))


def _check_same(file: Path, overrides: Sequence[str], directory: Path) -> None:
    """Refuse to go on with a run of another experiment than was named."""
    if load_experiment(file, overrides).hash != load_experiment(directory / EXPERIMENT_FILE).hash:
        remedy = f"holds a run of another experiment than {file}; name another, or submit {directory} to go on with it"
        raise ExperimentError([Problem("-o", str(directory), remedy)], "command")


def attempt(launch: Launch, start: Callable[[], int]) -> int:
    """Start an engine in this job, and requeue the job if the run is to go on.

    Parameters
    ----------
    launch : Launch
        What is started.
    start : callable
        Starts it, waits for it, and returns its exit code.

    Returns
    -------
    int
        The engine's exit code.

    Raises
    ------
    ExperimentError
        If the attempt has brought the run no further: the next would not either.
    """
    job, before = slurm.this_job(), last_checkpoint(launch.directory)
    code = start()
    if code != Outcome.STOPPED or read_status(launch.directory).get("stopped_for") == STOPPED_BY_USER:
        return code
    if slurm.find_job(job).state != "RUNNING":
        say(_errors, f"job {job} is being ended; submit it again to go on with {launch.directory}")
        return code
    if last_checkpoint(launch.directory) <= before:
        remedy = "the time limit left no time for a step, so the job is not requeued; submit it with more --time"
        raise ExperimentError([Problem("job", job, remedy)], str(launch.directory))
    say(_errors, f"requeueing job {job} to go on with {launch.directory}")
    slurm.requeue(job)
    return code


def submit(arguments: argparse.Namespace) -> int:
    """Start an engine in a job of its own, and wait for the end of that; signals are passed on to it."""
    command = [sys.executable, "-m", "orchestration.batch", *arguments.command]
    log = arguments.directory.parent / f"{arguments.directory.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    options = [f"--ntasks={arguments.ranks}", "--job-name=steelyard", "--requeue", "--open-mode=append",
               f"--output={log}", "--signal=B:USR1@120", f"--wrap=exec {shlex.join(command)}"]
    job = slurm.submit([], options)
    say(_errors, f"job {job}; its log is {log}")

    def stop(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGUSR1:
            slurm.send_signal(job, "USR1")
        else:
            slurm.cancel(job)

    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    ended = slurm.wait_for_end(job)
    if ended.state in ("CANCELLED", "TIMEOUT"):
        return Outcome.STOPPED
    return ended.exit_code


def last_checkpoint(directory: Path) -> int:
    """Step of the last checkpoint of a run; -1 before the first."""
    return max((int(path.stem) for path in directory.glob("checkpoint/*.h5") if path.stem.isdigit()), default=-1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m orchestration.batch", description="What a batch job does.")
    actions = parser.add_subparsers(required=True)
    one = actions.add_parser("run", help="begin or go on with a run")
    one.add_argument("path", type=Path, help="an experiment, or the directory of a run to go on with")
    one.add_argument("-o", "--output", type=Path, help="the run directory; runs/<experiment>-<job> if not given")
    one.add_argument("--set", action="append", default=[], metavar="K=V", help="override a key of the experiment")
    one.add_argument("--writer", choices=("parallel", "gather"), help="how the ranks write")
    one.add_argument("--reserve", type=float, metavar="S", help="time to leave before the job's time limit")
    one.add_argument("--launcher", choices=("mpirun", "srun"), default="mpirun", help="what starts the ranks")
    one.set_defaults(action=run)
    job = actions.add_parser("submit", help="do the rest of the command line in a job of its own, and wait for that")
    job.add_argument("ranks", type=int)
    job.add_argument("directory", type=Path, help="the run directory; the job's log goes beside it")
    job.add_argument("command", nargs=argparse.REMAINDER)
    job.set_defaults(action=submit)
    return parser


if __name__ == "__main__":
    sys.exit(main())
