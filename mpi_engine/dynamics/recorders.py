"""Recorders: what a step leaves in memory for the run file.

Sums over neurons are 64-bit integers in fixed point, so that they are exact and do not depend on how neurons are cut
over ranks; sums over time are float64, one a neuron.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import Real, inlined, part
from mpi_engine.dynamics.neurons import Population
from mpi_engine.network.exchange import Exchange
from mpi_engine.network.mathematics import bits_of_float64

_LARGEST = 2.0**42
"""Values are clipped to so many units in population sums, which leaves room for 2^21 samples of neurons."""


class Clock(NamedTuple):
    """When recorders are due, in steps; zero where one is off.

    Parameters
    ----------
    sample : int
        Between the samples of V and currents that enter bins.
    bin : int
        Width of a bin.
    first_bin : int
        The bin that row 0 of the bins' arrays holds.
    statistics : int
        Between the samples that enter per-neuron statistics; zero until these begin.
    average : int
        How many samples are averaged before their variance is taken.
    """

    sample: int
    bin: int
    first_bin: int
    statistics: int
    average: int


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
    """What is observed of a rank's neurons of a population, in the order of `Experiment.variables_of`.

    Parameters
    ----------
    total : ndarray, shape (n,)
        Room for the total current.
    conductance : ndarray, shape (n,)
        Room for the total conductance; empty where no synapse is a conductance.
    spike_count : ndarray of int64, shape (n,)
        Spikes in this block of the statistics.
    window : ndarray of float64, shape (n_variables, n)
        Sums of the samples that are being averaged.
    collected : ndarray of int64, shape (1,)
        Number of samples in it.
    sums, squares : ndarray of float64, shape (n_variables, n)
        Sums of averaged samples and of their squares in this block. A variance of 4 mV^2 about -65 mV is a difference
        of numbers 1000 times larger, which costs three of float64's sixteen digits.
    joint : ndarray of float64, shape (3, n)
        Sums of V times total conductance, of their joint distance from `centre`, and of 1 / conductance.
    centre : ndarray of float64, shape (2, n)
        Mean V and total conductance of the block before; NaN in the first.
    samples : ndarray of int64, shape (1,)
        Number of averaged samples in this block.
    unit : ndarray of float64, shape (n_variables,)
        Of each variable in the bins' sums, a power of two.
    member : ndarray of uint8, shape (n_subpopulations, n)
        Whether a neuron belongs to each subpopulation that has bins of its own.
    binned : ndarray of int64, shape (n_rows, 1 + n_subpopulations, n_variables)
        Sums over samples and neurons in each bin, of the population and of each subpopulation, in units.
    member_spikes : ndarray of int64, shape (n_rows, n_subpopulations)
        Spikes of this rank's members in each bin.
    """

    total: NDArray[np.float32]
    conductance: NDArray[np.float32]
    spike_count: NDArray[np.int64]
    window: NDArray[np.float64]
    collected: NDArray[np.int64]
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]
    joint: NDArray[np.float64]
    centre: NDArray[np.float64]
    samples: NDArray[np.int64]
    unit: NDArray[np.float64]
    member: NDArray[np.uint8]
    binned: NDArray[np.int64]
    member_spikes: NDArray[np.int64]


class TraceRecord(NamedTuple):
    """Time series of chosen neurons of a population or subpopulation.

    Parameters
    ----------
    chosen : ndarray of int32, shape (n_chosen,)
        Their local indices.
    interval : ndarray of int64, shape (2,)
        Steps between samples, and the sample that row 0 of `values` holds.
    values : ndarray, shape (n_rows, n_variables, n_chosen)
        Variables in the order of `Experiment.variables_of`.
    """

    chosen: NDArray[np.int32]
    interval: NDArray[np.int64]
    values: NDArray[np.float32]


@inlined
def observe(o: Observations, population: Population, clock: Clock, n: int) -> None:
    """Sample V after a step and before the reset, at most the threshold, and the currents that acted in the step.

    The total current takes a conductance at this V; the total conductance has the leak in it.
    """
    row = (n - 1) // clock.bin - clock.first_bin if clock.bin > 0 else 0
    _count(o, population, clock, row)
    binned = clock.bin > 0 and n % clock.sample == 0
    averaged = clock.statistics > 0 and n % clock.statistics == 0
    if binned or averaged:
        _sample(o, population, clock, row, binned, averaged)


@part
def _sample(o: Observations, population: Population, clock: Clock, row: int, binned: bool, averaged: bool) -> None:
    """Take a sample of every neuron into the row of a bin, the statistics, or both."""
    _add_up(o, population)
    alone = averaged and clock.average == 1
    collected = averaged and not alone
    n_kinds, first = population.currents.shape[0], np.int64(0)    # numba would compile anew for the number itself
    _note(o, first, population.V, row, binned, collected, alone)
    for kind in range(n_kinds):
        _note(o, 1 + kind, population.currents[kind], row, binned, collected, alone)
    _note(o, n_kinds + 1, o.total, row, binned, collected, alone)
    if population.V_free.size > 0:
        _note(o, n_kinds + 2, population.V_free, row, binned, collected, alone)
    if o.conductance.size > 0:
        _note(o, o.unit.size - 1, o.conductance, row, binned, collected, alone)
    if alone:
        _take_joint_sample(o, population.V, o.conductance, 1.0)
    elif averaged:
        o.collected[0] += 1
        if o.collected[0] == clock.average:
            _take_average(o)


@inlined
def _count(o: Observations, population: Population, clock: Clock, row: int) -> None:
    for k in range(population.n_fired[0]):
        neuron = population.fired[k]
        if clock.statistics > 0:
            o.spike_count[neuron] += 1
        if clock.bin > 0:
            for group in range(o.member.shape[0]):
                o.member_spikes[row, group] += o.member[group, neuron]


@part
def _add_up(o: Observations, population: Population) -> None:
    """Set the total current and the total conductance of every neuron."""
    V, total, conductance = population.V, o.total, o.conductance
    for i in range(total.size):
        total[i] = population.drive[i]
    for i in range(conductance.size):
        conductance[i] = population.leak[i]
    for kind in range(population.currents.shape[0]):
        current, reversal = population.currents[kind], population.reversal[kind]
        if np.isnan(reversal):
            for i in range(total.size):
                total[i] += current[i]
        else:
            for i in range(total.size):
                total[i] += current[i] * (reversal - V[i])
                conductance[i] += current[i]


@part
def _note(
    o: Observations, variable: int | np.int64, values: NDArray[np.float32], row: int, binned: bool, collected: bool,
    alone: bool,
) -> None:
    unit = o.unit[variable]
    if alone:    # not by way of the window, which would take twice the memory traffic
        whole = _take_sample(values, o.sums[variable], o.squares[variable], 1.0, unit)
    elif binned:
        whole = fixed_point_sum(values, unit)
    if collected:
        _add(values, o.window[variable])
    if binned:
        o.binned[row, 0, variable] += whole
        for group in range(o.member.shape[0]):
            o.binned[row, 1 + group, variable] += fixed_point_sum_of(values, o.member[group], unit)


@part
def _add(values: NDArray[np.float32], sums: NDArray[np.float64]) -> None:
    for i in range(values.size):
        sums[i] += values[i]


@part
def _take_average(o: Observations) -> None:
    """Add the average over the window to the block's sums, and empty the window."""
    window, per_sample = o.window, 1 / np.float64(o.collected[0])
    for variable in range(window.shape[0]):
        _take_sample(window[variable], o.sums[variable], o.squares[variable], per_sample, o.unit[variable])
    _take_joint_sample(o, window[0], window[window.shape[0] - 1], per_sample)
    window[:] = 0.0
    o.collected[0] = 0


@part
def _take_sample(
    values: NDArray[Any], sums: NDArray[np.float64], squares: NDArray[np.float64], factor: float, unit: float
) -> np.int64:
    """Add values to the sums of each neuron; return their sum as `fixed_point_sum`, which the memory's pace hides."""
    whole = np.int64(0)
    for i in range(values.size):
        value = values[i] * factor
        sums[i] += value
        squares[i] += value * value
        whole += _units(values[i], unit)
    return whole


@part
def _take_joint_sample(
    o: Observations, voltages: NDArray[Any], conductances: NDArray[Any], factor: float
) -> None:
    for i in range(o.conductance.size):
        V, g = voltages[i] * factor, conductances[i] * factor
        o.joint[0, i] += V * g
        o.joint[1, i] += abs((V - o.centre[0, i]) * (g - o.centre[1, i]))
        o.joint[2, i] += 1 / g
    o.samples[0] += 1


@part
def fixed_point_sum(values: NDArray[np.float32], unit: float) -> np.int64:
    """Sum values as integers of a unit, a power of two, which is exact in any order."""
    whole = np.int64(0)
    for i in range(values.size):
        whole += _units(values[i], unit)
    return whole


@part
def fixed_point_sum_of(values: NDArray[np.float32], member: NDArray[np.uint8], unit: float) -> np.int64:
    """Sum the values of members only."""
    whole = np.int64(0)
    for i in range(values.size):
        whole += _units(values[i], unit) * member[i]
    return whole


@part
def _units(value: Real, unit: float) -> np.int64:
    # far above the value, a float64 is spaced by one unit: adding rounds to it, and leaves it in the low bits
    shift, largest = 1.5 * 2.0**52 * unit, type(value)(_LARGEST * unit)
    clipped = min(max(value, -largest), largest)
    return bits_of_float64(clipped + shift) - bits_of_float64(shift)


@part
def trace(record: TraceRecord, population: Population, n: int) -> None:
    """Sample chosen neurons as `observe` does."""
    if n % record.interval[0] != 0:
        return
    row = n // record.interval[0] - 1 - record.interval[1]
    n_kinds = population.currents.shape[0]
    for k in range(record.chosen.size):
        i = record.chosen[k]
        values = record.values[row, :, k]
        values[0] = population.V[i]
        values[1 + n_kinds] = population.drive[i]
        conductance, conducts = population.leak[i], False
        for kind in range(n_kinds):
            current, reversal = population.currents[kind, i], population.reversal[kind]
            values[1 + kind] = current
            if np.isnan(reversal):
                values[1 + n_kinds] += current
            else:
                values[1 + n_kinds] += current * (reversal - population.V[i])
                conductance += current
                conducts = True
        if population.V_free.size > 0:
            values[2 + n_kinds] = population.V_free[i]
        if conducts:
            values[values.size - 1] = conductance


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
