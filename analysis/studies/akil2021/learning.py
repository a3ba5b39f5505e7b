"""Mean weights: how they change, how fast, and what correlated input makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from analysis.confidence import t_interval
from analysis.convergence import relaxation_time
from analysis.runs import Run
from analysis.scaling import exponent
from analysis.spikes import rates_hz
from analysis.studies.akil2021.measured import (
    CORRELATION,
    Array,
    felt_weight,
    finished,
    input_rate_hz,
    largest,
    mean_between,
    mean_weight,
    networks,
)
from analysis.studies.study import Bounds, Claim, Parts
from analysis.theory.plasticity import fixed_point, pair_rules, rule_terms

ONE_THEORY = "One theory for many rules"
CORRELATIONS = "Correlations in the input influence the weights"
PACE = "Time scales of learning"
EQUATION = "mean weight equation, with the measured rates and their covariance with the weights"

KOHONEN_RATE = "plasticity.kohonen.learning_rate"
HOMEOSTATIC_RATE = "plasticity.homeostatic.learning_rate_mv"


def drift_of_the_general_form(parts: Parts) -> Iterator[Claim]:
    """Mean weights under the general pair form drift as the mean weight equation says."""
    runs = finished(parts["general"].runs.values())
    yield Claim(
        ONE_THEORY,
        "drift less that of the equation, over its terms' sizes: general form, random coefficients",
        EQUATION,
        Bounds.around(0.0, reach=0.02),
        t_interval([drift_error(run, "E_to_E", run.start_ms, run.stop_ms) for run in runs]),
        f"{len(runs)} sets of coefficients",
    )


def drift_of_each_rule(parts: Parts) -> Iterator[Claim]:
    """Mean weights under each named rule drift as the mean weight equation says, from the first seconds on."""
    for name, runs in networks(parts["sizes"]).items():
        seeds = largest(runs)
        for projection in seeds[0].experiment.plastic:
            errors = [drift_error(run, projection, 1000.0, 6000.0) for run in seeds]
            yield Claim(
                ONE_THEORY,
                f"drift less that of the equation, over its terms' sizes: {name}, {projection}",
                EQUATION,
                Bounds.around(0.0, reach=0.05),
                t_interval(errors),
                f"{len(errors)} seeds",
            )


def drift_error(run: Run, projection: str, start_ms: float, stop_ms: float) -> float:
    """Compare the change of the sampled weights' mean with the equation's, as a share of the equation's terms.

    The equation is averaged over the sample: each synapse has its weight, and the rates of its neurons over the whole
    run, in proportion to those of their populations between two records.
    """
    e, w = run.experiment, run.weights(projection)
    p = e.projections[projection]
    [(rule, _)] = pair_rules(e, projection)
    shares = [_rates_hz(run, name)[ids] for name, ids in ((p.source, w.sample_source), (p.target, w.sample_target))]
    inside = (w.time_ms >= start_ms) & (w.time_ms <= stop_ms)
    times_ms, sample = w.time_ms[inside], w.sample[inside].astype(np.float64)
    expected = size = 0.0
    for (a_ms, b_ms), weights in zip(pairwise(times_ms), (sample[1:] + sample[:-1]) / 2, strict=True):
        r_pre, r_post = (
            1e-3 * share * mean_between(run, name, None, a_ms, b_ms) / mean_between(run, name, None, 0.0, run.stop_ms)
            for share, name in zip(shares, (p.source, p.target), strict=True)
        )
        terms = rule_terms(rule, w.scale, e.weight_unit(projection), weights, r_pre, r_post)
        expected += (b_ms - a_ms) * sum(terms)
        size += (b_ms - a_ms) * sum(map(abs, terms))
    return float(((sample[-1] - sample[0]).mean() - expected) / size)


def _rates_hz(run: Run, population: str) -> Array:
    """Rate of each neuron over the whole run [n]."""
    spikes, size = run.spikes(population), run.experiment.sizes[population]
    return rates_hz(spikes.times_ms, spikes.ids, size, 0.0, run.stop_ms)


def weights_under_correlations(parts: Parts) -> Iterator[Claim]:
    """Correlated input changes weights: pairs of runs with the same connections and initial weights."""
    for rule, projection, key in (("kohonen", "E_to_E", KOHONEN_RATE), ("homeostatic", "I_to_E", HOMEOSTATIC_RATE)):
        part = parts[f"correlated_{rule}"]
        for eta in sorted({setting(run, key) for run in part.runs.values()}):
            alone = finished(part.where({CORRELATION: 0.0, key: eta}))
            for c in (0.3, 1.0):
                correlated = finished(part.where({CORRELATION: c, key: eta}))
                before, after = (fixed_point(runs[0].experiment).weights_mv[projection] for runs in (alone, correlated))
                pairs = zip(alone, correlated, strict=True)
                yield Claim(
                    CORRELATIONS,
                    f"change of {projection} by c = {c:g}: {rule}, learning rate {eta:g}",
                    f"theory at infinite N: {after - before:+.3g} mV, from {before:.4g} to {after:.4g}",
                    Bounds(low=0.0) if after > before else Bounds(high=0.0),
                    t_interval([_at_nominal_input(b, projection) - _at_nominal_input(a, projection) for a, b in pairs]),
                    f"{len(alone)} pairs of runs, the realised input rate a covariate",
                    "mV",
                )


def _at_nominal_input(run: Run, projection: str) -> float:
    """Weight less what theory makes of the difference between realised and nominal input rate, correlations apart."""
    e = run.experiment
    nominal = e.inputs["X"].model_copy(update={"correlation": 0.0})
    realised = nominal.model_copy(update={"rate_hz": input_rate_hz(run)})
    expected = [
        fixed_point(e.model_copy(update={"inputs": {**e.inputs, "X": x}})).weights_mv[projection]
        for x in (nominal, realised)
    ]
    measured = felt_weight(run, projection) if projection == "I_to_E" else mean_weight(run, projection)
    return measured * expected[0] / expected[1]


def paces(parts: Parts) -> Iterator[Claim]:
    """Learning is as much faster as its rate is higher."""
    runs = finished(parts["time_scales"].runs.values())
    etas = sorted({setting(run, HOMEOSTATIC_RATE) for run in runs})
    times = [[relaxation(run) for run in parts["time_scales"].where({HOMEOSTATIC_RATE: eta})] for eta in etas]
    yield Claim(
        PACE,
        "time constant of E's rate, exponent of the learning rate: homeostatic",
        "Fig. of learning rates; dj/dt is in proportion to the learning rate",
        Bounds.around(-1.0, reach=0.2),
        exponent(etas, times),
        f"{len(times[0])} seeds",
    )


def relaxation(run: Run) -> float:
    """Time constant with which the rate of E settles [ms]."""
    rates = run.rates("E")
    return relaxation_time(rates.times_ms, rates.rate_hz)[0]


def setting(run: Run, key: str) -> float:
    """Value of a key of a rule."""
    _, rule, name = key.split(".")
    return float(getattr(run.experiment.plasticity[rule], name))
