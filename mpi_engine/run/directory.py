"""The run directory: held by one job at a time, and told apart from anything else."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Self

import psutil

from mpi_engine.experiment import Experiment
from mpi_engine.output.sealed import RUN_FILE
from mpi_engine.output.writers import publish

EXPERIMENT_FILE = "experiment.toml"

_LOCK, _TAKEOVER, _STATUS, _PARENT = "lock", "lock.takeover", "status.json", "parent.json"

_SILENT_S = 60.0
"""A job on another host is taken for dead when its heartbeat is older."""


class DirectoryError(ValueError):
    """A directory that a run cannot be written to, or gone on with; the message says what to do."""


class RunDirectory:
    """A run directory claimed for this job, on rank 0: see `new` and `existing`.

    Parameters
    ----------
    path : Path
        Exists.

    Raises
    ------
    DirectoryError
        If another job holds it, or it cannot be claimed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = path / _LOCK
        if self._lock.exists():
            self._remove_stale_lock()
        mine = path / f".lock.{socket.gethostname()}.{os.getpid()}"
        try:
            # a link appears with its content, and only if the name is free
            mine.write_text(json.dumps(_this_job()), encoding="utf-8")
            self._lock.hardlink_to(mine)
        except (FileExistsError, FileNotFoundError):     # the other one has cleared away what was to be linked
            raise DirectoryError(f"run directory = {path}: another job has just claimed it; wait for its end") from None
        except OSError as error:
            remedy = "check its permissions, the room on its disk, and that its file system has hard links"
            raise DirectoryError(f"run directory = {path}: {error.strerror}; {remedy}") from None
        finally:
            for link in path.glob(".lock.*"):       # also those of jobs that died here
                with suppress(OSError):
                    link.unlink()

    @classmethod
    def new(cls, path: Path, experiment: Experiment, parent: Mapping[str, Any] | None = None) -> Self:
        """Claim a directory for a new run.

        Parameters
        ----------
        path : Path
            Must be empty or not exist.
        experiment : Experiment
            Written to it as resolved.
        parent : mapping, optional
            Of which run's checkpoint it is a branch: see `read_parent`.

        Raises
        ------
        DirectoryError
            If it holds something, is held by another job, or cannot be made.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            if found := what_is_in(path):
                raise DirectoryError(f"output directory = {path}: {found}")
            claimed = cls(path)
            (path / _PARENT).unlink(missing_ok=True)     # of a branch that was killed before it was one
            if parent is not None:
                publish(claimed._draft(_PARENT, json.dumps(parent)), path / _PARENT)
            claimed.write_experiment(experiment)
        except FileExistsError:
            raise DirectoryError(f"output directory = {path}: is a file; name another with -o") from None
        except OSError as error:
            raise DirectoryError(f"output directory = {path}: {error.strerror}; name another with -o") from None
        return claimed

    @classmethod
    def existing(cls, path: Path) -> Self:
        """Claim the directory of a run that is to go on.

        Raises
        ------
        DirectoryError
            If it holds no run, or is held by another job.
        """
        require_run(path)
        return cls(path)

    @property
    def log(self) -> Path:
        """The log file."""
        return self.path / "log.txt"

    def write_experiment(self, experiment: Experiment) -> None:
        """Replace the experiment's file atomically."""
        publish(self._draft(EXPERIMENT_FILE, experiment.to_toml()), self.path / EXPERIMENT_FILE)

    def write_status(self, status: dict[str, Any]) -> None:
        """Replace the heartbeat file atomically."""
        record = {"host": socket.gethostname(), "pid": os.getpid(), "updated": time.time(), **status}
        self._draft(_STATUS, json.dumps(record)).replace(self.path / _STATUS)

    def release(self) -> None:
        """Let go of the directory."""
        self._lock.unlink(missing_ok=True)

    def _draft(self, name: str, content: str) -> Path:
        """Write a file under another name."""
        draft = self.path / f".{name}"
        draft.write_text(content, encoding="utf-8")
        return draft

    def _remove_stale_lock(self) -> None:
        """Take the lock from a job that is dead; nobody else does so at the same time."""
        if holder := living_holder(self.path):
            raise DirectoryError(f"run directory = {self.path}: is held by {holder}; wait for its end, or stop it")
        guard = self.path / _TAKEOVER
        with suppress(OSError):
            if _SILENT_S < age_s(guard) < float("inf"):
                guard.unlink()      # of a job that died while it took over
        try:
            guard.open("x").close()
        except OSError:
            raise DirectoryError(f"run directory = {self.path}: another job is taking it over; wait for it") from None
        try:
            if not living_holder(self.path):
                self._lock.unlink(missing_ok=True)
        finally:
            guard.unlink(missing_ok=True)


def require_run(path: Path) -> None:
    """Raise `DirectoryError` if a directory holds no run."""
    if not (path / EXPERIMENT_FILE).is_file():
        remedy = "name a run directory, or begin one: steelyard run FILE -o DIR"
        raise DirectoryError(f"run directory = {path}: holds no run; {remedy}")


def read_parent(path: Path) -> dict[str, Any]:
    """Read of which run a run is a branch: the parent's ``path`` and ``hash``, and the ``step``; empty if of none."""
    try:
        return dict(json.loads((path / _PARENT).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}


def _this_job() -> dict[str, Any]:
    started = psutil.Process().create_time()
    job = os.environ.get("SLURM_JOB_ID", "")
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": started, "job": job}


def what_is_in(path: Path) -> str:
    """Say what a new run finds in its directory, and what to do; empty if nothing but what a killed job left."""
    if (path / RUN_FILE).exists():
        return (
            "holds a finished run; name another directory with -o, "
            f"or make it longer: steelyard resume {path} --set run.duration_ms=..."
        )
    if (path / EXPERIMENT_FILE).exists():
        return f"holds a run that has not finished; go on with it: steelyard resume {path}"
    if any(entry.name not in (_LOCK, _TAKEOVER, _PARENT) and entry.name[0] != "." for entry in path.iterdir()):
        return "is not empty; name another directory with -o"
    return ""


def living_holder(path: Path) -> str:
    """Name the job that holds a directory; empty if it is dead.

    A job on this host is asked for by its process; one on another host is dead when its heartbeat has stopped.
    """
    try:
        holder = json.loads((path / _LOCK).read_text(encoding="utf-8"))
        host, pid, started = str(holder["host"]), int(holder["pid"]), float(holder["started"])
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError):
        return "" if age_s(path / _LOCK) > _SILENT_S else "an unknown job"
    name = f"process {pid} on {host}" + (f", job {holder['job']}" if holder.get("job") else "")
    if host == socket.gethostname():
        return name if is_alive(pid, started) else ""
    ages = [age_s(path / file) for file in (_STATUS, _LOCK)]
    return name if min(ages) <= _SILENT_S else ""


def is_alive(pid: int, started: float) -> bool:
    """Whether a process of this host, by its number and start [s since 1970], is there and not a zombie."""
    try:
        process = psutil.Process(pid)
        return bool(abs(process.create_time() - started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def age_s(path: Path) -> float:
    """Age of a file [s] by the clock that stamps it, which may be a file server's; infinite if there is none."""
    try:
        with TemporaryFile(dir=path.parent, prefix=".now.") as fresh:
            now = os.fstat(fresh.fileno()).st_mtime
    except OSError:     # who looks may not write here
        now = time.time()
    try:
        return now - path.stat().st_mtime
    except OSError:
        return float("inf")
