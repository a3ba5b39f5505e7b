"""The random generator against the known answers of its authors."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from mpi_engine.network.streams import Key, encrypt, philox

ANSWERS = [
    ((0x00000000, 0x00000000, 0x00000000, 0x00000000), (0x00000000, 0x00000000),
     (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF),
     (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
     (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]
"""Counter, key and words of philox4x32-10, from the vectors that come with Random123 (Salmon et al. 2011)."""


@numba.njit
def _encrypt_both_ways(key: Key, counters: NDArray[np.uint32]) -> tuple[int, int, int, int]:
    words = philox(key, counters[0, 0], counters[1, 0], counters[2, 0], counters[3, 0])
    encrypt(key, counters)
    return words


@pytest.mark.parametrize(("counter", "key", "words"), ANSWERS)
def test_words_are_the_known_ones(counter: tuple[int, ...], key: tuple[int, int], words: tuple[int, ...]) -> None:
    counters = np.repeat(np.array(counter, np.uint32)[:, None], 7, axis=1)     # several side by side
    alone = _encrypt_both_ways((np.uint32(key[0]), np.uint32(key[1])), counters)
    assert tuple(alone) == words
    assert (counters == np.array(words, np.uint32)[:, None]).all()
