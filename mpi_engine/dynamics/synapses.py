"""Synapses: what a rank holds of each projection."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.dynamics.learning import Learning
from mpi_engine.dynamics.neurons import Population
from mpi_engine.dynamics.plasticity import DEPTH
from mpi_engine.experiment import Experiment, UserSynapse, highest
from mpi_engine.network.adjacency import Adjacency, is_dense
from mpi_engine.network.connectivity import Connectivity, draw_for_synapses
from mpi_engine.network.rows import Rows
from mpi_engine.network.streams import stream_key

Steps = NDArray[np.uint8] | NDArray[np.uint16]
"""Delays of synapses in steps, in one byte where it suffices."""


class StaticProjection(NamedTuple):
    """A projection with one weight: arrivals are counted, and weighed when the neuron is integrated.

    Counting makes the sum exact in any order, and takes two bytes a synapse.

    Parameters
    ----------
    rows : Rows
        Whom each source reaches.
    arrivals : ndarray of uint16, shape (n_slots, n)
        Spikes under way to each target; step n takes and refills the slots that `delays` name.
    delays : ndarray of int64, shape (2,)
        Steps from the delivery of a spike to the step that takes it, and number of slots.
    steps : ndarray of uint8 or uint16, shape (n_synapses,)
        These steps for each synapse; empty where they are common to all.
    gain : ndarray, shape (1,)
        Current [mV/ms], or conductance [1/ms], of one arrival; for a synapse of the user's, its weight.
    """

    rows: Rows
    arrivals: NDArray[np.uint16]
    delays: NDArray[np.int64]
    steps: Steps
    gain: NDArray[np.float32]


class DenseProjection(NamedTuple):
    """A projection with one weight and one delay that connects a good part of all pairs.

    Parameters
    ----------
    adjacency : Adjacency
        Whom each source reaches.
    arrivals : ndarray of uint8 or uint16, shape (n_slots, n)
        As in `StaticProjection`; see `counts_dtype`.
    delays, gain
        As in `StaticProjection`.
    """

    adjacency: Adjacency
    arrivals: NDArray[np.uint8] | NDArray[np.uint16]
    delays: NDArray[np.int64]
    gain: NDArray[np.float32]


class WeightedProjection(NamedTuple):
    """A projection that does not learn, with a weight for each synapse.

    Parameters
    ----------
    rows
        As in `StaticProjection`.
    weights : ndarray, shape (n_synapses,)
        Weights as they act [mV, or 1 for a conductance].
    arrivals : ndarray, shape (n_slots, n)
        Sum of the weights of the spikes under way, each target's in the order of steps and sources; if
        `arrives_at_once`, the targets' current [mV/ms] or conductance [1/ms] itself.
    delays, steps
        As in `StaticProjection`.
    per_weight : ndarray, shape (1,)
        What an arrival of unit weight adds to `arrivals`.
    gain : ndarray, shape (1,)
        What a unit of `arrivals` is to the step that takes it: a current or conductance, or a weight for a synapse of
        the user's.
    """

    rows: Rows
    weights: NDArray[np.float32]
    arrivals: NDArray[np.float32]
    delays: NDArray[np.int64]
    steps: Steps
    per_weight: NDArray[np.float32]
    gain: NDArray[np.float32]


class Room(NamedTuple):
    """Working room for a visit to a row, or a piece of it, of plastic synapses.

    Parameters
    ----------
    listed : ndarray of uint16, shape (DEPTH, longest)
        Places within the piece of synapses whose targets have spiked since: more than 0, 1, 2, ... times.
    n_listed : ndarray of int64, shape (DEPTH,)
        How many of each.
    steps : ndarray of int32, shape (DEPTH, longest)
        When their targets had the spike for which they are listed.
    weights : ndarray, shape (longest,)
        The weights of one list.
    seen : ndarray, shape (n_seen, longest)
        What rules see of each synapse at an event.
    """

    listed: NDArray[np.uint16]
    n_listed: NDArray[np.int64]
    steps: NDArray[np.int32]
    weights: NDArray[np.float32]
    seen: NDArray[np.float32]


class PlasticProjection(NamedTuple):
    """A projection that learns, with a weight for each synapse.

    Parameters
    ----------
    rows
        As in `StaticProjection`.
    weights : ndarray, shape (n_synapses,)
        As in `WeightedProjection`, up to date with the postsynaptic spikes before `visited`.
    delays, steps
        As in `StaticProjection`. Learning sees spikes when they happen, not when they arrive.
    arrivals, per_weight, gain
        As in `WeightedProjection`.
    visited : ndarray of int32, shape (n_source,)
        Step of each row's last visit.
    oldest : ndarray of int32, shape (1,)
        No row was visited before this step.
    epoch : ndarray of int32, shape (1,)
        All weights are up to date to this step at least; a weight that changes between spikes is so to its last event.
    room : Room
        For visits.
    """

    rows: Rows
    weights: NDArray[np.float32]
    arrivals: NDArray[np.float32]
    delays: NDArray[np.int64]
    steps: Steps
    per_weight: NDArray[np.float32]
    gain: NDArray[np.float32]
    visited: NDArray[np.int32]
    oldest: NDArray[np.int32]
    epoch: NDArray[np.int32]
    room: Room


AnyProjection = StaticProjection | DenseProjection | WeightedProjection | PlasticProjection


def counts_dtype(experiment: Experiment, name: str) -> type[np.uint8] | type[np.uint16]:
    """Choose the format in which arrivals of a projection with one weight are counted.

    A byte will do where the next step takes all and adds it: what would be too much for it can be taken at once.
    """
    return np.uint8 if is_dense(experiment, name) and _next_step_adds(experiment, name) else np.uint16


def arrives_at_once(experiment: Experiment, name: str) -> bool:
    """Whether spikes are added to a current or conductance when they are delivered, not when they are taken."""
    return not experiment.projections[name].has_one_weight and _next_step_adds(experiment, name)


def awaited(experiment: Experiment, population: str) -> list[str]:
    """List the projections onto a population whose arrivals wait for the step that takes them."""
    return [name for name, p in experiment.projections.items()
            if p.target == population and not arrives_at_once(experiment, name)]


def _next_step_adds(experiment: Experiment, name: str) -> bool:
    """Whether all that is delivered in a step is taken by the next, and is simply added to a current or conductance."""
    p = experiment.projections[name]
    next_step = p.source in experiment.populations and p.delay_ms in (None, experiment.run.dt_ms)
    return next_step and not isinstance(experiment.synapses[p.synapse], UserSynapse)


def make_projection(experiment: Experiment, name: str, drawn: Connectivity, targets: Population) -> AnyProjection:
    """Make a rank's part of a projection, with its initial weights.

    Parameters
    ----------
    experiment : Experiment
        The network.
    name : str
        The projection.
    drawn : Connectivity
        Who is connected.
    targets : Population
        The targets on this rank.
    """
    p = experiment.projections[name]
    state = np.dtype(experiment.run.state_dtype)
    synapse = experiment.synapses[p.synapse]
    n, per_tau = drawn.in_degree.size, 1.0 if isinstance(synapse, UserSynapse) else 1 / synapse.tau_ms
    delays, steps = _delays(experiment, name, drawn)
    if p.has_one_weight:
        gain = np.array([experiment.initial_weight(name) * per_tau], state)
        counts = np.zeros((delays[1], n), counts_dtype(experiment, name))
        if isinstance(drawn.layout, Adjacency):
            return DenseProjection(drawn.layout, counts, delays, gain)
        return StaticProjection(drawn.layout, counts, delays, steps, gain)
    if arrives_at_once(experiment, name):
        kind = experiment.synapses_of(p.target).index(p.synapse)
        arrivals, factors = targets.currents[kind : kind + 1], (per_tau, 1.0)
    else:
        arrivals, factors = np.zeros((delays[1], n), state), (1.0, per_tau)
    per_weight, gain = np.array(factors, state).reshape(2, 1)
    weights = _initial_weights(experiment, name, drawn)
    if not p.rules:
        return WeightedProjection(drawn.rows, weights, arrivals, delays, steps, per_weight, gain)
    return PlasticProjection(
        drawn.rows,
        weights=weights,
        arrivals=arrivals,
        delays=delays,
        steps=steps,
        per_weight=per_weight,
        gain=gain,
        visited=np.ones(drawn.out_degree.size, np.int32),
        oldest=np.ones(1, np.int32),
        epoch=np.zeros(1, np.int32),
        room=_room(experiment, name, drawn),
    )


def _room(experiment: Experiment, name: str, drawn: Connectivity) -> Room:
    longest = int(np.diff(drawn.rows.starts).max(initial=0))
    return Room(
        listed=np.empty((DEPTH, longest), np.uint16),
        n_listed=np.empty(DEPTH, np.int64),
        steps=np.empty((DEPTH, longest), np.int32),
        weights=np.empty(longest, experiment.run.weight_dtype),
        seen=np.empty((Learning(experiment).n_seen(name), longest), experiment.run.state_dtype),
    )


def _initial_weights(experiment: Experiment, name: str, drawn: Connectivity) -> NDArray[np.float32]:
    """Draw every synapse's weight as it acts, or give all the same."""
    p, dtype = experiment.projections[name], np.dtype(experiment.run.weight_dtype)
    if not p.has_drawn_weights:
        return np.full(drawn.rows.targets.size, experiment.initial_weight(name), dtype)
    key, factor = stream_key(experiment.seed.network, "weight", name), experiment.weight_scale(name)
    return draw_for_synapses(p.given_weight, key, drawn, lambda values: values * factor, dtype)


def _delays(experiment: Experiment, name: str, drawn: Connectivity) -> tuple[NDArray[np.int64], Steps]:
    """Count steps from delivery to arrival, and slots; inputs are delivered before a step takes its slot."""
    p, dt = experiment.projections[name], experiment.run.dt_ms
    recurrent = p.source in experiment.populations
    if p.delay_ms is None:
        return np.array([1, 1] if recurrent else [0, 1], np.int64), np.empty(0, np.uint8)
    longest = experiment.steps(highest(p.delay_ms))
    delays = np.array([longest, longest if recurrent else longest + 1], np.int64)
    dtype: Any = np.uint8 if longest < 2**8 else np.uint16
    if isinstance(p.delay_ms, float):
        return delays, np.empty(0, dtype)
    key = stream_key(experiment.seed.network, "delay", name)
    in_steps = lambda values: np.clip(np.rint(values / dt), 1, longest)  # noqa: E731
    return delays, draw_for_synapses(p.delay_ms, key, drawn, in_steps, dtype)
