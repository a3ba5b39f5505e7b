"""The closed numbers of the theory of Akil, Rosenbaum & Josić (2021), and its general forms against each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import erfcx

import analysis
from analysis.theory.balance import NoBalance, balanced_rates, mean_field, rheobase
from analysis.theory.covariance import (
    asynchronous_count_covariance,
    correlated_count_covariance,
    cross_spectrum,
    trace_covariance,
)
from analysis.theory.plasticity import fixed_point, weight_drift
from mpi_engine.experiment import Experiment, load_experiment

EXAMPLE = Path(analysis.__file__).parent / "studies" / "akil2021" / "homeostatic.toml"


RATES_HZ = {"E": 6.0, "I": 16.0, "X": 10.0}


def experiment(*overrides: str, correlation: float = 0.0) -> Experiment:
    return load_experiment(EXAMPLE, [f"inputs.X.correlation={correlation}", *overrides])


def static(*overrides: str, correlation: float = 0.0) -> Experiment:
    whole = experiment(*overrides, correlation=correlation)
    projections = {name: p.model_copy(update={"plasticity": None}) for name, p in whole.projections.items()}
    return whole.model_copy(update={"projections": projections})


def kohonen(beta: float, correlation: float = 0.0, start: float = 1.0) -> Experiment:
    rule = f'{{rule = "kohonen", tau_ms = 200.0, learning_rate = 0.01, beta_mv = {float(beta)}}}'
    return experiment_with("E_to_E", rule, f"projections.E_to_E.weight_mv={start}", correlation=correlation)


def experiment_with(projection: str, rule: str, *overrides: str, correlation: float = 0.0) -> Experiment:
    whole = experiment(
        f"plasticity.tested={rule}",
        f"projections.{projection}.plasticity=tested",
        "projections.I_to_E.weight_mv=-100.0",
        *overrides,
        correlation=correlation,
    )
    projections = {
        name: p.model_copy(update={"plasticity": p.plasticity if name == projection else None})
        for name, p in whole.projections.items()
    }
    return whole.model_copy(update={"projections": projections})


def inhibition_on_both(correlation: float = 0.0) -> Experiment:
    rule = (
        '{rule = "homeostatic", tau_ms = 200.0, learning_rate_mv = 0.005, target_rate_hz = 20.0, '
        "weight_norm_mv = -200.0}"
    )
    return experiment(
        f"plasticity.of_I={rule}", "projections.I_to_I.plasticity=of_I", correlation=correlation
    )


def test_mean_field_of_the_default_network() -> None:
    field = mean_field(static())
    np.testing.assert_allclose(field.recurrent, [[2, -3], [9, -5]], rtol=1e-14)
    np.testing.assert_allclose(field.feedforward, [[3.6], [2.7]], rtol=1e-14)
    np.testing.assert_allclose(1e3 * balanced_rates(field), [5.8235, 15.882], atol=5e-4)


def test_fixed_in_degree_and_unscaled_weights_give_the_same_mean_field() -> None:
    whole = static()
    projections = {
        name: p.model_copy(
            update={
                "probability": None,
                "in_degree": round(0.1 * whole.sizes[p.source]),
                "weight_mv": p.weight_mv / 5000**0.5,
                "weight_scaling": "none",
            }
        )
        for name, p in whole.projections.items()
    }
    field = mean_field(whole.model_copy(update={"projections": projections}))
    np.testing.assert_allclose(field.recurrent, mean_field(whole).recurrent, rtol=1e-14)
    np.testing.assert_allclose(field.feedforward, mean_field(whole).feedforward, rtol=1e-14)


def test_net_input_enters_as_the_exact_identity() -> None:
    field = mean_field(static())
    net = np.array([0.335, 0.2])
    rates = balanced_rates(field, net)
    current = 5000**0.5 * (field.recurrent @ rates + field.feedforward @ field.input_rates_khz)
    np.testing.assert_allclose(current, net, rtol=1e-12)


@pytest.mark.parametrize(("j_ee", "r_e", "r_i"), [(1.0, 7.159, 18.286), (20.0, 12.6, 28.08)])
def test_rates_in_closed_form(j_ee: float, r_e: float, r_i: float) -> None:
    field = mean_field(static(f"projections.E_to_E.weight_mv={j_ee}", "projections.I_to_E.weight_mv=-100.0"))
    assert r_e == pytest.approx(315 / (45 - j_ee), abs=1e-3)
    np.testing.assert_allclose(1e3 * balanced_rates(field), [r_e, r_i], atol=1e-3)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["projections.I_to_E.weight_mv=-50.0"], "runs away"),
        (["projections.X_to_E.weight_mv=60.0"], "population E would need"),
        (["projections.E_to_E.weight_mv=0.0", "projections.E_to_I.weight_mv=0.0"], "singular"),
    ],
)
def test_no_balance_is_said(overrides: list[str], reason: str) -> None:
    with pytest.raises(NoBalance, match=reason):
        balanced_rates(mean_field(static(*overrides)))


def test_fixed_points_with_the_net_inputs_of_a_small_network() -> None:
    """r_E = rho and the two balance equations give r_I and the weight in closed form."""
    whole = experiment("populations.E.size=1600", "populations.I.size=400", "inputs.X.size=400")
    root = 2000**0.5
    for net_e in (0.0, 16 / 15):
        for net_i in (0.0, 16 / 15):
            state = fixed_point(whole, np.array([net_e, net_i]))
            r_i = (9 * 0.01 + 0.027 - net_i / root) / 5
            assert 1e-3 * state.rates_hz["I"] == pytest.approx(r_i)
            assert state.weights_mv["I_to_E"] == pytest.approx((net_e / root - 0.02 - 0.036) / (0.02 * r_i))


def test_rheobase() -> None:
    assert static().neurons["cortical"].rheobase_mv_per_ms == pytest.approx(16 / 15)


def test_count_covariances() -> None:
    whole = static(correlation=0.1)
    correlated = correlated_count_covariance(whole, mean_field(whole), 250.0)
    np.testing.assert_allclose(correlated, [[0.0848, 0.2312], [0.2312, 0.6306]], atol=5e-5)
    asynchronous = asynchronous_count_covariance(whole, mean_field(whole), 250.0)
    np.testing.assert_allclose(asynchronous, [[0.00085, 0.00231], [0.00231, 0.00631]], atol=5e-6)


def test_count_covariance_is_the_spectrum_at_zero_frequency() -> None:
    whole = static(correlation=0.3)
    spectrum = cross_spectrum(whole, np.zeros(1))[0]
    np.testing.assert_allclose(spectrum.imag, 0)
    closed = correlated_count_covariance(whole, mean_field(whole), 100.0)
    np.testing.assert_allclose(100.0 * spectrum[:2, :2].real, closed, rtol=1e-12)
    assert spectrum[2, 2].real == pytest.approx(0.3 * 0.01)


def test_trace_covariance_of_the_input_in_closed_form() -> None:
    """<x S> of two jittered copies: the difference of two jitters is Gaussian with twice the variance."""
    whole = static(correlation=0.2)
    measured = trace_covariance(whole, 20.0)[2, 2]
    assert measured == pytest.approx(0.2 * 0.01 * erfcx(5.0 / 20.0) / 2, rel=1e-10)


def test_no_jitter_is_refused() -> None:
    with pytest.raises(NoBalance, match=r"inputs\.X\.jitter_ms = 0"):
        trace_covariance(static("inputs.X.jitter_ms=0.0", correlation=0.1), 20.0)


@pytest.mark.parametrize("start", [-250.0, -150.0, -100.0, -60.0])
def test_homeostatic_fixed_point(start: float) -> None:
    state = fixed_point(experiment(f"projections.I_to_E.weight_mv={start}"))
    assert state.weights_mv["I_to_E"] == pytest.approx(-119.658, abs=5e-4)
    assert state.rates_hz["E"] == pytest.approx(10.0)
    assert state.rates_hz["I"] == pytest.approx(23.4)


@pytest.mark.parametrize(("tau_ms", "weight", "error"), [(50.0, -123.6959, 5e-5), (200.0, -120.83, 5e-3)])
def test_correlated_homeostatic_fixed_point(tau_ms: float, weight: float, error: float) -> None:
    state = fixed_point(experiment(f"plasticity.homeostatic.tau_ms={tau_ms}", correlation=0.1))
    assert state.weights_mv["I_to_E"] == pytest.approx(weight, abs=error)
    assert state.rates_hz["E"] < 10.0


@pytest.mark.parametrize(
    ("correlation", "weights", "error"), [(0.0, (-140.0, -292.5), 1e-6), (0.1, (-142.129, -294.076), 2e-3)]
)
def test_homeostatic_fixed_point_on_both_populations(
    correlation: float, weights: tuple[float, float], error: float
) -> None:
    state = fixed_point(inhibition_on_both(correlation))
    assert (state.weights_mv["I_to_E"], state.weights_mv["I_to_I"]) == pytest.approx(weights, abs=error)


@pytest.mark.parametrize(
    ("correlation", "weight", "error"), [(0.0, 3.0, 1e-9), (0.1, 3.078, 5e-4), (0.3, 3.23, 6e-3), (1.0, 3.79, 6e-3)]
)
def test_kohonen_fixed_point(correlation: float, weight: float, error: float) -> None:
    assert fixed_point(kohonen(2.0, correlation)).weights_mv["E_to_E"] == pytest.approx(weight, abs=error)


def test_kohonen_loses_its_fixed_point_in_a_saddle_node() -> None:
    assert fixed_point(kohonen(8.035)).weights_mv["E_to_E"] == pytest.approx(22.5, abs=0.5)
    with pytest.raises(NoBalance, match="no fixed point"):
        fixed_point(kohonen(8.037))


@pytest.mark.parametrize("correlation", [0.0, 0.1, 1.0])
def test_soft_hebbian_fixed_point_does_not_depend_on_correlation(correlation: float) -> None:
    rule = '{rule = "hebbian_soft", tau_ms = 200.0, learning_rate = 0.001, weight_max_mv = 30.0}'
    state = fixed_point(experiment_with("E_to_E", rule, correlation=correlation))
    assert state.weights_mv["E_to_E"] == pytest.approx(30.0)


def test_oja_fixed_point() -> None:
    rule = '{rule = "oja", tau_ms = 200.0, learning_rate = 0.01, beta_mv = 25.0}'
    whole = experiment_with("E_to_E", rule, "projections.E_to_E.weight_mv=10.0", correlation=0.1)
    assert fixed_point(whole).weights_mv["E_to_E"] == pytest.approx(25.0)


def test_classical_hebbian_does_not_drift() -> None:
    rule = '{rule = "hebbian_hard", tau_ms = 200.0, learning_rate_mv = 0.001}'
    whole = experiment_with("E_to_E", rule)
    assert weight_drift(whole, {"E_to_E": 25.0}, RATES_HZ)["E_to_E"] == pytest.approx(0.0, abs=1e-18)


def test_homeostatic_drift_in_closed_form() -> None:
    """dj/dt = -(eta sqrt(N) / j_norm) j (2 tau r_E r_I - alpha r_I), weights in their own scaling."""
    r_e, r_i = 1e-3 * RATES_HZ["E"], 1e-3 * RATES_HZ["I"]
    expected = -(0.005 * 5000**0.5 / -200.0) * -150.0 * (2 * 200.0 * r_e * r_i - 2 * 0.01 * 200.0 * r_i)
    assert weight_drift(experiment(), {"I_to_E": -150.0}, RATES_HZ)["I_to_E"] == pytest.approx(expected, rel=1e-12)


PAIR = {
    "drift": [1e-5, -2e-5], "a_pre": [3e-3, 1e-3], "b_pre": [-2e-3, 4e-3], "a_post": [1e-3, -5e-3],
    "b_post": [6e-3, -1e-3],
}


def pair(tau_pre_ms: float, tau_post_ms: float, **more: str) -> str:
    """A rule of the pair form, as TOML."""
    terms = {"tau_pre_ms": str(tau_pre_ms), "tau_post_ms": str(tau_post_ms), **{k: str(v) for k, v in PAIR.items()}}
    return "{rule = 'pair', " + ", ".join(f"{key} = {value}" for key, value in {**terms, **more}.items()) + "}"


def pair_drift(weight_mv: float, scale: float, x_post: float, x_pre: float) -> float:
    """The mean weight equation of E to I, given <x_post S_pre> and <x_pre S_post>."""
    averages = {"drift": 1.0, "a_pre": 6e-3, "b_pre": x_post, "a_post": 16e-3, "b_post": x_pre}
    return sum((PAIR[term][0] / scale + PAIR[term][1] * weight_mv) * average for term, average in averages.items())


def test_drift_of_the_pair_form_with_two_time_constants_in_closed_form() -> None:
    whole = experiment_with("E_to_I", pair(20.0, 50.0))
    expected = pair_drift(112.5, 5000**-0.5, 50.0 * 6e-3 * 16e-3, 20.0 * 6e-3 * 16e-3)
    assert weight_drift(whole, {"E_to_I": 112.5}, RATES_HZ)["E_to_I"] == pytest.approx(expected, rel=1e-12)


def test_each_trace_adds_the_covariance_of_its_own_time_constant() -> None:
    """With one synaptic time constant, spectra are those of the input: I_ab = R_a R_b c r_X tau-th of a Gaussian."""
    taus = [f"synapses.{name}.tau_ms=5.0" for name in ("excitatory", "inhibitory", "feedforward")]
    whole = experiment_with("E_to_I", pair(20.0, 50.0), *taus, correlation=0.2)
    field = mean_field(whole, {"E_to_I": 112.5})
    r_e, r_i = np.linalg.solve(field.recurrent, -field.feedforward)[:, 0]
    added = {tau: r_e * r_i * 0.2 * 0.01 * erfcx(5.0 / tau) / 2 for tau in (20.0, 50.0)}
    product = 6e-3 * 16e-3
    expected = pair_drift(112.5, 5000**-0.5, 50.0 * product + added[50.0], 20.0 * product + added[20.0])
    assert weight_drift(whole, {"E_to_I": 112.5}, RATES_HZ)["E_to_I"] == pytest.approx(expected, rel=1e-9)


def test_drift_alone_has_its_own_fixed_point() -> None:
    rule = "{rule = 'pair', tau_ms = 20.0, drift = [2e-5, -1e-4]}"
    state = fixed_point(experiment_with("E_to_E", rule, "projections.E_to_E.weight_mv=10.0"))
    assert state.weights_mv["E_to_E"] == pytest.approx(0.2 * 5000**0.5)


def test_homeostatic_rule_with_two_time_constants_has_the_same_target() -> None:
    rule = ("{rule = 'homeostatic', tau_pre_ms = 200.0, tau_post_ms = 20.0, learning_rate_mv = 0.005, "
            "target_rate_hz = 10.0, weight_norm_mv = -200.0}")
    state = fixed_point(experiment_with("I_to_E", rule))
    assert state.rates_hz["E"] == pytest.approx(10.0)
    assert state.weights_mv["I_to_E"] == pytest.approx(-119.658, abs=5e-4)


def test_rules_of_a_projection_add_with_the_last_factors_of_their_schedules() -> None:
    later = "[{start_ms = 10.0, factor = 7.0}, {start_ms = 20.0, factor = 0.5}, {start_ms = 30000.0, factor = 9.0}]"
    first, second = pair(20.0, 50.0), pair(30.0, 40.0, schedule=later)
    both = experiment_with("E_to_I", first, f"plasticity.second={second}",
                           "projections.E_to_I.plasticity=['tested', 'second']")
    alone = [experiment_with("E_to_I", rule) for rule in (first, pair(30.0, 40.0))]
    drifts = [weight_drift(e, {"E_to_I": 112.5}, RATES_HZ)["E_to_I"] for e in (*alone, both)]
    assert drifts[2] == pytest.approx(drifts[0] + 0.5 * drifts[1], rel=1e-12)


FROZEN = "plasticity.homeostatic.schedule=[{start_ms = 1000.0, factor = 0.0}]"
NORMALISED = ("projections.I_to_E.plasticity=['homeostatic', 'sum']",
              "plasticity.sum={rule='normalisation', interval_ms=100.0}")
TRIPLET = "plasticity.homeostatic={rule='triplet', tau_plus_ms=17.0, tau_minus_ms=34.0, tau_x_ms=100.0, tau_y_ms=125.0}"


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["plasticity.homeostatic.pairing=nearest_neighbour"], "homeostatic is not a rule of pairs that pairs all"),
        ([TRIPLET], "homeostatic is not a rule of pairs"),
        (NORMALISED, "sum is not a rule of pairs"),
        ([FROZEN], "schedule of I_to_E ends with frozen weights"),
        (["subpopulations.half={population='E', count=2000}", "projections.E_to_E.target=half"], "parts of a pop"),
        (["inputs.noise={kind='ornstein_uhlenbeck', target='E', std_mv_per_ms=0.1, tau_ms=5.0}"], "current noise"),
    ],
)
def test_what_theory_does_not_cover_is_refused(overrides: list[str], reason: str) -> None:
    with pytest.raises(NoBalance, match=f"^no prediction: .*{reason}"):
        fixed_point(experiment(*overrides))


OWN = """
from mpi_engine.user import neuron, rule, synapse

@neuron(parameters={"leak_per_ms": 0.1, "V_th_mv": -50.0}, threshold="V_th_mv", reset=lambda p: -75.0)
def cortical(V, I, p):
    return -p.leak_per_ms * (V + 72.0) + I

@synapse(parameters={"tau_ms": 8.0}, state=["s"])
def excitatory(s, arrived, dt, p):
    s = s * (1 - dt / p.tau_ms) + arrived / p.tau_ms
    return s, s

@rule(parameters={"down": 0.1})
def homeostatic(w, p):
    return w - p.down * w
"""


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ("neurons.cortical={model='user', file='own.py', V_init_mv=-70.0}", "user's neuron cortical"),
        ("synapses.excitatory={kind='user', file='own.py'}", "user's synapse excitatory"),
        ("plasticity.homeostatic={rule='user', file='own.py'}", "homeostatic is not a rule of pairs"),
    ],
)
def test_there_is_no_theory_of_what_users_write(tmp_path: Path, part: str, reason: str) -> None:
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "network.toml").write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    whole = load_experiment(tmp_path / "network.toml", [part])
    with pytest.raises(NoBalance, match=f"^no prediction: .*{reason}"):
        rheobase(whole, "E")
        fixed_point(whole)


def test_static_network_has_its_balanced_rates_as_fixed_point() -> None:
    state = fixed_point(static())
    assert state.weights_mv == {}
    assert state.rates_hz["I"] == pytest.approx(15.882, abs=1e-3)


def test_there_is_no_theory_of_inputs_that_change() -> None:
    for found in (experiment('inputs.X.rate_hz="10 + sin(t)"'), experiment('inputs.X.rate_hz="10"', correlation=0.1)):
        with pytest.raises(NoBalance, match="the rate of input X changes"):
            fixed_point(found)
