"""Neurons: their state on a rank, the models' equations, threshold and reset."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import Real, part
from mpi_engine.dynamics.integrators import decay_factor
from mpi_engine.experiment import AdaptiveExponential, Experiment, LeakyIntegrateAndFire, Neuron
from mpi_engine.network.exchange import Exchange
from mpi_engine.network.mathematics import exp
from mpi_engine.network.partition import Partition
from mpi_engine.network.streams import draw_values, stream_key


class Parameters(NamedTuple):
    """Parameters of an integrate-and-fire neuron in the state's number format [ms, mV]; unused ones are zero."""

    dt: Real
    leak: Real
    E_L: Real
    V_th: Real
    V_reset: Real
    V_T: Real
    sharpness: Real
    spike_current: Real
    w_decay: Real
    w_gain: Real
    w_jump: Real


class Population(NamedTuple):
    """The neurons of a population that live on this rank.

    Parameters
    ----------
    V : ndarray, shape (n,)
        Membrane potential [mV].
    V_free : ndarray, shape (n,)
        Shadow membrane potential without spikes, with the same input and leak [mV]; empty where it is not recorded.
    w : ndarray, shape (n,)
        Adaptation current [mV/ms]; empty for neurons that do not adapt.
    waiting : ndarray of int32, shape (n,)
        Steps of refractoriness left; empty for neurons without.
    currents : ndarray, shape (n_synapse_kinds, n)
        Synaptic currents [mV/ms] and conductances [1/ms].
    reversal : ndarray, shape (n_synapse_kinds,)
        Reversal potential of each conductance [mV]; NaN for currents.
    drive : ndarray, shape (n,)
        Injected current [mV/ms].
    decay : ndarray, shape (n_synapse_kinds,)
        Factor by which each current or conductance decays in a step.
    above : ndarray of uint8, shape (n rounded up to a multiple of 8,)
        Whether V has reached the threshold in this step.
    fired : ndarray of int32, shape (n,)
        Local indices of the neurons that fired in this step.
    n_fired : ndarray of int64, shape (1,)
        How many.
    first : ndarray of int32, shape (1,)
        Id of the first neuron within the population.
    refractory : ndarray of int32, shape (1,)
        Steps of refractoriness after a spike.
    parameters : Parameters
        The model's.
    """

    V: NDArray[np.float32]
    V_free: NDArray[np.float32]
    w: NDArray[np.float32]
    waiting: NDArray[np.int32]
    currents: NDArray[np.float32]
    reversal: NDArray[np.float32]
    drive: NDArray[np.float32]
    decay: NDArray[np.float32]
    above: NDArray[np.uint8]
    fired: NDArray[np.int32]
    n_fired: NDArray[np.int64]
    first: NDArray[np.int32]
    refractory: NDArray[np.int32]
    parameters: Parameters


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
    model = experiment.neurons[experiment.populations[name].neuron]
    dtype = np.dtype(experiment.run.state_dtype)
    kinds = [experiment.synapses[kind] for kind in experiment.synapses_of(name)]
    refractory = experiment.steps(model.refractory_ms)
    V = draw_values(model.V_init_mv, stream_key(experiment.seed.state, "V", name), first, n).astype(dtype)
    return Population(
        V=V,
        V_free=V.copy() if experiment.has_shadow_voltage else np.empty(0, dtype),
        w=np.zeros(n if isinstance(model, AdaptiveExponential) else 0, dtype),
        waiting=np.zeros(n if refractory else 0, np.int32),
        currents=np.zeros((len(kinds), n), dtype),
        reversal=np.array([getattr(kind, "reversal_mv", np.nan) for kind in kinds], dtype),
        drive=np.zeros(n, dtype),
        decay=np.array([decay_factor(experiment, kind.tau_ms) for kind in kinds], dtype),
        above=np.zeros((n + 7) // 8 * 8, np.uint8),
        fired=np.zeros(n, np.int32),
        n_fired=np.zeros(1, np.int64),
        first=np.array([first], np.int32),
        refractory=np.array([refractory], np.int32),
        parameters=_parameters(experiment, model, dtype),
    )


def _parameters(experiment: Experiment, model: Neuron, dtype: np.dtype[np.floating]) -> Parameters:
    values = {"dt": experiment.run.dt_ms, "leak": 1 / model.tau_m_ms, "E_L": model.E_L_mv}
    values |= {"V_th": model.V_th_mv, "V_reset": model.V_reset_mv}
    if not isinstance(model, LeakyIntegrateAndFire):
        values |= {"V_T": model.V_T_mv, "sharpness": 1 / model.Delta_T_mv, "spike_current": model.spike_current}
    if isinstance(model, AdaptiveExponential):
        decay = decay_factor(experiment, model.tau_w_ms)
        values |= {"w_decay": decay, "w_gain": (1 - decay) * model.a_per_ms, "w_jump": model.b_mv_per_ms}
    return Parameters(*(dtype.type(values.get(name, 0.0)) for name in Parameters._fields))


@part
def exponential(V: Real, p: Parameters) -> Real:
    """Spike-generating current of the exponential neuron [mV/ms]."""
    return p.spike_current * exp((V - p.V_T) * p.sharpness)


@part
def adaptation(w: Real, V: Real, p: Parameters) -> Real:
    """Adaptation current one step later [mV/ms]."""
    return w * p.w_decay + p.w_gain * (V - p.E_L)


@part
def hold(V: Real, waiting: int, p: Parameters) -> Real:
    """Keep a refractory neuron at its reset."""
    return p.V_reset if waiting > 0 else V


@part
def find_spikes(population: Population) -> None:
    """List the neurons that are above threshold, in ascending order; few are, so eight are passed over at once."""
    above, fired = population.above, population.fired
    eights = above.view(np.uint64)
    n = 0
    for k in range(eights.size):
        if eights[k] != 0:
            for i in range(8 * k, 8 * k + 8):
                if above[i]:
                    fired[n] = i
                    n += 1
    population.n_fired[0] = n


@part
def reset(population: Population) -> None:
    """Set V of those that fired to the reset, let adaptation jump, and begin refractoriness."""
    p = population.parameters
    for k in range(population.n_fired[0]):
        i = population.fired[k]
        population.V[i] = p.V_reset
        if population.w.size > 0:
            population.w[i] += p.w_jump
        if population.waiting.size > 0:
            population.waiting[i] = population.refractory[0]


@part
def announce(population: Population, x: Exchange, begin: int, index: int) -> int:
    """Write the ids of those that fired into the outgoing message; return where the next may begin."""
    n = population.n_fired[0]
    for k in range(n):
        x.outbox[begin + k] = population.first[0] + population.fired[k]
    x.outbox[1 + index] = n
    return begin + int(n)
