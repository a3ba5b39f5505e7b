"""An engine: what its ranks inherit, and that they stop, end and die with the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from orchestration.engine import Engine, count_cores, engine_environment, find_mpirun
from tests.processes import PATIENCE_S, wait_for, wait_for_end

# A rank that says who it is, and stops at SIGUSR1 (and at SIGTERM, unless it is stubborn).
RANK = """
import os, signal, sys, time
from mpi4py import MPI
asked = []
signal.signal(signal.SIGUSR1, lambda *_: None if "stubborn" in sys.argv else asked.append(1))
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(f"{sys.argv[1]}/{MPI.COMM_WORLD.rank}-{os.getpid()}", "w").close()
while not asked:
    time.sleep(0.02)
sys.exit(75)
"""

# A command that starts such ranks, waits for them, and tells how often it has asked them to stop.
COMMAND = """
import sys
from orchestration.engine import Engine, answered_signals
told = 0
with Engine(sys.argv[2:], int(sys.argv[1]), sys.stderr) as engine, answered_signals(engine.stop):
    while (code := engine.wait(0.05)) is None:
        if engine.requests > told:
            told = engine.requests
            print(told, flush=True)
sys.exit(code)
"""


def test_environment_forgets_the_enclosing_job() -> None:
    inside = {
        "PATH": "/bin",
        "OMPI_COMM_WORLD_RANK": "1",
        "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_MCA_orte_hnp_uri": "1.0;tcp://127.0.0.1:1",
        "PMIX_RANK": "1",
        "PMI_SIZE": "2",
        "PRTE_LAUNCHED": "1",
        "SLURM_JOB_ID": "12",
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_PROCID": "1",
        "OMP_NUM_THREADS": "16",
    }
    made = engine_environment(1, inside)
    assert set(inside) & set(made) == {"PATH", "SLURM_JOB_ID", "SLURM_JOB_NODELIST", "OMP_NUM_THREADS"}
    assert {made[f"{name}_NUM_THREADS"] for name in ("OMP", "NUMBA", "OPENBLAS")} == {"1"}


def test_environment_keeps_the_users_mpi_settings() -> None:
    made = engine_environment(1, {"OMPI_MCA_btl": "self,tcp", "OMPI_MCA_hwloc_base_binding_policy": "core"})
    assert made["OMPI_MCA_btl"] == "self,tcp"
    assert made["OMPI_MCA_hwloc_base_binding_policy"] == "core"
    assert made["PRTE_MCA_hwloc_default_binding_policy"] == "none"


def test_idle_ranks_yield_only_where_cores_are_shared() -> None:
    job = {"SLURM_JOB_ID": "1"}
    assert "OMPI_MCA_mpi_yield_when_idle" not in engine_environment(count_cores(), job)
    assert engine_environment(count_cores() + 1, job)["OMPI_MCA_mpi_yield_when_idle"] == "1"
    assert engine_environment(1, {})["OMPI_MCA_mpi_yield_when_idle"] == "1"


def test_root_is_allowed_only_if_it_is_root() -> None:
    made = engine_environment(2, {"OMPI_ALLOW_RUN_AS_ROOT": "1"})
    assert ("OMPI_ALLOW_RUN_AS_ROOT" in made) == (os.geteuid() == 0)


def test_ranks_inside_ranks(mpirun: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """A command started as a rank of another job starts ranks of its own, not more of that job."""
    world = "from mpi4py import MPI; raise SystemExit(MPI.COMM_WORLD.size)"
    start = f"""
import sys
from orchestration.engine import Engine, find_mpirun
with Engine([str(find_mpirun()), "-n", "3", sys.executable, "-c", "{world}"], 3) as engine:
    sys.exit(engine.wait({PATIENCE_S}))
"""
    done = mpirun(1, "-c", start)
    assert done.returncode == 3, done.stderr


Started = tuple[subprocess.Popen[bytes], list[psutil.Process]]


def ranks_in(directory: Path, number: int) -> list[psutil.Process]:
    """Wait until so many ranks have said who they are."""
    found = wait_for(lambda: len(names := [path.name for path in directory.iterdir()]) == number and names, "the ranks")
    return [psutil.Process(int(name.split("-")[1])) for name in found]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Start a command with real ranks; give its process, and those of the ranks once they run."""
    started: list[Started] = []

    def run(ranks: int, *words: str) -> Started:
        rank = [sys.executable, "-c", RANK, str(tmp_path), *words]
        command = rank if ranks == 1 else [str(find_mpirun()), "-n", str(ranks), *rank]
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, str(ranks), *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        started.append((process, []))
        started[-1][1].extend(ranks_in(tmp_path, ranks))
        return started[-1]

    yield run
    for process, ranks in started:
        process.kill()
        for rank in ranks:
            with suppress(psutil.NoSuchProcess):
                rank.kill()
        process.wait()


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_one_signal_lets_the_ranks_stop_by_themselves(ranks: int, number: int, start: Callable[..., Started]) -> None:
    process, running = start(ranks)
    process.send_signal(number)
    assert process.wait(PATIENCE_S) == 75
    wait_for_end(running)


def test_the_second_signal_ends_ranks_that_do_not_stop(start: Callable[..., Started]) -> None:
    process, running = start(2, "stubborn")
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == b"1\n"
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) not in (0, 75)
    wait_for_end(running)


def test_the_third_signal_kills(start: Callable[..., Started]) -> None:
    process, running = start(1, "stubborn")
    for number in (b"1\n", b"2\n"):
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == number
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 128 + signal.SIGKILL
    wait_for_end(running)


@pytest.mark.parametrize("ranks", [1, 2])
def test_ranks_die_with_a_killed_command(ranks: int, start: Callable[..., Started]) -> None:
    process, running = start(ranks, *(["stubborn"] if ranks > 1 else []))
    process.kill()
    wait_for_end(running)


def test_ranks_die_with_a_killed_mpirun(start: Callable[..., Started]) -> None:
    process, running = start(2, "stubborn")
    [launcher] = psutil.Process(process.pid).children()
    launcher.kill()
    assert process.wait(PATIENCE_S) == 128 + signal.SIGKILL
    wait_for_end(running)


def test_an_exception_leaves_no_ranks_behind(tmp_path: Path) -> None:
    command = [str(find_mpirun()), "-n", "2", sys.executable, "-c", RANK, str(tmp_path), "stubborn"]
    started: list[psutil.Process] = []
    with pytest.raises(RuntimeError, match="of the test"), Engine(command, 2):
        started += ranks_in(tmp_path, 2)
        raise RuntimeError("of the test")
    wait_for_end(started)
