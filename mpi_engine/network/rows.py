"""Rows: the layout of a rank's synapses in memory, one row a source, in two bytes a synapse.

A row holds the local targets of its source, ascending. It is cut into pieces, one for each block of so many targets as
two bytes can tell apart, so that a target is kept as its place within the block. A rank with fewer targets has one
block, and whole rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel, part

BLOCK = 2**16
"""Targets in a block."""


class Rows(NamedTuple):
    """The synapses of a projection onto one rank's targets, for compiled code.

    Parameters
    ----------
    starts : ndarray of int32 or int64, shape (n_source * n_blocks + 1,)
        Where each piece of each row begins, the pieces of a row one after the other.
    targets : ndarray of uint16, shape (n_synapses,)
        The target's place within its block, ascending within a piece.
    blocks : ndarray of int64, shape (2,)
        Number of blocks, and of targets in one.
    """

    starts: NDArray[np.int32] | NDArray[np.int64]
    targets: NDArray[np.uint16]
    blocks: NDArray[np.int64]


def blocks_of(n_local: int) -> NDArray[np.int64]:
    """Cut so many targets into blocks, at least one: see `Rows.blocks`."""
    return np.array([max(1, -(-n_local // BLOCK)), BLOCK], np.int64)


def starts_dtype(n_synapses: float) -> type[np.int32] | type[np.int64]:
    """Choose the format of `Rows.starts` for a number of synapses that is expected, with room for chance."""
    return np.int32 if n_synapses < 2**30 else np.int64


def row_starts(rows: Rows) -> NDArray[Any]:
    """Find where whole rows begin, and the last one ends; a view of shape (n_source + 1,)."""
    return rows.starts[:: rows.blocks[0]]


def ends_of(rows: Rows, synapses: NDArray[np.int64] | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the sources, and the local targets, of synapses given by their places in memory; of all if not given."""
    if synapses is None:
        synapses = np.arange(rows.targets.size)
    pieces = np.searchsorted(rows.starts, synapses, side="right") - 1
    sources, block = np.divmod(pieces, rows.blocks[0])
    return sources, block * rows.blocks[1] + rows.targets[synapses]


@part
def row(rows: Rows, source: int) -> tuple[int, int]:
    """Begin and end of a source's row."""
    first = source * rows.blocks[0]
    return rows.starts[first], rows.starts[first + rows.blocks[0]]


@part
def piece(rows: Rows, source: int, block: int) -> tuple[int, int, np.uint64]:
    """Begin and end of the piece of a row that lies in a block, and the first target of that.

    The latter has no sign, and so has its sum with a place: an index that may be negative costs a test at each use.
    """
    k = source * rows.blocks[0] + block
    return rows.starts[k], rows.starts[k + 1], np.uint64(block * rows.blocks[1])


@part
def n_sources(rows: Rows) -> int:
    """Number of rows."""
    return (rows.starts.size - 1) // rows.blocks[0]


@kernel
def count_onto(rows: Rows, in_degree: NDArray[np.int64]) -> None:
    """Add up the synapses onto each local target."""
    for source in range(n_sources(rows)):
        for block in range(rows.blocks[0]):
            begin, end, first = piece(rows, source, block)
            for target in rows.targets[begin:end]:
                in_degree[first + target] += 1


@kernel
def order_by_target(rows: Rows, begins: NDArray[np.int64], values: NDArray[Any], ordered: NDArray[Any]) -> None:
    """Put a number for each synapse, given by source, in the order of targets; `begins` is used up."""
    for source in range(n_sources(rows)):
        for block in range(rows.blocks[0]):
            begin, end, first = piece(rows, source, block)
            for s in range(begin, end):
                target = first + rows.targets[s]
                ordered[begins[target]] = values[s]
                begins[target] += 1


@kernel
def order_by_source(rows: Rows, begins: NDArray[np.int64], ordered: NDArray[Any], values: NDArray[Any]) -> None:
    """Undo `order_by_target`."""
    for source in range(n_sources(rows)):
        for block in range(rows.blocks[0]):
            begin, end, first = piece(rows, source, block)
            for s in range(begin, end):
                target = first + rows.targets[s]
                values[s] = ordered[begins[target]]
                begins[target] += 1
