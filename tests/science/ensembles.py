"""The networks of the reference from several seeds, in processes of one rank each, and what is measured in a run."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from multiprocessing.pool import Pool
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

import analysis.studies.akil2021
from analysis.correlations import pair_statistics
from analysis.spikes import window_counts
from analysis.variability import fano_factors
from mpi_engine.experiment import Experiment, parse_experiment
from mpi_engine.output.reader import RunReader, Weights, open_run
from mpi_engine.run.job import run

Array = NDArray[np.float64]

WINDOW_MS = 250.0


@dataclass(frozen=True, eq=False)
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
    rates_hz : ndarray, shape (n,)
        Of the E neurons, in the last interval.
    weights : list of Weights
        Of the plastic projection, if there is one.
    """

    quantities: dict[str, dict[str, float]]
    rates_hz: Array
    weights: list[Weights]


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
    quantities = {}
    for name, interval in ensemble.intervals_ms.items():
        counts = {a: _counts(recorded, a, interval) for a in e.populations}
        quantities[name] = _of_counts(counts) | _of_currents(recorded, interval)
        rates_hz = 1e3 / WINDOW_MS * counts["E"].mean(axis=0)
    weights = [recorded.weights(name) for name in e.plastic]
    for w in weights:
        for name, (_, stop_ms) in ensemble.intervals_ms.items():
            end = int(np.searchsorted(w.time_ms, stop_ms - 0.5 * e.run.dt_ms))
            quantities[name] |= {"weight": w.mean[end] / w.scale, "weight_sd": sqrt(w.variance[end]) / w.scale}
    return Measured(quantities, rates_hz, weights)


def _counts(recorded: RunReader, population: str, interval_ms: tuple[float, float]) -> NDArray[np.int64]:
    spikes = recorded.spikes(population)
    size = recorded.experiment.sizes[population]
    return window_counts(spikes.times_ms, spikes.ids, size, *interval_ms, WINDOW_MS)


def _of_counts(counts: Mapping[str, NDArray[np.int64]]) -> dict[str, float]:
    """Rates, mean Fano factors, and mean covariances and correlation coefficients of pairs."""
    measured = {}
    for a, of_a in counts.items():
        measured[f"rate_{a}"] = 1e3 / WINDOW_MS * float(of_a.mean())
        measured[f"fano_{a}"] = float(np.nanmean(fano_factors(of_a)))
    for name, other in (("EE", None), ("EI", counts["I"]), ("II", None)):
        pairs = pair_statistics(counts[name[0]], other)
        measured[f"corr_{name}"], measured[f"cov_{name}"] = pairs.coefficient, pairs.covariance
    return measured


def _of_currents(recorded: RunReader, interval_ms: tuple[float, float]) -> dict[str, float]:
    """Mean currents into E neurons, as they are after the decay at the end of a step.

    What a recurrent spike leaves behind by then acts on V unchanged in the next step, and is what the engine records.
    An input spike acts before that decay: what is recorded for it still has to decay once.
    """
    e = recorded.experiment
    rates = recorded.rates("E")
    inside = (rates.times_ms >= interval_ms[0]) & (rates.times_ms < interval_ms[1])
    mean = {name: float(values[inside].mean()) for name, values in rates.means.items()}
    decay = 1 - e.run.dt_ms / e.synapses["feedforward"].tau_ms
    feedforward = mean["I_feedforward"] * decay
    net = mean["I_excitatory"] + mean["I_inhibitory"] + feedforward
    return {"from_E": mean["I_excitatory"], "from_I": mean["I_inhibitory"], "from_X": feedforward, "net": net}
