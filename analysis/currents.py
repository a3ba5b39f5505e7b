"""Balance of excitation and inhibition in the currents, and the variance over time of currents and potentials.

Arrays are [T, n], samples by neuron, after the burn-in; or [T], means over a population. Excitation is positive and
inhibition negative. A quantity that does not vary, or an excitation that is not there, has no ratio: NaN.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mpi_engine.experiment import Experiment, ExponentialConductance
from mpi_engine.output.reader import Statistics

Array = NDArray[np.float64]


def excitation_and_inhibition(
    experiment: Experiment, population: str, values: Mapping[str, NDArray[np.floating]]
) -> tuple[Array, Array]:
    r"""Add recorded currents by sign; conductances act with their driving force, :math:`g (E_{rev} - V)`.

    Parameters
    ----------
    experiment : Experiment
        The description.
    population : str
        Of the neurons.
    values : mapping of str to ndarray
        Variables as recorded, V among them where synapses are conductances; any shape.

    Returns
    -------
    excitation, inhibition : ndarray
        Currents in mV/ms; zero where no such synapse acts on the population.

    Raises
    ------
    ValueError
        If a synapse's projections are of both signs, or a variable is missing.
    """
    by_sign = {1.0: np.zeros(()), -1.0: np.zeros(())}
    for name in experiment.synapses_of(population):
        synapse, variable = experiment.synapses[name], experiment.variable_of(name)
        for needed in {variable, "V"} if isinstance(synapse, ExponentialConductance) else {variable}:
            if needed not in values:
                raise ValueError(f"{needed} of {population} was not recorded; add it to the recorder and run again")
        current = values[variable].astype(np.float64)
        if isinstance(synapse, ExponentialConductance):
            current = current * (synapse.reversal_mv - values["V"])
            signs = {float(np.sign(synapse.reversal_mv - values["V"].mean()))}
        else:
            acting = [p for p in experiment.projections.items() if (p[1].target, p[1].synapse) == (population, name)]
            signs = {float(np.sign(experiment.named_weight(projection))) for projection, _ in acting} - {0.0}
        if len(signs) > 1:
            raise ValueError(f"synapses.{name} is excitatory and inhibitory on {population}; give each its own")
        for sign in signs:
            by_sign[sign] = by_sign[sign] + current
    return by_sign[1.0], by_sign[-1.0]


def net_over_excitation(excitation: Array, inhibition: Array) -> Array:
    """Compute how much of the mean excitation inhibition leaves: (<E> + <I>) / <E>, averages over time.

    Parameters
    ----------
    excitation, inhibition : ndarray
        Currents [T, n] or [T].

    Returns
    -------
    ndarray
        Ratio [n], or a single one; small and positive in a balanced network, falling as 1/sqrt(N).
    """
    excitatory = excitation.mean(axis=0)
    present = excitatory > 0
    net = excitatory + inhibition.mean(axis=0)
    ratio: Array = np.divide(net, excitatory, out=np.full(np.shape(net), np.nan), where=present)
    return ratio


def tightness(excitation: Array, inhibition: Array) -> Array:
    """Correlate excitation with inhibition over time, Pearson's coefficient of E and -I.

    Parameters
    ----------
    excitation, inhibition : ndarray
        Currents [T, n] or [T].

    Returns
    -------
    ndarray
        Coefficient [n], or a single one: near 1 in tight balance, near 0 in loose balance without correlations.
    """
    e, i = excitation - excitation.mean(axis=0), inhibition - inhibition.mean(axis=0)
    scale = np.sqrt((e**2).sum(axis=0) * (i**2).sum(axis=0))
    coefficient: Array = np.divide(-(e * i).sum(axis=0), scale, out=np.full(np.shape(scale), np.nan), where=scale > 0)
    return coefficient


def moments_over_blocks(statistics: Statistics, variable: str, start_ms: float = 0.0) -> tuple[Array, Array]:
    """Join blocks of recorded statistics to the mean and variance over time of each neuron.

    Parameters
    ----------
    statistics : Statistics
        As recorded.
    variable : str
        V, V_free, a current or a conductance.
    start_ms : float
        End of the burn-in [ms]; blocks that begin before are left out.

    Returns
    -------
    mean, variance : ndarray
        Over all samples (ddof 0) [n]: within blocks and between them.

    Raises
    ------
    ValueError
        If the variable was not recorded, or no block begins after the burn-in.
    """
    if variable not in statistics.mean:
        raise ValueError(f"{variable} is not among the recorded: {', '.join(statistics.mean)}")
    late = statistics.start_ms >= start_ms - 1e-9 * statistics.block_ms
    if not late.any():
        raise ValueError(f"start_ms = {start_ms:g}: no block of {statistics.block_ms:g} ms begins later; lower it")
    weight = (statistics.samples[late] / statistics.samples[late].sum())[:, None]
    means = statistics.mean[variable][late]
    mean: Array = (weight * means).sum(axis=0)
    variance: Array = (weight * (statistics.variance[variable][late] + (means - mean) ** 2)).sum(axis=0)
    return mean, variance
