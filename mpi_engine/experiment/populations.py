"""Neuron models and the populations made of them."""

from __future__ import annotations

from math import log
from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, NonNegativeInt, PositiveInt, model_validator

from mpi_engine.experiment.base import Milliseconds, Part, Value


class IntegrateAndFire(Part):
    r"""What all integrate-and-fire neurons share.

    A spike is counted where :math:`V \ge V_{th}`; then V is set to ``V_reset_mv`` and stays there for
    ``refractory_ms``. Currents are divided by the capacitance: mV/ms.

    Parameters
    ----------
    tau_m_ms : float
        Membrane time constant [ms].
    E_L_mv, V_th_mv, V_reset_mv : float
        Resting potential, spike threshold and reset [mV].
    V_init_mv : Value
        Initial membrane potential [mV].
    refractory_ms : float
        Time after a spike in which V does not move [ms].
    """

    tau_m_ms: Milliseconds
    E_L_mv: FiniteFloat
    V_th_mv: FiniteFloat
    V_reset_mv: FiniteFloat
    V_init_mv: Value
    refractory_ms: Annotated[FiniteFloat, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _reset_lies_below_threshold(self) -> Self:
        if self.V_reset_mv >= self.V_th_mv:
            raise ValueError(
                f"V_reset_mv = {self.V_reset_mv:g} is not below V_th_mv = {self.V_th_mv:g}: the neuron would fire in "
                "every step; lower V_reset_mv"
            )
        return self


class LeakyIntegrateAndFire(IntegrateAndFire):
    r"""The leaky integrate-and-fire neuron: :math:`dV/dt = (E_L - V)/\tau_m + I`. Parameters: `IntegrateAndFire`."""

    model: Literal["lif"]

    @property
    def soft_threshold_mv(self) -> float:
        """Membrane potential from which the neuron goes on to spike [mV]."""
        return self.V_th_mv

    @property
    def rheobase_mv_per_ms(self) -> float:
        """Constant current above which the neuron fires [mV/ms]."""
        return (self.V_th_mv - self.E_L_mv) / self.tau_m_ms


class _Exponential(IntegrateAndFire):
    V_T_mv: FiniteFloat
    Delta_T_mv: Annotated[FiniteFloat, Field(gt=0)]
    spike_current_mv_per_ms: Annotated[FiniteFloat, Field(gt=0)] | None = None

    @property
    def spike_current(self) -> float:
        """Factor of the exponential [mV/ms]."""
        given = self.spike_current_mv_per_ms
        return self.Delta_T_mv / self.tau_m_ms if given is None else given

    @property
    def soft_threshold_mv(self) -> float:
        """Membrane potential from which the neuron goes on to spike, without input [mV]."""
        return self.V_T_mv

    @property
    def rheobase_mv_per_ms(self) -> float:
        """Constant current above which the neuron fires [mV/ms]: where the steady current over V has its maximum."""
        leak = self._steady_leak
        highest = self.V_T_mv + self.Delta_T_mv * log(leak * self.Delta_T_mv / self.spike_current)
        return leak * (highest - self.E_L_mv - self.Delta_T_mv)

    @property
    def _steady_leak(self) -> float:
        """Leak with adaptation at rest, divided by the capacitance [1/ms]."""
        return 1 / self.tau_m_ms


class ExponentialIntegrateAndFire(_Exponential):
    r"""The exponential integrate-and-fire neuron of Akil, Rosenbaum & Josić (2021).

    .. math:: dV/dt = (E_L - V)/\tau_m + A\,e^{(V - V_T)/\Delta_T} + I

    Parameters
    ----------
    V_T_mv, Delta_T_mv : float
        Soft threshold and its slope [mV].
    spike_current_mv_per_ms : float, optional
        A [mV/ms]; :math:`\Delta_T/\tau_m` if not given.
    **others
        See `IntegrateAndFire`.
    """

    model: Literal["eif"]


class AdaptiveExponential(_Exponential):
    r"""The adaptive exponential integrate-and-fire neuron of Brette & Gerstner (2005).

    .. math::
        dV/dt &= (E_L - V)/\tau_m + A\,e^{(V - V_T)/\Delta_T} - w + I \\
        \tau_w\,dw/dt &= a\,(V - E_L) - w, \qquad w \leftarrow w + b \text{ at each spike}

    Parameters
    ----------
    tau_w_ms : float
        Time constant of adaptation [ms].
    a_per_ms : float
        Subthreshold adaptation, divided by the capacitance [1/ms].
    b_mv_per_ms : float
        Spike-triggered adaptation, divided by the capacitance [mV/ms].
    **others
        See `ExponentialIntegrateAndFire`.
    """

    model: Literal["adex"]
    tau_w_ms: Milliseconds
    a_per_ms: Annotated[FiniteFloat, Field(ge=0)]
    b_mv_per_ms: FiniteFloat

    @property
    def _steady_leak(self) -> float:
        return 1 / self.tau_m_ms + self.a_per_ms


Neuron = Annotated[
    LeakyIntegrateAndFire | ExponentialIntegrateAndFire | AdaptiveExponential, Field(discriminator="model")
]
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


class Subpopulation(Part):
    """Some neurons of a population under a name of their own: a slice, or a list.

    It can stand wherever neurons are named: as the source or target of a projection, to stimulate and to record.

    Parameters
    ----------
    population : str
        Name of the population.
    first, count : int
        The slice: ``count`` neurons from index ``first`` (all that follow, if not given).
    neurons : list of int, optional
        Or the indices within the population, ascending.
    """

    population: str
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
