"""What a batch job does: begin or go on with its runs, and have itself requeued until they are done."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from types import FrameType

from rich.console import Console

from mpi_engine.experiment import ExperimentError, Problem, load_experiment
from mpi_engine.output.checkpoints import last_checkpoint
from mpi_engine.output.sealed import RUN_FILE
from mpi_engine.run.directory import EXPERIMENT_FILE, living_holder
from mpi_engine.run.walltime import parse_duration
from mpi_engine.run.watcher import STOP_COMMAND, STOP_FILE
from orchestration import slurm
from orchestration.attempt import Order, attempt
from orchestration.engine import STOPPING_SIGNALS, Outcome
from orchestration.launcher import prepare, prepare_resume, read_status
from orchestration.ledger import Ledger, State
from orchestration.progress import follow, say
from orchestration.sweep import read_sweep
from orchestration.sweep_cli import drive

_FORMER_S = 120.0

_console = Console(soft_wrap=True)
_errors = Console(stderr=True, soft_wrap=True)


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
    limit = None if arguments.max_walltime is None else parse_duration(arguments.max_walltime, "--max-walltime")
    reserve = None if arguments.reserve is None else parse_duration(arguments.reserve, "--reserve")
    _wait_while(lambda: bool(living_holder(directory)))
    begun, overrides = (directory / EXPERIMENT_FILE).exists(), arguments.set
    if begun and not given.is_dir():
        overrides = []    # they stand in the run's own file since it was begun
        if os.environ.get("SLURM_RESTART_COUNT", "0") == "0":
            _check_same(given, arguments.set, directory)
    if begun or given.is_dir():
        launch = prepare_resume(directory, ranks, overrides, arguments.writer, limit, reserve, arguments.launcher)
    else:
        launch = prepare(given, directory, ranks, overrides, arguments.writer, limit, reserve, arguments.launcher)

    def was_asked() -> bool:
        return read_status(directory).get("stopped_for") == STOP_COMMAND

    return _requeue_if_stopped(
        directory, lambda: follow(launch, _console, _errors), lambda: last_checkpoint(directory), was_asked
    )


def member(arguments: argparse.Namespace) -> int:
    """Attempt the member of a sweep that this task of a job array stands for."""
    job, sweep = slurm.this_job(), read_sweep(arguments.sweep)
    index, tasks = slurm.array_task(), os.environ.get("SLURM_NTASKS", "1")
    if index is None or index >= len(sweep.members):
        remedy = f"the sweep has members 0 to {len(sweep.members) - 1}; submit with --array=0-{len(sweep.members) - 1}"
        raise ExperimentError([Problem("SLURM_ARRAY_TASK_ID", str(index), remedy)], str(sweep.file))
    if int(tasks) != sweep.ranks:
        remedy = f"the sweep's runs have {sweep.ranks} ranks; submit with --ntasks={sweep.ranks}"
        raise ExperimentError([Problem("SLURM_NTASKS", tasks, remedy)], str(sweep.file))
    chosen, ledger, driver = sweep.members[index], Ledger(sweep.directory), f"job-{job}"
    cancellation = ledger.last_cancellation()
    _wait_while(lambda: ledger.read(chosen.id).state == State.RUNNING)
    before = ledger.read(chosen.id)
    if before.state == State.RUNNING:
        raise ExperimentError([Problem(chosen.id, "", "is running elsewhere; wait for its end")], str(sweep.file))
    if before.state == State.DONE:
        return Outcome.DONE
    requests = count(1)
    ledger.ask_to_stop(driver, 0)    # of the job's earlier life, which was killed before it could do this
    for number in STOPPING_SIGNALS:
        signal.signal(number, lambda *_: ledger.ask_to_stop(driver, next(requests)))

    def start() -> int:
        try:
            attempt(Order.of(sweep, chosen, before.attempt, driver, cancellation))
        finally:
            ledger.ask_to_stop(driver, 0)
        after = ledger.read(chosen.id)
        say(_errors, f"{chosen}: {after.state}{after.reason and ', '}{after.reason}")
        return Outcome.DONE if after.state == State.DONE else after.code or Outcome.STOPPED

    directory = sweep.run_directory(chosen)
    return _requeue_if_stopped(
        directory, start, lambda: last_checkpoint(directory), lambda: ledger.last_cancellation() != cancellation
    )


def ensemble(arguments: argparse.Namespace) -> int:
    """Run what is not done of a sweep on the nodes of this job."""
    sweep = read_sweep(arguments.sweep)
    ledger = Ledger(sweep.directory)
    cancellation = ledger.last_cancellation()

    def progress() -> int:
        return sum(last_checkpoint(sweep.run_directory(member)) + 1 for member in sweep.members)

    def start() -> int:
        return drive(arguments.sweep, "allocation", None, retry=False)

    return _requeue_if_stopped(
        sweep.directory, start, progress, lambda: ledger.last_cancellation() != cancellation
    )


def _requeue_if_stopped(
    directory: Path, start: Callable[[], int], progress: Callable[[], int], was_asked: Callable[[], bool]
) -> int:
    """Start what this job is for, and requeue the job if that has stopped at checkpoints.

    Parameters
    ----------
    directory : Path
        Where its state is.
    start : callable
        Starts it, waits for it, and returns its exit code.
    progress : callable
        Measures how far it is.
    was_asked : callable
        Tells whether somebody wanted the stop, and no requeueing.

    Returns
    -------
    int
        Its exit code.

    Raises
    ------
    ExperimentError
        If it has come no further: the next attempt would not either.
    """
    job, before = slurm.this_job(), progress()
    code = start()
    if code != Outcome.STOPPED or was_asked():
        return code
    if slurm.find_job(job).state != "RUNNING":
        say(_errors, f"job {job} is being ended; submit it again to go on with {directory}")
        return code
    if progress() <= before:
        remedy = "has brought this no further, so it is not requeued; submit it with more --time"
        raise ExperimentError([Problem("job", job, remedy)], str(directory))
    say(_errors, f"requeueing job {job} to go on with {directory}")
    try:
        slurm.requeue(job)
    except ExperimentError as error:
        say(_errors, f"{error}; submit it again to go on with {directory}")
    return code


def _wait_while(former_goes_on: Callable[[], bool]) -> None:
    """Wait until an earlier life of this job, on another node perhaps, is known to be over."""
    deadline = time.monotonic() + _FORMER_S
    while former_goes_on() and time.monotonic() < deadline:
        time.sleep(1.0)


def _check_same(file: Path, overrides: Sequence[str], directory: Path) -> None:
    """Refuse to go on with a run of another experiment than was named."""
    if load_experiment(file, overrides).hash != load_experiment(directory / EXPERIMENT_FILE).hash:
        remedy = f"holds a run of another experiment than {file}; name another, or submit {directory} to go on with it"
        raise ExperimentError([Problem("-o", str(directory), remedy)], "command")


def submit(arguments: argparse.Namespace) -> int:
    """Start an engine in a job of its own, and wait for the end of that; signals are passed on to it."""
    command = [sys.executable, "-m", "orchestration.batch", *arguments.command]
    log = arguments.directory.parent / f"{arguments.directory.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    pattern = str(log).replace("%", "%%")
    options = [f"--ntasks={arguments.ranks}", "--job-name=steelyard", "--requeue", "--open-mode=append",
               f"--output={pattern}", "--signal=B:USR1@120", f"--wrap=exec {shlex.join(command)}"]
    job, early = "", list[int]()

    def stop(number: int, _frame: FrameType | None) -> None:
        has_begun = (arguments.directory / EXPERIMENT_FILE).exists()
        if not job:
            early.append(number)     # sbatch has not said yet which job it is
        elif number == signal.SIGUSR1 and has_begun and slurm.find_job(job).state == "RUNNING":
            (arguments.directory / STOP_FILE).touch()    # and not a signal, upon which the job would be requeued
        else:
            slurm.cancel(job)

    for number in STOPPING_SIGNALS:
        signal.signal(number, stop)
    job = slurm.submit([], options)
    say(_errors, f"job {job}; its log is {log}")
    for request in early:
        stop(request, None)
    return code_of(slurm.wait_for_end(job), arguments.directory)


def code_of(job: slurm.Job, directory: Path) -> int:
    """Find the exit code of an engine by the job in which it ran, and say what that alone does not tell."""
    if job.state in ("CANCELLED", "TIMEOUT"):
        return Outcome.STOPPED
    if job.state == "FORGOTTEN":
        say(_errors, f"job {job.id} has ended, and SLURM knows no more of it; its log may")
        return Outcome.DONE if (directory / RUN_FILE).exists() else Outcome.STOPPED
    if job.state not in ("COMPLETED", "FAILED"):
        say(_errors, f"job {job.id} has ended by {job.state}")
    return job.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m orchestration.batch", description="What a batch job does.")
    actions = parser.add_subparsers(required=True)
    one = actions.add_parser("run", aliases=["resume"], help="begin or go on with a run")
    one.add_argument("path", type=Path, help="an experiment, or the directory of a run to go on with")
    one.add_argument("-o", "--output", type=Path, metavar="DIR", help="runs/<experiment>-<job> if not given")
    one.add_argument("--set", action="append", default=[], metavar="K=V", help="override a key of the experiment")
    one.add_argument("--writer", choices=("parallel", "gather"), help="how the ranks write")
    one.add_argument("--max-walltime", metavar="TIME", help="time limit; the job's if not given")
    one.add_argument("--reserve", metavar="TIME", help="time to leave before the limit")
    one.add_argument("--launcher", choices=("mpirun", "srun"), default="mpirun", help="what starts the ranks")
    one.set_defaults(action=run)
    for name, action in {"member": member, "ensemble": ensemble}.items():
        many = actions.add_parser(name, help=str(action.__doc__).splitlines()[0])
        many.add_argument("sweep", type=Path, help="the sweep, a TOML file")
        many.set_defaults(action=action)
    job = actions.add_parser("submit", help="do the rest of the command line in a job of its own, and wait for that")
    job.add_argument("ranks", type=int)
    job.add_argument("directory", type=Path, help="the run directory; the job's log goes beside it")
    job.add_argument("command", nargs=argparse.REMAINDER)
    job.set_defaults(action=submit)
    return parser


if __name__ == "__main__":
    sys.exit(main())
