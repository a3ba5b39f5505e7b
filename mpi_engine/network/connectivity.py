"""Connectivity: who reaches whom on a rank, and what is drawn for each synapse from the ids of its two ends.

A rank draws the synapses of its neurons and nobody else's, so that the network does not depend on the ranks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel
from mpi_engine.experiment import Distribution, Experiment
from mpi_engine.network.adjacency import Adjacency, count_all, is_dense, pairs_of
from mpi_engine.network.distinct import BUFFER, draw_distinct
from mpi_engine.network.drawing import draw_dense, draw_independent, find_candidates
from mpi_engine.network.partition import Partition
from mpi_engine.network.rows import Rows, count_onto, ends_of, n_sources, piece, row_starts
from mpi_engine.network.streams import Key, Law, draw, encrypt, law, mix64, stream_key


@dataclass(frozen=True)
class Connectivity:
    """The synapses of a projection onto one rank's targets.

    Parameters
    ----------
    layout : Rows or Adjacency
        Whom each source reaches.
    in_degree : ndarray of int64, shape (n_local_target,)
        Synapses onto each of the rank's targets.
    first_target : int
        Id of the rank's first target.
    """

    layout: Rows | Adjacency
    in_degree: NDArray[np.int64]
    first_target: int

    @property
    def rows(self) -> Rows:
        """The layout of synapses of which each may have something of its own."""
        assert isinstance(self.layout, Rows)
        return self.layout

    @property
    def out_degree(self) -> NDArray[np.int64]:
        """Synapses from each source onto the rank's targets, shape (n_source,)."""
        if isinstance(self.layout, Adjacency):
            return np.bitwise_count(self.layout.words).sum(axis=1, dtype=np.int64)
        return np.diff(row_starts(self.layout)).astype(np.int64)

    @property
    def ends(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sources and local targets of all synapses, by source, then target."""
        return pairs_of(self.layout) if isinstance(self.layout, Adjacency) else ends_of(self.layout)


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
    return _connect(experiment, projection, first, last, last - first)


def connect_nobody(experiment: Experiment, projection: str, partition: Partition, rank: int) -> Connectivity:
    """Go through `connect` without a target: what it compiles is then compiled."""
    first, last = partition.span(experiment.projections[projection].target, rank)
    return _connect(experiment, projection, first, first, last - first)


def _connect(experiment: Experiment, projection: str, first: int, last: int, n_local: int) -> Connectivity:
    candidates = find_candidates(experiment, projection, first, last)
    in_degree = np.zeros(last - first, np.int64)
    if is_dense(experiment, projection):
        adjacency = draw_dense(experiment, projection, candidates, first, n_local)
        count_all(adjacency, in_degree)
        return Connectivity(adjacency, in_degree, first)
    independent = experiment.projections[projection].in_degree is None
    rows = (draw_independent if independent else draw_distinct)(experiment, projection, candidates, first, n_local)
    count_onto(rows, in_degree)
    return Connectivity(rows, in_degree, first)


def draw_for_synapses(
    value: float | Distribution,
    key: Key,
    drawn: Connectivity,
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
    drawn : Connectivity
        The synapses.
    convert : callable
        Makes of drawn numbers what is kept.
    dtype : numpy.dtype
        In which format.

    Returns
    -------
    ndarray, shape (n_synapses,)
    """
    kept, values, words = np.empty(drawn.rows.targets.size, dtype), np.empty(BUFFER), np.empty((4, 64), np.uint32)
    for begin in range(0, kept.size or 1, BUFFER):     # at least once, so that it is compiled
        some = values[: kept.size - begin]
        _draw_run(law(value), key, drawn.rows, drawn.first_target, begin, words, some)
        kept[begin : begin + BUFFER] = convert(some)
    return kept


def synapse_hashes(
    experiment: Experiment, projection: str, drawn: Connectivity, count: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Find this rank's synapses with the smallest hashes: its share of a random sample.

    Returns
    -------
    hashes, sources, targets, positions : ndarray, shape (min(count, n_synapses),)
        In ascending order of the hash; targets are ids within the population, positions index `Rows.targets`.
    """
    key = stream_key(experiment.seed.state, "synapse sample", projection)
    count = min(count, drawn.rows.targets.size)
    hashes = np.full(count, np.iinfo(np.uint64).max, np.uint64)
    sources, targets, positions = (np.full(count, -1, np.int64) for _ in range(3))
    if count:
        _smallest_hashes(key, drawn.rows, drawn.first_target, hashes, sources, targets, positions)
    return hashes, sources, targets, positions


@kernel
def _draw_run(law: Law, key: Key, rows: Rows, first_target: int, begin: int, words: NDArray[np.uint32],
              values: NDArray[np.float64]) -> None:
    """Draw numbers for a run of synapses; `words`, shape (4, n), is room for as many at a time."""
    place = np.searchsorted(rows.starts, begin, side="right") - 1
    for some in range(0, values.size, words.shape[1]):
        n = min(words.shape[1], values.size - some)
        words[2:] = 0
        for i in range(n):
            while rows.starts[place + 1] <= begin + some + i:
                place += 1
            words[0, i] = place // rows.blocks[0]
            words[1, i] = first_target + place % rows.blocks[0] * rows.blocks[1] + rows.targets[begin + some + i]
        encrypt(key, words)
        for i in range(n):
            values[some + i] = draw(law, words[0, i], words[1, i])


@kernel
def _smallest_hashes(key: Key, rows: Rows, first_target: int, hashes: NDArray[np.uint64], sources: NDArray[np.int64],
                     chosen: NDArray[np.int64], positions: NDArray[np.int64]) -> None:
    last = hashes.size - 1
    for source in range(n_sources(rows)):
        for block in range(rows.blocks[0]):
            begin, end, first = piece(rows, source, block)
            for k in range(begin, end):
                target = first_target + first + rows.targets[k]
                value = mix64(key, source, target)
                if value >= hashes[last]:
                    continue
                slot = last
                while slot > 0 and hashes[slot - 1] > value:
                    hashes[slot], sources[slot] = hashes[slot - 1], sources[slot - 1]
                    chosen[slot], positions[slot] = chosen[slot - 1], positions[slot - 1]
                    slot -= 1
                hashes[slot], sources[slot], chosen[slot], positions[slot] = value, source, target, k
