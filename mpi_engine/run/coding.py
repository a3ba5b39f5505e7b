"""A coding network on one rank, and its course from event to event."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpi_engine.dynamics.basis import compile_basis, draw_dense, draw_units
from mpi_engine.dynamics.coding import LAPS, Code, Neurons, Scratch, block
from mpi_engine.dynamics.conditions import compile_conditions
from mpi_engine.dynamics.decoders import compile_draws, draw_decoder, draw_weights, find_dead
from mpi_engine.dynamics.recorders import SpikeRecord
from mpi_engine.dynamics.signals import Course
from mpi_engine.dynamics.slow import ROWS, UNHEALTHY, Basis, at_cache_line
from mpi_engine.dynamics.stopwatch import Stopwatch
from mpi_engine.dynamics.teaching import TeacherError, Teaching
from mpi_engine.experiment import ExperimentError, Problem
from mpi_engine.experiment.coding import BASIS, NEURONS, CodingExperiment, Stage
from mpi_engine.network.consensus import make_consensus
from mpi_engine.network.partition import Partition
from mpi_engine.network.ranks import Ranks
from mpi_engine.network.streams import stream_key
from mpi_engine.output import coding_layout as layout
from mpi_engine.output.layout import Record
from mpi_engine.run.coding_recording import CurrentRecorder, StateRecorder, WeightRecorder
from mpi_engine.run.health import UnhealthyError
from mpi_engine.run.recording import SpikeRecorder
from mpi_engine.run.state import Common, Read, Synapses, Variable, of_neurons
from mpi_engine.run.stepping import Stepping, require_compilable, require_same_build

_SATURATED = 0.3
"""Spikes of a step, of those that are possible, from which on the code suffers."""

_WORTHWHILE = 1000
"""Neurons of a rank below which it waits longer for the others than it saves."""

_NO_SPIKES = SpikeRecord(np.empty(0, np.int32), np.empty(0, np.int32), np.zeros(1, np.int64))

log = logging.getLogger("steelyard")


class CodingSimulation(Stepping):
    """Collective. A coding network in its initial state, ready to be advanced.

    Parameters
    ----------
    experiment : CodingExperiment
        What is simulated.
    ranks : Ranks, optional
        Who takes part; one rank if not given.
    partition : Partition, optional
        Who has which neuron and which unit of the basis; even cuts if not given. The results do not depend on it.
    """

    experiment: CodingExperiment

    def __init__(
        self, experiment: CodingExperiment, ranks: Ranks | None = None, partition: Partition | None = None
    ) -> None:
        self.experiment = e = experiment
        self.ranks = ranks or Ranks()
        self.partition = partition or Partition.even(e.partitioned, self.ranks.size)
        if self.ranks.size > 1 and e.network.size < _WORTHWHILE * self.ranks.size:
            log.warning("%d neurons on %d ranks: one rank is best, for the others would wait; use them for trials or "
                        "seeds", e.network.size, self.ranks.size)
        self.step = 0
        self.progress = np.zeros(2, np.int64)
        self.stopwatch = Stopwatch(LAPS)
        self._key = stream_key(e.seed.noise, "coding noise")
        self._window_began = (0, 0)
        self._warned: set[int] = set()
        self._is_described = False
        require_compilable(e, self.ranks)
        self.ranks.one_per_node_first(self._compile_parts)
        self._build()
        most, K = e.network.spikes_per_step, e.n_dimensions
        self.exchange = make_consensus(self.ranks, K + self.currents.chosen.ids.size, e.network.basis.n_units, most)
        self._x, self._noise = self.course.state_at(0)
        self.state = self._find_state()
        n_mine = self.currents.chosen.local.size
        self._scratch = Scratch(np.zeros(K), np.zeros(K), np.zeros(K), np.zeros(most, np.int64), np.zeros(n_mine))

    def _build(self) -> None:
        e = self.experiment
        self._first, self._last = self.partition.span(NEURONS, self.ranks.rank)
        self.course = Course(e)
        self.vectors = draw_decoder(e)
        if (n_dead := int(find_dead(e, e.n_steps).sum())) > e.network.size / 2:
            remedy = f"leave more dead neurons than live ones, {n_dead} of {e.network.size}; let fewer die"
            raise ExperimentError([Problem("deaths", "", remedy)])
        self.code = self._make_code()
        self.neurons = self._make_neurons()
        self.units = draw_units(e)
        self.basis = self._make_basis()
        self.spikes = SpikeRecorder(e)
        self.states = StateRecorder(e)
        self.currents = CurrentRecorder(e, self._first, self._last)
        self.weights = WeightRecorder(e, self.course.teaching, self.basis, self._first, self._first_unit)

    def _make_code(self) -> Code:
        e, net = self.experiment, self.experiment.network
        dt_s = e.run.dt_ms * 1e-3
        is_exact = net.drift == "exact"
        decay = float(np.exp(-net.leak_per_s * dt_s))
        return Code(
            first=self._first,
            decay=decay,
            gain=(1 - decay) / net.leak_per_s,
            leak=net.leak_per_s if net.compensates_leak or is_exact else 0.0,
            cost=net.quadratic_cost * self._mean_square,
            dt_s=dt_s,
            delay=e.steps(net.lateral_delay_ms),
            drift=np.uint64((self.course.teaching.drift or 0) if is_exact else 0),
        )

    @property
    def _mean_square(self) -> float:
        return float((self.vectors**2).sum()) / len(self.vectors)

    def _make_neurons(self) -> Neurons:
        net, own = self.experiment.network, self.vectors[self._first : self._last]
        threshold = ((own**2).sum(axis=1) + self.code.cost + net.linear_cost * self._mean_square) / 2
        return Neurons(
            decoder=np.ascontiguousarray(own.T),
            vectors=self.vectors,
            V=np.zeros(len(own)),
            threshold=threshold,
            noise=net.noise * threshold * np.sqrt(12 * (1 - self.code.decay**2)) * 2.0**-32,
            words=np.zeros((4, len(own)), np.uint32),
            readout=np.zeros(self.vectors.shape[1]),
            drift=np.zeros(self.vectors.shape[1]),
            late=np.full((self.code.delay, net.spikes_per_step), -1, np.int64),
        )

    def _make_basis(self) -> Basis:
        """Draw the units that this rank has: its block; all where every weight is stored; none with the exact drift."""
        e = self.experiment
        is_exact = e.network.drift == "exact"
        by_synapse = e.learning.form == "per_synapse" and not is_exact
        begin, end = (0, e.network.basis.n_units) if by_synapse else self.partition.span(BASIS, self.ranks.rank)
        self._first_unit, end = (0, 0) if is_exact else (begin, end)
        n_units, n_neurons = end - self._first_unit, self._last - self._first if by_synapse else 0
        A, offset, mixing = self.units
        functions = slice(0 if len(mixing) else self._first_unit, end)
        A, offset = A[functions], offset[functions]
        dense = np.zeros((0, n_units))
        if e.network.basis.kind == "dense":
            dense = draw_dense(e, A, self.vectors, self._first_unit)
        weights, exists = np.zeros((0, 0)), np.zeros((0, 0))
        if by_synapse:
            weights, exists = draw_weights(e, self.vectors, self._first, self._last)
        padding = -len(offset) % ROWS if len(mixing) else 0
        bent = np.zeros(len(offset) + padding)
        return Basis(
            A=np.ascontiguousarray(A.T),
            dense=dense,
            u=np.zeros(len(offset)),
            offset=offset,
            bent=bent,
            mixing=at_cache_line(np.pad(mixing[self._first_unit : end, functions].T, ((0, padding), (0, 0)))),
            psi=np.zeros(n_units) if len(mixing) else bent,
            theta=np.zeros((0 if by_synapse else e.n_dimensions, n_units)),
            weights=weights,
            exists=exists,
            current=np.zeros(n_neurons),
            feedback=np.zeros(n_neurons),
            kept=np.array([1 - e.learning.decay_per_s * self.code.dt_s]),
        )

    @property
    def n_synapses(self) -> int:
        """Number of connections; fast ones, for which the decoder stands, included."""
        return self.experiment.network.size * (self.experiment.network.size + self.experiment.network.basis.n_units)

    def compile(self) -> None:
        """Collective. Load the kernels, compiled by one rank a node if they are not in the cache.

        Raises
        ------
        LaunchError
            If ranks differ in the engine's sources, versions or CPU type, so that their bits could differ.
        """
        require_same_build(self.ranks)
        self.ranks.one_per_node_first(self._compile)

    def _compile_parts(self) -> None:
        compile_draws()
        compile_basis()
        Teaching(self.experiment).compile()

    def _compile(self) -> None:
        compile_conditions()
        self._call_block(0)     # no step, but every type is known
        self.weights.compile()

    def start(self) -> None:
        """Collective. Begin at step 0."""
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

        Raises
        ------
        ExperimentError
            If the teacher diverges.
        UnhealthyError
            If the learned drift leaves the range in which it can be summed.
        """
        status = 0
        while self.step < last and status == 0 and not self.is_full:
            with self.stopwatch.phase("stimulus"):
                self._prepare()
            end = min(last, self.course.until, self._room_until, *self._next_events())
            begin = self.step
            with self.stopwatch.block():
                self.step, status = self._call_block(end)
            self.weights.visit(begin, self.step, self.course.window)
            if self.step == self.course.until:
                self._warn_of_saturation(self.course.stage)
            with self.stopwatch.phase("record"):
                self._note_events()
        self._x[:], self._noise[:] = self.course.state_at(self.step)
        if status & UNHEALTHY:
            time_ms, limit = self.step * self.experiment.run.dt_ms, self.exchange.limit[0]
            raise UnhealthyError(
                f"unhealthy at {time_ms:.10g} ms, step {self.step}: a term of the learned drift is not a number, or "
                f"beyond {limit:g} /s; lower learning_rate_per_s2, or scale the teacher so that its state is about 1"
            )
        return status

    def _prepare(self) -> None:
        """Make the signals of the steps that follow."""
        try:
            self.course.prepare(self.step)
        except TeacherError as error:
            raise ExperimentError([Problem("teacher", "", str(error))]) from None

    def _call_block(self, end: int) -> tuple[int, int]:
        spikes = self.spikes.records.get(NEURONS, _NO_SPIKES)
        step, status = block(
            self.step + 1, end, self._key, self.code, self.neurons, self.basis, self.course.window, self.exchange,
            self._scratch, self.states.samples, self.currents.chosen, spikes, self.progress, self.stopwatch.laps,
        )
        return int(step), int(status)

    @property
    def _room_until(self) -> int:
        return min(self.states.room_until, self.currents.room_until)

    @property
    def is_full(self) -> bool:
        """Whether the records must be taken before the next step."""
        return self.step >= self._room_until or self.spikes.is_full({NEURONS: self._scratch.fired.size})

    def _next_events(self) -> Iterator[int]:
        deaths = (self.experiment.steps(death.at_ms) for death in self.experiment.deaths.values())
        yield from (step for step in deaths if step > self.step)
        yield from self.weights.next_events(self.step)

    def _note_events(self) -> None:
        self._bury()
        self.weights.note(self.step, float(self.exchange.limit[0]), self.ranks)

    def _bury(self) -> None:
        """Let nobody spike who has died until now."""
        self.neurons.threshold[find_dead(self.experiment, self.step)[self._first : self._last]] = np.inf

    def _warn_of_saturation(self, stage: Stage) -> None:
        """Say once of a stage, if too much of the window that has ended was spent at the most spikes a step."""
        began, spikes = self._window_began
        self._window_began = (self.step, int(self.progress[1]))
        share = (self.progress[1] - spikes) / max(self.step - began, 1) / self.experiment.network.spikes_per_step
        if share > _SATURATED and stage.index not in self._warned:
            self._warned.add(stage.index)
            log.warning(
                "phase %s: %.0f %% of the spikes that network.spikes_per_step = %d allows took place, and errors grow; "
                "raise it or network.decoder.norm, or lower run.dt_ms",
                stage.name, 100 * share, self.experiment.network.spikes_per_step,
            )

    def take_records(self) -> list[Record]:
        """Collective. Records of what was completed since the last call, for a segment; the first has the network."""
        records = [*self.spikes.take(self.ranks), *self.states.take(self.step, self.ranks)]
        records += self.currents.take(self.step)
        records += self.weights.take(self.ranks)
        if not self._is_described:
            self._is_described = True
            records += layout.network(self.vectors, *self.units, self.ranks.is_first)
        return records

    def _find_state(self) -> list[Variable]:
        """List the variables of the network's state, the recorders' included."""
        e, basis, common = self.experiment, self.basis, self._common
        n_neurons, n_units = e.network.size, e.network.basis.n_units
        state: list[Variable] = [
            of_neurons("/coding/V", self.neurons.V, self._first, n_neurons),
            common("/coding/readout", self.neurons.readout),
            common("/coding/drift", self.neurons.drift),
            common("/coding/late", self.neurons.late),
            common("/coding/teacher", self._x),
            common("/coding/noise", self._noise),
            common("/progress", self.progress),
        ]
        if basis.weights.shape[0]:
            state.append(of_neurons("/coding/weights", basis.weights, self._first, n_neurons))
            state.append(of_neurons("/coding/current", basis.current, self._first, n_neurons))
        elif e.network.drift == "learned":
            state.append(of_neurons("/coding/theta", basis.theta, self._first_unit, n_units))
        if basis.dense.shape[0]:
            whole = common if basis.weights.shape[0] else lambda path, u: of_neurons(path, u, self._first_unit, n_units)
            state.append(whole("/coding/u", basis.u))
        state += self.currents.state()
        state.append(common("/coding/visited", self.weights.visited))
        return state

    def _common(self, path: str, values: NDArray[Any]) -> Variable:
        return Common.of(path, values, self.ranks)

    def save(self) -> list[Record]:
        """Collective. The whole dynamic state after the last step, right after its records were taken."""
        return [variable.record() for variable in self.state]

    def present_synapses(self) -> list[Synapses]:
        """List weights by synapse that have bounds: slow weights have none."""
        return []

    def restore(self, read: Read) -> None:
        """Collective. Take over a saved state of this network, before the first step; see `Stepping.restore`."""
        for variable in self.state:
            variable.restore(read)
        self.step = int(self.progress[0])
        self.course.go_on_from(self.step, self._x, self._noise)
        self._window_began = (self.step, int(self.progress[1]))
        for recorder in (self.states, self.currents):
            recorder.stand_at(self.step)
        self._bury()
