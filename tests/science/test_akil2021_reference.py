"""Whole networks of Akil et al. (2021) against the reference: rates, currents, correlations and learned weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from math import sqrt
from multiprocessing import get_context

import numpy as np
import pytest

from tests.science.ensembles import WINDOW_MS, Ensemble, Measured, run_seeds
from tests.science.reference import ERRORS, FINEST, Array, Comparison, Sample, reference_means, reference_runs

LEARNING = {
    "homeostatic": ("projections.I_to_E.plasticity=rule", "plasticity.rule={rule='homeostatic', tau_ms=200.0, "
                    "learning_rate_mv=0.005, target_rate_hz=10.0, weight_norm_mv=-200.0}"),
    "kohonen": ("projections.E_to_E.plasticity=rule", "plasticity.rule={rule='kohonen', tau_ms=200.0, "
                "learning_rate=0.1, beta_mv=2.0}"),
    "soft": ("projections.E_to_E.plasticity=rule", "plasticity.rule={rule='hebbian_soft', tau_ms=200.0, "
             "learning_rate=0.01, weight_max_mv=25.0}"),
    "hard": ("projections.E_to_E.plasticity=rule", "plasticity.rule={rule='hebbian_hard', tau_ms=200.0, "
             "learning_rate_mv=0.001, weight_min_mv=0.0, weight_max_mv=50.0}"),
}


def weights(**named_mv: float) -> tuple[str, ...]:
    """Settings of initial weights."""
    return tuple(f"projections.{projection}.weight_mv={weight}" for projection, weight in named_mv.items())


ENSEMBLES = [
    Ensemble({"static_c0": (5e3, 20e3)}),
    Ensemble({"static_c0.1": (5e3, 20e3)}, ("inputs.X.correlation=0.1",)),
    Ensemble({"koh_c0_j5": (10e3, 20e3)}, (*LEARNING["kohonen"], *weights(E_to_E=5.0, I_to_E=-100.0))),
    Ensemble({"soft_c0_j20": (20e3, 30e3)}, (*LEARNING["soft"], *weights(E_to_E=20.0, I_to_E=-100.0))),
    Ensemble({"hard_c0": (5e3, 15e3)}, LEARNING["hard"]),
    Ensemble({"ei_c0_j150_s2": (10e3, 20e3), "ei_c0_j150_s1": (40e3, 60e3)}, LEARNING["homeostatic"]),
    Ensemble({"ei_c0_j60_s1": (10e3, 20e3)}, (*LEARNING["homeostatic"], *weights(I_to_E=-60.0))),
]
NETWORKS = {name: ensemble for ensemble in ENSEMBLES for name in ensemble.intervals_ms}

STATIC = [name for name in NETWORKS if name.startswith("static")]
PLASTIC = [name for name in NETWORKS if name not in STATIC]

SIZES = {"E": 4000, "I": 1000}

RATES = ["rate_E", "rate_I"]
CURRENTS = ["from_E", "from_I", "from_X", "net"]
CORRELATIONS = ["corr_EE", "corr_EI", "corr_II"]
WEIGHTS = ["weight", "weight_sd"]

Measure = Callable[[Ensemble], list[Measured]]


@pytest.fixture(scope="module")
def measure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measure]:
    """Run the seeds of an ensemble, two at once, when it is first asked for."""
    directory = tmp_path_factory.mktemp("akil2021")
    with get_context("spawn").Pool(2) as pool:
        yield cache(lambda ensemble: run_seeds(pool, ensemble, directory))


def by_quantity(runs: list[Measured], name: str) -> dict[str, Array]:
    """One value a run, by quantity."""
    return {quantity: np.array([m.quantities[name][quantity] for m in runs]) for quantity in runs[0].quantities[name]}


def compare(
    runs: list[Measured], name: str, quantities: list[str], least_sd: Mapping[str, float] | None = None
) -> list[Comparison]:
    """Lay quantities beside the runs of the reference; `least_sd` is what theory says of their spread between runs."""
    ours = by_quantity(runs, name)
    reference, rounding = reference_runs(name)
    least = dict.fromkeys(quantities, 0.0) | dict(least_sd or {})
    return [Comparison(q, Sample.of(ours[q], 0.0, least[q]), Sample.of(reference[q], rounding[q], least[q]))
            for q in quantities]


def sampling_sd(correlations: Mapping[str, Array], windows: int) -> dict[str, float]:
    """Spread of mean correlations between runs, for Gaussian counts in independent windows.

    A mean over pairs is a covariance of population sums, whose variance is that of Wishart's distribution. Eight seeds
    tell it to a quarter only, and not anew in each network: from one seed, all have the same input.
    """
    def shared(a: str, b: str) -> float:
        with_itself = 1 / SIZES[a] if a == b else 0.0
        return float(correlations[f"corr_{a}{b}"].mean()) + with_itself

    return {f"corr_{a}{b}": sqrt((shared(a, b) ** 2 + shared(a, a) * shared(b, b)) / (windows - 1))
            for a, b in ("EE", "EI", "II")}


def assert_agreement(comparisons: list[Comparison]) -> None:
    table = "\n".join(map(str, comparisons))
    print(table)
    assert all(comparison.agrees for comparison in comparisons), f"\n{table}"


def test_a_static_network_has_the_rates_and_currents_of_the_reference(measure: Measure) -> None:
    runs = measure(Ensemble({"static_c0": (5e3, 10e3)}, seeds=4))
    assert_agreement(compare(runs, "static_c0", RATES + CURRENTS))


def test_a_homeostatic_network_learns_the_weights_of_the_reference(measure: Measure) -> None:
    runs = measure(Ensemble({"ei_c0_j60_s1": (10e3, 20e3)}, NETWORKS["ei_c0_j60_s1"].changes, seeds=4))
    assert_agreement(compare(runs, "ei_c0_j60_s1", RATES + CURRENTS + WEIGHTS))


@pytest.mark.science
@pytest.mark.parametrize("name", NETWORKS)
def test_rates_and_currents(measure: Measure, name: str) -> None:
    assert_agreement(compare(measure(NETWORKS[name]), name, RATES + CURRENTS))


@pytest.mark.science
@pytest.mark.parametrize(("unit", "quantities"), [
    ("from_X", ["rate_E", "rate_I", "from_E", "from_I"]),
    ("corr_EE", ["corr_EI", "corr_II"]),
])
def test_ratios_with_correlated_input(measure: Measure, unit: str, quantities: list[str]) -> None:
    """A run's mother process moves its input and its correlations by some percent, and all others in proportion."""
    ours = by_quantity(measure(NETWORKS["static_c0.1"]), "static_c0.1")
    reference, _ = reference_runs("static_c0.1")
    assert_agreement([
        Comparison(f"{q}/{unit}", *(Sample.of(values[q] / values[unit]) for values in (ours, reference)))
        for q in quantities
    ])


@pytest.mark.science
@pytest.mark.parametrize("name", NETWORKS)
def test_count_correlations(measure: Measure, name: str) -> None:
    runs = measure(NETWORKS[name])
    start_ms, stop_ms = NETWORKS[name].intervals_ms[name]
    spread = sampling_sd(by_quantity(runs, name), round((stop_ms - start_ms) / WINDOW_MS))
    assert_agreement(compare(runs, name, CORRELATIONS, spread))


@pytest.mark.science
@pytest.mark.parametrize("name", STATIC)
def test_count_covariances_and_fano_factors(measure: Measure, name: str) -> None:
    ours = by_quantity(measure(NETWORKS[name]), name)
    assert_agreement([Comparison(q, Sample.of(ours[q]), known) for q, known in reference_means(name).items()])


@pytest.mark.science
@pytest.mark.parametrize("name", PLASTIC)
def test_final_weights(measure: Measure, name: str) -> None:
    assert_agreement(compare(measure(NETWORKS[name]), name, WEIGHTS))


@pytest.mark.science
def test_weights_between_hard_bounds_diffuse(measure: Measure) -> None:
    r"""The standard deviation of the weights grows as the square root of time, far from the bounds.

    A weight sums :math:`x_k S_j - x_j S_k`. For independent Poisson trains this has, on average over synapses and many
    :math:`\tau` after the start, the variance :math:`\tau \langle r \rangle^2 (t + t_0)` with
    :math:`t_0 = 2 \tau^2 \langle r^2 \rangle / \langle r \rangle - \tau/2`: a train by itself adds what its first and
    last spikes leave, for the others' potentiation and depression cancel. So the slope of the logarithms,
    :math:`t / 2(t + t_0)`, is below 1/2 and least at the first time.
    """
    runs = measure(NETWORKS["hard_c0"])
    tau_s, first_s = 0.2, 5.0
    slopes, offsets_s = [], []
    for m in runs:
        (weights,) = m.weights
        late = weights.time_ms >= 1e3 * first_s
        slopes.append(np.polyfit(np.log(weights.time_ms[late]), 0.5 * np.log(weights.variance[late]), 1)[0])
        offsets_s.append(2 * tau_s**2 * np.mean(m.rates_hz**2) / np.mean(m.rates_hz) - tau_s / 2)
    slope = Sample.of(np.array(slopes))
    least = 0.5 * first_s / (first_s + np.mean(offsets_s))
    tolerance = max(ERRORS * slope.sd / sqrt(slope.runs), FINEST * 0.5)
    assert least - tolerance <= slope.mean <= 0.5 + tolerance
