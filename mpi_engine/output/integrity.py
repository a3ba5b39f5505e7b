"""What tells a file that is whole from one that is damaged.

The manifest inside a file has the checksum of every dataset. Everything else (names, shapes, attributes, the manifest)
is covered by the seal, a line behind the last byte of HDF5. It is checked before HDF5 sees the file, because HDF5 may
crash on damaged metadata, and is added last: a file without it is not whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

PIECE_BYTES = 64 * 2**20
"""Data are copied, sent and compared in pieces of at most this size (or one row, if that is larger)."""

_LENGTH_DIGITS = 16


class RunError(Exception):
    """A run, or a file of it, that is missing, damaged, foreign, or without what was asked for; one line."""


def reason_of(error: Exception) -> str:
    """Say in a few words why the system, or HDF5 with its long tale, could not do something."""
    told = re.search("error message = '([^']*)'", str(error))
    return told[1] if told else getattr(error, "strerror", None) or " ".join(str(error).split())


def checksum(dataset: h5py.Dataset | NDArray[Any], start: int = 0, stop: int | None = None) -> str:
    """Digest the type, shape and bytes of a dataset, or of its rows from `start` to `stop`; BLAKE2b, 128 bits."""
    rows = dataset.shape[:1] and (len(range(*slice(start, stop).indices(dataset.shape[0]))),)
    digest = hashlib.blake2b(f"{dataset.dtype.str}{rows + dataset.shape[1:]}".encode(), digest_size=16)
    for _, piece in pieces(dataset, start, stop):
        digest.update(piece.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def pieces(
    values: NDArray[Any] | h5py.Dataset, start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Cut an array, or its rows from `start` to `stop`, along axis 0.

    Yields
    ------
    first : int
        Index of the piece's first row.
    piece : ndarray
        At most `PIECE_BYTES`, in C order; an array without elements has no pieces.
    """
    if values.size == 0:
        return
    if values.ndim == 0:
        yield 0, np.asarray(values[()], values.dtype)
        return
    rows = max(1, PIECE_BYTES // (values.dtype.itemsize * (values.size // values.shape[0])))
    _, end, _ = slice(start, stop).indices(values.shape[0])
    for first in range(start, end, rows):
        yield first, np.ascontiguousarray(values[first : min(first + rows, end)])


def find_extents(datasets: Sequence[h5py.Dataset]) -> list[tuple[int, int]]:
    """List where the bytes of contiguous datasets lie in their file: offset and length of each, ascending."""
    extents = [(dataset.id.get_offset(), dataset.id.get_storage_size()) for dataset in datasets]
    return sorted((offset, length) for offset, length in extents if length)


def add_seal(path: Path, data: Sequence[tuple[int, int]]) -> None:
    """Seal a closed file.

    Parameters
    ----------
    path : Path
        The file.
    data : sequence of (int, int)
        Offset and length of what the manifest covers; the seal covers the rest.
    """
    size = path.stat().st_size
    seal = json.dumps({"size": size, "data": data, "checksum": _digest_outside(path, size, data)}).encode()
    with path.open("ab") as file:
        file.write(seal + f"{len(seal):{_LENGTH_DIGITS}}".encode())


def check_seal(path: Path) -> None:
    """Check that a file is whole and that nothing in it has changed but, perhaps, data that the manifest covers.

    Raises
    ------
    RunError
        If it is not.
    """
    try:
        seal = _read_seal(path)
        whole = seal["checksum"] == _digest_outside(path, seal["size"], seal["data"])
    except FileNotFoundError:
        raise RunError(f"{path}: does not exist; check the path") from None
    except PermissionError:
        raise RunError(f"{path}: may not be read; check its permissions") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({reason_of(error)}); name a run directory or its run.h5") from None
    except (ValueError, KeyError, TypeError):
        raise RunError(f"{path}: is not a file of a run, or damaged; restore it from a copy, or run again") from None
    if not whole:
        raise RunError(f"{path}: is damaged; restore it from a copy, or run again")


def _read_seal(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(max(0, end - _LENGTH_DIGITS))
        length = int(file.read())
        start = end - _LENGTH_DIGITS - length
        if not 0 <= start <= end:
            raise ValueError("no seal is as long")
        file.seek(start)
        seal = json.loads(file.read(length))
    if start != seal["size"]:
        raise ValueError("the seal is not where it was put")
    return dict(seal)


def _digest_outside(path: Path, size: int, data: Sequence[Sequence[int]]) -> str:
    """Digest the bytes of a file up to `size` but those of `data`."""
    digest = hashlib.blake2b(json.dumps([size, data]).encode(), digest_size=16)
    with path.open("rb") as file:
        first = 0
        for offset, length in (*data, (size, 0)):
            file.seek(first)
            digest.update(file.read(offset - first))
            first = offset + length
    return digest.hexdigest()
