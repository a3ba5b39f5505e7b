"""Weights across the network: on which degrees and rates they depend, and how they are distributed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.runs import Run
from analysis.scaling import exponent
from analysis.structure import shape_of, slope
from analysis.studies.akil2021.manifold import starts
from analysis.studies.akil2021.measured import largest, networks, over_seeds
from analysis.studies.study import Bounds, Claim, Parts
from mpi_engine.experiment import HebbianSoft

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
        ("soft", "median weight over the largest", f"{figure}: a peak there", Bounds.around(1.0, share=0.05), median),
    )
    for name, quantity, source, bounds, measure in rows:
        over = f"{len(found[name])} seeds"
        yield Claim(DISTRIBUTIONS, f"{quantity}: {name}", source, bounds, over_seeds(found[name], measure), over)


def random_walk(parts: Parts) -> Iterator[Claim]:
    """Under the classical rule weights diffuse."""
    weights = [run.weights("E_to_E") for run in largest(networks(parts["sizes"])["hard"])]
    late = weights[0].time_ms >= SETTLED_MS
    yield Claim(
        DISTRIBUTIONS,
        "variance of weights, exponent of time: hard",
        "the classical rule has no drift: a random walk until weights reach the bounds",
        Bounds.around(1.0, reach=0.1),
        exponent(weights[0].time_ms[late].tolist(), np.column_stack([w.variance[late] for w in weights])),
        f"{len(weights)} seeds",
    )


def spread_of_rates(run: Run) -> float:
    """SD of the rates of E over that of I."""
    return float(run.firing_rates_hz("E").std() / run.firing_rates_hz("I").std())


def skewness(run: Run) -> float:
    """Skewness of the weights of E to E at the end."""
    w = run.weights("E_to_E")
    return shape_of(w.histogram[-1], w.edges).skewness


def median(run: Run) -> float:
    """Median weight of E to E at the end, over the largest that the soft rule knows."""
    w, rule = run.weights("E_to_E"), run.experiment.plasticity["soft"]
    assert isinstance(rule, HebbianSoft)
    return shape_of(w.histogram[-1], w.edges).quartiles[1] / w.scale / rule.weight_max_mv
