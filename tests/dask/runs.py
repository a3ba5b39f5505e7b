"""A sweep and the drivers started on it, as the tests of ensembles kill, stop and double them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from mpi_engine.output.difference import differences
from orchestration.sweep import Member, Sweep, read_sweep

PATIENCE_S = 1200

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

    def wait_until_one_runs(self) -> Member:
        """Wait until the steps of a run go on, and name it."""
        before = {member.id: self.step(member) for member in self.sweep.members}

        def found() -> list[Member]:
            return [m for m in self.sweep.members if 0 < self.step(m) != before[m.id] and self.engines(m)]

        wait_for(lambda: found() or all(driver.poll() is not None for driver in self.drivers))
        assert found(), "the driver ended"
        return found()[0]

    def step(self, member: Member) -> int:
        try:
            status = json.loads((self.sweep.run_directory(member) / "status.json").read_text())
        except FileNotFoundError:
            return 0
        return int(status["step"]) if status["phase"] == "running" else 0

    def engines(self, member: Member) -> list[psutil.Process]:
        """List the ranks of a run, and their mpirun."""
        return processes_with(str(self.sweep.run_directory(member)))

    def assert_done_once(self) -> None:
        done: Counter[str] = Counter()
        for path in (self.sweep.directory / "ledger").glob("*.json"):
            done[path.name.split(".")[0]] += json.loads(path.read_text())["state"] == "done"
        assert done == Counter(member.id for member in self.sweep.members)
        assert not processes_with(str(self.sweep.directory))

    def assert_as_by_hand(self, member: Member, directory: Path) -> None:
        """Compare a run with one of its experiment by itself, on one rank and without a stop."""
        file = directory / f"{member.id}.toml"
        file.write_text(self.sweep.experiment(member).to_toml())
        engine = [sys.executable, "-m", "mpi_engine", "run", str(file), "-o", str(file.with_suffix(""))]
        subprocess.run(engine, check=True, timeout=PATIENCE_S, stdout=subprocess.DEVNULL)
        assert list(differences(self.sweep.run_directory(member), file.with_suffix(""))) == []


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def processes_with(word: str) -> list[psutil.Process]:
    """List the processes that have a word in their command line, the typed command aside."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if any(word in part for part in line) and not any(part.endswith("steelyard") for part in line):
            found.append(process)
    return found


def kill(process: psutil.Process | subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)


def worker_of(driver: subprocess.Popen[str]) -> psutil.Process:
    children = psutil.Process(driver.pid).children(recursive=True)
    [worker] = [child for child in children if any("spawn_main" in part for part in child.cmdline())]
    return worker
