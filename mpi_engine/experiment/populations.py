"""Neuron models and the populations made of them."""

from __future__ import annotations

from math import log
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, FiniteFloat, PositiveInt, model_validator

from mpi_engine.experiment.base import (
    Distribution,
    Geometry,
    Part,
    PositiveValue,
    Selection,
    Value,
    average,
    highest,
    lowest,
)
from mpi_engine.experiment.user import UserPart
from mpi_engine.user import Declaration, NeuronModel, try_neuron


class SpikingNeuron(Part):
    """What all neurons share.

    A number can be a distribution, from which each neuron draws its own: see `Value`.

    Parameters
    ----------
    V_init_mv : Value
        Initial membrane potential [mV].
    refractory_ms : float
        Time after a spike in which V does not move [ms].
    """

    V_init_mv: Value
    refractory_ms: Annotated[FiniteFloat, Field(ge=0)] = 0.0


class IntegrateAndFire(SpikingNeuron):
    r"""What all integrate-and-fire neurons share.

    A spike is counted where :math:`V \ge V_{th}`; then V is set to ``V_reset_mv``. Currents are divided by the
    capacitance: mV/ms.

    Parameters
    ----------
    tau_m_ms : Value
        Membrane time constant [ms].
    E_L_mv, V_th_mv, V_reset_mv : Value
        Resting potential, spike threshold and reset [mV].
    **others
        See `SpikingNeuron`.
    """

    tau_m_ms: PositiveValue
    E_L_mv: Value
    V_th_mv: Value
    V_reset_mv: Value

    @model_validator(mode="after")
    def _reset_lies_below_threshold(self) -> Self:
        reset, threshold = highest(self.V_reset_mv), lowest(self.V_th_mv)
        if reset >= threshold:
            raise ValueError(
                f"V_reset_mv = {reset:g} is not below V_th_mv = {threshold:g}: the neuron would fire in "
                "every step; lower V_reset_mv"
            )
        if lowest(self.V_init_mv) >= highest(self.V_th_mv):
            raise ValueError(
                f"V_init_mv = {lowest(self.V_init_mv):g} is not below V_th_mv = {highest(self.V_th_mv):g}: all neurons "
                "would fire in the first step; lower V_init_mv"
            )
        return self


class LeakyIntegrateAndFire(IntegrateAndFire):
    r"""The leaky integrate-and-fire neuron: :math:`dV/dt = (E_L - V)/\tau_m + I`. Parameters: `IntegrateAndFire`."""

    model: Literal["lif"]

    @property
    def soft_threshold_mv(self) -> float:
        """Membrane potential from which the neuron goes on to spike [mV]."""
        return average(self.V_th_mv)

    @property
    def rheobase_mv_per_ms(self) -> float:
        """Constant current above which the average neuron fires [mV/ms]."""
        return (average(self.V_th_mv) - average(self.E_L_mv)) / average(self.tau_m_ms)


class _Exponential(IntegrateAndFire):
    V_T_mv: Value
    Delta_T_mv: PositiveValue
    spike_current_mv_per_ms: PositiveValue | None = None

    @property
    def soft_threshold_mv(self) -> float:
        """Membrane potential from which the neuron goes on to spike, without input [mV]."""
        return average(self.V_T_mv)

    @property
    def rheobase_mv_per_ms(self) -> float:
        """Constant current above which the average neuron fires: where the steady current over V is largest [mV/ms]."""
        leak, slope = self._steady_leak, average(self.Delta_T_mv)
        given = self.spike_current_mv_per_ms
        spike_current = slope / average(self.tau_m_ms) if given is None else average(given)
        largest = average(self.V_T_mv) + slope * log(leak * slope / spike_current)
        return leak * (largest - average(self.E_L_mv) - slope)

    @property
    def _steady_leak(self) -> float:
        """Leak with adaptation at rest, divided by the capacitance [1/ms]."""
        return 1 / average(self.tau_m_ms)


class ExponentialIntegrateAndFire(_Exponential):
    r"""The exponential integrate-and-fire neuron of Akil, Rosenbaum & Josić (2021).

    .. math:: dV/dt = (E_L - V)/\tau_m + A\,e^{(V - V_T)/\Delta_T} + I

    Parameters
    ----------
    V_T_mv, Delta_T_mv : Value
        Soft threshold and its slope [mV].
    spike_current_mv_per_ms : Value, optional
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
    tau_w_ms : Value
        Time constant of adaptation [ms].
    a_per_ms : Value
        Subthreshold adaptation, divided by the capacitance [1/ms].
    b_mv_per_ms : Value
        Spike-triggered adaptation, divided by the capacitance [mV/ms].
    **others
        See `ExponentialIntegrateAndFire`.
    """

    model: Literal["adex"]
    tau_w_ms: PositiveValue
    a_per_ms: Value
    b_mv_per_ms: Value

    @property
    def _steady_leak(self) -> float:
        return 1 / average(self.tau_m_ms) + average(self.a_per_ms)


class UserNeuron(SpikingNeuron, UserPart):
    """A neuron of the user's own: see `mpi_engine.user.neuron`.

    Parameters
    ----------
    parameters : dict of str to Value
        Values of the declared parameters, where they are not the default ones.
    initial : dict of str to Value
        Initial values of the declared state variables, likewise.
    **others
        See `UserPart` and `SpikingNeuron`.
    """

    kind_of_declaration: ClassVar[type[Declaration]] = NeuronModel

    model: Literal["user"]
    parameters: dict[str, Value] = {}
    initial: dict[str, Value] = {}

    @model_validator(mode="after")
    def _works(self) -> Self:
        declared: NeuronModel = self.declaration
        for name in self.initial:
            if name not in declared.state:
                raise ValueError(f"initial.{name}: the neuron has the state variables {', '.join(declared.state)}")
        parameters = {name: average(value) for name, value in self.parameters.items()}
        try_neuron(declared, self.file, parameters, {name: average(value) for name, value in self.state.items()})
        return self

    @property
    def state(self) -> dict[str, float | Distribution]:
        """Initial values of all state variables beside V."""
        return {**self.declaration.state, **self.initial}

    @property
    def V_th_mv(self) -> float | Distribution:
        """Membrane potential that counts as a spike [mV]."""
        return self.parameters[self.declaration.threshold]


Neuron = Annotated[
    LeakyIntegrateAndFire | ExponentialIntegrateAndFire | AdaptiveExponential | UserNeuron,
    Field(discriminator="model"),
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
    positions : {"line", "ring", "torus"}, optional
        Where the neurons are, for probabilities that depend on distance: evenly spaced in the order of ids, at
        (i + 1/2)/n on a line or ring of length 1, or drawn uniformly on a torus of sides 1.
    """

    size: PositiveInt
    neuron: str
    positions: Geometry | None = None


class Subpopulation(Selection):
    """Some neurons of a population under a name of their own: a slice, or a list.

    It can stand wherever neurons are named: as the source or target of a projection, to stimulate and to record.

    Parameters
    ----------
    population : str
        Name of the population.
    **others
        See `Selection`.
    """

    population: str
