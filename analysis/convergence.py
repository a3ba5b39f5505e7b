"""How long a series takes to come to rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import curve_fit

Array = NDArray[np.float64]


def settling_time(times_ms: Array, values: Array, share: float = 0.05, last: float = 0.1) -> float:
    """Find the time from which a series stays near its end.

    Parameters
    ----------
    times_ms, values : ndarray
        Series [T].
    share : float
        How near: the band about the final value, as a share of the initial distance from it.
    last : float
        Share of the series whose mean is the final value.

    Returns
    -------
    float
        Time after the first sample [ms]; NaN for a series that has not been settled for twice its last part, or that
        never was away: whose initial distance is within three standard deviations of its last part.
    """
    ending = values[-max(2, round(last * len(values))) :]
    distance = np.abs(values - ending.mean())
    if distance[0] <= 3 * ending.std():
        return np.nan
    outside = np.flatnonzero(distance > share * distance[0])
    settled = int(outside[-1]) + 1
    return float(times_ms[settled] - times_ms[0]) if settled <= len(values) - 2 * len(ending) else np.nan


def relaxation_time(times_ms: Array, values: Array) -> tuple[float, float]:
    r"""Fit :math:`v(t) = v_\infty + (v_0 - v_\infty)\,e^{-t/\tau}` by least squares.

    Parameters
    ----------
    times_ms, values : ndarray
        Series [T], at least four samples.

    Returns
    -------
    tau_ms, final : float
        Time constant [ms] and final value; NaN if the series does not curve towards one: the fit does not converge,
        or the time constant is more than the series' length, which does not show it.

    Raises
    ------
    ValueError
        If there are fewer than four samples.
    """
    if len(times_ms) < 4:
        raise ValueError(f"{len(times_ms)} samples do not tell a time constant; record at least four")
    elapsed = times_ms - times_ms[0]

    def decay(t: Array, initial: float, final: float, tau: float) -> Array:
        curve: Array = final + (initial - final) * np.exp(-t / tau)
        return curve

    guess = (values[0], values[-1], elapsed[-1] / 5)
    bounds = ([-np.inf, -np.inf, elapsed[-1] * 1e-6], [np.inf, np.inf, elapsed[-1] * 1e3])
    try:
        (_, final, tau), _ = curve_fit(decay, elapsed, values, guess, bounds=bounds)
    except RuntimeError:
        return np.nan, np.nan
    return (float(tau), float(final)) if tau <= elapsed[-1] else (np.nan, np.nan)
