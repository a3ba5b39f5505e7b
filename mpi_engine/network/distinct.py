"""Drawing of in-degrees: for each target a number of distinct sources, from a stream of its own.

Every target is drawn twice, to count and to fill, so that construction needs hardly more memory than the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel
from mpi_engine.experiment import Experiment
from mpi_engine.network.drawing import Candidates, Integers
from mpi_engine.network.rows import Rows, blocks_of, starts_dtype
from mpi_engine.network.streams import Key, draw_values, fill_words, stream_key, uniform53

BUFFER = 2**16
"""Synapses that are drawn at once."""

_COUNTERS = 64
"""Of the random stream, drawn at once: two numbers each."""


def draw_distinct(experiment: Experiment, projection: str, candidates: Candidates, first: int, n_local: int) -> Rows:
    """Give every target a number of distinct sources: one for all, or each its own.

    Parameters
    ----------
    experiment, projection, candidates, first, n_local
        As of `mpi_engine.network.drawing.draw_independent`.

    Returns
    -------
    Rows
    """
    layout, (_, most) = blocks_of(n_local), experiment.expected_in_degree(projection)
    n_sources = experiment.sizes[experiment.projections[projection].source]
    starts = np.zeros(n_sources * layout[0] + 1, starts_dtype(most * n_local))
    for ids, sources, ends in _draw_sources(experiment, projection, candidates):
        _count(ids - first, sources, ends, starts, layout)
    np.cumsum(starts, out=starts)
    rows = Rows(starts, np.empty(starts[-1], np.uint16), layout)
    for ids, sources, ends in _draw_sources(experiment, projection, candidates):
        _fill(ids - first, sources, ends, rows)
    _rewind(starts)
    return rows


def _draw_sources(
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
    in_degree = experiment.projections[projection].in_degree
    assert in_degree is not None
    key, degree_key = (stream_key(experiment.seed.network, kind, projection) for kind in ("connectivity", "in_degree"))
    ids, n_sources = candidates.targets, candidates.sources.size
    first, last = (ids[0], ids[-1] + 1) if ids.size else (0, 0)
    drawn = draw_values(in_degree, degree_key, first, last - first)[ids - first]
    degrees = np.clip(np.rint(drawn), 0, n_sources - (candidates.own < n_sources)).astype(np.int64)
    taken, words = np.zeros(n_sources, np.uint8), np.empty((4, _COUNTERS), np.uint32)
    sources, ends = np.empty(max(BUFFER, n_sources), np.int32), np.empty_like(ids)
    done = 0
    while True:
        n = _draw_some(key, candidates, done, degrees, taken, words, sources, ends)
        yield ids[done : done + n], sources, ends[:n]
        done += n
        if done == ids.size:
            return


@kernel
def _draw_some(
    key: Key,
    candidates: Candidates,
    begin: int,
    degrees: Integers,
    taken: NDArray[np.uint8],
    words: NDArray[np.uint32],
    sources: NDArray[np.int32],
    ends: Integers,
) -> int:
    """Draw distinct sources for the targets from one on, as many as have room; return how many that are.

    By Floyd's algorithm; `taken` says which sources the target has, and is zero between targets.
    """
    filled, n_counters = 0, words.shape[1]
    for i in range(begin, candidates.targets.size):
        target, self, k = candidates.targets[i], candidates.own[i], degrees[i]
        n = candidates.sources.size - (self < candidates.sources.size)
        if filled + k > sources.size:
            return i - begin
        for number in range(k):
            counter, half = number // 2, number % 2
            if counter % n_counters == 0 and half == 0:
                fill_words(key, target, 0, counter, words)
            u = uniform53(words[2 * half, counter % n_counters], words[2 * half + 1, counter % n_counters])
            highest = n - k + number
            source = min(int(u * (highest + 1)), highest)
            if taken[source]:
                source = highest
            taken[source] = 1
            sources[filled + number] = source
        for place in range(filled, filled + k):
            source = sources[place]
            taken[source] = 0
            sources[place] = candidates.sources[source + (source >= self)]
        filled += k
        ends[i - begin] = filled
    return candidates.targets.size - begin


@kernel
def _count(local: Integers, sources: NDArray[np.int32], ends: Integers, starts: Integers, layout: Integers) -> None:
    """Add to each piece's length, kept in the place where the next piece will start."""
    begin = 0
    for i in range(ends.size):
        block = local[i] // layout[1]
        for k in range(begin, ends[i]):
            starts[sources[k] * layout[0] + block + 1] += 1
        begin = ends[i]


@kernel
def _fill(local: Integers, sources: NDArray[np.int32], ends: Integers, rows: Rows) -> None:
    """Append targets to the pieces of rows; each one's start moves on to where the next target goes."""
    begin = 0
    for i in range(ends.size):
        block = local[i] // rows.blocks[1]
        target = local[i] - block * rows.blocks[1]
        for k in range(begin, ends[i]):
            place = sources[k] * rows.blocks[0] + block
            rows.targets[rows.starts[place]] = target
            rows.starts[place] += 1
        begin = ends[i]


@kernel
def _rewind(starts: NDArray[Any]) -> None:
    """Move every start back by one piece: filling has moved it to the piece's end."""
    for k in range(starts.size - 1, 0, -1):
        starts[k] = starts[k - 1]
    starts[0] = 0
