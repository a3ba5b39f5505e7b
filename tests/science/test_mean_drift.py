"""The mean weight of a projection under pair rules with random coefficients against the mean weight equation."""

from __future__ import annotations

from math import sqrt
from pathlib import Path

import numpy as np
import pytest

from analysis.theory.plasticity import weight_drift
from mpi_engine.experiment import Experiment
from mpi_engine.output.reader import RunReader, open_run
from mpi_engine.run.job import run
from tests.science.ensembles import Ensemble
from tests.science.reference import FINEST

SIZES = {"populations.E.size": 1600, "populations.I.size": 400, "inputs.X.size": 400}
WEIGHT_MV = 25.0
BURN_IN_MS, STOP_MS, INTERVAL_MS = 500.0, 3000.0, 250.0
TAU_PRE_MS, TAU_POST_MS = 100.0, 200.0
TERMS = ("drift", "a_pre", "b_pre", "a_post", "b_post")


def random_coefficients(seed: int) -> dict[str, list[float]]:
    """Draw coefficients by which each term changes weights by some thousandths, so that rates stay as they are."""
    rate_khz, weight_mv = 6e-3, WEIGHT_MV / sqrt(2000)
    averages = (1.0, rate_khz, TAU_POST_MS * rate_khz**2, rate_khz, TAU_PRE_MS * rate_khz**2)
    drawn = np.random.default_rng(seed).uniform(-5e-3, 5e-3, (len(TERMS), 2))
    changes = {term: of_term / average / STOP_MS for term, average, of_term in zip(TERMS, averages, drawn, strict=True)}
    return {term: [float(constant * weight_mv), float(slope)] for term, (constant, slope) in changes.items()}


def describe(seed: int) -> Experiment:
    coefficients = ", ".join(f"{term}={values}" for term, values in random_coefficients(seed).items())
    changes = (
        *(f"{key}={size}" for key, size in SIZES.items()),
        f"plasticity.random={{rule='pair', tau_pre_ms={TAU_PRE_MS}, tau_post_ms={TAU_POST_MS}, {coefficients}}}",
        "projections.E_to_E.plasticity=random",
        f"projections.E_to_E.weight_mv={WEIGHT_MV}",
        f"recording.weights.interval_ms={INTERVAL_MS}",
    )
    return Ensemble({"learning": (BURN_IN_MS, STOP_MS)}, changes).experiment(seed)


def rates_at_synapses(recorded: RunReader) -> tuple[float, float]:
    """Mean rate of the sources and of the targets of synapses [Hz]."""
    degrees, spikes = recorded.degrees("E_to_E"), recorded.spikes("E")
    later = spikes.ids[spikes.times_ms > BURN_IN_MS]
    per_hz = 1e3 / (STOP_MS - BURN_IN_MS) / degrees.in_degree.sum()
    return per_hz * degrees.out_degree[later].sum(), per_hz * degrees.in_degree[later].sum()


def contributions(e: Experiment, weight_mv: float, r_pre: float, r_post: float) -> dict[str, float]:
    """Drift of the mean weight by each term alone [mV/ms, as named]."""
    found = {}
    for term in TERMS:
        others = {other: [0.0, 0.0] for other in TERMS if other != term}
        alone = e.model_copy(update={"plasticity": {"random": e.plasticity["random"].model_copy(update=others)}})
        # from E to E there is one rate in theory; sources and targets of a drawn network differ a little
        rate = {"a_pre": r_pre, "a_post": r_post}.get(term, sqrt(r_pre * r_post))
        found[term] = weight_drift(alone, {"E_to_E": weight_mv}, dict.fromkeys(e.sizes, rate))["E_to_E"]
    return found


@pytest.mark.science
def test_mean_weights_drift_as_the_mean_weight_equation_says(tmp_path: Path) -> None:
    """To 2 % of the terms' sizes, which mostly cancel.

    Theory leaves out that a synapse drives its target: a spike of J = 0.56 mV causes some thousandths of another, where
    tau r is about one.
    """
    for seed in range(1, 5):
        e = describe(seed)
        run(e, tmp_path / str(seed))
        recorded = open_run(tmp_path / str(seed))
        weights = recorded.weights("E_to_E")
        time_ms, mean_mv = weights.time_ms, weights.mean / weights.scale
        begin = int(np.searchsorted(time_ms, BURN_IN_MS - 0.5 * e.run.dt_ms))
        measured = (mean_mv[-1] - mean_mv[begin]) / (time_ms[-1] - time_ms[begin])
        expected = contributions(e, (mean_mv[-1] + mean_mv[begin]) / 2, *rates_at_synapses(recorded))
        total, size = sum(expected.values()), sum(map(abs, expected.values()))
        print(f"{seed}: measured {measured:+.4e}, theory {total:+.4e}, terms {size:.4e}, "
              f"difference {(measured - total) / size:+.2%}")
        assert abs(measured - total) <= FINEST * size
