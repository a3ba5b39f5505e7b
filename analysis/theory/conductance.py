r"""Linear theory of the membrane potential, with currents or conductances.

Synapses act as currents about the mean membrane potential, :math:`\tilde w_{ab} = w_{ab} (E_{rev,b} - \bar V_a)`, which
the membrane filters with the effective time constant :math:`1/\bar g_a` (Richardson & Gerstner 2005). The balance of
rates is in `analysis.theory.balance`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from scipy.integrate import quad

from analysis.theory.balance import NoBalance, stationary_inputs
from mpi_engine.experiment import Experiment, ExponentialConductance, ExponentialCurrent, average


def total_conductance(experiment: Experiment, rates_hz: Mapping[str, float]) -> dict[str, float]:
    r"""Mean total conductance of each population, the inverse of its effective time constant.

    .. math:: \bar g_a = g_L + \sum_b K_{ab}\,w_{ab}\,r_b = 1 / \tau_{eff,a}

    (Destexhe et al. 2003; Zhu, Ocker & Rosenbaum 2026): it grows as sqrt(N) with weights of order 1/sqrt(N).

    Parameters
    ----------
    experiment : Experiment
        The network.
    rates_hz : mapping of str to float
        Rates of the populations [Hz]; inputs have their nominal ones.

    Returns
    -------
    dict of str to float
        By population [1/ms]; the leak alone where all synapses are currents.

    Raises
    ------
    NoBalance
        If the formula knows nothing of such a network.
    """
    rates = _rates(experiment, rates_hz)
    g = {a: _leak(experiment, a) for a in experiment.populations}
    for name, p in experiment.projections.items():
        if isinstance(experiment.synapses[p.synapse], ExponentialConductance):
            in_degree = experiment.expected_in_degree(name)[0]
            g[p.target] += in_degree * experiment.initial_weight(name) * 1e-3 * rates[p.source]
    return g


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
    rates = _rates(experiment, rates_hz)
    g = {a: _leak(experiment, a) for a in experiment.populations} | {**(g_per_ms or {})}
    variance = dict.fromkeys(experiment.populations, 0.0)
    for name, weight, tau_ms in _acting_weights(experiment, V_mv, g_per_ms):
        p = experiment.projections[name]
        in_degree = experiment.expected_in_degree(name)[0]
        quenched = 1 - in_degree / experiment.sizes[p.source]
        rate, conductance = 1e-3 * rates[p.source], g[p.target]
        filtered = 2 * conductance**2 * (tau_ms + 1 / conductance)
        variance[p.target] += quenched * in_degree * rate * weight**2 / filtered
    return variance


def correlated_variance_bounds(
    experiment: Experiment,
    rates_hz: Mapping[str, float],
    V_mv: Mapping[str, float] | None = None,
    g_per_ms: Mapping[str, float] | None = None,
) -> dict[str, tuple[float, float]]:
    r"""Bounds of the free membrane potential's variance with correlated input.

    The part of the input that all neurons share,

    .. math::
        \mathrm{Var}\,V_a^X = \sum_X (K_{aX} \tilde w_{aX})^2 c\,r_X \int df\,
        \frac{e^{-4\pi^2 f^2 \sigma^2}}{(1 + 4\pi^2 f^2 \tau_X^2)\,(\bar g_a^2 + 4\pi^2 f^2)}

    is cancelled by recurrent inhibition wherever that is strong and fast enough: wholly at the lower bound, which is
    `free_variance`, and not at all at the upper one, which adds it. With currents the upper bound grows as N; with
    conductances, whose leak grows as sqrt(N), it stays (Zhu, Ocker & Rosenbaum 2026).

    Parameters
    ----------
    experiment, rates_hz, V_mv, g_per_ms
        As for `free_variance`; the inputs' correlations count here.

    Returns
    -------
    dict of str to tuple of float
        Lowest and highest variance by population [mV^2].

    Raises
    ------
    NoBalance
        If the formula knows nothing of such a network.
    """
    inputs = stationary_inputs(experiment)
    g = {a: _leak(experiment, a) for a in experiment.populations} | {**(g_per_ms or {})}
    low = free_variance(experiment, rates_hz, V_mv, g_per_ms)
    shared = dict.fromkeys(low, 0.0)
    for name, weight, tau_ms in _acting_weights(experiment, V_mv, g_per_ms):
        p = experiment.projections[name]
        if p.source in inputs:
            train, rate_hz = inputs[p.source]
            amplitude = (experiment.expected_in_degree(name)[0] * weight) ** 2 * train.correlation * 1e-3 * rate_hz
            shared[p.target] += amplitude * _filtered_power(train.jitter_ms, tau_ms, g[p.target])
    return {a: (low[a], low[a] + shared[a]) for a in low}


def _filtered_power(jitter_ms: float, tau_ms: float, g_per_ms: float) -> float:
    """Integrate the power of jittered spikes behind an exponential synapse and the membrane [ms^3 kHz]."""

    def power(omega: float) -> float:
        spectrum = np.exp(-((omega * jitter_ms) ** 2))
        return float(spectrum / (1 + (omega * tau_ms) ** 2) / (g_per_ms**2 + omega**2) / np.pi)

    return float(quad(power, 0, np.inf, epsabs=0, epsrel=1e-9)[0])


def _acting_weights(
    experiment: Experiment, V_mv: Mapping[str, float] | None, g_per_ms: Mapping[str, float] | None
) -> Iterator[tuple[str, float, float]]:
    """Go through the projections with their weights as currents [mV] and synaptic time constants [ms]."""
    for name, p in experiment.projections.items():
        synapse, weight = experiment.synapses[p.synapse], experiment.initial_weight(name)
        if not isinstance(synapse, (ExponentialCurrent, ExponentialConductance)) or p.rules or p.has_drawn_weights:
            raise NoBalance(f"no prediction: synapses of {name} are not all of one exponential kind and weight")
        if isinstance(synapse, ExponentialConductance):
            if V_mv is None or g_per_ms is None:
                raise NoBalance("no prediction: with conductances, it needs their mean and that of V")
            weight *= synapse.reversal_mv - V_mv[p.target]
        yield name, weight, synapse.tau_ms


def _rates(experiment: Experiment, rates_hz: Mapping[str, float]) -> dict[str, float]:
    return {name: rate for name, (_, rate) in stationary_inputs(experiment).items()} | {**rates_hz}


def _leak(experiment: Experiment, population: str) -> float:
    neuron = experiment.neurons[experiment.populations[population].neuron]
    tau_m_ms = getattr(neuron, "tau_m_ms", None)
    if tau_m_ms is None:
        raise NoBalance(f"no prediction: the neurons of {population} are a user's own, whose leak is not known")
    return 1 / average(tau_m_ms)
