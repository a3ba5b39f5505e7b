"""Balance, time constants and variance with conductances: closed numbers, and limits of the integrals."""

from __future__ import annotations

from pathlib import Path

import pytest
from scipy.special import erfcx

from analysis.comparison import compare
from analysis.theory.balance import NoBalance, balanced_rates, mean_field
from analysis.theory.conductance import correlated_variance_bounds, free_variance, total_conductance
from analysis.theory.plasticity import possible_states
from mpi_engine.experiment import Experiment, load_experiment
from mpi_engine.output.reader import open_run
from mpi_engine.run.job import run
from tests.unit.test_effective import SMALL, STUDY

V_MV = {"E": -62.0, "I": -62.0}
RATES_HZ = {"E": 8.0, "I": 20.0}


def network(name: str, n: int = 1000, correlation: float = 0.0, jitter_ms: float = 5.0) -> Experiment:
    sizes = {"populations.E.size": 0.8, "populations.I.size": 0.2, "inputs.X.size": 0.3}
    train = [f"inputs.X.correlation={correlation}", f"inputs.X.jitter_ms={jitter_ms}"]
    return load_experiment(STUDY / f"{name}.toml", [*(f"{k}={round(n * share)}" for k, share in sizes.items()), *train])


def test_rates_with_currents_and_with_conductances_matched_at_rest() -> None:
    """At a common V, inhibition is alpha times too strong: E fires as with currents, and I alpha times less."""
    r_e, r_i = 1e3 * balanced_rates(mean_field(network("current")))
    assert (r_e, r_i) == (pytest.approx(8.333, abs=5e-4), pytest.approx(20.833, abs=5e-4))
    alpha = ((-80 + 62) / (-80 + 72)) / (62 / 72)
    assert alpha == pytest.approx(2.613, abs=5e-4)
    r_e, r_i = 1e3 * balanced_rates(mean_field(network("conductance"), V_mv=V_MV))
    assert (r_e, r_i) == (pytest.approx(8.333, abs=5e-4), pytest.approx(20.833 / alpha, abs=5e-4))
    assert r_i == pytest.approx(7.97, abs=5e-3)


def test_at_the_potential_of_matching_conductances_are_currents() -> None:
    at_rest = mean_field(network("conductance"), V_mv={"E": -72.0, "I": -72.0})
    assert at_rest.recurrent == pytest.approx(mean_field(network("current")).recurrent)
    assert at_rest.feedforward == pytest.approx(mean_field(network("current")).feedforward)


def test_conductances_without_their_potential_have_no_balance() -> None:
    with pytest.raises(NoBalance, match="with conductances, the mean field needs the mean of V"):
        mean_field(network("conductance"))


@pytest.mark.parametrize(
    ("n", "r_e", "r_i", "tau_e", "tau_i"), [(1000, 5.3, 7.1, 4.8, 3.66), (15000, 7.0, 6.3, 1.74, 1.22)]
)
def test_effective_time_constants_of_the_papers_networks(
    n: int, r_e: float, r_i: float, tau_e: float, tau_i: float
) -> None:
    """At the rates read off the paper's figures, to 0.1 Hz: 1.5 % of the conductance."""
    g = total_conductance(network("conductance", n), {"E": r_e, "I": r_i})
    assert 1 / g["E"] == pytest.approx(tau_e, rel=0.03)
    assert 1 / g["I"] == pytest.approx(tau_i, rel=0.03)


def test_currents_leave_the_leak() -> None:
    assert total_conductance(network("current"), RATES_HZ) == pytest.approx({"E": 1 / 15, "I": 1 / 15})


def test_states_of_a_small_network_end_where_a_population_falls_silent() -> None:
    """With all of E's net input and none of I's, r_E = 8.333 Hz - 277.8 I / sqrt(N): not positive at N = 500."""
    for n in (500, 1000, 4000):
        e = network("current", n)
        rates = [state.rates_hz for state in possible_states(e)]
        assert len(rates) == 4
        assert rates[0] == pytest.approx({"E": 8.333, "I": 20.833}, abs=5e-4)
        lowest = 25 / 3 - 6e3 / 21.6 * e.neurons["cortical"].rheobase_mv_per_ms / n**0.5
        assert min(rate["E"] for rate in rates) == pytest.approx(max(lowest, 0.0), abs=1e-9 if lowest > 0 else 0.2)
    at_rest, at_threshold = possible_states(network("conductance"))[::4]
    assert at_rest.rates_hz == pytest.approx({"E": 8.333, "I": 20.833}, abs=5e-4)
    alpha = ((-80 + 55) / (-80 + 72)) / (55 / 72)
    assert at_threshold.rates_hz == pytest.approx({"E": 8.333, "I": 20.833 / alpha}, abs=5e-4)


def test_mean_conductances_follow_from_rates(tmp_path: Path) -> None:
    sizes = ["populations.E.size=480", "populations.I.size=120", "inputs.X.size=180"]
    whole = load_experiment(STUDY / "conductance.toml", [*SMALL, *sizes, "run.duration_ms=8000.0"])
    run(whole, tmp_path / "run")
    lines = {(line.group, line.quantity): line for line in compare([open_run(tmp_path / "run")])}
    for population in ("E", "I"):
        for source in ("E", "I", "X"):
            line = lines[f"Mean conductance of {population}", f"from {source}"]
            assert (line.unit, line.verdict) == ("1/ms", "agrees")
            assert line.predicted[0].tolerance == pytest.approx(0.01 * line.measured[0].value, rel=0.01)
        identity = lines["Firing rates", f"{population}, by net input"]
        assert (identity.verdict, identity.predicted[0].low) == ("agrees", identity.predicted[0].high)
        membrane = [line for (group, _), line in lines.items() if group == f"Membrane of {population}"]
        assert [line.unit for line in membrane] == ["ms", "mV²"]
        for line in (lines["Firing rates", population], lines["Firing rates", f"{population}, by mean V"], *membrane):
            assert line.verdict == "agrees", line
    assert lines["Firing rates", "E"].from_run is False
    rates_hz = {population: lines["Firing rates", population].measured[0].value for population in ("E", "I")}
    measured = open_run(tmp_path / "run").rates("E").means["g_total"][400:].mean()
    assert measured == pytest.approx(total_conductance(whole, rates_hz)["E"], rel=0.05)


def shared(e: Experiment, **of_conductances: dict[str, float]) -> float:
    low, high = correlated_variance_bounds(e, RATES_HZ, **of_conductances)["E"]
    assert low == pytest.approx(free_variance(e, RATES_HZ, **of_conductances)["E"])
    return high - low


def test_shared_input_without_jitter_is_shot_noise_of_all_synapses_at_once() -> None:
    g, tau_ms, charge = 1 / 15, 10.0, 0.2 * 300 * 100 / 1000**0.5
    expected = charge**2 * 0.2 * 0.01 / (2 * g**2 * (tau_ms + 1 / g))
    assert shared(network("current", correlation=0.2, jitter_ms=0.0)) == pytest.approx(expected, rel=1e-6)


def test_a_fast_membrane_follows_the_shared_current() -> None:
    """Var I_X = (K w)^2 c r exp(s^2) erfc(s) / (2 tau_X), s = sigma / tau_X."""
    e = network("conductance", correlation=0.2)
    weight = e.initial_weight("X_to_E") * 62
    expected = (60 * weight) ** 2 * 0.2 * 0.01 * erfcx(0.5) / 20
    g = {"E": 1e3, "I": 1e3}
    assert 1e6 * shared(e, V_mv=V_MV, g_per_ms=g) == pytest.approx(expected, rel=1e-3)


def test_shared_variance_grows_with_size_with_currents_and_stays_with_conductances() -> None:
    small, large = (shared(network("current", n, 0.2)) for n in (1000, 4000))
    assert large / small == pytest.approx(4.0, rel=1e-9)
    small, large = (
        shared(network("conductance", n, 0.2), V_mv=V_MV, g_per_ms={"E": 10 * n**0.5, "I": 10 * n**0.5})
        for n in (1000, 4000)
    )
    assert large / small == pytest.approx(1.0, rel=1e-2)


def test_without_correlation_there_is_one_bound() -> None:
    for low, high in correlated_variance_bounds(network("current"), RATES_HZ).values():
        assert low == high
