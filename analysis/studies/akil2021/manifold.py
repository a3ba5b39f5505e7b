"""Homeostatic weights end on a manifold of fixed points, others at one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from analysis.confidence import bootstrap, t_interval
from analysis.findings import Findings
from analysis.runs import Run
from analysis.structure import input_parts, slope
from analysis.studies.akil2021.measured import (
    BLOCKS,
    CORRELATION,
    Array,
    felt_weight,
    in_blocks,
    mean_between,
    mean_weight,
    predicted_weight,
)
from analysis.studies.study import Bounds, Caveat, Claim, Parts, finished

MANIFOLD = "Weights converge to a stable manifold that depends on initial conditions"
UNIQUE = "Rules without a manifold have one fixed point"


def starts(parts: Parts, c: float) -> list[Run]:
    """Give runs of one network from all initial weights, the strongest inhibition first."""
    runs = finished(parts["manifold"].where({CORRELATION: c}))
    same = [run for run in runs if run.experiment.seed.base == runs[0].experiment.seed.base]
    return sorted(same, key=lambda run: run.experiment.named_weight("I_to_E"))


def converged(parts: Parts) -> Iterator[Claim]:
    """From many initial weights: one rate, one felt weight, and mean weights in the order of the initial ones."""
    for c in (0.0, 0.1):
        runs = starts(parts, c)
        over, means = f"blocks of time, {len(runs)} starts", _means_over_time(runs)
        rates, felt = bootstrap(_spread, _rates_over_time(runs)), bootstrap(_spread, _felt_over_time(runs))
        theory = _spread(np.array([[predicted_weight(run, "I_to_E", True) for run in runs]]))
        caveat = Caveat(f"the net inputs that these networks keep, which vanish as 1/√N, differ, and spread theory's "
                        f"weights by {theory:.3f}", Bounds(high=0.02 + theory))
        yield Claim(MANIFOLD, f"rates of E, largest distance from their mean, c = {c:g}",
                    "Fig. of initial weights: the rule fixes rates", Bounds(high=0.02), rates, over)
        yield Claim(MANIFOLD, f"⟨J r⟩/⟨r⟩ of I→E, largest distance from their mean, c = {c:g}", "and the weighted sum",
                    Bounds(high=0.02), felt, over, caveat=caveat)
        yield Claim(MANIFOLD, f"mean weights of I→E, range over mean, c = {c:g}", "but not the mean: -172 to -76 mV",
                    Bounds(low=0.1), bootstrap(_range, means, BLOCKS), over)
        yield Claim(MANIFOLD, f"mean weights, smallest step in the order of the initial ones, c = {c:g}",
                    "final weights are monotone in the initial ones", Bounds(low=0.0),
                    bootstrap(_smallest_step, means, BLOCKS), over, "mV")


def traded(parts: Parts) -> Iterator[Claim]:
    """What the mean weight lacks, the covariance of weights and rates makes up."""
    for c in (0.0, 0.1):
        found = [input_parts(run, "I_to_E", run.start_ms) for run in starts(parts, c)]
        fit = slope(np.array([part.covariance for part in found]), np.array([part.mean_field for part in found]))
        yield Claim(MANIFOLD, f"input to E by covariance against that by mean weights, slope over starts, c = {c:g}",
                    "⟨J r⟩ = ⟨J⟩⟨r⟩ + cov(J, r) is constant", Bounds.around(-1.0, reach=0.1), fit,
                    f"{len(found)} starts")


def predicted(parts: Parts) -> Iterator[Claim]:
    """Theory predicts the felt weight, given the net input that the network keeps."""
    for c in (0.0, 0.1):
        ratios = [felt_weight(run, "I_to_E") / predicted_weight(run, "I_to_E", True) for run in starts(parts, c)]
        yield Claim(MANIFOLD, f"⟨J r⟩/⟨r⟩ of I→E over the prediction, c = {c:g}",
                    "fixed point of rule and balance, with the measured net input", Bounds.around(1.0, share=0.05),
                    t_interval(ratios), f"{len(ratios)} starts")


def perturbed(parts: Parts) -> Iterator[Claim]:
    """Weights that are all shifted return to the manifold, and not to the point from which they came."""
    part, key = parts["perturbation"], "plasticity.shift.drift"
    drifts = sorted({tuple(run.experiment.plasticity["shift"].drift) for run in part.runs.values()})  # type: ignore[union-attr]
    shifted, left = (finished(part.where({key: list(drift)})) for drift in drifts)
    pairs, over = list(zip(shifted, left, strict=True)), f"{len(left)} pairs of runs"
    shift_ms = shifted[0].experiment.plasticity["shift"].schedule[-1].start_ms
    soon, late = (shift_ms, shift_ms + 500.0), (0.8 * shifted[0].stop_ms, shifted[0].stop_ms)
    at_once, at_last = ([mean_between(a, "E", None, *when) / mean_between(b, "E", None, *when) for a, b in pairs]
                        for when in (soon, late))
    felt = [_felt_late(a) / _felt_late(b) for a, b in pairs]
    apart = [_mean_late(a) - _mean_late(b) for a, b in pairs]
    yield Claim(MANIFOLD, "rate of E right after a shift of all weights, over that without it", "off the manifold",
                Bounds(high=0.8), t_interval(at_once), over)
    yield Claim(MANIFOLD, "rate of E at the end, over that without the shift", "back on the manifold",
                Bounds.around(1.0, share=0.02), t_interval(at_last), over)
    yield Claim(MANIFOLD, "⟨J r⟩/⟨r⟩ of I→E at the end, over that without the shift", "back on the manifold",
                Bounds.around(1.0, share=0.02), t_interval(felt), over)
    yield Claim(MANIFOLD, "mean weight of I→E at the end, less that without the shift",
                "elsewhere on it: weights from slow sources keep the shift", Bounds(high=0.0), t_interval(apart), over,
                "mV")


def unique(parts: Parts) -> Iterator[Claim]:
    """Kohonen's rule ends at the same mean weight from all initial ones."""
    runs = finished(parts["kohonen_starts"].runs.values())
    first, last = (choose(run.experiment.named_weight("E_to_E") for run in runs) for choose in (min, max))
    low, high = (finished(run for run in runs if run.experiment.named_weight("E_to_E") == start)
                 for start in (first, last))
    apart = [mean_weight(b, "E_to_E") - mean_weight(a, "E_to_E") for a, b in zip(low, high, strict=True)]
    left = np.array(apart) / (last - first)
    yield Claim(UNIQUE, f"kohonen: share of the distance of starts at {first:g} and {last:g} mV that is left",
                "Fig. of initial weights of Kohonen's rule: a unique fixed point, with a slow tail", Bounds(high=0.2),
                t_interval(left), f"{len(left)} seeds")


def _rates_over_time(runs: Sequence[Run]) -> Array:
    """Rate of E in blocks of time after the burn-in [blocks, runs]."""
    return np.column_stack([in_blocks(Findings(run).series("E")) for run in runs])


def _felt_over_time(runs: Sequence[Run]) -> Array:
    """Rate-weighted mean weight of I to E in blocks of time after the burn-in [blocks, runs], in mV."""
    return np.column_stack([felt_weight(run, "I_to_E") * _current_over_rate(run) for run in runs])


def _current_over_rate(run: Run) -> Array:
    """Inhibitory current a presynaptic spike in blocks of time [blocks], relative to its mean."""
    found = Findings(run)
    current, rate = in_blocks(found.series("E", "I_inhibitory")), in_blocks(found.series("I"))
    relative: Array = (current / rate) / (current.mean() / rate.mean())
    return relative


def _means_over_time(runs: Sequence[Run]) -> Array:
    """Mean weight of I to E at the records of the last fifth [W, runs], in mV."""
    columns = []
    for run in runs:
        w = run.weights("I_to_E")
        columns.append((w.mean / w.scale)[w.time_ms > 0.8 * run.stop_ms])
    return np.column_stack(columns)


def _felt_late(run: Run) -> float:
    return Findings(run, burn_in=0.8).felt_weight_mv("I_to_E")


def _mean_late(run: Run) -> float:
    return float(_means_over_time([run]).mean())


def _spread(values: Array) -> float:
    """Largest distance of a run's mean from the mean over runs, relative to it."""
    means = values.mean(axis=0)
    return float(np.abs(means / means.mean() - 1).max())


def _range(values: Array) -> float:
    means = values.mean(axis=0)
    return float(np.ptp(means) / abs(means.mean()))


def _smallest_step(values: Array) -> float:
    return float(np.diff(values.mean(axis=0)).min())
