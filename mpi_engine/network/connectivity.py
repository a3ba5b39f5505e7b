"""Connectivity: drawn for each target from a stream of its own, stored by source.

A rank draws the synapses of its neurons and nobody else's, so that the network does not depend on the ranks. They are
kept as rows, one a source, of ascending local targets: a presynaptic spike walks one row. Every target is drawn twice,
to count and to fill, so that construction needs no more memory than the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel, part
from mpi_engine.experiment import Experiment
from mpi_engine.network.mathematics import log
from mpi_engine.network.partition import Partition
from mpi_engine.network.streams import Key, fill_words, mix64, stream_key, uniform, uniform53

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
    """

    row_start: NDArray[np.int64]
    targets: Targets
    in_degree: NDArray[np.int64]

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
    description = experiment.projections[projection]
    n_source = experiment.sizes[description.source]
    first, last = partition.span(description.target, rank)
    no_self = description.source == description.target and not description.self_connections
    n_candidates = n_source - no_self
    key = stream_key(experiment.seed.network, "connectivity", projection)
    in_degree = np.zeros(last - first, np.int64)
    row_start = np.zeros(n_source + 1, np.int64)
    if description.in_degree is None:
        probability = description.probability or 0.0
        mean = probability * n_candidates
        words = np.empty(4 * int((mean + 3 * mean**0.5) / 4 + 2), np.uint32)
        _count_bernoulli(key, first, n_candidates, probability, no_self, words, row_start, in_degree)
        targets = np.empty(row_start[-1], _index_dtype(last - first))
        _fill_bernoulli(key, first, n_candidates, probability, no_self, words, row_start, in_degree, targets)
    else:
        mark = np.full(n_candidates, -1, np.int64)
        sources = np.empty(description.in_degree, np.int64)
        in_degree[:] = description.in_degree
        _count_fixed(key, first, no_self, sources, mark, row_start, in_degree)
        targets = np.empty(row_start[-1], _index_dtype(last - first))
        mark[:] = -1
        _fill_fixed(key, first, no_self, sources, mark, row_start, in_degree, targets)
    return Connectivity(row_start, targets, in_degree)


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


@part
def _inverse_log(probability: float) -> float:
    return 1.0 / log(1.0 - probability) if probability < 1.0 else 0.0


@part
def _next_source(source: int, word: int, inverse_log: float) -> int:
    """Skip a geometrically distributed number of unconnected candidates."""
    return source + 1 + int(log(uniform(word)) * inverse_log)


@part
def _skip_self(source: int, target: int, no_self: bool) -> int:
    return source + (no_self and source >= target)


@kernel
def _count_bernoulli(key: Key, first: int, n: int, probability: float, no_self: bool, words: NDArray[np.uint32],
                     row_start: NDArray[np.int64], in_degree: NDArray[np.int64]) -> None:
    inverse_log = _inverse_log(probability)
    for local in range(in_degree.size):
        source, block, degree = -1, 0, 0
        while source < n:
            fill_words(key, first + local, block, words)
            block += words.size // 4
            for word in words:
                source = _next_source(source, word, inverse_log)
                if source >= n:
                    break
                degree += 1
                row_start[_skip_self(source, first + local, no_self) + 1] += 1
        in_degree[local] = degree
    for source in range(row_start.size - 1):
        row_start[source + 1] += row_start[source]


@kernel
def _fill_bernoulli(key: Key, first: int, n: int, probability: float, no_self: bool, words: NDArray[np.uint32],
                    row_start: NDArray[np.int64], in_degree: NDArray[np.int64], targets: Targets) -> None:
    inverse_log = _inverse_log(probability)
    for local in range(in_degree.size):
        source, block = -1, 0
        while source < n:
            fill_words(key, first + local, block, words)
            block += words.size // 4
            for word in words:
                source = _next_source(source, word, inverse_log)
                if source >= n:
                    break
                row = _skip_self(source, first + local, no_self)
                targets[row_start[row]] = local
                row_start[row] += 1
    _rewind(row_start)


@part
def _choose_sources(key: Key, target: int, sources: NDArray[np.int64], mark: NDArray[np.int64]) -> None:
    """Draw distinct sources by Floyd's algorithm; `mark` remembers for which target a source was last drawn."""
    n, k = mark.size, sources.size
    words = np.empty(4, np.uint32)
    for draw in range(k):
        if draw % 2 == 0:
            fill_words(key, target, draw // 2, words)
        u = uniform53(words[2 * (draw % 2)], words[2 * (draw % 2) + 1])
        highest = n - k + draw
        source = min(int(u * (highest + 1)), highest)
        if mark[source] == target:
            source = highest
        mark[source] = target
        sources[draw] = source


@kernel
def _count_fixed(key: Key, first: int, no_self: bool, sources: NDArray[np.int64], mark: NDArray[np.int64],
                 row_start: NDArray[np.int64], in_degree: NDArray[np.int64]) -> None:
    for local in range(in_degree.size):
        _choose_sources(key, first + local, sources, mark)
        for source in sources:
            row_start[_skip_self(source, first + local, no_self) + 1] += 1
    for source in range(row_start.size - 1):
        row_start[source + 1] += row_start[source]


@kernel
def _fill_fixed(key: Key, first: int, no_self: bool, sources: NDArray[np.int64], mark: NDArray[np.int64],
                row_start: NDArray[np.int64], in_degree: NDArray[np.int64], targets: Targets) -> None:
    for local in range(in_degree.size):
        _choose_sources(key, first + local, sources, mark)
        for source in sources:
            row = _skip_self(source, first + local, no_self)
            targets[row_start[row]] = local
            row_start[row] += 1
    _rewind(row_start)


@part
def _rewind(row_start: NDArray[np.int64]) -> None:
    """Move every row's start back by one row: filling has moved it to the row's end."""
    for source in range(row_start.size - 1, 0, -1):
        row_start[source] = row_start[source - 1]
    row_start[0] = 0


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
