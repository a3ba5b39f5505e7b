"""Any plasticity rule: by pairs, by triplets, by a user's function; and normalisation."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from mpi_engine.experiment.base import Milliseconds
from mpi_engine.experiment.pairs import HebbianHard, HebbianSoft, Homeostatic, Kohonen, Oja, Pair
from mpi_engine.experiment.rules import BoundedRule, Rule, TracingRule
from mpi_engine.experiment.user import UserPart
from mpi_engine.user import Declaration, RuleModel, try_rule


class Triplet(BoundedRule):
    r"""The triplet rule of Pfister & Gerstner (2006), with fast traces x and slow traces y.

    .. math::
        w - x_{post}\,(A_2^- + A_3^-\,y_{pre}) \text{ on a presynaptic}, \qquad
        w + x_{pre}\,(A_2^+ + A_3^+\,y_{post}) \text{ on a postsynaptic spike}

    Parameters
    ----------
    a2_plus_mv, a3_plus_mv, a2_minus_mv, a3_minus_mv : float
        Amplitudes of pairs and triplets [mV], not scaled with the projection.
    tau_plus_ms, tau_minus_ms : float
        Time constants of x_pre and x_post [ms].
    tau_x_ms, tau_y_ms : float
        Time constants of y_pre and y_post [ms].
    **others
        See `BoundedRule`.
    """

    rule: Literal["triplet"]
    a2_plus_mv: FiniteFloat = 0.0
    a3_plus_mv: FiniteFloat = 0.0
    a2_minus_mv: FiniteFloat = 0.0
    a3_minus_mv: FiniteFloat = 0.0
    tau_plus_ms: Milliseconds
    tau_minus_ms: Milliseconds
    tau_x_ms: Milliseconds
    tau_y_ms: Milliseconds

    @property
    def traces(self) -> dict[str, float]:
        """Time constants of the traces; see `Rule.traces`."""
        return {"x_pre": self.tau_plus_ms, "x_post": self.tau_minus_ms, "y_pre": self.tau_x_ms, "y_post": self.tau_y_ms}

    def largest_change(self, rate_hz: float) -> float:
        """Most by which one event changes a weight; see `BoundedRule.largest_change`."""
        x = self.highest_traces(rate_hz)
        on_pre = x["x_post"] * (abs(self.a2_minus_mv) + abs(self.a3_minus_mv) * x["y_pre"])
        on_post = x["x_pre"] * (abs(self.a2_plus_mv) + abs(self.a3_plus_mv) * x["y_post"])
        return self.largest_factor * max(on_pre, on_post)


class Normalisation(Rule):
    """Multiplies all weights onto a neuron by a common factor, at regular times, to give them a certain sum.

    Parameters
    ----------
    interval_ms : float
        Time between normalisations [ms].
    sum_mv : float, optional
        Sum of a neuron's weights of the projection [mV], scaled with the projection; its initial sum if not given.
    """

    rule: Literal["normalisation"]
    interval_ms: Milliseconds
    sum_mv: FiniteFloat | None = None

    @model_validator(mode="after")
    def _has_no_rate(self) -> Self:
        if self.schedule:
            raise ValueError("schedule: a normalisation has no learning rate; leave it out")
        return self


class UserRule(TracingRule, UserPart):
    """A rule of the user's own: see `mpi_engine.user.rule`.

    Parameters
    ----------
    parameters : dict of str to float
        Values of the declared parameters, where they are not the default ones. Weights are as they act.
    **others
        See `UserPart` and `TracingRule`.
    """

    kind_of_declaration: ClassVar[type[Declaration]] = RuleModel

    rule: Literal["user"]
    parameters: dict[str, FiniteFloat] = {}

    @model_validator(mode="after")
    def _works(self) -> Self:
        try_rule(self.declaration, self.file, self.parameters)
        return self

    @property
    def traces(self) -> dict[str, float]:
        """Time constants of the traces; see `Rule.traces`."""
        return {name: self.parameters[tau] for name, tau in self.declaration.traces.items()}


Plasticity = Annotated[
    Pair | HebbianHard | HebbianSoft | Kohonen | Oja | Homeostatic | Triplet | Normalisation | UserRule,
    Field(discriminator="rule"),
]
"""Any plasticity rule."""
