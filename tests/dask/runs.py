"""A sweep and the drivers started on it, as the tests of ensembles kill, stop and double them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from mpi_engine.output.checkpoints import last_checkpoint
from mpi_engine.output.difference import differences
from orchestration.launcher import read_status
from orchestration.sweep import Member, Sweep, read_sweep
from tests.processes import PATIENCE_S, command_of, held, wait_for

STEELYARD = str(Path(sys.executable).with_name("steelyard"))


class Runs:
    """A sweep in a directory, and the drivers started on it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.sweep: Sweep = read_sweep(file)
        self.drivers: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [STEELYARD, "sweep", *(arguments or ("run",)), str(self.file)]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.drivers.append(subprocess.Popen(command, **pipes, start_new_session=True))
        return self.drivers[-1]

    def type(self, *arguments: str) -> tuple[int, str]:
        driver = self.start(*arguments)
        told = driver.communicate(timeout=PATIENCE_S)[0]
        return driver.returncode, told

    def wait_until_told(self, driver: subprocess.Popen[str], words: str) -> None:
        assert driver.stdout is not None
        assert any(words in line for line in iter(driver.stdout.readline, "")), "the driver ended"

    @contextmanager
    def one_held(self) -> Iterator[tuple[Member, psutil.Process]]:
        """Hold a run by its first rank, while its steps go on and a fifth of them at least is still to come."""

        def found() -> tuple[Member, psutil.Process] | None:
            young = self._find_young()
            assert young or any(driver.poll() is None for driver in self.drivers), "the driver ended"
            return young

        while True:
            member, rank = wait_for(found, "a run")
            with held(rank):
                if self._find_young(member):    # still
                    yield member, rank
                    return

    def _find_young(self, *members: Member) -> tuple[Member, psutil.Process] | None:
        for member in members or self.sweep.members:
            directory = self.sweep.run_directory(member)
            status = read_status(directory)
            if status.get("phase") == "running" and last_checkpoint(directory) < 0.8 * status["n_steps"]:
                for process in self.engines(member):
                    if process.pid == status["pid"]:
                        return member, process
        return None

    def engines(self, member: Member) -> list[psutil.Process]:
        """List the ranks of a run, and their mpirun."""
        return processes_with(str(self.sweep.run_directory(member)))

    def wait_until_nothing_runs(self) -> None:
        wait_for(lambda: not processes_with(str(self.sweep.directory)), "the end of all engines")

    def assert_done_once(self) -> None:
        done: Counter[str] = Counter()
        for path in (self.sweep.directory / "ledger").glob("*.json"):
            done[path.name.split(".")[0]] += json.loads(path.read_text())["state"] == "done"
        assert done == Counter(member.id for member in self.sweep.members)
        self.wait_until_nothing_runs()

    def assert_as_by_hand(self, member: Member, directory: Path) -> None:
        """Compare a run with one of its experiment by itself, on one rank and without a stop."""
        file = directory / f"{member.id}.toml"
        file.write_text(self.sweep.experiment(member).to_toml())
        engine = [sys.executable, "-m", "mpi_engine", "run", str(file), "-o", str(file.with_suffix(""))]
        subprocess.run(engine, check=True, timeout=PATIENCE_S, stdout=subprocess.DEVNULL)
        assert list(differences(self.sweep.run_directory(member), file.with_suffix(""))) == []


def processes_with(word: str) -> list[psutil.Process]:
    """List the processes that have a word in their command line, the typed command aside."""
    found = []
    for process in psutil.process_iter():
        line = command_of(process)
        if any(word in part for part in line) and not any(part.endswith("steelyard") for part in line):
            found.append(process)
    return found


def kill(process: psutil.Process | subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)


def worker_of(driver: subprocess.Popen[str]) -> psutil.Process:
    children = psutil.Process(driver.pid).children(recursive=True)
    [worker] = [child for child in children if any("spawn_main" in part for part in command_of(child))]
    return worker
