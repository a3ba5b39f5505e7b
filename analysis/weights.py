r"""Weights as they are named, as they act, and as neurons feel them: :math:`\langle J r \rangle / \langle r \rangle`.

Under plasticity a weight and the rate of its source are correlated, so that the mean weight does not tell the mean
current; the rate-weighted mean does.
"""

from __future__ import annotations

from math import exp

import numpy as np
from numpy.typing import NDArray

from mpi_engine.experiment import Experiment, UserSynapse
from mpi_engine.output.reader import RunReader, Weights

Array = NDArray[np.float64]


class NotMeasured(ValueError):
    """What a run has recorded does not tell a quantity."""


def as_named(weights: Weights) -> Array:
    """Mean weight over time [W] in mV as the experiment names it, j = J / scale."""
    named: Array = weights.mean / weights.scale
    return named


def decay_factor(experiment: Experiment, tau_ms: float) -> float:
    """Factor by which a trace or a synaptic current of a time constant [ms] decays in a step, by the integrator."""
    x = experiment.run.dt_ms / tau_ms
    return 1 - x if experiment.run.integrator == "forward_euler" else exp(-x)


def charge(experiment: Experiment, projection: str) -> float:
    r"""Charge that a spike carries in units of its weight.

    A spike adds J / tau to a current that keeps a factor d of itself in each step. The current of a recurrent spike
    decays once before it acts, that of an input spike not at all: (dt / tau) d / (1 - d) and (dt / tau) / (1 - d). By
    forward Euler, d = 1 - dt / tau, these are 1 - dt / tau and 1.

    Parameters
    ----------
    experiment : Experiment
        The description.
    projection : str
        Name of the projection.

    Returns
    -------
    float

    Raises
    ------
    NotMeasured
        If the synapse is the user's own.
    """
    p = experiment.projections[projection]
    synapse = experiment.synapses[p.synapse]
    if isinstance(synapse, UserSynapse):
        raise NotMeasured(f"the charge of a spike at the user's synapse {p.synapse} is not known")
    d = decay_factor(experiment, synapse.tau_ms)
    recurrent = p.source in experiment.populations
    return experiment.run.dt_ms / synapse.tau_ms / (1 - d) * d**recurrent


def rate_weighted_mean(current_mv_per_ms: float, arrivals_per_ms: float, charge: float) -> float:
    r"""Mean weight as the current shows it, :math:`\langle J r \rangle / \langle r \rangle` over synapses.

    Parameters
    ----------
    current_mv_per_ms : float
        Mean current of the projection, as it acts on V [mV/ms].
    arrivals_per_ms : float
        Presynaptic spikes that a target receives [kHz].
    charge : float
        See `charge`.

    Returns
    -------
    float
        Weight as it acts [mV]; NaN if nothing arrives.
    """
    return current_mv_per_ms / (arrivals_per_ms * charge) if arrivals_per_ms > 0 else np.nan


def arrival_rate(run: RunReader, projection: str, start_ms: float) -> float:
    """Measure how many presynaptic spikes of a projection a target receives, averaged over targets.

    Parameters
    ----------
    run : RunReader
        A run with the spikes of the projection's source recorded, or else its population rate.
    projection : str
        Name of the projection.
    start_ms : float
        End of the burn-in [ms].

    Returns
    -------
    float
        Arrivals [kHz]: in-degree times rate, each source weighted by its out-degree where spikes are recorded.

    Raises
    ------
    NotMeasured
        If the sources are a part of a population whose spikes are not recorded.
    """
    e = run.experiment
    p = e.projections[projection]
    degrees = run.degrees(projection)
    if p.source not in e.recording.spikes:
        if p.source_subpopulation is not None:
            raise NotMeasured(f"the sources of {projection} are a part of {p.source}, whose spikes are not recorded")
        rates = run.rates(p.source)
        return 1e-3 * float(degrees.in_degree.mean()) * float(rates.rate_hz[rates.times_ms >= start_ms].mean())
    spikes = run.spikes(p.source)
    later = (spikes.times_ms > start_ms) & (spikes.times_ms <= run.recorded_ms)
    arrivals = float(degrees.out_degree[spikes.ids[later]].sum())
    return arrivals / e.sizes[p.target] / (run.recorded_ms - start_ms)


def own_current(experiment: Experiment, projection: str) -> str:
    """Name the recorded current, or conductance, that a projection has to itself.

    Parameters
    ----------
    experiment : Experiment
        The description.
    projection : str
        Name of the projection.

    Returns
    -------
    str
        A variable of the target population.

    Raises
    ------
    NotMeasured
        If other projections onto the same population use the same synapse: their currents are recorded as one.
    """
    p = experiment.projections[projection]
    sharing = [
        name for name, q in experiment.projections.items() if (q.target, q.synapse) == (p.target, p.synapse)
    ]
    if len(sharing) > 1:
        raise NotMeasured(
            f"projections.{projection}.synapse = {p.synapse!r}: {', '.join(sharing)} add to one recorded current; "
            "give each a synapse of its own"
        )
    return experiment.variable_of(p.synapse)


def effective_weight(run: RunReader, projection: str, start_ms: float) -> float:
    r"""Measure :math:`\langle J r \rangle / \langle r \rangle` of a projection in a run.

    Parameters
    ----------
    run : RunReader
        A run with population rates recorded.
    projection : str
        A projection whose current is recorded by itself.
    start_ms : float
        End of the burn-in [ms].

    Returns
    -------
    float
        Weight in mV as the experiment names it.

    Raises
    ------
    NotMeasured
        See `own_current`, `charge` and `arrival_rate`; and if no rates were recorded after the burn-in.
    """
    e = run.experiment
    target = run.rates(e.projections[projection].target)
    late = target.times_ms >= start_ms
    if not late.any():
        raise NotMeasured(f"no bin of {target.bin_ms:g} ms begins after the burn-in of {start_ms:g} ms; shorten it")
    current = float(target.means[own_current(e, projection)][late].mean())
    acting = rate_weighted_mean(current, arrival_rate(run, projection, start_ms), charge(e, projection))
    return acting / e.weight_scale(projection)
