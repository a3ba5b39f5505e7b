"""The variance of V that linear theory expects: against its integral over the kernel, and in the limits of N."""

from __future__ import annotations

from math import exp

import pytest
from scipy.integrate import quad

from analysis.theory.balance import NoBalance
from analysis.theory.conductance import free_variance
from mpi_engine.experiment import Experiment, load_experiment
from tests.unit.test_effective import STUDY

RATES_HZ = {"E": 8.0, "I": 20.0}
V_MV, G_PER_MS = {"E": -64.0, "I": -65.0}, {"E": 0.21, "I": 0.28}


def network(name: str, n: int = 1000) -> Experiment:
    sizes = {"populations.E.size": 0.8, "populations.I.size": 0.2, "inputs.X.size": 0.3}
    return load_experiment(STUDY / f"{name}.toml", [f"{key}={round(n * share)}" for key, share in sizes.items()])


def response(tau_ms: float, g_per_ms: float) -> float:
    """Integrate the square of what a spike of 1 mV does to V: its current, filtered by the membrane."""
    tau_V = 1 / g_per_ms

    def psp(t_ms: float) -> float:
        return tau_V / (tau_ms - tau_V) * (exp(-t_ms / tau_ms) - exp(-t_ms / tau_V))

    return float(quad(lambda t: psp(t) ** 2, 0, 40 * max(tau_ms, tau_V))[0])


@pytest.mark.parametrize("name", ["current", "conductance"])
def test_it_is_shot_noise(name: str) -> None:
    e = network(name)
    found = free_variance(e, RATES_HZ, V_MV, G_PER_MS if name == "conductance" else None)
    in_degrees = {"E": 160, "I": 40, "X": 60}
    taus_ms, reversals_mv = {"E": 8.0, "I": 4.0, "X": 10.0}, {"E": 0.0, "I": -80.0, "X": 0.0}
    for a in ("E", "I"):
        g = G_PER_MS[a] if name == "conductance" else 1 / 15
        expected = 0.0
        for b, rate_hz in (RATES_HZ | {"X": 10.0}).items():
            weight = e.initial_weight(f"{b}_to_{a}")
            weight *= reversals_mv[b] - V_MV[a] if name == "conductance" else 1.0
            expected += 0.8 * in_degrees[b] * 1e-3 * rate_hz * weight**2 * response(taus_ms[b], g)
        assert found[a] == pytest.approx(expected, rel=1e-6)


def test_it_does_not_depend_on_size_with_currents() -> None:
    """In-degrees grow as N, and squares of weights shrink as 1/N."""
    small, large = (free_variance(network("current", n), RATES_HZ) for n in (1000, 4000))
    assert small == pytest.approx(large, rel=1e-12)


@pytest.mark.parametrize(("g_per_ms", "exponent"), [(1e-3, -0.5), (1e3, -1.0)])
def test_it_falls_with_size_with_conductances(g_per_ms: float, exponent: float) -> None:
    """As 1/g^2(tau + 1/g), where g grows as the root of N: from slow membranes to fast ones."""
    small, large = (
        free_variance(network("conductance", n), RATES_HZ, V_MV, dict.fromkeys("EI", g_per_ms * (n / 1000) ** 0.5))
        for n in (1000, 4000)
    )
    assert large["E"] / small["E"] == pytest.approx(4**exponent, rel=0.02)


def test_what_it_knows_nothing_of() -> None:
    with pytest.raises(NoBalance, match="mean and that of V"):
        free_variance(network("conductance"), RATES_HZ)
    drawn = load_experiment(STUDY / "current.toml", ["projections.E_to_E.weight_mv={uniform=[10.0, 20.0]}"])
    with pytest.raises(NoBalance, match="E_to_E"):
        free_variance(drawn, RATES_HZ)
