"""The schema of a run file: the names, shapes, types and units of everything recorded.

A file follows SONATA (spikes and reports) and has groups of its own beside it. Every builder here turns arrays of the
engine into records, so that nobody else spells a path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

MAGIC = np.uint32(0x0A7A)
SONATA_VERSION = np.array([0, 1], dtype=np.uint32)

SPIKES = "/spikes"
REPORT = "/report"
TRACES = "/traces"
STATISTICS = "/statistics"
RATES = "/statistics/rates"
WEIGHTS = "/weights"
NETWORK = "/network"
PROVENANCE = "/provenance"
MANIFEST = "/manifest"

ALIASES = {"index_pointers": "index_pointer"}
"""Datasets that have a second name, a hard link: libsonata asks for the one, bmtk for the other."""

JOINT = {
    "covariance_V_g": ("mV/ms", "covariance of V and g_total"),
    "absolute_V_g": (
        "mV/ms",
        "mean of |(V - V') (g_total - g_total')| about the means of the block before; NaN in block 0, which has none",
    ),
    "tau_effective": ("ms", "mean of 1 / g_total"),
}
"""Statistics of V and the total conductance of a neuron: the unit and the meaning of each dataset."""

_BY_TIME = np.array(2, dtype=h5py.enum_dtype({"none": 0, "by_id": 1, "by_time": 2}, basetype="u1"))


@dataclass(frozen=True)
class Record:
    """A dataset to be, and the part of it that this rank has.

    All ranks hold the same records in the same order; only `start` and `values` differ between them. The slabs of all
    ranks cover the dataset, each value once.

    Parameters
    ----------
    path : str
        Name of the dataset in the file.
    shape : tuple of int
        Of the whole dataset in this file.
    dtype : dtype
        Of its values.
    grows : bool
        Whether the segments of a run are concatenated along axis 0; otherwise the dataset is the same in all of them.
    start : tuple of int
        Index at which this rank's slab begins; the origin if empty.
    values : ndarray, optional
        This rank's slab, of `dtype`; None if the rank has nothing to write.
    attributes, group_attributes : mapping
        Attributes of the dataset and of the group that holds it.

    Raises
    ------
    ValueError
        If the slab is of another type or does not fit into the dataset.
    """

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    grows: bool
    start: tuple[int, ...] = ()
    values: NDArray[Any] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    group_attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.start:
            object.__setattr__(self, "start", (0,) * len(self.shape))
        if self.values is None:
            return
        ends = tuple(first + length for first, length in zip(self.start, self.values.shape, strict=False))
        if self.values.ndim != len(self.shape) or any(end > n for end, n in zip(ends, self.shape, strict=True)):
            raise ValueError(f"{self.path}: a slab of {self.values.shape} at {self.start} does not fit {self.shape}")
        if self.values.dtype != self.dtype:
            raise ValueError(f"{self.path}: a slab of {self.values.dtype} does not fit {self.dtype}")

    @property
    def schema(self) -> tuple[Any, ...]:
        """What all ranks must agree upon: everything but the slab."""
        attributes = [(name, str(value)) for name, value in (*self.attributes.items(), *self.group_attributes.items())]
        return self.path, self.shape, self.dtype.str, self.grows, attributes


def unit_of(variable: str) -> str:
    """Name the unit of a variable of a neuron; currents and conductances are divided by the capacitance."""
    if variable in ("V", "V_free"):
        return "mV"
    return "1/ms" if variable.startswith("g_") else "mV/ms"


def spikes(
    population: str, timestamps_ms: NDArray[np.float64], node_ids: ArrayLike, start: int, total: int
) -> list[Record]:
    """Record the spikes of a population, or of an input, in one segment.

    Parameters
    ----------
    population : str
        Name.
    timestamps_ms : ndarray of float, shape (n,)
        This rank's slice of the segment's spikes [ms], sorted by (time, id).
    node_ids : array_like of int, shape (n,)
        Index of each spike's neuron in the population.
    start, total : int
        Where the slice begins among the segment's spikes, and how many these are.
    """
    group = f"{SPIKES}/{population}"
    # libsonata wants the sorting as an enumeration on the group, bmtk as a text on the ids
    return [
        Record(
            f"{group}/timestamps",
            (total,),
            np.dtype(np.float64),
            grows=True,
            start=(start,),
            values=np.asarray(timestamps_ms, np.float64),
            attributes={"units": "ms"},
            group_attributes={"sorting": _BY_TIME},
        ),
        Record(
            f"{group}/node_ids",
            (total,),
            np.dtype(np.uint64),
            grows=True,
            start=(start,),
            values=np.asarray(node_ids, np.uint64),
            attributes={"sorting": "by_time"},
        ),
    ]


def statistics(
    population: str,
    first: int,
    size: int,
    start_ms: ArrayLike,
    block_ms: float,
    samples: ArrayLike,
    spike_count: NDArray[Any],
    mean: Mapping[str, NDArray[Any]],
    variance: Mapping[str, NDArray[Any]],
    average_ms: float | None = None,
    joint: Mapping[str, NDArray[Any]] | None = None,
) -> list[Record]:
    """Record the statistics of every neuron in blocks of time.

    Parameters
    ----------
    population : str
        Name.
    first, size : int
        Index of this rank's first neuron in the population, and the population's size.
    start_ms : array_like of float, shape (B,)
        Start of each block that ended in this segment [ms].
    block_ms : float
        Length of a block [ms].
    samples : array_like of int, shape (B,)
        Samples of each variable in each block.
    spike_count : ndarray of int, shape (B, n)
        Spikes of this rank's n neurons.
    mean, variance : mapping of str to ndarray of float, shape (B, n)
        Mean and variance of each variable.
    average_ms : float, optional
        Time over which samples are averages [ms]; momentary values if not given.
    joint : mapping of str to ndarray of float, shape (B, n)
        Statistics of V and total conductance, as in `JOINT`.
    """
    group = f"{STATISTICS}/{population}"
    mine = first == 0 and spike_count.shape[1] > 0
    block = {"block_ms": float(block_ms)} | ({} if average_ms is None else {"average_ms": float(average_ms)})
    records = [
        common(f"{group}/start_ms", np.asarray(start_ms, np.float64), mine, "ms", group_attributes=block),
        common(f"{group}/samples", np.asarray(samples, np.int64), mine),
        _neurons(f"{group}/spike_count", np.asarray(spike_count, np.int64), first, size),
    ]
    for name, values in mean.items():
        records.append(_neurons(f"{group}/mean/{name}", np.asarray(values, np.float64), first, size, unit_of(name)))
    for name, values in variance.items():
        square = f"({unit_of(name)})^2" if "/" in unit_of(name) else f"{unit_of(name)}^2"
        records.append(_neurons(f"{group}/variance/{name}", np.asarray(values, np.float64), first, size, square))
    for name, values in (joint or {}).items():
        unit, meaning = JOINT[name]
        attributes = {"meaning": meaning}
        records.append(_neurons(f"{group}/{name}", np.asarray(values, np.float64), first, size, unit, attributes))
    return records


def rates(
    population: str,
    start_ms: float,
    bin_ms: float,
    rate_hz: ArrayLike,
    mean: Mapping[str, ArrayLike],
    mine: bool,
) -> list[Record]:
    """Record the rate of a population, and its mean of each variable, in bins of time.

    Parameters
    ----------
    population : str
        Name; of a subpopulation, too.
    start_ms, bin_ms : float
        Start of the segment's first bin, also if it has none that ended yet, and width of a bin [ms].
    rate_hz : array_like of float, shape (T,)
        Spikes a neuron and second [Hz].
    mean : mapping of str to array_like of float, shape (T,)
        Mean over the neurons of each variable.
    mine : bool
        Whether this rank writes what every rank knows.
    """
    group = f"{RATES}/{population}"
    bins = {"start_ms": float(start_ms), "bin_ms": float(bin_ms)}
    return [
        common(f"{group}/rate_hz", np.asarray(rate_hz, np.float64), mine, "Hz", group_attributes=bins),
        *(
            common(f"{group}/mean/{name}", np.asarray(values, np.float64), mine, unit_of(name))
            for name, values in mean.items()
        ),
    ]


def traces(
    population: str,
    start_ms: float,
    interval_ms: float,
    node_ids: ArrayLike,
    first: int,
    values: Mapping[str, NDArray[Any]],
) -> list[Record]:
    """Record time series of chosen neurons: V as a SONATA report, the other variables beside it.

    Parameters
    ----------
    population : str
        Name; of a subpopulation, too.
    start_ms, interval_ms : float
        Time of the segment's first sample, also if it has none, and time between samples [ms].
    node_ids : array_like of int, shape (E,)
        All chosen neurons of the population, ascending, the same on every rank.
    first : int
        Index among them of this rank's first; those of a rank follow each other.
    values : mapping of str to ndarray of float, shape (T, n)
        Samples of each variable, V among them, of this rank's n chosen neurons (n may be 0).

    Raises
    ------
    ValueError
        If `node_ids` does not ascend.
    """
    ids = np.asarray(node_ids, np.uint64)
    if np.any(ids[1:] <= ids[:-1]):
        raise ValueError(f"{REPORT}/{population}: node_ids = {ids.tolist()} must ascend")
    samples, n_mine = values["V"].shape
    mine = first == 0 and n_mine > 0
    mapping = f"{REPORT}/{population}/mapping"
    time = report_time(start_ms, interval_ms, samples)
    pointers = np.arange(ids.size + 1, dtype=np.uint64)
    return [
        *(
            _neurons(
                f"{REPORT}/{population}/data" if name == "V" else f"{TRACES}/{population}/{name}",
                np.asarray(samples_of),
                first,
                ids.size,
                unit_of(name),
                {"variable": name},
            )
            for name, samples_of in values.items()
        ),
        common(f"{mapping}/node_ids", ids, mine, grows=False, attributes={"sorted": np.uint8(1)}),
        common(f"{mapping}/index_pointers", pointers, mine, grows=False),
        common(f"{mapping}/element_ids", np.zeros(ids.size, np.uint32), mine, grows=False),
        common(f"{mapping}/element_pos", np.zeros(ids.size, np.float32), mine, grows=False),
        common(f"{mapping}/time", time, mine, "ms", grows=False),
    ]


def text(path: str, words: str | list[str], mine: bool) -> Record:
    """Record a text, or a list of texts, that every rank knows."""
    encoded = [words.encode()] if isinstance(words, str) else [word.encode() for word in words]
    # of fixed length: parallel HDF5 cannot write variable-length values
    dtype = h5py.string_dtype("utf-8", max(1, *map(len, encoded)) if encoded else 1)
    values = np.array(encoded[0] if isinstance(words, str) else encoded, dtype=dtype)
    return common(path, values, mine, grows=False, dtype=dtype)


def number(path: str, value: float, mine: bool, units: str = "") -> Record:
    """Record a number that every rank knows."""
    return common(path, np.asarray(value), mine, units, grows=False)


def report_time(start_ms: float, interval_ms: float, samples: int) -> NDArray[np.float64]:
    """Make the time axis of a SONATA report: start, right-open stop, and interval [ms]."""
    return np.array([start_ms, start_ms + samples * interval_ms, interval_ms])


def is_report_time(path: str) -> bool:
    """Say whether a dataset is the time axis of a report, which spans its file whatever the file spans."""
    return path.startswith(f"{REPORT}/") and path.endswith("/mapping/time")


def common(
    path: str,
    values: NDArray[Any],
    mine: bool,
    units: str = "",
    *,
    grows: bool = True,
    dtype: np.dtype[Any] | None = None,
    attributes: Mapping[str, Any] | None = None,
    group_attributes: Mapping[str, Any] | None = None,
) -> Record:
    """Make the record of a dataset that every rank knows whole and one rank writes.

    Parameters
    ----------
    path : str
        Name of the dataset in the file.
    values : ndarray
        The whole.
    mine : bool
        Whether this rank writes it.
    units : str
        An attribute, if there are any.
    grows, dtype, attributes, group_attributes
        See `Record`; the type of the values if none is given.
    """
    return Record(
        path,
        values.shape,
        values.dtype if dtype is None else dtype,
        grows,
        values=values if mine else None,
        attributes={**({"units": units} if units else {}), **(attributes or {})},
        group_attributes=group_attributes or {},
    )


def _neurons(
    path: str,
    values: NDArray[Any],
    first: int,
    size: int,
    units: str = "",
    attributes: Mapping[str, Any] | None = None,
) -> Record:
    """Make the record of a dataset of time by neuron, of which this rank has the columns from `first` on."""
    return Record(
        path,
        (values.shape[0], size),
        values.dtype,
        grows=True,
        start=(0, first),
        values=values,
        attributes={**({"units": units} if units else {}), **(attributes or {})},
    )
