"""Drawing: the sources of each target, drawn from a stream of its own.

Every way of connecting fills a buffer with the sources of some targets, as many as it has room for; who asks, counts
them or keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel, part
from mpi_engine.experiment import Experiment
from mpi_engine.experiment import blocks as cut
from mpi_engine.network.geometry import places_of, thin
from mpi_engine.network.mathematics import log
from mpi_engine.network.streams import Key, draw_values, fill_words, philox, stream_key, uniform, uniform53

BUFFER = 2**16
"""Synapses that are drawn at once."""

Integers = NDArray[np.int64]

DrawSome = Callable[[int, NDArray[np.int32], Integers], int]
"""Draw for the targets from one on: sources, and where each target's end; return how many targets had room."""


class Candidates(NamedTuple):
    """Who may be connected to whom, for compiled code.

    Parameters
    ----------
    sources : ndarray of int32, shape (n_sources,)
        Ids of the possible sources, ascending.
    targets : ndarray of int64, shape (n,)
        Ids of those of a rank's neurons that may be targets, ascending.
    own : ndarray of int64, shape (n,)
        Which of the sources each target is, if it may not connect to itself; n_sources otherwise.
    """

    sources: NDArray[np.int32]
    targets: Integers
    own: Integers


class Blocks(NamedTuple):
    """Probabilities between blocks of targets and of sources, for compiled code.

    Parameters
    ----------
    matrix : ndarray of float64, shape (n_rows, n_columns)
        A row for each block of targets, a column for each of sources.
    rows : ndarray of int64, shape (n,)
        Each target's row.
    edges : ndarray of int64, shape (n_columns + 1,)
        Where each block of sources begins, and their number.
    """

    matrix: NDArray[np.float64]
    rows: Integers
    edges: Integers


def find_candidates(experiment: Experiment, projection: str, first: int, last: int) -> Candidates:
    """List the possible sources, and the possible targets with ids from `first` to before `last`."""
    p = experiment.projections[projection]
    sources, targets = (experiment.members(end)[1] for end in experiment.ends(projection))
    targets = targets[np.searchsorted(targets, first) : np.searchsorted(targets, last)]
    own = np.full(targets.size, sources.size)
    if p.source == p.target and not p.self_connections:
        both = np.isin(targets, sources)
        own[both] = np.searchsorted(sources, targets[both])
    return Candidates(sources.astype(np.int32), targets, own)


def draw_sources(
    experiment: Experiment, projection: str, candidates: Candidates
) -> Iterator[tuple[Integers, NDArray[np.int32], Integers]]:
    """Draw the sources of all targets, a buffer at a time.

    Yields
    ------
    targets : ndarray of int64, shape (n,)
        Ids of some targets; there is one batch at least, if an empty one.
    sources : ndarray of int32
        Ids of their sources, one target after the other. The buffer is used again.
    ends : ndarray of int64, shape (n,)
        Where each target's sources end.
    """
    drawn = experiment.projections[projection].in_degree is None
    draw_some = (_independent if drawn else _distinct)(experiment, projection, candidates)
    sources = np.empty(max(BUFFER, candidates.sources.size), np.int32)
    ends = np.empty_like(candidates.targets)
    done = 0
    while True:
        n = draw_some(done, sources, ends)
        yield candidates.targets[done : done + n], sources, ends[:n]
        done += n
        if done == ends.size:
            return


def _independent(experiment: Experiment, projection: str, candidates: Candidates) -> DrawSome:
    """Connect every pair with a probability: one, or one for each pair of blocks, or one that falls with distance."""
    p = experiment.projections[projection]
    matrix = np.array(p.probability if isinstance(p.probability, list) else [[p.probability]])
    _, targets = experiment.members(experiment.ends(projection)[1])
    place = np.searchsorted(targets, candidates.targets)
    rows = np.searchsorted(cut(targets.size, matrix.shape[0]), place, side="right") - 1
    blocks = Blocks(matrix, rows, cut(candidates.sources.size, matrix.shape[1]))
    mean = float((matrix @ np.diff(blocks.edges)).max())
    words = np.empty(4 * int((mean + 3 * mean**0.5) / 4 + 2), np.uint32)
    key, distance_key = (stream_key(experiment.seed.network, kind, projection) for kind in ("connectivity", "distance"))
    places = places_of(experiment, projection)

    def draw_some(begin: int, sources: NDArray[np.int32], ends: Integers) -> int:
        n = _draw_independent(key, candidates, begin, blocks, words, sources, ends)
        if places is not None:
            thin(distance_key, places, candidates.targets[begin : begin + n], sources, ends)
        return n

    return draw_some


def _distinct(experiment: Experiment, projection: str, candidates: Candidates) -> DrawSome:
    """Give every target a number of distinct sources: one for all, or each its own."""
    in_degree = experiment.projections[projection].in_degree
    assert in_degree is not None
    key, degree_key = (stream_key(experiment.seed.network, kind, projection) for kind in ("connectivity", "in_degree"))
    ids, n_sources = candidates.targets, candidates.sources.size
    first, last = (ids[0], ids[-1] + 1) if ids.size else (0, 0)
    drawn = draw_values(in_degree, degree_key, first, last - first)[ids - first]
    degrees = np.clip(np.rint(drawn), 0, n_sources - (candidates.own < n_sources)).astype(np.int64)
    mark = np.full(n_sources, -1, np.int64)

    def draw_some(begin: int, sources: NDArray[np.int32], ends: Integers) -> int:
        return _draw_distinct(key, candidates, begin, degrees, mark, sources, ends)

    return draw_some


@part
def _next_source(source: int, word: int, inverse_log: float) -> int:
    """Skip a geometrically distributed number of unconnected candidates."""
    return source + 1 + int(log(uniform(word)) * inverse_log)


@kernel
def _draw_independent(
    key: Key,
    candidates: Candidates,
    begin: int,
    blocks: Blocks,
    words: NDArray[np.uint32],
    sources: NDArray[np.int32],
    ends: Integers,
) -> int:
    """Draw sources independently, with the probability of each block; they are numbered without the target itself."""
    edges = blocks.edges
    filled = 0
    for i in range(begin, candidates.targets.size):
        target, self, row = candidates.targets[i], candidates.own[i], blocks.rows[i]
        used, counter = words.size, 0
        for block in range(edges.size - 1):
            probability = blocks.matrix[row, block]
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
                    return i - begin
                sources[filled] = candidates.sources[source + (source >= self)]
                filled += 1
        ends[i - begin] = filled
    return candidates.targets.size - begin


@kernel
def _draw_distinct(
    key: Key,
    candidates: Candidates,
    begin: int,
    degrees: Integers,
    mark: Integers,
    sources: NDArray[np.int32],
    ends: Integers,
) -> int:
    """Draw distinct sources by Floyd's algorithm; `mark` remembers for which target a source was last drawn."""
    filled = 0
    for i in range(begin, candidates.targets.size):
        target, self, k = candidates.targets[i], candidates.own[i], degrees[i]
        n = candidates.sources.size - (self < candidates.sources.size)
        if filled + k > sources.size:
            return i - begin
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
            sources[filled + number] = candidates.sources[source + (source >= self)]
        filled += k
        ends[i - begin] = filled
    return candidates.targets.size - begin
