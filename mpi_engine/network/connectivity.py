"""Connectivity: drawn for each target from a stream of its own, stored by source.

A rank draws the synapses of its neurons and nobody else's, so that the network does not depend on the ranks. They are
kept as rows, one a source, of ascending local targets: a presynaptic spike walks one row. Every target is drawn twice,
to count and to fill, so that construction needs hardly more memory than the result. Weights
and delays are drawn for each synapse from the ids of its two ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel
from mpi_engine.experiment import Distribution, Experiment
from mpi_engine.network.drawing import BUFFER, draw_sources, find_candidates
from mpi_engine.network.partition import Partition
from mpi_engine.network.streams import Key, Law, draw, law, mix64, philox, stream_key

Targets = NDArray[np.uint16] | NDArray[np.int32]
"""Local indices of targets, in two bytes where these suffice."""


@dataclass(frozen=True)
class Connectivity:
    """The synapses of a projection onto one rank's targets.

    Parameters
    ----------
    row_start : ndarray of int64, shape (n_source + 1,)
        Where each source's row begins.
    targets : ndarray of uint16 or int32, shape (n_synapses,)
        Local index of the target, ascending within a row.
    in_degree : ndarray of int64, shape (n_local_target,)
        Synapses onto each of the rank's targets.
    first_target : int
        Id of the rank's first target.
    """

    row_start: NDArray[np.int64]
    targets: Targets
    in_degree: NDArray[np.int64]
    first_target: int

    @property
    def out_degree(self) -> NDArray[np.int64]:
        """Synapses from each source onto the rank's targets, shape (n_source,)."""
        return np.diff(self.row_start)


def connect(experiment: Experiment, projection: str, partition: Partition, rank: int) -> Connectivity:
    """Draw a projection's synapses onto one rank's targets.

    Parameters
    ----------
    experiment : Experiment
        The network.
    projection : str
        Name of the projection.
    partition : Partition
        Who has which target.
    rank : int
        Whose targets.

    Returns
    -------
    Connectivity
    """
    first, last = partition.span(experiment.projections[projection].target, rank)
    return _connect(experiment, projection, first, last, _index_dtype(last - first))


def connect_nobody(experiment: Experiment, projection: str, partition: Partition, rank: int) -> Connectivity:
    """Go through `connect` without a target: what it compiles is then compiled."""
    first, last = partition.span(experiment.projections[projection].target, rank)
    return _connect(experiment, projection, first, first, _index_dtype(last - first))


def _connect(experiment: Experiment, projection: str, first: int, last: int, dtype: type[Any]) -> Connectivity:
    candidates = find_candidates(experiment, projection, first, last)
    row_start = np.zeros(experiment.sizes[experiment.projections[projection].source] + 1, np.int64)
    in_degree = np.zeros(last - first, np.int64)
    for ids, sources, ends in draw_sources(experiment, projection, candidates):
        in_degree[ids - first] = np.diff(ends, prepend=0)
        _count(sources, ends, row_start)
    np.cumsum(row_start, out=row_start)
    targets = np.empty(row_start[-1], dtype)
    for ids, sources, ends in draw_sources(experiment, projection, candidates):
        _fill(ids - first, sources, ends, row_start, targets)
    _rewind(row_start)
    return Connectivity(row_start, targets, in_degree, first)


def draw_for_synapses(
    value: float | Distribution,
    key: Key,
    rows: Connectivity,
    convert: Callable[[NDArray[np.float64]], NDArray[Any]],
    dtype: Any,
) -> NDArray[Any]:
    """Draw a number for each synapse: a function of the ids of its source and its target.

    Parameters
    ----------
    value : float or Distribution
        What is drawn from.
    key : Key
        The stream.
    rows : Connectivity
        The synapses.
    convert : callable
        Makes of drawn numbers what is kept.
    dtype : numpy.dtype
        In which format.

    Returns
    -------
    ndarray, shape (n_synapses,)
    """
    kept, drawn = np.empty(rows.targets.size, dtype), np.empty(BUFFER)
    for begin in range(0, kept.size or 1, BUFFER):     # at least once, so that it is compiled
        some = drawn[: kept.size - begin]
        _draw_run(law(value), key, rows.row_start, rows.targets, rows.first_target, begin, some)
        kept[begin : begin + BUFFER] = convert(some)
    return kept


def synapse_hashes(experiment: Experiment, projection: str, rows: Connectivity, first_target: int,
                   count: int) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Find this rank's synapses with the smallest hashes: its share of a random sample.

    Returns
    -------
    hashes, sources, targets, positions : ndarray, shape (min(count, n_synapses),)
        In ascending order of the hash; targets are ids within the population, positions index `rows.targets`.
    """
    key = stream_key(experiment.seed.state, "synapse sample", projection)
    count = min(count, rows.targets.size)
    hashes = np.full(count, np.iinfo(np.uint64).max, np.uint64)
    sources, targets, positions = (np.full(count, -1, np.int64) for _ in range(3))
    if count:
        _smallest_hashes(key, rows.row_start, rows.targets, first_target, hashes, sources, targets, positions)
    return hashes, sources, targets, positions


def _index_dtype(n_local: int) -> type[np.uint16] | type[np.int32]:
    return np.uint16 if n_local <= 2**16 else np.int32


@kernel
def _count(sources: NDArray[np.int32], ends: NDArray[np.int64], row_start: NDArray[np.int64]) -> None:
    """Add to each row's length, kept in the place where the next row will start."""
    for k in range(ends[-1] if ends.size else 0):
        row_start[sources[k] + 1] += 1


@kernel
def _fill(local: NDArray[np.int64], sources: NDArray[np.int32], ends: NDArray[np.int64],
          row_start: NDArray[np.int64], targets: Targets) -> None:
    """Append targets to the rows of their sources; each row's start moves on to where the next target goes."""
    begin = 0
    for i in range(ends.size):
        target = local[i]
        for k in range(begin, ends[i]):
            row = sources[k]
            targets[row_start[row]] = target
            row_start[row] += 1
        begin = ends[i]


@kernel
def _rewind(row_start: NDArray[np.int64]) -> None:
    """Move every row's start back by one row: filling has moved it to the row's end."""
    for source in range(row_start.size - 1, 0, -1):
        row_start[source] = row_start[source - 1]
    row_start[0] = 0


@kernel
def _draw_run(law: Law, key: Key, row_start: NDArray[np.int64], targets: Targets, first_target: int, begin: int,
              values: NDArray[np.float64]) -> None:
    """Draw numbers for a run of synapses."""
    source = np.searchsorted(row_start, begin, side="right") - 1
    for i in range(values.size):
        while row_start[source + 1] <= begin + i:
            source += 1
        high, low, _, _ = philox(key, source, first_target + targets[begin + i], 0, 0)
        values[i] = draw(law, high, low)


@kernel
def _smallest_hashes(key: Key, row_start: NDArray[np.int64], targets: Targets, first_target: int,
                     hashes: NDArray[np.uint64], sources: NDArray[np.int64], chosen: NDArray[np.int64],
                     positions: NDArray[np.int64]) -> None:
    last = hashes.size - 1
    for source in range(row_start.size - 1):
        for k in range(row_start[source], row_start[source + 1]):
            target = first_target + targets[k]
            value = mix64(key, source, target)
            if value >= hashes[last]:
                continue
            slot = last
            while slot > 0 and hashes[slot - 1] > value:
                hashes[slot], sources[slot] = hashes[slot - 1], sources[slot - 1]
                chosen[slot], positions[slot] = chosen[slot - 1], positions[slot - 1]
                slot -= 1
            hashes[slot], sources[slot], chosen[slot], positions[slot] = value, source, target, k
