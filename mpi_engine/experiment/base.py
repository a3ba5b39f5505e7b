"""What every part of an experiment shares: strictness, units of time, distributions."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

Milliseconds = Annotated[FiniteFloat, Field(gt=0)]
"""A positive duration [ms]."""


class Part(BaseModel):
    """A frozen piece of an experiment that refuses unknown keys and loose types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)


class Uniform(Part):
    """A uniform distribution, one value a neuron drawn from the state's random stream.

    Parameters
    ----------
    uniform : tuple of float
        Lower and upper end.
    """

    uniform: Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]

    @property
    def low(self) -> float:
        """Lower end."""
        return self.uniform[0]

    @property
    def high(self) -> float:
        """Upper end."""
        return self.uniform[1]


def steps(duration_ms: float, dt_ms: float) -> int:
    """Count the time steps in a duration.

    Parameters
    ----------
    duration_ms, dt_ms : float
        A duration and the time step [ms].

    Returns
    -------
    int
        The number of steps; see `divides` for whether it is exact.
    """
    return round(min(duration_ms / dt_ms, 2.0**62))


def divides(dt_ms: float, duration_ms: float) -> bool:
    """Say whether a duration is a whole number of time steps, up to rounding of decimal fractions."""
    return abs(steps(duration_ms, dt_ms) * dt_ms - duration_ms) <= 1e-9 * max(abs(duration_ms), dt_ms)
