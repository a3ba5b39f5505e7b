"""The spike exchange: the only communication of a step, called from compiled code.

Every rank sends one message of 32-bit words: a status word, the number of its spikes of each population, then the
ids of those that spiked, in ascending order. Populations of the network come with the spikes of this step, input
trains with those of the next. MPI carries messages of a fixed length; if one is longer, all know it from the counts
and a second round carries everything.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import inlined, part
from mpi_engine.network.messages import Link, make_link, tell_all
from mpi_engine.network.ranks import Ranks


class Exchange(NamedTuple):
    """Buffers of the exchange, for compiled code.

    Parameters
    ----------
    link : Link
        The way of the messages.
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

    link: Link
    shape: NDArray[np.int64]
    status: NDArray[np.int32]
    outbox: NDArray[np.int32]
    inbox: NDArray[np.int32]
    offsets: NDArray[np.int64]
    fired: NDArray[np.int32]


FIRST_ROUND_WORDS = 62
"""Ids that fit in the first round by MPI: a message of 256 bytes costs hardly more than an empty one."""


def make_exchange(ranks: Ranks, n_populations: int, most_spikes: int) -> Exchange:
    """Collective. Allocate the buffers.

    Parameters
    ----------
    ranks : Ranks
        Who takes part.
    n_populations : int
        Populations and input trains.
    most_spikes : int
        Most spikes that any rank can have in one step.
    """
    header = 1 + n_populations
    longest = header + most_spikes
    link = make_link(ranks, longest)
    first_round = longest if link.board.size else min(longest, header + FIRST_ROUND_WORDS)
    outbox = np.zeros(longest, np.int32)
    return Exchange(
        link=link,
        shape=np.array([ranks.size, n_populations, first_round], np.int64),
        status=np.zeros(1, np.int32),
        outbox=outbox,
        inbox=np.zeros(longest * ranks.size, np.int32) if ranks.size > 1 else outbox,
        offsets=np.zeros(n_populations + 1, np.int64),
        fired=np.zeros(longest * ranks.size, np.int32),
    )


@part
def _length(message: NDArray[np.int32], n_populations: int) -> int:
    """Words of a message, from the counts in its header."""
    length = 1 + n_populations
    for population in range(n_populations):
        length += message[1 + population]
    return length


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
    if n_ranks > 1:
        own = _length(x.outbox, n_populations)
        tell_all(x.link, x.outbox, min(own, n_words), x.inbox, n_words)
        longest = 0
        for rank in range(n_ranks):
            longest = max(longest, _length(x.inbox[rank * n_words :], n_populations))
        if longest > n_words:
            n_words = longest
            tell_all(x.link, x.outbox, own, x.inbox, n_words)
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
