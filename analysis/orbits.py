"""How well a free-running system does what its teacher does: states, cycles, strange attractors.

Trajectories have shape (T, K): samples at regular times, of the dynamics to be judged and of the true ones. Where the
two must not be compared at the same time, for a phase drifts and chaos forgets, what is compared does not depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import wasserstein_distance

Floats = NDArray[np.float64]


def size_of(truth: Floats) -> float:
    """Size of an attractor: root mean square distance from its mean, or from the origin if it is a point."""
    spread = float(np.sqrt(((truth - truth.mean(axis=0)) ** 2).sum(axis=1).mean()))
    return spread if spread > 1e-3 else float(np.sqrt((truth**2).sum(axis=1).mean()))


def root_mean_square_error(measured: Floats, truth: Floats) -> float:
    """Root mean square of the distance between two trajectories at the same times."""
    return float(np.sqrt(((measured - truth) ** 2).sum(axis=1).mean()))


def orbit_distance(measured: Floats, truth: Floats) -> float:
    """Distance between two sets of states, whatever the times.

    Returns
    -------
    float
        The larger of the root mean square distances of the states of one from the nearest of the other.
    """
    there, _ = cKDTree(truth).query(measured)
    back, _ = cKDTree(measured).query(truth)
    return float(np.sqrt(max((there**2).mean(), (back**2).mean())))


@dataclass(frozen=True)
class Cycle:
    """A periodic motion.

    Parameters
    ----------
    period_s : float
        Mean time between upward crossings of the mean [s]; NaN with fewer than two.
    amplitude : ndarray of float, shape (K,)
        Half the distance between the mean maximum and the mean minimum in a period.
    """

    period_s: float
    amplitude: Floats


def find_cycle(x: Floats, interval_s: float) -> Cycle:
    """Measure period and amplitude of the first coordinate's oscillation, and the amplitudes of the others.

    Parameters
    ----------
    x : ndarray of float, shape (T, K)
        A trajectory.
    interval_s : float
        Time between samples [s].
    """
    begins = _upward(x[:, 0] - x[:, 0].mean(), 0.3 * x[:, 0].std())
    if len(begins) < 2:
        return Cycle(np.nan, np.full(x.shape[1], np.nan))
    period = (begins[-1] - begins[0]) / (len(begins) - 1) * interval_s
    parts = [x[a:b] for a, b in pairwise(begins)]
    high, low = (np.mean([function(part, axis=0) for part in parts], axis=0) for function in (np.max, np.min))
    return Cycle(float(period), (high - low) / 2)


def _upward(x: Floats, hysteresis: float) -> list[int]:
    """Samples at which x rises above the hysteresis after having been below its negative."""
    state = np.where(x > hysteresis, 1, np.where(x < -hysteresis, -1, 0))
    known = np.flatnonzero(state)
    return [int(b) for a, b in pairwise(known) if state[a] < 0 < state[b]]


def switch_rate_hz(x: Floats, interval_s: float) -> float:
    """Rate at which a coordinate of shape (T,) changes sign [Hz], small excursions to the other side left out."""
    hysteresis = 0.3 * float(x.std())
    return (len(_upward(x, hysteresis)) + len(_upward(-x, hysteresis))) / (len(x) * interval_s)


def maxima(x: Floats, window: int = 25) -> Floats:
    """Heights of the maxima of a coordinate of shape (T,): those that are highest among the samples around them.

    Parameters
    ----------
    x : ndarray of float, shape (T,)
        Smoothed over half the window first, for a readout is rough.
    window : int
        Samples to either side.
    """
    width = max(window // 2, 1)
    smooth = np.convolve(x, np.ones(width) / width, mode="valid")
    middle = smooth[window:-window]
    around = np.lib.stride_tricks.sliding_window_view(smooth, 2 * window + 1)
    heights: Floats = middle[around.argmax(axis=1) == window]     # the first of equal ones
    return heights


def return_map_distance(measured: Sequence[Floats], truth: Sequence[Floats], window: int = 25) -> float:
    """Mean distance of the measured return map of maxima from the true one; NaN without maxima.

    Parameters
    ----------
    measured, truth : sequence of ndarray of float, shape (T,)
        A coordinate in each of several runs: no maximum returns to one of another run.
    window : int
        See `maxima`.
    """
    maps = [[maxima(x, window) for x in runs] for runs in (measured, truth)]
    points = [np.concatenate([np.column_stack([heights[:-1], heights[1:]]) for heights in runs]) for runs in maps]
    if min(map(len, points)) < 2:
        return float("nan")
    distance, _ = cKDTree(points[1]).query(points[0])
    return float(distance.mean())


def marginal_distances(measured: Floats, truth: Floats) -> Floats:
    """Wasserstein distance of the distributions of each coordinate, in standard deviations of the truth; shape (K,)."""
    pairs = zip(measured.T, truth.T, strict=True)
    return np.array([wasserstein_distance(m, t) / t.std() for m, t in pairs])


def prediction_horizon_s(measured: Floats, truth: Floats, interval_s: float, tolerance: float = 0.3) -> float:
    """Time until two trajectories are farther apart than a tolerance [s]; their length if they never are."""
    far = np.sqrt(((measured - truth) ** 2).sum(axis=1)) > tolerance
    return float((np.argmax(far) if far.any() else len(far)) * interval_s)


def settled_states(measured: Sequence[Floats], truth: Sequence[Floats]) -> tuple[float, Floats]:
    """Compare where trajectories end up, each by the mean of its last tenth.

    Returns
    -------
    correct : float
        Fraction that ends nearer to the true end than to that of any other trajectory which ends elsewhere.
    distance : ndarray of float, shape (n,)
        From the true end.
    """
    ends, true_ends = (np.array([x[-max(len(x) // 10, 1) :].mean(axis=0) for x in xs]) for xs in (measured, truth))
    nearest = np.linalg.norm(ends[:, None] - true_ends[None], axis=2).argmin(axis=1)
    size = max(float(np.abs(true_ends).max()), 1e-12)
    same = np.linalg.norm(true_ends[nearest] - true_ends, axis=1) < 0.1 * size
    return float(same.mean()), np.linalg.norm(ends - true_ends, axis=1)
