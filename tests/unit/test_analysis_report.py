"""Measured beside predicted, pictures and page, on a made-up run whose currents follow from its spikes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import analysis
from analysis import figures
from analysis.comparison import compare
from analysis.findings import Findings
from analysis.report import report
from analysis.studies.akil2021 import demo
from analysis.theory.plasticity import fixed_point
from analysis.verdict import Estimate, Line, Range, as_table, number, summary
from analysis.weights import (
    NotMeasured,
    arrival_rate,
    as_named,
    charge,
    effective_weight,
    own_current,
    rate_weighted_mean,
)
from mpi_engine.experiment import Experiment, load_experiment
from mpi_engine.output.reader import Degrees, Rates, RunError, Spikes, Traces, Weights

EXAMPLE = Path(analysis.__file__).parent / "studies" / "akil2021" / "homeostatic.toml"
SMALL = [
    "populations.E.size=1600",
    "populations.I.size=400",
    "inputs.X.size=400",
    "inputs.X.correlation=0.0",
    "run.duration_ms=12000.0",
]
BIN_MS = 10.0


@dataclass
class MadeUpRun:
    """Independent Poisson trains at the rates of a finite-size fixed point; currents from arrivals, to the spike."""

    experiment: Experiment
    directory: Path
    rates_hz: dict[str, float]
    felt_mv: float
    finished: bool = True
    provenance: dict[str, Any] = field(default_factory=lambda: {"ranks": 2, "versions": {"numpy": "2.4.0"}})
    bias: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(3)
        e = self.experiment
        self.recorded_ms = e.run.duration_ms
        self._spikes, self._degrees = {}, {}
        for name, size in e.sizes.items():
            n = round(1e-3 * self.rates_hz[name] * size * self.recorded_ms)
            times = np.sort(np.ceil(10 * rng.uniform(0, self.recorded_ms, n)) / 10)
            self._spikes[name] = Spikes(times, rng.integers(0, size, n) if n else np.zeros(0, np.int64))
        for name, p in e.projections.items():
            synapses = rng.random((e.sizes[p.source], e.sizes[p.target])) < p.probability
            self._degrees[name] = Degrees(synapses.sum(axis=0), synapses.sum(axis=1))

    def spikes(self, name: str) -> Spikes:
        return self._spikes[name]

    def degrees(self, name: str) -> Degrees:
        return self._degrees[name]

    def _binned(self, name: str, weights: np.ndarray | None = None) -> np.ndarray:
        times = self._spikes[name].times_ms
        bins = np.ceil(times / BIN_MS - 1e-9).astype(int) - 1
        return np.bincount(bins, weights, round(self.recorded_ms / BIN_MS))

    def rates(self, name: str) -> Rates:
        e = self.experiment
        rate = 1e3 * self._binned(name) / e.sizes[name] / BIN_MS
        means = {"V": np.full(rate.size, -65.0), "I_total": np.zeros(rate.size)}
        for projection, p in e.projections.items():
            if p.target != name:
                continue
            weight = self.felt_mv if projection in e.plastic else p.weight_mv
            arrivals = self._binned(p.source, self._degrees[projection].out_degree[self._spikes[p.source].ids])
            acting = weight * e.weight_scale(projection) * charge(e, projection) * self.bias.get(projection, 1.0)
            means[f"I_{p.synapse}"] = arrivals * acting / e.sizes[name] / BIN_MS
            means["I_total"] = means["I_total"] + means[f"I_{p.synapse}"]
        return Rates(BIN_MS * np.arange(rate.size), BIN_MS, rate, means)

    def weights(self, name: str) -> Weights:
        scale, start = self.experiment.weight_scale(name), self.experiment.projections[name].weight_mv
        mean = np.linspace(start, (start + self.felt_mv) / 2, 24) * scale
        edges = np.linspace(-300.0, 0.0, 51) * scale
        histogram = np.stack([np.histogram(m + np.linspace(-20, 20, 101) * scale, edges)[0] for m in mean])
        sample = np.zeros((24, 0))
        none = np.zeros(0, dtype=np.int64)
        times = 500.0 * np.arange(1, 25)
        spread = np.full(24, (12 * scale) ** 2)
        return Weights(times, mean, spread, mean, mean, histogram, edges, sample, none, none, scale, 4000)

    def traces(self, name: str) -> Traces:
        n = self.experiment.recording.traces[name].neurons
        times = 0.5 * np.arange(1, round(self.recorded_ms / 0.5) + 1)
        potential = -65 + 5 * np.sin(times[:, None] / 20 + np.arange(n))
        return Traces(times, np.arange(n), {"V": potential})


def made_up(start_mv: float = -150.0, directory: str = "run", **changes: Any) -> MadeUpRun:
    experiment = load_experiment(EXAMPLE, [*SMALL, f"projections.I_to_E.weight_mv={start_mv}"])
    state = fixed_point(experiment, 0.5 * experiment.neurons["cortical"].rheobase_mv_per_ms)
    rates = changes.pop("rates_hz", state.rates_hz | {"X": 10.0})
    return MadeUpRun(experiment, Path(directory), rates, state.weights_mv["I_to_E"], **changes)


@pytest.fixture(scope="module")
def starts() -> list[MadeUpRun]:
    return [made_up(-150.0, "strong"), made_up(-60.0, "weak")]


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


def test_the_manifold(starts: list[MadeUpRun]) -> None:
    lines = {line.quantity: line for line in demo.manifold(starts)}
    assert lines["⟨J r⟩/⟨r⟩, ratio"].verdict == "agrees"
    assert lines["mean weight of I to E"].verdict == "agrees"
    assert lines["their difference"].measured[0].value == pytest.approx(45.0, rel=1e-6)
    starts_alike = {line.quantity: line.verdict for line in demo.manifold([starts[0], made_up(-151.0)])}
    assert starts_alike["their difference"] == "differs"


def test_numbers_and_predictions_as_text() -> None:
    assert [number(x) for x in (9.7569, -119.658, 0.000123, -9.9999e-9, 9.9999, 0.0, np.nan)] == [
        "9.76", "\N{MINUS SIGN}120", "0.000123", "\N{MINUS SIGN}1.00·10⁻⁸", "10.0", "0", "\N{EN DASH}",
    ]     # fmt: skip
    estimate = (Estimate(1.0), Estimate(2.0))
    apart = Line("", "", "", estimate, (Range(1.0, 1.0, 0.02), Range(2.0, 2.0, 0.04)))
    assert (apart.prediction, apart.verdict) == ("1.00 | 2.00 ± 0.040", "agrees")
    overlapping = Line("", "", "", estimate, (Range(0.5, 1.5, 0.1), Range(1.0, 1.8, 0.1)))
    assert (overlapping.prediction, overlapping.verdict) == ("0.500 to 1.80 ± 0.10", "differs")


def test_terminal_table_has_a_row_for_each_line(starts: list[MadeUpRun]) -> None:
    lines = demo.manifold(starts)
    table = as_table(lines, ["strong", "weak"])
    assert table.row_count == len(lines) + 1
    assert [column.header for column in table.columns] == ["", "strong", "weak", "predicted", ""]


def test_pictures_show_what_they_claim(starts: list[MadeUpRun]) -> None:
    labels = ["strong", "weak"]
    mean = figures.mean_weights(starts, labels, "I_to_E").axes[0]
    assert [text.get_text() for text in mean.texts] == labels
    assert mean.lines[1].get_ydata()[0] == -60.0
    felt = figures.felt_weights(starts, labels, "I_to_E", (-120.0, -90.0)).axes[0]
    np.testing.assert_allclose(felt.lines[0].get_ydata(), starts[0].felt_mv, rtol=0.1)
    spikes, rates = figures.raster(starts[0], 11000.0, 12000.0).axes
    assert {text.get_text() for text in spikes.texts} == {"E", "I"}
    assert spikes.lines[0].get_ydata().max() < spikes.lines[1].get_ydata().min()     # E below I
    assert len(rates.lines) == 3
    potentials = figures.membrane_potentials(starts[0], 11000.0, 12000.0)
    assert len(potentials.axes) == 4


def test_weights_beyond_a_histogram_are_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    run = made_up()
    w = run.weights("I_to_E")
    assert figures.weight_histogram([run], ["start"], "I_to_E").axes[0].texts[:] == []
    monkeypatch.setattr(run, "weights", lambda _: replace(w, minimum=w.minimum + 1.1 * w.edges[0]))
    [text] = figures.weight_histogram([run], ["start"], "I_to_E").axes[0].texts
    assert (text.get_text(), text.xy[0]) == ("and beyond", pytest.approx(-300.0))


def test_as_many_runs_are_drawn_as_are_given() -> None:
    many = 8 * [made_up()]
    assert len(figures.mean_weights(many, [f"run {k}" for k in range(8)], "I_to_E").axes[0].lines) == 8


class _Checker(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_whole_and_self_contained(starts: list[MadeUpRun]) -> None:
    page = report(starts, ["strong <start>", "weak"], title="A & B")
    checker = _Checker()
    checker.feed(page)
    assert checker.open == []
    assert len(checker.references) == 1 + 3 + 2 * 4
    assert all(reference.startswith("data:") for reference in checker.references)
    assert not re.search(r"@import|url\(|<script", page)
    assert "<title>A &amp; B</title>" in page
    assert "strong &lt;start&gt;" in page
    assert "19 quantities agree with their prediction: 7 are predicted from the experiment" in page
    assert "steelyard run experiment.toml -n 2" in page
    assert "learning_rate_mv = 0.005" in page


def test_demo_writes_page_and_table_and_tells_a_missing_run(
    starts: list[MadeUpRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.html"
    assert demo.main([tmp_path / "none", tmp_path / "neither"], out) == 4
    assert str(tmp_path / "none") in capsys.readouterr().err
    assert not out.exists()
    with pytest.raises(RunError):
        analysis.open_run(tmp_path / "none")
    monkeypatch.setattr(demo, "open_run", dict(zip("ab", starts, strict=True)).__getitem__)
    assert demo.main(["a", "b"], out) in (0, 1)
    shown = capsys.readouterr().out
    assert "The manifold" in shown
    assert "from \N{MINUS SIGN}60" in shown
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
