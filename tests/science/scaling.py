"""The networks of Zhu, Ocker & Rosenbaum (2026) at several sizes, and what is measured in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import expm1, sqrt
from multiprocessing.pool import Pool
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

import analysis.studies.zhu2026
from analysis.correlations import pair_statistics
from analysis.spikes import window_counts
from analysis.theory.conductance import free_variance
from mpi_engine.experiment import Experiment, load_experiment
from mpi_engine.output.reader import RunReader, Statistics, open_run
from mpi_engine.run.job import run

Array = NDArray[np.float64]
Measured = dict[str, float]

STUDY = Path(analysis.studies.zhu2026.__file__).parent

SHARES = {"populations.E.size": 0.8, "populations.I.size": 0.2, "inputs.X.size": 0.3}
"""Of N."""

WINDOW_MS = 250.0
"""Of spike counts, of which the first and the last are left out."""

LEAST_RATE_HZ = 1.0
"""Neurons that fire less have no part in count correlations."""


@dataclass(frozen=True)
class Networks:
    """Networks with different synapses, but the same size and the same input.

    Parameters
    ----------
    size : int
        N.
    correlation : float
        Of the input trains.
    synapses : tuple of str
        "current"; "conductance"; "effective", the model of that; "matched", conductances matched to currents not at
        rest but at the mean V of "conductance", which comes before.
    burn_in_ms, window_ms : float
        Where the window begins in which V is measured, and its length [ms].
    seeds : int
        How many runs of each.
    """

    size: int
    correlation: float
    synapses: tuple[str, ...] = ("current", "conductance", "effective", "matched")
    burn_in_ms: float = 2500.0
    window_ms: float = 2500.0
    seeds: int = 4

    def runs(self, seed: int, directory: Path) -> Iterator[tuple[str, RunReader]]:
        """Run the networks from a seed."""
        conductance = directory / "conductance"
        for synapses in self.synapses:
            settings = self._settings(seed)
            name = synapses
            if synapses == "effective":
                settings += [f"effective_time_constant.run={conductance}",
                             f"effective_time_constant.start_ms={self.burn_in_ms}"]
            if synapses == "matched":
                name = "conductance"
                at_mv = {a: _last(s.mean["V"]).mean() for a, s in _statistics(open_run(conductance)).items()}
                settings += [f"projections.{b}_to_{a}.match_at_mv={at_mv[a]}" for a in "EI" for b in "EIX"]
            run(load_experiment(STUDY / f"{name}.toml", settings), directory / synapses)
            yield synapses, open_run(directory / synapses)

    def _settings(self, seed: int) -> list[str]:
        """Settings of the shipped experiments; blocks of statistics before the window's are burn-in."""
        recording = {"start_ms": self.burn_in_ms % self.window_ms, "block_ms": self.window_ms}
        return [
            f"seed={seed}",
            f"run.duration_ms={self.burn_in_ms + self.window_ms}",
            f"inputs.X.correlation={self.correlation}",
            *(f"{key}={round(share * self.size)}" for key, share in SHARES.items()),
            *(f"recording.statistics.{key}={value}" for key, value in recording.items()),
            *_charged(load_experiment(STUDY / "current.toml")),
        ]


def _charged(experiment: Experiment) -> list[str]:
    r"""Settings of weights with which a spike carries the charge that the paper's weight names.

    Exponential Euler sums the kernel :math:`e^{-t/\tau}/\tau` over steps: from the first one after a recurrent spike,
    and from the step itself of an input's. The sums miss 1 by half a step in opposite directions, so that inhibition
    is too weak against the input by 1.7 %, and the rates are too high by as much or more.
    """
    settings = []
    for name, p in experiment.projections.items():
        x = experiment.run.dt_ms / experiment.synapses[p.synapse].tau_ms
        carried = x / -expm1(-x) if p.source in experiment.inputs else x / expm1(x)
        settings.append(f"projections.{name}.weight_mv={experiment.named_weight(name) / carried}")
    return settings


def run_seeds(pool: Pool, networks: Networks, directory: Path) -> dict[str, list[Measured]]:
    """Run all seeds, as many at once as the pool has processes, and measure: a list of runs by kind of synapses."""
    tasks = [(networks, seed, directory) for seed in range(1, networks.seeds + 1)]
    runs = pool.starmap(_run_seed, tasks, chunksize=1)
    return {synapses: [measured[synapses] for measured in runs] for synapses in networks.synapses}


def _run_seed(networks: Networks, seed: int, directory: Path) -> dict[str, Measured]:
    with TemporaryDirectory(dir=directory) as scratch:     # all runs together would fill a disk
        return {synapses: measure(run) for synapses, run in networks.runs(seed, Path(scratch))}


def measure(recorded: RunReader) -> Measured:
    """Measure a run; what is without a population's name is the mean over all neurons."""
    e, statistics = recorded.experiment, _statistics(recorded)
    measured = {"var_V": _over_all([s.variance["V"] for s in statistics.values()])}
    measured["correlation"] = _correlation(recorded)
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
    return measured | {f"theory_{name}": variance for name, variance in theory.items()}


def _statistics(recorded: RunReader) -> dict[str, Statistics]:
    return {name: recorded.statistics(name) for name in recorded.experiment.populations}


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
    return blocks[-1]


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
