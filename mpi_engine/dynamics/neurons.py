"""Neurons: their state on a rank, the models' equations, threshold and reset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import Real, part
from mpi_engine.dynamics.integrators import decay_factor
from mpi_engine.experiment import (
    AdaptiveExponential,
    Distribution,
    Experiment,
    LeakyIntegrateAndFire,
    UserNeuron,
    UserSynapse,
)
from mpi_engine.network.exchange import Exchange
from mpi_engine.network.mathematics import exp
from mpi_engine.network.partition import Partition
from mpi_engine.network.streams import draw_values, stream_key
from mpi_engine.user import NeuronModel, load

_EIGHTS = 8
"""So many times eight neurons are passed over at once if none of them is above threshold."""


class Population(NamedTuple):
    """The neurons of a population that live on this rank.

    Parameters
    ----------
    V : ndarray, shape (n,)
        Membrane potential [mV].
    V_free : ndarray, shape (n,)
        Shadow membrane potential without spikes, with the same input and leak [mV]; empty where it is not recorded.
    state : ndarray, shape (n_state_variables, n)
        The model's state variables beside V.
    held_until : ndarray of int32, shape (n,)
        Last step of refractoriness; empty for neurons without.
    currents : ndarray, shape (n_synapse_kinds, n)
        Synaptic currents [mV/ms] and conductances [1/ms]; after the delivery of spikes, with those that
        `synapses.arrives_at_once`.
    synaptic : ndarray, shape (n_synaptic_variables, n)
        State variables of the user's synapses.
    reversal : ndarray, shape (n_synapse_kinds,)
        Reversal potential of each conductance [mV]; NaN for currents.
    drive : ndarray, shape (n,)
        Injected current [mV/ms].
    decay : ndarray, shape (n_synapse_kinds,)
        Factor by which each current or conductance decays in a step.
    above : ndarray of uint8, shape (n rounded up to a multiple of 64,)
        Whether V has reached the threshold in this step.
    fired : ndarray of int32, shape (n,)
        Local indices of the neurons that fired in this step.
    n_fired : ndarray of int64, shape (1,)
        How many.
    first : ndarray of int32, shape (1,)
        Id of the first neuron within the population.
    refractory : ndarray of int32, shape (1,)
        Steps of refractoriness after a spike.
    parameters : ndarray, shape (n_parameters,)
        Those of the neuron model (NaN where they differ between neurons), the time step [ms], and those of the user's
        synapses.
    varied : ndarray, shape (n_varied, n)
        The parameters that differ.
    leak : ndarray, shape (n,)
        Leak of each neuron [1/ms]; zero for a user's, whose leak is not known.
    """

    V: NDArray[np.float32]
    V_free: NDArray[np.float32]
    state: NDArray[np.float32]
    held_until: NDArray[np.int32]
    currents: NDArray[np.float32]
    synaptic: NDArray[np.float32]
    reversal: NDArray[np.float32]
    drive: NDArray[np.float32]
    decay: NDArray[np.float32]
    above: NDArray[np.uint8]
    fired: NDArray[np.int32]
    n_fired: NDArray[np.int64]
    first: NDArray[np.int32]
    refractory: NDArray[np.int32]
    parameters: NDArray[np.float32]
    varied: NDArray[np.float32]
    leak: NDArray[np.float32]


@dataclass(frozen=True)
class Model:
    """The functions of a neuron model, written as a user's are: see `mpi_engine.user.neuron`.

    Parameters
    ----------
    slope, reset : callable
        The slopes of V and of the state variables; their values after a spike.
    threshold : str
        The parameter at which V counts as a spike.
    state : dict of str to (float or Distribution)
        State variables beside V, with their initial values.
    decay : dict of str to str
        For V or a state variable, the parameter that is the rate of its linear decay.
    """

    slope: Callable[..., Any]
    reset: Callable[..., Any]
    threshold: str = "V_th"
    state: Mapping[str, float | Distribution] = field(default_factory=dict)
    decay: Mapping[str, str] = field(default_factory=lambda: {"V": "leak"})


def lif(V: Real, I: Real, p: Any) -> Real:
    """Slope of V of the leaky integrate-and-fire neuron [mV/ms]."""
    return p.leak * (p.E_L - V) + I


def eif(V: Real, I: Real, p: Any) -> Real:
    """Slope of V of the exponential integrate-and-fire neuron [mV/ms] (Akil, Rosenbaum & Josić 2021)."""
    return p.leak * (p.E_L - V) + p.spike_current * exp((V - p.V_T) * p.sharpness) + I


def adex(V: Real, w: Real, I: Real, p: Any) -> tuple[Real, Real]:
    """Slopes of V [mV/ms] and of the adaptation current w [mV/ms^2] (Brette & Gerstner 2005)."""
    slope = p.leak * (p.E_L - V) + p.spike_current * exp((V - p.V_T) * p.sharpness) - w + I
    return slope, p.w_leak * (p.a * (V - p.E_L) - w)


def reset_V(V: Real, p: Any) -> Real:
    """V after a spike [mV]."""
    return p.V_reset


def reset_adex(V: Real, w: Real, p: Any) -> tuple[Real, Real]:
    """V [mV] and the adaptation current [mV/ms] after a spike."""
    return p.V_reset, w + p.b


def model_of(experiment: Experiment, population: str) -> Model:
    """Find the functions of a population's neuron model."""
    neuron = experiment.neurons[experiment.populations[population].neuron]
    if isinstance(neuron, UserNeuron):
        real = np.dtype(experiment.run.state_dtype).type
        declared = cast(NeuronModel, load(neuron.source, neuron.file, neuron.function, real))
        return Model(declared.function, declared.reset, declared.threshold, neuron.state, declared.decay)
    if isinstance(neuron, AdaptiveExponential):
        return Model(adex, reset_adex, state={"w": 0.0}, decay={"V": "leak", "w": "w_leak"})
    return Model(lif if isinstance(neuron, LeakyIntegrateAndFire) else eif, reset_V)


def parameters_of(
    experiment: Experiment, population: str, first: int = 0, n: int = 0
) -> dict[str, float | NDArray[np.float64]]:
    """Resolve a neuron model's parameters as its functions name them; drawn ones for a run of neurons, shape (n,)."""
    neuron = experiment.neurons[experiment.populations[population].neuron]

    def value(name: str, given: float | Distribution) -> Any:
        key = stream_key(experiment.seed.network, "parameter", population, name)
        return draw_values(given, key, first, n) if isinstance(given, Distribution) else given

    if isinstance(neuron, UserNeuron):
        return {name: value(name, given) for name, given in neuron.parameters.items()}

    def own(name: str) -> Any:
        return value(name, getattr(neuron, name))

    tau, p = own("tau_m_ms"), {name: own(f"{name}_mv") for name in ("E_L", "V_th", "V_reset")}
    p["leak"] = 1 / tau
    if not isinstance(neuron, LeakyIntegrateAndFire):
        sharpness, given = own("Delta_T_mv"), neuron.spike_current_mv_per_ms
        p |= {"V_T": own("V_T_mv"), "sharpness": 1 / sharpness}
        p["spike_current"] = sharpness / tau if given is None else value("spike_current_mv_per_ms", given)
    if isinstance(neuron, AdaptiveExponential):
        p |= {"w_leak": 1 / own("tau_w_ms"), "a": own("a_per_ms"), "b": own("b_mv_per_ms")}
    return p


def make_population(experiment: Experiment, name: str, partition: Partition, rank: int) -> Population:
    """Make a rank's part of a population in its initial state.

    Parameters
    ----------
    experiment : Experiment
        The network.
    name : str
        The population.
    partition : Partition
        Who has which neuron.
    rank : int
        Whose part.
    """
    first, last = partition.span(name, rank)
    n = last - first
    neuron = experiment.neurons[experiment.populations[name].neuron]
    dtype = np.dtype(experiment.run.state_dtype)
    kinds = [experiment.synapses[kind] for kind in experiment.synapses_of(name)]
    own_kinds = [kind for kind in kinds if isinstance(kind, UserSynapse)]
    refractory = experiment.steps(neuron.refractory_ms)
    named = parameters_of(experiment, name, first, n)
    p = list(named.values())
    of_synapses = [value for kind in own_kinds for value in kind.parameters.values()]
    constants = [np.nan if isinstance(value, np.ndarray) else value for value in p]
    varied = [value for value in p if isinstance(value, np.ndarray)]

    def initial(variable: str, value: float | Distribution) -> NDArray[np.float64]:
        return draw_values(value, stream_key(experiment.seed.state, variable, name), first, n)

    state = [initial(variable, value) for variable, value in model_of(experiment, name).state.items()]
    V = initial("V", neuron.V_init_mv).astype(dtype)
    return Population(
        V=V,
        V_free=V.copy() if experiment.has_shadow_voltage else np.empty(0, dtype),
        state=np.array(state, dtype).reshape(len(state), n),
        held_until=np.zeros(n if refractory else 0, np.int32),
        currents=np.zeros((len(kinds), n), dtype),
        synaptic=np.zeros((sum(len(kind.declaration.state) for kind in own_kinds), n), dtype),
        reversal=np.array([getattr(kind, "reversal_mv", np.nan) for kind in kinds], dtype),
        drive=np.zeros(n, dtype),
        decay=np.array([0.0 if isinstance(kind, UserSynapse) else decay_factor(experiment, kind.tau_ms)
                        for kind in kinds], dtype),
        above=np.zeros(-(-n // (8 * _EIGHTS)) * 8 * _EIGHTS, np.uint8),
        fired=np.zeros(n, np.int32),
        n_fired=np.zeros(1, np.int64),
        first=np.array([first], np.int32),
        refractory=np.array([refractory], np.int32),
        parameters=np.array([*constants, experiment.run.dt_ms, *of_synapses], dtype),
        varied=np.array(varied, dtype).reshape(len(varied), n),
        leak=np.full(n, named["leak"] if "leak" in named and not isinstance(neuron, UserNeuron) else 0.0, dtype),
    )


@part
def find_spikes(population: Population) -> None:
    """List the neurons that are above threshold, in ascending order; few are, so many are passed over at once."""
    above, fired = population.above, population.fired
    eights = above.view(np.uint64)
    n = 0
    for many in range(0, eights.size, _EIGHTS):
        any_above = np.uint64(0)
        for k in range(many, many + _EIGHTS):
            any_above |= eights[k]
        if any_above == 0:
            continue
        for k in range(many, many + _EIGHTS):
            if eights[k] == 0:
                continue
            for i in range(8 * k, 8 * k + 8):
                if above[i]:
                    fired[n] = i
                    n += 1
    population.n_fired[0] = n


@part
def announce(population: Population, x: Exchange, begin: int, index: int) -> int:
    """Write the ids of those that fired into the outgoing message; return where the next may begin."""
    n = population.n_fired[0]
    for k in range(n):
        x.outbox[begin + k] = population.first[0] + population.fired[k]
    x.outbox[1 + index] = n
    return begin + int(n)
