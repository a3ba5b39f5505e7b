"""Weights across the network: on which degrees and rates they depend, and how they are distributed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.runs import Run
from analysis.scaling import exponent
from analysis.structure import shape_of, slope
from analysis.studies.akil2021.manifold import starts
from analysis.studies.akil2021.measured import Array, largest, networks, over_seeds
from analysis.studies.study import Bounds, Claim, Parts
from mpi_engine.experiment import HebbianSoft

STRUCTURE, DISTRIBUTIONS = "Structure across the network", "Distributions of rates and weights"
SETTLED_MS = 2000.0
FASTEST = "median weight of the fastest quarter of synapses over the largest"


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
            slope(w.sample[-1] / w.scale, run.firing_rates_hz("I")[w.sample_source]),
            f"{len(w.sample_source)} synapses",
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
            slope(w.sample[-1] / w.scale, degree),
            f"{len(degree)} synapses",
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
        ("soft", FASTEST, f"{figure}: a peak at the largest", Bounds.around(1.0, share=0.05), median_of_fastest),
    )
    for name, quantity, source, bounds, measure in rows:
        over = f"{len(found[name])} seeds"
        yield Claim(DISTRIBUTIONS, f"{quantity}: {name}", source, bounds, over_seeds(found[name], measure), over)


def random_walk(parts: Parts) -> Iterator[Claim]:
    """Under the classical rule weights diffuse."""
    runs = largest(networks(parts["sizes"])["hard"])
    elapsed_ms, gained = zip(*(_gained_variance(run) for run in runs), strict=True)
    yield Claim(
        DISTRIBUTIONS,
        "variance of weights that is gained after 2 s, exponent of time: hard",
        "the classical rule has no drift: a random walk until weights reach the bounds",
        Bounds.around(1.0, reach=0.1),
        exponent(elapsed_ms[0].tolist(), np.column_stack(gained)),
        f"{len(runs)} seeds",
    )


def _gained_variance(run: Run) -> tuple[Array, Array]:
    """Variance of E to E beyond that at 2 s, from a second later on: times [ms] and values."""
    w = run.weights("E_to_E")
    begin = int(np.searchsorted(w.time_ms, SETTLED_MS))
    elapsed_ms, gained = w.time_ms - w.time_ms[begin], w.variance - w.variance[begin]
    later = elapsed_ms >= 1000.0
    return elapsed_ms[later], gained[later]


def spread_of_rates(run: Run) -> float:
    """SD of the rates of E over that of I."""
    return float(run.firing_rates_hz("E").std() / run.firing_rates_hz("I").std())


def skewness(run: Run) -> float:
    """Skewness of the weights of E to E at the end."""
    w = run.weights("E_to_E")
    return shape_of(w.histogram[-1], w.edges).skewness


def median_of_fastest(run: Run) -> float:
    """Median of the sampled weights in the quarter of synapses whose neurons fire most, over the rule's largest."""
    w, rule, rates = run.weights("E_to_E"), run.experiment.plasticity["soft"], run.firing_rates_hz("E")
    assert isinstance(rule, HebbianSoft)
    together = rates[w.sample_source] * rates[w.sample_target]
    fastest = w.sample[-1][together >= np.quantile(together, 0.75)]
    return float(np.median(fastest)) / w.scale / rule.weight_max_mv
