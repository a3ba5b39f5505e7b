"""The whole description of a simulation: frozen, validated, and ignorant of ranks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from math import inf
from typing import Annotated, Any, Literal, Self

import numpy as np
import tomli_w
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveFloat, model_validator

from mpi_engine.experiment.base import Geometry, Milliseconds, Part, average, highest, lowest, steps
from mpi_engine.experiment.effective import EffectiveTimeConstant
from mpi_engine.experiment.health import Health
from mpi_engine.experiment.inputs import Current, Input, OrnsteinUhlenbeck, Poisson, Recorded
from mpi_engine.experiment.plasticity import Plasticity
from mpi_engine.experiment.populations import Neuron, Population, Subpopulation
from mpi_engine.experiment.projections import ExponentialConductance, Projection, Synapse
from mpi_engine.experiment.recording import Recording
from mpi_engine.experiment.rules import BoundedRule

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
"""A name that can stand in a path of the run file."""

Precision = Literal["float32", "float64"]


def blocks(n: int, k: int) -> NDArray[np.int64]:
    """Cut n neurons into k contiguous blocks, as evenly as can be: where each begins, and n."""
    return np.arange(k + 1) * n // k


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
    checkpoint_every_ms : float, optional
        Biological time between checkpoints [ms].
    checkpoint_every_wall_s : float
        Longest time that a crash may cost [s].
    """

    duration_ms: Milliseconds
    dt_ms: Milliseconds = 0.1
    integrator: Literal["forward_euler", "exponential_euler"] = "forward_euler"
    state_dtype: Precision = "float32"
    weight_dtype: Precision = "float32"
    checkpoint_every_ms: Milliseconds | None = None
    checkpoint_every_wall_s: PositiveFloat = 1800.0


class Experiment(Part):
    """A simulation to be done.

    Parameters
    ----------
    kind : {"balanced", "coding"}
        The kind of network; see `CodingExperiment` for the other.
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
    effective_time_constant : EffectiveTimeConstant, optional
        Makes another experiment of this one; see there.
    health : Health
        See `Health`.
    recording : Recording
        See `Recording`.
    """

    kind: Literal["balanced", "coding"] = "balanced"
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
    effective_time_constant: EffectiveTimeConstant | None = None
    health: Health = Health()
    recording: Recording = Recording()

    @model_validator(mode="after")
    def _resolve(self) -> Self:
        return self.resolve()

    def resolve(self) -> Self:
        """Put populations in the place of subpopulations at the ends of projections."""
        for name, p in self.projections.items():
            ends: dict[str, str] = {}
            for end in ("source", "target"):
                part = getattr(p, end)
                if part in self.subpopulations and getattr(p, f"{end}_subpopulation") is None:
                    ends |= {end: self.subpopulations[part].population, f"{end}_subpopulation": part}
            if ends:
                self.projections[name] = p.model_copy(update=ends)
        return self

    @property
    def n_steps(self) -> int:
        """Number of time steps of the whole run."""
        return self.steps(self.run.duration_ms)

    @property
    def neuron_counts(self) -> dict[str, int]:
        """Size of each population."""
        return {name: population.size for name, population in self.populations.items()}

    @property
    def n_neurons(self) -> int:
        """N: neurons in all populations, inputs not counted."""
        return sum(self.neuron_counts.values())

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
        return self.neuron_counts | {name: train.size or 0 for name, train in self.trains.items()}

    @property
    def partitioned(self) -> dict[str, int]:
        """Size of everything that is cut over ranks."""
        return self.sizes

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

    def count(self, name: str) -> int:
        """Count the neurons behind a name; see `members`."""
        part = self.subpopulations.get(name)
        if part is None:
            return self.sizes[name]
        if part.neurons is not None:
            return len(part.neurons)
        return self.sizes[part.population] - part.first if part.count is None else part.count

    def ends(self, projection: str) -> tuple[str, str]:
        """Names of those that a projection connects: its source and target, or subpopulations of them."""
        p = self.projections[projection]
        return p.source_subpopulation or p.source, p.target_subpopulation or p.target

    def positions(self, name: str) -> Geometry | None:
        """Say where the neurons of a population are, if anywhere; inputs have no place."""
        return self.populations[name].positions if name in self.populations else None

    def candidates(self, projection: str) -> int:
        """Count the sources that each of a projection's targets can have, itself excluded if it may not be one."""
        p, parts = self.projections[projection], self.ends(projection)
        excluded = p.source == p.target and not p.self_connections
        if excluded and set(parts) <= set(self.subpopulations):
            excluded = bool(np.isin(self.members(parts[0])[1], self.members(parts[1])[1]).any())
        return self.count(parts[0]) - excluded

    def expected_in_degree(self, projection: str) -> tuple[float, float]:
        """Expect synapses of a projection on a neuron of its target population: on average, and at most.

        Where targets are a subpopulation, the others count with none in the average.
        """
        p, candidates = self.projections[projection], self.candidates(projection)
        n_targets = self.count(self.ends(projection)[1])
        share = n_targets / self.sizes[p.target]
        if p.in_degree is not None:
            return share * min(average(p.in_degree), candidates), min(highest(p.in_degree), candidates)
        assert p.probability is not None
        if isinstance(p.probability, list):
            matrix = np.array(p.probability)
            expected = matrix @ np.diff(blocks(candidates, matrix.shape[1]))
            rows = np.diff(blocks(n_targets, matrix.shape[0]))
            return share * float(expected @ rows) / n_targets, float(expected.max())
        mean = p.probability * candidates
        if p.profile is None:
            return share * mean, mean
        geometry = self.populations[p.target].positions or "ring"
        # the middle of a line sees as much as any point of a ring
        most = mean * p.profile.mean("ring" if geometry == "line" else geometry)
        return share * mean * p.profile.mean(geometry), most

    def steps(self, duration_ms: float) -> int:
        """Count the time steps in a duration [ms]."""
        return steps(duration_ms, self.run.dt_ms)

    def weight_unit(self, projection: str) -> float:
        """Factor from a weight in mV to a matched conductance; 1 for weights that are not matched."""
        p = self.projections[projection]
        synapse = self.synapses[p.synapse]
        if p.match_at_mv is None or not isinstance(synapse, ExponentialConductance):
            return 1.0
        return 1 / (synapse.reversal_mv - p.match_at_mv)

    def weight_scale(self, projection: str) -> float:
        """Factor from the weights that the experiment names to weights as they act: `weight_unit`, and 1/sqrt(N)."""
        scaled = self.projections[projection].weight_scaling == "1/sqrt(N)"
        return self.weight_unit(projection) / (self.n_neurons**0.5 if scaled else 1.0)

    def synapses_of(self, population: str) -> list[str]:
        """Names of the synapse kinds that act on a population, in the order of its projections."""
        return list(dict.fromkeys(p.synapse for p in self.projections.values() if p.target == population))

    def named_weight(self, projection: str) -> float:
        """Mean initial weight of a projection as the experiment names it [mV, or 1 for a conductance]."""
        return average(self.projections[projection].given_weight)

    def initial_weight(self, projection: str) -> float:
        """Mean weight of a projection's synapses as they act, before learning [mV, or 1 for a conductance]."""
        return self.named_weight(projection) * self.weight_scale(projection)

    def healthy_weights(self, projection: str) -> tuple[float, float]:
        """Lowest and highest healthy weight of a plastic projection, as weights act [mV, or 1 for a conductance].

        As declared in `health.weights_mv`. Otherwise the initial weights and the bounds of the only rule, which an
        event may pass by what it changes.
        """
        p, scale = self.projections[projection], self.weight_scale(projection)
        if projection in self.health.weights_mv:
            low, high = sorted(end * scale for end in self.health.weights_mv[projection])
            return low, high
        rule = self.plasticity[p.rules[0]]
        if len(p.rules) > 1 or not isinstance(rule, BoundedRule):
            return -inf, inf
        low, high = rule.bounds(scale)
        beyond = rule.largest_change(self.health.max_rate_hz) * abs(self.weight_unit(projection))
        initial = [end(p.given_weight) * scale for end in (lowest, highest)]
        return min(low - beyond, *initial), max(high + beyond, *initial)

    @property
    def has_conductances(self) -> bool:
        """Whether a projection's synapses are conductances."""
        return any(self.conducts(p.synapse) for p in self.projections.values())

    def conducts(self, synapse: str) -> bool:
        """Whether a synapse kind is a conductance."""
        return isinstance(self.synapses[synapse], ExponentialConductance)

    @property
    def has_shadow_voltage(self) -> bool:
        """Whether neurons have a second membrane potential that does not spike."""
        return self.recording.statistics is not None and self.recording.statistics.shadow_voltage

    def variables_of(self, population: str) -> list[str]:
        """Names of what is recorded of a neuron.

        V, each synaptic current or conductance, the total current, V_free where it is asked for, and the total
        conductance, leak included, where a synapse is a conductance.
        """
        kinds = self.synapses_of(population)
        free = ["V_free"] if self.has_shadow_voltage else []
        total = ["g_total"] if any(map(self.conducts, kinds)) else []
        return ["V", *map(self.variable_of, kinds), "I_total", *free, *total]

    def variable_of(self, synapse: str) -> str:
        """Name of the current or conductance of a synapse kind."""
        return f"{'g' if self.conducts(synapse) else 'I'}_{synapse}"

    @property
    def plastic(self) -> dict[str, Projection]:
        """The projections that learn."""
        return {name: p for name, p in self.projections.items() if p.rules}

    def to_toml(self) -> str:
        """Write the resolved experiment, defaults included, as TOML."""
        return tomli_w.dumps(self.model_dump(exclude_none=True), multiline_strings=True)

    @property
    def hash(self) -> str:
        """SHA-256 of the resolved experiment without title and checkpoints; files count by content, not by path."""
        return self.hashes([self.seed])[0]

    def hashes(self, seeds: Iterable[Seed]) -> list[str]:
        """Give the hashes that the experiment has with other seeds, without spelling it anew for each."""
        paths = {name: {source.data_key} for name, source in self.trains.items()}
        left_out: Any = {"title": True, "seed": True, "inputs": paths, "effective_time_constant": {"run"}}
        left_out["run"] = {key for key in Run.model_fields if key.startswith("checkpoint_")}
        rest = tomli_w.dumps(self.model_dump(exclude_none=True, exclude=left_out))
        heads = ("".join(f"{part} = {value}\n" for part, value in seed) for seed in seeds)
        return [hashlib.sha256(f"[seed]\n{head}\n{rest}".encode()).hexdigest() for head in heads]
