"""The state of a network on one rank, as the equations have it: all weights, currents and traces as they are now."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpi_engine.dynamics.neurons import model_of
from mpi_engine.run.simulation import Simulation


def state_of(simulation: Simulation) -> dict[str, NDArray[Any]]:
    """Give the state after the last step, by name.

    Returns
    -------
    dict of str to ndarray
        ``V/<population>`` and ``V_free/<population>`` [mV]; ``<variable>/<population>`` of the neuron's other state
        variables, and ``waiting/<population>`` [steps], of neurons that have them; ``I/<population>/<synapse>``
        [mV/ms, or 1/ms], with what arrives before the next step; ``weights/<projection>`` [mV, or 1] by target,
        then source, with ``pre/`` and ``post/<projection>``; ``<trace>/<projection>/<rule>``: the traces;
        ``noise/<input>``: the noise of each neuron of the input's target, in standard deviations.
    """
    e, state = simulation.experiment, {}
    for name, population in simulation.populations.items():
        waiting = np.maximum(population.held_until - simulation.step, 0)
        variables = {"V": population.V, "V_free": population.V_free, "waiting": waiting}
        variables |= dict(zip(model_of(e, name).state, population.state, strict=True))
        state |= {f"{variable}/{name}": values.copy() for variable, values in variables.items() if values.size}
        for k, kind in enumerate(e.synapses_of(name)):
            current = population.currents[k].copy()
            for incoming, p in e.projections.items():
                part = simulation.projections[incoming]
                taken_here = p.target == name and p.synapse == kind and p.source in e.populations
                if taken_here and not np.shares_memory(part.arrivals, population.currents):
                    arrivals = part.arrivals[(simulation.step + 1) % part.delays[1]]
                    current += part.gain[0] * arrivals.astype(current.dtype)
            state[f"I/{name}/{kind}"] = current * population.decay[k]
    for drive in simulation.drives.values():
        state |= {key: xi.copy() for key, xi in drive.state().items()}
    for name in e.plastic:
        source, target = simulation.drawn[name].ends
        order = np.lexsort((source, target))
        for key, column in (("pre", source), ("post", target), ("weights", simulation.present_weights(name))):
            state[f"{key}/{name}"] = column[order]
        for (rule, trace), which in simulation.plan.learning.traces(name).items():
            if trace.endswith("_pre"):
                pre = simulation.pre[simulation.plan.learning.presynaptic[which]]
                since = np.minimum(simulation.step + 1 - pre.last, pre.decay.size - 1)
                values = pre.after * pre.decay[since]
            else:
                post = simulation.post[simulation.plan.learning.postsynaptic[which]]
                values = post.value * post.value.dtype.type(post.unit[0])
            state[f"{trace}/{name}/{rule}"] = values
    return state
