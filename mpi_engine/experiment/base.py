"""What every part of an experiment shares: strictness, units of time, distributions."""

from __future__ import annotations

from math import exp
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    FiniteFloat,
    NonNegativeInt,
    PositiveInt,
    Tag,
    model_validator,
)

Milliseconds = Annotated[FiniteFloat, Field(gt=0)]
"""A positive duration [ms]."""


class Part(BaseModel):
    """A frozen piece of an experiment that refuses unknown keys and loose types."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=True, defer_build=True    # most are never asked for
    )

    def __hash__(self) -> int:
        """Hash what it holds, lists included; equal parts have equal hashes."""
        return hash(self.model_dump_json())


class Uniform(Part):
    """A uniform distribution: lower and upper end."""

    uniform: Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]

    @model_validator(mode="after")
    def _ends_are_ordered(self) -> Self:
        if self.uniform[0] > self.uniform[1]:
            raise ValueError("the lower end of the uniform distribution is above its upper end; swap them")
        return self


class Normal(Part):
    """A normal distribution: mean and standard deviation. It is cut at six of these."""

    normal: Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]

    @model_validator(mode="after")
    def _spread_is_not_negative(self) -> Self:
        if self.normal[1] < 0:
            raise ValueError(f"the standard deviation is {self.normal[1]:g}; give one of at least 0")
        return self


class Lognormal(Part):
    """A lognormal distribution: median, and standard deviation of the logarithm. It is cut at six of these."""

    lognormal: Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]

    @model_validator(mode="after")
    def _spread_is_not_negative(self) -> Self:
        if not 0 <= self.lognormal[1] <= 10:
            raise ValueError(f"the standard deviation of the logarithm is {self.lognormal[1]:g}; give one of 0 to 10")
        return self


Distribution = Uniform | Normal | Lognormal


def _which(value: Any) -> str | None:
    if isinstance(value, Part):
        return type(value).__name__.lower()
    if isinstance(value, dict):
        return next((name for name in ("uniform", "normal", "lognormal") if name in value), None)
    return "number"


Value = Annotated[
    Annotated[FiniteFloat, Tag("number")]
    | Annotated[Uniform, Tag("uniform")]
    | Annotated[Normal, Tag("normal")]
    | Annotated[Lognormal, Tag("lognormal")],
    Discriminator(
        _which,
        custom_error_type="no_distribution",
        custom_error_message="must be a number, or a distribution: { uniform = [low, high] }, { normal = [mean, "
        "standard deviation] } or { lognormal = [median, standard deviation of the logarithm] }",
    ),
]
"""A number, or a distribution from which each neuron or synapse draws its own."""


Count = Annotated[
    Annotated[PositiveInt, Tag("number")]
    | Annotated[Uniform, Tag("uniform")]
    | Annotated[Normal, Tag("normal")]
    | Annotated[Lognormal, Tag("lognormal")],
    Discriminator(_which),
]
"""A whole number, or a distribution from which each neuron draws one, rounded."""

Geometry = Literal["line", "ring", "torus"]
"""A space in which neurons have positions."""


def lowest(value: float | Distribution) -> float:
    """Smallest number that a value can be."""
    return _ends(value)[0]


def highest(value: float | Distribution) -> float:
    """Largest number that a value can be."""
    return _ends(value)[1]


def _above_zero(value: float | Distribution) -> float | Distribution:
    if lowest(value) <= 0:
        raise ValueError(f"reaches {lowest(value):g} and must be greater than 0 (a normal distribution reaches six "
                         "standard deviations)" if isinstance(value, Part) else "must be greater than 0")
    return value


PositiveValue = Annotated[Value, AfterValidator(_above_zero)]
"""A value above zero."""


def _ends(value: float | Distribution) -> tuple[float, float]:
    if isinstance(value, Uniform):
        return value.uniform[0], value.uniform[1]
    if isinstance(value, Normal):
        mean, spread = value.normal
        return mean - 6 * spread, mean + 6 * spread
    if isinstance(value, Lognormal):
        median, spread = value.lognormal
        ends = median * exp(-6 * spread), median * exp(6 * spread)
        return min(ends), max(ends)
    return value, value


def average(value: float | Distribution) -> float:
    """Mean of a value over its distribution."""
    if isinstance(value, Uniform):
        return sum(value.uniform) / 2
    if isinstance(value, Normal):
        return value.normal[0]
    if isinstance(value, Lognormal):
        return value.lognormal[0] * exp(value.lognormal[1] ** 2 / 2)
    return value


def scaled(value: float | Distribution, factor: float) -> float | Distribution:
    """Multiply a value by a number."""
    if isinstance(value, Uniform):
        return Uniform(uniform=sorted(factor * end for end in value.uniform))
    if isinstance(value, Normal):
        return Normal(normal=[factor * value.normal[0], abs(factor) * value.normal[1]])
    if isinstance(value, Lognormal):
        return Lognormal(lognormal=[factor * value.lognormal[0], value.lognormal[1]])
    return factor * value


class Selection(Part):
    """Some neurons: a slice of those there are, or a list.

    Parameters
    ----------
    first, count : int
        The slice: ``count`` neurons from index ``first`` (all that follow, if not given).
    neurons : list of int, optional
        Or their indices, ascending.
    """

    first: NonNegativeInt = 0
    count: PositiveInt | None = None
    neurons: list[NonNegativeInt] | None = None

    @model_validator(mode="after")
    def _is_a_slice_or_a_list(self) -> Self:
        if self.neurons is None:
            return self
        if self.count is not None or self.first:
            raise ValueError("give either first and count or neurons")
        if not self.neurons or sorted(set(self.neurons)) != self.neurons:
            raise ValueError(f"neurons = {self.neurons}: name at least one, in ascending order, each once")
        return self

    @property
    def last(self) -> int:
        """Index of a neuron that the population must have."""
        return self.neurons[-1] if self.neurons is not None else self.first + (self.count or 1) - 1


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
    """Say whether a duration is a whole number of time steps, up to rounding of decimal fractions.

    A duration above zero has one at least.
    """
    n_steps = steps(duration_ms, dt_ms)
    return (n_steps > 0 or duration_ms == 0) and abs(n_steps * dt_ms - duration_ms) <= 1e-9 * max(duration_ms, dt_ms)
