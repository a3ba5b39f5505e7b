"""Stimulus: spike trains that do not depend on the network, drawn or recorded.

Poisson trains are made window by window, each a pure function of (seed, id, window): they depend neither on ranks nor
on the run's length, need no state in a checkpoint, and can be made from any step on.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel, part
from mpi_engine.experiment import Experiment, ExperimentError, Poisson, Problem
from mpi_engine.experiment.activity import rate_of, steps_of, times_of
from mpi_engine.experiment.data import Data, DataError, SpikeTrains, read
from mpi_engine.network.exchange import Exchange
from mpi_engine.network.mathematics import log
from mpi_engine.network.partition import Partition
from mpi_engine.network.ranks import Ranks
from mpi_engine.network.streams import Key, Word, gaussian, philox, stream_key, uniform, uniform53

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


def make_trains(
    experiment: Experiment, partition: Partition, ranks: Ranks
) -> dict[str, PoissonTrains | RecordedTrains]:
    """Collective. Make this rank's part of every input train; rank 0 reads their files, each once.

    Raises
    ------
    ExperimentError
        On every rank, if a file is not what it was when the experiment was read.
    """
    trains: dict[str, PoissonTrains | RecordedTrains] = {}
    for name, source in experiment.trains.items():
        data = _read(experiment, name, ranks)
        if isinstance(source, Poisson):
            trains[name] = PoissonTrains(experiment, name, partition, ranks.rank, data)
        else:
            assert isinstance(data, SpikeTrains)
            trains[name] = RecordedTrains(experiment, name, partition, ranks.rank, data)
    return trains


def _read(experiment: Experiment, name: str, ranks: Ranks) -> Data | None:
    """Collective. Read the file of an input on rank 0, and give everyone what it holds."""
    source = experiment.trains[name]
    data, problem = None, None
    if ranks.is_first:
        try:
            data = read(source)
        except DataError as error:
            problem = Problem(f"inputs.{name}.{error.key}", repr(source.data_file), str(error))
    problem = ranks.broadcast(problem)
    if problem is not None:
        raise ExperimentError([problem])
    if not isinstance(source, Poisson):
        return _share(data, ranks)
    return ranks.broadcast(data)


def _share(data: Data | None, ranks: Ranks) -> SpikeTrains:
    """Collective. Give everyone the spikes that rank 0 has, in messages of bounded size."""
    mine = data if isinstance(data, SpikeTrains) else SpikeTrains("", np.empty(0), np.empty(0, np.int64))
    return SpikeTrains(mine.population, ranks.concatenate(mine.times_ms), ranks.concatenate(mine.ids))


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
    data : SampledRate or None
        What the input's file holds, if it has one.

    Attributes
    ----------
    train : Train
        The spikes that lie ahead.
    filled_until : int
        Last step for which they are made.
    """

    def __init__(
        self, experiment: Experiment, name: str, partition: Partition, rank: int, data: Data | None
    ) -> None:
        source = experiment.trains[name]
        assert isinstance(source, Poisson)
        self.first, self.last = partition.span(name, rank)
        self._dt = experiment.run.dt_ms
        self._rate_hz = rate_of(source, data)
        self.correlation = source.correlation
        self.jitter = source.jitter_ms / self._dt        # steps
        self._reach = ceil(6.0 * self.jitter / WINDOW_STEPS) if self.correlation else 0     # windows
        self._rates = lru_cache(maxsize=2 * self._reach + 1)(self._rates_in)
        seed = experiment.seed.input
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
        return int(np.bincount(all_steps[:-1] - all_steps[0]).max())

    def _rates_in(self, window: int) -> NDArray[np.float64]:
        """Expected spikes in each step of a window, also beyond the end of the run, where a formula may be anything."""
        steps = np.arange(window * WINDOW_STEPS + 1, (window + 1) * WINDOW_STEPS + 1)
        return np.clip(np.nan_to_num(self._rate_hz(times_of(steps, self._dt)) * 1e-3 * self._dt), 0.0, 1.0)

    def _window(self, window: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        spikes, mother, thinning = self.keys
        n = self.last - self.first
        nearby = range(max(window - self._reach, 0), window + self._reach + 1)
        rates = np.stack([self._rates(origin) for origin in nearby])
        if n == 0 or not rates.any():
            return np.empty(0, np.int32), np.empty(0, np.int32)
        expected = rates.max() * WINDOW_STEPS * n
        capacity = int(expected + 10 * expected**0.5 + 64)
        highest = rates.max(axis=1)
        while True:
            steps, ids = np.empty(capacity, np.int32), np.empty(capacity, np.int32)
            if self.correlation == 0:
                count = _independent(spikes, self.first, n, rates[0], highest[0], window, steps, ids)
            else:
                args = (nearby.start, rates, highest, self.correlation, self.jitter)
                count = _correlated(mother, thinning, self.first, n, *args, window, steps, ids)
            if count <= capacity:
                break
            capacity = count
        begin = window * WINDOW_STEPS
        # one number for both, by step and then by source: several times as fast to sort
        in_order = np.sort((steps[:count] - begin) * np.int64(n) + (ids[:count] - self.first))
        passed, source = np.divmod(in_order, n)
        return (begin + passed).astype(np.int32), (self.first + source).astype(np.int32)


class RecordedTrains:
    """A rank's part of a population of recorded trains.

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
    recorded : SpikeTrains
        All that was recorded.

    Attributes
    ----------
    train, filled_until
        See `PoissonTrains`.
    """

    def __init__(
        self, experiment: Experiment, name: str, partition: Partition, rank: int, recorded: SpikeTrains
    ) -> None:
        first, last = partition.span(name, rank)
        steps = steps_of(recorded.times_ms, experiment.run.dt_ms)
        mine = (first <= recorded.ids) & (recorded.ids < last) & (steps <= experiment.n_steps)
        steps, ids = steps[mine].astype(np.int32), recorded.ids[mine].astype(np.int32)
        order = np.lexsort((ids, steps))
        self._steps, self._ids = steps[order], ids[order]
        self._most = int(np.unique(self._steps, return_counts=True)[1].max(initial=0))
        self.filled_until = 0
        self.train = _NO_SPIKES

    def start_at(self, step: int) -> None:
        """Begin with the spikes of a step."""
        first = np.searchsorted(self._steps, step)
        steps = np.concatenate([self._steps[first:], _NO_SPIKES.steps])
        ids = np.concatenate([self._ids[first:], _NO_SPIKES.ids])
        self.train = Train(steps, ids, np.zeros(1, np.int64))
        self.filled_until = step - 1

    def fill_until(self, _step: int) -> int:
        """Say that all spikes are there; see `PoissonTrains.fill_until`."""
        self.filled_until = int(np.iinfo(np.int64).max)
        return self._most


@part
def _waiting_time(words: tuple[Word, Word, Word, Word]) -> float:
    """Exponentially distributed with mean 1."""
    return -log(uniform53(words[0], words[1]))


@kernel
def _independent(key: Key, first: int, n: int, rates: NDArray[np.float64], highest: float, window: int,
                 steps: NDArray[np.int32], ids: NDArray[np.int32]) -> int:
    """Write the spikes of independent trains in a window, by source; return how many there are, room or not.

    A homogeneous process at the highest of the steps' rates is thinned to each of them (Lewis & Shedler 1979).
    """
    count = 0
    for source in range(first, first + n):
        draw = 0
        words = philox(key, source, draw, window, 0)
        t = _waiting_time(words) / highest
        while t < WINDOW_STEPS:
            if uniform(words[2]) < rates[int(t)] / highest:
                if count < steps.size:
                    steps[count] = window * WINDOW_STEPS + int(t) + 1
                    ids[count] = source
                count += 1
            draw += 1
            words = philox(key, source, draw, window, 0)
            t += _waiting_time(words) / highest
    return count


@kernel
def _correlated(key: Key, thinning: Key, first: int, n: int, first_origin: int, rates: NDArray[np.float64],
                highest: NDArray[np.float64], keep: float, jitter: float, window: int, steps: NDArray[np.int32],
                ids: NDArray[np.int32]) -> int:
    """Write the spikes of thinned and jittered copies of the mother process that fall into a window.

    Every rank draws the same mother spikes, at the rates of each step of the windows from one on; a copy may be
    jittered in from a window nearby, up to six standard deviations away.
    """
    begin, end = window * WINDOW_STEPS, (window + 1) * WINDOW_STEPS
    reach = 6.0 * jitter
    count = 0
    for origin in range(first_origin, first_origin + rates.shape[0]):
        of_step = rates[origin - first_origin]
        most = highest[origin - first_origin]
        draw = 0
        words = philox(key, 0, draw, origin, 0)
        t = _waiting_time(words) / (most / keep)
        while t < WINDOW_STEPS:
            mother = origin * WINDOW_STEPS + t
            if begin - reach <= mother <= end + reach and uniform(words[2]) < of_step[int(t)] / most:
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
            words = philox(key, 0, draw, origin, 0)
            t += _waiting_time(words) / (most / keep)
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
