"""Sealed files: a run file, or the segments of a run, read as one."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mpi_engine.output.integrity import RunError, check_seal, checksum, reason_of
from mpi_engine.output.layout import MANIFEST, is_report_time, report_time

RUN_FILE = "run.h5"
SEGMENTS = "segments"


def sealed_segments(run_dir: Path) -> list[Path]:
    """List the sealed segments of a run in the order of time."""
    return numbered_files(run_dir / SEGMENTS)


def numbered_files(directory: Path) -> list[Path]:
    """List the files of a directory whose name is a number, in its order; a copy of one has another name."""
    return sorted((path for path in directory.glob("*.h5") if path.stem.isdecimal()), key=lambda path: int(path.stem))


@contextmanager
def open_sealed(path: Path) -> Iterator[h5py.File]:
    """Open a segment or a run file for reading.

    Raises
    ------
    RunError
        If the file is missing, damaged, foreign or not whole, or cannot be read.
    """
    check_seal(path)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({reason_of(error)}); check the disk") from None


def all_attributes(file: h5py.File) -> dict[str, dict[str, Any]]:
    """List the attributes of each group and dataset of a file but the manifest, by path; the root is "/"."""
    found = {}
    groups = [file["/"]]
    while groups:
        group = groups.pop()
        found[group.name] = attributes_of(group)
        for name, item in group.items():
            path = f"{group.name.rstrip('/')}/{name}"
            if isinstance(item, h5py.Group) and path != MANIFEST:
                groups.append(item)
            elif isinstance(item, h5py.Dataset):
                found[path] = attributes_of(item)
    return dict(sorted(found.items()))


def attributes_of(item: h5py.HLObject) -> dict[str, Any]:
    """Read attributes with their types, of which h5py forgets that one is an enumeration."""
    types = {name: item.attrs.get_id(name).dtype for name in item.attrs}
    return {
        name: np.array(value, types[name]) if h5py.check_enum_dtype(types[name]) else value
        for name, value in item.attrs.items()
    }


def find_damage(path: Path) -> list[str]:
    """Compare a segment or a run file with its manifest.

    Returns
    -------
    list of str
        A line a problem; empty if the file is as it was sealed.
    """
    problems = []
    try:
        with open_sealed(path) as file:
            names = [name.decode() for name in file[f"{MANIFEST}/dataset"][()]]
            for name, digest in zip(names, file[f"{MANIFEST}/checksum"][()], strict=True):
                if name not in file or checksum(file[name]) != digest.decode():
                    problems.append(_damaged(path, name))
    except RunError as error:
        problems.append(str(error))
    return problems


def _damaged(path: Path, dataset: str) -> str:
    return f"{path}: {dataset} is missing or damaged; restore the file from a copy, or run again"


@dataclass(frozen=True)
class Entry:
    """What is known of a dataset of a sealed file.

    Parameters
    ----------
    checksum : str
        See `checksum`.
    grows : bool
        See `layout.Record`.
    shape : tuple of int
        In this file.
    dtype : dtype
        Of its values.
    """

    checksum: str
    grows: bool
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def rows(self) -> int:
        """Length of axis 0; 1 for a scalar."""
        return self.shape[0] if self.shape else 1


@dataclass(frozen=True)
class Contents:
    """What a sealed file holds.

    Parameters
    ----------
    first_step, last_step : int
        Steps done before its part of the run and after it.
    entries : dict
        The datasets of its manifest, by path.
    """

    first_step: int
    last_step: int
    entries: dict[str, Entry]


def read_contents(path: Path) -> Contents:
    """Read what a sealed file holds; raises `RunError` like `open_sealed`."""
    with open_sealed(path) as file:
        if not {"first_step", "last_step"} <= set(file.attrs):
            raise RunError(f"{path}: is neither a segment nor a run file; restore it from a copy, or run again")
        group = file[MANIFEST]
        names = [name.decode() for name in group["dataset"][()]]
        columns = zip(names, group["checksum"][()], group["grows"][()], strict=True)
        entries = {
            name: Entry(digest.decode(), bool(grows), file[name].shape, file[name].dtype)
            for name, digest, grows in columns
        }
        return Contents(int(file.attrs["first_step"]), int(file.attrs["last_step"]), entries)


Stamp = tuple[Path, int, int]
"""Which file it is: its name, its number in the file system, and when it was written [ns]."""


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:     # of which `read_contents` tells
        return path, 0, 0
    return path, found.st_ino, found.st_mtime_ns


class Sealed:
    """One run file, or the segments of a run in their order, read as one.

    Parameters
    ----------
    files : sequence of Path
        At least one.
    known : dict, optional
        Contents read before, by file and when it was sealed; those read now are added. A sealed file never changes, but
        a run that went back to a checkpoint may have another of its name.

    Raises
    ------
    RunError
        If a file is damaged or the segments do not follow each other.
    """

    def __init__(self, files: Sequence[Path], known: dict[Stamp, Contents] | None = None) -> None:
        self.files = list(files)
        known, stamps = {} if known is None else known, [_stamp(path) for path in self.files]
        for path, stamp in zip(self.files, stamps, strict=True):
            if stamp not in known:
                known[stamp] = read_contents(path)
        contents = [known[stamp] for stamp in stamps]
        for path, previous, following in zip(self.files[1:], contents, contents[1:], strict=False):
            if previous.last_step != following.first_step:
                raise RunError(
                    f"{path}: begins at step {following.first_step}, the one before it ends at {previous.last_step}; "
                    "restore the missing segment from a copy, or run again"
                )
        self.manifests = [content.entries for content in contents]
        self.steps = contents[0].first_step, contents[-1].last_step
        self._offsets: dict[str, NDArray[np.int64]] = {}

    @property
    def paths(self) -> list[str]:
        """All datasets, sorted."""
        return sorted(set().union(*self.manifests))

    def __contains__(self, path: str) -> bool:
        return any(path in manifest for manifest in self.manifests)

    def entry(self, path: str) -> Entry:
        """Describe a dataset by the first file that has it."""
        return next(manifest[path] for manifest in self.manifests if path in manifest)

    def offsets(self, path: str) -> NDArray[np.int64]:
        """Say with which row of the whole dataset each file begins; the last value is the number of rows."""
        if path not in self._offsets:     # asked for at each of what may be thousands of files
            holders = [k for k, manifest in enumerate(self.manifests) if path in manifest]
            rows = np.zeros(len(self.files) + 1, np.int64)
            for k in holders if self.entry(path).grows else holders[:1]:
                rows[k + 1] = self.manifests[k][path].rows
            self._offsets[path] = np.cumsum(rows)
        return self._offsets[path]

    def shape(self, path: str) -> tuple[int, ...]:
        """Shape of a dataset as a whole."""
        own = self.entry(path).shape
        return (int(self.offsets(path)[-1]), *own[1:]) if own else ()

    def read(self, paths: Sequence[str], start: int = 0, stop: int = sys.maxsize) -> list[NDArray[Any]]:
        """Read datasets, or the rows of each from `start` to `stop`; raises `RunError` if one read whole is damaged."""
        parts: dict[str, list[NDArray[Any]]] = {path: [] for path in paths}
        offsets = {path: self.offsets(path) for path in paths}
        for index, file_path in enumerate(self.files):
            rows = {path: (max(start, o[index]), min(stop, o[index + 1]), o[index]) for path, o in offsets.items()}
            wanted = {path: (low - first, high - first) for path, (low, high, first) in rows.items() if low < high}
            if wanted:
                with open_sealed(file_path) as file:
                    for path, (low, high) in wanted.items():
                        dataset = file[path]
                        values = dataset[low:high] if dataset.shape else np.asarray(dataset[()], dataset.dtype)
                        whole = values.shape == dataset.shape
                        if whole and checksum(values) != self.manifests[index][path].checksum:
                            raise RunError(_damaged(file_path, path))
                        parts[path].append(np.atleast_1d(values))
        return [self._join(path, parts[path]) for path in paths]

    def _join(self, path: str, parts: list[NDArray[Any]]) -> NDArray[Any]:
        if is_report_time(path):
            start_ms, _, interval_ms = parts[0]
            samples = self.shape(path.replace("/mapping/time", "/data"))[0]
            return report_time(start_ms, interval_ms, samples)
        entry = self.entry(path)
        values = np.concatenate(parts) if parts else np.empty((0, *entry.shape[1:]), entry.dtype)
        return values if entry.shape else values.reshape(())

    def attributes_of(self, path: str) -> dict[str, Any]:
        """Read the attributes of a group or dataset as they are in the first file; none if it is not there."""
        with open_sealed(self.files[0]) as file:
            return attributes_of(file[path]) if path in file else {}

    def attributes(self) -> dict[str, dict[str, Any]]:
        """List the attributes of each group and dataset: of the first file that has it; of the root, both ends."""
        merged: dict[str, dict[str, Any]] = {}
        for path, manifest in zip(self.files, self.manifests, strict=True):
            if not merged or not manifest.keys() <= merged.keys():    # most often, the first file has everything
                with open_sealed(path) as file:
                    merged = all_attributes(file) | merged
        with open_sealed(self.files[-1]) as file:
            ends = attributes_of(file)
        merged["/"] |= {name: ends[name] for name in ("last_step", "stop_ms")}
        return merged
