"""Measured beside predicted, on a run made up by theory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis import figures
from analysis.comparison import compare
from analysis.findings import Findings
from analysis.report import report
from analysis.verdict import Estimate, Line, summary
from analysis.weights import (
    NotMeasured,
    arrival_rate,
    as_named,
    charge,
    effective_weight,
    own_current,
    rate_weighted_mean,
)
from mpi_engine.experiment import load_experiment
from tests.unit.run_by_theory import EXAMPLE, SMALL, MadeUpRun, made_up


def by_name(lines: list[Line]) -> dict[str, Line]:
    return {f"{line.group}: {line.quantity}": line for line in lines}


def test_charge_of_recurrent_and_of_input_spikes() -> None:
    e = made_up().experiment
    assert charge(e, "E_to_E") == pytest.approx(1 - 0.1 / 8)
    assert charge(e, "I_to_E") == pytest.approx(1 - 0.1 / 4)
    assert charge(e, "X_to_E") == pytest.approx(1.0, rel=1e-12)


def test_charge_by_exponential_euler_is_the_sum_over_steps() -> None:
    e = load_experiment(EXAMPLE, ["run.integrator=exponential_euler"])
    for projection, tau, first in (("E_to_E", 8.0, 1), ("X_to_E", 10.0, 0)):
        steps = np.arange(first, 10_000)
        assert charge(e, projection) == pytest.approx(np.sum(0.1 / tau * np.exp(-steps * 0.1 / tau)), rel=1e-10)


def test_felt_weight_of_the_reference_networks() -> None:
    """-103.1 and -102.2 mV from the recorded currents, -3.190 and -3.165 mV/ms after decay, at 22.45 Hz."""
    for recorded, expected in ((-3.190, -103.1), (-3.165, -102.2)):
        acting = recorded / (1 - 0.1 / 4)
        weight = rate_weighted_mean(acting, 100 * 22.45e-3, 1 - 0.1 / 4) * 5000**0.5
        assert weight == pytest.approx(expected, rel=0.03)
    assert np.isnan(rate_weighted_mean(0.0, 0.0, 1.0))


def test_felt_weight_of_a_run_is_that_of_its_synapses() -> None:
    run = made_up()
    assert effective_weight(run, "I_to_E", 6000.0) == pytest.approx(run.felt_mv, rel=1e-12)
    assert as_named(run.weights("I_to_E"))[0] == pytest.approx(-150.0)


def test_arrivals_weigh_sources_by_their_out_degree() -> None:
    run = made_up()
    later = run.spikes("E").times_ms > 6000.0
    expected = run.degrees("E_to_I").out_degree[run.spikes("E").ids[later]].sum() / 400 / 6000.0
    assert arrival_rate(run, "E_to_I", 6000.0) == pytest.approx(expected, rel=1e-12)


def test_a_shared_current_cannot_be_told_apart() -> None:
    e = load_experiment(EXAMPLE, [*SMALL, "projections.X_to_E.synapse=excitatory"])
    with pytest.raises(NotMeasured, match="E_to_E, X_to_E add to one recorded current"):
        own_current(e, "E_to_E")


def test_a_run_made_by_theory_agrees_but_for_the_covariance_that_independent_trains_lack() -> None:
    lines = by_name(compare([made_up()]))
    differing = [name for name, line in lines.items() if line.verdict == "differs"]
    assert differing == [f"Count covariance, 250 ms: {pair}" for pair in ("E with E", "E with I", "I with I")]
    assert lines["Firing rates: E"].verdict == "agrees"
    assert lines["Firing rates: E, seen by plasticity"].measured[0].value == pytest.approx(10.0, rel=0.05)
    assert lines["Firing rates: I, by net input"].predicted[0].tolerance < 0.25
    felt = lines["Weights: ⟨J r⟩/⟨r⟩ of I to E"].predicted[0]
    assert felt.low < -119.658 < felt.high


def test_trains_that_share_nothing_may_have_the_covariance_of_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.comparison._theory_covariance", lambda _: np.full((2, 2), 1e-9))
    lines = by_name(compare([made_up()]))
    verdicts = {lines[f"Count covariance, 250 ms: {pair}"].verdict for pair in ("E with E", "E with I", "I with I")}
    assert verdicts == {"agrees"}


@pytest.mark.parametrize(
    ("projection", "line"),
    [
        ("E_to_E", "Mean input to E: from E"),
        ("X_to_I", "Mean input to I: from X"),
        ("I_to_I", "Mean input to I: from I"),
    ],
)
def test_a_wrong_current_is_found(projection: str, line: str) -> None:
    assert by_name(compare([made_up()]))[line].verdict == "agrees"
    assert by_name(compare([made_up(bias={projection: 0.97})]))[line].verdict == "differs"


def test_weights_that_have_not_settled_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """From -150 mV halfway to what theory has, evenly: a quarter of the way in the second half."""
    run = made_up()
    moved = "; where weights come to rest, and they still moved in the second half: I_to_E from"
    notes = {name: line.note for name, line in by_name(compare([run])).items()}
    assert moved in notes["Firing rates: E"]
    assert moved in notes["Weights: ⟨J r⟩/⟨r⟩ of I to E"]
    w = run.weights("I_to_E")
    monkeypatch.setattr(run, "weights", lambda _: replace(w, mean=np.full_like(w.mean, w.mean[-1])))
    assert not any(moved in line.note for line in compare([run]))


def test_a_wrong_rate_is_found() -> None:
    wrong = made_up(rates_hz={"E": 16.0, "I": 30.0, "X": 10.0})
    lines = by_name(compare([wrong]))
    assert lines["Firing rates: E"].verdict == "differs"
    assert lines["Firing rates: E, seen by plasticity"].verdict == "differs"


def test_the_realised_input_rate_enters_the_theory() -> None:
    found = Findings(made_up(rates_hz={"E": 10.0, "I": 23.0, "X": 11.0}))
    assert found.input_rates_hz["X"] == pytest.approx(11.0, rel=0.05)
    assert found.rate_span("I")[1] == pytest.approx((9 * 10 + 2.7 * found.input_rates_hz["X"]) / 5, rel=1e-6)


def test_a_network_out_of_balance_is_said_to_be() -> None:
    run = made_up()
    weak = {name: p.model_copy(update={"plasticity": None}) for name, p in run.experiment.projections.items()}
    weak["I_to_E"] = weak["I_to_E"].model_copy(update={"weight_mv": -20.0})
    run.experiment = run.experiment.model_copy(update={"projections": weak})
    line = by_name(compare([run]))["Firing rates: E"]
    assert line.verdict == "no prediction"
    assert "no balance" in line.note


@pytest.mark.filterwarnings("error")
def test_a_silent_network_gives_reasons_and_no_nan() -> None:
    run = made_up(rates_hz={"E": 0.0, "I": 0.0, "X": 10.0})
    lines = compare([run])
    assert by_name(lines)["Weights: ⟨J r⟩/⟨r⟩ of I to E"].verdict == "not measured"
    assert all(line.note for line in lines if line.verdict not in ("agrees", "differs"))
    assert "nan" not in report([run], lines=lines).split("Provenance")[0].replace("nance", "")


def with_own_parts(run: MadeUpRun) -> MadeUpRun:
    """Let E have the user's neuron, and E to E the user's rule and the current of X."""
    own = load_experiment(EXAMPLE.parents[1] / "own" / "network.toml")
    e = run.experiment
    changes = {"E_to_E": {"plasticity": ["voltage_gated"]}, "X_to_E": {"synapse": "excitatory"}}
    run.experiment = e.model_copy(update={
        "neurons": e.neurons | own.neurons,
        "plasticity": e.plasticity | own.plasticity,
        "populations": e.populations | {"E": e.populations["E"].model_copy(update={"neuron": "izhikevich"})},
        "projections": e.projections | {name: e.projections[name].model_copy(update=c) for name, c in changes.items()},
    })
    return run


def test_a_network_of_the_users_own_parts_is_shown_without_theory() -> None:
    run = with_own_parts(made_up())
    lines = compare([run])
    found = by_name(lines)
    for name in ("Firing rates: E", "Mean input to E: net", "Weights: mean weight of E to E"):
        assert found[name].verdict == "no prediction"
        assert "rheobase of the user's neuron izhikevich" in found[name].note
    assert "X_to_E add to one recorded current" in found["Firing rates: I, by net input"].note
    assert found["Mean input to I: from E"].verdict == "agrees"
    page = report([run], lines=lines)
    assert "what E neurons feel" in page
    assert "Shades" not in page


def test_a_plastic_current_that_is_not_recorded_alone_costs_only_what_needs_it() -> None:
    run = made_up()
    shared = run.experiment.projections["X_to_E"].model_copy(update={"synapse": "inhibitory"})
    run.experiment = run.experiment.model_copy(update={"projections": run.experiment.projections | {"X_to_E": shared}})
    lines = by_name(compare([run]))
    assert lines["Firing rates: E"].verdict == "agrees"
    felt = lines["Weights: ⟨J r⟩/⟨r⟩ of I to E"]
    assert (felt.verdict, "add to one recorded current" in felt.note) == ("not measured", True)
    covariance = lines["Count covariance, 250 ms: E with E"]
    assert (covariance.verdict, "add to one recorded current" in covariance.note) == ("no prediction", True)
    assert "<!DOCTYPE html>" in report([run])


def test_membrane_potentials_of_a_users_neuron_have_its_threshold_and_no_soft_one() -> None:
    panels = figures.membrane_potentials(with_own_parts(made_up()), 11000.0, 12000.0).axes
    assert [len(panel.lines) for panel in panels] == [2, 1, 1, 1]     # I has the built-in neuron, on top
    assert panels[1].get_yticks()[1] == 30.0
    assert panels[1].get_ylim()[1] == 52.0


def test_a_run_that_theory_has_nothing_to_say_of_is_said_to_be() -> None:
    assert "predicts nothing" in summary([Line("", "", "", (Estimate(1.0),), ())])


def test_a_run_too_short_for_covariances_says_so() -> None:
    run = made_up()
    run.recorded_ms = 8000.0
    line = by_name(compare([run]))["Count covariance, 250 ms: all pairs"]
    assert line.verdict == "not measured"
    assert "10000 ms" in line.note
