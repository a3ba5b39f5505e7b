"""A coding network: the code, its cost and noise, and the basis of its slow connections."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from mpi_engine.experiment.base import Part

Fraction = Annotated[FiniteFloat, Field(ge=0, le=1)]

Rate = Annotated[PositiveFloat, FiniteFloat]

AtLeastZero = Annotated[NonNegativeFloat, FiniteFloat]


class RandomDecoder(Part):
    """Decoding vectors of one length in isotropically random directions; in one dimension, of alternating sign.

    Parameters
    ----------
    norm : float, optional
        Their length, what a spike adds to the readout; from the teacher's amplitude and the network's size if absent.
    """

    kind: Literal["random"]
    norm: Rate | None = None


class EvenDecoder(Part):
    """Decoding vectors of one length, evenly spaced on a circle or, by Fibonacci's spiral, on a sphere.

    Parameters
    ----------
    norm : float, optional
        See `RandomDecoder`.
    """

    kind: Literal["evenly_spaced"]
    norm: Rate | None = None


class GivenDecoder(Part):
    """Decoding vectors as given.

    Parameters
    ----------
    vectors : list of list of float, shape (N, K)
        What a spike of each neuron adds to the readout.
    """

    kind: Literal["given"]
    vectors: Annotated[list[Annotated[list[FiniteFloat], Field(min_length=1)]], Field(min_length=1)]


Decoder = Annotated[RandomDecoder | EvenDecoder | GivenDecoder, Field(discriminator="kind")]
"""Any decoder."""


class Basis(Part):
    r"""The nonlinear functions whose weighted sum is the learned drift: psi = tanh(u + theta), u = M r.

    Parameters
    ----------
    kind : {"structured", "dense"}
        Structured: M = A D, so that u depends on the readout only and survives the loss of neurons. Dense: a random M
        of every pair, scaled so that u varies as much.
    size : int, optional
        N_b; 20 for each dimension of the teacher if not given.
    decorrelated : bool, optional
        Whether psi = C tanh(u + theta) instead, with a fixed triangular C: the most different N_b of many random units,
        made orthogonal and, unless they hardly differ, of one size over the states that the teacher visits, so that
        every mode of the drift is learned at the same rate. Of a structured basis only, which is decorrelated if not
        told otherwise.
    gains : list of float, optional
        Lower and upper end of the uniform distribution of the gains g_j: A_j is g_j times a random unit vector.
    offset : float, optional
        a: theta_j is g_j times a number drawn uniformly from (-a, a), so that inflections tile the state space.
    """

    kind: Literal["structured", "dense"] = "structured"
    size: PositiveInt | None = None
    decorrelated: bool | None = None
    gains: Annotated[list[Rate], Field(min_length=2, max_length=2)] | None = None
    offset: AtLeastZero | None = None

    @model_validator(mode="after")
    def _gains_are_ordered(self) -> Self:
        if self.gains is not None and self.gains[0] > self.gains[1]:
            raise ValueError(f"gains = {self.gains}: the lower end is above the upper; swap them")
        return self

    @model_validator(mode="after")
    def _decorrelates_functions_of_the_state(self) -> Self:
        if self.kind == "dense" and self.decorrelated:
            raise ValueError("decorrelated = true needs units that depend on the readout alone; set kind = "
                             '"structured", or leave it out')
        return self

    @property
    def n_units(self) -> int:
        """N_b of a resolved basis."""
        assert self.size is not None
        return self.size


class CodingNetwork(Part):
    r"""An efficient balanced network.

    .. math::
        \dot V = -\lambda V + D^T (f_h + c + k e) - (D^T D + \mu I) s + \sigma_V \xi, \qquad
        T_i = (|D_i|^2 + \mu + \nu) / 2

    with the readout x_h = D r, the error e = x - x_h and the drift f_h that slow connections supply.

    Parameters
    ----------
    size : int
        N.
    decoder : Decoder
        D.
    basis : Basis
        Of the learned drift.
    drift : {"learned", "exact"}
        Whether slow connections learn, or supply the teacher's own drift at the readout: what learning can reach at
        best.
    compensates_leak : bool
        Whether fixed slow connections supply lambda x_h, so that only f is learned.
    leak_per_s : float
        lambda [1/s], of the readout and the membrane.
    quadratic_cost, linear_cost : float
        mu and nu, in units of the mean squared length of the decoding vectors.
    noise : float
        Standard deviation of V from noise alone, in thresholds. The noise of a step is uniform; as V integrates it over
        many steps, V is Gaussian.
    spikes_per_step : int
        Most spikes of the whole network in a step. The neurons that are farthest above threshold are candidates, and
        spike one after the other as long as one of them is above threshold.
    lateral_delay_ms : float
        Delay of a spike's effect on the other neurons [ms].
    """

    size: PositiveInt
    decoder: Decoder = RandomDecoder(kind="random")
    basis: Basis = Basis()
    drift: Literal["learned", "exact"] = "learned"
    compensates_leak: bool = True
    leak_per_s: Rate = 10.0
    quadratic_cost: AtLeastZero = 0.05
    linear_cost: AtLeastZero = 0.0
    noise: AtLeastZero = 0.1
    spikes_per_step: PositiveInt = 1
    lateral_delay_ms: AtLeastZero = 0.0


class Learning(Part):
    """How slow weights are stored, and which there are.

    Parameters
    ----------
    form : {"factored", "per_synapse"}
        Factored: W = Theta D, of which Theta is stored; exact where weights begin at zero. Per synapse: every weight of
        a unit of the basis onto a neuron is stored, and changed by that unit's activity and the neuron's own feedback
        current only.
    initial_std_per_s : float
        Standard deviation of the initial weights, in units of the root mean square length of decoding vectors [1/s].
    density : float
        Probability of a synapse.
    decay_per_s : float
        Rate at which weights decay [1/s].
    """

    form: Literal["factored", "per_synapse"] = "factored"
    initial_std_per_s: AtLeastZero = 0.0
    density: Annotated[FiniteFloat, Field(gt=0, le=1)] = 1.0
    decay_per_s: AtLeastZero = 0.0

    @model_validator(mode="after")
    def _factors_are_exact(self) -> Self:
        if self.form == "factored":
            for key, exact in (("initial_std_per_s", 0.0), ("density", 1.0)):
                if getattr(self, key) != exact:
                    value = getattr(self, key)
                    raise ValueError(f'{key} = {value:g} needs every weight stored; set form = "per_synapse"')
        return self
