"""Conditions of a coding network's steps: input, feedback and learning rate, as the phases have them."""

from __future__ import annotations

from math import log

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel
from mpi_engine.experiment.coding import CodingExperiment, Stage
from mpi_engine.experiment.formula import evaluate
from mpi_engine.experiment.phases import FormulaInput, NoiseInput, PulseInput
from mpi_engine.network.mathematics import exp
from mpi_engine.network.streams import Key, gaussian, philox, stream_key, uniform

Floats = NDArray[np.float64]


class Conditions:
    """What an experiment's phases do to the network at each step.

    Parameters
    ----------
    experiment : CodingExperiment
        Resolved.
    """

    def __init__(self, experiment: CodingExperiment) -> None:
        self._experiment = experiment
        self._stages = experiment.stages
        self._pulses: dict[int, tuple[NDArray[np.int64], Floats]] = {}

    def stage(self, step: int) -> Stage:
        """Find the stage that the step after a number of steps belongs to."""
        return next((stage for stage in self._stages if step < stage.last), self._stages[-1])

    def feedback(self, first: int, n: int) -> Floats:
        """K of n steps of a stage [1/s]."""
        return self._course(self.stage(first), self.stage(first).phase.feedback, first, n)

    def learning_rate(self, first: int, n: int) -> Floats:
        """Eta of n steps of a stage [1/s^2]."""
        return self._course(self.stage(first), self.stage(first).phase.learning_rate, first, n)

    def input(self, first: int, n: int, noise: Floats) -> Floats:
        """Input of n steps of a stage.

        Parameters
        ----------
        first, n : int
            Steps done before, and how many follow.
        noise : ndarray of float64, shape (K,)
            State of a random process before the first of them, and afterwards after the last [state/s].

        Returns
        -------
        ndarray of float64, shape (n, K)
            c [state/s].
        """
        e, stage = self._experiment, self.stage(first)
        c = np.zeros((n, e.n_dimensions))
        given = stage.phase.input
        key = stream_key(e.seed.input, "phase input")
        if isinstance(given, FormulaInput):
            times = np.arange(first, first + n, dtype=np.float64) * e.run.dt_ms
            for d, formula in enumerate(given.c_per_s):
                c[:, d] = evaluate(formula, times)
        elif isinstance(given, NoiseInput):
            assert given.std_per_s is not None and given.tau_ms is not None
            _fill_noise(key, first, given.std_per_s, e.run.dt_ms / given.tau_ms, noise, c)
        elif isinstance(given, PulseInput):
            begins, signs = self._draw_pulses(key, stage, given)
            _fill_pulses(begins, signs, e.steps(given.length_ms), first, given.amplitude_per_s, c)
        return c

    def _course(self, stage: Stage, ends: tuple[float, float], first: int, n: int) -> Floats:
        values = np.empty(n)
        length = self._experiment.steps(stage.phase.duration_ms or 0.0)
        slope = log(ends[1] / ends[0]) / length if ends[0] != ends[1] else 0.0
        _fill_course(ends[0], slope, length, first - stage.first, values)
        return values

    def _draw_pulses(self, key: Key, stage: Stage, given: PulseInput) -> tuple[NDArray[np.int64], Floats]:
        if stage.index not in self._pulses:
            e = self._experiment
            shortest, longest = (e.steps(interval) for interval in given.interval_ms)
            length = e.steps(given.length_ms)
            most = (stage.last - stage.first) // (shortest + length) + 1
            begins, signs = np.empty(most, np.int64), np.empty((most, e.n_dimensions))
            _draw_pulses(key, stage.index, stage.first, shortest, longest, length, begins, signs)
            self._pulses[stage.index] = begins, signs
        return self._pulses[stage.index]


def compile_conditions() -> None:
    """Load the kernels."""
    key, nothing, values = stream_key(0, "nothing"), np.zeros((0, 0)), np.zeros(0)
    _fill_course(0.0, 0.0, 0, 0, values)
    _fill_noise(key, 0, 0.0, 1.0, values, nothing)
    _draw_pulses(key, 0, 0, 1, 1, 1, np.zeros(0, np.int64), nothing)
    _fill_pulses(np.zeros(0, np.int64), nothing, 1, 0, 0.0, nothing)


@kernel
def _fill_course(begin: float, slope: float, length: int, first: int, values: Floats) -> None:
    for m in range(values.size):
        values[m] = begin * exp(slope * float(min(first + m, length)))


@kernel
def _fill_noise(key: Key, first: int, std: float, dt: float, noise: Floats, c: Floats) -> None:
    """Continue an Ornstein-Uhlenbeck process by its exact solution; dt in units of its time constant."""
    kept = exp(-dt)
    amount = std * np.sqrt(1.0 - kept * kept)
    for m in range(c.shape[0]):
        for d in range(c.shape[1]):
            c[m, d] = noise[d]
            high, low, _, _ = philox(key, first + m, d, 1, 0)
            noise[d] = kept * noise[d] + amount * gaussian(high, low)


@kernel
def _draw_pulses(
    key: Key, stage: int, first: int, shortest: int, longest: int, length: int, begins: NDArray[np.int64], signs: Floats
) -> None:
    begin = first
    for m in range(begins.size):
        for d in range(signs.shape[1]):
            word, other, _, _ = philox(key, m, d, 2, stage)
            signs[m, d] = 1.0 if uniform(word) < 0.5 else -1.0
            if d == 0:
                begin += shortest + int((longest - shortest + 1) * uniform(other))
        begins[m] = begin
        begin += length


@kernel
def _fill_pulses(
    begins: NDArray[np.int64], signs: Floats, length: int, first: int, amplitude: float, c: Floats
) -> None:
    pulse = np.searchsorted(begins, first, side="right") - 1
    for m in range(c.shape[0]):
        step = first + m
        while pulse + 1 < begins.size and begins[pulse + 1] <= step:
            pulse += 1
        if pulse >= 0 and step < begins[pulse] + length:
            for d in range(c.shape[1]):
                c[m, d] = amplitude * signs[pulse, d]
