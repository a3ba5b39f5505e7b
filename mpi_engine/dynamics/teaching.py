"""The teacher's state on the grid of steps."""

from __future__ import annotations

from math import pi

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel
from mpi_engine.experiment.coding import CodingExperiment

Floats = NDArray[np.float64]


class TeacherError(ValueError):
    """A teacher that cannot be followed; the message says when, where and what to do."""


class Teaching:
    """A teacher, followed step by step; the same on every rank, and from any step on.

    Parameters
    ----------
    experiment : CodingExperiment
        Resolved.

    Attributes
    ----------
    initial_state : ndarray of float64, shape (K,)
        Where it begins.
    drift : int or None
        Address of ``void f(double t_s, double *x, double *f)``; None if f is not known.
    """

    def __init__(self, experiment: CodingExperiment) -> None:
        self._teacher = experiment.teacher
        self._dt_s = experiment.run.dt_ms * 1e-3
        self.initial_state = np.array(self._teacher.initial_state)
        self.drift: int | None = None

    def follow(self, first_step: int, x: Floats, c: Floats) -> Floats:
        """Follow the teacher for a number of steps.

        Parameters
        ----------
        first_step : int
            Steps done before.
        x : ndarray of float64, shape (K,)
            Its state then.
        c : ndarray of float64, shape (n, K)
            Input of each step [state/s].

        Returns
        -------
        ndarray of float64, shape (n + 1, K)
            The state at the beginning of each step, and after the last.

        Raises
        ------
        TeacherError
            If the state is no longer finite.
        """
        states = np.empty((c.shape[0] + 1, x.size))
        states[0] = x
        _oscillate(states, c, self._dt_s, 2 * pi * self._teacher.frequency_hz, self._teacher.damping_per_s)
        return states

    def f(self, t_s: float, x: Floats) -> Floats | None:
        """Evaluate f at states of shape (M, K) [state/s]; None if it is not known."""
        w, b = 2 * pi * self._teacher.frequency_hz, self._teacher.damping_per_s
        return np.stack([-b * x[:, 0] - w * x[:, 1], w * x[:, 0] - b * x[:, 1]], axis=1)


@kernel
def _oscillate(states: Floats, c: Floats, dt: float, w: float, b: float) -> None:
    for m in range(c.shape[0]):
        x, y = states[m]
        p, q = x + 0.5 * dt * (-b * x - w * y + c[m, 0]), y + 0.5 * dt * (w * x - b * y + c[m, 1])
        states[m + 1, 0] = x + dt * (-b * p - w * q + c[m, 0])
        states[m + 1, 1] = y + dt * (w * p - b * q + c[m, 1])
