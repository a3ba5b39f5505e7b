"""Recorded trajectories: a file's columns, with a digest of what it holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mpi_engine.experiment.data import DataError, digest_of
from mpi_engine.experiment.teachers import RecordedTeacher

Floats = NDArray[np.float64]


def resolve_trajectory(teacher: RecordedTeacher, directory: Path) -> RecordedTeacher:
    """Write down the absolute path and the digest of a recorded trajectory.

    Raises
    ------
    DataError
        If the file cannot be read, or is not the one that was resolved.
    """
    path = (directory / teacher.file).resolve()
    return teacher.model_copy(update={"file": str(path), "sha256": _digest(path, teacher)})


def _digest(path: Path, teacher: RecordedTeacher) -> str:
    """Give the digest of a file, unless it is another than the one that was resolved."""
    digest = digest_of(path, "file")
    if teacher.sha256 not in (None, digest):
        raise DataError(f"has another content than the experiment was made for ({teacher.sha256[:12]}…); restore it, "
                        "or leave out sha256 to take what is there")
    return digest


def read_trajectory(teacher: RecordedTeacher) -> Floats:
    """Read a recorded trajectory.

    Returns
    -------
    ndarray of float64, shape (n, K)
        The state at each sample, in its own units.

    Raises
    ------
    DataError
        If the file does not hold the columns, or what it holds are not numbers; if it is not the one that was resolved.
    """
    _digest(Path(teacher.file), teacher)
    try:
        lines = Path(teacher.file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise DataError("cannot be read as a text in UTF-8; give a header of names and a column for each") from None
    rows = [words for line in lines if (words := line.partition("#")[0].replace(",", " ").split())]
    header = rows[0] if rows else []
    missing = [name for name in teacher.columns if name not in header]
    if missing:
        named = ", ".join(header[:8]) or "none"
        raise DataError(f"has no column {missing[0]!r}; its first line names {named}", "columns")
    indices = [header.index(name) for name in teacher.columns]
    states = np.empty((len(rows) - 1, len(indices)))
    for number, words in enumerate(rows[1:]):
        try:
            states[number] = [float(words[index]) for index in indices]
        except (ValueError, IndexError):
            raise DataError(f"sample {number}: {' '.join(words)[:40]!r} does not hold a number a column") from None
    if len(states) < 4:
        raise DataError(f"has {len(states)} samples; give at least 4")
    if not np.isfinite(states).all():
        raise DataError(f"sample {int(np.argmin(np.isfinite(states).all(axis=1)))} is not finite")
    return states
