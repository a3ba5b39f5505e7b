"""Inputs from outside the network: spike trains and currents."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, NonNegativeInt, PositiveInt, model_validator

from mpi_engine.experiment.base import Milliseconds, Part


class Poisson(Part):
    """A population of Poisson spike trains, correlated through a common mother process if wished.

    With a correlation c > 0, each train keeps every spike of a mother process of rate ``rate_hz / c`` with
    probability c and shifts it by a Gaussian of standard deviation ``jitter_ms``, cut at six of them (Akil et al.
    2021, Methods): the pairwise count correlation is c in windows much longer than the jitter.

    Parameters
    ----------
    size : int
        Number of trains.
    rate_hz : float
        Rate of each [Hz].
    correlation : float
        c, from 0 (independent trains) to 1.
    jitter_ms : float
        Standard deviation of the jitter [ms].
    """

    kind: Literal["poisson"]
    size: PositiveInt
    rate_hz: Annotated[FiniteFloat, Field(ge=0)]
    correlation: Annotated[FiniteFloat, Field(ge=0, le=1)] = 0.0
    jitter_ms: Annotated[FiniteFloat, Field(ge=0, le=1000)] = 5.0

    @model_validator(mode="after")
    def _mother_process_is_not_endless(self) -> Self:
        if 0 < self.correlation < 1e-5:
            mother_hz = self.rate_hz / self.correlation
            raise ValueError(
                f"correlation = {self.correlation:g} needs a mother process of {mother_hz:.3g} Hz; set it to 0, from "
                "which it cannot be told"
            )
        return self


class Current(Part):
    """A constant current into a slice of a population, from one time to another.

    Parameters
    ----------
    target : str
        Name of a population.
    first, count : int
        The neurons: ``count`` of them from index ``first`` (all that follow, if not given).
    amplitude_mv_per_ms : float
        The current, divided by the membrane capacitance [mV/ms].
    start_ms, stop_ms : float
        When it acts [ms]: in steps with start < t <= stop; to the end if ``stop_ms`` is not given.
    """

    kind: Literal["current"]
    target: str
    first: NonNegativeInt = 0
    count: PositiveInt | None = None
    amplitude_mv_per_ms: FiniteFloat
    start_ms: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    stop_ms: Milliseconds | None = None

    @model_validator(mode="after")
    def _stops_after_it_starts(self) -> Self:
        if self.stop_ms is not None and self.stop_ms <= self.start_ms:
            raise ValueError(
                f"stop_ms = {self.stop_ms:g} is not after start_ms = {self.start_ms:g}: the current never acts; "
                "raise stop_ms"
            )
        return self


Input = Annotated[Poisson | Current, Field(discriminator="kind")]
"""Any input."""
