"""Neuron models and the populations made of them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, PositiveInt, model_validator

from mpi_engine.experiment.base import Milliseconds, Part, Uniform


class ExponentialIntegrateAndFire(Part):
    r"""The exponential integrate-and-fire neuron of Akil, Rosenbaum & Josić (2021).

    .. math:: dV/dt = (E_L - V)/\tau_m + (\Delta_T/\tau_m)\,e^{(V - V_T)/\Delta_T} + I

    A spike is counted where :math:`V \ge V_{th}`; then V is set to ``V_reset_mv``. Currents are divided by the
    capacitance: mV/ms.

    Parameters
    ----------
    tau_m_ms : float
        Membrane time constant [ms].
    E_L_mv, V_T_mv, Delta_T_mv : float
        Resting potential, soft threshold and its slope [mV].
    V_th_mv, V_reset_mv : float
        Spike threshold and reset [mV].
    V_init_mv : float or Uniform
        Initial membrane potential [mV].
    """

    model: Literal["eif"]
    tau_m_ms: Milliseconds
    E_L_mv: FiniteFloat
    V_T_mv: FiniteFloat
    Delta_T_mv: Annotated[FiniteFloat, Field(gt=0)]
    V_th_mv: FiniteFloat
    V_reset_mv: FiniteFloat
    V_init_mv: FiniteFloat | Uniform

    @model_validator(mode="after")
    def _reset_lies_below_threshold(self) -> Self:
        if self.V_reset_mv >= self.V_th_mv:
            raise ValueError(
                f"V_reset_mv = {self.V_reset_mv:g} is not below V_th_mv = {self.V_th_mv:g}: the neuron would fire in "
                "every step; lower V_reset_mv"
            )
        if isinstance(self.V_init_mv, Uniform) and self.V_init_mv.low > self.V_init_mv.high:
            raise ValueError("V_init_mv: the lower end of the uniform distribution is above its upper end; swap them")
        return self


Neuron = ExponentialIntegrateAndFire
"""Any neuron model."""


class Population(Part):
    """Neurons of one model.

    Parameters
    ----------
    size : int
        Number of neurons.
    neuron : str
        Name of an entry of `neurons`.
    """

    size: PositiveInt
    neuron: str
