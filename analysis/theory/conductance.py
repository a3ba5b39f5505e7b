r"""Linear theory of the membrane potential in the asynchronous state, with currents or conductances.

Synapses act as currents about the mean membrane potential, :math:`\tilde w_{ab} = w_{ab} (E_{rev,b} - \bar V_a)`, which
the membrane filters with the effective time constant :math:`1/\bar g_a` (Richardson & Gerstner 2005).
"""

from __future__ import annotations

from collections.abc import Mapping

from analysis.theory.balance import NoBalance, stationary_inputs
from mpi_engine.experiment import Experiment, ExponentialConductance, ExponentialCurrent, average


def free_variance(
    experiment: Experiment,
    rates_hz: Mapping[str, float],
    V_mv: Mapping[str, float] | None = None,
    g_per_ms: Mapping[str, float] | None = None,
) -> dict[str, float]:
    r"""Variance over time of the membrane potential without spikes and resets, for Poisson trains.

    .. math::
        \mathrm{Var}\,V_a = \sum_b (1 - p_{ab})\,K_{ab}\,r_b\,
        \frac{\tilde w_{ab}^2}{2 \bar g_a^2\,(\tau_b + 1/\bar g_a)}

    Each term is the shot noise of K trains through an exponential synapse and the membrane. The factor 1 - p is what
    recurrent feedback leaves of it: the part that all neurons share is cancelled (Renart et al. 2010).

    Parameters
    ----------
    experiment : Experiment
        The network; its inputs are taken as independent.
    rates_hz : mapping of str to float
        Rates of the populations.
    V_mv, g_per_ms : mapping of str to float, optional
        Mean membrane potential [mV] and total conductance, leak included [1/ms], of populations with conductances.

    Returns
    -------
    dict of str to float
        By population [mV^2].

    Raises
    ------
    NoBalance
        If the formula knows nothing of such a network.
    """
    rates = {name: rate for name, (_, rate) in stationary_inputs(experiment).items()} | {**rates_hz}
    g = {a: _leak(experiment, a) for a in experiment.populations} | {**(g_per_ms or {})}
    variance = dict.fromkeys(experiment.populations, 0.0)
    for name, p in experiment.projections.items():
        synapse, weight = experiment.synapses[p.synapse], experiment.initial_weight(name)
        if not isinstance(synapse, (ExponentialCurrent, ExponentialConductance)) or p.rules or p.has_drawn_weights:
            raise NoBalance(f"no prediction: synapses of {name} are not all of one exponential kind and weight")
        if isinstance(synapse, ExponentialConductance):
            if V_mv is None or g_per_ms is None:
                raise NoBalance("no prediction: with conductances, it needs their mean and that of V")
            weight *= synapse.reversal_mv - V_mv[p.target]
        in_degree = experiment.expected_in_degree(name)[0]
        quenched = 1 - in_degree / experiment.sizes[p.source]
        rate, conductance = 1e-3 * rates[p.source], g[p.target]
        filtered = 2 * conductance**2 * (synapse.tau_ms + 1 / conductance)
        variance[p.target] += quenched * in_degree * rate * weight**2 / filtered
    return variance


def _leak(experiment: Experiment, population: str) -> float:
    neuron = experiment.neurons[experiment.populations[population].neuron]
    tau_m_ms = getattr(neuron, "tau_m_ms", None)
    if tau_m_ms is None:
        raise NoBalance(f"no prediction: the neurons of {population} are a user's own, whose leak is not known")
    return 1 / average(tau_m_ms)
