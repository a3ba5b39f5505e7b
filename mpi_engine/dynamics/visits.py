"""Visits: what happens to a row of plastic synapses when its source fires, or when somebody looks.

A visit first applies the postsynaptic spikes since the last one, each as it was seen then, then lets the spike arrive,
then applies its own event. Each of these first gathers what the rules read, synapse by synapse, into arrays as long as
the row, and then does the rules' arithmetic on whole arrays, which the processor does for many synapses at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import Real, part
from mpi_engine.dynamics.delivery import arrive, prefetch_next
from mpi_engine.dynamics.neurons import Population
from mpi_engine.dynamics.plasticity import DEPTH, History, row_of
from mpi_engine.dynamics.synapses import PlasticProjection, Room
from mpi_engine.network.exchange import Exchange
from mpi_engine.network.rows import piece

_TOGETHER = 8
"""So many spikes pass a stage of delivery before the next one: what each reads of the targets stays in the cache."""


class Learn(NamedTuple):
    """What a projection's rules do, as compiled functions.

    ``learn`` is what all rules of the projection read, and ``here`` the part of it that a source's synapses read.

    Parameters
    ----------
    at : function
        ``at(source, learn) -> here``.
    see_post, see_pre : function
        Before a postsynaptic spike, that is an entry of the history, of step n, and before a presynaptic one:
        ``see_post(seen, k, target, n, depth, here)`` and ``see_pre(seen, k, target, n, here)`` put what the rules read
        of a synapse into the k-th column of `seen`.
    on_post, on_pre : function
        The weight after the spike: ``on_post(w, seen, k, here)``, None if no rule acts there, and ``on_pre`` alike.
    bring_post, bring : function
        The weight to which it has changed by itself until a postsynaptic spike, and until step n:
        ``bring_post(w, target, n, depth, here)`` and ``bring(w, target, n, here)``; None if it does not.
    rests : function
        ``rests(here) -> step``, from which on postsynaptic spikes change nothing until the source fires again; None if
        they always may.
    """

    at: Any
    see_post: Any
    on_post: Any
    see_pre: Any
    on_pre: Any
    bring_post: Any
    bring: Any
    rests: Any


class Visits(NamedTuple):
    """The compiled functions that visit the rows of a plastic projection; see `visits_of`."""

    deliver: Any
    make_room: Any
    catch_up: Any


@part
def list_fired(room: Room, history: History, targets: NDArray[np.uint16], first: np.uint64, since: int) -> int:
    """List the synapses of a piece whose targets have spiked since a step: once at least, twice at least, and so on.

    With the step of the spike for which each is listed.

    Returns
    -------
    int
        Number of lists.
    """
    newest, listed, steps = history.steps[0, first:], room.listed[0], room.steps[0]
    n_listed = np.uint64(0)     # without a sign, here as below: an index that may be negative costs a test
    n_lists = 0
    for s in range(targets.size):
        step = newest[targets[s]]
        listed[n_listed], steps[n_listed] = s, step
        n_listed += np.uint64(step >= since)
    while n_listed > 0:
        room.n_listed[n_lists] = n_listed
        before = room.listed[n_lists, :n_listed]
        n_lists += 1
        listed, steps = room.listed[n_lists], room.steps[n_lists]
        n_listed = np.uint64(0)
        for s in before:
            target = first + targets[s]
            step = history.steps[row_of(history, target, n_lists), target]
            listed[n_listed], steps[n_listed] = s, step
            n_listed += np.uint64(step >= since)
    return n_lists


@part
def _nothing_to_replay(projection: PlasticProjection, history: History, source: int, n: int, here: Any) -> None:
    projection.visited[source] = n


def replaying(rules: Learn) -> Any:
    """Put what rules do at postsynaptic spikes into the function that brings a row up to date; see `visits_of`."""
    see_post, on_post = rules.see_post, rules.on_post
    bring_post, rests = rules.bring_post or _as_it_is, rules.rests or _never

    @part
    def replay(projection: PlasticProjection, history: History, source: int, n: int, here: Any) -> None:
        """Apply to a row the postsynaptic spikes since its last visit and before step n, oldest first."""
        rows, room, since = projection.rows, projection.room, projection.visited[source]
        projection.visited[source] = n
        if rests(here) <= since:
            return
        for block in range(rows.blocks[0]):
            begin, end, first = piece(rows, source, block)
            targets, weights = rows.targets[begin:end], projection.weights[begin:end]
            depth = list_fired(room, history, targets, first, since)
            while depth > 0:
                depth -= 1
                listed, steps = room.listed[depth, : room.n_listed[depth]], room.steps[depth]
                some = room.weights[: listed.size]
                for k in range(listed.size):
                    s = listed[k]
                    step, target = steps[k], first + targets[s]
                    some[k] = bring_post(weights[s], target, step, depth, here)
                    see_post(room.seen, k, target, step, depth, here)
                for k in range(listed.size):
                    some[k] = on_post(some[k], room.seen, k, here)
                for k in range(listed.size):
                    weights[listed[k]] = some[k]

    return replay


@part
def _as_it_is(w: Real, _target: int, _n: int, _depth: int, _here: Any) -> Real:
    return w


@part
def _unchanged(w: Real, _seen: NDArray[np.float32], _k: int, _here: Any) -> Real:
    return w


@part
def _never(_here: Any) -> int:
    return np.iinfo(np.int64).max


@part
def _nothing_to_bring(
    projection: PlasticProjection, source: int, n: int, here: Any, weights: NDArray[np.float32]
) -> None:
    pass


def bringing(rules: Learn) -> Any:
    """Put what rules do between spikes into the function that finds a row's weights now; see `visits_of`."""
    bring = rules.bring

    @part
    def bring_row(
        projection: PlasticProjection, source: int, n: int, here: Any, weights: NDArray[np.float32]
    ) -> None:
        """Write the weights of a row as they are after step n, all spikes applied."""
        rows = projection.rows
        for block in range(rows.blocks[0]):
            begin, end, first = piece(rows, source, block)
            for s in range(begin, end):
                weights[s] = bring(projection.weights[s], first + rows.targets[s], n, here)

    return bring_row


def visits_of(rules: Learn) -> Visits:
    """Put a projection's rules into the functions that visit its rows."""
    at, see_pre, on_pre = rules.at, rules.see_pre, rules.on_pre or _unchanged
    replay = _nothing_to_replay if rules.on_post is None else replaying(rules)
    bring_row = _nothing_to_bring if rules.bring is None else bringing(rules)

    @part
    def apply_spike(projection: PlasticProjection, source: int, n: int, here: Any) -> None:
        """Apply the presynaptic event of a spike to its row, which is up to date."""
        rows, seen = projection.rows, projection.room.seen
        for block in range(rows.blocks[0]):
            begin, end, first = piece(rows, source, block)
            targets, weights = rows.targets[begin:end], projection.weights[begin:end]
            for s in range(targets.size):
                see_pre(seen, s, first + targets[s], n, here)
            for s in range(weights.size):
                weights[s] = on_pre(weights[s], seen, s, here)

    @part
    def deliver(projection: PlasticProjection, history: History, x: Exchange, index: int, n: int, learn: Any) -> None:
        """Deliver spikes with the weights before this step's learning, then apply their presynaptic events.

        In ascending order of sources, so that each target adds its inputs in that order.
        """
        rows, weights = projection.rows, projection.weights
        end = x.offsets[index + 1]
        after = x.offsets[index]
        while after < end:
            begin, after = after, min(after + _TOGETHER, end)
            while after < end and x.fired[after] == x.fired[after - 1]:
                after += 1     # all that an input fires in a step arrives before it learns
            for k in range(begin, after):
                prefetch_next(rows, rows.targets, x, index, k)
                prefetch_next(rows, weights, x, index, k)
                source = x.fired[k]
                if k == begin or source != x.fired[k - 1]:
                    here = at(source, learn)
                    replay(projection, history, source, n, here)
                    bring_row(projection, source, n, here, weights)
            for k in range(begin, after):
                arrive(projection, x.fired[k], n)
            for k in range(begin, after):
                apply_spike(projection, x.fired[k], n, at(x.fired[k], learn))

    @part
    def make_room(
        projection: PlasticProjection, history: History, population: Population, n: int, learn: Any
    ) -> None:
        """Visit rows that have not seen a spike which the history is about to drop.

        One spike more is kept, which all rows have seen: the one to which their weights may be up to date.
        """
        steps, last = history.steps, DEPTH - 2
        for k in range(population.n_fired[0]):
            target = population.fired[k]
            if steps[row_of(history, target, last), target] < projection.oldest[0]:
                continue
            # some are dropped from duty at once, so that this stays rare; not many: most rows come by themselves
            enough = steps[row_of(history, target, last - DEPTH // 8), target] + 1
            oldest = n
            for source in range(projection.visited.size):
                if projection.visited[source] < enough:
                    replay(projection, history, source, n, at(source, learn))
                oldest = min(oldest, projection.visited[source])
            projection.oldest[0] = oldest

    @part
    def catch_up(
        projection: PlasticProjection, history: History, n: int, learn: Any, weights: NDArray[np.float32]
    ) -> None:
        """Apply every spike until step n, and write the weights that change by themselves as they are then.

        Into an array of their own, or into the projection's, which become up to date to step n: see
        `PlasticProjection.epoch`. If no weight changes by itself, nothing is written there.
        """
        for source in range(projection.visited.size):
            here = at(source, learn)
            replay(projection, history, source, n + 1, here)
            bring_row(projection, source, n, here, weights)
        projection.oldest[0] = n + 1

    return Visits(deliver, make_room, catch_up)
