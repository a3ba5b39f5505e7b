"""A simulation: the network on one rank, and its course from event to event."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import build
from mpi_engine.dynamics.block import Plan, load_kernels
from mpi_engine.dynamics.currents import Drive
from mpi_engine.dynamics.neurons import Population, make_population
from mpi_engine.dynamics.plasticity import (
    History,
    PresynapticTrace,
    make_history,
    make_postsynaptic_trace,
    make_presynaptic_trace,
)
from mpi_engine.dynamics.stimulus import make_trains
from mpi_engine.dynamics.synapses import PlasticProjection, StaticProjection, catch_up, make_projection
from mpi_engine.experiment import Experiment
from mpi_engine.network.connectivity import connect
from mpi_engine.network.exchange import Exchange, make_exchange
from mpi_engine.network.partition import Partition
from mpi_engine.network.ranks import LaunchError, Ranks
from mpi_engine.output import layout
from mpi_engine.output.layout import Record
from mpi_engine.run.recording import NeuronRecorder, SpikeRecorder, WeightRecorder


class Simulation:
    """Collective. A network in its initial state, ready to be advanced.

    Parameters
    ----------
    experiment : Experiment
        What is simulated.
    ranks : Ranks, optional
        Who takes part; one rank if not given.
    partition : Partition, optional
        Who has which neuron; even cuts if not given. The results do not depend on it.

    Attributes
    ----------
    step : int
        Steps done.
    """

    def __init__(
        self, experiment: Experiment, ranks: Ranks | None = None, partition: Partition | None = None
    ) -> None:
        self.experiment = experiment
        self.ranks = ranks or Ranks()
        self.partition = partition or Partition.even(experiment.sizes, self.ranks.size)
        self.step = 0
        self.plan = Plan(experiment)
        self._build_network()
        self._build_recorders()
        self._build_exchange()

    def _build_network(self) -> None:
        e, rank = self.experiment, self.ranks.rank
        place = (self.partition, rank)
        self.populations: dict[str, Population] = {name: make_population(e, name, *place) for name in e.populations}
        self.drives = {name: Drive(e, name, *place, neurons) for name, neurons in self.populations.items()}
        self.rows = {name: connect(e, name, *place) for name in e.projections}
        self.projections: dict[str, StaticProjection | PlasticProjection] = {
            name: make_projection(e, name, rows) for name, rows in self.rows.items()
        }
        self.pre = {pair: make_presynaptic_trace(e, *pair) for pair in self.plan.presynaptic}
        self.post = {
            (name, tau): make_postsynaptic_trace(e, self.partition.count(name, rank), tau)
            for name, tau in self.plan.postsynaptic
        }
        self.histories = {name: make_history(self.partition.count(name, rank)) for name in self.plan.learning}
        self.trains = make_trains(e, self.partition, self.ranks)

    def _build_recorders(self) -> None:
        e = self.experiment
        self.spikes = SpikeRecorder(e)
        self.neurons = NeuronRecorder(e, self.partition, self.ranks.rank)
        self.weights = {
            name: WeightRecorder(e, name, self.rows[name], self.partition, self.ranks)
            for name in (e.plastic if e.recording.weights else ())
        }
        self.progress = np.zeros(1 + len(e.sizes), np.int64)
        self.most_spikes = np.array(list(e.sizes.values()), np.int64)

    def _build_exchange(self) -> None:
        self._local_neurons = sum(self.partition.count(name, self.ranks.rank) for name in self.experiment.populations)
        self.exchange: Exchange = make_exchange(self.ranks, len(self.plan.spiking), self._local_neurons)

    def compile(self) -> None:
        """Collective. Load the kernels, compiled by one rank a node if they are not in the cache.

        Raises
        ------
        LaunchError
            If ranks differ in the engine's sources, versions or CPU type, so that their bits could differ.
        """
        builds = self.ranks.gather(build())
        if len(set(builds)) > 1:
            other = next(rank for rank, build in enumerate(builds) if build != builds[0])
            raise LaunchError(
                f"rank {other} differs from rank 0 in Steelyard's version, its packages or its CPU type, and so could "
                "differ in its results; start all ranks on one type of node from one installation"
            )
        self.ranks.one_per_node_first(self._compile)

    def _compile(self) -> None:
        self._block, self._prime = load_kernels(self.experiment)
        clock = self.neurons.clock
        self._block(1, 0, clock, self.exchange, *self._arguments())     # no step, but every type is known
        self._prime.compile(tuple(numba.typeof(argument) for argument in (0, self.exchange, *self._spikers())))
        for name in self.experiment.plastic:
            catch_up(*self._learning(name), self.step)

    def start(self) -> None:
        """Collective. Announce the input spikes of the next step; what is recorded at the start is recorded."""
        for trains in self.trains.values():
            trains.start_at(self.step + 1)
        self._fill_trains(self.step + 1)
        self._prime(self.step, self.exchange, *self._spikers())
        self._note_events()

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
            ready = self._fill_trains(self.step + 2)
            end = min(end, ready - 1)
            arguments = self._arguments()
            self.step, status = self._block(self.step + 1, end, self.neurons.clock, self.exchange, *arguments)
            self._note_events()
        return status

    @property
    def is_full(self) -> bool:
        """Whether the records must be taken before the next step."""
        if self.step >= self.neurons.room_until:
            return True
        return self.spikes.is_full(dict(zip(self.plan.spiking, self.most_spikes.tolist(), strict=True)))

    def catch_up(self) -> None:
        """Bring all plastic weights up to date with the spikes so far."""
        for name in self.experiment.plastic:
            catch_up(*self._learning(name), self.step)

    def take_records(self) -> list[Record]:
        """Collective. Records of what was completed since the last call, for a segment."""
        e = self.experiment
        records = [*self.spikes.take(self.ranks), *self.neurons.take(self.ranks, self.step)]
        for recorder in self.weights.values():
            records += recorder.take(e.run.weight_dtype)
        for name, rows in self.rows.items():
            target = e.projections[name].target
            first, _ = self.partition.span(target, self.ranks.rank)
            out_degree = self.ranks.sum(rows.out_degree)
            size = e.populations[target].size
            records += layout.degrees(name, first, size, rows.in_degree, out_degree, self.ranks.is_first)
        return records

    def _learning(self, name: str) -> tuple[PlasticProjection, PresynapticTrace, History]:
        p, tau = self.experiment.projections[name], self.plan.tau(name)
        projection = self.projections[name]
        assert isinstance(projection, PlasticProjection)
        return projection, self.pre[p.source, tau], self.histories[p.target]

    def _spikers(self) -> list[Any]:
        return [*self.populations.values(), *(trains.train for trains in self.trains.values())]

    def _arguments(self) -> list[Any]:
        return [
            *self._spikers(),
            *(self.drives[name].currents for name in self.plan.unsteady),
            *self.projections.values(),
            *self.pre.values(),
            *self.post.values(),
            *self.histories.values(),
            *self.neurons.observations.values(),
            *self.spikes.records.values(),
            self.neurons.spike_counts,
            self.most_spikes,
            self.progress,
        ]

    def _next_events(self) -> list[int]:
        events = [self.neurons.next_event(self.step)]
        if self.experiment.recording.weights and self.weights:
            interval = self.experiment.steps(self.experiment.recording.weights.interval_ms)
            events.append((self.step // interval + 1) * interval)
        events += [drive.next_event(self.step) for drive in self.drives.values()]
        return [event for event in events if event is not None]

    def _note_events(self) -> None:
        self.neurons.note(self.step)
        for drive in self.drives.values():
            drive.prepare(self.step)
        if self.experiment.recording.weights and self.weights:
            interval = self.experiment.steps(self.experiment.recording.weights.interval_ms)
            if self.step % interval == 0:
                self.catch_up()
                for name, recorder in self.weights.items():
                    recorder.note(self.step, self._learning(name)[0])

    def _fill_trains(self, step: int) -> int:
        """Collective. Make input spikes up to a step at least; return the last step for which they are made."""
        if not self.trains:
            return int(np.iinfo(np.int64).max)
        if any(trains.filled_until < step for trains in self.trains.values()):
            most = np.array([trains.fill_until(step) for trains in self.trains.values()], np.int64)
            self.most_spikes[-most.size :] = self.ranks.sum(most)
            self.spikes.make_room(dict(zip(self.plan.spiking, self.most_spikes.tolist(), strict=True)))
            self._enlarge_exchange(self._local_neurons + int(most.sum()))
        return min(trains.filled_until for trains in self.trains.values())

    def _enlarge_exchange(self, most: int) -> None:
        """Collective. Let the exchange hold so many spikes of this rank, keeping what it received last."""
        needed = self.ranks.maximum(most)
        if needed <= self.exchange.outbox.size - 1 - len(self.plan.spiking):
            return
        old, new = self.exchange, make_exchange(self.ranks, len(self.plan.spiking), 2 * needed)
        new.offsets[:] = old.offsets
        new.fired[: old.offsets[-1]] = old.fired[: old.offsets[-1]]
        self.exchange = new._replace(status=old.status)     # the watcher may be setting it

    def state(self) -> dict[str, NDArray[Any]]:
        """Collective. The dynamic state after the last step, every array whole and in the order of ids.

        Returns
        -------
        dict of str to ndarray
            ``V/<population>`` [mV]; ``w/<population>`` [mV/ms] and ``waiting/<population>`` [steps] of neurons that
            have them; ``I/<population>/<synapse>`` [mV/ms, or 1/ms], with what arrives before the next step;
            ``weights/<projection>`` [mV] by target, then source, with ``pre/`` and ``post/<projection>``;
            ``x/<projection>/pre`` and ``/post``: the traces; ``noise/<input>``: the noise of each neuron of the
            input's target, in standard deviations.
        """
        self.catch_up()
        e, state = self.experiment, {}
        for name, population in self.populations.items():
            for variable in ("V", "w", "waiting"):
                whole = self.ranks.concatenate(getattr(population, variable))
                if whole.size:
                    state[f"{variable}/{name}"] = whole
            for k, kind in enumerate(e.synapses_of(name)):
                current = population.currents[k].copy()
                for incoming, p in e.projections.items():
                    if p.target == name and p.synapse == kind and p.source in e.populations:
                        part = self.projections[incoming]
                        arrivals = part.arrivals[(self.step + 1) % part.delays[1]]
                        current += part.gain[0] * arrivals.astype(current.dtype)
                state[f"I/{name}/{kind}"] = self.ranks.concatenate(current * population.decay[k])
        for drive in self.drives.values():
            state |= {key: self.ranks.concatenate(part) for key, part in drive.state().items()}
        for name, p in e.plastic.items():
            projection, pre, _ = self._learning(name)
            rows = self.rows[name]
            first, _ = self.partition.span(p.target, self.ranks.rank)
            source = np.repeat(np.arange(rows.row_start.size - 1), rows.out_degree)
            target = rows.targets.astype(np.int64) + first
            order = np.lexsort((source, target))
            for key, values in (("pre", source), ("post", target), ("weights", projection.weights)):
                state[f"{key}/{name}"] = self.ranks.concatenate(values[order])
            since = np.minimum(self.step + 1 - pre.last, pre.decay.size - 1)
            state[f"x/{name}/pre"] = pre.after * pre.decay[since]
            state[f"x/{name}/post"] = self.ranks.concatenate(self.post[p.target, self.plan.tau(name)].value)
        return state
