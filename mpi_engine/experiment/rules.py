"""What plasticity rules share: a schedule, traces, bounds."""

from __future__ import annotations

from math import inf
from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from mpi_engine.experiment.base import Part


class Change(Part):
    """A step of a learning schedule.

    Parameters
    ----------
    start_ms : float
        From when on [ms].
    factor : float
        What the rule's learning rate is multiplied by; 0 freezes the weights.
    """

    start_ms: Annotated[FiniteFloat, Field(ge=0)]
    factor: Annotated[FiniteFloat, Field(ge=0)]


class Rule(Part):
    """What all rules share.

    Parameters
    ----------
    schedule : list of Change
        Steps of the learning rate, in the order of time; before the first the factor is 1.
    """

    schedule: list[Change] = []

    @model_validator(mode="after")
    def _schedule_ascends(self) -> Self:
        starts = [change.start_ms for change in self.schedule]
        if starts != sorted(set(starts)):
            raise ValueError(f"schedule: start_ms = {starts} must ascend; sort the steps, each time once")
        return self

    @property
    def traces(self) -> dict[str, float]:
        """Time constants of the traces that the rule follows, by their names [ms]."""
        return {}


class TracingRule(Rule):
    """A rule with traces.

    Parameters
    ----------
    pairing : {"all_to_all", "nearest_neighbour"}
        Whether a spike is paired with all earlier ones of the other side, or with the last only: whether a trace jumps
        by 1 or to 1.
    """

    pairing: Literal["all_to_all", "nearest_neighbour"] = "all_to_all"

    def highest_traces(self, rate_hz: float) -> dict[str, float]:
        """Values that traces reach at a spike of neurons that fire regularly at a rate [Hz]."""
        earlier = 0.0 if self.pairing == "nearest_neighbour" else rate_hz * 1e-3
        return {name: 1 + earlier * tau_ms for name, tau_ms in self.traces.items()}


class BoundedRule(TracingRule):
    """A rule with hard bounds: gates, not clips, so that a weight may pass one by an increment.

    Parameters
    ----------
    weight_min_mv, weight_max_mv : float, optional
        Bounds [mV], scaled with the projection; there is none where none is given.
    **others
        See `TracingRule`.
    """

    weight_min_mv: FiniteFloat | None = None
    weight_max_mv: FiniteFloat | None = None

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Self:
        low, high = self.weight_min_mv, self.weight_max_mv
        if low is not None and high is not None and low >= high:
            raise ValueError(f"weight_min_mv = {low:g} is not below weight_max_mv = {high:g}; swap them")
        return self

    def bounds(self, scale: float) -> tuple[float, float]:
        """Lower and upper bound of weights as they act."""
        low, high = self.weight_min_mv, self.weight_max_mv
        return -inf if low is None else low * scale, inf if high is None else high * scale

    def largest_change(self, rate_hz: float) -> float:
        """Most by which one event changes a weight where no neuron fires faster than a rate [mV, not scaled]."""
        raise NotImplementedError

    @property
    def largest_factor(self) -> float:
        """Largest factor of the learning rate."""
        return max([1.0, *(change.factor for change in self.schedule)])
