"""The one collective of a coding network's step: exact sums over the ranks, and the choice of who spikes.

Every rank sends a message of 64-bit words: a status word, the sums over its part in fixed point, and its candidates for
a spike, those farthest above threshold first. Whole numbers add up to the same on any number of ranks, and candidates
are put in the order of (score, id), so that the outcome does not depend on how neurons are cut.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import part
from mpi_engine.network.mathematics import bits_of_float64, float64_of_bits
from mpi_engine.network.messages import Link, make_link, tell_all
from mpi_engine.network.ranks import Ranks

UNIT = 2.0**-40
"""Of the sums: rounding is far below the noise of a spike."""

_SHIFT = 1.5 * 2.0**52 * UNIT


class Consensus(NamedTuple):
    """Buffers of the collective, for compiled code.

    Parameters
    ----------
    link : Link
        The way of the messages.
    shape : ndarray of int64, shape (3,)
        Number of ranks, of sums, and of candidates a rank.
    status : ndarray of int32, shape (1,)
        This rank's status word, set from outside the step.
    outbox : ndarray of int64, shape (2 + n_sums + 2 * n_candidates,)
        The message: status, number of candidates, sums, scores, ids.
    inbox : ndarray of int64, shape (n_ranks * words,)
        The messages of all ranks.
    sums : ndarray of float64, shape (n_sums,)
        The sums over all ranks.
    scores : ndarray of float64, shape (n_candidates,)
        How far the candidates of all ranks are above threshold, in descending order.
    ids : ndarray of int64, shape (n_candidates,)
        Their global ids.
    n_candidates : ndarray of int64, shape (1,)
        How many these are.
    limit : ndarray of float64, shape (1,)
        Largest term of a sum: so many of them cannot overflow.
    """

    link: Link
    shape: NDArray[np.int64]
    status: NDArray[np.int32]
    outbox: NDArray[np.int64]
    inbox: NDArray[np.int64]
    sums: NDArray[np.float64]
    scores: NDArray[np.float64]
    ids: NDArray[np.int64]
    n_candidates: NDArray[np.int64]
    limit: NDArray[np.float64]


def make_consensus(ranks: Ranks, n_sums: int, n_terms: int, n_candidates: int) -> Consensus:
    """Collective. Allocate the buffers.

    Parameters
    ----------
    ranks : Ranks
        Who takes part.
    n_sums : int
        Sums over the ranks.
    n_terms : int
        Most terms of a sum, all ranks together.
    n_candidates : int
        Most candidates that are considered in a step.
    """
    words = 2 + n_sums + 2 * n_candidates
    return Consensus(
        link=make_link(ranks, 2 * words),
        shape=np.array([ranks.size, n_sums, n_candidates], np.int64),
        status=np.zeros(1, np.int32),
        outbox=np.zeros(words, np.int64),
        inbox=np.zeros(words * ranks.size, np.int64),
        sums=np.zeros(n_sums),
        scores=np.zeros(n_candidates),
        ids=np.zeros(n_candidates, np.int64),
        n_candidates=np.zeros(1, np.int64),
        limit=np.array([min(2.0**10, 2.0**62 * UNIT / max(n_terms, 1))]),
    )


@part
def fixed_point(value: float, limit: float) -> np.int64:
    """Turn a number into a whole one of `UNIT`, saturating at a limit of at most 2^10."""
    # a float64 of this size is spaced by one unit: adding rounds to it, and leaves it in the low bits
    clipped = min(max(value, -limit), limit)
    return bits_of_float64(clipped + _SHIFT) - bits_of_float64(_SHIFT)


@part
def begin_message(c: Consensus, unhealthy: int) -> None:
    """Write the status word, without candidates."""
    c.outbox[0] = c.status[0] | unhealthy
    c.outbox[1] = 0


@part
def nominate(c: Consensus, score: float, gid: int) -> None:
    """Put a neuron among this rank's candidates if it is one; neurons are nominated in ascending order of id."""
    n_sums, most = c.shape[1], c.shape[2]
    scores = c.outbox[2 + n_sums : 2 + n_sums + most]
    ids = c.outbox[2 + n_sums + most :]
    c.outbox[1] = _insert(scores, ids, c.outbox[1], bits_of_float64(score), gid)


@part
def _insert(scores: NDArray[np.int64], ids: NDArray[np.int64], n: int, score: int, gid: int) -> int:
    """Insert into a list in descending order of scores, whose bits are in the order of positive numbers."""
    place = n
    while place > 0 and scores[place - 1] < score:
        place -= 1
    if place == scores.size:
        return n
    end = min(n, scores.size - 1)
    for k in range(end, place, -1):
        scores[k] = scores[k - 1]
        ids[k] = ids[k - 1]
    scores[place] = score
    ids[place] = gid
    return end + 1


@part
def agree(c: Consensus) -> int:
    """Collective. Send this rank's message; set the sums and candidates of all ranks.

    Returns
    -------
    int
        The status words of all ranks, or-ed.
    """
    n_ranks, n_sums, most = c.shape[0], c.shape[1], c.shape[2]
    words = c.outbox.size
    if n_ranks == 1:
        for word in range(words):
            c.inbox[word] = c.outbox[word]
    else:
        tell_all(c.link, c.outbox.view(np.int32), 2 * words, c.inbox.view(np.int32), 2 * words)
    status = 0
    for rank in range(n_ranks):
        status |= c.inbox[rank * words]
    for k in range(n_sums):
        total = np.int64(0)
        for rank in range(n_ranks):
            total += c.inbox[rank * words + 2 + k]
        c.sums[k] = total * UNIT
    n = 0
    scores, ids = c.outbox[2 + n_sums : 2 + n_sums + most], c.outbox[2 + n_sums + most :]
    for rank in range(n_ranks):
        message = rank * words
        begin = message + 2 + n_sums
        for k in range(c.inbox[message + 1]):
            n = _insert(scores, ids, n, c.inbox[begin + k], c.inbox[begin + most + k])
    for k in range(n):
        c.scores[k] = float64_of_bits(scores[k])
        c.ids[k] = ids[k]
    c.n_candidates[0] = n
    return status
