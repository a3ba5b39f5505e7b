r"""Mean-field theory of balance: the rates at which strong excitation and inhibition cancel.

The mean current to population a is :math:`\sqrt N\,(W r + W_X r_X)_a`, with :math:`W_{ab} = K_{ab} J_{ab} / \sqrt N` of
order one (K mean in-degree, J weight as it acts). It stays finite as N grows only if

.. math:: W r + W_X r_X = 0 \quad\Rightarrow\quad r = -W^{-1} W_X r_X

(van Vreeswijk & Sompolinsky 1996; Akil, Rosenbaum & Josić 2021). At finite N a net current is left over, and
:math:`r = -W^{-1}(W_X r_X - I_{net}/\sqrt N)`. Rates are in kHz inside this package, as times are in ms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from mpi_engine.experiment import Experiment, ExponentialConductance, Poisson, UserNeuron, UserSynapse

Array = NDArray[np.float64]


class NoBalance(ValueError):
    """The balance equations, or the rule's fixed point on top of them, have no solution, or none that theory knows."""


@dataclass(frozen=True)
class MeanField:
    """The network seen by its population means.

    Parameters
    ----------
    populations, inputs : tuple of str
        Names of the K populations and M input trains.
    n_neurons : int
        N, inputs not counted.
    recurrent, feedforward : ndarray
        W [K, K] and W_X [K, M] in mV; rows are targets.
    input_rates_khz : ndarray
        r_X [M].
    """

    populations: tuple[str, ...]
    inputs: tuple[str, ...]
    n_neurons: int
    recurrent: Array
    feedforward: Array
    input_rates_khz: Array


@dataclass(frozen=True)
class Coupling:
    """A projection's part in W or W_X.

    Parameters
    ----------
    target, source : int
        Row and column; columns count populations, then inputs.
    strength_mv : float
        K J / sqrt(N) [mV].
    tau_ms : float
        Time constant of its synapses [ms].
    """

    target: int
    source: int
    strength_mv: float
    tau_ms: float


def stationary_inputs(experiment: Experiment) -> dict[str, tuple[Poisson, float]]:
    """Give the input trains with their rates [Hz]; theory here knows Poisson processes of constant rate only."""
    inputs = {}
    for name, train in experiment.trains.items():
        if not isinstance(train, Poisson):
            raise NoBalance(f"no prediction: input {name} is recorded, and its correlations are not known")
        if train.constant_rate_hz is None:
            raise NoBalance(f"no prediction: the rate of input {name} changes")
        inputs[name] = train, train.constant_rate_hz
    return inputs


def rheobase(experiment: Experiment, population: str) -> float:
    """Give the constant current above which a population's average neuron fires [mV/ms], its largest net input."""
    name = experiment.populations[population].neuron
    neuron = experiment.neurons[name]
    if isinstance(neuron, UserNeuron):
        raise NoBalance(f"no prediction: the rheobase of the user's neuron {name} is not known")
    return neuron.rheobase_mv_per_ms


def couplings(
    experiment: Experiment, weights_mv: Mapping[str, float] | None = None, V_mv: Mapping[str, float] | None = None
) -> Iterator[Coupling]:
    """Go through the projections as mean-field couplings; parameters as for `mean_field`."""
    names = list(experiment.sizes)
    if experiment.has_conductances and V_mv is None:
        raise NoBalance("no prediction: with conductances, the mean field needs the mean of V")
    if injected := [*experiment.currents, *experiment.noises]:
        raise NoBalance(f"no prediction: the mean field here has no place for the injected current {injected[0]}")
    for name, p in experiment.projections.items():
        synapse = experiment.synapses[p.synapse]
        if isinstance(synapse, UserSynapse):
            raise NoBalance(f"no prediction: the charge of the user's synapse {p.synapse} is not known")
        if p.parts or isinstance(p.probability, list):
            raise NoBalance(f"no prediction: {name} connects parts of a population differently")
        weight = (weights_mv or {}).get(name, experiment.named_weight(name)) * experiment.weight_scale(name)
        if isinstance(synapse, ExponentialConductance):
            weight *= synapse.reversal_mv - (V_mv or {})[p.target]
        strength = experiment.expected_in_degree(name)[0] * weight / sqrt(experiment.n_neurons)
        yield Coupling(names.index(p.target), names.index(p.source), strength, synapse.tau_ms)


def mean_field(
    experiment: Experiment,
    weights_mv: Mapping[str, float] | None = None,
    input_rates_hz: Mapping[str, float] | None = None,
    V_mv: Mapping[str, float] | None = None,
) -> MeanField:
    r"""Build W, W_X and r_X from an experiment.

    Conductances act as currents with the mean driving force, :math:`J_{ab} = w_{ab} (E_{rev,b} - \bar V_a)`, so that
    their balance is one of currents too (Zhu, Ocker & Rosenbaum 2026).

    Parameters
    ----------
    experiment : Experiment
        The description.
    weights_mv : mapping, optional
        Mean weights by projection [mV, in the projection's own scaling], instead of the initial ones.
    input_rates_hz : mapping, optional
        Rates by input [Hz], instead of the nominal ones: a correlated input's realised rate varies.
    V_mv : mapping, optional
        Mean membrane potential by population [mV], measured or expected; needed with conductances.

    Returns
    -------
    MeanField
    """
    populations, inputs = tuple(experiment.populations), tuple(experiment.trains)
    k = len(populations)
    w = np.zeros((k, k + len(inputs)))
    for coupling in couplings(experiment, weights_mv, V_mv):
        w[coupling.target, coupling.source] += coupling.strength_mv
    nominal = {name: rate_hz for name, (_, rate_hz) in stationary_inputs(experiment).items()}
    rates = list((nominal | {**(input_rates_hz or {})}).values())
    return MeanField(populations, inputs, experiment.n_neurons, w[:, :k], w[:, k:], 1e-3 * np.array(rates))


def balanced_rates(field: MeanField, net_input_mv_per_ms: Array | float = 0.0) -> Array:
    r"""Solve for the balanced rates, :math:`r = -W^{-1}(W_X r_X - I_{net}/\sqrt N)`.

    Parameters
    ----------
    field : MeanField
        The network.
    net_input_mv_per_ms : float or ndarray
        Mean total current that each population keeps [K or scalar]; 0 is the limit of large N.

    Returns
    -------
    ndarray
        Rates [K] in kHz.

    Raises
    ------
    NoBalance
        If W is singular, if a rate is not positive, or, in the limit of large N, if the determinant has the sign of
        an unstable network (a finite network with some net input may be stable all the same). For one excitatory and
        one inhibitory population these are the paper's conditions, W_EX/W_IX > W_EI/W_II > W_EE/W_IE.
    """
    w = field.recurrent
    k = len(field.populations)
    determinant = float(np.linalg.det(-w))
    if abs(determinant) <= 1e-12 * float(np.prod(np.linalg.norm(w, axis=1))):
        raise NoBalance("no balance: the matrix W of mean connections is singular")
    net = np.broadcast_to(net_input_mv_per_ms, k)
    external = field.feedforward @ field.input_rates_khz - net / sqrt(field.n_neurons)
    rates = -np.linalg.solve(w, external).astype(np.float64)
    if determinant < 0 and not net.any():
        raise NoBalance(f"no balance: det(-W) = {determinant:.3g} is negative, excitation runs away from inhibition")
    if np.any(rates <= 0):
        worst = int(np.argmin(rates))
        raise NoBalance(f"no balance: population {field.populations[worst]} would need {1e3 * rates[worst]:.3g} Hz")
    return rates
