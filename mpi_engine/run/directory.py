"""The run directory: held by one job at a time, and told apart from anything else."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from mpi_engine.experiment import Experiment


class DirectoryError(ValueError):
    """A directory that a run cannot be written to; the message says what to do."""


class RunDirectory:
    """Claim a directory for a new run, on rank 0.

    Parameters
    ----------
    path : Path
        Must be empty or not exist.
    experiment : Experiment
        Written to it as resolved.

    Raises
    ------
    DirectoryError
        If it holds something, is held by another job, or cannot be made.
    """

    def __init__(self, path: Path, experiment: Experiment) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                holds = "holds a run" if (path / "experiment.toml").exists() else "is not empty"
                raise DirectoryError(f"output directory = {path}: {holds}; name another with -o, or remove it")
            self._lock = path / "lock"
            holder = {"host": socket.gethostname(), "pid": os.getpid(), "job": os.environ.get("SLURM_JOB_ID", "")}
            with self._lock.open("x", encoding="utf-8") as lock:
                json.dump(holder, lock)
            (path / "experiment.toml").write_text(experiment.to_toml(), encoding="utf-8")
        except FileExistsError as error:
            what = "another job has just claimed it" if error.filename == str(path / "lock") else "is a file"
            raise DirectoryError(f"output directory = {path}: {what}; name another with -o") from None
        except OSError as error:
            raise DirectoryError(f"output directory = {path}: {error.strerror}; name another with -o") from None

    @property
    def log(self) -> Path:
        """The log file."""
        return self.path / "log.txt"

    def write_status(self, status: dict[str, Any]) -> None:
        """Replace the heartbeat file atomically."""
        record = {"host": socket.gethostname(), "pid": os.getpid(), "updated": time.time(), **status}
        temporary = self.path / f".status.{os.getpid()}"
        temporary.write_text(json.dumps(record), encoding="utf-8")
        temporary.replace(self.path / "status.json")

    def release(self) -> None:
        """Let go of the directory."""
        self._lock.unlink(missing_ok=True)
