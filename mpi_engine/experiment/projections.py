"""Synapses and the projections made of them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, FiniteFloat, PositiveInt, model_validator

from mpi_engine.experiment.base import Milliseconds, Part
from mpi_engine.experiment.user import UserPart
from mpi_engine.user import Declaration, SynapseModel, try_synapse


class ExponentialCurrent(Part):
    r"""A postsynaptic current with an exponential kernel of unit area.

    .. math:: \tau\,dI/dt = -I, \qquad I \leftarrow I + J/\tau \text{ at each presynaptic spike}

    so that a spike carries the charge J (divided by the capacitance: mV).

    Parameters
    ----------
    tau_ms : float
        Decay time constant [ms].
    """

    kind: Literal["exponential_current"]
    tau_ms: Milliseconds


class ExponentialConductance(Part):
    r"""A postsynaptic conductance with an exponential kernel, divided by the capacitance.

    .. math:: \tau\,dg/dt = -g, \qquad g \leftarrow g + w/\tau \text{ at each spike}, \qquad I = g\,(E_{rev} - V)

    Parameters
    ----------
    tau_ms : float
        Decay time constant [ms].
    reversal_mv : float
        Reversal potential [mV].
    """

    kind: Literal["exponential_conductance"]
    tau_ms: Milliseconds
    reversal_mv: FiniteFloat


class UserSynapse(UserPart):
    """A synapse of the user's own, which gives a current: see `mpi_engine.user.synapse`.

    Parameters
    ----------
    parameters : dict of str to float
        Values of the declared parameters, where they are not the default ones.
    **others
        See `UserPart`.
    """

    kind_of_declaration: ClassVar[type[Declaration]] = SynapseModel

    kind: Literal["user"]
    parameters: dict[str, FiniteFloat] = {}

    @model_validator(mode="after")
    def _works(self) -> Self:
        try_synapse(self.declaration, self.file, self.parameters)
        return self


Synapse = Annotated[ExponentialCurrent | ExponentialConductance | UserSynapse, Field(discriminator="kind")]
"""Any synapse kind."""


class Projection(Part):
    """Synapses from one population, or input, onto a population.

    Parameters
    ----------
    source, target : str
        Names of the presynaptic population or input and of the postsynaptic population.
    synapse : str
        Name of an entry of `synapses`. Projections onto one population that name the same entry add to one current.
    probability : float, optional
        Every ordered pair is connected independently with this probability.
    in_degree : int, optional
        Every target has this many sources, drawn without replacement. Give this or `probability`.
    self_connections : bool
        Whether a neuron may project to itself.
    weight_mv : float, optional
        Weight of a current-based synapse [mV].
    weight : float, optional
        Weight of a conductance-based synapse, without dimension; or give `weight_mv` with `match_at_mv`.
    match_at_mv : float, optional
        Membrane potential V_ref at which a conductance-based synapse acts as a current-based one of `weight_mv`:
        w = j / (E_rev - V_ref) (Zhu, Ocker & Rosenbaum 2026).
    weight_scaling : {"none", "1/sqrt(N)"}
        With ``"1/sqrt(N)"``, weights are divided by the square root of the number of neurons in all populations (inputs
        not counted), and so are the weights that a plasticity rule names.
    delay_ms : float, optional
        Time from a spike to the first step whose V it moves [ms]. Without it, that is the next step for a recurrent
        spike, which has then decayed once, and its own step for one of an input, which has not. Learning sees spikes
        when they happen, not when they arrive.
    plasticity : str or list of str, optional
        Names of entries of `plasticity`. Of several rules, each acts on the weight that the one before it has left.
    """

    source: str
    target: str
    synapse: str
    probability: Annotated[FiniteFloat, Field(ge=1e-9, le=1)] | None = None
    in_degree: PositiveInt | None = None
    self_connections: bool = True
    weight_mv: FiniteFloat | None = None
    weight: Annotated[FiniteFloat, Field(ge=0)] | None = None
    match_at_mv: FiniteFloat | None = None
    weight_scaling: Literal["none", "1/sqrt(N)"] = "none"
    delay_ms: Milliseconds | None = None
    plasticity: str | list[str] | None = None

    @property
    def rules(self) -> list[str]:
        """Names of the plasticity rules, in the order in which they act."""
        given = self.plasticity
        return [] if given is None else [given] if isinstance(given, str) else given

    @model_validator(mode="after")
    def _is_connected_in_one_way(self) -> Self:
        if (self.probability is None) == (self.in_degree is None):
            raise ValueError("give either probability or in_degree")
        if (self.weight_mv is None) == (self.weight is None):
            raise ValueError("give either weight_mv or, for a conductance, weight")
        if self.weight is not None and self.match_at_mv is not None:
            raise ValueError("match_at_mv turns weight_mv into a conductance; it has no meaning beside weight")
        return self
