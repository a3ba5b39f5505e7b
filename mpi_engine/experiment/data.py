"""Data files that an experiment refers to: sampled rates and recorded spike trains, with a digest of what they hold."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpi_engine.experiment.formula import Floats
from mpi_engine.experiment.inputs import Poisson, Recorded

_COLUMNS = ["time_ms", "rate_hz"]

_MILLISECONDS = ("ms", "millisecond", "milliseconds")


class DataError(ValueError):
    """A data file that cannot be used; the message says why, and what to do.

    Parameters
    ----------
    message : str
        What is wrong.
    key : str
        The key of the input that it is about.
    """

    def __init__(self, message: str, key: str = "file") -> None:
        self.key = key
        super().__init__(message, key)

    def __str__(self) -> str:
        """Give the message alone."""
        return str(self.args[0])


@dataclass(frozen=True)
class SampledRate:
    """A rate at some times, linear between them.

    Parameters
    ----------
    times_ms : ndarray of float64, shape (n,)
        Ascending [ms].
    rates_hz : ndarray of float64, shape (n,)
        The rate at each [Hz].
    """

    times_ms: Floats
    rates_hz: Floats


@dataclass(frozen=True)
class SpikeTrains:
    """Recorded spikes of a population.

    Parameters
    ----------
    population : str
        Its name in the file.
    times_ms : ndarray of float64, shape (n_spikes,)
        When [ms]; in no order.
    ids : ndarray of int64, shape (n_spikes,)
        Who.
    """

    population: str
    times_ms: Floats
    ids: NDArray[np.int64]

    @property
    def least_size(self) -> int:
        """Number of sources that there must be."""
        return int(self.ids.max(initial=-1)) + 1


Data = SampledRate | SpikeTrains
"""What a data file holds."""


def resolve(source: Poisson | Recorded, directory: Path) -> tuple[Poisson | Recorded, Data | None]:
    """Read the data file of an input, if it has one, and write down which it was.

    Parameters
    ----------
    source : Poisson or Recorded
        The input.
    directory : Path
        What a relative path is relative to.

    Returns
    -------
    source : Poisson or Recorded
        With the absolute path, the digest, and what follows from the file's content.
    data : SampledRate, SpikeTrains or None
        The content.

    Raises
    ------
    DataError
        If the file cannot be read, or holds something else.
    """
    if source.data_file is None:
        return source, None
    source = source.model_copy(update={source.data_key: str(_absolute(directory, source))})
    digest, data = _read(source)
    found: dict[str, Any] = {"sha256": digest}
    if isinstance(data, SpikeTrains):
        found |= {"population": data.population, "size": source.size or max(data.least_size, 1)}
    return source.model_copy(update=found), data


def read(source: Poisson | Recorded) -> Data | None:
    """Read the data file of a resolved input, if it has one.

    Raises
    ------
    DataError
        If the file cannot be read, holds something else, or is not the one that was resolved.
    """
    return None if source.data_file is None else _read(source)[1]


def _read(source: Poisson | Recorded) -> tuple[str, Data]:
    path = Path(source.data_file or "")
    digest = digest_of(path, source.data_key)
    if source.sha256 not in (None, digest):
        message = (
            f"has another content (SHA-256 {digest[:12]}…) than the experiment was made for ({source.sha256[:12]}…); "
            "restore the file, or leave out sha256 to take what is there"
        )
        raise DataError(message, source.data_key)
    return digest, _read_spikes(path, source) if isinstance(source, Recorded) else _read_rate(path)


def _absolute(directory: Path, source: Poisson | Recorded) -> Path:
    try:
        return (directory / (source.data_file or "")).resolve()
    except (OSError, ValueError, RuntimeError):
        raise DataError("is not a path; name a file", source.data_key) from None


def digest_of(path: Path, key: str) -> str:
    """Give the SHA-256 of a file that a key names, or raise DataError."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        reason = f"there is no file {path}; check the path"
    except IsADirectoryError:
        reason = "is a directory; name a file"
    except OSError as error:
        reason = f"{path} cannot be read ({error.strerror}); check its permissions"
    raise DataError(reason, key)


def _read_rate(path: Path) -> SampledRate:
    """Read two columns, time and rate, separated by commas or blanks; # begins a comment."""
    key = "rate_file"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise DataError("is not a text in UTF-8; give two columns, time_ms and rate_hz", key) from None
    samples: list[tuple[float, float]] = []
    has_header = False
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        if not samples and not has_header and not _is_number(words[0]):
            has_header = True
            if words != _COLUMNS:
                raise DataError(f"line {number}: the columns are {' and '.join(_COLUMNS)}, not {' '.join(words)}", key)
            continue
        if len(words) != 2 or not all(_is_number(word) for word in words):
            raise DataError(f"line {number}: {line.strip()[:40]!r} is not a time and a rate", key)
        time, rate = map(float, words)
        if not np.isfinite([time, rate]).all():
            raise DataError(f"line {number}: {line.strip()[:40]!r} is not finite", key)
        if rate < 0:
            raise DataError(f"line {number}: the rate is {rate:g} Hz; give one of at least 0", key)
        if samples and time <= samples[-1][0]:
            before = f"{samples[-1][0]:g} ms"
            raise DataError(f"line {number}: the time {time:g} ms is not after {before}; sort the file", key)
        samples.append((time, rate))
    if not samples:
        raise DataError("has no samples; give two columns, time_ms and rate_hz", key)
    times, rates = np.array(samples).T
    return SampledRate(np.ascontiguousarray(times), np.ascontiguousarray(rates))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _read_spikes(path: Path, source: Recorded) -> SpikeTrains:
    """Read a population of a SONATA spikes file."""
    import h5py  # noqa: PLC0415  (after MPI: h5py must find the MPI library loaded)

    try:
        with h5py.File(path, "r") as file:
            group = file.get("spikes")
            members = group.items() if isinstance(group, h5py.Group) else ()
            names = [name for name, part in members if isinstance(part, h5py.Group) and "timestamps" in part]
            name = _choose(names, source.population)
            times, ids = group[name]["timestamps"], group[name].get("node_ids")
            units = _text(times.attrs.get("units", "ms"))
            if units not in _MILLISECONDS:
                raise DataError(f"/spikes/{name}/timestamps has the units {units!r}; convert them to ms")
            if ids is None or ids.shape != times.shape or times.ndim != 1 or ids.dtype.kind not in "iu":
                raise DataError(f"/spikes/{name} needs node_ids, whole numbers, one for each of timestamps")
            trains = SpikeTrains(name, times[:].astype(np.float64), ids[:].astype(np.int64))
    except (OSError, RuntimeError):
        raise DataError("is not an HDF5 file, or is damaged; give a SONATA spikes file") from None
    _check(trains, source)
    return trains


def _check(trains: SpikeTrains, source: Recorded) -> None:
    if not np.isfinite(trains.times_ms).all() or trains.times_ms.min(initial=0.0) < 0:
        wrong = trains.times_ms[~(trains.times_ms >= 0) | np.isinf(trains.times_ms)][0]
        raise DataError(f"{trains.population} has a spike at {wrong:g} ms; shift times so that they begin at 0")
    if trains.ids.min(initial=0) < 0:
        raise DataError(f"{trains.population} has a spike of {trains.ids.min()}; ids are counted from 0")
    if source.size is not None and trains.least_size > source.size:
        last = trains.least_size - 1
        raise DataError(f"{trains.population} has a spike of {last}; the size must be at least {last + 1}", "size")


def _choose(names: list[str], wanted: str | None) -> str:
    listed = ", ".join(names)
    if not names:
        raise DataError("has no /spikes/<population>/timestamps; give a SONATA spikes file")
    if wanted is None and len(names) > 1:
        raise DataError(f"is required, for the file has several; one of: {listed}", "population")
    if wanted is not None and wanted not in names:
        raise DataError(f"is not in the file; one of: {listed}", "population")
    return wanted or names[0]


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
