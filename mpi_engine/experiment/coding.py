"""An experiment with a coding network: what it learns, how, and what is recorded of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt

from mpi_engine.experiment.base import Milliseconds, Part
from mpi_engine.experiment.coding_network import CodingNetwork, Learning
from mpi_engine.experiment.experiment import Experiment, Name, Run
from mpi_engine.experiment.phases import CodingInput, Death, Phase, PulseInput, Trials
from mpi_engine.experiment.recording import Recording
from mpi_engine.experiment.teachers import Teacher

NEURONS = "coding"
"""Name of the population in the run file."""

BASIS = "basis"
"""Name of the units of the basis in a partition."""


def _empty(value: Any) -> Any:
    if value:
        raise ValueError("a coding network is described by network, teacher and phases; leave it out")
    return value


Absent = Annotated[dict[str, Any], AfterValidator(_empty), Field(exclude=True)]
"""A part of other experiments that an experiment with a coding network does not have."""


class CodingRun(Run):
    """See `Run`: coding networks are integrated exactly between inputs, in float64."""

    integrator: Literal["exponential_euler"] = "exponential_euler"
    state_dtype: Literal["float64"] = "float64"
    weight_dtype: Literal["float64"] = "float64"


class Sampled(Part):
    """A recorder that samples at regular times.

    Parameters
    ----------
    interval_ms : float
        Time between samples [ms].
    """

    interval_ms: Milliseconds


class CurrentTraces(Sampled):
    """Time series of V and the excitatory and inhibitory currents of chosen neurons.

    Parameters
    ----------
    neurons : int or list of int
        Their indices, or how many to choose at random.
    interval_ms : float
        Time between samples [ms].
    tau_ms : float
        Time constant of the low-pass filter that makes a current of the lateral spikes [ms].
    """

    neurons: PositiveInt | list[NonNegativeInt]
    interval_ms: Milliseconds = 1.0
    tau_ms: Milliseconds = 5.0


class CodingRecording(Recording):
    """All recorders of a coding network; one that is not named does not record.

    Parameters
    ----------
    segment_ms : float
        See `Recording`.
    spikes : list of str
        ``["coding"]``, if spikes are kept.
    state : Sampled, optional
        Teacher, readout, error and input.
    currents : CurrentTraces, optional
        Of chosen neurons.
    slow_weights : Sampled, optional
        Theta, or W where every weight is stored; with them, the drift error, where f is known.
    """

    spikes: list[Literal["coding"]] = ["coding"]  # type: ignore[assignment]
    rates: None = Field(default=None, exclude=True)
    statistics: None = Field(default=None, exclude=True)
    weights: None = Field(default=None, exclude=True)
    traces: Absent = {}
    sample_ms: Annotated[float, Field(exclude=True)] = 1.0
    state: Sampled | None = None
    currents: CurrentTraces | None = None
    slow_weights: Sampled | None = None


@dataclass(frozen=True)
class Stage:
    """A phase as it takes place, once or in one of several trials.

    Parameters
    ----------
    name : str
        Of the phase.
    index : int
        How many stages came before.
    first, last : int
        Steps done before it and after it.
    phase : Phase
        What happens.
    """

    name: str
    index: int
    first: int
    last: int
    phase: Phase


class CodingExperiment(Experiment):
    """A simulation of a coding network.

    Parameters
    ----------
    title, seed, run
        See `Experiment`. The seeds of parts: network, for the decoder, the basis and initial weights; input, for random
        inputs of phases; state, for who dies and who is chosen to be recorded; noise, for the noise of V.
    teacher : Teacher
        What is learned.
    network : CodingNetwork
        Who learns.
    learning : Learning
        How weights are stored.
    phases : dict
        What happens, in this order; by names, so that the command line can change them.
    trials : Trials, optional
        Phases that are repeated.
    deaths : dict
        Who dies when.
    recording : CodingRecording
        What is recorded.
    """

    kind: Literal["coding"]
    run: CodingRun
    teacher: Teacher
    network: CodingNetwork
    learning: Learning = Learning()
    phases: Annotated[dict[Name, Phase], Field(min_length=1)]
    trials: Trials | None = None
    deaths: dict[Name, Death] = {}
    recording: CodingRecording = CodingRecording()
    neurons: Absent = {}
    synapses: Absent = {}
    plasticity: Absent = {}
    populations: Absent = {}
    subpopulations: Absent = {}
    inputs: Absent = {}
    projections: Absent = {}
    effective_time_constant: None = Field(default=None, exclude=True)

    @property
    def n_dimensions(self) -> int:
        """K."""
        return self.teacher.n_dimensions

    @property
    def neuron_counts(self) -> dict[str, int]:
        """Size of the one population, N."""
        return {NEURONS: self.network.size}

    @property
    def partitioned(self) -> dict[str, int]:
        """Neurons, and units of the basis."""
        return self.sizes | {BASIS: self.network.basis.n_units}

    @property
    def stages(self) -> list[Stage]:
        """The phases as they take place until the end of the run."""
        stages: list[Stage] = []
        first = 0
        for name in self._order():
            phase = self.phases[name]
            length = self.n_steps if phase.duration_ms is None else self.steps(phase.duration_ms)
            last = min(first + length, self.n_steps)
            stages.append(Stage(name, len(stages), first, last, phase))
            first = last
        return [*stages[:-1], replace(stages[-1], last=self.n_steps)]

    def _order(self) -> list[str]:
        names = list(self.phases)
        if self.trials is None or self.trials.from_phase not in names:
            return names
        repeated = names[names.index(self.trials.from_phase) :]
        return names + (self.trials.count - 1) * repeated

    @property
    def exploring_input(self) -> CodingInput | None:
        """Input with which a pilot run explores the states that the basis must tell apart: of the first to learn."""
        return next((phase.input for phase in self.phases.values() if phase.does == "learn"), None)

    def durations(self) -> Iterator[tuple[str, float]]:
        """List every duration that must be a whole number of steps, by its key."""
        yield "run.duration_ms", self.run.duration_ms
        yield "recording.segment_ms", self.recording.segment_ms
        yield "health.interval_ms", self.health.interval_ms
        if self.run.checkpoint_every_ms is not None:
            yield "run.checkpoint_every_ms", self.run.checkpoint_every_ms
        yield "network.lateral_delay_ms", self.network.lateral_delay_ms
        for name, phase in self.phases.items():
            if phase.duration_ms is not None:
                yield f"phases.{name}.duration_ms", phase.duration_ms
            if isinstance(phase.input, PulseInput):
                yield f"phases.{name}.input.length_ms", phase.input.length_ms
                yield from ((f"phases.{name}.input.interval_ms", end) for end in phase.input.interval_ms)
        for name, death in self.deaths.items():
            yield f"deaths.{name}.at_ms", death.at_ms
        for name in ("state", "currents", "slow_weights"):
            recorder: Sampled | None = getattr(self.recording, name)
            if recorder is not None:
                yield f"recording.{name}.interval_ms", recorder.interval_ms
