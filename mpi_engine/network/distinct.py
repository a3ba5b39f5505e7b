"""Drawing of in-degrees: for each target a number of distinct sources, from a stream of its own.

Every target is drawn twice, to count and to fill, so that construction needs hardly more memory than the result.
Targets are drawn one after the other, but rows belong to sources: a synapse waits in a bucket, with those of sources
nearby, until the bucket is full and its rows come into the cache to take them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel, part
from mpi_engine.experiment import Experiment
from mpi_engine.network.drawing import Candidates, Integers
from mpi_engine.network.rows import Rows, blocks_of, starts_dtype
from mpi_engine.network.streams import Key, draw_values, fill_words, stream_key, uniform53

BUFFER = 2**16
"""Synapses that are drawn at once."""

_COUNTERS = 64
"""Of the random stream, drawn at once: two numbers each."""

_BAND_BYTES = 2**19
"""Of the rows that a bucket is for: they stay in the cache while it is emptied."""

_SHARE = 8
"""Buckets take one part of so many of the memory of rows, if these are long."""

_SHORTEST = 64
"""Synapses in a bucket, at least."""


class Buckets(NamedTuple):
    """Synapses that wait for their rows, for compiled code.

    Parameters
    ----------
    waiting : ndarray of uint32, shape (n_buckets, capacity)
        The piece within the bucket's band of pieces, and in the lower half the target as in `Rows.targets`.
    counts : ndarray of int64, shape (n_buckets,)
        How many wait in each.
    shift : int
        A band has 2^shift pieces, at most 2^16.
    """

    waiting: NDArray[np.uint32]
    counts: NDArray[np.int64]
    shift: int


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
    buckets = _make_buckets(rows)
    for ids, sources, ends in _draw_sources(experiment, projection, candidates):
        _fill(ids - first, sources, ends, buckets, rows)
    _empty_all(buckets, rows)
    _rewind(starts)
    return rows


def _make_buckets(rows: Rows) -> Buckets:
    """Make a bucket for each band of pieces that fits in the cache."""
    n_pieces = rows.starts.size - 1
    per_band = n_pieces * _BAND_BYTES // max(rows.targets.nbytes, 1)
    shift = int(np.clip(per_band, 1, 2**16)).bit_length() - 1
    n = (n_pieces >> shift) + 1
    capacity = max(_SHORTEST, rows.targets.nbytes // (4 * _SHARE * n))
    return Buckets(np.empty((n, capacity), np.uint32), np.zeros(n, np.int64), shift)


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
    n_counters = min(_COUNTERS, int(degrees.max(initial=0)) // 2 + 1)
    taken, words = np.zeros(n_sources, np.uint8), np.empty((4, n_counters), np.uint32)
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
    filled = 0
    are_all = candidates.sources[-1] == candidates.sources.size - 1
    for i in range(begin, candidates.targets.size):
        target, self, k = candidates.targets[i], candidates.own[i], degrees[i]
        n = candidates.sources.size - (self < candidates.sources.size)
        if filled + k > sources.size:
            return i - begin
        chosen = sources[filled : filled + k]
        _draw_alike(key, target, n - k, words, chosen)
        for number in range(k):
            if taken[chosen[number]]:
                chosen[number] = n - k + number
            taken[chosen[number]] = 1
        for number in range(k):
            taken[chosen[number]] = 0
        if self < candidates.sources.size:
            for number in range(k):
                chosen[number] += chosen[number] >= self
        if not are_all:
            for number in range(k):
                chosen[number] = candidates.sources[chosen[number]]
        filled += k
        ends[i - begin] = filled
    return candidates.targets.size - begin


@part
def _draw_alike(key: Key, target: int, lowest: int, words: NDArray[np.uint32], numbers: NDArray[np.int32]) -> None:
    """Draw numbers, the k-th from 0 to lowest + k, all of them alike."""
    n_counters, (a, b, c, d) = words.shape[1], (words[0], words[1], words[2], words[3])
    for begin in range(0, numbers.size, 2 * n_counters):
        fill_words(key, target, 0, begin // 2, words)
        some, highest = numbers[begin : begin + 2 * n_counters], lowest + begin
        for i in range(some.size // 2):
            some[2 * i] = _below(uniform53(a[i], b[i]), highest + 2 * i)
            some[2 * i + 1] = _below(uniform53(c[i], d[i]), highest + 2 * i + 1)
        if some.size % 2:
            last = some.size - 1
            some[last] = _below(uniform53(a[last // 2], b[last // 2]), highest + last)


@part
def _below(u: float, highest: int) -> int:
    """Turn a number in (0, 1) into one from 0 to a highest."""
    return min(int(u * (highest + 1)), highest)


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
def _fill(local: Integers, sources: NDArray[np.int32], ends: Integers, buckets: Buckets, rows: Rows) -> None:
    """Put synapses into buckets, and empty those that are full."""
    counts, waiting, shift = buckets.counts, buckets.waiting, np.uint32(buckets.shift)
    n_blocks, per_block, within = rows.blocks[0], rows.blocks[1], np.uint32((1 << buckets.shift) - 1)
    begin = 0
    for i in range(ends.size):
        block = local[i] // per_block
        target = np.uint32(local[i] - block * per_block)
        for source in sources[begin : ends[i]]:
            piece = np.uint32(source * n_blocks + block)
            band = int(piece >> shift)
            if counts[band] == waiting.shape[1]:
                _empty(buckets, band, rows)
            waiting[band, counts[band]] = (piece & within) << np.uint32(16) | target
            counts[band] += 1
        begin = ends[i]


@kernel
def _empty_all(buckets: Buckets, rows: Rows) -> None:
    for band in range(buckets.counts.size):
        _empty(buckets, band, rows)


@part
def _empty(buckets: Buckets, band: int, rows: Rows) -> None:
    """Append a bucket's targets to the pieces of rows; each one's start moves on to where the next target goes."""
    starts = rows.starts[band << buckets.shift :]
    for synapse in buckets.waiting[band, : buckets.counts[band]]:
        piece = synapse >> np.uint32(16)
        rows.targets[starts[piece]] = synapse & np.uint32(2**16 - 1)
        starts[piece] += 1
    buckets.counts[band] = 0


@kernel
def _rewind(starts: NDArray[Any]) -> None:
    """Move every start back by one piece: filling has moved it to the piece's end."""
    for k in range(starts.size - 1, 0, -1):
        starts[k] = starts[k - 1]
    starts[0] = 0
