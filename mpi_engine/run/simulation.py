"""A simulation: the network on one rank, and its course from event to event."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mpi_engine.dynamics.block import Plan, load_kernels
from mpi_engine.dynamics.currents import Drive
from mpi_engine.dynamics.neurons import Population, make_population
from mpi_engine.dynamics.plasticity import (
    make_history,
    make_postsynaptic_trace,
    make_presynaptic_trace,
    straighten,
)
from mpi_engine.dynamics.stimulus import WINDOW_STEPS, make_trains
from mpi_engine.dynamics.stopwatch import Stopwatch
from mpi_engine.dynamics.synapses import AnyProjection, PlasticProjection, make_projection
from mpi_engine.dynamics.weights import normalise, sum_weights
from mpi_engine.experiment import Experiment, Normalisation
from mpi_engine.network.connectivity import connect, connect_nobody
from mpi_engine.network.exchange import Exchange, make_exchange
from mpi_engine.network.partition import Partition
from mpi_engine.network.ranks import Ranks
from mpi_engine.output import projection_layout
from mpi_engine.output.layout import Record
from mpi_engine.run.network_state import find_state
from mpi_engine.run.recording import NeuronRecorder, SpikeRecorder
from mpi_engine.run.state import Common, Read, Synapses
from mpi_engine.run.stepping import Stepping, require_compilable, require_same_build
from mpi_engine.run.weights import WeightRecorder

_AHEAD_STEPS = 4 * WINDOW_STEPS
"""Input spikes are made for so many steps at a time: all ranks leave the compiled loop for it, and caches cool."""


def load_construction(experiment: Experiment, ranks: Ranks) -> None:
    """Collective. Load the kernels that draw a network, compiled by one rank a node if they are not in the cache.

    A `Simulation` loads them itself; where this is not called before, all ranks may compile the same at once.
    """
    partition = Partition.even(experiment.sizes, ranks.size)

    def load() -> None:
        neurons = {name: make_population(experiment, name, partition, ranks.rank) for name in experiment.populations}
        for name, p in experiment.projections.items():
            nobody = connect_nobody(experiment, name, partition, ranks.rank)
            make_projection(experiment, name, nobody, neurons[p.target])

    ranks.one_per_node_first(load)
    ranks.barrier()     # or to wait for those who load later would be counted as building


class Simulation(Stepping):
    """Collective. A network in its initial state, ready to be advanced.

    Parameters
    ----------
    experiment : Experiment
        What is simulated.
    ranks : Ranks, optional
        Who takes part; one rank if not given.
    partition : Partition, optional
        Who has which neuron; even cuts if not given. The results do not depend on it.

    """

    def __init__(
        self, experiment: Experiment, ranks: Ranks | None = None, partition: Partition | None = None
    ) -> None:
        self.experiment = experiment
        self.ranks = ranks or Ranks()
        self.partition = partition or Partition.even(experiment.sizes, self.ranks.size)
        self.step = self.recorded = 0
        self.plan = Plan(experiment)
        self.stopwatch = Stopwatch(self.plan.laps)
        self._build_network()
        self._build_recorders()
        self._build_exchange()
        self.state = find_state(self)

    def _build_network(self) -> None:
        e, rank = self.experiment, self.ranks.rank
        place = (self.partition, rank)
        self.populations: dict[str, Population] = {name: make_population(e, name, *place) for name in e.populations}
        self.drives = {name: Drive(e, name, *place, neurons) for name, neurons in self.populations.items()}
        self.drawn = {name: connect(e, name, *place) for name in e.projections}
        self.projections: dict[str, AnyProjection] = {
            name: make_projection(e, name, drawn, self.populations[e.projections[name].target])
            for name, drawn in self.drawn.items()
        }
        learning = self.plan.learning
        self.pre = [make_presynaptic_trace(e, trace) for trace in learning.presynaptic]
        self.post = [make_postsynaptic_trace(e, self.partition.count(trace.population, rank), trace)
                     for trace in learning.postsynaptic]
        self.histories = {
            name: make_history(e, self.partition.count(name, rank), len(learning.sampled[name]))
            for name in self.plan.remembering
        }
        changes = {name: [e.steps(change.start_ms) for rule in p.rules for change in e.plasticity[rule].schedule]
                   for name, p in e.plastic.items()}
        self._rule_changes = {name: steps for name, steps in changes.items() if steps}
        self._normalisations = {
            (name, rule): e.steps(described.interval_ms)
            for name, p in e.plastic.items() for rule in p.rules
            if isinstance(described := e.plasticity[rule], Normalisation)
        }
        self._set_rules()
        self._totals = {which: self._weight_totals(*which) for which in self._normalisations}
        self.trains = make_trains(e, self.partition, self.ranks)

    def _build_recorders(self) -> None:
        e = self.experiment
        self.spikes = SpikeRecorder(e)
        self.neurons = NeuronRecorder(e, self.partition, self.ranks.rank)
        self.weights = {
            name: WeightRecorder(e, name, self.drawn[name], self.ranks)
            for name in (e.plastic if e.recording.weights else ())
        }
        self.progress = np.zeros(1 + len(e.sizes), np.int64)
        self.most_spikes = np.array(list(e.sizes.values()), np.int64)

    def _build_exchange(self) -> None:
        local_neurons = sum(self.partition.count(name, self.ranks.rank) for name in self.experiment.populations)
        self._most_neurons = self.ranks.maximum(local_neurons)
        self.exchange: Exchange = make_exchange(self.ranks, len(self.plan.spiking), self._most_neurons)

    @property
    def n_synapses(self) -> int:
        """Collective. Number of synapses of the whole network."""
        return sum(int(self.ranks.sum(drawn.in_degree.sum(keepdims=True))[0]) for drawn in self.drawn.values())

    def compile(self) -> None:
        """Collective. Load the kernels, compiled by one rank a node if they are not in the cache.

        Raises
        ------
        ExperimentError
            If a function of the user's cannot be compiled.
        LaunchError
            If ranks differ in the engine's sources, versions or CPU type, so that their bits could differ.
        """
        require_same_build(self.ranks)
        require_compilable(self.experiment, self.ranks)
        self.ranks.one_per_node_first(self._compile)

    def _compile(self) -> None:
        self._kernels = load_kernels(self.plan)
        clock = self.neurons.clock
        self._kernels.block(1, 0, clock, self.exchange, *self._arguments())     # no step, but every type is known
        self._kernels.prime.compile(tuple(numba.typeof(argument) for argument in (0, self.exchange, *self._spikers())))
        for history in self.histories.values():
            straighten(history)
        for name in self.experiment.plastic:
            self.present_weights(name)
        for variable in self.state:
            if isinstance(variable, Synapses):
                variable.take(variable.give())     # once there and back: both ways are compiled

    def start(self) -> None:
        """Collective. Announce the input spikes of the first step; what is recorded at the start is recorded."""
        self._announce_inputs()
        self._note_events()

    def _announce_inputs(self) -> None:
        """Collective. Make and announce the input spikes of the next step."""
        for trains in self.trains.values():
            trains.start_at(self.step + 1)
        self._fill_trains(self.step + 1)
        self.ranks.meet("prime")
        self._kernels.prime(self.step, self.exchange, *self._spikers())

    def save(self) -> list[Record]:
        """Collective. The whole dynamic state; see `Stepping.save`.

        All postsynaptic spikes are applied first, so that it need not be saved which row has seen which. Weights that
        change between spikes are saved as of their last one, and as they are now.
        """
        now = self.present_synapses()
        for history in self.histories.values():
            straighten(history)
        records = [variable.record() for variable in self.state]
        records += [replace(synapses, path=f"{synapses.path}_now").record()
                    for synapses in now if self.plan.learning.drifts(synapses.name)]
        recorded = Common.of("/recorded", np.array([self.recorded]), self.ranks)
        return [*records, recorded.record()]

    def present_synapses(self) -> list[Synapses]:
        """Plastic weights up to date to the last step; see `Stepping.present_synapses`."""
        return [replace(variable, values=self.present_weights(variable.name))
                for variable in self.state if isinstance(variable, Synapses)]

    def restore(self, read: Read) -> None:
        """Collective. Take over a saved state of this network, before the first step; see `Stepping.restore`."""
        for variable in self.state:
            variable.restore(read)
        self.step, self.recorded = int(self.progress[0]), int(read("/recorded", 0, 1)[0])
        for name in self.experiment.plastic:
            part = self._plastic(name)
            part.visited[:] = part.oldest[:] = self.step + 1
        self._set_rules()
        self.neurons.stand_at(self.step)
        for drive in self.drives.values():
            drive.prepare(self.step)
        self._announce_inputs()

    def advance(self, last: int) -> int:
        """Collective. Do steps up to a given one, or to where records are full or a status word is raised.

        Parameters
        ----------
        last : int
            Step after which to return.

        Returns
        -------
        int
            The status words of all ranks, or-ed; zero if none was raised.
        """
        status = 0
        while self.step < last and status == 0 and not self.is_full:
            end = min([last, self.neurons.room_until, *self._next_events()])
            with self.stopwatch.phase("stimulus"):
                ready = self._fill_trains(self.step + 2)
            end = min(end, ready - 1)
            arguments = self._arguments()
            self.ranks.meet("block")
            begin, clock = self.step + 1, self.neurons.clock
            with self.stopwatch.block():
                self.step, status = self._kernels.block(begin, end, clock, self.exchange, *arguments)
            self._note_events()
        return status

    @property
    def is_full(self) -> bool:
        """Whether the records must be taken before the next step."""
        if self.step >= self.neurons.room_until:
            return True
        return self.spikes.is_full(dict(zip(self.plan.spiking, self.most_spikes.tolist(), strict=True)))

    def present_weights(self, projection: str) -> NDArray[Any]:
        """Weights of a plastic projection on this rank as they are now [mV, or 1], by source, then target."""
        part = self._plastic(projection)
        weights = part.weights
        if self.plan.learning.drifts(projection):
            weights = np.empty_like(weights)
        self._catch_up(projection, weights)
        return weights

    def _catch_up(self, projection: str, weights: NDArray[Any]) -> None:
        named = self._named()
        arguments = [named[name] for name in self.plan.learning.arguments(projection)]
        getattr(self._kernels, f"catch_up_{projection}")(self.step, weights, self._plastic(projection), *arguments)

    def _settle(self, projection: str) -> None:
        """Bring a projection's own weights up to date to this step, whatever changes them from now on."""
        part = self._plastic(projection)
        self._catch_up(projection, part.weights)
        part.epoch[0] = self.step

    def take_records(self) -> list[Record]:
        """Collective. Records of what was completed since the last call, for a segment; the first has the degrees."""
        e = self.experiment
        records = [*self.spikes.take(self.ranks), *self.neurons.take(self.ranks, self.step)]
        for recorder in self.weights.values():
            records += recorder.take(e.run.weight_dtype)
        for name, drawn in self.drawn.items() if self.recorded == 0 else ():
            target = e.projections[name].target
            first, _ = self.partition.span(target, self.ranks.rank)
            out_degree = self.ranks.sum(drawn.out_degree)
            size = e.populations[target].size
            records += projection_layout.degrees(name, first, size, drawn.in_degree, out_degree, self.ranks.is_first)
        self.recorded = self.step
        return records

    def _plastic(self, projection: str) -> PlasticProjection:
        part = self.projections[projection]
        assert isinstance(part, PlasticProjection)
        return part

    def _spikers(self) -> list[Any]:
        return [*self.populations.values(), *(trains.train for trains in self.trains.values())]

    def _arguments(self) -> list[Any]:
        named = self._named()
        return [named[name] for name in self.plan.arguments]

    def _named(self) -> dict[str, Any]:
        """What the kernels work on, as `Plan.arguments` names it."""
        named: dict[str, Any] = {
            "spike_counts": self.neurons.spike_counts, "most_spikes": self.most_spikes, "progress": self.progress,
            "laps": self.stopwatch.laps,
        }
        parts: dict[str, Any] = {
            "neurons": self.populations,
            "V": {name: population.V for name, population in self.populations.items()},
            "train": {name: trains.train for name, trains in self.trains.items()},
            "currents": {name: self.drives[name].currents for name in self.plan.unsteady},
            "synapses": self.projections,
            "rules": self.rules,
            "epoch": {name: self._plastic(name).epoch for name in self.experiment.plastic},
            "pre": dict(enumerate(self.pre)),
            "post": dict(enumerate(self.post)),
            "history": self.histories,
            "observations": self.neurons.observations,
            "traces": self.neurons.traces,
            "spikes": self.spikes.records,
        }
        return named | {f"{kind}_{name}": part for kind, those in parts.items() for name, part in those.items()}

    def _set_rules(self) -> None:
        """Put the rules' parameters as they are in the next steps into the weights' number format."""
        real = np.dtype(self.experiment.run.weight_dtype).type
        self.rules = {
            name: tuple(real(value) for value in self.plan.learning.parameters(name, self.step))
            for name in self.experiment.plastic
        }

    def _next_events(self) -> list[int]:
        events = [self.neurons.next_event(self.step)]
        if self.experiment.recording.weights and self.weights:
            interval = self.experiment.steps(self.experiment.recording.weights.interval_ms)
            events.append((self.step // interval + 1) * interval)
        events += [drive.next_event(self.step) for drive in self.drives.values()]
        for changes in self._rule_changes.values():
            events += [change for change in changes if change > self.step]
        for interval in self._normalisations.values():
            events.append((self.step // interval + 1) * interval)
        return [event for event in events if event is not None]

    def _note_events(self) -> None:
        with self.stopwatch.phase("record"):
            self.neurons.note(self.step)
        with self.stopwatch.phase("stimulus"):
            for drive in self.drives.values():
                drive.prepare(self.step)
        with self.stopwatch.phase("learn"):
            self._change_rules()
        with self.stopwatch.phase("record"):
            self._note_weights()

    def _change_rules(self) -> None:
        for (name, rule), interval in self._normalisations.items():
            if self.step and self.step % interval == 0:
                self._normalise(name, rule)
        if changed := [name for name, steps in self._rule_changes.items() if self.step in steps]:
            for name in changed:
                self._settle(name)
            self._set_rules()

    def _note_weights(self) -> None:
        if self.experiment.recording.weights and self.weights:
            interval = self.experiment.steps(self.experiment.recording.weights.interval_ms)
            if self.step % interval == 0:
                for name, recorder in self.weights.items():
                    recorder.note(self.step, self._plastic(name), self.present_weights(name))

    def _normalise(self, projection: str, rule: str) -> None:
        self._settle(projection)
        totals = self._totals[projection, rule]
        normalise(self._plastic(projection), totals, np.empty_like(totals))

    def _weight_totals(self, projection: str, rule: str) -> NDArray[np.float64]:
        """Sum that a normalisation gives to the weights onto each local target [mV, or 1]."""
        described, part = self.experiment.plasticity[rule], self._plastic(projection)
        assert isinstance(described, Normalisation)
        totals = np.empty(part.arrivals.shape[1])
        if described.sum_mv is None:
            sum_weights(part, totals)
        else:
            totals[:] = described.sum_mv * self.experiment.weight_scale(projection)
        return totals

    def _fill_trains(self, step: int) -> int:
        """Collective. Make input spikes up to a step at least; return the last step for which they are made."""
        if not self.trains:
            return sys.maxsize
        if any(trains.filled_until < step for trains in self.trains.values()):
            ahead = max(step, min(step + _AHEAD_STEPS - 1, self.experiment.n_steps))
            most = np.array([trains.fill_until(ahead) for trains in self.trains.values()], np.int64)
            self.most_spikes[-most.size :] = self.ranks.sum(most)
            self.spikes.make_room(dict(zip(self.plan.spiking, self.most_spikes.tolist(), strict=True)))
            self._enlarge_exchange(self._most_neurons + int(self.most_spikes[-most.size :].sum()))
        return min(trains.filled_until for trains in self.trains.values())

    def _enlarge_exchange(self, most: int) -> None:
        """Collective. Let the exchange hold so many spikes of a rank, keeping what it received last."""
        if most <= self.exchange.outbox.size - 1 - len(self.plan.spiking):
            return
        old, new = self.exchange, make_exchange(self.ranks, len(self.plan.spiking), 2 * most)
        new.offsets[:] = old.offsets
        new.fired[: old.offsets[-1]] = old.fired[: old.offsets[-1]]
        self.exchange = new._replace(status=old.status)     # the watcher may be setting it
