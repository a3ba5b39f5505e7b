"""Correlated spike trains for simulators that have none."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def make_trains(source: dict[str, Any], description: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Copy the spikes of a mother process to each train, with a probability, jittered.

    Parameters
    ----------
    source : dict
        The input: size, rate_hz, correlation, jitter_ms.
    description : dict
        The workload: dt_ms, duration_ms, seed.

    Returns
    -------
    times_ms : ndarray of float
        Times [ms], whole multiples of the time step, at most one spike a train and step.
    ids : ndarray of int
        Trains.
    """
    rng = np.random.default_rng(description["seed"])
    duration_ms, dt_ms, share = description["duration_ms"], description["dt_ms"], source["correlation"]
    mother_ms = rng.uniform(0.0, duration_ms, rng.poisson(source["rate_hz"] / share * 1e-3 * duration_ms))
    spike, train = np.nonzero(rng.random((mother_ms.size, source["size"])) < share)
    steps = np.rint((mother_ms[spike] + rng.normal(0.0, source["jitter_ms"], spike.size)) / dt_ms).astype(np.int64)
    inside = (steps >= 0) & (steps < round(duration_ms / dt_ms))
    once = np.unique(np.stack([steps[inside], train[inside]]), axis=1)
    return once[0] * dt_ms, once[1]
