"""Messages: what each rank tells all others in a step, called from compiled code.

Ranks of one node leave their messages in memory that they share. Each writes into a place of its own, then puts the
number of the turn on it, for which the others wait. There is a place for even turns and one for odd: whoever writes in
turn n + 2 has seen all others' numbers of turn n + 1, and they had read turn n by then. Between nodes, and while
collectives are compared, messages go by MPI.

Whoever waits for long calls MPI now and then: a message of its own that MPI still holds may be what another waits for.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from mpi_engine.compiled import part
from mpi_engine.network.ranks import Ranks

_LINE = 16
"""Words of a cache line: a place is so many times as long, lest ranks write into the same."""

_HEADER = 2
"""Words of a place before its message: the turn and the length. A short message is in the same cache line."""

_LOOKS = 4000
"""So often a rank looks for a message before it does anything else: some microseconds."""


class Link(NamedTuple):
    """The way of messages between the ranks, for compiled code.

    Parameters
    ----------
    mpi : ndarray of uint64, shape (4,)
        See `Ranks.handles`.
    rank : ndarray of int64, shape (2,)
        This rank, and the number of all.
    board : ndarray of int32, shape (2, n_ranks, words)
        Places for even and odd turns in the memory that the ranks share; empty if they do not.
    turn : ndarray of int32, shape (1,)
        Number of the last turn; it may begin anew below zero.
    patience : ndarray of int64, shape (1,)
        How often to look for a message before doing anything else.
    sched_yield : ndarray of uint64, shape (1,)
        Address of what lets another process have the core.
    probed : ndarray of int64, shape (16,)
        Room for MPI's answer that nothing came.
    """

    mpi: NDArray[np.uint64]
    rank: NDArray[np.int64]
    board: NDArray[np.int32]
    turn: NDArray[np.int32]
    patience: NDArray[np.int64]
    sched_yield: NDArray[np.uint64]
    probed: NDArray[np.int64]


def make_link(ranks: Ranks, longest: int) -> Link:
    """Collective. Find the way of the ranks' messages.

    Parameters
    ----------
    ranks : Ranks
        Who takes part.
    longest : int
        Most words of a message.
    """
    words = _LINE * -(-(_HEADER + longest) // _LINE)
    memory = ranks.shared_memory(2 * ranks.size * words * np.dtype(np.int32).itemsize)
    cores = set().union(*ranks.gather(os.sched_getaffinity(0)))
    sched_yield = ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value
    return Link(
        mpi=ranks.handles(),
        rank=np.array([ranks.rank, ranks.size], np.int64),
        board=memory.view(np.int32).reshape(2, -1, words),
        turn=np.zeros(1, np.int32),
        patience=np.array([_LOOKS if ranks.size <= len(cores) else 0], np.int64),
        sched_yield=np.array([sched_yield], np.uint64),
        probed=np.zeros(16, np.int64),
    )


@intrinsic
def call_allgather(_context: Any, address: Any, send: Any, receive: Any, count: Any, comm: Any, words: Any) -> Any:
    """Call MPI_Allgather through its address, so that the compiled code can be cached and fits any MPI."""
    signature = types.intc(types.uint64, types.uintp, types.uintp, types.int32, types.uint64, types.uint64)

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        address, send, receive, count, comm, words = args
        i32, i64 = ir.IntType(32), ir.IntType(64)
        function = ir.FunctionType(i32, [i64, i32, i64, i64, i32, i64, i64])
        call = builder.inttoptr(address, function.as_pointer())
        return builder.call(call, [send, count, words, receive, count, words, comm])

    return signature, generate


@intrinsic
def _call_probe(_context: Any, address: Any, rank: Any, comm: Any, flag: Any, status: Any) -> Any:
    """Call MPI_Iprobe through its address, for a message to oneself: there never is one, but MPI goes on."""
    signature = types.intc(types.uint64, types.int64, types.uint64, types.uintp, types.uintp)

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        address, rank, comm, flag, status = args
        i32, i64 = ir.IntType(32), ir.IntType(64)
        call = builder.inttoptr(address, ir.FunctionType(i32, [i32, i32, i64, i64, i64]).as_pointer())
        return builder.call(call, [builder.trunc(rank, i32), i32(0), comm, flag, status])

    return signature, generate


@intrinsic
def _call_yield(_context: Any, address: Any) -> Any:
    """Call sched_yield through its address."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        return builder.call(builder.inttoptr(args[0], ir.FunctionType(ir.IntType(32), []).as_pointer()), [])

    return types.intc(types.uint64), generate


@intrinsic
def _publish(_context: Any, place: Any, turn: Any) -> Any:
    """Put a number on the first word of a place, after all that was written before."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words = context.make_array(signature.args[0])(context, builder, args[0])
        builder.store_atomic(args[1], words.data, ordering="release", align=4)
        return context.get_dummy_value()

    return types.void(place, types.int32), generate


@intrinsic
def _published(_context: Any, place: Any) -> Any:
    """Read the first word of a place, before all that is read later."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words = context.make_array(signature.args[0])(context, builder, args[0])
        return builder.load_atomic(words.data, ordering="acquire", align=4)

    return types.int32(place), generate


@part
def _wait_for(link: Link, place: NDArray[np.int32], turn: int) -> None:
    looks = 0
    while _published(place) != turn:
        looks += 1
        if looks > link.patience[0]:
            flag, status = link.probed.ctypes.data, link.probed[1:].ctypes.data
            _call_probe(link.mpi[3], link.rank[0], link.mpi[1], flag, status)
            _call_yield(link.sched_yield[0])


@part
def tell_all(link: Link, message: NDArray[np.int32], n_words: int, received: NDArray[np.int32], stride: int) -> None:
    """Collective. Send the first words of a message, and receive those of all ranks.

    Parameters
    ----------
    link : Link
        Not of one rank alone.
    message : ndarray of int32
        What to send.
    n_words : int
        How many of its words.
    received : ndarray of int32, shape (n_ranks * stride,)
        The ranks' messages, each from a multiple of `stride` on.
    stride : int
        The same on all ranks, and at least as much as any of them sends.
    """
    if link.board.size == 0:
        call_allgather(
            link.mpi[0], message.ctypes.data, received.ctypes.data, np.int32(stride), link.mpi[1], link.mpi[2]
        )
        return
    link.turn[0] += 1
    turn = link.turn[0]
    places = link.board[turn & 1]
    own = places[link.rank[0]]
    own[1] = n_words
    for k in range(n_words):
        own[_HEADER + k] = message[k]
    _publish(own, turn)
    for rank in range(link.rank[1]):
        place = places[rank]
        _wait_for(link, place, turn)
        for k in range(place[1]):
            received[rank * stride + k] = place[_HEADER + k]
