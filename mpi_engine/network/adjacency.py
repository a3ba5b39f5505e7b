"""Adjacency: the layout of a rank's dense connections in memory, one bit a pair.

Where more than one pair in sixteen is connected, a bit for each pair takes less room than two bytes for each synapse,
and a spike is counted at 64 targets in a few instructions. There is no place for anything that differs between
synapses: that needs `mpi_engine.network.rows`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from mpi_engine.compiled import kernel, part
from mpi_engine.experiment import Distribution, Experiment

WORD = 64
"""Pairs in a word."""

_SPARSEST = 1 / 16
"""Share of connected pairs from which on a bit for each takes less than a list of targets."""


class Adjacency(NamedTuple):
    """The adjacency matrix of a projection onto one rank's targets, for compiled code.

    Parameters
    ----------
    words : ndarray of uint64, shape (n_source, n_words)
        Bit j of a row's word k tells whether its source reaches local target 64 k + j.
    """

    words: NDArray[np.uint64]


def is_dense(experiment: Experiment, projection: str) -> bool:
    """Whether a projection is laid out as an adjacency matrix: dense, no pair twice, and all synapses alike."""
    p = experiment.projections[projection]
    if not p.has_one_weight or p.probability is None or isinstance(p.delay_ms, Distribution):
        return False
    in_degree, _ = experiment.expected_in_degree(projection)
    return in_degree >= _SPARSEST * experiment.sizes[p.source]


def words_of(n_local: int) -> int:
    """Number of words in a row onto so many targets."""
    return -(-n_local // WORD)


def no_adjacency(n_sources: int, n_local: int) -> Adjacency:
    """Make the matrix of no connection at all."""
    return Adjacency(np.zeros((n_sources, words_of(n_local)), np.uint64))


def pairs_of(adjacency: Adjacency) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the sources, and the local targets, of all synapses, by source, then target."""
    bits = np.unpackbits(adjacency.words.view(np.uint8), axis=1, bitorder="little")
    sources, targets = np.nonzero(bits)
    return sources, targets


@intrinsic
def _count_words(_context: Any, counts: Any, first: Any, rows: Any, k: Any, shift: Any) -> Any:
    """Add the bits of the k-th word of each row, shifted up, to 64 successive counts."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        many = ir.VectorType(context.get_data_type(counts.dtype), WORD)
        address = builder.bitcast(builder.gep(array.data, [args[1]]), many.as_pointer())
        width = counts.dtype.bitwidth // 8     # as a single count is aligned, and no better
        total = builder.load(address, align=width)
        for place, row in enumerate(rows):
            words = context.make_array(row)(context, builder, builder.extract_value(args[2], place))
            word = builder.shl(builder.load(builder.gep(words.data, [args[3]])), args[4])
            total = builder.add(total, builder.zext(builder.bitcast(word, ir.VectorType(ir.IntType(1), WORD)), many))
        builder.store(total, address, align=width)
        return context.get_dummy_value()

    return types.void(counts, types.intp, rows, types.intp, types.uint64), generate


@part
def count_rows(rows: tuple[NDArray[np.uint64], ...], counts: NDArray[Any]) -> None:
    """Add one to the count of each target for each of some rows of words in which its bit is set.

    Several rows together read and write the counts once.
    """
    n_whole, rest = counts.size // WORD, counts.size % WORD
    for k in range(n_whole):
        _count_words(counts, WORD * k, rows, k, 0)
    if n_whole > 0 and rest > 0:     # to the last 64 counts, of which the first have had theirs
        _count_words(counts, counts.size - WORD, rows, n_whole, WORD - rest)
    elif rest > 0:
        for row in rows:
            for target in range(rest):
                counts[target] += (row[0] >> np.uint64(target)) & np.uint64(1)


@kernel
def count_all(adjacency: Adjacency, in_degree: NDArray[np.int64]) -> None:
    """Add up the synapses onto each local target."""
    for source in range(adjacency.words.shape[0]):
        count_rows((adjacency.words[source],), in_degree)
