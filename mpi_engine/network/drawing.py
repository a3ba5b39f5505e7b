"""Drawing of independent connections, row by row: every pair with its probability.

The plane of candidate sources and targets is cut into tiles, which do not depend on the ranks. Each has a random stream
of its own, and is walked source by source in geometric steps from one connection to the next, so that only connections
cost. A rank draws the tiles that have targets of its own, a band of them at a time: all that share some sources. A band
fits in the cache, where it is sorted into rows; these are appended to the rank's synapses and never touched again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel, part
from mpi_engine.experiment import Experiment
from mpi_engine.experiment import blocks as cut
from mpi_engine.network.adjacency import WORD, Adjacency, no_adjacency
from mpi_engine.network.geometry import Places, is_near, places_of
from mpi_engine.network.mathematics import log
from mpi_engine.network.rows import Rows, blocks_of, starts_dtype
from mpi_engine.network.streams import Key, fill_words, stream_key, uniform

TILE = 512
"""Targets of a tile."""

_PER_TILE = 2048
"""Connections of a tile, about."""

_TALLEST = 2**16
"""Sources of a tile, at most."""

_COUNTERS = 64
"""Of the random stream, drawn at once: four words each."""

Integers = NDArray[np.int64]

Band = tuple[int, int, int]
"""A block of sources, the first source of a band in it, and the one after its last."""


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
    before : int
        How many possible targets precede the rank's.
    """

    sources: NDArray[np.int32]
    targets: Integers
    own: Integers
    before: int


class Blocks(NamedTuple):
    """Probabilities between blocks of candidates, for compiled code.

    Parameters
    ----------
    matrix : ndarray of float64, shape (n_rows, n_columns)
        A row for each block of targets, a column for each of sources.
    rows, columns : ndarray of int64, shape (n_rows + 1,), (n_columns + 1,)
        Where each block of targets, and of sources, begins, and their number.
    """

    matrix: NDArray[np.float64]
    rows: Integers
    columns: Integers


class Room(NamedTuple):
    """Room to work in, for compiled code.

    Parameters
    ----------
    words : ndarray of uint32, shape (4, n_counters)
        Random words.
    steps : ndarray of float64, shape (4 * n_counters,)
        Candidates between a connection and the next.
    pieces : ndarray of uint32, shape (capacity,)
        To which piece of the band's rows each connection belongs.
    targets : ndarray of uint16, shape (capacity,)
        Its target, as `Rows.targets`.
    lengths : ndarray of int64, shape (n_pieces,)
        Connections of each piece.
    """

    words: NDArray[np.uint32]
    steps: NDArray[np.float64]
    pieces: NDArray[np.uint32]
    targets: NDArray[np.uint16]
    lengths: Integers


def find_candidates(experiment: Experiment, projection: str, first: int, last: int) -> Candidates:
    """List the possible sources, and the possible targets with ids from `first` to before `last`."""
    p = experiment.projections[projection]
    sources, targets = (experiment.members(end)[1] for end in experiment.ends(projection))
    before = int(np.searchsorted(targets, first))
    targets = targets[before : np.searchsorted(targets, last)]
    own = np.full(targets.size, sources.size)
    if p.source == p.target and not p.self_connections:
        both = np.isin(targets, sources)
        own[both] = np.searchsorted(sources, targets[both])
    return Candidates(sources.astype(np.int32), targets, own, before)


def draw_independent(experiment: Experiment, projection: str, candidates: Candidates, first: int, n_local: int) -> Rows:
    """Connect every pair with a probability: one, or one for each pair of blocks, or one that falls with distance.

    Parameters
    ----------
    experiment : Experiment
        The network.
    projection : str
        Name of the projection.
    candidates : Candidates
        Who may be connected.
    first, n_local : int
        Id of the rank's first target, and number of all.

    Returns
    -------
    Rows
    """
    p, layout = experiment.projections[projection], blocks_of(n_local)
    mean, most = experiment.expected_in_degree(projection)
    n_targets = experiment.count(experiment.ends(projection)[1])
    expected = mean * experiment.sizes[p.target] / n_targets * candidates.targets.size
    starts = np.zeros(experiment.sizes[p.source] * layout[0] + 1, starts_dtype(most * n_local))
    rows = Rows(starts, np.empty(_with_room(expected), np.uint16), layout)
    filled = 0
    for band, room, n in _draw_bands(experiment, projection, candidates, first, layout):
        if filled + n > rows.targets.size:
            rows.targets.resize(_with_room(filled + n), refcheck=False)
        _append_band(candidates.sources, band, room, n, filled, rows)
        filled += n
    rows.targets.resize(filled, refcheck=False)
    np.cumsum(starts, out=starts)
    return rows


def draw_dense(experiment: Experiment, projection: str, candidates: Candidates, first: int, n_local: int) -> Adjacency:
    """Draw the same connections as `draw_independent` does, and note each as a bit."""
    layout = blocks_of(n_local)
    adjacency = no_adjacency(experiment.sizes[experiment.projections[projection].source], n_local)
    for band, room, n in _draw_bands(experiment, projection, candidates, first, layout):
        _note_band(candidates.sources, band, room, n, layout, adjacency)
    return adjacency


def _draw_bands(
    experiment: Experiment, projection: str, candidates: Candidates, first: int, layout: Integers
) -> Iterator[tuple[Band, Room, int]]:
    """Draw all connections onto a rank, a band of sources at a time.

    Yields
    ------
    band : tuple of int
        Which block of sources, the first of them, and the one after the last.
    room : Room
        With the connections of the band.
    n : int
        How many.
    """
    p = experiment.projections[projection]
    matrix = np.array(p.probability if isinstance(p.probability, list) else [[p.probability]])
    n_targets = experiment.count(experiment.ends(projection)[1])
    blocks = Blocks(matrix, cut(n_targets, matrix.shape[0]), cut(candidates.sources.size, matrix.shape[1]))
    seed = experiment.seed.network
    keys = stream_key(seed, "connections", projection), stream_key(seed, "distance", projection)
    places = places_of(experiment, projection)
    height = int(np.clip(_PER_TILE / (TILE * max(matrix.max(), 1e-9)), 1, _TALLEST))
    room = _make_room(int(matrix.max() * height * candidates.targets.size), height * int(layout[0]))
    for column in range(matrix.shape[1]):
        for begin in range(blocks.columns[column], blocks.columns[column + 1], height):
            band = (column, begin, min(begin + height, int(blocks.columns[column + 1])))
            n = _draw_band(keys, candidates, blocks, places, layout, first, band, room)
            if n > room.pieces.size:     # hardly ever
                room = _make_room(n, room.lengths.size)
                _draw_band(keys, candidates, blocks, places, layout, first, band, room)
            yield band, room, n


def _with_room(n: float) -> int:
    """Enlarge an expected number; memory that is not written to is not taken from the machine."""
    return int(1.01 * n + 10 * n**0.5 + 100)


def _make_room(n_connections: int, n_pieces: int) -> Room:
    capacity = _with_room(n_connections)
    return Room(
        words=np.empty((4, _COUNTERS), np.uint32),
        steps=np.empty(4 * _COUNTERS),
        pieces=np.empty(capacity, np.uint32),
        targets=np.empty(capacity, np.uint16),
        lengths=np.empty(n_pieces, np.int64),
    )


@kernel
def _draw_band(
    keys: tuple[Key, Key],
    candidates: Candidates,
    blocks: Blocks,
    places: Places,
    layout: Integers,
    first: int,
    band: Band,
    room: Room,
) -> int:
    """Draw all tiles of a band and count the connections, which are kept while there is room for them."""
    column, begin, end = band
    room.lengths[:] = 0
    filled = 0
    for row in range(blocks.matrix.shape[0]):
        probability = blocks.matrix[row, column]
        top = blocks.rows[row]
        own = (max(top, candidates.before), min(blocks.rows[row + 1], candidates.before + candidates.targets.size))
        if probability > 0.0 and own[0] < own[1]:
            for tile in range(top + (own[0] - top) // TILE * TILE, own[1], TILE):
                filled = _draw_tile(
                    keys, candidates, probability, places, layout, first, begin, end, tile, own, room, filled
                )
    return filled


@part
def _draw_tile(
    keys: tuple[Key, Key],
    candidates: Candidates,
    probability: float,
    places: Places,
    layout: Integers,
    first: int,
    begin: int,
    end: int,
    tile: int,
    own: tuple[int, int],
    room: Room,
    filled: int,
) -> int:
    """Step from connection to connection; those onto others' targets, or of a neuron to itself, are left out."""
    key, distance_key = keys
    low, high = max(tile, own[0]) - candidates.before, min(tile + TILE, own[1]) - candidates.before
    block = (candidates.targets[low] - first) // layout[1]
    is_cut = (candidates.targets[high - 1] - first) // layout[1] > block
    n_counters, used, position = 0, room.steps.size, -1
    while True:
        if used == room.steps.size:
            fill_words(key, begin, tile, n_counters, room.words)
            _find_steps(room.words, probability, room.steps)
            used, n_counters = 0, n_counters + room.words.shape[1]
        position += int(room.steps[used])
        used += 1
        below = position // TILE
        source, target = begin + below, tile + position - below * TILE - candidates.before
        if source >= end:
            return filled
        if target < low or target >= high or candidates.own[target] == source:
            continue
        neuron = candidates.targets[target]
        if places.width > 0.0 and not is_near(distance_key, places, candidates.sources[source], neuron):
            continue
        if filled < room.pieces.size:
            local = neuron - first
            if is_cut:
                block = local // layout[1]
            piece = below * layout[0] + block
            room.pieces[filled], room.targets[filled] = piece, local - block * layout[1]
            room.lengths[piece] += 1
        filled += 1


@part
def _find_steps(words: NDArray[np.uint32], probability: float, steps: NDArray[np.float64]) -> None:
    """Draw geometrically distributed steps, from a connection to the next, before they are cut to integers."""
    n, inverse_log = words.shape[1], 0.0
    if probability < 1.0:     # 1 - p keeps too few digits of a small p, and none of the smallest
        inverse_log = 1.0 / log(1.0 - probability) if probability > 1e-8 else -1.0 / probability
    for k in range(4):
        some, of = steps[k * n : (k + 1) * n], words[k]
        for i in range(n):
            some[i] = min(1.0 + log(uniform(of[i])) * inverse_log, 2.0**60)


@kernel
def _append_band(
    sources: NDArray[np.int32], band: Band, room: Room, n: int, filled: int, rows: Rows
) -> None:
    """Sort the n connections of a band into rows, whose lengths are put where the next piece will start."""
    _, begin, end = band
    n_blocks = rows.blocks[0]
    for below in range(end - begin):
        for block in range(n_blocks):
            piece = below * n_blocks + block
            length = room.lengths[piece]
            rows.starts[sources[begin + below] * n_blocks + block + 1] = length
            room.lengths[piece] = filled     # from here on, where the next connection goes
            filled += length
    for k in range(n):
        place = room.lengths[room.pieces[k]]
        rows.targets[place] = room.targets[k]
        room.lengths[room.pieces[k]] = place + 1


@kernel
def _note_band(
    sources: NDArray[np.int32], band: Band, room: Room, n: int, layout: Integers, adjacency: Adjacency
) -> None:
    """Set the bits of the n connections of a band."""
    for k in range(n):
        below, block = divmod(room.pieces[k], layout[0])
        target = block * layout[1] + room.targets[k]
        adjacency.words[sources[band[1] + below], target // WORD] |= np.uint64(1) << np.uint64(target % WORD)
