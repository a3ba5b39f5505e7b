"""Pictures, tables and pages, on runs made up by theory."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import analysis
from analysis import figures
from analysis.report import report
from analysis.studies.akil2021 import demo
from analysis.verdict import Estimate, Line, Range, as_table, number
from mpi_engine.output.reader import RunError
from tests.unit.run_by_theory import MadeUpRun, made_up


@pytest.fixture(scope="module")
def starts() -> list[MadeUpRun]:
    return [made_up(-150.0, "strong"), made_up(-60.0, "weak")]


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
