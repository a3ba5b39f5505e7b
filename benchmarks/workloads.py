"""The workloads: shipped experiments, in a size and for a time, and their description for other simulators."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from mpi_engine.experiment import PairRule, load_experiment
from mpi_engine.experiment.inputs import Current, Poisson

_HERE = Path(__file__).parent

FILES = {
    **{name: _HERE / f"{name}.toml" for name in ("W1", "W2i", "W2e", "EIF")},
    "plastic": _HERE.parent / "analysis" / "studies" / "akil2021" / "homeostatic.toml",
}
"""The experiment of each workload; the last is that of `make demo`."""

_NEURON = {"tau_m_ms": "tau_m", "E_L_mv": "E_L", "V_th_mv": "V_th", "V_reset_mv": "V_reset", "V_T_mv": "V_T",
           "Delta_T_mv": "Delta_T"}


class Workload:
    """A workload in some size.

    Parameters
    ----------
    name : str
        Of `FILES`.
    duration_ms : float
        Biological time [ms].
    scale : float
        Factor of all sizes.
    """

    def __init__(self, name: str, duration_ms: float, scale: float = 1.0) -> None:
        self.name, self.file = name, FILES[name]
        whole = load_experiment(self.file)
        self.overrides = [f"run.duration_ms={duration_ms}"]
        if scale != 1.0:
            self.overrides += [f"populations.{p}.size={round(scale * n.size)}" for p, n in whole.populations.items()]
            self.overrides += [f"inputs.{x}.size={round(scale * whole.sizes[x])}" for x in whole.trains]
        self.experiment = load_experiment(self.file, self.overrides)
        self.duration_s = duration_ms * 1e-3

    @property
    def n_neurons(self) -> int:
        """Neurons, without inputs."""
        return sum(population.size for population in self.experiment.populations.values())

    def description(self) -> dict[str, Any]:
        """Describe the network in numbers, as simulators name them: mV, ms and Hz."""
        e = self.experiment
        return {
            "dt_ms": e.run.dt_ms,
            "duration_ms": e.run.duration_ms,
            "seed": e.seed.network,
            "populations": {name: self._population(name) for name in e.populations},
            "inputs": {name: _train(source) for name, source in e.trains.items()},
            "projections": {name: self._projection(name) for name in e.projections},
        }

    def _population(self, name: str) -> dict[str, Any]:
        population = self.experiment.populations[name]
        neuron = self.experiment.neurons[population.neuron].model_dump()
        currents = [source for source in self.experiment.inputs.values() if isinstance(source, Current)]
        parameters = {short: neuron[key] for key, short in _NEURON.items() if key in neuron}
        parameters["drive"] = sum(float(source.amplitude_mv_per_ms) for source in currents if source.target == name)
        return {
            "size": population.size,
            "model": neuron["model"],
            "refractory_ms": neuron["refractory_ms"],
            "V_init_mv": neuron["V_init_mv"]["uniform"],
            "parameters": parameters,
        }

    def _projection(self, name: str) -> dict[str, Any]:
        e, p = self.experiment, self.experiment.projections[name]
        plasticity = None
        if p.rules:
            [rule] = (e.plasticity[rule] for rule in p.rules)
            assert isinstance(rule, PairRule)
            taus = {f"tau_{trace.removeprefix('x_')}_ms": tau_ms for trace, tau_ms in rule.traces.items()}
            plasticity = taus | asdict(rule.coefficients(e.weight_scale(name), e.weight_unit(name)))
        return {
            "source": p.source,
            "target": p.target,
            "tau_ms": e.synapses[p.synapse].model_dump()["tau_ms"],
            "probability": p.probability,
            "weight_mv": e.initial_weight(name),
            "plasticity": plasticity,
        }


def _train(source: Any) -> dict[str, Any]:
    assert isinstance(source, Poisson)
    return source.model_dump(include={"size", "rate_hz", "correlation", "jitter_ms"})
