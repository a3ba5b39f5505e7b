r"""Plasticity by pairs of spikes: one general form, and the named rules as instances of it.

With x_post the postsynaptic trace, and x_pre the presynaptic one, the pair form changes the weight on a presynaptic and
on a postsynaptic spike, and in between:

.. math:: w \leftarrow w + (a_0 + a_1 w) + (b_0 + b_1 w)\,x, \qquad dw/dt = c_0 + c_1 w

each with coefficients of its own. This is :math:`dJ/dt = A_0 + \sum_a A_a S_a + \sum_{a,b} B_{ab} x_a S_b` of Akil,
Rosenbaum & Josić (2021) with A and B affine in J. Traces jump by 1 at a spike and decay with their time constants; a
rule sees them as they were before the spikes of its own step.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from mpi_engine.experiment.base import Milliseconds
from mpi_engine.experiment.rules import BoundedRule, TracingRule

Affine = Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]
"""Constant and slope of a function of the weight."""

Positive = Annotated[FiniteFloat, Field(gt=0)]

Rate = Annotated[FiniteFloat, Field(ge=0)]
"""A learning rate; at zero, weights stay as they are."""


@dataclass(frozen=True)
class PairCoefficients:
    """The general pair form in numbers, weights as they act, times in ms.

    A spike of the presynaptic neuron changes weights above `w_min`, one of the postsynaptic neuron weights between
    `w_min` and `w_max`: gates, not clips.
    """

    a_pre: tuple[float, float] = (0.0, 0.0)
    b_pre: tuple[float, float] = (0.0, 0.0)
    a_post: tuple[float, float] = (0.0, 0.0)
    b_post: tuple[float, float] = (0.0, 0.0)
    drift: tuple[float, float] = (0.0, 0.0)
    w_min: float = -inf
    w_max: float = inf


class PairRule(TracingRule):
    """A rule of the pair form.

    Parameters
    ----------
    tau_ms : float
        Time constant of the pre- and the postsynaptic trace [ms]; or give
    tau_pre_ms, tau_post_ms : float
        one for each.
    """

    tau_ms: Milliseconds | None = None
    tau_pre_ms: Milliseconds | None = None
    tau_post_ms: Milliseconds | None = None

    @model_validator(mode="after")
    def _traces_have_time_constants(self) -> Self:
        both = self.tau_pre_ms is not None and self.tau_post_ms is not None
        neither = self.tau_pre_ms is None and self.tau_post_ms is None
        if not (neither if self.tau_ms is not None else both):
            raise ValueError("give either tau_ms, or both tau_pre_ms and tau_post_ms")
        return self

    @property
    def traces(self) -> dict[str, float]:
        """Time constants of the traces; see `Rule.traces`."""
        pre, post = self.tau_pre_ms or self.tau_ms, self.tau_post_ms or self.tau_ms
        assert pre is not None and post is not None
        return {"x_pre": pre, "x_post": post}

    def coefficients(self, scale: float, unit: float = 1.0) -> PairCoefficients:
        """Resolve the rule.

        Parameters
        ----------
        scale : float
            Factor from weights as the experiment names them to weights as they act.
        unit : float
            The part of it that turns mV into a conductance, which learning rates in mV need too.
        """
        raise NotImplementedError


class Pair(PairRule):
    """The general form itself, in weights as they act (never scaled).

    Parameters
    ----------
    a_pre, b_pre, a_post, b_post : list of float
        Each term as [constant in mV, slope].
    drift : list of float
        [c_0 in mV/ms, c_1 in 1/ms]: the change without spikes, integrated exactly.
    """

    rule: Literal["pair"]
    a_pre: Affine = [0.0, 0.0]
    b_pre: Affine = [0.0, 0.0]
    a_post: Affine = [0.0, 0.0]
    b_post: Affine = [0.0, 0.0]
    drift: Affine = [0.0, 0.0]

    def coefficients(self, scale: float, unit: float = 1.0) -> PairCoefficients:
        """Resolve the rule; see `PairRule.coefficients`."""
        terms = (self.a_pre, self.b_pre, self.a_post, self.b_post, self.drift)
        a_pre, b_pre, a_post, b_post, drift = ((constant * unit, slope) for constant, slope in terms)
        return PairCoefficients(a_pre, b_pre, a_post, b_post, drift)


class HebbianHard(PairRule, BoundedRule):
    r"""Classical Hebbian with hard bounds: :math:`w - \eta x_{post}` and :math:`w + \eta x_{pre}` within the bounds.

    A weight at or below ``weight_min_mv`` stays there.

    Parameters
    ----------
    learning_rate_mv : float
        Change a unit of trace [mV], not scaled with the projection.
    **others
        See `PairRule` and `BoundedRule`.
    """

    rule: Literal["hebbian_hard"]
    learning_rate_mv: Rate

    def coefficients(self, scale: float, unit: float = 1.0) -> PairCoefficients:
        """Resolve the rule; see `PairRule.coefficients`."""
        w_min, w_max = self.bounds(scale)
        rate = self.learning_rate_mv * unit
        return PairCoefficients(b_pre=(-rate, 0.0), b_post=(rate, 0.0), w_min=w_min, w_max=w_max)


class HebbianSoft(PairRule):
    r"""Weight-dependent Hebbian: :math:`w - \eta x_{post} w` and :math:`w + \eta x_{pre} w_{max}`.

    Parameters
    ----------
    learning_rate : float
        :math:`\eta`.
    weight_max_mv : float
        :math:`w_{max}` [mV], scaled with the projection; the rule's mean-field fixed point.
    """

    rule: Literal["hebbian_soft"]
    learning_rate: Rate
    weight_max_mv: FiniteFloat

    def coefficients(self, scale: float, unit: float = 1.0) -> PairCoefficients:
        """Resolve the rule; see `PairRule.coefficients`."""
        eta = self.learning_rate
        return PairCoefficients(b_pre=(0.0, -eta), b_post=(eta * self.weight_max_mv * scale, 0.0))


class Kohonen(PairRule):
    r"""Kohonen's rule: :math:`w + \eta\beta x_{post}` on a presynaptic, :math:`w - \eta w` on a postsynaptic spike.

    Parameters
    ----------
    learning_rate : float
        :math:`\eta`.
    beta_mv : float
        :math:`\beta` [mV], scaled with the projection.
    """

    rule: Literal["kohonen"]
    learning_rate: Rate
    beta_mv: FiniteFloat

    def coefficients(self, scale: float, unit: float = 1.0) -> PairCoefficients:
        """Resolve the rule; see `PairRule.coefficients`."""
        eta = self.learning_rate
        return PairCoefficients(b_pre=(eta * self.beta_mv * scale, 0.0), a_post=(0.0, -eta))


class Oja(PairRule):
    r"""Oja's rule: :math:`w + \eta\beta x_{post}` on a presynaptic, :math:`w - \eta x_{pre} w` on a postsynaptic spike.

    Parameters
    ----------
    learning_rate : float
        :math:`\eta`.
    beta_mv : float
        :math:`\beta` [mV], scaled with the projection; the rule's mean-field fixed point.
    """

    rule: Literal["oja"]
    learning_rate: Rate
    beta_mv: FiniteFloat

    def coefficients(self, scale: float, unit: float = 1.0) -> PairCoefficients:
        """Resolve the rule; see `PairRule.coefficients`."""
        eta = self.learning_rate
        return PairCoefficients(b_pre=(eta * self.beta_mv * scale, 0.0), b_post=(0.0, -eta))


class Homeostatic(PairRule):
    r"""Homeostatic inhibitory rule (Vogels et al. 2011), weight-proportional as in Akil et al. (2021).

    .. math::
        w - \eta' (x_{post} - \rho\,(\tau_{pre} + \tau_{post}))\,w, \qquad w - \eta' x_{pre} w, \qquad
        \eta' = \eta / w_{norm}

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
    learning_rate_mv: Rate
    target_rate_hz: Positive
    weight_norm_mv: FiniteFloat

    @model_validator(mode="after")
    def _norm_is_not_zero(self) -> Self:
        if self.weight_norm_mv == 0:
            raise ValueError("weight_norm_mv = 0 would make the learning rate infinite; give it the weights' size")
        return self

    def coefficients(self, scale: float, unit: float = 1.0) -> PairCoefficients:
        """Resolve the rule; see `PairRule.coefficients`."""
        eta = self.learning_rate_mv * unit / (self.weight_norm_mv * scale)
        alpha = self.target_rate_hz * 1e-3 * sum(self.traces.values())
        return PairCoefficients(a_pre=(0.0, eta * alpha), b_pre=(0.0, -eta), b_post=(0.0, -eta))
