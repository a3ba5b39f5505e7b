r"""Plasticity rules: one general pair form, and the named rules as instances of it.

On a presynaptic spike, with x_post the postsynaptic trace, and on a postsynaptic spike, with x_pre the presynaptic one:

.. math:: w \leftarrow w + (a_0 + a_1 w) + (b_0 + b_1 w)\,x

each with coefficients of its own. This is :math:`dJ/dt = \sum_a A_a S_a + \sum_{a,b} B_{ab} x_a S_b` of Akil, Rosenbaum
& Josić (2021) with A and B affine in J. Traces jump by 1 at a spike and decay with ``tau_ms``; a rule sees them as they
were before the spikes of its own step.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from mpi_engine.experiment.base import Milliseconds, Part

Affine = Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]
"""Constant and slope of a function of the weight."""

Positive = Annotated[FiniteFloat, Field(gt=0)]


@dataclass(frozen=True)
class PairCoefficients:
    """The general pair form in numbers, weights in mV as they act.

    A spike of the presynaptic neuron changes weights above `w_min`, one of the postsynaptic neuron weights between
    `w_min` and `w_max`: gates, not clips.
    """

    a_pre: tuple[float, float] = (0.0, 0.0)
    b_pre: tuple[float, float] = (0.0, 0.0)
    a_post: tuple[float, float] = (0.0, 0.0)
    b_post: tuple[float, float] = (0.0, 0.0)
    w_min: float = -inf
    w_max: float = inf


class Rule(Part):
    """What all rules share.

    Parameters
    ----------
    tau_ms : float
        Time constant of the pre- and the postsynaptic trace [ms].
    """

    tau_ms: Milliseconds

    def coefficients(self, scale: float) -> PairCoefficients:
        """Resolve the rule, weights multiplied by the projection's `scale`."""
        raise NotImplementedError


class Pair(Rule):
    """The general form itself: each term as [constant in mV, slope], in weights as they act (never scaled)."""

    rule: Literal["pair"]
    a_pre: Affine = [0.0, 0.0]
    b_pre: Affine = [0.0, 0.0]
    a_post: Affine = [0.0, 0.0]
    b_post: Affine = [0.0, 0.0]

    def coefficients(self, scale: float) -> PairCoefficients:
        """Resolve the rule; see `Rule.coefficients`."""
        return PairCoefficients(_pair(self.a_pre), _pair(self.b_pre), _pair(self.a_post), _pair(self.b_post))


def _pair(term: list[float]) -> tuple[float, float]:
    return term[0], term[1]


class HebbianHard(Rule):
    r"""Classical Hebbian with hard bounds: :math:`w - \eta x_{post}` and :math:`w + \eta x_{pre}` within the bounds.

    A weight at or below ``weight_min_mv`` stays there; the bounds are gates, so that a weight may pass one by an
    increment. Without bounds given there are none.

    Parameters
    ----------
    learning_rate_mv : float
        Change a unit of trace [mV], not scaled with the projection.
    weight_min_mv, weight_max_mv : float, optional
        Bounds [mV], scaled with the projection.
    """

    rule: Literal["hebbian_hard"]
    learning_rate_mv: Positive
    weight_min_mv: FiniteFloat | None = None
    weight_max_mv: FiniteFloat | None = None

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Self:
        low, high = self.weight_min_mv, self.weight_max_mv
        if low is not None and high is not None and low >= high:
            raise ValueError(f"weight_min_mv = {low:g} is not below weight_max_mv = {high:g}; swap them")
        return self

    def coefficients(self, scale: float) -> PairCoefficients:
        """Resolve the rule; see `Rule.coefficients`."""
        return PairCoefficients(
            b_pre=(-self.learning_rate_mv, 0.0),
            b_post=(self.learning_rate_mv, 0.0),
            w_min=-inf if self.weight_min_mv is None else self.weight_min_mv * scale,
            w_max=inf if self.weight_max_mv is None else self.weight_max_mv * scale,
        )


class HebbianSoft(Rule):
    r"""Weight-dependent Hebbian: :math:`w - \eta x_{post} w` and :math:`w + \eta x_{pre} w_{max}`.

    Parameters
    ----------
    learning_rate : float
        :math:`\eta`.
    weight_max_mv : float
        :math:`w_{max}` [mV], scaled with the projection; the rule's mean-field fixed point.
    """

    rule: Literal["hebbian_soft"]
    learning_rate: Positive
    weight_max_mv: FiniteFloat

    def coefficients(self, scale: float) -> PairCoefficients:
        """Resolve the rule; see `Rule.coefficients`."""
        eta = self.learning_rate
        return PairCoefficients(b_pre=(0.0, -eta), b_post=(eta * self.weight_max_mv * scale, 0.0))


class Kohonen(Rule):
    r"""Kohonen's rule: :math:`w + \eta\beta x_{post}` on a presynaptic, :math:`w - \eta w` on a postsynaptic spike.

    Parameters
    ----------
    learning_rate : float
        :math:`\eta`.
    beta_mv : float
        :math:`\beta` [mV], scaled with the projection.
    """

    rule: Literal["kohonen"]
    learning_rate: Positive
    beta_mv: FiniteFloat

    def coefficients(self, scale: float) -> PairCoefficients:
        """Resolve the rule; see `Rule.coefficients`."""
        eta = self.learning_rate
        return PairCoefficients(b_pre=(eta * self.beta_mv * scale, 0.0), a_post=(0.0, -eta))


class Oja(Rule):
    r"""Oja's rule: :math:`w + \eta\beta x_{post}` on a presynaptic, :math:`w - \eta x_{pre} w` on a postsynaptic spike.

    Parameters
    ----------
    learning_rate : float
        :math:`\eta`.
    beta_mv : float
        :math:`\beta` [mV], scaled with the projection; the rule's mean-field fixed point.
    """

    rule: Literal["oja"]
    learning_rate: Positive
    beta_mv: FiniteFloat

    def coefficients(self, scale: float) -> PairCoefficients:
        """Resolve the rule; see `Rule.coefficients`."""
        eta = self.learning_rate
        return PairCoefficients(b_pre=(eta * self.beta_mv * scale, 0.0), b_post=(0.0, -eta))


class Homeostatic(Rule):
    r"""Homeostatic inhibitory rule (Vogels et al. 2011), weight-proportional as in Akil et al. (2021).

    .. math:: w - \eta' (x_{post} - 2\rho\tau)\,w, \qquad w - \eta' x_{pre} w, \qquad \eta' = \eta / w_{norm}

    A weight never changes sign; inhibition grows where the target fires faster than ``target_rate_hz``.

    Parameters
    ----------
    learning_rate_mv : float
        :math:`\eta` [mV].
    target_rate_hz : float
        :math:`\rho` [Hz].
    weight_norm_mv : float
        :math:`w_{norm}` [mV], scaled with the projection; of the sign of the weights.
    """

    rule: Literal["homeostatic"]
    learning_rate_mv: Positive
    target_rate_hz: Positive
    weight_norm_mv: FiniteFloat

    @model_validator(mode="after")
    def _norm_is_not_zero(self) -> Self:
        if self.weight_norm_mv == 0:
            raise ValueError("weight_norm_mv = 0 would make the learning rate infinite; give it the weights' size")
        return self

    def coefficients(self, scale: float) -> PairCoefficients:
        """Resolve the rule; see `Rule.coefficients`."""
        eta = self.learning_rate_mv / (self.weight_norm_mv * scale)
        alpha = 2 * self.target_rate_hz * 1e-3 * self.tau_ms
        return PairCoefficients(a_pre=(0.0, eta * alpha), b_pre=(0.0, -eta), b_post=(0.0, -eta))


Plasticity = Annotated[
    Pair | HebbianHard | HebbianSoft | Kohonen | Oja | Homeostatic,
    Field(discriminator="rule"),
]
"""Any plasticity rule."""
