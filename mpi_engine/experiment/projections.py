"""Synapses and the projections made of them."""

from __future__ import annotations

from math import acos, exp, pi, sqrt
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, FiniteFloat, Tag, field_validator, model_validator

from mpi_engine.experiment.base import Count, Distribution, Geometry, Milliseconds, Part, Value, highest, lowest
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


class Profile(Part):
    r"""How the probability of a connection falls with distance: :math:`p(d) = p\,f(d)`.

    Gaussian: :math:`f(d) = e^{-d^2/2\sigma^2}`; exponential: :math:`f(d) = e^{-d/\sigma}`. The mean in-degree is the
    number of sources times p times the mean of f over pairs of places, `mean`. On a ring, and while
    :math:`\sigma \ll 1`, that is :math:`\sqrt{2\pi}\,\sigma` for a Gaussian and :math:`2\sigma` for an exponential;
    on a torus :math:`2\pi\sigma^2` for both.

    Parameters
    ----------
    shape : {"gaussian", "exponential"}
        f.
    width : float
        :math:`\sigma`, in units of the length of line, ring or torus.
    """

    shape: Literal["gaussian", "exponential"]
    width: Annotated[FiniteFloat, Field(gt=0)]

    def at(self, distance: float) -> float:
        """Give f at a distance."""
        d = distance / self.width
        return exp(-d * d / 2) if self.shape == "gaussian" else exp(-d)

    def mean(self, geometry: Geometry) -> float:
        """Average f over two independent uniform places, by the midpoint rule over their distance."""
        farthest = {"line": 1.0, "ring": 0.5, "torus": sqrt(0.5)}[geometry]
        reach = min(farthest, 40 * self.width)
        n = 4000
        middles = ((k + 0.5) / n * reach for k in range(n))
        return sum(self.at(d) * _density(geometry, d) for d in middles) * reach / n


def _density(geometry: Geometry, d: float) -> float:
    """Probability density of the distance of two uniform places."""
    if geometry == "line":
        return 2 * (1 - d)
    if geometry == "ring":
        return 2.0
    return 2 * d * (pi if d <= 0.5 else pi - 4 * acos(0.5 / d))


def _whether_matrix(value: Any) -> str:
    return "matrix" if isinstance(value, list) else "number"


Probability = Annotated[
    Annotated[FiniteFloat, Field(ge=1e-9, le=1), Tag("number")]
    | Annotated[list[list[Annotated[FiniteFloat, Field(ge=0, le=1)]]], Tag("matrix")],
    Discriminator(_whether_matrix),
]
"""One probability, or one for each pair of blocks: a row for a block of targets, a column for one of sources."""


class Projection(Part):
    """Synapses from one population, or input, onto a population.

    Parameters
    ----------
    source, target : str
        Names of the presynaptic population or input and of the postsynaptic population. Where a subpopulation is named,
        its population is put here and its name into the next.
    source_subpopulation, target_subpopulation : str, optional
        The only neurons that make, or receive, synapses.
    synapse : str
        Name of an entry of `synapses`. Projections onto one population that name the same entry add to one current.
    probability : float or list of list of float, optional
        Every ordered pair is connected independently with this probability. A matrix makes a stochastic block model:
        targets are cut into as many contiguous blocks as it has rows, sources as it has columns, as evenly as can be.
    profile : Profile, optional
        How the probability falls with distance.
    in_degree : Count, optional
        Every target has this many sources, drawn without replacement; from a distribution, each target its own number,
        at least none and at most all there are. Give this or `probability`.
    self_connections : bool
        Whether a neuron may project to itself.
    weight_mv : Value, optional
        Weight of a current-based synapse [mV]; from a distribution, each synapse its own.
    weight : Value, optional
        Weight of a conductance-based synapse, without dimension; or give `weight_mv` with `match_at_mv`.
    match_at_mv : float, optional
        Membrane potential V_ref at which a conductance-based synapse acts as a current-based one of `weight_mv`:
        w = j / (E_rev - V_ref) (Zhu, Ocker & Rosenbaum 2026).
    weight_scaling : {"none", "1/sqrt(N)"}
        With ``"1/sqrt(N)"``, weights are divided by the square root of the number of neurons in all populations (inputs
        not counted), and so are the weights that a plasticity rule names.
    delay_ms : Value, optional
        Time from a spike to the first step whose V it moves [ms]; from a distribution, each synapse its own, rounded to
        whole steps. Without it, that is the next step for a recurrent
        spike, which has then decayed once, and its own step for one of an input, which has not. Learning sees spikes
        when they happen, not when they arrive.
    plasticity : str or list of str, optional
        Names of entries of `plasticity`. Of several rules, each acts on the weight that the one before it has left.
    """

    source: str
    source_subpopulation: str | None = None
    target: str
    target_subpopulation: str | None = None
    synapse: str
    probability: Probability | None = None
    profile: Profile | None = None
    in_degree: Count | None = None
    self_connections: bool = True
    weight_mv: Value | None = None
    weight: Value | None = None
    match_at_mv: FiniteFloat | None = None
    weight_scaling: Literal["none", "1/sqrt(N)"] = "none"
    delay_ms: Value | None = None
    plasticity: str | list[str] | None = None

    @property
    def rules(self) -> list[str]:
        """Names of the plasticity rules, in the order in which they act."""
        given = self.plasticity
        return [] if given is None else [given] if isinstance(given, str) else given

    @field_validator("probability")
    @classmethod
    def _is_a_matrix(cls, probability: float | list[list[float]] | None) -> float | list[list[float]] | None:
        if isinstance(probability, list):
            if not probability or not probability[0] or len({len(row) for row in probability}) > 1:
                raise ValueError("the rows of the matrix must have the same number of probabilities, at least one")
            if any(0 < p < 1e-9 for row in probability for p in row):
                raise ValueError("a probability is below 1e-9; give 0 or a larger one")
        return probability

    @field_validator("weight_mv", "weight")
    @classmethod
    def _has_one_sign(cls, weight: float | Distribution | None) -> float | Distribution | None:
        if weight is not None and lowest(weight) < 0 < highest(weight):
            raise ValueError(
                f"is drawn from {lowest(weight):g} to {highest(weight):g} and would change sign within the projection; "
                "narrow it (a normal distribution is cut at six standard deviations), or use a lognormal one"
            )
        return weight

    @field_validator("weight")
    @classmethod
    def _is_not_negative(cls, weight: float | Distribution | None) -> float | Distribution | None:
        if weight is not None and lowest(weight) < 0:
            raise ValueError("a conductance cannot be negative; give a weight of at least 0")
        return weight

    @model_validator(mode="after")
    def _is_connected_in_one_way(self) -> Self:
        if (self.probability is None) == (self.in_degree is None):
            raise ValueError("give either probability or in_degree")
        if self.profile is not None and not isinstance(self.probability, float):
            raise ValueError("profile makes one probability depend on distance; give such, not in_degree or a matrix")
        if (self.weight_mv is None) == (self.weight is None):
            raise ValueError("give either weight_mv or, for a conductance, weight")
        if self.weight is not None and self.match_at_mv is not None:
            raise ValueError("match_at_mv turns weight_mv into a conductance; it has no meaning beside weight")
        return self

    @property
    def given_weight(self) -> float | Distribution:
        """The weight, in whichever unit it was given."""
        weight = self.weight if self.weight_mv is None else self.weight_mv
        assert weight is not None
        return weight

    @property
    def has_drawn_weights(self) -> bool:
        """Whether every synapse has a weight of its own from the start."""
        return isinstance(self.given_weight, Part)

    @property
    def has_one_weight(self) -> bool:
        """Whether all synapses have the same weight, for good."""
        return not (self.rules or self.has_drawn_weights)

    @property
    def parts(self) -> list[tuple[str, str, str]]:
        """Key, name and meant population of each subpopulation that it is restricted to."""
        ends = [("source_subpopulation", self.source_subpopulation, self.source)]
        ends += [("target_subpopulation", self.target_subpopulation, self.target)]
        return [(key, part, population) for key, part, population in ends if part is not None]
