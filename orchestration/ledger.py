"""The ledger: the state of every run of a sweep, in small files that many processes read and write at once.

Every attempt at a run has a file of its own, numbered from 1; the last one tells the run's state. To claim a run is to
make its next file, which succeeds only once, whoever tries: nothing is run twice, and no lock is left behind. While an
attempt goes on, its file is touched as a sign of life.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import psutil

from mpi_engine.run.directory import age_s, is_alive

SILENT_S = 60.0
"""An attempt on another host that has given no sign of life for so long [s] is dead."""

BEAT_S = 10.0
"""Time between signs of life [s]."""


class State(StrEnum):
    """What has become of a run."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"
    DONE = "done"


@dataclass(frozen=True)
class Entry:
    """What the ledger knows of a run.

    Parameters
    ----------
    state : State
        A run whose process is gone is stopped, not running.
    attempt : int
        Number of the last attempt; 0 if there was none.
    reason : str
        Why it failed or stopped, in a line.
    code : int, optional
        Exit code of its engine; None if it did not end by itself.
    """

    state: State = State.PENDING
    attempt: int = 0
    reason: str = ""
    code: int | None = None


UNTRIED = Entry()
"""What is known of a run that the ledger does not know."""


@dataclass(frozen=True)
class _Holder:
    """A process that holds a claim, told from another one of the same number by its start."""

    host: str
    pid: int
    since: float
    job: str

    @classmethod
    def here(cls) -> _Holder:
        job = os.environ.get("SLURM_JOB_ID", "")
        return cls(socket.gethostname(), os.getpid(), psutil.Process().create_time(), job)

    def lives(self, silent_s: Callable[[], float]) -> bool:
        return is_alive(self.pid, self.since) if self.host == socket.gethostname() else silent_s() < SILENT_S


class Claim:
    """The right to attempt a run, until it ends: see `Ledger.claim`."""

    def __init__(self, path: Path, holder: _Holder) -> None:
        self._path = path
        self._holder = holder
        self._next_beat = 0.0

    def beat(self) -> None:
        """Give a sign of life, if it is time."""
        if time.monotonic() >= self._next_beat:
            os.utime(self._path)
            self._next_beat = time.monotonic() + BEAT_S

    def end(self, state: State, reason: str = "", code: int | None = None) -> None:
        """Say what has become of the run."""
        try:
            _write_aside(self._path, self._holder, state, reason, code).replace(self._path)
        except OSError:
            os.truncate(self._path, 0)    # which takes no space: nobody shall wait for this run
            raise


class Ledger:
    """The states of a sweep's runs.

    Parameters
    ----------
    directory : Path
        The sweep's directory; the ledger is in ``ledger/``, made at the first claim, beside the run directories.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "ledger"
        self._runs = directory / "runs"

    def survey(self) -> dict[str, Entry]:
        """Read the states of all runs that have been attempted, by id."""
        last: dict[str, int] = {}
        with suppress(FileNotFoundError), os.scandir(self._directory) as files:
            for file in files:
                member, _, rest = file.name.partition(".")
                number = rest.removesuffix(".json")
                if number.isdigit() and int(number) > last.get(member, 0):
                    last[member] = int(number)
        return {member: self._read(member, attempt) for member, attempt in last.items()}

    def read(self, member: str) -> Entry:
        """Read the state of one run."""
        attempt = 0
        while self._path(member, attempt + 1).exists():
            attempt += 1
        return self._read(member, attempt) if attempt else UNTRIED

    def claim(self, member: str, after: int) -> Claim | None:
        """Claim a run for an attempt by this process.

        Parameters
        ----------
        member : str
            Id of the run.
        after : int
            Number of the last attempt, as the decision to run it was made from.

        Returns
        -------
        Claim or None
            None if there has been another attempt since.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        path, holder = self._path(member, after + 1), _Holder.here()
        temporary = _write_aside(path, holder, State.RUNNING, "", None)
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            if temporary.stat().st_nlink == 1:    # over NFS a link may be made, and then be reported as there before
                return None
        finally:
            temporary.unlink()
        return Claim(path, holder)

    def ask_to_stop(self, driver: str, requests: int) -> None:
        """Ask the attempts of a driver to stop, more urgently with every request; 0 takes it back."""
        self._directory.mkdir(parents=True, exist_ok=True)
        if requests:
            path = self._directory / f"stop-{driver}"
            _write_text_aside(path, str(requests)).replace(path)
        else:
            (self._directory / f"stop-{driver}").unlink(missing_ok=True)

    def requests_to_stop(self, driver: str) -> int:
        """Count how often the attempts of a driver have been asked to stop."""
        return int(_read_text(self._directory / f"stop-{driver}") or "0")

    def cancel(self) -> None:
        """Ask everyone who runs members of the sweep now to stop."""
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / "cancelled"
        _write_text_aside(path, f"{socket.gethostname()} {os.getpid()} {time.time_ns()}").replace(path)

    def last_cancellation(self) -> str:
        """Tell cancellations apart: another text after each, empty before the first."""
        return _read_text(self._directory / "cancelled")

    def _path(self, member: str, attempt: int) -> Path:
        return self._directory / f"{member}.{attempt}.json"

    def _read(self, member: str, attempt: int) -> Entry:
        path = f"{self._directory}/{member}.{attempt}.json"
        try:
            with open(path, "rb") as file:    # noqa: PTH123  (there may be ten thousand, and a Path takes its time)
                record: dict[str, Any] = json.loads(file.read().decode())
            entry = Entry(State(record["state"]), attempt, record["reason"], record["code"])
            if entry.state == State.RUNNING:
                holder = _Holder(**record["holder"])
                if not holder.lives(lambda: age_s(Path(path))):
                    return Entry(State.STOPPED, attempt, f"lost: its process {holder.pid} on {holder.host} is gone")
        except (ValueError, KeyError, TypeError):
            return Entry(State.STOPPED, attempt, f"{path} is damaged, or the disk was full")
        if entry.state == State.DONE and not os.path.exists(f"{self._runs}/{member}/run.h5"):    # noqa: PTH110
            return Entry(State.PENDING, attempt, "its run.h5 has been removed")
        return entry


def _write_aside(path: Path, holder: _Holder, state: State, reason: str, code: int | None) -> Path:
    """Write the record of an attempt beside its place."""
    record = {"state": state, "reason": reason, "code": code, "holder": asdict(holder)}
    return _write_text_aside(path, json.dumps(record))


def _write_text_aside(path: Path, text: str) -> Path:
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.{threading.get_ident()}")
    temporary.write_text(text, encoding="utf-8")
    return temporary


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
