"""The units of a coding network's basis: drawn at random, and decorrelated over the states that the teacher visits."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel, part
from mpi_engine.dynamics.decoders import directions, draw_pairs
from mpi_engine.experiment import ExperimentError, Problem
from mpi_engine.experiment.coding import CodingExperiment
from mpi_engine.experiment.pilot import run_pilot
from mpi_engine.network.mathematics import tanh
from mpi_engine.network.streams import Key, philox, stream_key, uniform53

Floats = NDArray[np.float64]

_CANDIDATES = 4
"""Units that are drawn for each of a decorrelated basis."""

_LEAST = 1e-20
"""Mean square of what is new in a unit, below which it counts as a combination of others."""

_FLOOR = 1e-4
"""Mean square of what is new in a unit, below which it is not made as large as others: beyond the states that the pilot
visits, and in rare ones, such a difference of units is enormous once it is magnified to unit size."""


class Units(NamedTuple):
    """All units of a basis.

    Parameters
    ----------
    A : ndarray of float64, shape (N_b, K)
        Gains times directions.
    offset : ndarray of float64, shape (N_b,)
        theta.
    mixing : ndarray of float64, shape (N_b, N_b)
        C, lower triangular, of psi = C tanh(A x_h + theta); shape (0, 0) if the basis is not decorrelated.
    """

    A: Floats
    offset: Floats
    mixing: Floats


def compile_basis() -> None:
    """Load the kernels that draw and decorrelate."""
    _draw(stream_key(0, "nothing"), 0.0, 0.0, 0.0, np.zeros(0), np.zeros(0))
    _evaluate(np.zeros((0, 1)), np.zeros(0), np.zeros((0, 1)), np.zeros((0, 0)))
    _orthonormalise(np.zeros((0, 0)), np.zeros((0, 0)), np.zeros(0, np.int64))


def draw_units(experiment: CodingExperiment) -> Units:
    """Make the units of a basis.

    Parameters
    ----------
    experiment : CodingExperiment
        Resolved.

    Raises
    ------
    ExperimentError
        If fewer than N_b units are independent over the states that the teacher visits.
    """
    e, basis = experiment, experiment.network.basis
    assert basis.gains is not None and basis.offset is not None
    n = basis.n_units * (_CANDIDATES if basis.decorrelated else 1)
    gains, offset = np.empty(n), np.empty(n)
    _draw(stream_key(e.seed.network, "basis"), basis.gains[0], basis.gains[1], basis.offset, gains, offset)
    A = gains[:, None] * directions(stream_key(e.seed.network, "basis directions"), n, e.n_dimensions)
    if not basis.decorrelated:
        return Units(A, offset, np.zeros((0, 0)))
    chosen, mixing = _decorrelate(A, offset, _visited(e), basis.n_units)
    return Units(np.ascontiguousarray(A[chosen]), offset[chosen], mixing)


def draw_dense(experiment: CodingExperiment, A: Floats, vectors: Floats, first: int) -> Floats:
    """Make random connections of every neuron to units of the basis, by which these vary as much as structured ones.

    Parameters
    ----------
    experiment : CodingExperiment
        Resolved.
    A : ndarray of float64, shape (n, K)
        Of the structured basis, whose lengths count.
    vectors : ndarray of float64, shape (N, K)
        Decoding vectors.
    first : int
        The first unit.

    Returns
    -------
    ndarray of float64, shape (N, n)
        By neuron, then unit.
    """
    M = np.empty((len(A), len(vectors)))
    draw_pairs(stream_key(experiment.seed.network, "dense basis"), first, 0, M)
    lengths = np.sqrt((A**2).sum(axis=1)) * sqrt(float((vectors**2).sum()) / vectors.size)
    return np.ascontiguousarray((M * lengths[:, None]).T)


def _visited(e: CodingExperiment) -> Floats:
    """States that the teacher visits while the network learns, and their surroundings."""
    return run_pilot(e.teacher, e.exploring_input).spread()


def _decorrelate(A: Floats, offset: Floats, states: Floats, n: int) -> tuple[NDArray[np.int64], Floats]:
    """Choose the n most different units, and combine them to functions that are orthogonal over states.

    Their mean square is one, all together; that of each is in proportion to s / (s + floor), where s is the mean square
    of what its unit adds to those before.
    """
    values, combination = np.empty((len(offset), len(states))), np.eye(len(offset))
    _evaluate(A, offset, np.ascontiguousarray(states), values)
    chosen = np.full(n, -1, np.int64)
    found = _orthonormalise(values, combination, chosen)
    if found < n:
        remedy = f"only {found} units are independent over the states that the teacher visits; lower it to that"
        raise ExperimentError([Problem("network.basis.size", str(n), remedy)])
    mean_square = float((values[chosen] ** 2).mean())
    return chosen, np.ascontiguousarray(combination[chosen][:, chosen]) / np.sqrt(mean_square)


@kernel
def _draw(key: Key, lowest: float, highest: float, offset: float, gains: Floats, offsets: Floats) -> None:
    for j in range(gains.size):
        a, b, c, d = philox(key, j, 0, 0, 0)
        gains[j] = lowest + (highest - lowest) * uniform53(a, b)
        offsets[j] = gains[j] * offset * (2.0 * uniform53(c, d) - 1.0)


@kernel
def _evaluate(A: Floats, offset: Floats, states: Floats, values: Floats) -> None:
    """Set values of shape (units, states)."""
    for j in range(values.shape[0]):
        for m in range(values.shape[1]):
            u = offset[j]
            for d in range(states.shape[1]):
                u += A[j, d] * states[m, d]
            values[j, m] = tanh(u)


@part
def _among(chosen: NDArray[np.int64], n: int, j: int) -> bool:
    found = False
    for k in range(n):
        found |= chosen[k] == j
    return found


@kernel
def _orthonormalise(values: Floats, combination: Floats, chosen: NDArray[np.int64]) -> int:
    """Gram and Schmidt's method, at each step with the unit that has most left; return how many were found.

    Parameters
    ----------
    values : ndarray of float64, shape (units, states)
        In place.
    combination : ndarray of float64, shape (units, units)
        Identity; afterwards, of the chosen, their coefficients.
    chosen : ndarray of int64, shape (N_b,)
        Which were chosen, in this order.
    """
    n_units, n_states = values.shape
    for r in range(chosen.size):
        best, most = -1, _LEAST
        for j in range(n_units):
            square = 0.0
            if not _among(chosen, r, j):
                for m in range(n_states):
                    square += values[j, m] * values[j, m]
                square /= n_states
            if square > most:
                best, most = j, square
        if best < 0:
            return r
        chosen[r] = best
        size = np.sqrt(most + _FLOOR)
        for m in range(n_states):
            values[best, m] /= size
        for k in range(n_units):
            combination[best, k] /= size
        for j in range(n_units):
            if not _among(chosen, r + 1, j):
                overlap = 0.0
                for m in range(n_states):
                    overlap += values[best, m] * values[j, m]
                overlap *= (most + _FLOOR) / (most * n_states)
                for m in range(n_states):
                    values[j, m] -= overlap * values[best, m]
                for k in range(n_units):
                    combination[j, k] -= overlap * combination[best, k]
    return chosen.size
