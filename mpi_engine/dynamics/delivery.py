"""Delivery: a spike walks its row, and arrives at each target in the step that takes it."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from mpi_engine.compiled import Real, inlined, part
from mpi_engine.dynamics.synapses import (
    AnyProjection,
    DenseProjection,
    PlasticProjection,
    StaticProjection,
    WeightedProjection,
)
from mpi_engine.network.adjacency import count_rows
from mpi_engine.network.exchange import Exchange
from mpi_engine.network.rows import Rows, piece, row

Listed = StaticProjection | WeightedProjection | PlasticProjection
"""A projection whose synapses may have delays of their own."""

_CACHE_LINE = 64

_MOST_IN_A_BYTE = 254
"""So many spikes, in pairs, a byte can count, and one more."""


@intrinsic
def _prefetch(_context: Any, array: Any, index: Any) -> Any:
    """Ask the memory for the cache line of an array's element, without waiting for it."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values = context.make_array(signature.args[0])(context, builder, args[0])
        address = builder.bitcast(builder.gep(values.data, [args[1]]), ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        function = ir.FunctionType(ir.VoidType(), [address.type, word, word, word])
        # to be read, and kept in every cache
        flags = [word(0), word(3), word(1)]
        builder.call(cgutils.get_or_insert_function(builder.module, function, "llvm.prefetch.p0"), [address, *flags])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@part
def prefetch_next(rows: Rows, values: NDArray[Any], x: Exchange, index: int, k: int) -> None:
    """Ask the memory for `values` of the row of a population's next spike, if there is one after the k-th.

    They come while the k-th walks its row: rows are far apart in memory, and to wait for each would take as long.
    """
    if k + 1 < x.offsets[index + 1]:
        begin, end = row(rows, x.fired[k + 1])
        _prefetch_run(values, begin, end - begin)


@part
def _prefetch_run(values: NDArray[Any], begin: int, count: int) -> None:
    """Ask for successive elements of an array."""
    for s in range(begin, begin + count, _CACHE_LINE // values.itemsize):
        _prefetch(values, s)


@part
def slot(projection: AnyProjection, n: int) -> int:
    """Slot of the arrivals that step n takes."""
    return n % projection.delays[1]


@part
def slot_of_synapse(projection: Listed, now: int, synapse: int) -> int:
    """Slot in which a spike that is delivered at the slot `now` arrives through one synapse."""
    place = now + projection.steps[synapse]
    return place - projection.delays[1] if place >= projection.delays[1] else place


@inlined
def count_arrivals(projection: StaticProjection, x: Exchange, index: int, n: int) -> None:
    """Count the arrivals of a source population's spikes."""
    rows, arrivals = projection.rows, projection.arrivals[slot(projection, n + projection.delays[0])]
    now = slot(projection, n)
    for k in range(x.offsets[index], x.offsets[index + 1]):
        prefetch_next(rows, rows.targets, x, index, k)
        for block in range(rows.blocks[0]):
            begin, end, first = piece(rows, x.fired[k], block)
            if projection.steps.size == 0:
                within = arrivals[first:]
                for target in rows.targets[begin:end]:
                    within[target] += 1
            else:
                for s in range(begin, end):
                    projection.arrivals[slot_of_synapse(projection, now, s), first + rows.targets[s]] += 1


@inlined
def count_dense_arrivals(
    projection: DenseProjection, current: NDArray[np.float32], x: Exchange, index: int, n: int
) -> None:
    """Count the arrivals of a source population's spikes, at 64 targets at a time, and of two spikes together.

    Where a byte counts them, and more spikes come than it can count, the counts become current every so often.
    """
    words, arrivals = projection.adjacency.words, projection.arrivals[slot(projection, n + projection.delays[0])]
    n_words, begin, end = words.shape[1], x.offsets[index], x.offsets[index + 1]
    k = begin
    while k + 1 < end:
        for later in range(k + 2, min(k + 4, end)):
            _prefetch_run(words, x.fired[later] * n_words, n_words)
        count_rows((words[x.fired[k]], words[x.fired[k + 1]]), arrivals)
        k += 2
        if arrivals.itemsize == 1 and (k - begin) % _MOST_IN_A_BYTE == 0:
            _take_arrivals(arrivals, projection.gain[0], current)
    if k < end:
        count_rows((words[x.fired[k]],), arrivals)


@part
def _take_arrivals(arrivals: NDArray[np.uint8], gain: Real, current: NDArray[np.float32]) -> None:
    """Add what has arrived to a current or conductance, as the next step would."""
    for i in range(current.size):
        current[i] += gain * current.dtype.type(arrivals[i])
        arrivals[i] = 0


@part
def add_arrivals(projection: WeightedProjection, x: Exchange, index: int, n: int) -> None:
    """Add up the arrivals of a source population's spikes, in ascending order of sources."""
    for k in range(x.offsets[index], x.offsets[index + 1]):
        prefetch_next(projection.rows, projection.rows.targets, x, index, k)
        prefetch_next(projection.rows, projection.weights, x, index, k)
        arrive(projection, x.fired[k], n)


@part
def arrive(projection: WeightedProjection | PlasticProjection, source: int, n: int) -> None:
    """Add what a row's synapses bring to the arrivals of the steps that its spike reaches."""
    rows, per_weight = projection.rows, projection.per_weight[0]
    for block in range(rows.blocks[0]):
        begin, end, first = piece(rows, source, block)
        targets, weights = rows.targets[begin:end], projection.weights[begin:end]
        if projection.steps.size == 0:
            arrivals = projection.arrivals[slot(projection, n + projection.delays[0])][first:]
            for s in range(targets.size):
                arrivals[targets[s]] += per_weight * weights[s]
        else:
            now = slot(projection, n)
            for s in range(targets.size):
                place = slot_of_synapse(projection, now, begin + s)
                projection.arrivals[place, first + targets[s]] += per_weight * weights[s]
