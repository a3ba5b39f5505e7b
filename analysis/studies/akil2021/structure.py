"""Weights across the network: on which degrees and rates they depend, and how they are distributed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import stats

from analysis.confidence import t_interval
from analysis.runs import Run
from analysis.scaling import exponent
from analysis.structure import slope
from analysis.studies.akil2021.manifold import starts
from analysis.studies.akil2021.measured import Array, largest, networks, over_seeds
from analysis.studies.study import Bounds, Caveat, Claim, Parts
from analysis.theory.covariance import trace_covariance
from mpi_engine.experiment import HebbianHard, HebbianSoft

STRUCTURE, DISTRIBUTIONS = "Structure across the network", "Distributions of rates and weights"
SETTLED_MS = 2000.0


def weight_against_rate(parts: Parts) -> Iterator[Claim]:
    """Homeostatic weights of sources that fire fast have moved further from where they began."""
    runs = starts(parts, 0.0)
    for run, bounds in ((runs[0], Bounds(low=0.0)), (runs[-1], Bounds(high=0.0))):
        w = run.weights("I_to_E")
        yield Claim(
            STRUCTURE,
            f"I→E from {run.experiment.named_weight('I_to_E'):g} mV against the rate of the source, slope",
            "changes are in proportion to the source's rate",
            bounds,
            slope(w.sample[-1] / w.scale, run.firing_rates_hz("I")[w.sample_source], w.sample_source),
            f"the sources of {len(w.sample_source)} synapses",
            "mV/Hz",
        )


def weight_against_degree(parts: Parts) -> Iterator[Claim]:
    """Homeostatic weights make up for what a neuron gets more or less of than others."""
    run = starts(parts, 0.0)[-1]
    w = run.weights("I_to_E")
    rows = (("I_to_E", Bounds(low=0.0), "more inhibitory inputs, each weaker"),
            ("X_to_E", Bounds(high=0.0), "more excitatory inputs, stronger inhibition"))  # fmt: skip
    for projection, bounds, why in rows:
        degree = run.degrees(projection).in_degree[w.sample_target].astype(np.float64)
        yield Claim(
            STRUCTURE,
            f"I→E against the target's in-degree from {projection[0]}, slope",
            f"each neuron's weighted sum is fixed: {why}",
            bounds,
            slope(w.sample[-1] / w.scale, degree, w.sample_target),
            f"the targets of {len(degree)} synapses",
            "mV",
        )


def distributions(parts: Parts) -> Iterator[Claim]:
    """Rates are narrow where they are regulated; weights are skewed, peaked or spread as their rules make them."""
    found = {name: largest(runs) for name, runs in networks(parts["sizes"]).items()}
    figure = "Fig. of distributions"
    rows = (
        ("homeostatic", "SD of rates, E over I", f"{figure}: E narrow, I broad", Bounds(high=0.2), spread_of_rates),
        ("no plasticity", "SD of rates, E over I", "both broad", Bounds(low=0.3), spread_of_rates),
        ("kohonen", "skewness of weights", f"{figure}: a heavy tail up to 15 mV", Bounds(low=0.5), skewness),
    )
    for name, quantity, source, bounds, measure in rows:
        over = f"{len(found[name])} seeds"
        yield Claim(DISTRIBUTIONS, f"{quantity}: {name}", source, bounds, over_seeds(found[name], measure), over)


def at_the_largest(parts: Parts) -> Iterator[Claim]:
    """Soft bounds draw weights to the largest, those of neurons that fire much before those of others."""
    runs = largest(networks(parts["sizes"])["soft"])
    over, expected = f"{len(runs)} seeds", [relaxed(run) for run in runs]
    centre, scatter = np.mean([share for share, _ in expected]), np.mean([sd for _, sd in expected])
    caveat = Caveat(
        f"weights of slow neurons are on their way, the mean of all at {centre:.2f}, and at this learning rate they "
        f"scatter by up to {scatter:.2f}, by which a median may differ from a mean",
        Bounds.around(float(centre), reach=float(scatter)),
    )
    yield Claim(DISTRIBUTIONS, "median weight over the largest: soft", "Fig. of distributions: a peak at the largest",
                Bounds.around(1.0, share=0.05), over_seeds(runs, _median), over, caveat=caveat)
    ratios = [mean_of_largest(run) / share for run, (share, _) in zip(runs, expected, strict=True)]
    yield Claim(DISTRIBUTIONS, "mean weight over that of synapses that relax at their neurons' rates: soft",
                "dJ/dt = η τ r_j r_k (J_max - J)", Bounds.around(1.0, share=0.05), t_interval(ratios), over)


def relaxed(run: Run) -> tuple[float, float]:
    """Compute where the mean of the sampled weights is on its way to the largest, and the SD about it, as shares of it.

    A synapse relaxes at the rate η (τ r_j r_k + I_jk): theory has the mean of I for correlated input, which neurons are
    taken to share as their rates. Potentiation adds at most the variance η² r_j (τ² r_k² + τ r_k / 2) per ms, for a
    trace has the mean τ r and the variance τ r / 2, and so does depression: η (τ r_j + τ r_k + 1) / 2 in all, less what
    the two cancel.
    """
    w, rule, rates_khz = run.weights("E_to_E"), _soft(run), 1e-3 * run.firing_rates_hz("E")
    tau_ms = rule.traces["x_pre"]
    of_E = list(run.experiment.sizes).index("E")
    covariance = trace_covariance(run.experiment, tau_ms, {"E_to_E": rule.weight_max_mv})[of_E, of_E]
    correlated = 1 + covariance / (tau_ms * rates_khz.mean() ** 2)
    together = correlated * rates_khz[w.sample_source] * rates_khz[w.sample_target]
    before = 1 - run.experiment.named_weight("E_to_E") / rule.weight_max_mv
    away = before * np.exp(-rule.learning_rate * tau_ms * together * run.stop_ms)
    variance = away.var() + rule.learning_rate * (tau_ms * rates_khz.mean() + 0.5)
    return float(1 - away.mean()), float(np.sqrt(variance))


def _median(run: Run) -> float:
    return float(np.median(_shares_of_largest(run)))


def mean_of_largest(run: Run) -> float:
    """Mean of the sampled weights at the end, as a share of the largest."""
    return float(_shares_of_largest(run).mean())


def _shares_of_largest(run: Run) -> Array:
    """Sampled weights at the end over the rule's largest [n]."""
    w = run.weights("E_to_E")
    shares: Array = w.sample[-1].astype(np.float64) / w.scale / _soft(run).weight_max_mv
    return shares


def _soft(run: Run) -> HebbianSoft:
    rule = run.experiment.plasticity["soft"]
    assert isinstance(rule, HebbianSoft)
    return rule


def random_walk(parts: Parts) -> Iterator[Claim]:
    """Under the classical rule weights diffuse."""
    runs = largest(networks(parts["sizes"])["hard"])
    over, expected = f"{len(runs)} seeds", Bounds.around(1.0, reach=0.1)
    theory = "the classical rule has no drift: a random walk until weights reach the bounds"
    times_ms, variances = zip(*(_late_variance(run) for run in runs), strict=True)
    at_ms = times_ms[0].tolist()
    below = float(np.mean([exponent(at_ms, (times_ms[0] + _offset_ms(run))[:, None]).value for run in runs]))
    caveat = Caveat(
        f"each train adds what its first and last spikes leave, which does not grow: theory has {below:.2f} with it",
        Bounds.around(below, reach=0.1),
    )
    yield Claim(DISTRIBUTIONS, "variance of weights from 2 s on, exponent of time: hard", theory, expected,
                exponent(at_ms, np.column_stack(variances)), over, caveat=caveat)
    elapsed_ms, gained = zip(*(_gained_variance(run) for run in runs), strict=True)
    yield Claim(DISTRIBUTIONS, "variance of weights that is gained after 2 s, exponent of time: hard", theory, expected,
                exponent(elapsed_ms[0].tolist(), np.column_stack(gained)), over)


def _offset_ms(run: Run) -> float:
    r"""Compute what the ends of spike trains add to the variance, as time that a random walk takes to gain it.

    For independent Poisson trains the variance is :math:`\propto t + t_0`, :math:`t_0 = 2 \tau^2 \langle r^2 \rangle
    / \langle r \rangle - \tau / 2`, on average over synapses and many :math:`\tau` after the start.
    """
    rule, rates_khz = run.experiment.plasticity["hard"], 1e-3 * run.firing_rates_hz("E")
    assert isinstance(rule, HebbianHard)
    tau_ms = rule.traces["x_pre"]
    return float(2 * tau_ms**2 * (rates_khz**2).mean() / rates_khz.mean() - tau_ms / 2)


def _late_variance(run: Run) -> tuple[Array, Array]:
    """Variance of E to E from 2 s on: times [ms] and values."""
    w = run.weights("E_to_E")
    late = w.time_ms >= SETTLED_MS
    return w.time_ms[late], w.variance[late]


def _gained_variance(run: Run) -> tuple[Array, Array]:
    """Variance of E to E beyond that at 2 s, from a second later on: times [ms] and values."""
    times_ms, variance = _late_variance(run)
    elapsed_ms, gained = times_ms - times_ms[0], variance - variance[0]
    later = elapsed_ms >= 1000.0
    return elapsed_ms[later], gained[later]


def spread_of_rates(run: Run) -> float:
    """SD of the rates of E over that of I."""
    return float(run.firing_rates_hz("E").std() / run.firing_rates_hz("I").std())


def skewness(run: Run) -> float:
    """Skewness of the sampled weights of E to E at the end: a histogram ends where a heavy tail does not."""
    return float(stats.skew(run.weights("E_to_E").sample[-1].astype(np.float64)))
