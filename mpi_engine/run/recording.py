"""Recording of spikes and neurons: the memory that a block writes to, and the records that a segment makes of it."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.dynamics.recorders import Clock, Observations, SpikeRecord, TraceRecord
from mpi_engine.experiment import Experiment
from mpi_engine.network.partition import Partition
from mpi_engine.network.ranks import Ranks
from mpi_engine.network.streams import hash_ids, stream_key
from mpi_engine.output import layout
from mpi_engine.output.layout import Record
from mpi_engine.run.state import Common, Total, Variable, of_neurons

_FEWEST_SPIKES, _MOST_SPIKES = 2**16, 2**22
"""Room for the spikes of a population between segments, unless it needs more for two steps."""

_UNITS = {"mV": 2.0**-20, "mV/ms": 2.0**-24, "1/ms": 2.0**-30}
"""Units in which population sums are whole numbers: 1e-6 or less of what a neuron typically has."""

_EXPECTED_RATE_HZ = 200.0
"""A segment is cut early where populations fire faster than this, or the room is not enough for it."""


class SpikeRecorder:
    """Spikes of populations and inputs.

    Parameters
    ----------
    experiment : Experiment
        What is recorded.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._dt = experiment.run.dt_ms
        self._sizes = experiment.sizes
        self.records: dict[str, SpikeRecord] = {}
        for name, size in self._sizes.items():
            if name in experiment.recording.spikes:
                expected = int(size * _EXPECTED_RATE_HZ * 1e-3 * experiment.recording.segment_ms)
                room = min(max(expected, _FEWEST_SPIKES), _MOST_SPIKES)
                self.records[name] = _spike_record(max(2 * size, room))

    def make_room(self, most: dict[str, int]) -> None:
        """Let every record hold twice the most spikes of a step."""
        for name, record in self.records.items():
            if record.steps.size < 2 * most[name]:
                larger = _spike_record(4 * most[name])
                n = record.kept[0]
                larger.steps[:n], larger.ids[:n], larger.kept[0] = record.steps[:n], record.ids[:n], n
                self.records[name] = larger

    def is_full(self, most: dict[str, int]) -> bool:
        """Whether a further step may not fit."""
        return any(record.kept[0] + most[name] > record.steps.size for name, record in self.records.items())

    def take(self, ranks: Ranks) -> list[Record]:
        """Collective. Records of the spikes since the last call, of which each rank writes a slice of time."""
        records = []
        for name, record in self.records.items():
            total = int(record.kept[0])
            mine = slice(total * ranks.rank // ranks.size, total * (ranks.rank + 1) // ranks.size)
            times = record.steps[mine] * np.float64(self._dt)
            records += layout.spikes(name, times, record.ids[mine], mine.start, total)
            record.kept[0] = 0
        return records


class _Block(NamedTuple):
    """The statistics of a block of time: its first step less one, and what the neurons of this rank did in it."""

    start: int
    samples: int
    spike_count: NDArray[np.int64]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    joint: NDArray[np.float64]


class NeuronRecorder:
    """Statistics of every neuron, population rates and means, and traces of chosen neurons.

    Parameters
    ----------
    experiment : Experiment
        What is recorded.
    partition : Partition
        Who has which neuron.
    rank : int
        Whose part this is.
    """

    def __init__(self, experiment: Experiment, partition: Partition, rank: int) -> None:
        self._experiment = experiment
        recording, statistics = experiment.recording, experiment.recording.statistics
        self._sample = experiment.steps(recording.sample_ms)
        self._bin = experiment.steps(recording.rates.bin_ms) if recording.rates else 0
        self._start = experiment.steps(statistics.start_ms) if statistics else 0
        self._block = experiment.steps(statistics.block_ms) if statistics else 0
        self._average_ms = statistics.average_ms if statistics else None
        self._first_bin = 0
        self._begun = np.zeros(1, np.uint8)
        segment = experiment.steps(recording.segment_ms)
        self._n_bins = segment // self._bin + 3 if self._bin else 1
        self.spike_counts = np.zeros((self._n_bins, len(experiment.sizes)), np.int64)
        self._spans = {name: partition.span(name, rank) for name in experiment.populations}
        self.variables = {name: experiment.variables_of(name) for name in experiment.populations}
        self._parts: dict[str, list[str]] = {name: [] for name in experiment.populations}
        for part in recording.rates.subpopulations if recording.rates else ():
            self._parts[experiment.members(part)[0]].append(part)
        self._chosen = {name: _choose_neurons(experiment, name) for name in recording.traces}
        self.observations = {name: self._observations(name) for name in experiment.populations}
        self.traces = {name: self._trace_record(name, segment) for name in recording.traces}
        self._blocks: dict[str, list[_Block]] = {name: [] for name in experiment.populations}

    def _observations(self, name: str) -> Observations:
        first, last = self._spans[name]
        variables, parts = self.variables[name], self._parts[name]
        n, n_variables = last - first, len(variables)
        dtype = np.dtype(self._experiment.run.state_dtype)
        conductances = n if "g_total" in variables else 0
        neurons = np.arange(first, last)
        member = [np.isin(neurons, self._experiment.members(part)[1]) for part in parts]
        n_sums = n if self._block else 0
        n_joint = conductances if self._block else 0
        return Observations(
            total=np.zeros(n, dtype),
            conductance=np.zeros(conductances, dtype),
            spike_count=np.zeros(n, np.int64),
            window=np.zeros((n_variables, n_sums)),
            collected=np.zeros(1, np.int64),
            sums=np.zeros((n_variables, n_sums)),
            squares=np.zeros((n_variables, n_sums)),
            joint=np.zeros((len(layout.JOINT), n_joint)),
            centre=np.full((2, n_joint), np.nan),
            samples=np.zeros(1, np.int64),
            unit=np.array([_UNITS[layout.unit_of(variable)] for variable in variables]),
            member=np.array(member, np.uint8).reshape(len(parts), n),
            binned=np.zeros((self._n_bins, 1 + len(parts), n_variables), np.int64),
            member_spikes=np.zeros((self._n_bins, len(parts)), np.int64),
        )

    def _trace_record(self, name: str, segment: int) -> TraceRecord:
        population, _ = self._experiment.members(name)
        first, last = self._spans[population]
        chosen = [gid - first for gid in self._chosen[name] if first <= gid < last]
        interval = self._experiment.steps(self._experiment.recording.traces[name].interval_ms)
        shape = (segment // interval + 3, len(self.variables[population]), len(chosen))
        return TraceRecord(
            chosen=np.array(chosen, np.int32),
            interval=np.array([interval, 0], np.int64),
            values=np.zeros(shape, self._experiment.run.state_dtype),
        )

    @property
    def clock(self) -> Clock:
        """When recorders are due."""
        interval = 1 if self._average_ms else self._sample
        average = self._experiment.steps(self._average_ms) if self._average_ms else 1
        return Clock(self._sample, self._bin, self._first_bin, interval if self._begun[0] else 0, average)

    @property
    def room_until(self) -> int:
        """Last step that the memory for bins and traces has room for, until `take` is called."""
        limits = [(self._first_bin + self._n_bins) * self._bin] if self._bin else []
        for record in self.traces.values():
            interval, first_sample = record.interval.tolist()
            limits.append((first_sample + record.values.shape[0]) * interval)
        return min(limits, default=sys.maxsize)

    def next_event(self, step: int) -> int | None:
        """Step, after a given one, at which `note` must be called; None if never."""
        if not self._block:
            return None
        if step < self._start:
            return self._start
        return self._start + ((step - self._start) // self._block + 1) * self._block

    def note(self, step: int) -> None:
        """Close the block of statistics that ends with a step, and open the next."""
        if not self._block or step < self._start or (step - self._start) % self._block:
            return
        for name, o in self.observations.items():
            if self._begun[0]:
                samples = int(o.samples[0])
                mean = o.sums / samples
                variance = np.maximum(o.squares / samples - mean * mean, 0.0)
                joint = o.joint / samples
                if joint.size:
                    joint[0] -= mean[0] * mean[-1]
                    o.centre[:] = mean[0], mean[-1]
                self._blocks[name].append(
                    _Block(step - self._block, samples, o.spike_count.copy(), mean, variance, joint)
                )
            for sums in (o.spike_count, o.sums, o.squares, o.joint, o.samples):
                sums[:] = 0
        self._begun[0] = 1

    def state(self, ranks: Ranks) -> list[Variable]:
        """List what `take` leaves: the sums of the block and of the bin that have not ended."""
        group = "/recorders"
        state: list[Variable] = [
            Common.of(f"{group}/begun", self._begun, ranks),
            Common.of(f"{group}/spike_counts", self.spike_counts[:1], ranks),
        ]
        for name, o in self.observations.items():
            first, size = self._spans[name][0], self._experiment.populations[name].size
            sums = ["spike_count", "window", "sums", "squares"] if self._block else []
            sums += ["joint", "centre"] if self._block and "g_total" in self.variables[name] else []
            state += [of_neurons(f"{group}/{name}/{key}", getattr(o, key), first, size) for key in sums]
            state += [Common.of(f"{group}/{name}/{key}", getattr(o, key), ranks) for key in ("collected", "samples")]
            state += [Total.of(f"{group}/{name}/{key}", getattr(o, key)[:1], ranks)
                      for key in ("binned", "member_spikes")]
        return state

    def stand_at(self, step: int) -> None:
        """Let the first rows of bins and traces be those after a step, as `take` does."""
        self._first_bin = step // self._bin if self._bin else 0
        for record in self.traces.values():
            record.interval[1] = step // record.interval[0]

    def take(self, ranks: Ranks, step: int) -> list[Record]:
        """Collective. Records of what was completed since the last call: blocks, bins and traces."""
        records = []
        for name in self._experiment.populations:
            records += self._take_statistics(name)
        for name in self.traces:
            records += self._take_traces(name, step)
        if self._bin:
            records += self._take_bins(ranks, step)
        return records

    def _take_statistics(self, name: str) -> list[Record]:
        if not self._block:
            return []
        (first, last), o = self._spans[name], self.observations[name]
        blocks, self._blocks[name] = self._blocks[name], []
        dt, variables = self._experiment.run.dt_ms, self.variables[name]

        def stacked(key: str, *shape: int) -> NDArray[Any]:
            """Values of all blocks, which are none in some segments."""
            return np.array([getattr(block, key) for block in blocks]).reshape(len(blocks), *shape)

        mean, variance = stacked("mean", *o.sums.shape), stacked("variance", *o.sums.shape)
        joint = stacked("joint", *o.joint.shape)
        return layout.statistics(
            name,
            first,
            self._experiment.populations[name].size,
            start_ms=stacked("start") * dt,
            block_ms=self._block * dt,
            samples=stacked("samples"),
            spike_count=stacked("spike_count", last - first),
            mean={variable: mean[:, k] for k, variable in enumerate(variables)},
            variance={variable: variance[:, k] for k, variable in enumerate(variables)},
            average_ms=self._average_ms,
            joint={key: joint[:, k] for k, key in enumerate(layout.JOINT)} if "g_total" in variables else {},
        )

    def _take_traces(self, name: str, step: int) -> list[Record]:
        population, _ = self._experiment.members(name)
        first, _ = self._spans[population]
        record = self.traces[name]
        interval, first_sample = record.interval.tolist()
        n_rows = step // interval - first_sample
        record.interval[1] += n_rows
        dt = self._experiment.run.dt_ms
        return layout.traces(
            name,
            start_ms=(first_sample + 1) * interval * dt,
            interval_ms=interval * dt,
            node_ids=self._chosen[name],
            first=sum(gid < first for gid in self._chosen[name]),
            values={v: record.values[:n_rows, k].copy() for k, v in enumerate(self.variables[population])},
        )

    def _take_bins(self, ranks: Ranks, step: int) -> list[Record]:
        n_rows = step // self._bin - self._first_bin
        dt = self._experiment.run.dt_ms
        bins = {"start_ms": self._first_bin * self._bin * dt, "bin_ms": self._bin * dt}
        samples = self._bin // self._sample
        records = []
        for index, (name, size) in enumerate(self._experiment.sizes.items()):
            groups = {name: (size, self.spike_counts[:n_rows, index])}
            binned = np.zeros((n_rows, 1, 0))
            variables: list[str] = []
            if name in self.observations:
                o, variables = self.observations[name], self.variables[name]
                binned = ranks.sum(o.binned[:n_rows]) * o.unit
                counts = ranks.sum(o.member_spikes[:n_rows])
                for k, part in enumerate(self._parts[name]):
                    groups[part] = (self._experiment.members(part)[1].size, counts[:, k])
            for k, (group, (n, count)) in enumerate(groups.items()):
                rate = count / (n * self._bin * dt * 1e-3)
                means = {variable: binned[:, k, v] / (n * samples) for v, variable in enumerate(variables)}
                records += layout.rates(group, **bins, rate_hz=rate, mean=means, mine=ranks.is_first)
        _shift(self.spike_counts, n_rows)
        for o in self.observations.values():
            _shift(o.binned, n_rows)
            _shift(o.member_spikes, n_rows)
        self._first_bin += n_rows
        return records


def _spike_record(capacity: int) -> SpikeRecord:
    return SpikeRecord(np.empty(capacity, np.int32), np.empty(capacity, np.int32), np.zeros(1, np.int64))


def _choose_neurons(experiment: Experiment, name: str) -> list[int]:
    neurons = experiment.recording.traces[name].neurons
    if isinstance(neurons, list):
        return list(neurons)
    _, ids = experiment.members(name)
    hashes = np.empty(ids.size, np.uint64)
    hash_ids(stream_key(experiment.seed.state, "neuron sample", name), 0, hashes)
    return sorted(ids[np.argsort(hashes, kind="stable")[:neurons]].tolist())


def _shift(rows: NDArray[np.int64], n: int) -> None:
    """Drop the first n rows, and move what follows to the front."""
    kept = rows[n:].copy()
    rows[: kept.shape[0]] = kept
    rows[kept.shape[0] :] = 0
