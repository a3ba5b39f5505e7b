"""What is measured in the networks of the study: how well they do what they have learned, and with which spikes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.coding import CodingRun
from analysis.orbits import (
    orbit_distance,
    prediction_horizon_s,
    return_map_distance,
    root_mean_square_error,
    size_of,
    switch_rate_hz,
)
from analysis.studies.study import finished
from analysis.sweeps import Sweep
from mpi_engine.output.coding_reader import open_coding_run

Floats = NDArray[np.float64]


def coding_runs(sweep: Sweep) -> list[CodingRun]:
    """Open the runs of a sweep as those of coding networks, in the order of their seeds, if all have finished."""
    return [_open(run.directory) for run in finished(sweep.runs.values())]


@cache     # many claims ask for it, and keep what they have read
def _open(directory: Path) -> CodingRun:
    return CodingRun(open_coding_run(directory))


def horizons_s(run: CodingRun) -> list[float]:
    """Measure how long each free run stays within 0.3 of the teacher [s]."""
    return [prediction_horizon_s(s.xhat, s.x, s.interval_s) for s in run.stretches("run")]


@dataclass(frozen=True)
class Attractor:
    """How like the teacher's an attractor is.

    Parameters
    ----------
    spread : float
        Largest relative error of a coordinate's standard deviation.
    distances : ndarray of float, shape (R,)
        Of the return map of the maxima of z in each free run from the teacher's in all of them; NaN without maxima. A
        fixed point, which never switches, may have a small one too.
    switch_rates_hz : ndarray of float, shape (R,)
        Rate at which x changes sign in each free run [Hz].
    """

    spread: float
    distances: Floats
    switch_rates_hz: Floats


def attractor(run: CodingRun) -> Attractor:
    """Measure the attractor on which the free runs move."""
    free = list(run.stretches("run"))
    x, xhat = (np.concatenate(parts) for parts in ([s.x for s in free], [s.xhat for s in free]))
    spread = float(np.abs(xhat.std(axis=0) / x.std(axis=0) - 1).max())
    truth = [s.x[:, 2] for s in free]
    distances = np.array([return_map_distance([s.xhat[:, 2]], truth) for s in free])
    return Attractor(spread, distances, np.array([switch_rate_hz(s.xhat[:, 0], s.interval_s) for s in free]))


def orbit_error(run: CodingRun) -> float:
    """Measure how far the orbit of the free run's second half is from the teacher's, over the size of that."""
    (free,) = run.stretches("run")
    return orbit_distance(free.xhat[len(free.x) // 2 :], free.x) / size_of(free.x)


@dataclass(frozen=True)
class States:
    """Where a network with two states is just before the next pulse of its input.

    Parameters
    ----------
    correct, pulses : int
        How many states are the teacher's, of how many.
    low, high : float
        The two mean states; NaN if it is never there.
    """

    correct: int
    pulses: int
    low: float
    high: float


def states(run: CodingRun) -> States:
    """Measure the states of the one free run."""
    (free,) = run.stretches("run")
    on = np.abs(free.input[:, 0]) > 0
    before = np.append(np.flatnonzero(~on[:-1] & on[1:]), len(on) - 1)     # last sample before each pulse
    found, truth = free.xhat[before[1:], 0], free.x[before[1:], 0]
    correct = np.sign(found) == np.sign(truth)
    low, high = (float(side.mean()) if side.size else np.nan for side in (found[found < 0], found[found > 0]))
    return States(int(correct.sum()), correct.size, low, high)


def tracking_error(run: CodingRun) -> float:
    """Measure the error of the readout while it is fed back."""
    sync = next(run.stretches("synchronise"))
    return root_mean_square_error(sync.xhat, sync.x)


def poisson_error(run: CodingRun) -> float:
    """Compute the error that Poisson neurons of the same rates would have then."""
    return run.poisson_error(next(run.stretches("synchronise")).stage)


def free_error(run: CodingRun) -> float:
    """Measure the error of the first free run."""
    free = next(run.stretches("run"))
    return root_mean_square_error(free.xhat, free.x)


def free_rate_hz(run: CodingRun) -> float:
    """Measure the mean rate of a neuron in the first free run [Hz]."""
    return run.rate_hz(next(run.stretches("run")).stage)


def survivors(run: CodingRun) -> int:
    """Count the neurons that spike in free runs."""
    return len({int(i) for stretch in run.stretches("run") for i in np.unique(run.spike_times_ms(stretch.stage)[1])})


def readout_scatter(run: CodingRun) -> float:
    """Measure the standard deviation of the readout over free runs at a time, in lengths of a decoding vector."""
    trials = np.array([free.xhat for free in run.stretches("run")])
    spread = np.sqrt(trials.var(axis=0, ddof=1).mean())
    return float(spread / np.linalg.norm(run.reader.network()["decoder"][0]))
