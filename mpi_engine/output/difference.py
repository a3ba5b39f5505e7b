"""Where two runs differ."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpi_engine.output.integrity import PIECE_BYTES
from mpi_engine.output.layout import PROVENANCE
from mpi_engine.output.reader import open_run
from mpi_engine.output.sealed import Sealed


def differences(a: str | Path, b: str | Path) -> list[str]:
    """Compare what two runs recorded, bit by bit; what they ran on may differ.

    Parameters
    ----------
    a, b : str or Path
        Run directories or run files.

    Returns
    -------
    list of str
        A line for each dataset, and for each attribute, that differs; empty if none does.

    Raises
    ------
    RunError
        If one of them cannot be read.
    """
    first, second = open_run(a).sealed(), open_run(b).sealed()
    return [*_of_datasets(first, second), *_of_attributes(first, second)]


def _of_datasets(a: Sealed, b: Sealed) -> Iterator[str]:
    for path in sorted({*a.paths, *b.paths}):
        if path.startswith(f"{PROVENANCE}/"):
            continue
        if path not in a or path not in b:
            yield f"{path}: only in the {'first' if path in a else 'second'}"
            continue
        mine, other = (f"{sealed.entry(path).dtype}{list(sealed.shape(path))}" for sealed in (a, b))
        if mine != other:
            yield f"{path}: {mine} and {other}"
        elif (line := _first_difference(path, a, b)) is not None:
            yield line


def _first_difference(path: str, a: Sealed, b: Sealed) -> str | None:
    shape, dtype = a.shape(path), a.entry(path).dtype
    length = shape[0] if shape else 1
    rows = max(1, PIECE_BYTES // max(1, dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))))
    for start in range(0, length, rows):
        [mine], [other] = (sealed.read([path], start, start + rows) for sealed in (a, b))
        unequal = np.flatnonzero(_bits(mine) != _bits(other))
        if unequal.size:
            place = [int(i) for i in np.unravel_index(unequal[0] // dtype.itemsize, mine.shape)]
            values = f"{_told(mine[tuple(place)])} and {_told(other[tuple(place)])}"
            if place:
                place[0] += start
            return f"{path}{place or ''}: {values}"
    return None


def _bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """View an array as bytes, so that NaN equals itself and 0 differs from -0."""
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def _of_attributes(a: Sealed, b: Sealed) -> Iterator[str]:
    first, second = a.attributes(), b.attributes()
    for path in sorted(set(first) & set(second)):
        if path.startswith(PROVENANCE):
            continue
        mine, other = first[path], second[path]
        for name in sorted({*mine, *other}):
            if name not in mine or name not in other:
                yield f"{path}: attribute {name} only in the {'first' if name in mine else 'second'}"
            elif not np.array_equal(mine[name], other[name]):
                yield f"{path}: attribute {name} is {_told(mine[name])} and {_told(other[name])}"


def _told(value: Any) -> str:
    """Write a number without its type, and a text in quotes."""
    return repr(value) if isinstance(value, str) else str(value)
