"""The teacher's state on the grid of steps, in the network's units."""

from __future__ import annotations

from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from mpi_engine.dynamics.functions import Functions, call
from mpi_engine.dynamics.generated import load_module
from mpi_engine.experiment import ExperimentError, Problem
from mpi_engine.experiment.coding import CodingExperiment
from mpi_engine.experiment.data import DataError
from mpi_engine.experiment.pilot import describe_divergence
from mpi_engine.experiment.teachers import FlowPart, RecordedTeacher
from mpi_engine.experiment.trajectory import read_trajectory

Floats = NDArray[np.float64]

_ENORMOUS, _TAME = 1e9, 1e2
"""Largest coordinate of a state that can be followed; and of one that a network is shown of a teacher that diverges."""

_TEXT = '''"""A teacher, written by mpi_engine.dynamics.teaching."""

from collections import namedtuple

import numba

from mpi_engine.compiled import kernel, part
{imports}
P = namedtuple("P", {names})
p = P({values})


@part
def slope(t, {x}):
    y = {call}
    return {slopes}


@kernel
def follow(states, c, first, dt):
    for m in range(c.shape[0]):
        t = (first + m) * dt
{states}
{stages}
{update}


@kernel
def evaluate(t, states, slopes):
    for m in range(states.shape[0]):
        y = slope(t, {at})
{keep}


@numba.cfunc("void(float64, CPointer(float64), CPointer(float64))", cache=True)
def drift(t, x, f):
    y = slope(t, {of_pointer})
{into_pointer}
'''


class TeacherError(ValueError):
    """A teacher that cannot be followed; the message says when, where and what to do."""


class Teaching:
    """A teacher, followed step by step; the same on every rank, and from any step on.

    Where f is known, the state is integrated by the method of Runge and Kutta, with the input of a step held; a
    recorded trajectory is interpolated by cubics between samples.

    Parameters
    ----------
    experiment : CodingExperiment
        Resolved.

    Raises
    ------
    ExperimentError
        If the file of a recorded trajectory is not what it was when the experiment was read.

    Attributes
    ----------
    initial_state : ndarray of float64, shape (K,)
        Where it begins.
    drift : int or None
        Address of ``void f(double t_s, double *x, double *f)``; None if f is not known.
    """

    def __init__(self, experiment: CodingExperiment) -> None:
        teacher = experiment.teacher
        assert teacher.offset is not None and teacher.scale is not None
        self._dt_s = experiment.run.dt_ms * 1e-3
        self._offset, self._scale = np.array(teacher.offset), np.array(teacher.scale)
        self._module: ModuleType | None = None
        self.drift: int | None = None
        if isinstance(teacher, RecordedTeacher):
            try:
                states = read_trajectory(teacher)
            except DataError as error:
                raise ExperimentError([Problem(f"teacher.{error.key}", repr(teacher.file), str(error))]) from None
            self._samples = self.in_network_units(states)
            self._interval_s, self._repeats = teacher.interval_ms * 1e-3, teacher.repeats
            self.initial_state = self._samples[0].copy()
        else:
            self._module = load_module("teacher", _text(teacher, self._offset, self._scale))
            self.drift = int(self._module.drift.address)
            self.initial_state = self.in_network_units(np.array(teacher.initial_state))

    def compile(self) -> None:
        """Load the kernels."""
        nothing = np.zeros((0, self.initial_state.size))
        self.follow(0, self.initial_state, nothing)
        self.f(0.0, nothing)

    def in_network_units(self, states: Floats) -> Floats:
        """Scale states of the teacher, of shape (..., K)."""
        scaled: Floats = (states - self._offset) / self._scale
        return scaled

    def follow(self, first_step: int, x: Floats, c: Floats) -> Floats:
        """Follow the teacher for a number of steps.

        Parameters
        ----------
        first_step : int
            Steps done before.
        x : ndarray of float64, shape (K,)
            Its state then.
        c : ndarray of float64, shape (n, K)
            Input of each step [state/s]; a recorded trajectory does not feel it.

        Returns
        -------
        ndarray of float64, shape (n + 1, K)
            The state at the beginning of each step, and after the last; of fewer steps if it diverges after these.

        Raises
        ------
        TeacherError
            If the state diverges from the first step on.
        """
        if self._module is None:
            return self._interpolate(np.arange(first_step, first_step + len(c) + 1, dtype=np.float64) * self._dt_s)
        states = np.empty((len(c) + 1, x.size))
        states[0] = x
        self._module.follow(states, c, first_step, self._dt_s)     # the time of a step, wherever one begins
        wrong = ~(np.abs(states) < _ENORMOUS).all(axis=1)
        if wrong.any():
            tame = int(np.argmin((np.abs(states) < _TAME).all(axis=1)))
            if tame > 1:
                return states[:tame]
            m = int(np.argmax(wrong))
            before = self._offset + self._scale * states[max(m - 1, 0)]
            raise TeacherError(describe_divergence((first_step + m) * self._dt_s, before.tolist()))
        return states

    def f(self, t_s: float, x: Floats) -> Floats | None:
        """Evaluate f at states of shape (M, K) [state/s]; None if it is not known."""
        if self._module is None:
            return None
        slopes = np.empty_like(x)
        self._module.evaluate(t_s, np.ascontiguousarray(x), slopes)
        return slopes

    def _interpolate(self, t_s: Floats) -> Floats:
        """Interpolate samples by cubics whose slope at a sample is that between its neighbours."""
        n = len(self._samples)
        at = t_s / self._interval_s
        at = np.mod(at, n - 1) if self._repeats else np.minimum(at, n - 1)
        k = np.minimum(at.astype(np.int64), n - 2)
        u = (at - k)[:, None]
        a, b, c, d = (self._samples[np.clip(k + shift, 0, n - 1)] for shift in (-1, 0, 1, 2))
        states: Floats = b + 0.5 * u * (c - a + u * (2 * a - 5 * b + 4 * c - d + u * (3 * (b - c) + d - a)))
        return states


def _text(teacher: FlowPart, offset: Floats, scale: Floats) -> str:
    """Write the text of a teacher's kernels."""
    functions, dimensions = Functions(), range(teacher.n_dimensions)
    state = ", ".join(f"{float(offset[d])!r} + {float(scale[d])!r} * x{d}" for d in dimensions)
    flow = functions.name(teacher.flow, "f")
    value = "y[{}]" if teacher.returns_tuple else "y"
    slopes = [f"{value.format(d)} / {float(scale[d])!r}" for d in dimensions]

    def stage(name: str, time: str, step: str, before: str) -> str:
        at = ", ".join(f"x{d} + {step} * ({before}[{d}] + c[m, {d}])" if before else f"x{d}" for d in dimensions)
        return f"{name} = slope({time}, {at})"

    half = "0.5 * dt"
    stages = [stage("a", "t", "", ""), stage("b", f"t + {half}", half, "a"), stage("g", f"t + {half}", half, "b"),
              stage("e", "t + dt", "dt", "g")]
    update = [
        f"states[m + 1, {d}] = x{d} + dt * (c[m, {d}] + (a[{d}] + 2.0 * b[{d}] + 2.0 * g[{d}] + e[{d}]) / 6.0)"
        for d in dimensions
    ]

    def lines(statements: list[str], depth: int) -> str:
        return "\n".join("    " * depth + statement for statement in statements)

    return _TEXT.format(
        imports="\n".join(functions.lines),
        names=list(teacher.constants),
        values=", ".join(repr(value) for value in teacher.constants.values()),
        x=", ".join(f"x{d}" for d in dimensions),
        call=call(teacher.flow, flow, {"x": f"({state},)", "t": "t", "p": "p"}),
        slopes=f"({', '.join(slopes)},)",
        states=lines([f"x{d} = states[m, {d}]" for d in dimensions], 2),
        stages=lines(stages, 2),
        update=lines(update, 2),
        at=", ".join(f"states[m, {d}]" for d in dimensions),
        keep=lines([f"slopes[m, {d}] = y[{d}]" for d in dimensions], 2),
        of_pointer=", ".join(f"x[{d}]" for d in dimensions),
        into_pointer=lines([f"f[{d}] = y[{d}]" for d in dimensions], 1),
    )
