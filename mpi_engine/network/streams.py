"""Random streams: every number is a function of (seed, stream, id, index), so that no rank and no order matters.

The generator is Philox4x32-10 (Salmon et al. 2011): a counter of four 32-bit words is encrypted with a key of two. The
key is the hash of seed and stream name; the counter holds the id that the number belongs to and a running index.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel, part
from mpi_engine.experiment import Distribution, Lognormal, Normal, Uniform
from mpi_engine.network.mathematics import exp, normal_quantile

VERSION = 2
"""Raised whenever the same experiment would draw other numbers than before."""

_SALT = "1"
"""Of all keys; a stream keeps its numbers when others change."""

Key = tuple[np.uint32, np.uint32]

Word = Any
"""A random 32-bit word."""

_u = np.uint32


def stream_key(seed: int, *names: str) -> Key:
    """Make the key of a stream.

    Parameters
    ----------
    seed : int
        The part of the experiment's seed that governs it.
    *names : str
        What the stream is for.
    """
    digest = hashlib.sha256("/".join((_SALT, str(seed), *names)).encode()).digest()
    return np.uint32(int.from_bytes(digest[:4], "little")), np.uint32(int.from_bytes(digest[4:8], "little"))


@part
def philox(key: Key, c0: Word, c1: Word, c2: Word, c3: Word) -> tuple[Word, Word, Word, Word]:
    """Encrypt a counter: four independent random 32-bit words."""
    k0, k1 = key
    c0, c1, c2, c3 = _u(c0), _u(c1), _u(c2), _u(c3)
    for _ in range(10):
        c0, c1, c2, c3 = _round(k0, k1, c0, c1, c2, c3)
        k0, k1 = _next_key(k0, k1)
    return c0, c1, c2, c3


@part
def _round(k0: Word, k1: Word, c0: Word, c1: Word, c2: Word, c3: Word) -> tuple[Word, Word, Word, Word]:
    left, right = np.uint64(0xD2511F53) * np.uint64(c0), np.uint64(0xCD9E8D57) * np.uint64(c2)
    high_left, high_right = _u(left >> np.uint64(32)), _u(right >> np.uint64(32))
    return _u(high_right ^ c1 ^ k0), _u(right), _u(high_left ^ c3 ^ k1), _u(left)


@part
def _next_key(k0: Word, k1: Word) -> tuple[Word, Word]:
    return _u(k0 + _u(0x9E3779B9)), _u(k1 + _u(0xBB67AE85))


@part
def uniform(word: Word) -> float:
    """Turn a random word into a float64 in the open interval (0, 1)."""
    return (np.float64(word) + 0.5) * 2.0**-32


@part
def uniform53(high: Word, low: Word) -> float:
    """Turn two random words into a float64 in (0, 1) with 52 random bits."""
    whole = (np.uint64(high) << np.uint64(20)) | (np.uint64(low) >> np.uint64(12))
    return (np.float64(whole) + 0.5) * 2.0**-52


@part
def fill_words(key: Key, identity: int, other: int, first: int, words: NDArray[np.uint32]) -> None:
    """Fill an array, shape (4, n), with the words that belong to a pair of ids, from counter `first` on."""
    a, b, c, d = words[0], words[1], words[2], words[3]
    for i in range(a.size):
        a[i], b[i], c[i], d[i] = _u(identity), _u(first + i), _u(other), _u(0)
    encrypt(key, words)


@part
def encrypt(key: Key, counters: NDArray[np.uint32]) -> None:
    """Encrypt counters, shape (4, n), as `philox` does each: round by round, so that they go side by side."""
    a, b, c, d = counters[0], counters[1], counters[2], counters[3]
    k0, k1 = key
    for _ in range(10):
        for i in range(a.size):
            a[i], b[i], c[i], d[i] = _round(k0, k1, a[i], b[i], c[i], d[i])
        k0, k1 = _next_key(k0, k1)


@part
def gaussian(high: Word, low: Word) -> float:
    """Turn two random words into a standard normal deviate, cut at six standard deviations."""
    return min(max(normal_quantile(uniform53(high, low)), -6.0), 6.0)


class Law(NamedTuple):
    """A distribution for compiled code: which, and its two parameters as `mpi_engine.experiment` names them."""

    kind: int
    a: float
    b: float


def law(value: float | Distribution) -> Law:
    """Put a value of an experiment into numbers."""
    if isinstance(value, Uniform):
        return Law(1, *value.uniform)
    if isinstance(value, Normal):
        return Law(2, *value.normal)
    if isinstance(value, Lognormal):
        return Law(3, *value.lognormal)
    return Law(0, float(value), 0.0)


@part
def draw(law: Law, high: Word, low: Word) -> float:
    """Turn two random words into a number that follows a law."""
    if law.kind == 0:
        return law.a
    if law.kind == 1:
        return law.a + (law.b - law.a) * uniform53(high, low)
    deviate = law.b * gaussian(high, low)
    return law.a + deviate if law.kind == 2 else law.a * exp(deviate)


def draw_values(value: float | Distribution, key: Key, first_id: int, n: int) -> NDArray[np.float64]:
    """Draw a number for each of a run of ids.

    Parameters
    ----------
    value : float or Distribution
        What is drawn from; a number is given to all.
    key : Key
        The stream.
    first_id, n : int
        The ids.

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    values = np.empty(n)
    _fill(law(value), key, first_id, values)
    return values


@kernel
def _fill(law: Law, key: Key, first_id: int, values: NDArray[np.float64]) -> None:
    for i in range(values.size):
        high, low, _, _ = philox(key, first_id + i, 0, 0, 0)
        values[i] = draw(law, high, low)


@part
def mix64(key: Key, first: int, second: int) -> np.uint64:
    """Hash a pair of ids to 64 bits, for choosing a random sample as the smallest hashes."""
    a, b, _, _ = philox(key, first, second, 0, 0)
    return (np.uint64(a) << np.uint64(32)) | np.uint64(b)


@kernel
def hash_ids(key: Key, first_id: int, hashes: NDArray[np.uint64]) -> None:
    """Hash each of a run of ids; see `mix64`."""
    for i in range(hashes.size):
        hashes[i] = mix64(key, first_id + i, 0)
