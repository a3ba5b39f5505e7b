"""A pilot run of a teacher, in plain Python: where it goes, how fast, and how its slope varies.

All that an experiment leaves open follows from it. It is the same for the same experiment, on every rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

import numpy as np
from numpy.typing import NDArray

from mpi_engine.experiment.formula import evaluate
from mpi_engine.experiment.phases import CodingInput, FormulaInput, NoiseInput, PulseInput
from mpi_engine.experiment.teachers import RecordedTeacher, Slope, Teacher
from mpi_engine.experiment.trajectory import read_trajectory

Floats = NDArray[np.float64]

_STEP_S = 1e-3
_LENGTH_S = 30.0

_SAMPLES = 2000
"""States that are kept."""

_SPREAD = 0.25
"""Standard deviation of the isotropic spread of states about those visited, in units of the amplitude."""

_ENORMOUS = 1e9


class PilotError(ValueError):
    """A teacher that cannot be followed; the message says when, where and what to do."""


@dataclass(frozen=True)
class Pilot:
    """States that a teacher visits, in the network's units.

    Parameters
    ----------
    states : ndarray of float64, shape (n, K)
        At regular times.
    slopes : ndarray of float64, shape (n, K)
        dx/dt there without input [1/s].
    lipschitz_per_s : float
        95 % quantile of the norm of the Jacobian there [1/s]; zero if f is not known.
    """

    states: Floats
    slopes: Floats
    lipschitz_per_s: float

    @property
    def amplitude(self) -> float:
        """Root mean square distance from the mean state."""
        return math.sqrt(float(((self.states - self.states.mean(axis=0)) ** 2).sum(axis=1).mean()))

    @property
    def speed_per_s(self) -> float:
        """Root mean square of |dx/dt| [1/s]."""
        return math.sqrt(float((self.slopes**2).sum(axis=1).mean()))

    @property
    def turnover_per_s(self) -> float:
        """Speed over amplitude [1/s]."""
        return self.speed_per_s / max(self.amplitude, 1e-12)

    @property
    def comes_to_rest(self) -> bool:
        """Whether it ends, without input, far slower than it began."""
        n = max(len(self.slopes) // 20, 1)
        first, last = (float((part**2).sum(axis=1).mean()) for part in (self.slopes[:n], self.slopes[-n:]))
        return last < 0.05**2 * first or last < (1e-3 * self.lipschitz_per_s * max(self.amplitude, 1e-3)) ** 2

    def spread(self) -> Floats:
        """Visited states, each displaced at random in every direction: what a basis must tell apart; shape (n, K)."""
        random = Random(0)
        k = self.states.shape[1]
        std = _SPREAD * self.amplitude / math.sqrt(k)
        return self.states + std * np.array([[random.gauss(0.0, 1.0) for _ in range(k)] for _ in self.states])


def choose_scale(teacher: Teacher) -> tuple[list[float], list[float]]:
    """Choose offset and scale of a teacher, unless given: dimensions are then of order one.

    Raises
    ------
    PilotError
        If it diverges.
    """
    if teacher.offset is not None and teacher.scale is not None:
        return teacher.offset, teacher.scale
    k = teacher.n_dimensions
    if isinstance(teacher, RecordedTeacher):
        states, rests = read_trajectory(teacher), False
    else:
        pilot = run_pilot(teacher.model_copy(update={"offset": [0.0] * k, "scale": [1.0] * k}), None)
        states, rests = pilot.states, pilot.comes_to_rest
    if rests:      # how far it began from where it came to rest is the size
        scale = np.full(k, np.abs(states - states[-1]).max() or np.abs(states).max() or 1.0)
        offset = states[-1] + scale * _middle(teacher, states[-1], scale)
    else:
        offset = (states.min(axis=0) + states.max(axis=0)) / 2
        scale = np.abs(states - offset).max(axis=0)
    scale = np.maximum(scale, 0.1 * scale.max())
    digits = 2 - math.floor(math.log10(float(scale.max())))
    rounded = [float(f"{value:.3g}") for value in scale]
    return teacher.offset or [round(float(value), digits) + 0.0 for value in offset], teacher.scale or rounded


def exploring_noise(teacher: Teacher) -> NoiseInput:
    """Choose an input that explores the surroundings of the states that a teacher visits without one.

    A teacher that comes to rest must be driven through the states that it is to learn; another is disturbed a little.
    """
    rest = run_pilot(teacher, None)
    if not isinstance(teacher, RecordedTeacher) and rest.comes_to_rest:
        std, tau_s = 0.5 * rest.lipschitz_per_s, 2.4 / max(rest.lipschitz_per_s, 1e-3)
    else:
        std, tau_s = 0.2 * rest.speed_per_s, 0.7 / max(rest.turnover_per_s, 1e-3)
    return NoiseInput(kind="ornstein_uhlenbeck", std_per_s=std, tau_ms=1e3 * tau_s)


def _middle(teacher: Teacher, rest: Floats, scale: Floats) -> Floats:
    """Find the middle of the states through which noise drives a teacher, which may come to rest elsewhere too.

    From where it came to rest, in units of the scale; shape (K,).
    """
    at_rest = teacher.model_copy(update={"offset": rest.tolist(), "scale": scale.tolist()})
    try:
        states = run_pilot(at_rest, exploring_noise(at_rest)).states
    except PilotError:      # an experiment that has another input need not know
        return np.zeros_like(rest)
    middle: Floats = np.quantile(states, (0.02, 0.98), axis=0).mean(axis=0)
    return middle


@lru_cache(maxsize=16)
def run_pilot(teacher: Teacher, given: CodingInput | None) -> Pilot:
    """Follow a teacher whose offset and scale are known, with an input [1/s]; in a process, each but once.

    Raises
    ------
    PilotError
        If it diverges.
    """
    assert teacher.offset is not None and teacher.scale is not None
    if isinstance(teacher, RecordedTeacher):
        states = (read_trajectory(teacher) - teacher.offset) / teacher.scale
        slopes = np.gradient(states, teacher.interval_ms * 1e-3, axis=0)
        every = max(len(states) // _SAMPLES, 1)
        return Pilot(states[::every], slopes[::every], 0.0)
    return _follow(teacher.slope, teacher.initial_state, given, teacher.offset, teacher.scale)


def _follow(
    slope: Slope, initial_state: Sequence[float], given: CodingInput | None, offset: Sequence[float],
    scale: Sequence[float],
) -> Pilot:
    """Integrate by the method of Runge and Kutta."""
    h, n, units = _STEP_S, round(_LENGTH_S / _STEP_S), list(zip(offset, scale, strict=True))
    dimensions = range(len(units))
    c = _inputs(given, n, len(units))

    def f(t: float, x: Sequence[float]) -> list[float]:
        values = slope(t, tuple([o + s * y for y, (o, s) in zip(x, units, strict=True)]))
        return [value / s for value, (_, s) in zip(values, units, strict=True)]

    x = [(value - o) / s for value, (o, s) in zip(initial_state, units, strict=True)]
    states, every = [], n // _SAMPLES
    for m in range(n):
        if m % every == 0:
            states.append(x)
        t, now = m * h, c(m)
        try:
            a = [p + q for p, q in zip(f(t, x), now, strict=True)]
            b = [p + q for p, q in zip(f(t + h / 2, [x[d] + h / 2 * a[d] for d in dimensions]), now, strict=True)]
            g = [p + q for p, q in zip(f(t + h / 2, [x[d] + h / 2 * b[d] for d in dimensions]), now, strict=True)]
            e = [p + q for p, q in zip(f(t + h, [x[d] + h * g[d] for d in dimensions]), now, strict=True)]
            after = [x[d] + h / 6 * (a[d] + 2 * b[d] + 2 * g[d] + e[d]) for d in dimensions]
            diverged = not all(abs(value) < _ENORMOUS for value in after)
        except (ArithmeticError, ValueError):
            diverged = True
        if diverged:
            raise PilotError(describe_divergence(t + h, [o + s * y for y, (o, s) in zip(x, units, strict=True)]))
        x = after
    slopes = [f(m * every * h, state) for m, state in enumerate(states)]
    return Pilot(np.array(states), np.array(slopes), _lipschitz(f, states))


def describe_divergence(t_s: float, state: Sequence[float]) -> str:
    """Say when and where a teacher diverges, in its own units."""
    where = ", ".join(f"{value:.4g}" for value in state)
    return f"diverges at t = {t_s:.4g} s, after the state ({where}); change its parameters, initial_state or input"


def _lipschitz(f: Callable[[float, Sequence[float]], list[float]], states: list[list[float]]) -> float:
    """Estimate the Lipschitz constant of f from differences at some of the states."""
    h = 1e-4
    chosen = states[:: max(len(states) // 200, 1)]
    norms = []
    for x in chosen:
        columns = []
        for d in range(len(x)):
            up, down = (f(0.0, [value + sign * h * (i == d) for i, value in enumerate(x)]) for sign in (1, -1))
            columns.append([(p - q) / (2 * h) for p, q in zip(up, down, strict=True)])
        norms.append(float(np.linalg.norm(np.array(columns), 2)))
    return float(np.quantile(norms, 0.95))


def _inputs(given: CodingInput | None, n: int, k: int) -> Callable[[int], Sequence[float]]:
    """Make the input of each step; a random one is another than that of the run, of the same kind."""
    random = Random(1)
    if isinstance(given, FormulaInput):
        times = np.arange(n, dtype=np.float64) * (_STEP_S * 1e3)
        columns = np.array([np.broadcast_to(evaluate(formula, times), n) for formula in given.c_per_s]).T.tolist()
        return lambda m: columns[m]
    c = [0.0] * k
    if isinstance(given, NoiseInput):
        assert given.std_per_s is not None and given.tau_ms is not None
        kept = math.exp(-_STEP_S * 1e3 / given.tau_ms)
        amount = given.std_per_s * math.sqrt(1 - kept * kept)

        def noise(_: int) -> Sequence[float]:
            c[:] = [kept * value + amount * random.gauss(0.0, 1.0) for value in c]
            return c

        return noise
    if isinstance(given, PulseInput):
        pulse, next_event = False, random.uniform(*given.interval_ms)

        def pulses(m: int) -> Sequence[float]:
            nonlocal pulse, next_event
            if m * _STEP_S * 1e3 >= next_event:
                pulse = not pulse
                next_event += given.length_ms if pulse else random.uniform(*given.interval_ms)
                c[:] = [given.amplitude_per_s * random.choice((-1, 1)) if pulse else 0.0 for _ in c]
            return c

        return pulses
    return lambda _: c
