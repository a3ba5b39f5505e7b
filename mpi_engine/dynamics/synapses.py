"""Synapses: what a rank holds of each projection, and the delivery of spikes through it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel, part
from mpi_engine.dynamics.neurons import Population
from mpi_engine.dynamics.plasticity import History
from mpi_engine.experiment import Experiment, UserSynapse, highest
from mpi_engine.network.connectivity import Connectivity, draw_for_synapses
from mpi_engine.network.exchange import Exchange
from mpi_engine.network.rows import Rows, n_sources, piece
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
        Current [mV/ms], or conductance [1/ms], of one arrival.
    """

    rows: Rows
    arrivals: NDArray[np.uint16]
    delays: NDArray[np.int64]
    steps: Steps
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
        Sum of the weights of the spikes under way, each target's in the order of steps and sources.
    delays, steps
        As in `StaticProjection`.
    gain : ndarray, shape (1,)
        Current or conductance of an arrival of unit weight [1/ms].
    """

    rows: Rows
    weights: NDArray[np.float32]
    arrivals: NDArray[np.float32]
    delays: NDArray[np.int64]
    steps: Steps
    gain: NDArray[np.float32]


class PlasticProjection(NamedTuple):
    """A projection that learns, with a weight for each synapse.

    Parameters
    ----------
    rows
        As in `StaticProjection`.
    weights : ndarray, shape (n_synapses,)
        Weights as they act [mV], up to date with the postsynaptic spikes before `visited`.
    arrivals : ndarray, shape (n_slots, n)
        Sum of the weights of the spikes under way [mV].
    delays, steps
        As in `StaticProjection`. Learning sees spikes when they happen, not when they arrive.
    gain : ndarray, shape (1,)
        Current of an arrival of unit weight [1/ms].
    visited : ndarray of int32, shape (n_source,)
        Step of each row's last visit.
    oldest : ndarray of int32, shape (1,)
        No row was visited before this step.
    epoch : ndarray of int32, shape (1,)
        All weights are up to date to this step at least; a weight that changes between spikes is so to its last event.
    """

    rows: Rows
    weights: NDArray[np.float32]
    arrivals: NDArray[np.float32]
    delays: NDArray[np.int64]
    steps: Steps
    gain: NDArray[np.float32]
    visited: NDArray[np.int32]
    oldest: NDArray[np.int32]
    epoch: NDArray[np.int32]


AnyProjection = StaticProjection | WeightedProjection | PlasticProjection


def make_projection(experiment: Experiment, name: str, drawn: Connectivity) -> AnyProjection:
    """Make a rank's part of a projection, with its initial weights."""
    p = experiment.projections[name]
    state = np.dtype(experiment.run.state_dtype)
    synapse = experiment.synapses[p.synapse]
    n, per_tau = drawn.in_degree.size, 1.0 if isinstance(synapse, UserSynapse) else 1 / synapse.tau_ms
    delays, steps = _delays(experiment, name, drawn)
    if not p.rules and not p.has_drawn_weights:
        gain = np.array([experiment.initial_weight(name) * per_tau], state)
        return StaticProjection(drawn.rows, np.zeros((delays[1], n), np.uint16), delays, steps, gain)
    arrivals, gain = np.zeros((delays[1], n), state), np.array([per_tau], state)
    weights = _initial_weights(experiment, name, drawn)
    if not p.rules:
        return WeightedProjection(drawn.rows, weights, arrivals, delays, steps, gain)
    return PlasticProjection(
        drawn.rows,
        weights=weights,
        arrivals=arrivals,
        delays=delays,
        steps=steps,
        gain=gain,
        visited=np.ones(drawn.out_degree.size, np.int32),
        oldest=np.ones(1, np.int32),
        epoch=np.zeros(1, np.int32),
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


@part
def slot(projection: AnyProjection, n: int) -> int:
    """Slot of the arrivals that step n takes."""
    return n % projection.delays[1]


@part
def slot_of_synapse(projection: AnyProjection, now: int, synapse: int) -> int:
    """Slot in which a spike that is delivered at the slot `now` arrives through one synapse."""
    place = now + projection.steps[synapse]
    return place - projection.delays[1] if place >= projection.delays[1] else place


@part
def deliver(projection: StaticProjection, x: Exchange, index: int, n: int) -> None:
    """Count the arrivals of a source population's spikes."""
    rows, arrivals = projection.rows, projection.arrivals[slot(projection, n + projection.delays[0])]
    now = slot(projection, n)
    for k in range(x.offsets[index], x.offsets[index + 1]):
        for block in range(rows.blocks[0]):
            begin, end, first = piece(rows, x.fired[k], block)
            if projection.steps.size == 0:
                within = arrivals[first:]
                for target in rows.targets[begin:end]:
                    within[target] += 1
            else:
                for s in range(begin, end):
                    projection.arrivals[slot_of_synapse(projection, now, s), first + rows.targets[s]] += 1


@part
def deliver_weighted(projection: WeightedProjection, x: Exchange, index: int, n: int) -> None:
    """Add up the arrivals of a source population's spikes, in ascending order of sources."""
    for k in range(x.offsets[index], x.offsets[index + 1]):
        arrive(projection, x.fired[k], n)


@part
def arrive(projection: WeightedProjection | PlasticProjection, source: int, n: int) -> None:
    """Add the weights of a row to what arrives in the steps that its spike reaches."""
    rows, now = projection.rows, slot(projection, n)
    for block in range(rows.blocks[0]):
        begin, end, first = piece(rows, source, block)
        targets, weights = rows.targets[begin:end], projection.weights[begin:end]
        if projection.steps.size == 0:
            arrivals = projection.arrivals[slot(projection, n + projection.delays[0])][first:]
            for s in range(targets.size):
                arrivals[targets[s]] += weights[s]
        else:
            for s in range(targets.size):
                projection.arrivals[slot_of_synapse(projection, now, begin + s), first + targets[s]] += weights[s]


class RowFunctions(NamedTuple):
    """The compiled functions that walk the rows of a plastic projection; see `learning_of`."""

    deliver: Any
    make_room: Any
    catch_up: Any


@part
def _nothing_to_replay(projection: PlasticProjection, history: History, source: int, n: int, learn: Any) -> None:
    projection.visited[source] = n


def replaying(on_post: Any) -> Any:
    """Put what rules do at postsynaptic spikes into the function that visits a row; see `learning_of`."""

    @part
    def replay(projection: PlasticProjection, history: History, source: int, n: int, learn: Any) -> None:
        """Apply to a row the postsynaptic spikes since its last visit and before step n, oldest first."""
        since, steps = projection.visited[source], history.steps
        rows, weights = projection.rows, projection.weights
        for block in range(rows.blocks[0]):
            begin, end, first = piece(rows, source, block)
            for s in range(begin, end):
                target = first + rows.targets[s]
                if steps[0, target] >= since:
                    depth = 1
                    while depth < steps.shape[0] and steps[depth, target] >= since:
                        depth += 1
                    w = weights[s]
                    while depth > 0:
                        depth -= 1
                        w = on_post(w, source, target, depth, learn)
                    weights[s] = w
        projection.visited[source] = n

    return replay


def learning_of(on_post: Any, bring: Any, on_pre: Any) -> RowFunctions:
    """Put a projection's rules into the functions that walk its synapses.

    Parameters
    ----------
    on_post, bring, on_pre : compiled functions
        The weight after an entry of the history, ``on_post(w, source, target, depth, learn)``, or None if no rule acts
        there; the weight to which it has changed by itself until step n, ``bring(w, source, target, n, learn)``; and
        the one after a presynaptic spike, ``on_pre(w, source, target, n, learn)``. ``learn`` is what they read.
    """
    replay = _nothing_to_replay if on_post is None else replaying(on_post)

    @part
    def deliver(
        projection: PlasticProjection, history: History, x: Exchange, index: int, n: int, learn: Any
    ) -> None:
        """Deliver spikes with the weights before this step's learning, then apply their presynaptic events.

        In ascending order of sources, so that each target adds its inputs in that order.
        """
        rows, weights = projection.rows, projection.weights
        k = x.offsets[index]
        while k < x.offsets[index + 1]:
            source, n_spikes = x.fired[k], 1
            while k + n_spikes < x.offsets[index + 1] and x.fired[k + n_spikes] == source:
                n_spikes += 1     # an input may fire more than once in a step
            k += n_spikes
            replay(projection, history, source, n, learn)
            for block in range(rows.blocks[0]):
                begin, end, first = piece(rows, source, block)
                for s in range(begin, end):
                    weights[s] = bring(weights[s], source, first + rows.targets[s], n, learn)
            for _ in range(n_spikes):
                arrive(projection, source, n)
            for _ in range(n_spikes):
                for block in range(rows.blocks[0]):
                    begin, end, first = piece(rows, source, block)
                    for s in range(begin, end):
                        weights[s] = on_pre(weights[s], source, first + rows.targets[s], n, learn)

    @part
    def make_room(
        projection: PlasticProjection, history: History, population: Population, n: int, learn: Any
    ) -> None:
        """Visit rows that have not seen a spike which the history is about to drop.

        One spike more is kept, which all rows have seen: the one to which their weights may be up to date.
        """
        steps = history.steps
        last = steps.shape[0] - 2
        for k in range(population.n_fired[0]):
            target = population.fired[k]
            if steps[last, target] < projection.oldest[0]:
                continue
            # half the history is dropped from duty at once, so that this stays rare
            enough = steps[last // 2, target] + 1
            oldest = n
            for source in range(projection.visited.size):
                if projection.visited[source] < enough:
                    replay(projection, history, source, n, learn)
                oldest = min(oldest, projection.visited[source])
            projection.oldest[0] = oldest

    @part
    def catch_up(
        projection: PlasticProjection, history: History, n: int, learn: Any, weights: NDArray[np.float32]
    ) -> None:
        """Write the weights after step n, every spike and the time since considered, into an array of their own.

        Given the projection's own weights, these become up to date to step n: see `PlasticProjection.epoch`.
        """
        rows = projection.rows
        for source in range(projection.visited.size):
            replay(projection, history, source, n + 1, learn)
            for block in range(rows.blocks[0]):
                begin, end, first = piece(rows, source, block)
                for s in range(begin, end):
                    weights[s] = bring(projection.weights[s], source, first + rows.targets[s], n, learn)
        projection.oldest[0] = n + 1

    return RowFunctions(deliver, make_room, catch_up)


@kernel
def sum_weights(projection: PlasticProjection, sums: NDArray[np.float64]) -> None:
    """Sum the weights onto each target, in ascending order of sources."""
    sums[:] = 0.0
    rows = projection.rows
    for source in range(n_sources(rows)):
        for block in range(rows.blocks[0]):
            begin, end, first = piece(rows, source, block)
            for s in range(begin, end):
                sums[first + rows.targets[s]] += projection.weights[s]


@kernel
def normalise(projection: PlasticProjection, totals: NDArray[np.float64], sums: NDArray[np.float64]) -> None:
    """Multiply the weights onto each target by a factor, so that they sum to `totals`; `sums` is room."""
    sum_weights(projection, sums)
    rows, weights = projection.rows, projection.weights
    for source in range(n_sources(rows)):
        for block in range(rows.blocks[0]):
            begin, end, first = piece(rows, source, block)
            for s in range(begin, end):
                target = first + rows.targets[s]
                if sums[target] != 0.0:
                    weights[s] = np.float64(weights[s]) * (totals[target] / sums[target])


@kernel
def weight_sums(
    projection: PlasticProjection,
    weights: NDArray[np.float32],
    edges: NDArray[np.float64],
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
    histogram: NDArray[np.int64],
    extremes: NDArray[np.float64],
) -> None:
    """Sum weights and their squares for each target, in ascending order of sources, and count them in bins.

    Parameters
    ----------
    projection : PlasticProjection
        Whose.
    weights : ndarray, shape (n_synapses,)
        Up to date.
    edges : ndarray of float64, shape (2,)
        Lower and upper edge of the histogram.
    sums, squares : ndarray of float64, shape (n,)
        Receive the sums.
    histogram : ndarray of int64, shape (n_bins,)
        Receives the counts; weights beyond an edge are counted in the bin at it.
    extremes : ndarray of float64, shape (2,)
        Receives the smallest and the largest weight.
    """
    sums[:], squares[:], histogram[:] = 0.0, 0.0, 0
    low, high, n_bins = edges[0], edges[1], histogram.size
    extremes[0], extremes[1] = np.inf, -np.inf
    rows = projection.rows
    for source in range(n_sources(rows)):
        for block in range(rows.blocks[0]):
            begin, end, first = piece(rows, source, block)
            for s in range(begin, end):
                w, target = np.float64(weights[s]), first + rows.targets[s]
                sums[target] += w
                squares[target] += w * w
                extremes[0], extremes[1] = min(extremes[0], w), max(extremes[1], w)
                place = (w - low) / (high - low) * n_bins
                # the first bin also where a weight is not a number
                histogram[int(min(place, n_bins - 1.0)) if place > 0.0 else 0] += 1
