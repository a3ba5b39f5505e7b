"""Named dynamical systems, as functions of the same kind as a user's teacher: see `mpi_engine.user.teacher`.

Each gives dx/dt [1/s] of its state ``x``, a tuple, at the time ``t`` [s], with the parameters ``p``.
"""

from __future__ import annotations

from math import pi, sin
from typing import Any

State = tuple[float, ...]


def oscillator(x: State, p: Any) -> State:
    """A damped harmonic oscillator."""
    w = 2.0 * pi * p.frequency_hz
    return -p.damping_per_s * x[0] - w * x[1], w * x[0] - p.damping_per_s * x[1]


def limit_cycle(x: State, p: Any) -> State:
    """The normal form of a Hopf bifurcation: a circle of radius 1 that attracts."""
    w = 2.0 * pi * p.frequency_hz
    growth = p.attraction_per_s * (1.0 - x[0] * x[0] - x[1] * x[1])
    return growth * x[0] - w * x[1], w * x[0] + growth * x[1]


def van_der_pol(x: State, p: Any) -> State:
    """The oscillator of van der Pol, in time scaled by its frequency without nonlinearity."""
    w = 2.0 * pi * p.frequency_hz
    return w * x[1], w * (p.nonlinearity * (1.0 - x[0] * x[0]) * x[1] - x[0])


def pendulum(x: State, p: Any) -> State:
    """A damped pendulum: angle, and angular velocity over the frequency of small swings."""
    w = 2.0 * pi * p.frequency_hz
    return w * x[1], -w * sin(x[0]) - p.damping_per_s * x[1]


def bistable(x: State, p: Any) -> float:
    """Two stable states, -1 and 1."""
    return p.rate_per_s * x[0] * (1.0 - x[0] * x[0])  # type: ignore[no-any-return]


def lorenz(x: State, p: Any) -> State:
    """The system of Lorenz (1963)."""
    return p.sigma * (x[1] - x[0]), x[0] * (p.rho - x[2]) - x[1], x[0] * x[1] - p.beta * x[2]
