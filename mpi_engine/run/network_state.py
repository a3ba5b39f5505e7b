"""The dynamic state of a network: all that the next steps depend on and that does not follow from the experiment.

Spikes that the next step adds to a current are in the current already, or counted apart: see `arrives_at_once`. Input
trains, waveforms and schedules are functions of the step. Which row of weights has seen which postsynaptic spikes
is left out, because all rows have seen all when the state is saved.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mpi_engine.dynamics.neurons import model_of
from mpi_engine.dynamics.synapses import PlasticProjection, arrives_at_once
from mpi_engine.run.state import Common, Synapses, Variable, of_neurons

if TYPE_CHECKING:
    from mpi_engine.run.simulation import Simulation


def find_state(simulation: Simulation) -> list[Variable]:
    """Collective. List the variables of a network's state, the recorders' included."""
    return [
        *_neurons(simulation),
        *_noises(simulation),
        *_synapses(simulation),
        *_traces(simulation),
        *_histories(simulation),
        *simulation.neurons.state(simulation.ranks),
        Common.of("/progress", simulation.progress, simulation.ranks),
    ]


def _neurons(simulation: Simulation) -> Iterator[Variable]:
    e = simulation.experiment
    for name, population in simulation.populations.items():
        kinds = e.synapses_of(name)
        variables: dict[str, NDArray[Any]] = {"V": population.V}
        variables |= {"V_free": population.V_free} if e.has_shadow_voltage else {}
        variables |= {"held_until": population.held_until} if population.refractory[0] else {}
        # a dot keeps names of the user's apart from all others
        variables |= {f"state.{v}": row for v, row in zip(model_of(e, name).state, population.state, strict=True)}
        variables |= {e.variable_of(kind): row for kind, row in zip(kinds, population.currents, strict=True)}
        variables |= {f"synaptic.{k}": row for k, row in enumerate(population.synaptic)}
        first, _ = simulation.partition.span(name, simulation.ranks.rank)
        for variable, values in variables.items():
            yield of_neurons(f"/neurons/{name}/{variable}", values, first, e.sizes[name])


def _noises(simulation: Simulation) -> Iterator[Variable]:
    for drive in simulation.drives.values():
        for key, xi in drive.state().items():
            target = simulation.experiment.noises[key.removeprefix("noise/")].target
            population, ids = simulation.experiment.members(target)
            first, _ = simulation.partition.span(population, simulation.ranks.rank)
            yield Variable(f"/{key}", xi, int(np.searchsorted(ids, first)), ids.size)


def _synapses(simulation: Simulation) -> Iterator[Variable]:
    e, rank = simulation.experiment, simulation.ranks.rank
    for name, projection in simulation.projections.items():
        target, group = e.projections[name].target, f"/synapses/{name}"
        first, _ = simulation.partition.span(target, rank)
        if not arrives_at_once(e, name):
            yield of_neurons(f"{group}/arrivals", projection.arrivals, first, e.sizes[target])
        if isinstance(projection, PlasticProjection):
            counts = simulation.ranks.gather(projection.weights.size)
            place = (sum(counts[:rank]), sum(counts))
            drawn = simulation.drawn[name]
            yield Synapses(f"{group}/weights", projection.weights, *place, name, drawn.rows, drawn.in_degree)
            yield Common.of(f"{group}/epoch", projection.epoch, simulation.ranks)


def _traces(simulation: Simulation) -> Iterator[Variable]:
    for k, presynaptic in enumerate(simulation.pre):
        for variable in ("after", "before", "last"):
            yield Common.of(f"/traces/pre/{k}/{variable}", getattr(presynaptic, variable), simulation.ranks)
    for trace, k in simulation.plan.learning.postsynaptic.items():
        first, _ = simulation.partition.span(trace.population, simulation.ranks.rank)
        size = simulation.experiment.sizes[trace.population]
        yield of_neurons(f"/traces/post/{k}/value", simulation.post[k].value, first, size)
        yield Common.of(f"/traces/post/{k}/unit", simulation.post[k].unit, simulation.ranks)


def _histories(simulation: Simulation) -> Iterator[Variable]:
    for name, history in simulation.histories.items():
        first, _ = simulation.partition.span(name, simulation.ranks.rank)
        for variable in ("steps", "samples"):
            values = getattr(history, variable)
            yield of_neurons(f"/history/{name}/{variable}", values, first, simulation.experiment.sizes[name])
