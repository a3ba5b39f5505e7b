"""What a healthy run may do, and how often that is checked."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, FiniteFloat, model_validator

from mpi_engine.experiment.base import Milliseconds, Part

Positive = Annotated[FiniteFloat, Field(gt=0)]


class Health(Part):
    """Limits beyond which a run is stopped, with the last checkpoint kept; not a number and infinity always are.

    Parameters
    ----------
    interval_ms : float
        Time between checks of state variables, rates and memory [ms]; a shorter run's state and memory at its end.
    weights_interval_ms : float
        Time between checks of plastic weights [ms]; a multiple of `interval_ms`. They are checked at checkpoints too.
    max_rate_hz, min_rate_hz : float
        Highest, and lowest if given, rate of a population within an interval [Hz].
    weights_mv : dict
        Lower and upper bound of weights by projection [mV], in the projection's scaling. Where none is given, those of
        the projection's only rule, if it has bounds.
    max_memory_gb : float, optional
        Memory that a rank may use [GB].
    """

    interval_ms: Milliseconds = 500.0
    weights_interval_ms: Milliseconds = 10_000.0
    max_rate_hz: Positive = 500.0
    min_rate_hz: Positive | None = None
    weights_mv: dict[str, Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]] = {}
    max_memory_gb: Positive | None = None

    @model_validator(mode="after")
    def _rates_are_ordered(self) -> Self:
        if self.min_rate_hz is not None and self.min_rate_hz >= self.max_rate_hz:
            raise ValueError(
                f"min_rate_hz = {self.min_rate_hz:g} is not below max_rate_hz = {self.max_rate_hz:g}; lower it"
            )
        return self
