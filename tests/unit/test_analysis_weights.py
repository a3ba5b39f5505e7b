"""Currents, weights and times of convergence with known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import analysis.studies.zhu2026
from analysis.convergence import relaxation_time, settling_time
from analysis.currents import excitation_and_inhibition, moments_over_blocks, net_over_excitation, tightness
from analysis.structure import drift, shape_of, slope, weight_rate_covariance
from mpi_engine.experiment import load_experiment
from mpi_engine.output.reader import Statistics

STUDY = Path(analysis.studies.zhu2026.__file__).parent
RNG = np.random.default_rng(4)


def ornstein_uhlenbeck(samples: int, neurons: int, memory: float = 0.9) -> np.ndarray:
    """Processes of unit variance at unit intervals."""
    found = RNG.standard_normal((samples, neurons))
    for k in range(1, samples):
        found[k] = memory * found[k - 1] + np.sqrt(1 - memory**2) * found[k]
    return found


def test_tightness_is_the_correlation_that_currents_share() -> None:
    """E = 2 + s + e, I = -1.8 - s - i, of unit variances but 1/2 of e: correlation 1 / sqrt(1.5 * 2)."""
    shared, e, i = (ornstein_uhlenbeck(40_000, 8) for _ in range(3))
    excitation, inhibition = 2 + shared + 0.5**0.5 * e, -1.8 - shared - i
    error = np.sqrt(19 / 40_000)     # of a correlation coefficient, with that memory, at most
    assert tightness(excitation, inhibition) == pytest.approx(np.full(8, 3**-0.5), abs=4 * error)
    assert tightness(excitation, RNG.permutation(inhibition)) == pytest.approx(np.zeros(8), abs=4 * error)
    assert net_over_excitation(excitation, inhibition).mean() == pytest.approx(0.1, abs=4 * error)
    assert float(tightness(excitation[:, 0], -excitation[:, 0])) == pytest.approx(1.0)


def test_what_does_not_vary_or_is_not_there_has_no_balance() -> None:
    constant, varying = np.ones((5, 2)), np.arange(10.0).reshape(5, 2)
    assert np.isnan(tightness(constant, -varying)).all()
    assert np.isnan(net_over_excitation(0 * varying, -varying)).all()


def test_currents_and_conductances_add_by_sign() -> None:
    values = {"I_excitatory": np.array([1.0]), "I_feedforward": np.array([2.0]), "I_inhibitory": np.array([-2.5])}
    current = load_experiment(STUDY / "current.toml")
    excitation, inhibition = excitation_and_inhibition(current, "E", values)
    assert (excitation.tolist(), inhibition.tolist()) == ([3.0], [-2.5])
    conductance = load_experiment(STUDY / "conductance.toml")
    values = {name.replace("I_", "g_"): np.abs(value) for name, value in values.items()}
    excitation, inhibition = excitation_and_inhibition(conductance, "E", values | {"V": np.array([-60.0])})
    assert (excitation.tolist(), inhibition.tolist()) == ([180.0], [-50.0])
    with pytest.raises(ValueError, match="V of E was not recorded; add it to the recorder and run again"):
        excitation_and_inhibition(conductance, "E", values)


def test_a_synapse_of_both_signs_is_refused() -> None:
    both = load_experiment(STUDY / "current.toml", ["projections.I_to_E.synapse=excitatory"])
    with pytest.raises(ValueError, match=r"synapses\.excitatory is excitatory and inhibitory on E; give each its own"):
        excitation_and_inhibition(both, "E", {"I_excitatory": np.ones(1), "I_feedforward": np.ones(1)})


def test_blocks_join_to_the_moments_of_all_samples() -> None:
    samples = np.array([30, 30, 10])
    series = np.split(RNG.normal(-60, 3, (70, 4)), np.cumsum(samples)[:-1])
    moments = ({"V": np.array([block.mean(axis=0) for block in series])},
               {"V": np.array([block.var(axis=0) for block in series])})
    statistics = Statistics(np.array([0.0, 30.0, 60.0]), 30.0, samples, np.zeros((3, 4), int), *moments)
    for start_ms, first in ((0.0, 0), (30.0, 1)):
        late = np.concatenate(series[first:])
        mean, variance = moments_over_blocks(statistics, "V", start_ms)
        np.testing.assert_allclose(mean, late.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(variance, late.var(axis=0), rtol=1e-10)
    with pytest.raises(ValueError, match="start_ms = 70: no block of 30 ms begins later; lower it"):
        moments_over_blocks(statistics, "V", 70.0)
    with pytest.raises(ValueError, match="V_free is not among the recorded: V"):
        moments_over_blocks(statistics, "V_free")


def test_shape_of_a_recorded_histogram() -> None:
    """A gamma distribution of shape 4 has skewness 1; bins of a tenth of its SD cost no more than sampling does."""
    values = RNG.gamma(4.0, 5.0, 100_000) - 150.0
    found = shape_of(*np.histogram(values, 150, (-150.0, 0.0)))
    assert found.mean == pytest.approx(-130.0, abs=4 * 10 / np.sqrt(1e5))
    assert found.sd == pytest.approx(10.0, rel=4 * np.sqrt(1.25 / 1e5) + 1e-3)
    assert found.skewness == pytest.approx(1.0, abs=0.06)
    np.testing.assert_allclose(found.quartiles, stats.gamma.ppf([0.25, 0.5, 0.75], 4, -150, 5), atol=0.2)
    with pytest.raises(ValueError, match=r"nothing lies from 0 to 1; widen recording\.weights\.histogram_mv"):
        shape_of(np.zeros(2, int), np.array([0.0, 0.5, 1.0]))


def test_shape_of_a_single_bin_is_uniform() -> None:
    found = shape_of(np.array([0, 8, 0]), np.array([0.0, 1.0, 3.0, 4.0]))
    assert (found.mean, found.sd, found.skewness) == pytest.approx((2.0, 3**-0.5, 0.0))
    assert found.quartiles == pytest.approx((1.5, 2.0, 2.5))


def test_drift_of_a_random_walk_covers_the_true_one() -> None:
    times = 10.0 * np.arange(1001)
    held = 0
    for _ in range(200):
        walk = 0.02 * times + np.cumsum(RNG.standard_normal(1001))
        held += not drift(times, walk).excludes(0.02)
    assert held / 200 == pytest.approx(0.95, abs=4 * np.sqrt(0.05 * 0.95 / 200))
    with pytest.raises(ValueError, match="10 records have no 10 blocks; record weights more often, or run longer"):
        drift(times[:10], times[:10])


def test_slope_of_weights_on_rates() -> None:
    rates = RNG.gamma(2.0, 5.0, 400)
    found = slope(-100 - 3 * rates + 10 * RNG.standard_normal(400), rates)
    assert not found.excludes(-3.0)
    assert found.error == pytest.approx(10 / rates.std() / 20, rel=0.2)
    with pytest.raises(ValueError, match="3 values against 1 different ones have no slope"):
        slope(np.arange(3.0), np.ones(3))


def test_synapses_of_a_neuron_do_not_count_as_independent() -> None:
    """Where 8 synapses share half the variance of their residuals, the error is sqrt(1 + 7 / 2) times larger."""
    neurons, held, ratios = np.repeat(np.arange(60), 8), 0, []
    for _ in range(300):
        rates = RNG.gamma(2.0, 5.0, 60)[neurons]
        weights = -100 - 3 * rates + RNG.standard_normal(60)[neurons] + RNG.standard_normal(neurons.size)
        shuffled = RNG.permutation(neurons.size)
        found = slope(weights[shuffled], rates[shuffled], neurons[shuffled])
        held += not found.excludes(-3.0)
        ratios.append(found.error / slope(weights, rates).error)
    assert held / 300 == pytest.approx(0.95, abs=4 * np.sqrt(0.05 * 0.95 / 300))
    assert np.mean(ratios) == pytest.approx(np.sqrt(4.5), rel=0.1)


def test_covariance_of_weights_and_rates() -> None:
    rates = RNG.normal(20.0, 2.0, 4000)
    weights = -120 - 3 * rates + RNG.standard_normal(4000)
    found = weight_rate_covariance(weights, rates)
    assert found.value == pytest.approx(np.cov(weights, rates)[0, 1], rel=1e-12)
    assert found.value == pytest.approx(-12.0, abs=4 * found.error)
    assert found.error == pytest.approx(np.sqrt((4 * 37 + 144) / 4000), rel=0.2)     # Var(w r) of Gaussians
    with pytest.raises(ValueError, match=r"1 synapses have no covariance; sample more in recording\.weights"):
        weight_rate_covariance(weights[:1], rates[:1])


def test_times_of_an_exponential_approach() -> None:
    times = np.arange(0.0, 5000.0, 10.0)
    values = -120 - 40 * np.exp(-times / 300.0)
    assert relaxation_time(times, values) == pytest.approx((300.0, -120.0), rel=1e-6)
    assert settling_time(times, values) == pytest.approx(300 * np.log(20), abs=10.0)
    noisy = values + 0.2 * RNG.standard_normal(values.size)
    assert relaxation_time(times, noisy) == pytest.approx((300.0, -120.0), rel=0.05)


def test_what_does_not_come_to_rest_has_no_time() -> None:
    times = np.arange(0.0, 1000.0, 10.0)
    assert np.isnan(settling_time(times, times))
    assert np.isnan(relaxation_time(times, times)[0])
    assert np.isnan(settling_time(times, 5 + RNG.standard_normal(100)))
    with pytest.raises(ValueError, match="3 samples do not tell a time constant; record at least four"):
        relaxation_time(times[:3], times[:3])
