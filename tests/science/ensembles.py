"""The networks of the reference from several seeds, in processes of one rank each, and what is measured in a run."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

import analysis.studies.akil2021
from analysis.correlations import pair_statistics
from analysis.spikes import fano_factors, window_counts
from mpi_engine.experiment import Experiment, parse_experiment
from mpi_engine.output.reader import RunReader, open_run
from mpi_engine.run.job import run

Array = NDArray[np.float64]

WINDOW_MS = 250.0


@dataclass(frozen=True)
class Ensemble:
    """A network, and the intervals in which it is compared.

    Parameters
    ----------
    intervals_ms : mapping of str to (float, float)
        End of the burn-in and end, by name in the reference [ms]. Runs are as long as the last end.
    changes : tuple of str
        Settings that make it from the static network with independent input.
    seeds : int
        How many runs.
    """

    intervals_ms: Mapping[str, tuple[float, float]]
    changes: tuple[str, ...] = ()
    seeds: int = 8

    def experiment(self, seed: int) -> Experiment:
        """Describe the run from a seed."""
        duration_ms = max(stop for _, stop in self.intervals_ms.values())
        return parse_experiment(_static_network(), [*self.changes, f"run.duration_ms={duration_ms}", f"seed={seed}"])


@dataclass(frozen=True)
class Measured:
    """What came out of a run.

    Parameters
    ----------
    quantities : dict of str to dict of str to float
        As named in the reference, by interval.
    weight_time_ms, weight_sd_mv : ndarray, shape (W,)
        Growth of the spread of the plastic weights, as named; empty in a static network.
    rates_hz : ndarray, shape (n,)
        Of the E neurons, after the first burn-in.
    """

    quantities: dict[str, dict[str, float]]
    weight_time_ms: Array
    weight_sd_mv: Array
    rates_hz: Array


def run_seeds(pool: Pool, ensemble: Ensemble, directory: Path) -> list[Measured]:
    """Run all seeds, as many at once as the pool has processes, and measure."""
    tasks = [(ensemble, seed, directory) for seed in range(1, ensemble.seeds + 1)]
    return pool.starmap(_run_seed, tasks, chunksize=1)


def _run_seed(ensemble: Ensemble, seed: int, directory: Path) -> Measured:
    with TemporaryDirectory(dir=directory) as scratch:     # the spikes of all seeds together would fill a disk
        path = Path(scratch) / f"seed-{seed}"
        run(ensemble.experiment(seed), path)
        return _measure(open_run(path), ensemble)


def _static_network() -> dict[str, Any]:
    path = Path(analysis.studies.akil2021.__file__).with_name("homeostatic.toml")
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    del table["projections"]["I_to_E"]["plasticity"], table["plasticity"]
    table["inputs"]["X"]["correlation"] = 0.0
    table["recording"] = {"segment_ms": 5000.0, "spikes": ["E", "I"], "rates": {"bin_ms": WINDOW_MS},
                          "weights": {"interval_ms": 1000.0, "sample": 0}}
    return table


def _measure(recorded: RunReader, ensemble: Ensemble) -> Measured:
    e = recorded.experiment
    spikes = {a: recorded.spikes(a) for a in e.populations}
    quantities = {}
    for name, interval in ensemble.intervals_ms.items():
        counts = {a: window_counts(s.times_ms, s.ids, e.sizes[a], *interval, WINDOW_MS) for a, s in spikes.items()}
        quantities[name] = _currents(recorded, *interval) | _spike_counts(counts) | _weights(recorded, interval[1])
    start_ms, stop_ms = next(iter(ensemble.intervals_ms.values()))
    ...


def _spike_counts(counts: Mapping[str, NDArray[np.int64]]) -> dict[str, float]:
    """Rates, Fano factors, and covariances and correlation coefficients of pairs."""
    measured = {}
    for a, of_a in counts.items():
        measured[f"rate_{a}"] = 1e3 / WINDOW_MS * float(of_a.mean())
        measured[f"fano_{a}"] = float(np.nanmean(fano_factors(of_a)))
    for name, pair in (("EE", ("E",)), ("EI", ("E", "I")), ("II", ("I",))):
        pairs = pair_statistics(*(counts[a] for a in pair))
        measured[f"corr_{name}"], measured[f"cov_{name}"] = pairs.coefficient, pairs.covariance
    return measured
