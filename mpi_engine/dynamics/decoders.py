"""The random parts of a coding network: decoding vectors, initial weights, who dies. Every rank draws what it needs."""

from __future__ import annotations

from math import cos, pi, sin, sqrt

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel
from mpi_engine.experiment import ExperimentError, Problem
from mpi_engine.experiment.coding import CodingExperiment
from mpi_engine.experiment.coding_network import EvenDecoder, RandomDecoder
from mpi_engine.network.streams import Key, gaussian, hash_ids, philox, stream_key, uniform53

Floats = NDArray[np.float64]

_GOLDEN_ANGLE = pi * (3 - sqrt(5.0))


def compile_draws() -> None:
    """Load the kernels that draw."""
    key, nothing = stream_key(0, "nothing"), np.zeros((0, 0))
    _draw_directions(key, nothing)
    draw_pairs(key, 0, 0, nothing)
    _draw_chances(key, 0, nothing)
    hash_ids(key, 0, np.empty(0, np.uint64))


def draw_decoder(experiment: CodingExperiment) -> Floats:
    """Make the decoding vectors of all neurons.

    Returns
    -------
    ndarray of float64, shape (N, K)

    Raises
    ------
    ExperimentError
        If they do not reach every direction: no firing could then move the readout there.
    """
    e, decoder, n, k = experiment, experiment.network.decoder, experiment.network.size, experiment.n_dimensions
    if isinstance(decoder, RandomDecoder):
        assert decoder.norm is not None
        vectors = decoder.norm * directions(stream_key(e.seed.network, "decoder"), n, k)
    elif isinstance(decoder, EvenDecoder):
        assert decoder.norm is not None
        vectors = decoder.norm * _even_directions(n, k)
    else:
        vectors = np.array(decoder.vectors)
    if not _spans(vectors):
        remedy = f"do not span all {k} dimensions in both directions; add neurons, or turn some of the vectors around"
        raise ExperimentError([Problem("network.decoder", "", f"the {n} decoding vectors {remedy}")])
    return vectors


def draw_weights(experiment: CodingExperiment, vectors: Floats, first: int, last: int) -> tuple[Floats, Floats]:
    """Make the initial weights of every unit of the basis onto some neurons, and say which synapses there are.

    Parameters
    ----------
    experiment : CodingExperiment
        Resolved.
    vectors : ndarray of float64, shape (N, K)
        Decoding vectors.
    first, last : int
        The first neuron, and the one beyond the last.

    Returns
    -------
    weights : ndarray of float64, shape (N_b, last - first)
        W.
    exists : ndarray of float64, shape (N_b, last - first)
        1 where there is a synapse, 0 elsewhere.
    """
    learning, shape = experiment.learning, (experiment.network.basis.n_units, last - first)
    seed = experiment.seed.network
    weights, chances = np.zeros(shape), np.zeros(shape)
    if learning.initial_std_per_s:
        draw_pairs(stream_key(seed, "slow weights"), 0, first, weights)
        weights *= learning.initial_std_per_s * sqrt(float((vectors**2).mean()) * vectors.shape[1])
    if learning.density < 1:
        _draw_chances(stream_key(seed, "slow synapses"), first, chances)
    exists = (chances < learning.density).astype(np.float64)
    return weights * exists, exists


def find_dead(experiment: CodingExperiment, step: int) -> NDArray[np.bool_]:
    """Say which neurons have died until a step, shape (N,)."""
    e, n = experiment, experiment.network.size
    dead = np.zeros(n, bool)
    for death in e.deaths.values():
        if e.steps(death.at_ms) <= step:
            hashes = np.empty(n, np.uint64)
            hash_ids(stream_key(e.seed.state, "deaths"), 0, hashes)
            chosen = np.argsort(hashes, kind="stable")[: round((death.fraction or 0.0) * n)]
            dead[chosen if death.neurons is None else death.neurons] = True
    return dead


def directions(key: Key, n: int, k: int) -> Floats:
    """Draw random unit vectors; in one dimension, their signs alternate."""
    if k == 1:
        return _alternating(n)
    vectors = np.empty((n, k))
    _draw_directions(key, vectors)
    return vectors


def _alternating(n: int) -> Floats:
    return np.where(np.arange(n) % 2 == 0, 1.0, -1.0)[:, None]


def _even_directions(n: int, k: int) -> Floats:
    if k == 1:
        return _alternating(n)
    if k == 2:
        return np.array([[cos(2 * pi * i / n), sin(2 * pi * i / n)] for i in range(n)])
    heights = [1 - (2 * i + 1) / n for i in range(n)]
    around = [(cos(i * _GOLDEN_ANGLE), sin(i * _GOLDEN_ANGLE), sqrt(1 - z * z)) for i, z in enumerate(heights)]
    return np.array([[r * x, r * y, z] for (x, y, r), z in zip(around, heights, strict=True)])


def _spans(vectors: Floats) -> bool:
    """Whether sums of vectors with positive weights reach every point: they span, and some such sum of all is zero."""
    lengths = np.sqrt((vectors**2).sum(axis=1, keepdims=True))
    units = vectors / np.where(lengths > 0, lengths, 1.0)
    if np.linalg.matrix_rank(units) < vectors.shape[1]:
        return False
    return _rest(units, -units.sum(axis=0)) < 1e-9 * len(vectors)


def _rest(vectors: Floats, target: Floats) -> float:
    """Distance of a target from sums of vectors with weights of at least zero: Lawson and Hanson's method."""
    used, weights = np.zeros(len(vectors), bool), np.zeros(len(vectors))
    while True:
        rest = target - weights @ vectors
        gain = np.where(used, 0.0, vectors @ rest)
        best = int(gain.argmax())
        if gain[best] <= 1e-10 * len(vectors):
            return float(np.linalg.norm(rest))
        used[best] = True
        while True:
            wanted = np.zeros(len(vectors))
            wanted[used] = np.linalg.lstsq(vectors[used].T, target)[0]
            below = used & (wanted <= 0.0)
            if not below.any():
                break
            shares = weights[below] / (weights[below] - wanted[below])     # of the way, until a weight is zero
            weights += shares.min() * (wanted - weights)
            used[np.flatnonzero(below)[shares.argmin()]] = False
            weights[~used] = 0.0
        weights = wanted


@kernel
def _draw_directions(key: Key, vectors: Floats) -> None:
    for i in range(vectors.shape[0]):
        square = 0.0
        for d in range(vectors.shape[1]):
            high, low, _, _ = philox(key, i, d, 0, 0)
            vectors[i, d] = gaussian(high, low)
            square += vectors[i, d] * vectors[i, d]
        for d in range(vectors.shape[1]):
            vectors[i, d] /= np.sqrt(square)


@kernel
def draw_pairs(key: Key, first_row: int, first_column: int, values: Floats) -> None:
    """Draw standard normal numbers, each from its own row and column."""
    for j in range(values.shape[0]):
        for i in range(values.shape[1]):
            high, low, _, _ = philox(key, first_row + j, first_column + i, 0, 0)
            values[j, i] = gaussian(high, low)


@kernel
def _draw_chances(key: Key, first_column: int, values: Floats) -> None:
    for j in range(values.shape[0]):
        for i in range(values.shape[1]):
            high, low, _, _ = philox(key, j, first_column + i, 0, 0)
            values[j, i] = uniform53(high, low)
