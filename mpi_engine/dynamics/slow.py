"""The slow connections of a coding network: the basis, its weights, the drift that they supply, and how they learn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel, part
from mpi_engine.dynamics.coding_recorders import Chosen
from mpi_engine.network.consensus import Consensus, fixed_point
from mpi_engine.network.mathematics import tanh

Floats = NDArray[np.float64]

UNHEALTHY = 4
"""Status word: a number left the range of the sums."""

ROWS = 4
"""Rows of the mixing that are added at a time, so that psi is read and written more rarely than they."""

_CACHE_LINE = 64


class Basis(NamedTuple):
    """Units of the basis on this rank: its block of them, or all where every weight is stored.

    A rank with n of the units has m = n of the functions that these are made of, or, if the basis is decorrelated, all
    up to that of its last unit.

    Parameters
    ----------
    A : ndarray of float64, shape (K, m)
        Structured: u = A x_h.
    dense : ndarray of float64, shape (N, n)
        Dense: what a spike of each neuron adds to u; without rows if the basis is structured.
    u, offset, bent : ndarray of float64, shape (m,)
        bent = tanh(u + offset), followed by zeros where `mixing` has more rows.
    mixing : ndarray of float64, shape (m + padding, n)
        The rank's columns of C^T and zeros, a multiple of `ROWS`; without rows if the basis is not decorrelated.
    psi : ndarray of float64, shape (n,)
        psi = C bent, or the same memory as bent.
    theta : ndarray of float64, shape (K, n)
        Factored weights; empty where every weight is stored.
    weights, exists : ndarray of float64, shape (N_b, n_neurons)
        Weights of all units onto the rank's neurons, and 1 where there is a synapse; empty where weights are factored.
    current, feedback : ndarray of float64, shape (n_neurons,)
        Where every weight is stored: the slow current that acts in the next step, and the feedback current of this one,
        divided by k.
    kept : ndarray of float64, shape (1,)
        Fraction of a weight that is left after a step.
    """

    A: Floats
    dense: Floats
    u: Floats
    offset: Floats
    bent: Floats
    mixing: Floats
    psi: Floats
    theta: Floats
    weights: Floats
    exists: Floats
    current: Floats
    feedback: Floats
    kept: Floats


def at_cache_line(values: Floats) -> Floats:
    """Copy a matrix to where a cache line begins: what is read anew in every step is then read a quarter faster."""
    room = np.zeros(values.size + _CACHE_LINE // values.itemsize)
    begin = -room.ctypes.data % _CACHE_LINE // values.itemsize
    copy = room[begin : begin + values.size].reshape(values.shape)
    copy[:] = values
    return copy


@part
def activate(basis: Basis, readout: Floats) -> None:
    """Set psi."""
    u, bent, offset = basis.u, basis.bent, basis.offset
    if basis.dense.shape[0] == 0:
        A = basis.A
        for j in range(u.size):
            u[j] = A[0, j] * readout[0]
        for d in range(1, readout.size):
            for j in range(u.size):
                u[j] += A[d, j] * readout[d]
    for j in range(u.size):
        bent[j] = tanh(u[j] + offset[j])
    if basis.mixing.shape[0] > 0:
        _mix(basis.psi, basis.mixing, bent, u.size - basis.psi.size)


@part
def _mix(psi: Floats, mixing: Floats, bent: Floats, before: int) -> None:
    """Set psi = C bent, in the order of the functions; C is triangular, with units of lower ranks before the rank's."""
    for k in range(psi.size):
        psi[k] = 0.0
    for j in range(0, bent.size, ROWS):
        begin = max(j - before, 0)
        rest = psi[begin:]
        a, b, c, d = mixing[j, begin:], mixing[j + 1, begin:], mixing[j + 2, begin:], mixing[j + 3, begin:]
        at_a, at_b, at_c, at_d = bent[j], bent[j + 1], bent[j + 2], bent[j + 3]
        for k in range(rest.size):
            rest[k] = (((rest[k] + a[k] * at_a) + b[k] * at_b) + c[k] * at_c) + d[k] * at_d


@part
def sum_drift(basis: Basis, c: Consensus) -> int:
    """Sum the drift of the rank's units; return UNHEALTHY if a term leaves the range."""
    theta, psi, limit = basis.theta, basis.psi, c.limit[0]
    outside = np.int64(0)
    for d in range(theta.shape[0]):
        total = np.int64(0)
        for j in range(psi.size):
            term = theta[d, j] * psi[j]
            outside += not abs(term) <= limit
            total += fixed_point(term, limit)
        c.outbox[2 + d] = total
    return UNHEALTHY if outside > 0 else 0


@part
def learn_factored(basis: Basis, error: Floats, rate: float) -> None:
    """Change Theta by rate psi e^T."""
    theta, psi, kept = basis.theta, basis.psi, basis.kept[0]
    for d in range(theta.shape[0]):
        step = rate * error[d]
        for j in range(psi.size):
            theta[d, j] = kept * theta[d, j] + step * psi[j]


@part
def learn_synapses(basis: Basis, rate: float) -> None:
    """Sum each neuron's slow current; then change its weights by its own feedback current and the units' activity."""
    weights, exists, psi, kept = basis.weights, basis.exists, basis.psi, basis.kept[0]
    current, feedback = basis.current, basis.feedback
    for i in range(current.size):
        current[i] = 0.0
    for j in range(psi.size):
        step = rate * psi[j]
        for i in range(current.size):
            current[i] += weights[j, i] * psi[j]
        if rate != 0.0 or kept != 1.0:
            for i in range(current.size):
                weights[j, i] = kept * weights[j, i] + step * (feedback[i] * exists[j, i])


@part
def sum_excitation(basis: Basis, vectors: Floats, chosen: Chosen, c: Consensus) -> int:
    """Sum the excitatory part of the slow currents of chosen neurons, of any rank or, by synapse, of this one."""
    K, limit, outside = vectors.shape[1], c.limit[0], np.int64(0)
    for k in range(chosen.ids.size):
        total = np.int64(0)
        mine = chosen.begin <= k < chosen.begin + chosen.local.size
        for j in range(basis.psi.size):
            weight = 0.0
            if basis.weights.shape[0] == 0:
                for d in range(K):
                    weight += vectors[chosen.ids[k], d] * basis.theta[d, j]
            elif mine:
                weight = basis.weights[j, chosen.local[k - chosen.begin]]
            term = max(weight * basis.psi[j], 0.0)
            outside += not term <= limit
            total += fixed_point(term, limit)
        c.outbox[2 + K + k] = total
    return UNHEALTHY if outside > 0 else 0


@kernel
def sum_drift_at(basis: Basis, states: Floats, limit: float, sums: NDArray[np.int64]) -> None:
    """Sum the drift of the rank's units at given states of shape (M, K), in fixed point; psi is room for it."""
    for m in range(states.shape[0]):
        activate(basis, states[m])
        for d in range(basis.theta.shape[0]):
            sums[m, d] = 0
            for j in range(basis.psi.size):
                sums[m, d] += fixed_point(basis.theta[d, j] * basis.psi[j], limit)
