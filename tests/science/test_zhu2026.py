"""Variability of V in networks of Zhu, Ocker & Rosenbaum (2026), with currents and conductances, as they grow.

The paper's numbers are those of its figures: means over four trials of 5 s. The model that it makes of a network with
conductances, by an effective time constant, is part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from math import sqrt
from multiprocessing import get_context

import numpy as np
import pytest
from scipy import stats

from tests.science.scaling import Array, Networks, run_seeds

pytestmark = pytest.mark.timeout(1800)     # the first test to ask for networks waits for all of their runs

SIZES = (1000, 2000, 4000, 8000)
ASYNCHRONOUS, CORRELATED = 0.0, 0.2

FINEST = {ASYNCHRONOUS: 0.02, CORRELATED: 0.15}
"""Relative difference that is never held against a mean, by the correlation of the input."""

ERRORS = 2.0
"""Standard errors by which two means may differ."""


@dataclass(frozen=True)
class Figure:
    """A curve of the paper.

    Parameters
    ----------
    values : tuple of float
        By size.
    errors : tuple of float
        Their standard errors; where they are not known, ours stands for them.
    """

    values: tuple[float, ...]
    errors: tuple[float, ...] | None = None


VARIANCES = {
    ("current", ASYNCHRONOUS): Figure((37.97, 38.65, 38.25, 38.57), (0.4,) * 4),
    ("conductance", ASYNCHRONOUS): Figure((12.21, 9.75, 7.63, 5.78), (0.02,) * 4),
    ("current", CORRELATED): Figure((67.2, 68.5, 83.2, 121.1), (2.7, 1.9, 3.1, 9.0)),
    ("conductance", CORRELATED): Figure((14.23, 13.51, 12.01, 11.09), (0.2, 0.46, 0.46, 0.74)),
    ("effective", ASYNCHRONOUS): Figure((16.71, 12.79, 9.75, 7.14)),
    ("effective", CORRELATED): Figure((26.8, 42.5, 169.8, 683.0)),
}
"""Of V over time [mV^2]."""

CORRELATIONS = {
    ("current", ASYNCHRONOUS): Figure((7.8e-3, 2.7e-3, 1.2e-3, 8.1e-4)),
    ("conductance", ASYNCHRONOUS): Figure((5.2e-3, 1.2e-3, 4.1e-4, 3.3e-4)),
    ("current", CORRELATED): Figure((0.132, 0.128, 0.126, 0.102)),
    ("conductance", CORRELATED): Figure((0.083, 0.074, 0.080, 0.059)),
}
"""Of spike counts in 250 ms."""

ABSOLUTE = {ASYNCHRONOUS: Figure((0.188, 0.170, 0.151, 0.134)), CORRELATED: Figure((0.389, 0.488, 0.652, 0.899))}
"""Mean of |dV dg| [mV/ms], of the network with conductances."""

RATES_HZ = {
    ("current", ASYNCHRONOUS): {"E": 8.1, "I": 18.0},
    ("conductance", ASYNCHRONOUS): {"E": 5.3, "I": 7.1},
    ("conductance", CORRELATED): {"E": 6.3, "I": 7.5},
}
"""At N = 1000, read off."""

PRECISION_HZ = 0.1

Measure = Callable[[Networks], dict[str, list[dict[str, float]]]]


@pytest.fixture(scope="module")
def measure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measure]:
    """Run the seeds of networks, two at once, when they are first asked for."""
    directory = tmp_path_factory.mktemp("zhu2026")
    with get_context("spawn").Pool(2) as pool:
        yield cache(lambda networks: run_seeds(pool, networks, directory))


@dataclass(frozen=True)
class Study:
    """The runs of all sizes."""

    measure: Measure

    def __call__(self, quantity: str, synapses: str, correlation: float) -> Array:
        """One value a size and seed."""
        runs = [self.measure(Networks(size, correlation))[synapses] for size in SIZES]
        return np.array([[run[quantity] for run in of_size] for of_size in runs])


@pytest.fixture
def study(measure: Measure) -> Study:
    return Study(measure)


def sem(values: Array) -> Array:
    """Standard error of the mean over seeds."""
    return values.std(axis=-1, ddof=1) / sqrt(values.shape[-1])


def slope(values: Array) -> float:
    """Exponent of N in the mean over seeds."""
    return float(np.polyfit(np.log(SIZES), np.log(values.mean(axis=-1)), 1)[0])


def assert_near(figure: Figure, values: Array, finest: float, rounding: float = 0.0, errors: float = ERRORS) -> None:
    """Compare each mean over seeds with the figure's value."""
    means, ours = values.mean(axis=-1), sem(values)
    theirs = ours if figure.errors is None else np.array(figure.errors)
    allowed = np.maximum(finest * np.array(figure.values), errors * np.hypot(ours, theirs)) + rounding
    lines = [f"{mean:10.4g} ± {error:.2g}   figure {value:.4g}   {mean / value - 1:+.1%} of {most / value:.1%}"
             for mean, error, value, most in zip(means, ours, figure.values, allowed, strict=True)]
    print("\n".join(lines))
    assert (abs(means - figure.values) <= allowed).all(), "\n" + "\n".join(lines)


@pytest.mark.parametrize("correlation", [ASYNCHRONOUS, CORRELATED])
def test_variance_and_rates_of_short_runs(measure: Measure, correlation: float) -> None:
    sizes = (1000, 4000)
    runs = [measure(Networks(size, correlation, ("current", "conductance"), 500.0, 2000.0)) for size in sizes]
    for synapses in ("current", "conductance"):
        whole = VARIANCES[synapses, correlation]
        here = Figure(tuple(np.take(whole.values, (0, 2))), tuple(np.take(whole.errors, (0, 2))))
        assert_near(here, np.array([[run["var_V"] for run in r[synapses]] for r in runs]), FINEST[correlation])
        for name, rate_hz in RATES_HZ.get((synapses, correlation), {}).items():
            rates_hz = np.array([[run[f"rate_{name}"] for run in runs[0][synapses]]])
            assert_near(Figure((rate_hz,)), rates_hz, FINEST[ASYNCHRONOUS], PRECISION_HZ, errors=3.0)


@pytest.mark.science
@pytest.mark.parametrize("correlation", [ASYNCHRONOUS, CORRELATED])
@pytest.mark.parametrize("synapses", ["current", "conductance"])
def test_variances(study: Study, synapses: str, correlation: float) -> None:
    assert_near(VARIANCES[synapses, correlation], study("var_V", synapses, correlation), FINEST[correlation])


@pytest.mark.science
@pytest.mark.parametrize(("synapses", "correlation", "least", "most"), [
    ("current", ASYNCHRONOUS, -0.05, 0.05), ("conductance", ASYNCHRONOUS, -0.42, -0.30),
    ("current", CORRELATED, 0.25, 0.8), ("conductance", CORRELATED, -0.2, 0.05),
])  # fmt: skip
def test_exponents(study: Study, synapses: str, correlation: float, least: float, most: float) -> None:
    found = slope(study("var_V", synapses, correlation))
    print(f"{synapses}, c = {correlation}: {found:.3f}")
    assert least <= found <= most


@pytest.mark.science
def test_currents_and_correlated_input_grow_ever_faster(study: Study) -> None:
    """Local exponents increase with N: the curve of the logarithms is convex, in 95 % of resampled sets of seeds."""
    variances = study("var_V", "current", CORRELATED)
    print("local exponents:", np.diff(np.log(variances.mean(axis=1))) / np.diff(np.log(SIZES)))
    chosen = np.random.default_rng(1).integers(variances.shape[1], size=(2000, variances.shape[1]))
    resampled = np.log([variances[:, seeds].mean(axis=1) for seeds in chosen])
    curvature = np.polyfit(np.log(SIZES), resampled.T, 2)[0]
    assert np.mean(curvature > 0) >= 0.95


@pytest.mark.science
def test_interaction_of_synapses_and_correlation(study: Study) -> None:
    """Correlated input adds more to the variability where synapses are currents: the paper's finding."""
    growth = {synapses: study("var_V", synapses, CORRELATED)[-1] / study("var_V", synapses, ASYNCHRONOUS)[-1]
              for synapses in ("current", "conductance", "matched")}
    for synapses, ratios in growth.items():
        print(f"{synapses}: {ratios.mean():.2f} ± {sem(ratios):.2g}")
    assert growth["current"].mean() >= 2.5
    assert 1.6 <= growth["conductance"].mean() <= 2.2
    interaction = np.log(growth["current"]) - np.log(growth["conductance"])
    low, high = stats.t.interval(0.95, interaction.size - 1, interaction.mean(), sem(interaction))
    print(f"interaction of the logarithms: {interaction.mean():.2f} ({low:.2f} to {high:.2f})")
    assert low > 0


@pytest.mark.science
def test_only_conductances_and_correlation_together_are_realistic(study: Study) -> None:
    """In cortex, V of awake and sleeping animals has a standard deviation of 2 to 6 mV (Destexhe et al. 2003)."""
    deviations = np.sqrt(study("var_V", "conductance", CORRELATED).mean(axis=1))
    assert ((deviations > 2) & (deviations < 6)).all()
    assert sqrt(study("var_V", "current", ASYNCHRONOUS)[-1].mean()) > 6
    assert sqrt(study("var_V", "current", CORRELATED)[-1].mean()) > 6


@pytest.mark.science
@pytest.mark.parametrize("correlation", [ASYNCHRONOUS, CORRELATED])
@pytest.mark.parametrize("synapses", ["current", "conductance"])
def test_count_correlations(study: Study, synapses: str, correlation: float) -> None:
    """To 35 %, or two standard errors where these are more: five seconds have 18 windows.

    One trial tells a common correlation to a third, and correlations of 1/N hardly.
    """
    assert_near(CORRELATIONS[synapses, correlation], study("correlation", synapses, correlation), 0.35)


@pytest.mark.science
@pytest.mark.parametrize("correlation", [ASYNCHRONOUS, CORRELATED])
def test_covariance_of_V_and_conductance(study: Study, correlation: float) -> None:
    """The paper's figure is the mean of |dV dg|; what the effective model neglects is the mean of dV dg."""
    absolute, signed = (study(f"{kind}_C", "conductance", correlation) for kind in ("absolute", "signed"))
    print("signed:", signed.mean(axis=1), "±", sem(signed))
    assert_near(ABSOLUTE[correlation], absolute, FINEST[correlation])
    assert (abs(signed) < absolute).all()


@pytest.mark.science
def test_the_effective_time_constant(study: Study) -> None:
    """The paper's is 4.8 ms of E and 3.66 ms of I neurons at N = 1000, as read off; it shrinks as N grows."""
    for name, tau_ms, rounding_ms in (("E", 4.8, 0.05), ("I", 3.66, 0.005)):
        taus_ms = 1 / study(f"g_{name}", "conductance", ASYNCHRONOUS)
        assert_near(Figure((tau_ms,)), taus_ms[:1], FINEST[ASYNCHRONOUS], rounding_ms)
        assert (np.diff(taus_ms.mean(axis=1)) < 0).all()
        assert slope(taus_ms) > -0.5     # the limit for large N, where the leak is nothing


@pytest.mark.science
def test_the_effective_model_without_correlation(study: Study) -> None:
    """Three times the tolerance: two things move the model beside the network itself.

    Forward Euler, with which the paper integrates, makes its variance 2 % larger at N = 1000. And the paper's time
    constant is longer than ours by 1 %, which is as much as can be read off, and makes the variance 2 % larger, with
    1/g^2(tau + 1/g).
    """
    variances = study("var_V", "effective", ASYNCHRONOUS)
    assert_near(VARIANCES["effective", ASYNCHRONOUS], variances, 3 * FINEST[ASYNCHRONOUS])
    assert slope(variances) == pytest.approx(-0.42, abs=0.06)


@pytest.mark.science
def test_the_effective_model_fails_with_correlation(study: Study) -> None:
    """Its variance explodes, for conductances fluctuate as much as their mean."""
    variances = study("var_V", "effective", CORRELATED)
    assert_near(VARIANCES["effective", CORRELATED], variances, FINEST[CORRELATED])
    assert variances[-1].mean() > 10 * study("var_V", "conductance", CORRELATED)[-1].mean()
    assert slope(variances) > 1


@pytest.mark.science
@pytest.mark.parametrize("synapses", ["current", "conductance"])
@pytest.mark.parametrize("name", ["E", "I"])
def test_free_variance_against_theory(study: Study, synapses: str, name: str) -> None:
    """Exponents to 0.05, amplitudes to 40 %: trains of the network are not quite Poisson, nor independent."""
    measured, theory = (study(f"{kind}_{name}", synapses, ASYNCHRONOUS) for kind in ("free", "theory"))
    print("measured", measured.mean(axis=1), "theory", theory.mean(axis=1))
    assert slope(measured) == pytest.approx(slope(theory), abs=0.05)
    np.testing.assert_allclose(measured.mean(axis=1), theory.mean(axis=1), rtol=0.4)


@pytest.mark.science
def test_conductances_matched_at_the_operating_point(study: Study) -> None:
    """A control: inhibition does not fire a third as often because it is three times as strong.

    What the paper shows is not an effect of rates: conductances still let variability fall with N, and keep it within
    2 to 6 mV with correlated input.
    """
    for correlation in (ASYNCHRONOUS, CORRELATED):
        rates = {synapses: study("rate_I", synapses, correlation).mean(axis=1)
                 for synapses in ("current", "conductance", "matched")}
        print({synapses: values.round(2) for synapses, values in rates.items()})
        assert (rates["conductance"] < 0.45 * rates["current"]).all()
        assert (rates["matched"] > 0.6 * rates["current"]).all()
    exponent = slope(study("var_V", "matched", ASYNCHRONOUS))
    print(f"exponent {exponent:.3f}")
    assert exponent < -0.3
    deviations = np.sqrt(study("var_V", "matched", CORRELATED).mean(axis=1))
    print("standard deviations", deviations)
    assert ((deviations > 2) & (deviations < 6)).all()
