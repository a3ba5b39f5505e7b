"""Where mean weights settle and how fast, and what correlated input makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from analysis.confidence import t_interval
from analysis.convergence import relaxation_time
from analysis.runs import Run
from analysis.scaling import exponent
from analysis.studies.akil2021.measured import (
    CORRELATION,
    felt_weight,
    input_of,
    input_rate_hz,
    mean_weight,
    predicted_weight,
)
from analysis.studies.akil2021.structure import mean_of_largest, relaxed
from analysis.studies.study import Bounds, Caveat, Claim, Parts, finished
from analysis.theory.plasticity import fixed_point

CORRELATIONS = "Correlations in the input influence the weights"
PACE = "Time scales of learning"
CLOSE = 0.2
"""Share of a change by which theory may miss it."""

FINEST = 0.05
"""Share of the largest weight by which the soft rule's mean may differ from it, as that of slow neurons does."""

SOFT_RATE = "plasticity.soft.learning_rate"
KOHONEN_RATE = "plasticity.kohonen.learning_rate"
HOMEOSTATIC_RATE = "plasticity.homeostatic.learning_rate_mv"


def weights_under_correlations(parts: Parts) -> Iterator[Claim]:
    """Correlated input changes weights: pairs of runs with the same connections and initial weights."""
    for rule, projection, key in (("kohonen", "E_to_E", KOHONEN_RATE), ("homeostatic", "I_to_E", HOMEOSTATIC_RATE)):
        part = parts[f"correlated_{rule}"]
        for eta in sorted({setting(run, key) for run in part.runs.values()}):
            alone = finished(part.where({CORRELATION: 0.0, key: eta}))
            for c in (0.3, 1.0):
                pairs = list(zip(alone, finished(part.where({CORRELATION: c, key: eta})), strict=True))
                yield from _change(pairs, projection, f"{rule}, c = {c:g}, learning rate {eta:g}")


def soft_weights_under_correlations(parts: Parts) -> Iterator[Claim]:
    """The soft rule's fixed point is the largest weight at any correlation of the input: weights change mildly."""
    part = parts["correlated_soft"]
    alone = finished(part.where({CORRELATION: 0.0}))
    for c in sorted({input_of(run).correlation for run in part.runs.values()} - {0.0}):
        pairs = list(zip(alone, finished(part.where({CORRELATION: c})), strict=True))
        over = f"{len(pairs)} pairs of runs"
        changes = [mean_of_largest(b) - mean_of_largest(a) for a, b in pairs]
        ahead = float(np.mean([relaxed(b)[0] - relaxed(a)[0] for a, b in pairs]))
        caveat = Caveat(f"at the rates of their neurons, and with theory's covariance, weights come further by "
                        f"{ahead:.3f}", Bounds.around(ahead, reach=FINEST))
        yield Claim(CORRELATIONS, f"change of E_to_E, over the largest weight: soft, c = {c:g}",
                    "theory: the fixed point stays at the largest weight", Bounds.around(0.0, reach=FINEST),
                    t_interval(changes), over, caveat=caveat)
        ratios = [mean_of_largest(b) / relaxed(b)[0] for _, b in pairs]
        what = f"mean weight over that of synapses that relax at their neurons' rates: soft, c = {c:g}"
        yield Claim(CORRELATIONS, what, "dJ/dt = η (τ r_j r_k + I_jk) (J_max - J)", Bounds.around(1.0, share=FINEST),
                    t_interval(ratios), over)


def _change(pairs: Sequence[tuple[Run, Run]], projection: str, name: str) -> Iterator[Claim]:
    """Hold the change of a weight from the first runs to the second against zero, and against theory."""
    before, after = (fixed_point(run.experiment).weights_mv[projection] for run in pairs[0])
    theory, over = after - before, f"{len(pairs)} pairs of runs"
    changes = [_at_nominal_input(b, projection) - _at_nominal_input(a, projection) for a, b in pairs]
    found = t_interval(changes)
    yield Claim(CORRELATIONS, f"change of {projection}: {name}", "theory, by its sign",
                Bounds(low=0.0) if theory > 0 else Bounds(high=0.0), found,
                f"{over}, the realised input rate a covariate", "mV")
    kept = [predicted_weight(b, projection, True) - predicted_weight(a, projection, True) for a, b in pairs]
    near = abs(theory) * CLOSE
    caveat = Caveat(
        f"correlated input lets networks fire with less net input; with what they keep of it, which vanishes as 1/√N, "
        f"theory has {np.mean(kept):+.3g}",
        Bounds(min(theory, *kept) - near, max(theory, *kept) + near),
    )
    yield Claim(CORRELATIONS, f"the same beside theory: {name}",
                f"theory at infinite N: {theory:+.3g}, from {before:.4g} to {after:.4g}, to a fifth",
                Bounds.around(theory, share=CLOSE), found, over, "mV", caveat)


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
    part = parts["time_scales"]
    etas = sorted({setting(run, HOMEOSTATIC_RATE) for run in finished(part.runs.values())})
    for name, measure in (("the mean weight", relaxation_of_weights), ("E's rate", relaxation_of_rate)):
        times = [[measure(run) for run in finished(part.where({HOMEOSTATIC_RATE: eta}))] for eta in etas]
        yield Claim(
            PACE,
            f"time constant of {name}, exponent of the learning rate: homeostatic",
            "Fig. of learning rates; dj/dt is in proportion to the learning rate",
            Bounds.around(-1.0, reach=0.2),
            exponent(etas, times),
            f"{len(times[0])} seeds",
        )


def relaxation_of_weights(run: Run) -> float:
    """Time constant with which the mean weight settles [ms]."""
    w = run.weights("I_to_E")
    return relaxation_time(w.time_ms, w.mean)[0]


def relaxation_of_rate(run: Run) -> float:
    """Time constant with which the rate of E settles [ms]."""
    rates = run.rates("E")
    return relaxation_time(rates.times_ms, rates.rate_hz)[0]


def setting(run: Run, key: str) -> float:
    """Value of a key of a rule."""
    _, rule, name = key.split(".")
    return float(getattr(run.experiment.plasticity[rule], name))
