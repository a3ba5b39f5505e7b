"""Synapses and the projections made of them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, PositiveInt, model_validator

from mpi_engine.experiment.base import Milliseconds, Part


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


Synapse = ExponentialCurrent
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
    weight_mv : float
        Synaptic weight [mV]; with ``weight_scaling = "1/sqrt(N)"`` it is divided by the square root of the number of
        neurons in all populations (inputs not counted), and so are the weights that a plasticity rule names.
    plasticity : str, optional
        Name of an entry of `plasticity`.
    """

    source: str
    target: str
    synapse: str
    probability: Annotated[FiniteFloat, Field(gt=0, le=1)] | None = None
    in_degree: PositiveInt | None = None
    self_connections: bool = True
    weight_mv: FiniteFloat
    weight_scaling: Literal["none", "1/sqrt(N)"] = "none"
    plasticity: str | None = None

    @model_validator(mode="after")
    def _is_connected_in_one_way(self) -> Self:
        if (self.probability is None) == (self.in_degree is None):
            raise ValueError("give either probability or in_degree")
        return self
