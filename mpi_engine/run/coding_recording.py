"""Recording of a coding network: the memory that a block writes to, and the records that a segment makes of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mpi_engine.dynamics.coding_recorders import CURRENTS, STATE, Chosen, Samples
from mpi_engine.dynamics.signals import Signals
from mpi_engine.dynamics.slow import Basis, sum_drift_at
from mpi_engine.dynamics.teaching import Teaching
from mpi_engine.experiment.coding import CodingExperiment
from mpi_engine.network.consensus import UNIT
from mpi_engine.network.ranks import Ranks
from mpi_engine.network.streams import hash_ids, stream_key
from mpi_engine.output import coding_layout as layout
from mpi_engine.output.layout import Record
from mpi_engine.run.state import Variable, of_neurons

Floats = NDArray[np.float64]

_NEVER = int(np.iinfo(np.int64).max)

_VISITED = 64
"""States of the teacher at which the learned drift is compared with its own, of each time between snapshots."""


class _Sampler:
    """Samples at regular times.

    Parameters
    ----------
    experiment : CodingExperiment
        What is recorded.
    interval_ms : float or None
        Time between samples [ms]; None if there are none.
    """

    def __init__(self, experiment: CodingExperiment, interval_ms: float | None) -> None:
        self._dt_ms = experiment.run.dt_ms
        n_steps = experiment.steps(interval_ms) if interval_ms is not None else 0
        self.interval = np.array([n_steps, 0], np.int64)
        self.n_rows = experiment.steps(experiment.recording.segment_ms) // n_steps + 1 if n_steps else 0

    @property
    def room_until(self) -> int:
        """Last step that there is room for, until records are taken."""
        interval, first = self.interval.tolist()
        return (first + self.n_rows + 1) * interval - 1 if interval else _NEVER

    @property
    def time(self) -> tuple[float, float]:
        """Time of the first sample since records were taken, and between samples [ms]."""
        interval, first = self.interval.tolist()
        return (first + 1) * interval * self._dt_ms, interval * self._dt_ms

    def pass_on(self, step: int) -> int:
        """Count the samples since records were taken, and begin anew."""
        n = step // int(self.interval[0]) - int(self.interval[1])
        self.interval[1] += n
        return n

    def stand_at(self, step: int) -> None:
        """Begin at a step."""
        if self.interval[0]:
            self.interval[1] = step // self.interval[0]


class StateRecorder(_Sampler):
    """Teacher, readout, error and input.

    Parameters
    ----------
    experiment : CodingExperiment
        What is recorded.
    """

    def __init__(self, experiment: CodingExperiment) -> None:
        recorder = experiment.recording.state
        super().__init__(experiment, recorder.interval_ms if recorder else None)
        self.samples = Samples(self.interval, np.zeros((self.n_rows, len(STATE), experiment.n_dimensions)))

    def take(self, step: int, ranks: Ranks) -> list[Record]:
        """Records of the samples since the last call."""
        if not self.n_rows:
            return []
        time = self.time
        n = self.pass_on(step)
        values = {name: self.samples.values[:n, k].copy() for k, name in enumerate(STATE)}
        return layout.state(*time, values, ranks.is_first)


class CurrentRecorder(_Sampler):
    """V and the currents of chosen neurons.

    Parameters
    ----------
    experiment : CodingExperiment
        What is recorded.
    first, last : int
        The rank's first neuron, and the one beyond its last.
    """

    def __init__(self, experiment: CodingExperiment, first: int, last: int) -> None:
        recorder = experiment.recording.currents
        super().__init__(experiment, recorder.interval_ms if recorder else None)
        ids = _choose(experiment)
        local = ids[(ids >= first) & (ids < last)] - first
        tau_s = (recorder.tau_ms if recorder else 1.0) * 1e-3
        self.chosen = Chosen(
            interval=self.interval,
            ids=ids,
            begin=int((ids < first).sum()),
            local=local,
            lateral=np.zeros((2, local.size)),
            tau=np.array([tau_s, np.exp(-experiment.run.dt_ms * 1e-3 / tau_s)]),
            values=np.zeros((self.n_rows, len(CURRENTS), local.size)),
        )

    def take(self, step: int) -> list[Record]:
        """Records of the samples since the last call."""
        if not self.n_rows:
            return []
        time = self.time
        n = self.pass_on(step)
        values = {name: self.chosen.values[:n, k].copy() for k, name in enumerate(CURRENTS)}
        return layout.currents(*time, self.chosen.ids, self.chosen.begin, values)

    def state(self) -> list[Variable]:
        """List the variables that go on from step to step."""
        if not self.n_rows:
            return []
        return [of_neurons("/coding/lateral", self.chosen.lateral, self.chosen.begin, self.chosen.ids.size)]


class WeightRecorder:
    """Slow weights, and the error of the learned drift at states that the teacher has visited.

    The drift is a function of the state where the basis is structured and weights are factored; only then, and where f
    is known, has it an error.

    Parameters
    ----------
    experiment : CodingExperiment
        What is recorded.
    teaching : Teaching
        Knows f.
    basis : Basis
        Has the weights.
    first, first_unit : int
        The rank's first neuron and first unit of the basis.
    """

    def __init__(
        self, experiment: CodingExperiment, teaching: Teaching, basis: Basis, first: int, first_unit: int
    ) -> None:
        self._experiment, self._teaching, self._basis = experiment, teaching, basis
        e, recorder = experiment, experiment.recording.slow_weights
        self._by_synapse = basis.weights.shape[0] > 0
        self._start = (0, first) if self._by_synapse else (first_unit, 0)
        learns = e.network.drift == "learned"
        self._interval = e.steps(recorder.interval_ms) if recorder and learns else 0
        self._every = max(self._interval // _VISITED, 1)
        self.visited = np.zeros((_VISITED, e.n_dimensions))
        knows_f = teaching.f(0.0, self.visited) is not None
        self._has_error = knows_f and e.network.basis.kind == "structured" and e.learning.form == "factored"
        self._times: list[float] = []
        self._weights: list[Floats] = []
        self._errors: list[float] = []

    @property
    def _present(self) -> Floats:
        return self._basis.weights if self._by_synapse else self._basis.theta.T

    def compile(self) -> None:
        """Load the kernel."""
        basis = self._basis
        if self._interval and self._has_error:
            sum_drift_at(basis, self.visited[:0], 1.0, np.zeros((0, basis.theta.shape[0]), np.int64))

    def next_events(self, step: int) -> Iterator[int]:
        """Steps at which `note` must be called."""
        if self._interval:
            yield (step // self._interval + 1) * self._interval

    def visit(self, begin: int, end: int, signals: Signals) -> None:
        """Keep states of the teacher, at regular steps of those from begin to end."""
        if self._interval:
            for step in range((begin // self._every + 1) * self._every, end + 1, self._every):
                self.visited[step // self._every % _VISITED] = signals.x[step - signals.first]

    def note(self, step: int, limit: float, ranks: Ranks) -> None:
        """Collective. Keep the weights, if it is time."""
        if not self._interval or step % self._interval:
            return
        self._times.append(step * self._experiment.run.dt_ms)
        self._weights.append(self._present.copy())
        if self._has_error:
            self._errors.append(self._drift_error(step, limit, ranks) if step else np.nan)

    def _drift_error(self, step: int, limit: float, ranks: Ranks) -> float:
        e = self._experiment
        sums = np.zeros(self.visited.shape, np.int64)
        sum_drift_at(self._basis, self.visited, limit, sums)
        drift = ranks.sum(sums) * UNIT
        target = self._teaching.f(step * e.run.dt_ms * 1e-3, self.visited)
        assert target is not None
        leak = e.network.leak_per_s * self.visited
        if e.network.compensates_leak:
            drift = drift + leak
        target = target + leak
        return float(np.sqrt(((drift - target) ** 2).sum() / (target**2).sum()))

    def take(self, ranks: Ranks) -> list[Record]:
        """Records of the snapshots since the last call."""
        if not self._interval:
            return []
        name, net = "W" if self._by_synapse else "theta", self._experiment.network
        shape = (net.basis.n_units, net.size if self._by_synapse else self._experiment.n_dimensions)
        part = np.array(self._weights).reshape(len(self._weights), *self._present.shape)
        errors = np.array(self._errors) if self._has_error else None
        records = layout.slow_weights(name, np.array(self._times), part, self._start, shape, errors, ranks.is_first)
        self._times, self._weights, self._errors = [], [], []
        return records


def _choose(experiment: CodingExperiment) -> NDArray[np.int64]:
    """Choose the neurons whose currents are recorded, as the smallest hashes."""
    recorder = experiment.recording.currents
    if recorder is None:
        return np.zeros(0, np.int64)
    if isinstance(recorder.neurons, list):
        return np.array(recorder.neurons, np.int64)
    hashes = np.empty(experiment.network.size, np.uint64)
    hash_ids(stream_key(experiment.seed.state, "neuron sample", "coding"), 0, hashes)
    return np.sort(np.argsort(hashes, kind="stable")[: recorder.neurons])
