"""Where learning loses its stability."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from analysis.confidence import Interval, t_interval
from analysis.runs import Run
from analysis.scaling import exponent
from analysis.studies.akil2021.measured import felt_weight, in_blocks, predicted_weight, rules_of
from analysis.studies.study import Bounds, Caveat, Claim, Parts
from mpi_engine.experiment import HebbianHard, Homeostatic, Kohonen

STABILITY = "Correlations and stability"
FIGURE = "Fig. of both inhibitory rules: slow I→E is unstable"

RUNAWAY_S, RUNAWAY_RATE_MV, RUNAWAY_SIZE = 220.0, 0.005, 5000
"""When the paper's network with the classical rule runs away, at which learning rate, and its N."""


def limit_of_kohonen(parts: Parts) -> Iterator[Claim]:
    """Kohonen's rule loses stability at a beta far below that at which theory has no fixed point any more."""
    runs = parts["kohonen_stability"].runs.values()
    stable = [beta_mv(run) for run in runs if run.finished]
    unstable = [beta_mv(run) for run in runs if not run.finished]
    if not stable or not unstable:
        raise ValueError(f"all {len(runs)} networks are {'stable' if stable else 'unstable'}; take other betas")
    low, high = sorted((max(stable), min(unstable)))     # of several seeds, a beta may be both
    found = Interval((low + high) / 2, low, high, np.nan)
    for source, bounds in (("simulated at N = 5000: 3.3 to 3.6 mV", Bounds(3.3, 3.6)),
                           ("saddle-node of theory: 8.04 mV", Bounds(high=8.04))):
        yield Claim(STABILITY, "kohonen: β between the largest stable and the smallest unstable network", source,
                    bounds, found, "values of β", "mV")


def below_theory(parts: Parts) -> Iterator[Claim]:
    """Mean weights under Kohonen's rule stay below the fixed point of theory."""
    for run in sorted(parts["kohonen_stability"].runs.values(), key=beta_mv):
        if run.finished and beta_mv(run) > 2:
            w = run.weights("E_to_E")
            late = w.mean[w.time_ms > run.start_ms] / w.scale
            yield Claim(
                STABILITY,
                f"kohonen: mean weight over the fixed point of theory, β = {beta_mv(run):g} mV, "
                f"seed {run.experiment.seed.base}",
                "Fig. of the stability of Kohonen's rule: 2.9 of 3.66 at 2.4, 4.2 of 5.41 at 3.4 mV",
                Bounds(0.6, 1.0),
                t_interval(in_blocks(late / predicted_weight(run, "E_to_E"))),
                "blocks of time",
            )


def beta_mv(run: Run) -> float:
    """Parameter of Kohonen's rule [mV]."""
    rule = run.experiment.plasticity["kohonen"]
    assert isinstance(rule, Kohonen)
    return rule.beta_mv


def without_bounds(parts: Parts) -> Iterator[Claim]:
    """Weights of the classical rule spread until the network runs away, unless they have bounds.

    They walk at random: their variance, as named, is in proportion to eta^2 N t, and decides when.
    """
    figure = "Fig. of classical, hard and soft rules"
    runs = sorted(parts["unbounded"].runs.values(), key=lambda run: run.experiment.seed.base)
    free, bounded = ([run for run in runs if rules_of(run) == name] for name in ("classical", "hard"))
    rows = (("without bounds", free, "it explodes", Bounds(low=1.0)),
            ("between 0 and 50 mV", bounded, "bounds hold it", Bounds(high=0.0)))
    for name, some, source, expected in rows:
        yield _share_that_runs_away(f"classical rule {name}", some, f"{figure}: {source}", expected)
    etas = sorted({classical_rate_mv(run) for run in free})
    times_ms = np.array([[run.recorded_ms for run in free if classical_rate_mv(run) == eta] for eta in etas])
    yield Claim(STABILITY, "classical rule without bounds: time until the network runs away, exponent of learning rate",
                "-2 for a random walk of weights; -1 for a drift", Bounds.around(-2.0, reach=0.5),
                exponent(etas, times_ms), f"{len(times_ms[0])} seeds")
    walk = 1e3 * RUNAWAY_S * RUNAWAY_RATE_MV**2 * RUNAWAY_SIZE
    walks = (times_ms * np.square(etas)[:, None] * free[0].experiment.n_neurons / walk).mean(axis=0)
    yield Claim(STABILITY, "classical rule without bounds: η² N t when the network runs away, over the paper's",
                f"{figure}: one run, 220 s; to a factor of two", Bounds(0.5, 2.0), t_interval(walks),
                f"{len(walks)} seeds, each the mean of its learning rates")


def _share_that_runs_away(what: str, runs: Sequence[Run], source: str, expected: Bounds) -> Claim:
    share = float(np.mean([not run.finished for run in runs]))
    measured = Interval(share, share, share, 0.0)
    return Claim(STABILITY, f"{what}: share of networks that run away", source, expected, measured, f"{len(runs)} runs")


def classical_rate_mv(run: Run) -> float:
    """Learning rate of the classical rule [mV]."""
    rule = run.experiment.plasticity["classical"]
    assert isinstance(rule, HebbianHard)
    return rule.learning_rate_mv


def limit_of_inhibition(parts: Parts) -> Iterator[Claim]:
    """Homeostatic inhibition of both populations is stable if that of E is not much the slower."""
    for name, ratio in (("equally fast", 1.0), ("I→E faster", 10.0), ("I→E slower", 0.1)):
        runs = [run for run in parts["inhibition_stability"].runs.values() if np.isclose(learning_ratio(run), ratio)]
        over, what = f"{len(runs)} seeds", f"homeostatic of E and I, {name}"
        if ratio < 1:
            yield _share_that_runs_away(what, runs, FIGURE, Bounds(low=1.0))
            continue
        early, late = ([off_target(run, half) for run in runs] for half in (0, 1))
        yield Claim(STABILITY, f"{what}: distance of E's rate from its target, second half of the run over the first",
                    FIGURE, Bounds(high=0.5), t_interval(np.divide(late, early)), over)
        rings = Caveat("it must be half of what it was in the first half of the run, if what is left is a damped "
                       "oscillation", Bounds(high=0.5 * float(np.mean(early))))
        yield Claim(STABILITY, f"{what}: this distance in the second half, as a share of the target", FIGURE,
                    Bounds(high=0.05), t_interval(late), over, caveat=rings)
        for projection in ("I_to_E", "I_to_I"):
            ratios = [felt_weight(run, projection) / predicted_weight(run, projection, True) for run in runs]
            yield Claim(STABILITY, f"{what}: ⟨J r⟩/⟨r⟩ of {projection} over the prediction",
                        "fixed point of rules and balance, with the measured net input", Bounds.around(1.0, share=0.05),
                        t_interval(ratios), over)


def learning_ratio(run: Run) -> float:
    """Learning rate of I to E over that of I to I."""
    rates = []
    for name in ("homeostatic", "homeostatic_of_I"):
        rule = run.experiment.plasticity[name]
        assert isinstance(rule, Homeostatic)
        rates.append(rule.learning_rate_mv)
    return rates[0] / rates[1]


def off_target(run: Run, half: int, target_hz: float = 10.0) -> float:
    """Root of the mean square distance of E's rate, in seconds, from its target, relative to it, in a half of the run.

    It is 1 if the network ran away.
    """
    if not run.finished:
        return 1.0
    rates = run.rates("E")
    series = np.array_split(rates.rate_hz, 2)[half]
    per_second = round(1000.0 / rates.bin_ms)
    seconds = series[: len(series) // per_second * per_second].reshape(-1, per_second).mean(axis=1)
    return float(np.sqrt(((seconds / target_hz - 1) ** 2).mean()))
