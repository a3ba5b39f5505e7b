"""Spike trains as arrays: counts in windows, rates, and what traces of them see.

Times are in ms, ids count from 0 within the population, an interval is (start, stop]: a spike on the grid belongs to
the step that ends at its time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]


def window_counts(
    times_ms: Array, ids: Counts, size: int, start_ms: float, stop_ms: float, window_ms: float
) -> Counts:
    """Count the spikes of each neuron in whole windows; what is left at the end is not used.

    Parameters
    ----------
    times_ms, ids : ndarray
        Spikes of one population [spikes].
    size : int
        n, neurons in the population, silent ones included.
    start_ms, stop_ms, window_ms : float
        Interval, burn-in left out, and width of a window [ms].

    Returns
    -------
    ndarray
        Counts [W, n].

    Raises
    ------
    ValueError
        If the interval does not hold one window.
    """
    windows = int((stop_ms - start_ms) / window_ms + 1e-9) if window_ms > 0 else 0
    if windows < 1:
        remedy = "shorten it" if window_ms > 0 else "make it positive"
        raise ValueError(f"window_ms = {window_ms:g} does not fit into {stop_ms - start_ms:g} ms; {remedy}")
    # Grid times are decimal fractions: a spike on an edge must not leave its window by rounding.
    window = np.ceil((times_ms - start_ms) / window_ms - 1e-9).astype(np.int64) - 1
    inside = (window >= 0) & (window < windows)
    flat = np.bincount(window[inside] * size + ids[inside], minlength=windows * size)
    return flat.reshape(windows, size)


def rates_hz(times_ms: Array, ids: Counts, size: int, start_ms: float, stop_ms: float) -> Array:
    """Rate of each neuron [n] in Hz; parameters as for `window_counts`."""
    counts = window_counts(times_ms, ids, size, start_ms, stop_ms, stop_ms - start_ms)[0]
    rates: Array = 1e3 / (stop_ms - start_ms) * counts
    return rates


def trace_average(
    trace_times_ms: Array,
    spike_times_ms: Array,
    pairs: int,
    decay: float,
    dt_ms: float,
    start_ms: float,
    stop_ms: float,
) -> float:
    r"""Average the product of a trace and a spike train, :math:`\langle x_a S_b \rangle`, over pairs of neurons.

    A trace jumps by one at a spike and decays by a factor d a step; spikes see it as it was before their own step, as
    in the simulation.

    Parameters
    ----------
    trace_times_ms, spike_times_ms : ndarray
        All spikes of population a, which leave the trace, from the start of the run; and of population b.
    pairs : int
        Number of ordered pairs (a, b).
    decay : float
        d, see `analysis.weights.decay_factor`.
    dt_ms : float
        Time step [ms].
    start_ms, stop_ms : float
        Interval of the average [ms].

    Returns
    -------
    float
        Average in kHz; dt d / (1 - d) r_a r_b for independent trains, which is tau r_a r_b for small steps.
    """
    steps = round(stop_ms / dt_ms) + 1
    spikes = np.bincount(np.rint(trace_times_ms / dt_ms).astype(np.int64), minlength=steps)[:steps]
    step = np.rint(spike_times_ms[(spike_times_ms > start_ms) & (spike_times_ms <= stop_ms)] / dt_ms).astype(np.int64)
    total = float(_decaying_sum(spikes, decay)[step].sum())
    return total / pairs / (stop_ms - start_ms)


def _decaying_sum(spikes: Counts, decay: float) -> Array:
    """Run x[n + 1] = decay (x[n] + spikes[n]), in chunks of ten time constants for accuracy."""
    x = np.empty(spikes.size)
    chunk = max(1, int(-10 / np.log(decay))) if decay > 0 else 1
    carried = 0.0
    for first in range(0, spikes.size, chunk):
        part = spikes[first : first + chunk]
        power = decay ** np.arange(part.size + 1)
        past = np.concatenate([[carried], carried + np.cumsum(part / power[:-1])])
        x[first : first + part.size] = past[:-1] * power[:-1]
        carried = float(past[-1] * power[-1])
    return x
