r"""What learning makes of weights: their distribution, drift, dependence on rates, and the input that they carry.

A mean input is a mean-field part, of mean weights and mean rates, and a part that the covariance of weights and rates
adds, :math:`\langle J r \rangle - \langle J \rangle \langle r \rangle`. Homeostatic plasticity fixes their sum and
leaves the parts to the initial weights: the manifold of its fixed points (Akil, Rosenbaum & Josić 2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.confidence import LEVEL, Interval, t_interval
from analysis.weights import arrival_rate, charge, effective_weight
from mpi_engine.output.reader import RunReader

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """Shape of a distribution.

    Parameters
    ----------
    mean, sd, skewness : float
        Moments, as the bins tell them; skewness is NaN if there is no spread.
    quartiles : tuple of float
        First, second and third.
    """

    mean: float
    sd: float
    skewness: float
    quartiles: tuple[float, float, float]


def shape_of(histogram: NDArray[np.int64], edges: Array) -> Shape:
    """Describe a distribution that is recorded as a histogram; values are spread evenly within a bin.

    Parameters
    ----------
    histogram : ndarray
        Numbers [bins], at least one of them above 0.
    edges : ndarray
        Edges [bins + 1], ascending.

    Returns
    -------
    Shape

    Raises
    ------
    ValueError
        If the histogram is empty: everything lies outside its edges.
    """
    if not histogram.any():
        raise ValueError(f"nothing lies from {edges[0]:g} to {edges[-1]:g}; widen recording.weights.histogram_mv")
    share, centre, width = histogram / histogram.sum(), (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    mean = float(share @ centre)
    variance = float(share @ ((centre - mean) ** 2 + width**2 / 12))
    third = float(share @ ((centre - mean) ** 3 + (centre - mean) * width**2 / 4))
    used = histogram > 0     # the cumulative share rises in these only
    up_to = np.cumsum(share)
    reached = np.column_stack([up_to - share, up_to])[used].ravel()
    at = np.column_stack([edges[:-1], edges[1:]])[used].ravel()
    low, middle, high = np.interp([0.25, 0.5, 0.75], reached, at).tolist()
    return Shape(mean, variance**0.5, third / variance**1.5 if variance > 0 else np.nan, (low, middle, high))


def drift(times_ms: Array, values: Array, blocks: int = 10, level: float = LEVEL) -> Interval:
    """Measure how fast a series moves, from the increments over blocks of time.

    Parameters
    ----------
    times_ms, values : ndarray
        Series [T]: the mean weight, or the variance of a random walk's weights.
    blocks : int
        Number of equal blocks; their increments are taken as independent, so a block is long against the fluctuations.
    level : float
        Confidence.

    Returns
    -------
    Interval
        Change per ms.

    Raises
    ------
    ValueError
        If there are fewer samples than edges of blocks.
    """
    if len(values) <= blocks:
        raise ValueError(f"{len(values)} records have no {blocks} blocks; record weights more often, or run longer")
    edges = np.linspace(0, len(values) - 1, blocks + 1).round().astype(np.int64)
    return t_interval(np.diff(values[edges]) / np.diff(times_ms[edges]), level)


def slope(
    values: Array, covariate: Array, neurons: NDArray[np.int64] | None = None, level: float = LEVEL
) -> Interval:
    r"""Regress weights on what belongs to their neurons: a rate, or a degree.

    Parameters
    ----------
    values, covariate : ndarray
        One a synapse, or one a neuron [n].
    neurons : ndarray, optional
        The neuron to which the covariate belongs [n], where synapses share it and with it what else changes their
        weights; each is taken to be the only one of its neuron if not given.
    level : float
        Confidence.

    Returns
    -------
    Interval
        Slope of the least-squares line, with its t interval. The residuals of G neurons are independent, those of a
        neuron's synapses need not be: with :math:`s_g = \sum_{i \in g} (x_i - \bar x) e_i`, the squared error is
        :math:`G / (G - 1) \sum_g s_g^2 / (\sum_i (x_i - \bar x)^2)^2` (Liang & Zeger 1986).

    Raises
    ------
    ValueError
        If there are fewer than three, or the covariate is the same for all.
    """
    if len(values) < 3 or np.ptp(covariate) == 0:
        raise ValueError(f"{len(values)} values against {len(np.unique(covariate))} different ones have no slope")
    fit = stats.linregress(covariate, values)
    if neurons is None:
        error, freedom = float(fit.stderr), len(values) - 2
    else:
        deviations = covariate - covariate.mean()
        scores = deviations * (values - values.mean() - fit.slope * deviations)
        _, of_neuron = np.unique(neurons, return_inverse=True)
        sums = np.bincount(of_neuron, scores)
        freedom = len(sums) - 1     # at least one, as the covariate differs
        error = float(np.sqrt(len(sums) / freedom) * np.linalg.norm(sums) / (deviations**2).sum())
    reach = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    return Interval(float(fit.slope), float(fit.slope - reach), float(fit.slope + reach), error)


def weight_rate_covariance(weights: Array, rates: Array) -> Interval:
    r"""Average :math:`\langle J r \rangle - \langle J \rangle \langle r \rangle` over a sample of synapses.

    Parameters
    ----------
    weights, rates : ndarray
        Weight of each synapse and rate of its source [k].

    Returns
    -------
    Interval
        Covariance (ddof 1) in units of both, with the t interval for independent synapses; the error is that of the
        sample, and zero is what all synapses of the projection leave of it.

    Raises
    ------
    ValueError
        If there are fewer than two synapses.
    """
    k = len(weights)
    if k < 2:
        raise ValueError(f"{k} synapses have no covariance; sample more in recording.weights")
    return t_interval((weights - weights.mean()) * (rates - rates.mean()) * (k / (k - 1)))


@dataclass(frozen=True)
class InputParts:
    """A population's mean input from a projection, and where it comes from [mV/ms].

    Parameters
    ----------
    total : float
        As the recorded current shows it, as it acts on V.
    mean_field : float
        Of the mean weight and the arriving spikes.
    covariance : float
        What the covariance of weights and rates adds: the rest.
    felt_weight_mv : float
        Rate-weighted mean weight <J r>/<r>, as named.
    """

    total: float
    mean_field: float
    covariance: float
    felt_weight_mv: float


def input_parts(run: RunReader, projection: str, start_ms: float) -> InputParts:
    """Split the mean input that a plastic projection gives, by the mean weight over the same time.

    Parameters
    ----------
    run : RunReader
        A run with rates, and the weights of the projection, recorded.
    projection : str
        A plastic projection with a recorded current to itself.
    start_ms : float
        End of the burn-in [ms].

    Returns
    -------
    InputParts
        NaN in `felt_weight_mv` and zero elsewhere if its sources are silent.

    Raises
    ------
    NotMeasured
        See `analysis.weights.effective_weight`.
    ValueError
        If no weights were recorded after the burn-in.
    """
    e, weights = run.experiment, run.weights(projection)
    late = weights.time_ms >= start_ms
    if not late.any():
        raise ValueError(f"start_ms = {start_ms:g}: weights were last recorded at {weights.time_ms[-1]:g} ms; lower it")
    arriving = arrival_rate(run, projection, start_ms) * charge(e, projection)
    felt = effective_weight(run, projection, start_ms)
    total = felt * e.weight_scale(projection) * arriving if arriving > 0 else 0.0
    mean_field = float(weights.mean[late].mean()) * arriving
    return InputParts(total, mean_field, total - mean_field, felt)
