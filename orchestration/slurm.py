"""SLURM's commands: submit, look at, signal and requeue jobs, with patience for a controller that is busy."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mpi_engine.experiment import ExperimentError, Problem
from mpi_engine.experiment.problems import suggest

PATIENCE_S = 600.0
"""A controller that has not answered for so long [s] is given up."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_BUSY = re.compile(
    r"Socket timed out|Unable to contact slurm controller|Zero Bytes were transmitted|temporarily|"
    r"Connection refused|Connection timed out|Transport endpoint|try again|Job/step already completing"
)
_UNKNOWN_JOB = "Invalid job id"
_ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT",
}  # fmt: skip

log = logging.getLogger("steelyard")


@dataclass(frozen=True)
class Jobs:
    """The jobs that a sweep's workers are in: its table ``[slurm]``, see `read_jobs`.

    Parameters
    ----------
    jobs : int
        How many at a time; a lost one is replaced.
    ranks : int, optional
        Ranks of runs in each job, and so its cores; those of one run if not given.
    time_limit_min : int
        Time limit of each [min].
    memory_gb : float
        Memory of each [GB].
    partition : str, optional
        Where they run; the site's default if not given.
    setup : tuple of str
        Lines of shell that go before the worker: a site's modules.
    """

    jobs: int = 1
    ranks: int | None = None
    time_limit_min: int = 60
    memory_gb: float = 4.0
    partition: str | None = None
    setup: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """What SLURM says of a job.

    Parameters
    ----------
    id : str
        Its number, or that of an array with that of a task: ``12_3``.
    state : str
        SLURM's word, like ``RUNNING``; ``FORGOTTEN`` when it has ended so long ago that SLURM knows no more.
    exit_code : int
        Exit code, or 128 plus the number of the signal that ended it; 0 as long as it runs.
    """

    id: str
    state: str
    exit_code: int = 0

    @property
    def has_ended(self) -> bool:
        """Whether it will not run again."""
        return self.state in _ENDED or self.state == "FORGOTTEN"


def read_jobs(table: Any) -> tuple[Jobs, list[Problem]]:
    """Read the table ``[slurm]`` of a sweep, and find all that is wrong with it."""
    if not isinstance(table, dict):
        return Jobs(), [Problem("slurm", repr(table), "must be a table: [slurm]")]
    problems = []
    for key, value in table.items():
        if key not in _MEANINGS:
            problems.append(Problem(f"slurm.{key}", "", f"unknown key; {suggest(key, list(_MEANINGS))}"))
        elif not _MEANINGS[key][0](value):
            problems.append(Problem(f"slurm.{key}", repr(value), _MEANINGS[key][1]))
    if problems:
        return Jobs(), problems
    return Jobs(**{**table, "setup": tuple(table.get("setup", ()))}), []


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


_MEANINGS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "jobs": (_is_count, "must be a whole number of at least 1"),
    "ranks": (_is_count, "must be a whole number of at least 1"),
    "time_limit_min": (
        lambda value: _is_count(value) and value >= 3, "must be at least 3 whole minutes: the last two end its runs"
    ),
    "memory_gb": (lambda value: type(value) in (int, float) and 0 < value < float("inf"), "must be positive"),
    "partition": (lambda value: re.fullmatch(r"[\w.-]+(,[\w.-]+)*", str(value)) is not None, "is no partition's name"),
    "setup": (
        lambda value: isinstance(value, list) and all(isinstance(line, str) for line in value),
        "must be a list of lines of shell, like module load openmpi",
    ),
}


def submit(command: Sequence[str], options: Sequence[str] = ()) -> str:
    """Submit a batch job and return its number.

    Parameters
    ----------
    command : sequence of str
        The script and its arguments.
    options : sequence of str
        Options of sbatch; the variables of its environment, like ``SBATCH_PARTITION``, count as well.

    Raises
    ------
    ExperimentError
        If there is no sbatch, or SLURM refuses the job.
    """
    return _ask("sbatch", "--parsable", *options, *command).strip().partition(";")[0]


def check_script(script: str) -> None:
    """Let SLURM judge a job script, and start nothing.

    Raises
    ------
    ExperimentError
        If there is no sbatch, or SLURM would refuse the job: an unknown partition, too long a time limit.
    """
    _ask("sbatch", "--test-only", script=script)


def find_job(job: str) -> Job:
    """Ask for the state of a job."""
    try:
        lines = _ask("scontrol", "show", "job", "--oneliner", job)
    except ExperimentError as error:
        if _UNKNOWN_JOB not in str(error):
            raise
        return Job(job, "FORGOTTEN")
    fields = dict(field.partition("=")[::2] for field in lines.split())
    code, _, number = fields["ExitCode"].partition(":")
    return Job(job, fields["JobState"], int(code) or (128 + int(number) if int(number) else 0))


def wait_for_end(job: str) -> Job:
    """Wait until a job has ended, and ask ever less often."""
    pause_s = _FIRST_PAUSE_S
    while not (found := find_job(job)).has_ended:
        time.sleep(pause_s)
        pause_s = min(1.5 * pause_s, _LONGEST_PAUSE_S / 2)
    return found


def requeue(job: str) -> None:
    """Let a running batch job end, and begin anew when its turn comes."""
    _ask("scontrol", "requeue", job)


def cancel(job: str) -> None:
    """End a job."""
    _ask("scancel", job)


def find_address(partition: str | None) -> str:
    """Find this machine's address as the nodes of a partition see it; of the default partition if None is named.

    Raises
    ------
    ExperimentError
        If there is no such partition.
    """
    partitions = [line.split() for line in _ask("sinfo", "--noheader", "--Node", "--format=%P %o").splitlines()]
    nodes = [node for name, node in partitions if (name.endswith("*") if partition is None
                                                   else name.rstrip("*") in partition.split(","))]
    if not nodes:
        known = ", ".join(sorted({name.rstrip("*") for name, _ in partitions}))
        raise ExperimentError([Problem("slurm.partition", str(partition), f"has no nodes; one of: {known}")], "SLURM")
    return address_towards(nodes[0])


def address_towards(node: str) -> str:
    """Find this machine's address as another one sees it; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((node, 9))
        return str(probe.getsockname()[0])


def nodes_of_this_job() -> list[str]:
    """Names of the nodes that this batch job has."""
    return _ask("scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]).split()


def this_job() -> str:
    """Number of the batch job that this process is in, that of its task included.

    Raises
    ------
    ExperimentError
        If it is in none.
    """
    try:
        job = os.environ["SLURM_JOB_ID"]
        return job if (task := array_task()) is None else f"{os.environ['SLURM_ARRAY_JOB_ID']}_{task}"
    except KeyError:
        remedy = "is not set, so this is no batch job; submit it with sbatch, see slurm/README.md"
        raise ExperimentError([Problem("SLURM_JOB_ID", "", remedy)], "command") from None


def array_task() -> int | None:
    """Which task of a job array this process is in; None if it is in none."""
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    return None if task is None else int(task)


def _ask(*command: str, script: str | None = None) -> str:
    """Run one of SLURM's commands; while the controller is busy, again after ever longer pauses."""
    deadline, pause_s = time.monotonic() + PATIENCE_S, _FIRST_PAUSE_S
    while True:
        try:
            # in a session of its own: a signal to this process's group shall not end a question amid its answer
            asked = subprocess.run(
                command, input=script, capture_output=True, text=True, check=False, start_new_session=True
            )
        except FileNotFoundError:
            remedy = "is not on the PATH; load your site's SLURM, or do without it: --on local, --launcher mpirun"
            raise ExperimentError([Problem(command[0], "", remedy)], "SLURM") from None
        if asked.returncode == 0:
            return asked.stdout
        reason = asked.stderr.strip()
        if not _BUSY.search(reason) or time.monotonic() >= deadline:
            said = [line.removeprefix(f"{command[0]}: ").removeprefix("error: ") for line in reason.splitlines()]
            raise ExperimentError([Problem(command[0], "", line) for line in said or ["has failed"]], "SLURM")
        log.warning("SLURM is busy (%s); again in %.0f s", reason.splitlines()[-1], pause_s)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


if __name__ == "__main__":
    print(submit(sys.argv[1:]))
