"""The mean weight equation, and the same equation averaged over synapses, against the drift of mean weights.

The equation has one weight and one rate a population. Weights that have learned covary with the rates of their neurons;
averaged over synapses, each with its own weight and rates, the same terms contain that covariance. It is no effect of
size: rates differ within a population of any size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from analysis.confidence import t_interval
from analysis.runs import Run
from analysis.spikes import rates_hz
from analysis.studies.akil2021.measured import Array, largest, mean_between, networks
from analysis.studies.study import Bounds, Caveat, Claim, Parts, finished
from analysis.theory.plasticity import pair_rules, rule_terms
from mpi_engine.output.reader import Weights

ONE_THEORY = "One theory for many rules"
ERROR = "drift less that of the equation, over its terms' sizes"
BY_SYNAPSE = "drift less that of the equation averaged over synapses, over its terms' sizes"


def of_the_general_form(parts: Parts) -> Iterator[Claim]:
    """Mean weights under the general pair form drift as the mean weight equation says."""
    runs = finished(parts["general"].runs.values())
    intervals_ms = [(run.start_ms, run.stop_ms) for run in runs]
    over = f"{len(runs)} sets of coefficients"
    yield from _claims(runs, "E_to_E", intervals_ms, "general form, random coefficients", 0.02, over)


def of_each_rule(parts: Parts) -> Iterator[Claim]:
    """Mean weights under each named rule drift as the mean weight equation says, from the first seconds on."""
    for name, runs in networks(parts["sizes"]).items():
        seeds = largest(runs)
        for projection in seeds[0].experiment.plastic:
            intervals_ms = [(1000.0, 6000.0)] * len(seeds)
            yield from _claims(seeds, projection, intervals_ms, f"{name}, {projection}", 0.05, f"{len(seeds)} seeds")


def _claims(
    runs: Sequence[Run],
    projection: str,
    intervals_ms: Sequence[tuple[float, float]],
    name: str,
    reach: float,
    over: str,
) -> Iterator[Claim]:
    pairs = list(zip(runs, intervals_ms, strict=True))
    plain = np.array([drift_error(run, projection, *interval_ms) for run, interval_ms in pairs])
    averaged = np.array([averaged_drift_error(run, projection, *interval_ms) for run, interval_ms in pairs])
    effect = float((plain - averaged).mean())
    caveat = Caveat(
        f"weights covary with the rates of their neurons, which the equation leaves out, at any size: {effect:+.3f}",
        Bounds.around(effect, reach=reach),
    )
    expected = Bounds.around(0.0, reach=reach)
    yield Claim(ONE_THEORY, f"{ERROR}: {name}", "mean weight equation, with the measured mean rates", expected,
                t_interval(plain), over, caveat=caveat)
    yield Claim(ONE_THEORY, f"{BY_SYNAPSE}: {name}", "the same, with the covariance of weights and rates", expected,
                t_interval(averaged), over)


def drift_error(run: Run, projection: str, start_ms: float, stop_ms: float) -> float:
    """Compare the change of the mean weight with the equation's, as a share of the equation's terms."""
    w = run.weights(projection)
    inside = (w.time_ms >= start_ms) & (w.time_ms <= stop_ms)
    return _error(run, projection, w, w.time_ms[inside], w.mean[inside][:, None], (None, None))


def averaged_drift_error(run: Run, projection: str, start_ms: float, stop_ms: float) -> float:
    """Compare the change of the sampled weights' mean with that of the equation averaged over the sample.

    Each synapse has its weight, and the rates of its neurons over the whole run, in proportion to those of their
    populations between two records.
    """
    p, w = run.experiment.projections[projection], run.weights(projection)
    inside = (w.time_ms >= start_ms) & (w.time_ms <= stop_ms)
    shares = (_shares(run, p.source)[w.sample_source], _shares(run, p.target)[w.sample_target])
    return _error(run, projection, w, w.time_ms[inside], w.sample[inside].astype(np.float64), shares)


def _error(
    run: Run, projection: str, w: Weights, times_ms: Array, weights: Array, shares: tuple[Array | None, Array | None]
) -> float:
    """Integrate the equation over records of weights [W, synapses], each of which has a share of the mean rates."""
    e = run.experiment
    p = e.projections[projection]
    [(rule, _)] = pair_rules(e, projection)
    expected = size = 0.0
    for (a_ms, b_ms), midway in zip(pairwise(times_ms), (weights[1:] + weights[:-1]) / 2, strict=True):
        r_pre, r_post = (
            1e-3 * mean_between(run, name, None, a_ms, b_ms) * (1.0 if share is None else share)
            for name, share in zip((p.source, p.target), shares, strict=True)
        )
        terms = rule_terms(rule, w.scale, e.weight_unit(projection), midway, r_pre, r_post)
        expected += (b_ms - a_ms) * sum(terms)
        size += (b_ms - a_ms) * sum(map(abs, terms))
    return float(((weights[-1] - weights[0]).mean() - expected) / size)


def _shares(run: Run, population: str) -> Array:
    """Rate of each neuron over the whole run, relative to the mean over neurons [n]."""
    spikes, size = run.spikes(population), run.experiment.sizes[population]
    rates = rates_hz(spikes.times_ms, spikes.ids, size, 0.0, run.stop_ms)
    relative: Array = rates / rates.mean()
    return relative
