"""What drives a coding network: the teacher and the conditions of its phases, made in windows of steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.dynamics.conditions import Conditions
from mpi_engine.dynamics.teaching import Teaching
from mpi_engine.experiment.coding import CodingExperiment
from mpi_engine.experiment.phases import NoiseInput

Floats = NDArray[np.float64]

_WINDOW = 4096
"""Steps for which signals are made at a time."""


class Signals(NamedTuple):
    """What drives the steps of a window.

    Parameters
    ----------
    first : int
        Steps done before the window.
    x : ndarray of float64, shape (n + 1, K)
        The teacher's state at the beginning of each step, and after the last.
    c : ndarray of float64, shape (n, K)
        Input [state/s].
    feedback, learning_rate : ndarray of float64, shape (n,)
        k [1/s] and eta [1/s^2].
    """

    first: int
    x: Floats
    c: Floats
    feedback: Floats
    learning_rate: Floats


class Course:
    """The signals of a run, from any step on; the same on every rank.

    Parameters
    ----------
    experiment : CodingExperiment
        Resolved.

    Attributes
    ----------
    window : Signals
        The last that were made.
    stage : Stage
        To which they belong.
    """

    def __init__(self, experiment: CodingExperiment) -> None:
        self.conditions, self.teaching = Conditions(experiment), Teaching(experiment)
        self.stage = self.conditions.stage(0)
        self._begin_at(0, self.teaching.initial_state, np.zeros(experiment.n_dimensions))

    @property
    def until(self) -> int:
        """Last step of the window."""
        return self.window.first + self.window.c.shape[0]

    def prepare(self, step: int) -> None:
        """Make the signals of the step after a given one, unless there are.

        Raises
        ------
        TeacherError
            If the teacher diverges.
        """
        if step < self.until:
            return
        x, noise = self.state_at(step)
        self.stage = self.conditions.stage(step)
        if step == self.stage.first:
            noise = np.zeros_like(noise)
            if self.stage.phase.state is not None:
                x = self.teaching.in_network_units(np.array(self.stage.phase.state))
        c = self.conditions.input(step, min(self.stage.last - step, _WINDOW), noise)
        states = self.teaching.follow(step, x, c)
        n = len(states) - 1
        self._noise = noise if n == len(c) else c[n].copy()
        feedback, learning_rate = self.conditions.feedback(step, n), self.conditions.learning_rate(step, n)
        self.window = Signals(step, states, c[:n], feedback, learning_rate)

    def state_at(self, step: int) -> tuple[Floats, Floats]:
        """State of the teacher, and of a random input, after a step of the window or before its first."""
        m = step - self.window.first
        x = self.window.x[m].copy()
        if not isinstance(self.stage.phase.input, NoiseInput):     # what follows from the time has no state
            return x, np.zeros_like(x)
        return x, (self._noise if step == self.until else self.window.c[m]).copy()

    def go_on_from(self, step: int, x: Floats, noise: Floats) -> None:
        """Go on from a step with the states that `state_at` gave."""
        self._begin_at(step, x, noise)

    def _begin_at(self, step: int, x: Floats, noise: Floats) -> None:
        nothing = np.zeros(0)
        self.stage = self.conditions.stage(step)
        self.window = Signals(step, x[None].copy(), np.zeros((0, x.size)), nothing, nothing)
        self._noise = noise.copy()
