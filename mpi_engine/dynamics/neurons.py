"""Neurons: their state on a rank, the models' equations, threshold and reset."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import Real, part
from mpi_engine.experiment import Experiment, ExponentialIntegrateAndFire, Uniform
from mpi_engine.network.exchange import Exchange
from mpi_engine.network.mathematics import exp
from mpi_engine.network.partition import Partition
from mpi_engine.network.streams import draw_uniform, stream_key


class EIF(NamedTuple):
    """Parameters of the exponential integrate-and-fire neuron in the state's number format [ms, mV]."""

    dt: Real
    leak: Real
    E_L: Real
    V_T: Real
    Delta_T: Real
    sharpness: Real
    V_th: Real
    V_reset: Real


class Population(NamedTuple):
    """The neurons of a population that live on this rank.

    Parameters
    ----------
    V : ndarray, shape (n,)
        Membrane potential [mV].
    currents : ndarray, shape (n_synapse_kinds, n)
        Synaptic currents [mV/ms].
    drive : ndarray, shape (n,)
        Injected current [mV/ms].
    decay : ndarray, shape (n_synapse_kinds,)
        Factor by which each current decays in a step.
    fired : ndarray of int32, shape (n,)
        Local indices of the neurons that fired in this step.
    n_fired : ndarray of int64, shape (1,)
        How many.
    first : ndarray of int32, shape (1,)
        Id of the first neuron within the population.
    parameters : EIF
        The model's.
    """

    V: NDArray[np.float32]
    currents: NDArray[np.float32]
    drive: NDArray[np.float32]
    decay: NDArray[np.float32]
    fired: NDArray[np.int32]
    n_fired: NDArray[np.int64]
    first: NDArray[np.int32]
    parameters: EIF


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
    dt = experiment.run.dt_ms
    kinds = [experiment.synapses[kind] for kind in experiment.synapses_of(name)]
    return Population(
        V=_initial_potential(experiment, name, first, n).astype(dtype),
        currents=np.zeros((len(kinds), n), dtype),
        drive=np.zeros(n, dtype),
        decay=np.array([1 - dt / kind.tau_ms for kind in kinds], dtype),
        fired=np.zeros(n, np.int32),
        n_fired=np.zeros(1, np.int64),
        first=np.array([first], np.int32),
        parameters=_parameters(model, dt, dtype),
    )


def _initial_potential(experiment: Experiment, name: str, first: int, n: int) -> NDArray[np.float64]:
    initial = experiment.neurons[experiment.populations[name].neuron].V_init_mv
    values = np.empty(n)
    if isinstance(initial, Uniform):
        draw_uniform(stream_key(experiment.seed.state, "V", name), first, initial.low, initial.high, values)
    else:
        values[:] = initial
    return values


def _parameters(model: ExponentialIntegrateAndFire, dt: float, dtype: np.dtype[np.floating]) -> EIF:
    values = (dt, 1 / model.tau_m_ms, model.E_L_mv, model.V_T_mv, model.Delta_T_mv, 1 / model.Delta_T_mv,
              model.V_th_mv, model.V_reset_mv)
    return EIF(*(dtype.type(value) for value in values))


@part
def membrane(V: Real, current: Real, p: EIF) -> Real:
    """Membrane potential one forward-Euler step later (Akil et al. 2021)."""
    slope = p.leak * (p.E_L - V) + p.leak * p.Delta_T * exp((V - p.V_T) * p.sharpness) + current
    return V + p.dt * slope


_CHUNK = 32
"""Neurons that are searched for spikes at once."""


@part
def find_spikes(population: Population) -> None:
    """List the neurons at or above threshold, in ascending order."""
    V, V_th, fired = population.V, population.parameters.V_th, population.fired
    n = 0
    whole = V.size // _CHUNK * _CHUNK
    for begin in range(0, whole, _CHUNK):
        chunk = V[begin : begin + _CHUNK]
        highest = chunk[0]
        for v in chunk:
            highest = v if v > highest else highest
        if highest >= V_th:
            for i in range(_CHUNK):
                if chunk[i] >= V_th:
                    fired[n] = begin + i
                    n += 1
    for i in range(whole, V.size):
        if V[i] >= V_th:
            fired[n] = i
            n += 1
    population.n_fired[0] = n


@part
def reset(population: Population) -> None:
    """Set the membrane potential of those that fired."""
    for k in range(population.n_fired[0]):
        population.V[population.fired[k]] = population.parameters.V_reset


@part
def announce(population: Population, x: Exchange, begin: int, index: int) -> int:
    """Write the ids of those that fired into the outgoing message; return where the next may begin."""
    n = population.n_fired[0]
    for k in range(n):
        x.outbox[begin + k] = population.first[0] + population.fired[k]
    x.outbox[1 + index] = n
    return begin + int(n)
