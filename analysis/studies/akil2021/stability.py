"""Where learning loses its stability."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.confidence import Interval, t_interval
from analysis.runs import Run
from analysis.studies.akil2021.measured import mean_weight, predicted_weight
from analysis.studies.study import Bounds, Claim, Parts
from mpi_engine.experiment import Homeostatic, Kohonen

STABILITY = "Correlations and stability"


def limit_of_kohonen(parts: Parts) -> Iterator[Claim]:
    """Kohonen's rule loses stability at a beta far below that at which theory has no fixed point any more."""
    runs = parts["kohonen_stability"].runs.values()
    stable = [beta_mv(run) for run in runs if run.finished]
    unstable = [beta_mv(run) for run in runs if not run.finished]
    if not stable or not unstable:
        raise ValueError(f"all {len(runs)} networks are {'stable' if stable else 'unstable'}; take other betas")
    low, high = max(stable), min(unstable)
    yield Claim(
        STABILITY,
        "kohonen: β between the largest stable and the smallest unstable network",
        "simulated: 3.3 to 3.6 mV at N = 5000; saddle-node of theory: 8.04 mV",
        Bounds(2.8, 4.0),
        Interval((low + high) / 2, low, high, np.nan),
        "values of β",
        "mV",
    )


def below_theory(parts: Parts) -> Iterator[Claim]:
    """Mean weights under Kohonen's rule stay below the fixed point of theory."""
    for run in sorted(parts["kohonen_stability"].runs.values(), key=beta_mv):
        if run.finished and beta_mv(run) > 2:
            ratio = mean_weight(run, "E_to_E") / predicted_weight(run, "E_to_E")
            yield Claim(
                STABILITY,
                f"kohonen: mean weight over the fixed point of theory, β = {beta_mv(run):g} mV",
                "Fig. of the stability of Kohonen's rule: 2.9 of 3.66 at 2.4, 4.2 of 5.41 at 3.4 mV",
                Bounds(0.6, 1.0),
                Interval(ratio, ratio, ratio, 0.0),
                "",
            )


def beta_mv(run: Run) -> float:
    """Parameter of Kohonen's rule [mV]."""
    rule = run.experiment.plasticity["kohonen"]
    assert isinstance(rule, Kohonen)
    return rule.beta_mv


def limit_of_inhibition(parts: Parts) -> Iterator[Claim]:
    """Homeostatic inhibition of both populations is stable if that of E is not much the slower."""
    rows = (("equally fast", 1.0, Bounds(high=0.05)), ("I→E faster", 10.0, Bounds(high=0.05)),
            ("I→E slower", 0.1, Bounds(low=0.1)))  # fmt: skip
    for name, ratio, bounds in rows:
        runs = [run for run in parts["inhibition_stability"].runs.values() if np.isclose(learning_ratio(run), ratio)]
        yield Claim(
            STABILITY,
            f"homeostatic of E and I, {name}: distance of E's rate from its target, as a share",
            "Fig. of both inhibitory rules: slow I→E is unstable",
            bounds,
            t_interval([off_target(run) for run in runs]),
            f"{len(runs)} seeds",
        )


def learning_ratio(run: Run) -> float:
    """Learning rate of I to E over that of I to I."""
    rates = []
    for name in ("homeostatic", "homeostatic_of_I"):
        rule = run.experiment.plasticity[name]
        assert isinstance(rule, Homeostatic)
        rates.append(rule.learning_rate_mv)
    return rates[0] / rates[1]


def off_target(run: Run, target_hz: float = 10.0) -> float:
    """Root of the mean square distance of E's rate, in seconds, from its target, relative to it; 1 if it ran away."""
    if not run.finished:
        return 1.0
    rates = run.rates("E")
    late = rates.rate_hz[rates.times_ms >= run.start_ms]
    per_second = round(1000.0 / rates.bin_ms)
    seconds = late[: len(late) // per_second * per_second].reshape(-1, per_second).mean(axis=1)
    return float(np.sqrt(((seconds / target_hz - 1) ** 2).mean()))
