"""Footprint: the bytes that a run takes in memory and on disk, reckoned from the experiment without running it.

What Python, MPI and compiled code take themselves, and how many spikes there are, is measured: see `calibration`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, sqrt

import numpy as np

from mpi_engine.dynamics.block import Plan
from mpi_engine.dynamics.currents import are_steady
from mpi_engine.dynamics.neurons import model_of, parameters_of
from mpi_engine.dynamics.plasticity import DEPTH, TABLE_TIME_CONSTANTS, Trace
from mpi_engine.dynamics.synapses import arrives_at_once, counts_dtype
from mpi_engine.experiment import Distribution, Experiment, UserSynapse, highest
from mpi_engine.network.adjacency import WORD, is_dense, words_of
from mpi_engine.network.rows import blocks_of, starts_dtype
from mpi_engine.output.layout import JOINT

CHECKPOINT = "a checkpoint while it is written"
"""What the rest of the memory goes on beside."""

SPIKE_IN_MEMORY, SPIKE_ON_DISK = 8, 16
DATASET_BYTES, FILE_BYTES = 600, 8_000
"""Names, shapes, attributes and checksum of a dataset; provenance and seal of a file."""


class Footprint:
    """What an experiment takes on a number of ranks.

    Parameters
    ----------
    experiment : Experiment
        What is run.
    n_ranks : int
        Among how many its neurons are divided.
    rates_hz : mapping of str to float
        Mean rate of each population and input train [Hz].
    """

    def __init__(self, experiment: Experiment, n_ranks: int, rates_hz: Mapping[str, float]) -> None:
        self._experiment = experiment
        self._n_ranks = n_ranks
        self._rates_hz = rates_hz
        self._plan = Plan(experiment)
        self._real = np.dtype(experiment.run.state_dtype).itemsize
        self._weight = np.dtype(experiment.run.weight_dtype).itemsize

    def memory(self) -> dict[str, float]:
        """Bytes of the arrays of the rank that has most, by what they hold, at the time of a checkpoint."""
        e, n_ranks = self._experiment, self._n_ranks
        local = {name: ceil(size / n_ranks) for name, size in e.sizes.items()}
        neurons = sum(local[name] * (self._neuron(name) + self._scratch(name)) for name in e.populations)
        synapses = sum(self.synapses(name, local[p.target]) for name, p in e.projections.items())
        traces = self._presynaptic() + sum(local[trace.population] for trace in self._post) * self._real
        histories = sum(local[name] * self._history(name) for name in self._plan.remembering)
        records = sum(self._statistics(name) * local[name] for name in e.populations) + self._segment()
        saved = sum(self._saved_synapses(name) for name in e.plastic) / n_ranks
        return {"neurons": neurons, "synapses": synapses, "plasticity": traces + histories, "recorders": records,
                CHECKPOINT: saved}

    def run_file(self) -> float:
        """Bytes of all that is recorded, as ``run.h5`` holds it at the end."""
        e, recording, duration = self._experiment, self._experiment.recording, self._experiment.run.duration_ms
        total = datasets = 0.0
        for name in recording.spikes:
            total += self._spikes(name, duration) * SPIKE_ON_DISK
            datasets += 2
        if recording.rates:
            for name in (*e.sizes, *recording.rates.subpopulations):
                population = name if name in e.sizes else e.subpopulations[name].population
                columns = 1 + (len(e.variables_of(population)) if population in e.populations else 0)
                total += duration // recording.rates.bin_ms * columns * 8
                datasets += columns
        if recording.statistics:
            blocks = max(0.0, duration - recording.statistics.start_ms) // recording.statistics.block_ms
            for name in e.populations:
                columns = 1 + 2 * len(e.variables_of(name)) + self._joint(name)
                total += blocks * 8 * (2 + columns * e.sizes[name])
                datasets += 2 + columns
        for name, traces in recording.traces.items():
            population, _ = e.members(name)
            columns = len(e.variables_of(population))
            total += duration // traces.interval_ms * columns * self._chosen(name) * self._real
            datasets += columns + 5
        if recording.weights:
            for name in e.plastic:
                parts = len(recording.weights.targets.get(name, ()))
                row = 8 * (5 + recording.weights.histogram_bins + 2 * parts) + self._weight * recording.weights.sample
                total += (1 + duration // recording.weights.interval_ms) * row + 16 * recording.weights.sample
                datasets += 10 + 2 * parts
        for p in e.projections.values():
            total += 8 * (e.sizes[p.source] + e.sizes[p.target])
            datasets += 2
        return total + datasets * DATASET_BYTES + FILE_BYTES

    def checkpoint(self) -> float:
        """Bytes of a checkpoint."""
        e = self._experiment
        total = float(sum(e.sizes[name] * self._neuron(name) for name in e.populations))
        if e.recording.statistics:
            total += sum(e.sizes[name] * self._statistics(name, 0) for name in e.populations)
        total += sum(8 * e.members(noise.target)[1].size for noise in e.noises.values())
        total += sum(e.sizes[p.target] * self._arrivals(name) for name, p in e.projections.items())
        total += sum(self._saved_synapses(name) for name in e.plastic)
        total += self._presynaptic(tables=False) + sum(e.sizes[trace.population] for trace in self._post) * self._real
        total += sum(e.sizes[name] * self._history(name) for name in self._plan.remembering)
        datasets = sum(len(e.variables_of(name)) * 4 for name in e.populations) + 4 * len(e.projections)
        return total + datasets * DATASET_BYTES + FILE_BYTES

    def disk(self) -> float:
        """Most bytes on disk at a time: the segments beside the file they become, two checkpoints and one begun."""
        return 2 * self.run_file() + 3 * self.checkpoint()

    def _neuron(self, name: str) -> int:
        """Bytes of the dynamic state of a neuron."""
        e = self._experiment
        kinds = [e.synapses[kind] for kind in e.synapses_of(name)]
        own = sum(len(kind.declaration.state) for kind in kinds if isinstance(kind, UserSynapse))
        variables = 1 + e.has_shadow_voltage + len(model_of(e, name).state) + len(kinds) + own
        refractory = e.neurons[e.populations[name].neuron].refractory_ms > 0
        return variables * self._real + 4 * refractory

    def _scratch(self, name: str) -> int:
        """Bytes of what a neuron has besides: parameters, drive, and room for the step."""
        varied = sum(isinstance(value, np.ndarray) for value in parameters_of(self._experiment, name).values())
        conducting = "g_total" in self._experiment.variables_of(name)
        of_noises = 16 * sum(self._experiment.members(noise.target)[0] == name
                             for noise in self._experiment.noises.values())
        return (3 + varied + conducting + (not are_steady(self._experiment, name))) * self._real + 1 + 4 + of_noises

    def synapses(self, name: str, n_local: int) -> float:
        """Bytes of a projection onto so many neurons."""
        e, p = self._experiment, self._experiment.projections[name]
        of_targets = n_local * (8 + self._arrivals(name))
        if is_dense(e, name):
            return e.sizes[p.source] * words_of(n_local) * WORD / 8 + of_targets
        per_synapse = 2
        per_synapse += 0 if p.has_one_weight else self._weight
        if isinstance(p.delay_ms, Distribution):
            per_synapse += 1 if e.steps(highest(p.delay_ms)) < 2**8 else 2
        in_degree, most = e.expected_in_degree(name)
        n_blocks = int(blocks_of(n_local)[0])
        rows = e.sizes[p.source] * (n_blocks * np.dtype(starts_dtype(most * n_local)).itemsize + 4 * bool(p.rules))
        room = self._room(name, in_degree * n_local / (e.sizes[p.source] * n_blocks)) if p.rules else 0.0
        return in_degree * n_local * per_synapse + rows + room + of_targets

    def _room(self, name: str, length: float) -> float:
        """Bytes of the room for visits to the longest of a projection's pieces, given their mean length."""
        longest = length + 3 * sqrt(length)
        seen = self._plan.learning.n_seen(name)
        return longest * (DEPTH * (2 + 4) + self._weight + seen * self._real)

    def _arrivals(self, name: str) -> int:
        """Bytes of the spikes under way to a target of a projection."""
        e, p = self._experiment, self._experiment.projections[name]
        if arrives_at_once(e, name):
            return 0
        # inputs are delivered before a step takes its slot
        slots = 1 if p.delay_ms is None else e.steps(highest(p.delay_ms)) + (p.source not in e.populations)
        counted = np.dtype(counts_dtype(e, name)).itemsize
        return slots * (counted if p.has_one_weight else self._real)

    def _saved_synapses(self, name: str) -> float:
        """Bytes of a plastic projection's weights in a checkpoint; twice where they change between spikes."""
        e = self._experiment
        in_degree, _ = e.expected_in_degree(name)
        times = 2 if self._plan.learning.drifts(name) else 1
        return times * in_degree * e.sizes[e.projections[name].target] * self._weight

    @property
    def _post(self) -> list[Trace]:
        return list(self._plan.learning.postsynaptic)

    def _presynaptic(self, tables: bool = True) -> float:
        e, total = self._experiment, 0.0
        for trace in self._plan.learning.presynaptic:
            total += e.sizes[trace.population] * (2 * self._real + 4)
            total += self._real * min(e.steps(TABLE_TIME_CONSTANTS * trace.tau_ms), e.n_steps) * tables
        return total

    def _history(self, name: str) -> int:
        """Bytes of the history of a neuron's spikes."""
        return DEPTH * (4 + self._real * len(self._plan.learning.sampled[name])) + 1

    def _joint(self, name: str) -> int:
        return len(JOINT) if "g_total" in self._experiment.variables_of(name) else 0

    def _statistics(self, name: str, blocks: float | None = None) -> float:
        """Bytes of a neuron's statistics: sums, and so many blocks that are complete (those of a segment)."""
        e, statistics = self._experiment, self._experiment.recording.statistics
        if statistics is None:
            return 8.0
        if blocks is None:
            blocks = e.recording.segment_ms / statistics.block_ms
        variables, joint = len(e.variables_of(name)), self._joint(name)
        sums = 1 + 3 * variables + (joint + 2 if joint else 0)
        # blocks are stacked for the segment before they are dropped
        return 8 * (sums + 2 * blocks * (1 + 2 * variables + joint))

    def _segment(self) -> float:
        """Bytes of the spikes and traces of a segment, and of the slice of spikes that a rank writes."""
        e, segment = self._experiment, self._experiment.recording.segment_ms
        total = 0.0
        for name in e.recording.spikes:
            total += self._spikes(name, segment) * (SPIKE_IN_MEMORY + SPIKE_ON_DISK / self._n_ranks)
        for name, traces in e.recording.traces.items():
            columns = len(e.variables_of(e.members(name)[0]))
            total += 2 * segment / traces.interval_ms * columns * self._chosen(name) * self._real / self._n_ranks
        return total

    def _spikes(self, name: str, duration_ms: float) -> float:
        return self._experiment.sizes[name] * self._rates_hz[name] * duration_ms * 1e-3

    def _chosen(self, name: str) -> int:
        neurons = self._experiment.recording.traces[name].neurons
        return neurons if isinstance(neurons, int) else len(neurons)
