"""Recorders: what a step leaves in memory for the run file.

Sums over neurons are 64-bit integers in fixed point, so that they are exact and do not depend on how neurons are cut
over ranks; sums over time are float64, one a neuron.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import Real, part
from mpi_engine.dynamics.neurons import Population
from mpi_engine.network.exchange import Exchange
from mpi_engine.network.mathematics import bits_of_float64

FIXED_POINT = 2.0**20
"""Units of a population sum in 1 mV or 1 mV/ms."""

_SHIFT = 1.5 * 2.0**52 / FIXED_POINT

_LARGEST = 2.0**22
"""Values are clipped to this in population sums, which leaves room for 2^21 samples of neurons."""


class Clock(NamedTuple):
    """When recorders are due, in steps; zero where one is off.

    Parameters
    ----------
    sample : int
        Between samples of V and currents.
    bin : int
        Width of a bin.
    first_bin : int
        The bin that row 0 of the bins' arrays holds.
    averaging : int
        Whether per-neuron statistics are being accumulated.
    """

    sample: int
    bin: int
    first_bin: int
    averaging: int


class SpikeRecord(NamedTuple):
    """Spikes of a population since the last segment: every rank keeps all, and writes a slice.

    Parameters
    ----------
    steps, ids : ndarray of int32, shape (capacity,)
        When, and who.
    kept : ndarray of int64, shape (1,)
        How many.
    """

    steps: NDArray[np.int32]
    ids: NDArray[np.int32]
    kept: NDArray[np.int64]


class Observations(NamedTuple):
    """What is observed of a rank's neurons of a population: V, each synaptic current or conductance, the total current.

    Parameters
    ----------
    total : ndarray, shape (n,)
        Room for the total current.
    spike_count : ndarray of int64, shape (n,)
        Spikes in this block of the statistics.
    sums, squares : ndarray of float64, shape (n_variables, n)
        Sums of samples and of their squares in this block.
    samples : ndarray of int64, shape (1,)
        Number of samples in this block.
    binned : ndarray of int64, shape (n_rows, n_variables)
        Sums over samples and neurons in each bin, in fixed point.
    traced : ndarray of int32, shape (n_traced,)
        Local indices of neurons whose time series are kept.
    trace_interval : ndarray of int64, shape (2,)
        Steps between their samples, and the sample that row 0 of `traces` holds.
    traces : ndarray, shape (n_rows, n_variables, n_traced)
        The time series.
    """

    total: NDArray[np.float32]
    spike_count: NDArray[np.int64]
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]
    samples: NDArray[np.int64]
    binned: NDArray[np.int64]
    traced: NDArray[np.int32]
    trace_interval: NDArray[np.int64]
    traces: NDArray[np.float32]


@part
def observe(o: Observations, population: Population, clock: Clock, n: int) -> None:
    """Sample V after a step and before the reset, at most the threshold, and the currents that acted in the step.

    The total current takes a conductance at this V.
    """
    for k in range(population.n_fired[0]):
        o.spike_count[population.fired[k]] += clock.averaging
    sampled = clock.sample > 0 and n % clock.sample == 0
    traced = o.trace_interval[0] > 0 and n % o.trace_interval[0] == 0
    if not (sampled or traced):
        return
    V, currents, drive, total = population.V, population.currents, population.drive, o.total
    n_variables = 2 + currents.shape[0]
    if sampled:
        for i in range(total.size):
            total[i] = drive[i]
        for kind in range(currents.shape[0]):
            _add_current(total, currents[kind], population.reversal[kind], V)
        row = (n - 1) // clock.bin - clock.first_bin if clock.bin > 0 else 0
        o.samples[0] += clock.averaging
        _sample(o, V, 0, row, clock)
        for kind in range(currents.shape[0]):
            _sample(o, currents[kind], 1 + kind, row, clock)
        _sample(o, total, n_variables - 1, row, clock)
    if traced:
        row = n // o.trace_interval[0] - 1 - o.trace_interval[1]
        for k in range(o.traced.size):
            i = o.traced[k]
            o.traces[row, 0, k] = V[i]
            o.traces[row, n_variables - 1, k] = drive[i]
            for kind in range(currents.shape[0]):
                o.traces[row, 1 + kind, k] = currents[kind, i]
                reversal = population.reversal[kind]
                towards = currents[kind, i] if np.isnan(reversal) else currents[kind, i] * (reversal - V[i])
                o.traces[row, n_variables - 1, k] += towards


@part
def _add_current(
    total: NDArray[np.float32], current: NDArray[np.float32], reversal: Real, V: NDArray[np.float32]
) -> None:
    if np.isnan(reversal):
        for i in range(total.size):
            total[i] += current[i]
    else:
        for i in range(total.size):
            total[i] += current[i] * (reversal - V[i])


@part
def _sample(o: Observations, values: NDArray[np.float32], variable: int, row: int, clock: Clock) -> None:
    if clock.averaging:
        _accumulate(values, o.sums[variable], o.squares[variable])
    if clock.bin > 0:
        o.binned[row, variable] += fixed_point_sum(values)


@part
def _accumulate(values: NDArray[np.float32], sums: NDArray[np.float64], squares: NDArray[np.float64]) -> None:
    for i in range(values.size):
        value = np.float64(values[i])
        sums[i] += value
        squares[i] += value * value


@part
def fixed_point_sum(values: NDArray[np.float32]) -> np.int64:
    """Sum values as integers in units of 1 / `FIXED_POINT`, which is exact in any order."""
    whole = np.int64(0)
    for i in range(values.size):
        # far above the value, a float64 is spaced by one unit: adding rounds to it, and leaves it in the low bits
        clipped = min(max(np.float64(values[i]), -_LARGEST), _LARGEST)
        whole += bits_of_float64(clipped + _SHIFT) - bits_of_float64(_SHIFT)
    return whole


@part
def keep_spikes(record: SpikeRecord, x: Exchange, index: int, n: int) -> None:
    """Append the spikes of a step."""
    end = record.kept[0]
    for k in range(x.offsets[index], x.offsets[index + 1]):
        record.steps[end] = n
        record.ids[end] = x.fired[k]
        end += 1
    record.kept[0] = end


@part
def has_room(record: SpikeRecord, most: int) -> bool:
    """Whether another step fits in."""
    return record.kept[0] + most <= record.steps.size


@part
def count_spikes(
    counts: NDArray[np.int64], progress: NDArray[np.int64], x: Exchange, index: int, clock: Clock, n: int
) -> None:
    """Add the spikes of a step to the population's bin, and to its total since the start."""
    n_spikes = x.offsets[index + 1] - x.offsets[index]
    progress[1 + index] += n_spikes
    if clock.bin > 0:
        counts[(n - 1) // clock.bin - clock.first_bin, index] += n_spikes
