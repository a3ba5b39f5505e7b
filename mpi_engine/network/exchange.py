"""The spike exchange: the only communication of a step, called from compiled code.

Every rank sends one message of 32-bit words: a status word, the number of its spikes of each population, then the
ids of those that spiked, in ascending order. Populations of the network come with the spikes of this step, input
trains with those of the next. If a message is longer than the fixed length of the first round, all know it from the
counts and a second round carries everything.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from mpi_engine.compiled import inlined, part
from mpi_engine.network.ranks import Ranks


class Exchange(NamedTuple):
    """Buffers of the exchange, for compiled code.

    Parameters
    ----------
    mpi : ndarray of uint64, shape (3,)
        See `Ranks.handles`.
    shape : ndarray of int64, shape (3,)
        Number of ranks, number of populations, words of the first round.
    status : ndarray of int32, shape (1,)
        This rank's status word, set from outside the step.
    outbox : ndarray of int32
        The message: status, counts, ids.
    inbox : ndarray of int32
        The messages of all ranks; on one rank the same memory as the message.
    offsets : ndarray of int64, shape (n_populations + 1,)
        Where each population begins in `fired`.
    fired : ndarray of int32
        Ids of everyone that spiked, by population, ascending.
    """

    mpi: NDArray[np.uint64]
    shape: NDArray[np.int64]
    status: NDArray[np.int32]
    outbox: NDArray[np.int32]
    inbox: NDArray[np.int32]
    offsets: NDArray[np.int64]
    fired: NDArray[np.int32]


FIRST_ROUND_WORDS = 62
"""Ids that fit in the first round: a message of 256 bytes costs hardly more than an empty one."""


def make_exchange(ranks: Ranks, n_populations: int, most_spikes: int) -> Exchange:
    """Collective. Allocate the buffers.

    Parameters
    ----------
    ranks : Ranks
        Who takes part.
    n_populations : int
        Populations and input trains.
    most_spikes : int
        Most spikes that this rank can have in one step.
    """
    header = 1 + n_populations
    longest = header + ranks.maximum(most_spikes)
    first_round = min(longest, header + FIRST_ROUND_WORDS)
    outbox = np.zeros(longest, np.int32)
    return Exchange(
        mpi=ranks.handles(),
        shape=np.array([ranks.size, n_populations, first_round], np.int64),
        status=np.zeros(1, np.int32),
        outbox=outbox,
        inbox=np.zeros(longest * ranks.size, np.int32) if ranks.size > 1 else outbox,
        offsets=np.zeros(n_populations + 1, np.int64),
        fired=np.zeros(longest * ranks.size, np.int32),
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


@part
def _allgather(x: Exchange, n_words: int) -> None:
    if x.shape[0] > 1:
        call_allgather(x.mpi[0], x.outbox.ctypes.data, x.inbox.ctypes.data, np.int32(n_words), x.mpi[1], x.mpi[2])


@inlined
def exchange(x: Exchange) -> int:
    """Collective. Send this rank's message, and unpack everyone's into `x.fired` and `x.offsets`.

    Returns
    -------
    int
        The status words of all ranks, or-ed.
    """
    n_ranks, n_populations, n_words = x.shape[0], x.shape[1], x.shape[2]
    header = 1 + n_populations
    x.outbox[0] = x.status[0]
    _allgather(x, n_words)
    longest = 0
    for rank in range(n_ranks):
        length = header
        for population in range(n_populations):
            length += x.inbox[rank * n_words + 1 + population]
        longest = max(longest, length)
    if longest > n_words:
        n_words = longest
        _allgather(x, n_words)
    status = 0
    end = 0
    for rank in range(n_ranks):
        status |= x.inbox[rank * n_words]
    for population in range(n_populations):
        x.offsets[population] = end
        for rank in range(n_ranks):
            message = rank * n_words
            begin = message + header
            for earlier in range(population):
                begin += x.inbox[message + 1 + earlier]
            for k in range(x.inbox[message + 1 + population]):
                x.fired[end] = x.inbox[begin + k]
                end += 1
    x.offsets[n_populations] = end
    return status
