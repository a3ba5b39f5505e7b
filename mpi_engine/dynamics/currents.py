"""Injected currents: constant ones, waveforms that change from step to step, and Ornstein-Uhlenbeck noise.

Waveforms are sampled window by window, each a pure function of the times of its steps. Noise is a pure function of
(seed, id, step) and of its state one step before.
"""

from __future__ import annotations

from math import exp, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel, part
from mpi_engine.dynamics.neurons import Population
from mpi_engine.dynamics.stimulus import WINDOW_STEPS
from mpi_engine.experiment import Current, Experiment, OrnsteinUhlenbeck
from mpi_engine.experiment.activity import times_of
from mpi_engine.experiment.formula import evaluate
from mpi_engine.network.partition import Partition
from mpi_engine.network.streams import Key, gaussian, philox, stream_key

_NEVER = int(np.iinfo(np.int64).max)


class Waveforms(NamedTuple):
    """Currents into some neurons of a population that change from step to step, for compiled code.

    Parameters
    ----------
    values : ndarray, shape (n_waveforms, WINDOW_STEPS)
        The current of each in the steps of a window [mV/ms]; zero while it does not act.
    before : ndarray of int64, shape (1,)
        The step before the window.
    neurons : ndarray of int64
        Local indices of the neurons of the first, then of the next.
    starts : ndarray of int64, shape (n_waveforms + 1,)
        Where each begins in `neurons`.
    """

    values: NDArray[np.float32]
    before: NDArray[np.int64]
    neurons: NDArray[np.int64]
    starts: NDArray[np.int64]


class Noises(NamedTuple):
    """Ornstein-Uhlenbeck currents into some neurons of a population, for compiled code.

    Parameters
    ----------
    xi : ndarray of float64
        State of each neuron: deviation from the mean in standard deviations; arranged as `neurons`.
    neurons, starts
        See `Waveforms`.
    span : ndarray of int64, shape (n_noises, 2)
        Each acts in the steps after the first, up to the second.
    mean, std : ndarray of float64, shape (n_noises,)
        Mean and standard deviation [mV/ms].
    rho : ndarray of float64, shape (n_noises,)
        Autocorrelation from step to step.
    private, shared : ndarray of float64, shape (n_noises,)
        Standard deviation of what a neuron, and what all, add to `xi` in a step.
    keys : ndarray of uint32, shape (n_noises, 4)
        The streams: of neurons, then the shared one.
    first : int
        Id of the population's first neuron on this rank.
    """

    xi: NDArray[np.float64]
    neurons: NDArray[np.int64]
    starts: NDArray[np.int64]
    span: NDArray[np.int64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    rho: NDArray[np.float64]
    private: NDArray[np.float64]
    shared: NDArray[np.float64]
    keys: NDArray[np.uint32]
    first: int


class Currents(NamedTuple):
    """The injected currents of a population, for compiled code.

    Parameters
    ----------
    constant : ndarray, shape (n,)
        Sum of the constant currents that act now [mV/ms].
    waveforms : Waveforms
        What changes from step to step.
    noises : Noises
        What is drawn in each step.
    """

    constant: NDArray[np.float32]
    waveforms: Waveforms
    noises: Noises


def are_steady(experiment: Experiment, population: str) -> bool:
    """Say whether the currents of a population change at a few events only, and not from step to step."""
    waveforms = [current for current in experiment.currents.values() if not current.is_constant]
    unsteady = (*waveforms, *experiment.noises.values())
    return all(experiment.members(source.target)[0] != population for source in unsteady)


class Drive:
    """The injected currents of a rank's part of a population.

    In each step, the constant currents are added up, then the waveforms, then the noises, in the experiment's order.

    Parameters
    ----------
    experiment : Experiment
        The network.
    name : str
        The population.
    partition : Partition
        Who has which neuron.
    rank : int
        Whose part.
    neurons : Population
        The neurons, of which the drive is set.

    Attributes
    ----------
    currents : Currents
        What the step takes; unless the currents are steady, the drive of each step is made from it.
    """

    def __init__(
        self, experiment: Experiment, name: str, partition: Partition, rank: int, neurons: Population
    ) -> None:
        self._experiment, self._name = experiment, name
        self._first, self._last = partition.span(name, rank)
        mine = [current for current in experiment.currents.values() if self._is_mine(current)]
        self._constant = [(self._span(c), self._neurons(c), c.amplitude_mv_per_ms) for c in mine if c.is_constant]
        self._acting: list[bool] | None = None
        self._waveforms = [current for current in mine if not current.is_constant]
        self._noises = {name: noise for name, noise in experiment.noises.items() if self._is_mine(noise)}
        steady = not (self._waveforms or self._noises)
        self.currents = Currents(
            constant=neurons.drive if steady else np.zeros_like(neurons.drive),
            waveforms=self._make_waveforms(neurons.drive.dtype),
            noises=self._make_noises(),
        )

    def next_event(self, step: int) -> int:
        """First step after a given one at which `prepare` must be called."""
        changes = {change for span, *_ in self._constant for change in span}
        if self._waveforms:
            changes.add((step // WINDOW_STEPS + 1) * WINDOW_STEPS)
        return min((change for change in changes if change > step), default=_NEVER)

    def prepare(self, step: int) -> None:
        """Get ready for the steps after a given one, up to the next event."""
        acting = [start <= step < stop for (start, stop), *_ in self._constant]
        if acting != self._acting:
            self._acting, constant = acting, self.currents.constant
            constant[:] = 0
            for (_, neurons, amplitude), acts in zip(self._constant, acting, strict=True):
                if acts:
                    constant[neurons] += constant.dtype.type(amplitude)
        window = self.currents.waveforms
        before = step // WINDOW_STEPS * WINDOW_STEPS
        if self._waveforms and window.before[0] != before:
            window.before[0] = before
            for values, current in zip(window.values, self._waveforms, strict=True):
                values[:] = self._sample(current, before)

    def state(self) -> dict[str, NDArray[np.float64]]:
        """State of each noise on this rank, in the order of ids."""
        noises = self.currents.noises
        return {f"noise/{name}": noises.xi[noises.starts[k] : noises.starts[k + 1]]
                for k, name in enumerate(self._noises)}

    def _is_mine(self, source: Current | OrnsteinUhlenbeck) -> bool:
        return self._experiment.members(source.target)[0] == self._name

    def _span(self, source: Current | OrnsteinUhlenbeck) -> tuple[int, int]:
        stop = _NEVER if source.stop_ms is None else self._experiment.steps(source.stop_ms)
        return self._experiment.steps(source.start_ms), stop

    def _neurons(self, source: Current | OrnsteinUhlenbeck) -> NDArray[np.int64]:
        """Local indices of the neurons that a current goes into, ascending."""
        _, ids = self._experiment.members(source.target)
        if isinstance(source, Current) and source.neurons is not None:
            ids = ids[source.neurons]
        elif isinstance(source, Current):
            ids = ids[source.first : None if source.count is None else source.first + source.count]
        return ids[(self._first <= ids) & (ids < self._last)] - self._first

    def _make_waveforms(self, dtype: np.dtype[np.floating]) -> Waveforms:
        values = np.zeros((len(self._waveforms), WINDOW_STEPS), dtype)
        return Waveforms(values, np.array([-1]), *_join([self._neurons(current) for current in self._waveforms]))

    def _sample(self, current: Current, before: int) -> NDArray[np.float64]:
        """Give the values of a waveform in the window after a step."""
        steps = np.arange(before + 1, before + WINDOW_STEPS + 1)
        start, stop = self._span(current)
        values = evaluate(current.amplitude_mv_per_ms, times_of(steps, self._experiment.run.dt_ms))
        if current.ramp_to_mv_per_ms is not None:
            share = (steps - start) / (stop - start)
            values = (1 - share) * values + share * current.ramp_to_mv_per_ms
        return np.where((start < steps) & (steps <= stop), values, 0.0)

    def _make_noises(self) -> Noises:
        e, noises = self._experiment, list(self._noises.values())
        rho = [exp(-e.run.dt_ms / noise.tau_ms) for noise in noises]
        shares = [(sqrt(1 - noise.correlation), sqrt(noise.correlation)) for noise in noises]
        neurons = [self._neurons(noise) for noise in noises]
        keys = [[stream_key(e.seed.noise, kind, name) for kind in ("noise", "shared noise")] for name in self._noises]
        initial = [
            private * _deviates(own, ids + self._first, self._span(noise)[0])
            + shared * _deviates(common, np.zeros(1, np.int64), self._span(noise)[0])
            for noise, ids, (private, shared), (own, common) in zip(noises, neurons, shares, keys, strict=True)
        ]
        steps = [sqrt(1 - decay * decay) for decay in rho]
        return Noises(
            np.concatenate([np.empty(0), *initial]),
            *_join(neurons),
            span=np.array([self._span(noise) for noise in noises], np.int64).reshape(-1, 2),
            mean=np.array([noise.mean_mv_per_ms for noise in noises]),
            std=np.array([noise.std_mv_per_ms for noise in noises]),
            rho=np.array(rho, np.float64),
            private=np.array([step * private for step, (private, _) in zip(steps, shares, strict=True)], np.float64),
            shared=np.array([step * shared for step, (_, shared) in zip(steps, shares, strict=True)], np.float64),
            keys=np.array(keys, np.uint32).reshape(-1, 4),
            first=self._first,
        )


def _join(blocks: list[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Put blocks one after another, and say where each starts."""
    starts = np.cumsum([0, *(block.size for block in blocks)])
    return np.concatenate([np.empty(0, np.int64), *blocks]), starts


@kernel
def _draw_deviates(key: Key, ids: NDArray[np.int64], step: int, deviates: NDArray[np.float64]) -> None:
    for k in range(ids.size):
        deviates[k] = _deviate(key, ids[k], step)


@part
def _deviate(key: Key, identity: int, step: int) -> float:
    high, low, _, _ = philox(key, identity, step, 0, 0)
    return gaussian(high, low)


def _deviates(key: Key, ids: NDArray[np.int64], step: int) -> NDArray[np.float64]:
    deviates = np.empty(ids.size)
    _draw_deviates(key, ids, step, deviates)
    return deviates


@part
def inject(currents: Currents, population: Population, n: int) -> None:
    """Set the drive of a step."""
    drive, constant = population.drive, currents.constant
    for i in range(drive.size):
        drive[i] = constant[i]
    waveforms = currents.waveforms
    for k in range(waveforms.starts.size - 1):
        value = waveforms.values[k, n - 1 - waveforms.before[0]]
        for j in range(waveforms.starts[k], waveforms.starts[k + 1]):
            drive[waveforms.neurons[j]] += value
    noises = currents.noises
    for k in range(noises.starts.size - 1):
        if noises.span[k, 0] < n <= noises.span[k, 1]:
            _add_noise(noises, k, drive, n)


@part
def _add_noise(noises: Noises, k: int, drive: NDArray[np.float32], n: int) -> None:
    r"""Advance a noise by a step, :math:`\xi \leftarrow \rho\,\xi + \sqrt{1 - \rho^2}\,\eta`, and add it."""
    mean, std, rho, private = noises.mean[k], noises.std[k], noises.rho[k], noises.private[k]
    own, common = (noises.keys[k, 0], noises.keys[k, 1]), (noises.keys[k, 2], noises.keys[k, 3])
    shared = noises.shared[k] * _deviate(common, 0, n)
    for j in range(noises.starts[k], noises.starts[k + 1]):
        i = noises.neurons[j]
        noises.xi[j] = rho * noises.xi[j] + (private * _deviate(own, noises.first + i, n) + shared)
        drive[i] += mean + std * noises.xi[j]
