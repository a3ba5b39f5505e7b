"""Mean weights: how they change, how fast, and what correlated input makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from analysis.confidence import t_interval
from analysis.convergence import relaxation_time
from analysis.runs import Run
from analysis.scaling import exponent
from analysis.studies.akil2021.measured import (
    CORRELATION,
    felt_weight,
    finished,
    input_rate_hz,
    largest,
    mean_between,
    mean_weight,
    networks,
)
from analysis.studies.study import Bounds, Claim, Parts
from analysis.theory.plasticity import drift_terms, fixed_point

ONE_THEORY = "One theory for many rules"
CORRELATIONS = "Correlations in the input influence the weights"
PACE = "Time scales of learning"
EQUATION = "mean weight equation, with the measured rates"

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
    """Compare the change of a mean weight with that of the mean weight equation, as a share of the equation's terms.

    Between two records of the weights the equation gets their mean, and the rates of that time.
    """
    e, w = run.experiment, run.weights(projection)
    inside = (w.time_ms >= start_ms) & (w.time_ms <= stop_ms)
    times_ms, means = w.time_ms[inside], w.mean[inside] / w.scale
    expected = size = 0.0
    for (a_ms, b_ms), weight in zip(pairwise(times_ms), (means[1:] + means[:-1]) / 2, strict=True):
        rates_hz = {name: mean_between(run, name, None, a_ms, b_ms) for name in e.populations}
        rates_hz |= dict.fromkeys(e.trains, np.nan)
        terms = drift_terms(e, dict.fromkeys(e.plastic, float(weight)), rates_hz)[projection]
        expected += (b_ms - a_ms) * sum(terms)
        size += (b_ms - a_ms) * sum(map(abs, terms))
    return float((means[-1] - means[0] - expected) / size)


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
        "time constant of the mean weight of I→E, exponent of the learning rate: homeostatic",
        "Fig. of learning rates; dj/dt is in proportion to the learning rate",
        Bounds.around(-1.0, reach=0.15),
        exponent(etas, times),
        f"{len(times[0])} seeds",
    )


def relaxation(run: Run) -> float:
    """Time constant with which the mean weight of I to E settles [ms]."""
    w = run.weights("I_to_E")
    return relaxation_time(w.time_ms, w.mean)[0]


def setting(run: Run, key: str) -> float:
    """Value of a key of a rule."""
    _, rule, name = key.split(".")
    return float(getattr(run.experiment.plasticity[rule], name))
