"""The schema of what a coding network records, beside its spikes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpi_engine.output.layout import Record, common

CODING = "/coding"
"""Group of everything; states are in the network's units, (x - offset) / scale of the teacher, currents in the square
of these a second."""

_UNITS = {"x": "", "xhat": "", "error": "", "input": "1/s"}


def network(
    decoder: NDArray[Any], A: NDArray[Any], offset: NDArray[Any], mixing: NDArray[Any], mine: bool
) -> list[Record]:
    """Record what a network is made of.

    Parameters
    ----------
    decoder : ndarray of float, shape (N, K)
        Decoding vectors.
    A : ndarray of float, shape (N_b, K)
        Gains times directions of the basis.
    offset : ndarray of float, shape (N_b,)
        theta of the basis.
    mixing : ndarray of float, shape (N_b, N_b)
        C of a decorrelated basis; shape (0, 0) of another.
    mine : bool
        Whether this rank writes what every rank knows.
    """
    values = {"decoder": decoder, "A": A, "offset": offset} | ({"mixing": mixing} if mixing.size else {})
    return [common(f"{CODING}/network/{name}", array, mine, grows=False) for name, array in values.items()]


def state(start_ms: float, interval_ms: float, values: Mapping[str, NDArray[Any]], mine: bool) -> list[Record]:
    """Record time series of teacher, readout, error and input.

    Parameters
    ----------
    start_ms, interval_ms : float
        Time of the segment's first sample, also if it has none, and time between samples [ms].
    values : mapping of str to ndarray of float, shape (T, K)
        Each series.
    mine : bool
        Whether this rank writes what every rank knows.
    """
    time = {"start_ms": float(start_ms), "interval_ms": float(interval_ms)}
    return [
        common(f"{CODING}/state/{name}", array, mine, units=_UNITS[name], group_attributes=time)
        for name, array in values.items()
    ]


def currents(
    start_ms: float, interval_ms: float, node_ids: NDArray[Any], first: int, values: Mapping[str, NDArray[Any]]
) -> list[Record]:
    """Record V and currents of chosen neurons.

    Parameters
    ----------
    start_ms, interval_ms : float
        See `state`.
    node_ids : ndarray of int, shape (E,)
        All chosen neurons, ascending.
    first : int
        Index among them of this rank's first.
    values : mapping of str to ndarray of float, shape (T, n)
        Samples of this rank's n chosen neurons.
    """
    group = f"{CODING}/currents"
    time = {"start_ms": float(start_ms), "interval_ms": float(interval_ms)}
    return [
        *(
            Record(f"{group}/{name}", (array.shape[0], node_ids.size), array.dtype, True, (0, first), array,
                   group_attributes=time)
            for name, array in values.items()
        ),
        common(f"{group}/node_ids", np.asarray(node_ids, np.uint64), first == 0 and bool(values["V"].shape[1]),
               grows=False),
    ]


def slow_weights(
    name: str, time_ms: NDArray[Any], values: NDArray[Any], start: tuple[int, ...], shape: tuple[int, ...],
    drift_error: NDArray[Any] | None, mine: bool,
) -> list[Record]:
    """Record slow weights, and how far the learned drift is from the teacher's.

    Parameters
    ----------
    name : {"theta", "W"}
        Factored weights, by unit and dimension; or those of all synapses, by unit and neuron.
    time_ms : ndarray of float, shape (S,)
        Times [ms].
    values : ndarray of float, shape (S, n, m)
        This rank's part.
    start, shape : tuple of int
        Where it begins, and the shape of the whole, at each time.
    drift_error : ndarray of float, shape (S,), optional
        Relative root mean square error of the drift.
    mine : bool
        Whether this rank writes what every rank knows.
    """
    group = f"{CODING}/slow_weights"
    whole = (values.shape[0], *shape)
    records = [
        common(f"{group}/time_ms", time_ms, mine, units="ms"),
        Record(f"{group}/{name}", whole, values.dtype, True, (0, *start), values, {"units": "1/s"}),
    ]
    if drift_error is not None:
        records.append(common(f"{group}/drift_error", drift_error, mine))
    return records
