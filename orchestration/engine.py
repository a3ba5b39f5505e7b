"""One engine as a child process: its environment, its signals, and its end.

The engine is in a session of its own: a ^C of the terminal reaches the command alone, which passes on what it means.
Open MPI's mpirun forwards SIGUSR1 to all ranks, but answers SIGTERM and SIGINT by ending them: so the first request to
stop is always SIGUSR1, on which the engine stops by itself, and only later ones are harsher.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Self

import psutil

STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""What asks a command to stop its engine; SIGUSR1 is the batch system's word that time is running out."""

_ESCALATION = (signal.SIGUSR1, signal.SIGTERM, signal.SIGKILL)

_LAUNCHERS_PREFIXES = ("OMPI_", "PMIX_", "PMI_", "PRTE_", "SLURM_STEP", "SLURM_SRUN_", "SLURM_PMI", "SLURM_CPU_BIND")
_LAUNCHERS_NAMES = {
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NODEID",
    "SLURM_GTIDS",
    "SLURM_TASK_PID",
    "SLURM_LAUNCH_NODE_IPADDR",
    "SLURM_MPI_TYPE",
    "SLURM_DISTRIBUTION",
}
_SETTINGS_PREFIXES = ("OMPI_MCA_", "PMIX_MCA_", "PRTE_MCA_")

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Outcome(IntEnum):
    """The exit codes of an engine that ended in a way it knows."""

    DONE = 0
    WRONG = 2
    UNHEALTHY = 3
    DAMAGED = 4
    BUG = 70
    STOPPED = 75


def find_mpirun() -> Path | None:
    """Find the mpirun to use: the one installed beside this Python if there is one, else the PATH's."""
    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    found = shutil.which("mpirun", path=here)
    return Path(found) if found else None


def count_cores() -> int:
    """Count the cores that ranks may use: of this process, times the nodes of the batch job it is in."""
    return len(os.sched_getaffinity(0)) * int(os.environ.get("SLURM_JOB_NUM_NODES", "1"))


def engine_environment(ranks: int, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Make the environment for an engine.

    What an enclosing launcher has told this process about itself is left out, so that the engine does not take itself
    for a rank of that job. A user's own MPI settings stay, and go before ours.

    Parameters
    ----------
    ranks : int
        Number of ranks.
    environment : mapping
        The environment to start from.

    Returns
    -------
    dict
    """
    is_rank = any(name in environment for name in ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"))

    def stays(name: str) -> bool:
        if name.startswith(_SETTINGS_PREFIXES):
            return not is_rank    # a launcher hands its own settings down under the same names
        return name not in _LAUNCHERS_NAMES and not name.startswith(_LAUNCHERS_PREFIXES)

    # Open MPI 4 reads the first pair, Open MPI 5 the second. On shared cores binding puts all jobs on the same ones.
    settings = {
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "OMPI_MCA_hwloc_base_binding_policy": "none",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "PRTE_MCA_hwloc_default_binding_policy": "none",
    }
    if ranks > count_cores() or "SLURM_JOB_ID" not in environment:
        # a rank that spins while it waits takes the core from the one it waits for, unless the cores are the job's own
        settings["OMPI_MCA_mpi_yield_when_idle"] = "1"
    if os.geteuid() == 0:
        settings |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    kept = {name: value for name, value in environment.items() if stays(name)}
    return settings | kept | threads | {"PYTHONUNBUFFERED": "1"}


class Engine:
    """A started engine. As a context manager it leaves no process behind.

    It has to be started, and waited for, in one and the same thread: the kernel ends the engine when the thread that
    started it is gone, which is what keeps ranks from outliving a killed command.

    Parameters
    ----------
    command : sequence of str
        What to start.
    ranks : int
        Number of ranks that it will have.
    stdout, stderr : file or int, optional
        Where the engine and its launcher write, as for `subprocess.Popen`; this process's own if not given.
    """

    def __init__(
        self,
        command: Sequence[str],
        ranks: int,
        stdout: IO[bytes] | int | None = None,
        stderr: IO[bytes] | int | None = None,
    ) -> None:
        self.requests = 0
        self._process = subprocess.Popen(
            command,
            env=engine_environment(ranks),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509  (makes system calls only, takes no lock)
        )

    def wait(self, seconds: float) -> int | None:
        """Wait for the end, but not longer than `seconds`; the exit code, or None while it runs."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        return code if code >= 0 else 128 - code

    def stop(self) -> None:
        """Ask the engine to stop by itself; at the second call end it; at the third kill it."""
        number = _ESCALATION[min(self.requests, len(_ESCALATION) - 1)]
        self.requests += 1
        if number == signal.SIGKILL:
            self._kill_session()
        elif self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _kill_session(self) -> None:
        """Kill mpirun and the ranks: each of these leads a process group of its own, and outlives a killed mpirun."""
        for pid in psutil.pids():
            with suppress(OSError):
                if os.getsid(pid) == self._process.pid:
                    os.kill(pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kill_session()
        self._process.wait()


@contextmanager
def answered_signals(answer: Callable[[], None]) -> Iterator[None]:
    """Answer what asks this process to stop, instead of ending, as long as the context lasts."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        answer()

    before = {number: signal.signal(number, handle) for number in STOPPING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _die_with(parent: int) -> Callable[[], None]:
    """Make what a child calls between fork and exec: from then on it gets SIGTERM when its parent dies."""

    def tie() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:    # died before the tie was made
            os._exit(128 + signal.SIGTERM)

    return tie
