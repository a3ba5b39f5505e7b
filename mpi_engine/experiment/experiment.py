"""The whole description of a simulation: frozen, validated, and ignorant of ranks."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import numpy as np
import tomli_w
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, model_validator

from mpi_engine.experiment.base import Milliseconds, Part, steps
from mpi_engine.experiment.inputs import Current, Input, OrnsteinUhlenbeck, Poisson, Recorded
from mpi_engine.experiment.plasticity import Plasticity
from mpi_engine.experiment.populations import Neuron, Population, Subpopulation
from mpi_engine.experiment.projections import ExponentialCurrent, Projection, Synapse
from mpi_engine.experiment.recording import Recording

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
"""A name that can stand in a path of the run file."""

Precision = Literal["float32", "float64"]


class Seed(Part):
    """Seeds in parts, all equal to one number unless given.

    Parameters
    ----------
    base : int
        The seed of every part that is not given.
    network, input, state, noise : int
        Connectivity; input spike trains; initial state and samples of neurons and synapses; noise currents.
    """

    base: NonNegativeInt = 1
    network: NonNegativeInt = 1
    input: NonNegativeInt = 1
    state: NonNegativeInt = 1
    noise: NonNegativeInt = 1

    @model_validator(mode="before")
    @classmethod
    def _spread(cls, seed: Any) -> Any:
        if isinstance(seed, int) and not isinstance(seed, bool):
            seed = {"base": seed}
        if not isinstance(seed, dict):
            return seed
        base = seed.get("base", 1)
        usable = base if isinstance(base, int) and base >= 0 else 1     # a wrong one is one error, not five
        return dict.fromkeys(("network", "input", "state", "noise"), usable) | seed


class Run(Part):
    """How long, how finely, and in which number formats.

    Parameters
    ----------
    duration_ms, dt_ms : float
        Biological time and time step [ms].
    integrator : {"forward_euler", "exponential_euler"}
        Forward Euler, as Akil et al. (2021); or exponential Euler: synapses, traces and the leak decay exactly, and the
        rest of the membrane's current is constant within a step.
    state_dtype, weight_dtype : {"float32", "float64"}
        Number format of neurons, synapses and traces, and of plastic weights.
    """

    duration_ms: Milliseconds
    dt_ms: Milliseconds = 0.1
    integrator: Literal["forward_euler", "exponential_euler"] = "forward_euler"
    state_dtype: Precision = "float32"
    weight_dtype: Precision = "float32"


class Experiment(Part):
    """A simulation to be done.

    Parameters
    ----------
    title : str
        A line for people.
    seed : int or Seed
        See `Seed`.
    run : Run
        See `Run`.
    neurons, synapses, plasticity : dict
        Neuron models, synapse kinds and plasticity rules by the names that populations and projections refer to.
    populations, inputs, projections : dict
        The network. Their order is the order of summation and of global ids.
    subpopulations : dict
        Parts of populations, named.
    recording : Recording
        See `Recording`.
    """

    title: str = ""
    seed: Seed = Seed()
    run: Run
    neurons: dict[Name, Neuron]
    synapses: dict[Name, Synapse] = {}
    plasticity: dict[Name, Plasticity] = {}
    populations: Annotated[dict[Name, Population], Field(min_length=1)]
    subpopulations: dict[Name, Subpopulation] = {}
    inputs: dict[Name, Input] = {}
    projections: dict[Name, Projection] = {}
    recording: Recording = Recording()

    @property
    def n_steps(self) -> int:
        """Number of time steps of the whole run."""
        return self.steps(self.run.duration_ms)

    @property
    def n_neurons(self) -> int:
        """N: neurons in all populations, inputs not counted."""
        return sum(population.size for population in self.populations.values())

    @property
    def trains(self) -> dict[str, Poisson | Recorded]:
        """The inputs that are populations of spike trains."""
        return {name: source for name, source in self.inputs.items() if isinstance(source, (Poisson, Recorded))}

    @property
    def currents(self) -> dict[str, Current]:
        """The inputs that are currents."""
        return {name: source for name, source in self.inputs.items() if isinstance(source, Current)}

    @property
    def noises(self) -> dict[str, OrnsteinUhlenbeck]:
        """The inputs that are noise."""
        return {name: source for name, source in self.inputs.items() if isinstance(source, OrnsteinUhlenbeck)}

    @property
    def sizes(self) -> dict[str, int]:
        """Size of each population, then of each input train: everything that spikes, in the order of global ids."""
        populations = {name: population.size for name, population in self.populations.items()}
        return populations | {name: train.size or 0 for name, train in self.trains.items()}

    def members(self, name: str) -> tuple[str, NDArray[np.int64]]:
        """Say who stands behind the name of a population, an input train or a subpopulation.

        Returns
        -------
        population : str
            The population, or the input.
        ids : ndarray of int64, shape (n,)
            The neurons' ids within it, ascending.
        """
        part = self.subpopulations.get(name)
        if part is None:
            return name, np.arange(self.sizes[name])
        if part.neurons is not None:
            return part.population, np.array(part.neurons, np.int64)
        last = self.sizes[part.population] if part.count is None else part.first + part.count
        return part.population, np.arange(part.first, last)

    def steps(self, duration_ms: float) -> int:
        """Count the time steps in a duration [ms]."""
        return steps(duration_ms, self.run.dt_ms)

    def weight_scale(self, projection: str) -> float:
        """Factor from the weights that the experiment names to weights as they act, 1 or 1/sqrt(N)."""
        scaled = self.projections[projection].weight_scaling == "1/sqrt(N)"
        return 1 / self.n_neurons**0.5 if scaled else 1.0

    def synapses_of(self, population: str) -> list[str]:
        """Names of the synapse kinds that act on a population, in the order of its projections."""
        return list(dict.fromkeys(p.synapse for p in self.projections.values() if p.target == population))

    def initial_weight(self, projection: str) -> float:
        """Weight of a projection's synapses as they act, before learning [mV, or 1 for a conductance]."""
        p = self.projections[projection]
        scale = self.weight_scale(projection)
        if p.weight_mv is None:
            assert p.weight is not None
            return p.weight * scale
        synapse = self.synapses[p.synapse]
        if isinstance(synapse, ExponentialCurrent) or p.match_at_mv is None:
            return p.weight_mv * scale
        return p.weight_mv / (synapse.reversal_mv - p.match_at_mv) * scale

    def named_weight(self, projection: str) -> float:
        """Initial weight of a projection in its own scaling [mV, or 1 for a conductance]."""
        return self.initial_weight(projection) / self.weight_scale(projection)

    @property
    def has_conductances(self) -> bool:
        """Whether a projection's synapses are conductances."""
        return any(not isinstance(self.synapses[p.synapse], ExponentialCurrent) for p in self.projections.values())

    def variables_of(self, population: str) -> list[str]:
        """Names of what is recorded of a neuron: V, each synaptic current or conductance, and the total current."""
        names = {kind: isinstance(self.synapses[kind], ExponentialCurrent) for kind in self.synapses_of(population)}
        return ["V", *(f"{'I' if current else 'g'}_{kind}" for kind, current in names.items()), "I_total"]

    @property
    def plastic(self) -> dict[str, Projection]:
        """The projections that learn."""
        return {name: p for name, p in self.projections.items() if p.plasticity is not None}

    def to_toml(self) -> str:
        """Write the resolved experiment, defaults included, as TOML."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))

    @property
    def hash(self) -> str:
        """SHA-256 of the resolved experiment without its title; data files count by content, not by path."""
        paths = {name: {source.data_key} for name, source in self.trains.items()}
        text = tomli_w.dumps(self.model_dump(exclude_none=True, exclude={"title": True, "inputs": paths}))
        return hashlib.sha256(text.encode()).hexdigest()
