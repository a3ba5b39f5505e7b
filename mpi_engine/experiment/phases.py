"""What a coding network goes through: phases with their input and feedback, deaths of neurons, trials."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, FiniteFloat, NonNegativeInt, PositiveInt, Tag, model_validator

from mpi_engine.experiment.base import Milliseconds, Part
from mpi_engine.experiment.coding_network import AtLeastZero, Fraction
from mpi_engine.experiment.formula import NumberOrFormula


class Geometric(Part):
    """A positive number that changes by the same factor in every step of a phase: its first and last value."""

    geometric: Annotated[list[Annotated[FiniteFloat, Field(gt=0)]], Field(min_length=2, max_length=2)]


def _which(value: Any) -> str:
    return "geometric" if isinstance(value, (dict, Geometric)) else "number"


Course = Annotated[
    Annotated[AtLeastZero, Tag("number")] | Annotated[Geometric, Tag("geometric")], Discriminator(_which)
]
"""A number, or its first and last value in a phase."""


def ends(course: float | Geometric) -> tuple[float, float]:
    """First and last value of a course."""
    return (course.geometric[0], course.geometric[1]) if isinstance(course, Geometric) else (course, course)


class FormulaInput(Part):
    """An input given by a formula of the time since the start of the run for each dimension.

    Parameters
    ----------
    c_per_s : list of float or str, length K
        c [state/s]; the value at the beginning of a step holds for the step.
    """

    kind: Literal["formula"]
    c_per_s: Annotated[list[NumberOrFormula], Field(min_length=1)]


class NoiseInput(Part):
    """An Ornstein-Uhlenbeck process in each dimension, which begins at zero.

    Parameters
    ----------
    std_per_s : float, optional
        Standard deviation [state/s], from the teacher's scale if not given.
    tau_ms : float, optional
        Time constant [ms], from the teacher's scale if not given.
    """

    kind: Literal["ornstein_uhlenbeck"]
    std_per_s: AtLeastZero | None = None
    tau_ms: Milliseconds | None = None


class PulseInput(Part):
    """Pulses of random sign in each dimension, at random intervals.

    Parameters
    ----------
    amplitude_per_s : float
        Of a pulse [state/s].
    length_ms : float
        Of a pulse [ms].
    interval_ms : list of float
        Shortest and longest time from the end of a pulse to the next [ms], between which it is drawn uniformly.
    """

    kind: Literal["pulses"]
    amplitude_per_s: AtLeastZero
    length_ms: Milliseconds
    interval_ms: Annotated[list[Milliseconds], Field(min_length=2, max_length=2)]

    @model_validator(mode="after")
    def _interval_is_ordered(self) -> Self:
        if self.interval_ms[0] > self.interval_ms[1]:
            raise ValueError(f"interval_ms = {self.interval_ms}: the shortest is above the longest; swap them")
        return self


CodingInput = Annotated[FormulaInput | NoiseInput | PulseInput, Field(discriminator="kind")]
"""Any input of a phase."""


class Phase(Part):
    """A part of a coding network's life.

    Parameters
    ----------
    does : {"learn", "synchronise", "run"}
        Learn: with the error fed back and plasticity on. Synchronise: with feedback only. Run: freely, without both.
    duration_ms : float, optional
        Its length [ms]; the last phase lasts to the end of the run.
    feedback_per_s : float or Geometric, optional
        k [1/s], from the teacher's scale if not given; none where the network runs freely.
    learning_rate_per_s2 : float or Geometric, optional
        eta [1/s^2], from the teacher's scale if not given; none where the network does not learn.
    input : CodingInput, optional
        c, of network and teacher, in the network's units of the state; where the network learns and none is given, an
        Ornstein-Uhlenbeck process from the teacher's scale.
    state : list of float, optional
        State in which the teacher begins the phase, in its own units; where it stands, if not given.
    """

    does: Literal["learn", "synchronise", "run"]
    duration_ms: Milliseconds | None = None
    feedback_per_s: Course | None = None
    learning_rate_per_s2: Course | None = None
    input: CodingInput | None = None
    state: list[FiniteFloat] | None = None

    @model_validator(mode="after")
    def _does_what_it_says(self) -> Self:
        if self.does == "run" and self.feedback_per_s not in (None, 0.0):
            raise ValueError('feedback_per_s is given to a network that runs freely; set does = "synchronise"')
        if self.does != "learn" and self.learning_rate_per_s2 not in (None, 0.0):
            raise ValueError('learning_rate_per_s2 is given to a network that does not learn; set does = "learn"')
        return self

    @property
    def feedback(self) -> tuple[float, float]:
        """First and last k [1/s] of a resolved phase."""
        return ends(self.feedback_per_s or 0.0)

    @property
    def learning_rate(self) -> tuple[float, float]:
        """First and last eta [1/s^2] of a resolved phase."""
        return ends(self.learning_rate_per_s2 or 0.0)


class Death(Part):
    """Neurons that never spike again.

    Parameters
    ----------
    at_ms : float
        When [ms].
    fraction : float, optional
        Of all neurons, chosen at random; the choice of a larger fraction contains that of a smaller one.
    neurons : list of int, optional
        Or their indices.
    """

    at_ms: AtLeastZero
    fraction: Fraction | None = None
    neurons: list[NonNegativeInt] | None = None

    @model_validator(mode="after")
    def _names_who_dies(self) -> Self:
        if (self.fraction is None) == (self.neurons is None):
            raise ValueError("give either fraction or neurons")
        return self


class Trials(Part):
    """Phases that are repeated: from one to the last, each time with new noise and input.

    Parameters
    ----------
    from_phase : str
        The first of them.
    count : int
        How often they take place.
    """

    from_phase: str
    count: PositiveInt
