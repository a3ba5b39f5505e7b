"""Stimulus: spike trains that do not depend on the network, and injected currents.

Trains are made window by window, each a pure function of (seed, id, window): they depend neither on ranks nor on the
run's length, need no state in a checkpoint, and can be made from any step on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel, part
from mpi_engine.experiment import Experiment
from mpi_engine.network.exchange import Exchange
from mpi_engine.network.mathematics import log
from mpi_engine.network.partition import Partition
from mpi_engine.network.streams import Key, gaussian, philox, stream_key, uniform, uniform53

WINDOW_STEPS = 1024
"""Steps in a window; part of the definition of the random streams."""


class Train(NamedTuple):
    """Spikes of this rank's sources that lie ahead, for compiled code.

    Parameters
    ----------
    steps : ndarray of int32, shape (n_spikes,)
        When each is due, ascending; closed by a sentinel that never is.
    ids : ndarray of int32, shape (n_spikes,)
        Its source within the population, ascending within a step.
    next : ndarray of int64, shape (1,)
        The first that has not been sent.
    """

    steps: NDArray[np.int32]
    ids: NDArray[np.int32]
    next: NDArray[np.int64]


_NO_SPIKES = Train(np.full(1, np.iinfo(np.int32).max, np.int32), np.zeros(1, np.int32), np.zeros(1, np.int64))


class PoissonTrains:
    """A rank's part of a population of Poisson trains.

    Parameters
    ----------
    experiment : Experiment
        The network.
    name : str
        The input.
    partition : Partition
        Who has which train.
    rank : int
        Whose part.
    """

    def __init__(self, experiment: Experiment, name: str, partition: Partition, rank: int) -> None:
        source = experiment.trains[name]
        seed, dt = experiment.seed.input, experiment.run.dt_ms
        self.first, self.last = partition.span(name, rank)
        self.rate = source.rate_hz * 1e-3 * dt     # spikes a step
        self.correlation = source.correlation
        self.jitter = source.jitter_ms / dt        # steps
        self.keys = tuple(stream_key(seed, kind, name) for kind in ("spikes", "mother", "thinning"))
        self.filled_until = 0
        self.train = _NO_SPIKES

    def start_at(self, step: int) -> None:
        """Forget what is made; the next call of `fill_until` begins with the spikes of a step."""
        self.filled_until = (step - 1) // WINDOW_STEPS * WINDOW_STEPS
        self.train = _NO_SPIKES
        self._skip_before = step

    def fill_until(self, step: int) -> int:
        """Make all spikes up to and including a step, whole windows at a time.

        Returns
        -------
        int
            Largest number of spikes in any step that lies ahead.
        """
        unsent = self.train.next[0]
        steps, ids = [self.train.steps[unsent:-1]], [self.train.ids[unsent:-1]]
        while self.filled_until < step:
            made = self._window(self.filled_until // WINDOW_STEPS)
            keep = made[0] >= self._skip_before
            steps.append(made[0][keep])
            ids.append(made[1][keep])
            self.filled_until += WINDOW_STEPS
        all_steps = np.concatenate([*steps, _NO_SPIKES.steps])
        all_ids = np.concatenate([*ids, _NO_SPIKES.ids])
        self.train = Train(all_steps, all_ids, np.zeros(1, np.int64))
        if all_steps.size == 1:
            return 0
        return int(np.unique(all_steps[:-1], return_counts=True)[1].max())

    def _window(self, window: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        spikes, mother, thinning = self.keys
        n = self.last - self.first
        if n == 0 or self.rate == 0:
            return np.empty(0, np.int32), np.empty(0, np.int32)
        expected = self.rate * WINDOW_STEPS * n
        capacity = int(expected + 10 * expected**0.5 + 64)
        while True:
            steps, ids = np.empty(capacity, np.int32), np.empty(capacity, np.int32)
            if self.correlation == 0:
                count = _independent(spikes, self.first, n, self.rate, window, steps, ids)
            else:
                args = (self.rate / self.correlation, self.correlation, self.jitter)
                count = _correlated(mother, thinning, self.first, n, *args, window, steps, ids)
            if count <= capacity:
                break
            capacity = count
        order = np.lexsort((ids[:count], steps[:count]))
        return steps[:count][order], ids[:count][order]


@part
def _waiting_time(key: Key, identity: int, window: int, draw: int) -> float:
    """Exponentially distributed with mean 1."""
    a, b, _, _ = philox(key, identity, draw, window, 0)
    return -log(uniform53(a, b))


@kernel
def _independent(key: Key, first: int, n: int, rate: float, window: int, steps: NDArray[np.int32],
                 ids: NDArray[np.int32]) -> int:
    """Write the spikes of independent trains in a window, by source; return how many there are, room or not."""
    count = 0
    for source in range(first, first + n):
        draw = 0
        t = _waiting_time(key, source, window, draw) / rate
        while t < WINDOW_STEPS:
            if count < steps.size:
                steps[count] = window * WINDOW_STEPS + int(t) + 1
                ids[count] = source
            count += 1
            draw += 1
            t += _waiting_time(key, source, window, draw) / rate
    return count


@kernel
def _correlated(key: Key, thinning: Key, first: int, n: int, mother_rate: float, keep: float, jitter: float,
                window: int, steps: NDArray[np.int32], ids: NDArray[np.int32]) -> int:
    """Write the spikes of thinned and jittered copies of the mother process that fall into a window.

    Every rank draws the same mother spikes; a copy may be jittered in from a window nearby, up to six standard
    deviations away.
    """
    begin, end = window * WINDOW_STEPS, (window + 1) * WINDOW_STEPS
    reach = 6.0 * jitter
    windows = int(np.ceil(reach / WINDOW_STEPS))
    count = 0
    for origin in range(max(window - windows, 0), window + windows + 1):
        draw = 0
        t = _waiting_time(key, 0, origin, draw) / mother_rate
        while t < WINDOW_STEPS:
            mother = origin * WINDOW_STEPS + t
            if begin - reach <= mother <= end + reach:
                for source in range(first, first + n):
                    kept, a, b, _ = philox(thinning, source, draw, origin, 0)
                    if uniform(kept) >= keep:
                        continue
                    time = mother + jitter * gaussian(a, b) if jitter > 0 else mother
                    step = int(np.floor(time)) + 1
                    if begin < step <= end and time > 0:
                        if count < steps.size:
                            steps[count] = step
                            ids[count] = source
                        count += 1
            draw += 1
            t += _waiting_time(key, 0, origin, draw) / mother_rate
    return count


@part
def announce_train(train: Train, x: Exchange, begin: int, index: int, step: int) -> int:
    """Write the ids of the sources that fire in a step into the outgoing message; return where the next may begin."""
    k = train.next[0]
    end = begin
    while train.steps[k] == step:
        x.outbox[end] = train.ids[k]
        end += 1
        k += 1
    train.next[0] = k
    x.outbox[1 + index] = end - begin
    return end


class Drive:
    """The injected currents of a population: piecewise constant in time.

    Parameters
    ----------
    experiment : Experiment
        The network.
    target : str
        The population.
    partition : Partition
        Who has which neuron.
    rank : int
        Whose part.
    """

    def __init__(self, experiment: Experiment, target: str, partition: Partition, rank: int) -> None:
        first, last = partition.span(target, rank)
        self._pieces = []
        for current in experiment.currents.values():
            if current.target != target:
                continue
            end = experiment.populations[target].size if current.count is None else current.first + current.count
            neurons = slice(max(current.first - first, 0), max(min(end, last) - first, 0))
            start = experiment.steps(current.start_ms)
            stop = experiment.n_steps if current.stop_ms is None else experiment.steps(current.stop_ms)
            forever = current.stop_ms is None
            self._pieces.append((start, stop, forever, neurons, current.amplitude_mv_per_ms))

    @property
    def changes(self) -> set[int]:
        """Steps after which a current changes."""
        return {step for start, stop, forever, *_ in self._pieces for step in ((start,) if forever else (start, stop))}

    def apply(self, step: int, drive: NDArray[np.float32]) -> None:
        """Set the drive [mV/ms] that acts in the steps after a given one, until the next change."""
        drive[:] = 0
        for start, stop, forever, neurons, amplitude in self._pieces:
            if start <= step and (forever or step < stop):
                drive[neurons] += drive.dtype.type(amplitude)
