"""The membrane of a run's neurons, as measured and as linear theory has it at measured means.

With conductances, the total conductance g sets the effective time constant 1 / g, and the driving force of each synapse
depends on the mean membrane potential (Richardson & Gerstner 2005; Zhu, Ocker & Rosenbaum 2026).
"""

from __future__ import annotations

from analysis.confidence import block_error
from analysis.currents import moments_over_blocks
from analysis.findings import BLOCKS, Findings
from analysis.theory.balance import stationary_inputs
from analysis.theory.conductance import correlated_variance_bounds, free_variance, total_conductance
from analysis.verdict import Estimate
from analysis.weights import NotMeasured
from mpi_engine.experiment import ExponentialConductance

LINEAR = 0.4
"""Relative accuracy of the linear theory of variance: trains are neither quite Poisson nor quite independent."""


def net_at_mean(f: Findings, population: str) -> float:
    r"""Measure the net input at the mean membrane potential, :math:`\sum_b \bar g_b (E_b - \bar V)` with conductances.

    Parameters
    ----------
    f : Findings
        A run.
    population : str
        Of the neurons.

    Returns
    -------
    float
        In mV/ms; the mean total current where all synapses are currents.
    """
    e = f.experiment
    net = 0.0
    for name in e.synapses_of(population):
        synapse, mean = e.synapses[name], f.mean(population, e.variable_of(name)).value
        if isinstance(synapse, ExponentialConductance):
            mean *= synapse.reversal_mv - f.V_mv[population]
        net += mean
    return net


def effective_time_constant(f: Findings, population: str) -> Estimate:
    """Measure the inverse of the mean total conductance [ms]."""
    g = f.mean(population, "g_total")
    return Estimate(1 / g.value, g.error / g.value**2)


def predicted_time_constant(f: Findings, population: str) -> tuple[float, float]:
    """Give its range in theory [ms], at the rates of all states that the network can be in."""
    return f.span(lambda state: 1 / total_conductance(f.realised, state.rates_hz)[population])


def measured_free_variance(f: Findings, population: str) -> Estimate:
    """Measure the variance over time of V without spikes and resets, averaged over neurons [mV^2].

    Correlated input makes it rise and fall in all neurons at once, so that its error is that over blocks of time.
    """
    if not f.experiment.has_shadow_voltage:
        raise NotMeasured("V without spikes was not recorded; set recording.statistics.shadow_voltage = true")
    statistics = f.run.statistics(population)
    try:
        variance = moments_over_blocks(statistics, "V_free", f.start_ms)[1]
    except ValueError as reason:
        raise NotMeasured(str(reason)) from None
    of_blocks = statistics.variance["V_free"][statistics.start_ms >= f.start_ms].mean(axis=1)
    return Estimate(float(variance.mean()), block_error(of_blocks, BLOCKS))


def predicted_free_variance(f: Findings, population: str) -> tuple[float, float]:
    """Give its range in theory [mV^2]: one number for independent input, the bounds for correlated one."""
    e = f.realised
    g = {a: f.mean(a, "g_total").value for a in e.populations} if e.has_conductances else None
    V = f.V_mv if e.has_conductances else None
    if any(train.correlation > 0 for train, _ in stationary_inputs(e).values()):
        return correlated_variance_bounds(e, f.rates_hz, V, g)[population]
    variance = free_variance(e, f.rates_hz, V, g)[population]
    return variance, variance
