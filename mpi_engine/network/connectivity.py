"""Connectivity: drawn for each target from a stream of its own, stored by source.

A rank draws the synapses of its neurons and nobody else's, so that the network does not depend on the ranks. They are
kept as rows, one a source, of ascending local targets: a presynaptic spike walks one row. Every target is drawn twice,
to count and to fill, so that construction needs hardly more memory than the result. Each way of connecting draws the
sources of some targets into a buffer; weights and delays are drawn for each synapse from the ids of its two ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel, part
from mpi_engine.experiment import Distribution, Experiment, blocks
from mpi_engine.network.geometry import places_of, thin
from mpi_engine.network.mathematics import log
from mpi_engine.network.partition import Partition
from mpi_engine.network.streams import (
    Key,
    Law,
    draw,
    draw_values,
    fill_words,
    law,
    mix64,
    philox,
    stream_key,
    uniform,
    uniform53,
)

Targets = NDArray[np.uint16] | NDArray[np.int32]
"""Local indices of targets, in two bytes where these suffice."""

Integers = NDArray[np.int64]

DrawSome = Callable[[slice, NDArray[np.int32], Integers], int]
"""Draws the sources of a run of targets into a buffer and notes where each target's end; returns how many had room."""

BUFFER = 2**16
"""Synapses that are drawn, or given their values, at once."""


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
    p = experiment.projections[projection]
    sources, targets = (experiment.members(end)[1] for end in experiment.ends(projection))
    ids = targets[np.searchsorted(targets, first) : np.searchsorted(targets, last)]
    own = np.full(ids.size, sources.size)     # place of each target among the sources
    if p.source == p.target and not p.self_connections:
        own = np.searchsorted(sources, ids)
        own[~np.isin(ids, sources)] = sources.size
    in_degree = np.zeros(last - first, np.int64)
    row_start = np.zeros(experiment.sizes[p.source] + 1, np.int64)
    candidates = sources.astype(np.int32)
    start = _start_independent if p.in_degree is None else _start_distinct

    def batches() -> Iterator[tuple[Integers, NDArray[np.int32], Integers]]:
        return _batches(ids, candidates.size, start(experiment, projection, candidates, ids, own))

    for some, chosen, ends in batches():
        in_degree[some - first] = np.diff(ends, prepend=0)
        _count(chosen, ends, row_start)
    np.cumsum(row_start, out=row_start)
    local_targets = np.empty(row_start[-1], dtype)
    for some, chosen, ends in batches():
        _fill(some - first, chosen, ends, row_start, local_targets)
    _rewind(row_start)
    return Connectivity(row_start, local_targets, in_degree, first)


def _batches(
    ids: Integers, n_candidates: int, draw_some: DrawSome
) -> Iterator[tuple[Integers, NDArray[np.int32], Integers]]:
    """Draw the sources of all targets, as many at a time as fit the buffer: targets, sources, ends; at least once."""
    sources = np.empty(max(BUFFER, n_candidates), np.int32)
    done = 0
    while True:
        ends = np.empty(ids.size - done, np.int64)
        n = draw_some(slice(done, None), sources, ends)
        yield ids[done : done + n], sources, ends[:n]
        done += n
        if done == ids.size:
            return


def _start_independent(
    experiment: Experiment, projection: str, candidates: NDArray[np.int32], ids: Integers, own: Integers
) -> DrawSome:
    """Connect every pair with a probability: one, or one for each pair of blocks, or one that falls with distance."""
    p = experiment.projections[projection]
    matrix = np.array(p.probability if isinstance(p.probability, list) else [[p.probability]])
    _, targets = experiment.members(experiment.ends(projection)[1])
    row_edges, edges = blocks(targets.size, matrix.shape[0]), blocks(candidates.size, matrix.shape[1])
    rows = np.searchsorted(row_edges, np.searchsorted(targets, ids), side="right") - 1
    mean = float((matrix @ np.diff(edges)).max())
    words = np.empty(4 * int((mean + 3 * mean**0.5) / 4 + 2), np.uint32)
    key = stream_key(experiment.seed.network, "connectivity", projection)
    places = places_of(experiment, projection)
    distance_key = stream_key(experiment.seed.network, "distance", projection)

    def draw_some(some: slice, sources: NDArray[np.int32], ends: Integers) -> int:
        n = _draw_independent(key, ids[some], own[some], rows[some], edges, matrix, words, candidates, sources, ends)
        if places is not None:
            thin(distance_key, places, ids[some][:n], sources, ends)
        return n

    return draw_some


def _start_distinct(
    experiment: Experiment, projection: str, candidates: NDArray[np.int32], ids: Integers, own: Integers
) -> DrawSome:
    """Give every target a number of distinct sources: one for all, or each its own."""
    in_degree = experiment.projections[projection].in_degree
    assert in_degree is not None
    key = stream_key(experiment.seed.network, "connectivity", projection)
    degree_key = stream_key(experiment.seed.network, "in_degree", projection)
    first = ids[0] if ids.size else 0
    drawn = draw_values(in_degree, degree_key, first, ids[-1] - first + 1 if ids.size else 0)[ids - first]
    degrees = np.clip(np.rint(drawn), 0, candidates.size - (own < candidates.size)).astype(np.int64)
    mark = np.full(candidates.size, -1, np.int64)

    def draw_some(some: slice, sources: NDArray[np.int32], ends: Integers) -> int:
        return _draw_distinct(key, ids[some], own[some], degrees[some], mark, candidates, sources, ends)

    return draw_some


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


@part
def _next_source(source: int, word: int, inverse_log: float) -> int:
    """Skip a geometrically distributed number of unconnected candidates."""
    return source + 1 + int(log(uniform(word)) * inverse_log)


@kernel
def _draw_independent(
    key: Key,
    ids: Integers,
    own: Integers,
    rows: Integers,
    edges: Integers,
    matrix: NDArray[np.float64],
    words: NDArray[np.uint32],
    candidates: NDArray[np.int32],
    sources: NDArray[np.int32],
    ends: Integers,
) -> int:
    """Draw sources independently, with the probability of each block; candidates are numbered without the target."""
    filled = 0
    for i in range(ids.size):
        target, self, row = ids[i], own[i], rows[i]
        used, counter = words.size, 0
        for block in range(edges.size - 1):
            probability = matrix[row, block]
            if probability == 0.0:
                continue
            inverse_log = 1.0 / log(1.0 - probability) if probability < 1.0 else 0.0
            source, stop = edges[block] - (self < edges[block]) - 1, edges[block + 1] - (self < edges[block + 1])
            while True:
                if used == words.size:
                    fill_words(key, target, counter, words)
                    used, counter = 0, counter + words.size // 4
                source = _next_source(source, words[used], inverse_log)
                used += 1
                if source >= stop:
                    break
                if filled == sources.size:
                    return i
                sources[filled] = candidates[source + (source >= self)]
                filled += 1
        ends[i] = filled
    return ids.size


@kernel
def _draw_distinct(
    key: Key,
    ids: Integers,
    own: Integers,
    degrees: Integers,
    mark: Integers,
    candidates: NDArray[np.int32],
    sources: NDArray[np.int32],
    ends: Integers,
) -> int:
    """Draw distinct sources by Floyd's algorithm; `mark` remembers for which target a source was last drawn."""
    filled = 0
    for i in range(ids.size):
        target, self, k = ids[i], own[i], degrees[i]
        n = candidates.size - (self < candidates.size)
        if filled + k > sources.size:
            return i
        for number in range(k):
            if number % 2 == 0:
                a, b, c, d = philox(key, target, number // 2, 0, 0)
            else:
                a, b = c, d
            u = uniform53(a, b)
            highest = n - k + number
            source = min(int(u * (highest + 1)), highest)
            if mark[source] == target:
                source = highest
            mark[source] = target
            sources[filled + number] = candidates[source + (source >= self)]
        filled += k
        ends[i] = filled
    return ids.size


@kernel
def _count(sources: NDArray[np.int32], ends: Integers, row_start: Integers) -> None:
    """Add to each row's length, kept in the place where the next row will start."""
    for k in range(ends[-1] if ends.size else 0):
        row_start[sources[k] + 1] += 1


@kernel
def _fill(local: Integers, sources: NDArray[np.int32], ends: Integers, row_start: Integers, targets: Targets) -> None:
    """Append targets to the rows of their sources; each row's start moves on to where the next target goes."""
    begin = 0
    for i in range(ends.size):
        for k in range(begin, ends[i]):
            targets[row_start[sources[k]]] = local[i]
            row_start[sources[k]] += 1
        begin = ends[i]


@kernel
def _rewind(row_start: Integers) -> None:
    """Move every row's start back by one row: filling has moved it to the row's end."""
    for source in range(row_start.size - 1, 0, -1):
        row_start[source] = row_start[source - 1]
    row_start[0] = 0


@kernel
def _draw_run(law: Law, key: Key, row_start: Integers, targets: Targets, first_target: int, begin: int,
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
