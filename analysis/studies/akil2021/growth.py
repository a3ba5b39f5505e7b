"""Rates, weights and covariances as networks grow, and what recurrent weights make of them: the theory of balance."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from analysis.confidence import t_interval
from analysis.correlations import pair_statistics
from analysis.runs import Run
from analysis.scaling import exponent, limit
from analysis.spikes import window_counts
from analysis.studies.akil2021.balance import IN_BURSTS
from analysis.studies.akil2021.measured import (
    INHIBITION,
    Array,
    by_size,
    felt_weight,
    largest,
    networks,
    over_seeds,
    predicted_weight,
    rate_hz,
    table,
)
from analysis.studies.study import Bounds, Claim, Parts, finished
from analysis.theory.balance import balanced_rates, mean_field
from analysis.theory.covariance import correlated_count_covariance
from analysis.theory.plasticity import fixed_point

GROWING = "Rates, weights and covariances against N"
STATIC = "Recurrent weights change rates and covariances as theory says"

WITH_COVARIANCES = ("no plasticity", "kohonen", "no plasticity, c = 0.1", IN_BURSTS)
"""Networks whose covariances are followed over N."""

WINDOW_MS = 50.0
SETTLED = 0.2
"""Share of a run after which its spike trains are stationary; weights that matter for covariances settle later."""


def rates_in_the_limit(parts: Parts) -> Iterator[Claim]:
    """Rates approach those of balance, with a correction of order 1/√N."""
    sizes = by_size(networks(parts["sizes"])["no plasticity"])
    e = next(iter(sizes.values()))[0].experiment
    for population, expected in zip(e.populations, 1e3 * balanced_rates(mean_field(e)), strict=True):
        yield Claim(
            GROWING,
            f"rate of {population} without plasticity, extrapolated to infinite N",
            "r = -W⁻¹ W_X r_X, approached as 1/√N",
            Bounds.around(float(expected), share=0.05),
            limit(list(sizes), table(sizes, partial(rate_hz, population=population))),
            f"seeds, N = {', '.join(map(str, sizes))}",
            "Hz",
        )


def weights_in_the_limit(parts: Parts) -> Iterator[Claim]:
    """The weights that neurons feel approach the fixed point of rule and balance together."""
    sizes = by_size(networks(parts["sizes"])["homeostatic"])
    e = next(iter(sizes.values()))[0].experiment
    yield Claim(GROWING, "⟨J r⟩/⟨r⟩ of I_to_E, extrapolated to infinite N: homeostatic",
                "fixed point of the mean weight equation in balance",
                Bounds.around(fixed_point(e).weights_mv["I_to_E"], share=0.05),
                limit(list(sizes), table(sizes, partial(felt_weight, projection="I_to_E"))),
                f"seeds, N = {', '.join(map(str, sizes))}", "mV")


def targets(parts: Parts) -> Iterator[Claim]:
    """Inhibition of E and excitation of I together hold both rates where the rules want them."""
    name, source = "homeostatic + homeostatic_from_E", "fixed point of both rules"
    runs = largest(networks(parts["sizes"])[name])
    e, over = runs[0].experiment, f"{len(runs)} seeds, N = {runs[0].experiment.n_neurons}"
    for population, expected in fixed_point(e).rates_hz.items():
        yield Claim(GROWING, f"rate of {population}: {name}", source, Bounds.around(expected, share=0.05),
                    over_seeds(runs, partial(rate_hz, population=population)), over, "Hz")
    for projection in e.plastic:
        ratios = [felt_weight(run, projection) / predicted_weight(run, projection, True) for run in runs]
        yield Claim(GROWING, f"⟨J r⟩/⟨r⟩ of {projection} over the prediction: {name}",
                    f"{source} and balance, with the measured net input; to a tenth, for a rate off its target by a "
                    "twentieth moves the weight by more", Bounds.around(1.0, share=0.1), t_interval(ratios), over)


def covariances(parts: Parts) -> Iterator[Claim]:
    """Covariances fall as 1/N with independent input, under plasticity too, and do not with correlated input."""
    found = {name: by_size(runs) for name, runs in networks(parts["sizes"]).items()}
    for pair in ("EE", "II"):
        slopes = {}
        for name in WITH_COVARIANCES:
            sizes = found[name]
            values = table(sizes, partial(covariance, pair=pair))
            slopes[name] = _exponents(list(sizes), values)
            yield Claim(
                GROWING,
                f"count covariance of {pair[0]} with {pair[1]}, exponent of N: {name}",
                "of order 1/N in the asynchronous state, of order one in the correlated",
                Bounds.around(0.0 if "c =" in name else -1.0, reach=0.15),
                exponent(list(sizes), values),
                f"{values.shape[1]} seeds, windows of {WINDOW_MS:g} ms",
            )
        yield Claim(
            GROWING,
            f"count covariance of {pair[0]} with {pair[1]}, exponent with independent less that with correlated input",
            "a factor 1/N apart, what both have in common left out",
            Bounds.around(-1.0, reach=0.25),
            t_interval(slopes["no plasticity"] - slopes["no plasticity, c = 0.1"]),
            "pairs of seeds",
        )


def _exponents(sizes: list[int], values: Array) -> Array:
    """Exponent of each seed [R]."""
    return np.array([exponent(sizes, column[:, None]).value for column in values.T])


def covariance(run: Run, pair: str, window_ms: float = WINDOW_MS) -> float:
    """Mean count covariance of pairs of neurons, one of each of two populations."""
    counts = []
    for name in pair:
        spikes, size, start_ms = run.spikes(name), run.experiment.sizes[name], SETTLED * run.stop_ms
        counts.append(window_counts(spikes.times_ms, spikes.ids, size, start_ms, run.stop_ms, window_ms))
    return pair_statistics(counts[0], None if pair[0] == pair[1] else counts[1]).covariance


def static_networks(parts: Parts) -> Iterator[Claim]:
    """Stronger recurrent excitation, and weaker inhibition, raise rates and covariances as in theory."""
    excitation = "projections.E_to_E.weight_mv"
    weak, strong = {INHIBITION: -100.0, excitation: 1.0}, {INHIBITION: -100.0, excitation: 20.0}
    inhibited, released = {INHIBITION: -150.0, excitation: 25.0}, {INHIBITION: -100.0, excitation: 25.0}
    changes = (("E→E from 1 to 20 mV", weak, strong), ("I→E from -150 to -100 mV", inhibited, released))
    for name, before, after in changes:
        pairs = list(zip(*(finished(parts["static"].where(setting)) for setting in (before, after)), strict=True))
        over = f"{len(pairs)} pairs of runs"
        expected = [in_balance(run) for run in pairs[0]]
        for quantity, measure in (("rate", rate_hz), ("covariance", partial(covariance, pair="EE", window_ms=250.0))):
            ratio = expected[1][quantity] / expected[0][quantity]
            yield Claim(
                STATIC,
                f"{quantity} of E, after over before: {name}",
                f"balance at infinite N: {ratio:.3g}; less here, but more than one",
                Bounds(1.0, ratio),
                t_interval([measure(b) / measure(a) for a, b in pairs]),
                over,
            )


def in_balance(run: Run) -> dict[str, float]:
    """Compute the rate of E [Hz] and the count covariance of E in 250 ms in an infinite network."""
    field = mean_field(run.experiment)
    covariance_ = correlated_count_covariance(run.experiment, field, 250.0)
    return {"rate": 1e3 * float(balanced_rates(field)[0]), "covariance": float(covariance_[0, 0])}
