"""Recorders of a coding network: what a step leaves in memory for the run file."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import part
from mpi_engine.dynamics.recorders import SpikeRecord

Floats = NDArray[np.float64]

STATE = ("x", "xhat", "error", "input")
"""What is sampled of the code, of K dimensions each."""

CURRENTS = ("V", "slow_E", "slow_I", "lateral_E", "lateral_I", "external")
"""What is sampled of a chosen neuron: V, and currents."""


class Samples(NamedTuple):
    """Time series of teacher and readout.

    Parameters
    ----------
    interval : ndarray of int64, shape (2,)
        Steps between samples (0: none), and the sample that row 0 of `values` holds.
    values : ndarray of float64, shape (n_rows, 4, K)
        As named by `STATE`.
    """

    interval: NDArray[np.int64]
    values: Floats


class Chosen(NamedTuple):
    """Time series of chosen neurons.

    Parameters
    ----------
    interval : ndarray of int64, shape (2,)
        See `Samples`.
    ids : ndarray of int64, shape (n_chosen,)
        All chosen neurons, of any rank.
    begin : int
        Index among them of the rank's first.
    local : ndarray of int64, shape (n_mine,)
        Index of the rank's chosen neurons among its neurons.
    lateral : ndarray of float64, shape (2, n_mine)
        Excitation and inhibition by lateral spikes, low-pass filtered.
    tau : ndarray of float64, shape (2,)
        Time constant of the filter [s], and its decay in a step.
    values : ndarray of float64, shape (n_rows, 6, n_mine)
        As named by `CURRENTS`.
    """

    interval: NDArray[np.int64]
    ids: NDArray[np.int64]
    begin: int
    local: NDArray[np.int64]
    lateral: Floats
    tau: Floats
    values: Floats


@part
def is_due(interval: NDArray[np.int64], n: int) -> bool:
    """Whether a sample is taken after a step."""
    return interval[0] > 0 and n % interval[0] == 0


@part
def sample_state(samples: Samples, x: Floats, readout: Floats, c: Floats, n: int) -> None:
    """Sample teacher, readout and error after a step, and the input that acted in it."""
    if is_due(samples.interval, n):
        values = samples.values[n // samples.interval[0] - 1 - samples.interval[1]]
        for d in range(readout.size):
            values[0, d] = x[d]
            values[1, d] = readout[d]
            values[2, d] = x[d] - readout[d]
            values[3, d] = c[d]


@part
def note_lateral(chosen: Chosen, vectors: Floats, gid: int) -> None:
    """Add a spike to the lateral currents of the rank's chosen neurons other than its own."""
    for k in range(chosen.local.size):
        other = chosen.ids[chosen.begin + k]
        if other != gid:
            overlap = 0.0
            for d in range(vectors.shape[1]):
                overlap += vectors[other, d] * vectors[gid, d]
            chosen.lateral[1 if overlap > 0 else 0, k] -= overlap / chosen.tau[0]


@part
def fade_lateral(chosen: Chosen) -> None:
    """Let the filtered lateral currents decay by a step."""
    for k in range(chosen.local.size):
        chosen.lateral[0, k] *= chosen.tau[1]
        chosen.lateral[1, k] *= chosen.tau[1]


@part
def sample_currents(
    chosen: Chosen, V: Floats, excitation: Floats, net: Floats, external: Floats, vectors: Floats, n: int
) -> None:
    """Sample the rank's chosen neurons.

    Parameters
    ----------
    chosen : Chosen
        Where to.
    V : ndarray
        Of the rank's neurons.
    excitation : ndarray, shape (n_chosen,)
        Excitatory part of the slow currents of all chosen neurons.
    net : ndarray, shape (n_mine,)
        Slow currents of the rank's chosen neurons.
    external : ndarray, shape (K,)
        Input and feedback.
    vectors : ndarray, shape (N, K)
        Decoding vectors.
    n : int
        The step.
    """
    values = chosen.values[n // chosen.interval[0] - 1 - chosen.interval[1]]
    for k in range(chosen.local.size):
        outer = 0.0
        for d in range(external.size):
            outer += vectors[chosen.ids[chosen.begin + k], d] * external[d]
        values[0, k] = V[chosen.local[k]]
        values[1, k] = excitation[chosen.begin + k]
        values[2, k] = net[k] - excitation[chosen.begin + k]
        values[3, k] = chosen.lateral[0, k]
        values[4, k] = chosen.lateral[1, k]
        values[5, k] = outer


@part
def keep(record: SpikeRecord, fired: NDArray[np.int64], count: int, n: int) -> None:
    """Append the spikes of a step, in ascending order of ids; a record without room keeps none."""
    if record.steps.size == 0:
        return
    begin = record.kept[0]
    for k in range(count):
        place = begin + k
        while place > begin and record.ids[place - 1] > fired[k]:
            record.ids[place] = record.ids[place - 1]
            place -= 1
        record.ids[place] = fired[k]
        record.steps[begin + k] = n
    record.kept[0] = begin + count
