"""What is measured in the networks of the study."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import sqrt
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.correlations import pair_statistics
from analysis.spikes import window_counts
from analysis.studies.study import Parts, finished
from analysis.studies.zhu2026.networks import condition
from analysis.theory.conductance import correlated_variance_bounds, free_variance
from mpi_engine.output.reader import RunReader, Statistics

Array = NDArray[np.float64]

WINDOW_MS = 250.0
"""Of spike counts, of which the first and the last are left out."""

LEAST_RATE_HZ = 1.0
"""Neurons that fire less have no part in count correlations."""


def tabulate(parts: Parts) -> xr.Dataset:
    """Measure all runs.

    Parameters
    ----------
    parts : mapping of str to Sweep
        Runs by kind of synapses.

    Returns
    -------
    Dataset
        A variable for each quantity of `measure`, over ``synapses``, ``correlation``, ``size`` and ``seed``; NaN where
        a network does not have it.

    Raises
    ------
    RunError
        If a run has not finished: what it recorded until then is no steady state.
    """
    rows = {(synapses, *condition(run)): measure(run) for synapses, part in parts.items()
            for run in finished(part.runs.values())}
    labels = dict(zip(("synapses", "correlation", "size", "seed"), zip(*rows, strict=True), strict=True))
    axes = {name: sorted(set(values)) for name, values in labels.items()}
    quantities = dict.fromkeys(quantity for row in rows.values() for quantity in row)
    table = xr.Dataset({quantity: (list(axes), np.full([len(v) for v in axes.values()], np.nan))
                        for quantity in quantities}, axes)
    for place, row in rows.items():
        at = tuple(axis.index(value) for axis, value in zip(axes.values(), place, strict=True))
        for quantity, value in row.items():
            table[quantity].values[at] = value
    return table


def sizes_of(table: xr.Dataset) -> list[int]:
    """List N of a table."""
    return [int(size) for size in table["size"].values]


def of_network(table: xr.Dataset, quantity: str, synapses: str, correlation: float) -> Array:
    """Give a quantity by size and seed [S, R]."""
    of_all = table[quantity].sel(synapses=synapses, correlation=correlation)
    values: Array = of_all.transpose("size", "seed").values
    return values


@cache     # every claim asks for it
def measure(recorded: RunReader) -> dict[str, float]:
    """Measure a run after its burn-in.

    Parameters
    ----------
    recorded : RunReader
        With spikes, and statistics of V, V without spikes and, with conductances, their total; the last block is
        measured, those before are burn-in.

    Returns
    -------
    dict of str to float
        Over all neurons: ``var_V`` [mV^2], ``count_correlation`` and, with conductances, ``signed_C`` and
        ``absolute_C``, the means of dV dg and |dV dg| [mV/ms]. By population, as in ``rate_E``: ``rate`` [Hz], ``V``
        [mV], ``free``, the variance of V without spikes, ``theory`` of it and, with correlated input, its ``bound``
        [mV^2]; with conductances, ``g`` [1/ms] and ``tau`` [ms], the mean over neurons of its inverse.
    """
    e, statistics = recorded.experiment, {name: recorded.statistics(name) for name in recorded.experiment.populations}
    measured = {"var_V": _over_all([s.variance["V"] for s in statistics.values()])}
    measured["count_correlation"] = _correlation(recorded)
    for name, s in statistics.items():
        measured[f"rate_{name}"] = 1e3 / s.block_ms * float(_last(s.spike_count).mean())
        measured[f"V_{name}"] = float(_last(s.mean["V"]).mean())
        measured[f"free_{name}"] = float(_last(s.variance["V_free"]).mean())
        if s.tau_effective_ms is not None:
            measured[f"g_{name}"] = float(_last(s.mean["g_total"]).mean())
            measured[f"tau_{name}"] = float(_last(s.tau_effective_ms).mean())
    if e.has_conductances:
        measured["signed_C"] = _over_all([s.covariance_V_g for s in statistics.values()])
        measured["absolute_C"] = _over_all([_centred(s) for s in statistics.values()])
    rates_hz, V_mv, g_per_ms = ({a: measured[f"{x}_{a}"] for a in statistics if f"{x}_{a}" in measured}
                                for x in ("rate", "V", "g"))
    theory = free_variance(e, rates_hz, V_mv, g_per_ms)
    bounds = correlated_variance_bounds(e, rates_hz, V_mv, g_per_ms)
    return (measured | {f"theory_{name}": variance for name, variance in theory.items()}
            | {f"bound_{name}": high for name, (_, high) in bounds.items()})


def _centred(s: Statistics) -> Array:
    """Mean of |dV dg| in each block, as if about the means of this block and not of the one before.

    For Gaussian V and g, it is in proportion to their standard deviations, which are larger about a mean that is not
    their own, by 1 % after blocks of 2.5 s.
    """
    assert s.absolute_V_g is not None
    excess = 1.0
    for variable in ("V", "g_total"):
        shift = np.diff(s.mean[variable], axis=0)
        excess *= sqrt(1 + (shift**2).mean() / s.variance[variable].mean()) if shift.size else 1.0
    return s.absolute_V_g / excess


def _last(blocks: NDArray[Any]) -> NDArray[Any]:
    last: NDArray[Any] = blocks[-1]
    return last


def _over_all(blocks: Sequence[Array | None]) -> float:
    """Average over the neurons of all populations in the last block."""
    return float(np.concatenate([_last(values) for values in blocks if values is not None]).mean())


def _correlation(recorded: RunReader) -> float:
    """Mean correlation of pairs of spike counts, over the run but its first and last window."""
    e = recorded.experiment
    start_ms, stop_ms = WINDOW_MS, e.run.duration_ms - WINDOW_MS
    counts = []
    for name in e.populations:
        spikes = recorded.spikes(name)
        counts.append(window_counts(spikes.times_ms, spikes.ids, e.sizes[name], start_ms, stop_ms, WINDOW_MS))
    of_all = np.hstack(counts)
    active = of_all.mean(axis=0) > 1e-3 * WINDOW_MS * LEAST_RATE_HZ
    return pair_statistics(of_all[:, active]).coefficient
