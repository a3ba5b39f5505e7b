"""Two ways of writing one file from many ranks, with the same result.

A file appears under its name only when it is whole: it is written under another name in the same directory, where its
space is taken first, gets its manifest and its seal, is synced and then renamed.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from mpi_engine.experiment import ExperimentError, Problem
from mpi_engine.first_rank import on_first
from mpi_engine.output.integrity import RunError, add_seal, checksum, find_extents, pieces, reason_of
from mpi_engine.output.layout import ALIASES, MAGIC, MANIFEST, SONATA_VERSION, Record

if TYPE_CHECKING:
    from mpi4py import MPI

T = TypeVar("T")

Slab = tuple[str, tuple[int, ...], NDArray[Any] | h5py.Dataset | None]
"""Path of a dataset, index at which a rank's part begins, and the part (None: nothing)."""

Part = tuple[tuple[int, ...], NDArray[Any]]
"""Index at which a piece of a dataset begins, and the piece, small enough for one message."""

# Versioned, checksummed metadata, which every HDF5 since 1.10 reads.
_FORMAT = ("v108", "v110")


_REMEDY = "make room on its disk or choose another; what was sealed before is whole"


class WriteError(RunError):
    """A file that a rank cannot write, as on a full disk. The others may wait for it: the job must be aborted."""


class Writer(ABC):
    """Writes files of all ranks together.

    Parameters
    ----------
    comm : Comm or None
        The ranks; None is one rank without MPI.
    """

    def __init__(self, comm: MPI.Comm | None) -> None:
        self.comm = comm
        self.rank = 0 if comm is None else comm.Get_rank()
        self.size = 1 if comm is None else comm.Get_size()

    def write(
        self,
        path: Path,
        records: Sequence[Record],
        attributes: Mapping[str, Any],
        slabs: Iterable[Slab] | None = None,
    ) -> None:
        """Collective. Write a file; it appears under its name when it is whole.

        Parameters
        ----------
        path : Path
            The file; its directory exists.
        records : sequence of Record
            What it holds; the same on every rank but for the slabs.
        attributes : mapping
            Attributes of the root.
        slabs : iterable of Slab, optional
            The data, where a rank has not just one slab a record: as many slabs on every rank, and of the same
            datasets in the same order. The records' own slabs if not given.

        Raises
        ------
        ValueError
            On every rank, if the ranks disagree about the records or their slabs do not cover them once each.
        WriteError
            On a rank that cannot go on, perhaps on it alone.
        """
        self._agree(records, attributes)
        try:
            extents = self._fill(path, records, attributes, slabs)
            self.barrier()
            self.on_first(lambda: _finish(_partial(path), path, extents), path)
        except RunError as error:
            raise WriteError(str(error)) from error
        except (OSError, RuntimeError) as error:
            raise WriteError(f"{path}: cannot be written ({reason_of(error)}); {_REMEDY}") from error

    def _fill(
        self, path: Path, records: Sequence[Record], attributes: Mapping[str, Any], slabs: Iterable[Slab] | None
    ) -> list[tuple[int, int]]:
        """Collective. Write everything but the seal; where the data lie in the file is returned."""
        file = self._create(_partial(path))
        datasets = {} if file is None else _declare(file, records, attributes)
        self.on_first(lambda: _take_space(_partial(path), records), path)
        written: Counter[str] = Counter()
        for name, start, values in slabs or ((record.path, record.start, record.values) for record in records):
            written[name] += 0 if values is None else values.size
            self._put(datasets.get(name), start, values)
        self._check_coverage(records, written)
        checksums = self._checksums(file, [record.path for record in records])
        extents = find_extents(list(datasets.values()))
        if file is not None:
            self._write_manifest(file, records, checksums)
            file.close()
        return extents

    def on_first(self, action: Callable[[], T], path: Path | None = None) -> T:
        """Collective. Do something on rank 0; its result, or its exception, is every rank's.

        Raises
        ------
        RunError
            Where the disk does not let it be done; about the path, if one is written.
        """
        return on_first(self.comm, lambda: _on_disk(action, path))

    def barrier(self) -> None:
        """Collective. Wait for all ranks."""
        if self.comm is not None:
            self.comm.Barrier()

    def allgather(self, value: T) -> list[T]:
        """Collective. Collect a value of each rank, on every rank."""
        return [value] if self.comm is None else self.comm.allgather(value)

    def _agree(self, records: Sequence[Record], attributes: Mapping[str, Any]) -> None:
        """Collective. Raise on every rank if the ranks would create different files, which would hang."""
        schema = f"{sorted(attributes.items())}{[record.schema for record in records]}"
        digests = self.allgather(hashlib.sha256(schema.encode()).hexdigest())
        odd = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
        if odd:
            raise ValueError(f"ranks {odd} and rank 0 disagree about what is recorded; this is a bug")

    def _check_coverage(self, records: Sequence[Record], written: Counter[str]) -> None:
        """Collective. Raise on every rank if a dataset is not covered by the ranks' slabs."""
        counts = np.array([written[record.path] for record in records], np.int64)
        total = np.sum(self.allgather(counts), axis=0)
        for record, count in zip(records, total, strict=True):
            expected = int(np.prod(record.shape, dtype=np.int64))
            if count != expected:
                raise ValueError(f"{record.path}: the ranks wrote {count} values of {expected}; this is a bug")

    def _write_manifest(self, file: h5py.File, records: Sequence[Record], checksums: Sequence[str]) -> None:
        names = [record.path.encode() for record in records]
        columns = {
            "dataset": np.array(names, dtype=h5py.string_dtype("utf-8", max(map(len, names), default=1))),
            "checksum": np.array([digest.encode() for digest in checksums], dtype=h5py.string_dtype("utf-8", 32)),
            "grows": np.array([record.grows for record in records], np.uint8),
        }
        for name, column in columns.items():
            dataset = file.create_dataset(f"{MANIFEST}/{name}", column.shape, column.dtype, fill_time="never")
            if self.rank == 0:
                _store(dataset, ((0,), column))

    @abstractmethod
    def _create(self, path: Path) -> h5py.File | None:
        """Create a file, on the ranks that hold it."""

    @abstractmethod
    def _put(self, dataset: h5py.Dataset | None, start: tuple[int, ...], values: NDArray[Any] | None) -> None:
        """Collective. Write each rank's slab of one dataset."""

    @abstractmethod
    def _checksums(self, file: h5py.File | None, paths: Sequence[str]) -> list[str]:
        """Collective. Digest datasets as they can be read back."""


class ParallelWriter(Writer):
    """Every rank writes its slabs through MPI-IO, collectively."""

    def __init__(self, comm: MPI.Comm) -> None:
        super().__init__(comm)
        self.mpi: MPI.Comm = comm
        self._collective = h5py.h5p.create(h5py.h5p.DATASET_XFER)
        self._collective.set_dxpl_mpio(h5py.h5fd.MPIO_COLLECTIVE)

    def _create(self, path: Path) -> h5py.File:
        return h5py.File(path, "w", driver="mpio", comm=self.mpi, libver=_FORMAT)

    def _put(self, dataset: h5py.Dataset, start: tuple[int, ...], values: NDArray[Any] | None) -> None:
        parts = _parts(start, values)
        part = next(parts, None)
        while any(self.mpi.allgather(part is not None)):
            _store(dataset, part, self._collective)
            part = next(parts, None)

    def _checksums(self, file: h5py.File, paths: Sequence[str]) -> list[str]:
        # what another rank wrote may be read after sync, barrier, sync
        file.flush()
        self.barrier()
        file.flush()
        shares = self.mpi.allgather({path: checksum(file[path]) for path in paths[self.rank :: self.size]})
        digests = {path: digest for share in shares for path, digest in share.items()}
        return [digests[path] for path in paths]


class GatherWriter(Writer):
    """Rank 0 writes what the others send; works without MPI and without parallel HDF5."""

    def _create(self, path: Path) -> h5py.File | None:
        return h5py.File(path, "w", libver=_FORMAT) if self.rank == 0 else None

    def _put(self, dataset: h5py.Dataset | None, start: tuple[int, ...], values: NDArray[Any] | None) -> None:
        for part in _parts(start, values):
            if dataset is None:
                self._send(part)
            else:
                _store(dataset, part)
        if dataset is None:
            self._send(None)
        else:
            for rank in range(1, self.size):
                while (received := self._receive(rank, dataset.dtype)) is not None:
                    _store(dataset, received)

    def _send(self, part: Part | None) -> None:
        assert self.comm is not None
        self.comm.send(part and (part[0], part[1].shape), dest=0)
        if part is not None:
            self.comm.Send(part[1].reshape(-1).view(np.uint8), dest=0)

    def _receive(self, rank: int, dtype: np.dtype[Any]) -> Part | None:
        assert self.comm is not None
        header = self.comm.recv(source=rank)
        if header is None:
            return None
        start, shape = header
        values = np.empty(shape, dtype)
        self.comm.Recv(values.reshape(-1).view(np.uint8), source=rank)
        return start, values

    def _checksums(self, file: h5py.File | None, paths: Sequence[str]) -> list[str]:
        if file is None:
            return []
        file.flush()
        return [checksum(file[path]) for path in paths]


def choose_writer(comm: MPI.Comm | None, name: Literal["parallel", "gather"] | None = None) -> Writer:
    """Choose the writer for a communicator: parallel where h5py can, unless one is named.

    Raises
    ------
    ExperimentError
        If the parallel writer is asked for and h5py was built without MPI, or there is no communicator.
    """
    parallel = comm is not None and h5py.get_config().mpi
    if name == "parallel" and not parallel:
        why = "this h5py was built without MPI" if comm is not None else "the engine runs without MPI"
        remedy = f"{why}; use the gather writer, or an h5py built against parallel HDF5 on two ranks or more"
        raise ExperimentError([Problem("--writer", "parallel", remedy)], "command")
    if comm is None or not parallel or name == "gather":
        return GatherWriter(comm)
    return ParallelWriter(comm)


def _on_disk(action: Callable[[], T], path: Path | None) -> T:
    try:
        return action()
    except OSError as error:
        what = f"{path}: cannot be written" if path else f"{error.filename or 'the run directory'}: cannot be used"
        raise RunError(f"{what} ({reason_of(error)}); {_REMEDY}") from error


def _partial(path: Path) -> Path:
    """Name a file while it is being written."""
    return path.with_suffix(".partial")


def _take_space(path: Path, records: Sequence[Record]) -> None:
    """Take the space of a file that is being written, so that a disk that is too full is known before the data."""
    size = sum(int(np.prod(record.shape, dtype=np.int64)) * record.dtype.itemsize for record in records)
    with path.open("rb+") as file:
        os.posix_fallocate(file.fileno(), 0, max(size, 1))


def _finish(partial: Path, path: Path, data: Sequence[tuple[int, int]]) -> None:
    add_seal(partial, data)
    publish(partial, path)


def publish(partial: Path, path: Path) -> None:
    """Give a whole file its name, so that it survives a crash from here on."""
    _sync(partial)
    partial.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _declare(file: h5py.File, records: Sequence[Record], attributes: Mapping[str, Any]) -> dict[str, h5py.Dataset]:
    """Create all datasets, contiguous: their layout must not depend on how the run was cut."""
    file.attrs.update({"magic": MAGIC, "version": SONATA_VERSION, **attributes})
    datasets = {}
    for record in records:
        dataset = file.create_dataset(record.path, record.shape, record.dtype, fill_time="never")
        dataset.attrs.update(record.attributes)
        dataset.parent.attrs.update(record.group_attributes)
        group, _, name = record.path.rpartition("/")
        if name in ALIASES:
            file[f"{group}/{ALIASES[name]}"] = dataset
        datasets[record.path] = dataset
    return datasets


def _parts(start: tuple[int, ...], values: NDArray[Any] | h5py.Dataset | None) -> Iterator[Part]:
    if values is not None:
        for first, piece in pieces(values):
            yield (start[0] + first, *start[1:]) if start else (), piece


def _store(dataset: h5py.Dataset, part: Part | None, transfer: h5py.h5p.PropDXID | None = None) -> None:
    """Write a part of a dataset; with None and a collective transfer, take part without data."""
    disk = dataset.id.get_space()
    if part is None:
        disk.select_none()
        memory, values = h5py.h5s.create_simple((1,)), np.empty(1, dataset.dtype)
        memory.select_none()
    elif dataset.shape:
        start, values = part
        disk.select_hyperslab(start, values.shape)
        memory = h5py.h5s.create_simple(values.shape)
    else:
        _, values = part
        memory = h5py.h5s.create(h5py.h5s.SCALAR)
    dataset.id.write(memory, disk, values, dataset.id.get_type(), transfer)
