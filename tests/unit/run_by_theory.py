"""A run whose rates and weights are those of theory, and whose currents follow from its spikes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import analysis
from analysis.theory.plasticity import fixed_point
from analysis.weights import charge
from mpi_engine.experiment import Experiment, load_experiment
from mpi_engine.output.reader import Degrees, Rates, Spikes, Traces, Weights

EXAMPLE = Path(analysis.__file__).parent / "studies" / "akil2021" / "homeostatic.toml"
SMALL = [
    "populations.E.size=1600",
    "populations.I.size=400",
    "inputs.X.size=400",
    "inputs.X.correlation=0.0",
    "run.duration_ms=12000.0",
]
BIN_MS = 10.0


@dataclass
class MadeUpRun:
    """Independent Poisson trains at the rates of a finite-size fixed point; currents from arrivals, to the spike."""

    experiment: Experiment
    directory: Path
    rates_hz: dict[str, float]
    felt_mv: float
    finished: bool = True
    provenance: dict[str, Any] = field(default_factory=lambda: {"ranks": 2, "versions": {"numpy": "2.4.0"}})
    bias: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(3)
        e = self.experiment
        self.recorded_ms = e.run.duration_ms
        self._spikes, self._degrees = {}, {}
        for name, size in e.sizes.items():
            n = round(1e-3 * self.rates_hz[name] * size * self.recorded_ms)
            times = np.sort(np.ceil(10 * rng.uniform(0, self.recorded_ms, n)) / 10)
            self._spikes[name] = Spikes(times, rng.integers(0, size, n) if n else np.zeros(0, np.int64))
        for name, p in e.projections.items():
            synapses = rng.random((e.sizes[p.source], e.sizes[p.target])) < p.probability
            self._degrees[name] = Degrees(synapses.sum(axis=0), synapses.sum(axis=1))

    def spikes(self, name: str) -> Spikes:
        return self._spikes[name]

    def degrees(self, name: str) -> Degrees:
        return self._degrees[name]

    def _binned(self, name: str, weights: np.ndarray | None = None) -> np.ndarray:
        times = self._spikes[name].times_ms
        bins = np.ceil(times / BIN_MS - 1e-9).astype(int) - 1
        return np.bincount(bins, weights, round(self.recorded_ms / BIN_MS))

    def rates(self, name: str) -> Rates:
        e = self.experiment
        rate = 1e3 * self._binned(name) / e.sizes[name] / BIN_MS
        means = {"V": np.full(rate.size, -65.0), "I_total": np.zeros(rate.size)}
        for projection, p in e.projections.items():
            if p.target != name:
                continue
            weight = self.felt_mv if projection in e.plastic else p.weight_mv
            arrivals = self._binned(p.source, self._degrees[projection].out_degree[self._spikes[p.source].ids])
            acting = weight * e.weight_scale(projection) * charge(e, projection) * self.bias.get(projection, 1.0)
            means[f"I_{p.synapse}"] = arrivals * acting / e.sizes[name] / BIN_MS
            means["I_total"] = means["I_total"] + means[f"I_{p.synapse}"]
        return Rates(BIN_MS * np.arange(rate.size), BIN_MS, rate, means)

    def weights(self, name: str) -> Weights:
        scale, start = self.experiment.weight_scale(name), self.experiment.projections[name].weight_mv
        mean = np.linspace(start, (start + self.felt_mv) / 2, 24) * scale
        edges = np.linspace(-300.0, 0.0, 51) * scale
        histogram = np.stack([np.histogram(m + np.linspace(-20, 20, 101) * scale, edges)[0] for m in mean])
        sample = np.zeros((24, 0))
        none = np.zeros(0, dtype=np.int64)
        times = 500.0 * np.arange(1, 25)
        spread = np.full(24, (12 * scale) ** 2)
        return Weights(times, mean, spread, mean, mean, histogram, edges, sample, none, none, scale, 4000)

    def traces(self, name: str) -> Traces:
        n = self.experiment.recording.traces[name].neurons
        times = 0.5 * np.arange(1, round(self.recorded_ms / 0.5) + 1)
        potential = -65 + 5 * np.sin(times[:, None] / 20 + np.arange(n))
        return Traces(times, np.arange(n), {"V": potential})


def made_up(start_mv: float = -150.0, directory: str = "run", **changes: Any) -> MadeUpRun:
    experiment = load_experiment(EXAMPLE, [*SMALL, f"projections.I_to_E.weight_mv={start_mv}"])
    state = fixed_point(experiment, 0.5 * experiment.neurons["cortical"].rheobase_mv_per_ms)
    rates = changes.pop("rates_hz", state.rates_hz | {"X": 10.0})
    return MadeUpRun(experiment, Path(directory), rates, state.weights_mv["I_to_E"], **changes)
