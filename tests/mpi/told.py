"""All ranks tell each other messages of random lengths, some of them late: ``mpirun ... -m tests.mpi.told TURNS``.

The turns are counted over the largest number that 32 bits hold.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel
from mpi_engine.network.messages import Link, make_link, tell_all
from mpi_engine.network.ranks import Ranks

LONGEST = 100


@kernel
def tell(link: Link, message: NDArray[np.int32], n_words: int, received: NDArray[np.int32], stride: int) -> None:
    """Call what kernels call."""
    tell_all(link, message, n_words, received, stride)


def message_of(rank: int, turn: int) -> NDArray[np.int32]:
    """Make up a rank's message in a turn."""
    dice = np.random.default_rng([rank, turn])
    return dice.integers(-(2**31), 2**31, dice.integers(1, LONGEST + 1)).astype(np.int32)


def main() -> None:
    """Collective. Tell, and say whether the link was memory that is shared."""
    ranks, turns = Ranks.world(), int(sys.argv[1])
    link = make_link(ranks, LONGEST)
    link.turn[0] = 2**31 - turns // 2
    outbox, received = np.zeros(LONGEST, np.int32), np.empty(LONGEST * ranks.size, np.int32)
    late = np.random.default_rng(ranks.rank)
    for turn in range(turns):
        message = message_of(ranks.rank, turn)
        outbox[: message.size] = message
        if late.random() < 0.01:
            time.sleep(late.random() / 200)
        tell(link, outbox, message.size, received, LONGEST)
        for rank, told in enumerate(received.reshape(ranks.size, LONGEST)):
            expected = message_of(rank, turn)
            np.testing.assert_array_equal(told[: expected.size], expected)
    if ranks.is_first:
        print("shared" if link.board.size else "sent")


if __name__ == "__main__":
    main()
