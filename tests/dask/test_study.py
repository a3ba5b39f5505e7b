"""A study from its description to its page: claims, verdicts, exit codes, resumption."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from rich.console import Console

from analysis.confidence import Interval, t_interval
from analysis.studies.publication import as_table
from analysis.studies.study import UNKNOWN, Bounds, Caveat, Claim, Drawing, Parts, Study, Verdict, known_studies
from analysis.style import canvas
from mpi_engine.experiment import ExperimentError
from orchestration.ledger import Ledger, State
from orchestration.study import describe, find_study, reckon, run_study
from orchestration.sweep import read_sweep
from tests.browser import looks_well

DESCRIPTION = """
[first]
experiment = "base.toml"
[first.grid]
"projections.I_to_E.weight_mv" = [-10.0]
[first.quick]
seeds = 2
[first.paper]
seeds = 3

[second]
experiment = "base.toml"
[second.grid]
"health.max_rate_hz" = [1.0]
"""


def rates_are_positive(parts: Parts) -> Iterator[Claim]:
    """Neurons fire."""
    rates = t_interval([run.firing_rates_hz("E").mean() for run in parts["first"].runs.values()])
    yield Claim("Activity", "mean rate of E", "nothing else", Bounds(low=0.0), Interval(rates.value, 0.1, 900.0, 1.0),
                "2 seeds", "Hz")


def second_part_ran_away(parts: Parts) -> Iterator[Claim]:
    """A limit of health of 1 Hz is broken, which is a finding."""
    [run] = parts["second"].runs.values()
    broken = float(not run.finished)
    measured = Interval(broken, broken, broken, 0.0)
    yield Claim("Activity", "runs that ran away", "their limit", Bounds(1.0, 1.0), measured)


def rates_are_negative(parts: Parts) -> Iterator[Claim]:
    """Neurons fire less than not at all."""
    measured = Interval(8.0, 7.0, 9.0, 0.5)
    yield Claim("Activity", "mean rate of E", "nowhere", Bounds(high=0.0), measured, "2 seeds", "Hz")


def a_line(parts: Parts) -> Drawing:
    """A line."""
    with canvas() as (figure, (panel,)):
        panel.plot([0, len(parts)], [0, 1])
    return Drawing("line", "A line.", figure)


def seeds_of_the_first(parts: Parts) -> dict[str, list[Any]]:
    [seed, _] = sorted(run.experiment.seed.base for run in parts["first"].runs.values())
    return {"seed": [seed]}


STUDY = Study("A small study", "Nobody (2026)", (rates_are_positive, second_part_ran_away), (a_line,),
              {"second": seeds_of_the_first}, "Chosen with both seeds in view.")


@pytest.fixture
def description(small_experiment: Callable[..., dict[str, Any]], tmp_path: Path) -> Path:
    (tmp_path / "base.toml").write_text(tomli_w.dumps(small_experiment(run={"duration_ms": 1000.0})))
    (tmp_path / "study.toml").write_text(DESCRIPTION)
    return tmp_path / "study.toml"


def test_a_study_is_stopped_resumed_judged_and_published(description: Path, tmp_path: Path) -> None:
    directory = tmp_path / "done"

    def run(study: Study) -> int:
        return run_study(study, description, directory, "this test", slots=1)

    ledger, ended = Ledger(directory / "first"), threading.Event()

    def stop() -> None:
        while not ended.wait(0.02):
            if any(entry.state == State.RUNNING for entry in ledger.survey().values()):
                return ledger.cancel()

    canceller = threading.Thread(target=stop)
    canceller.start()
    try:
        assert run(STUDY) == 75
    finally:
        ended.set()
        canceller.join()
    assert not (directory / "claims.json").exists()

    assert run(STUDY) == 0
    told = json.loads((directory / "claims.json").read_text())
    assert [claim["verdict"] for claim in told["claims"]] == ["shown", "shown"]
    seen = looks_well(directory / "report.html")
    assert seen.pictures == 1
    assert all(words in seen.text for words in ("mean rate of E", "2 claims: 2 shown.", STUDY.chosen))
    assert told["chosen"] == STUDY.chosen
    assert {path.name for path in (directory / "figures").iterdir()} == {"line.pdf", "line.png"}
    attempts = {path.name for path in (directory / "first" / "ledger").iterdir()}

    assert run(Study("Another", "Nobody", (rates_are_negative, fails), ())) == 1
    told = json.loads((directory / "claims.json").read_text())
    assert [claim["verdict"] for claim in told["claims"]] == ["not shown", "not shown"]
    assert told["claims"][1]["reason"] == "nothing was measured"
    assert {path.name for path in (directory / "first" / "ledger").iterdir()} == attempts, "a run was done twice"


def fails(parts: Parts) -> Iterator[Claim]:
    """Something cannot be measured."""
    raise ValueError("nothing was measured")
    yield


def test_words_in_brackets_are_no_markup() -> None:
    failed = Claim("[topic]", "a claim", "", Bounds(), UNKNOWN, failure="values = [nan, 1.0] of [/a/path]: not finite")
    told = StringIO()
    Console(file=told, width=400).print(as_table([failed]))
    assert failed.topic in told.getvalue()
    assert failed.reason in told.getvalue()


def test_scales_add_to_the_parts(description: Path) -> None:
    assert describe(description, "quick")["first"]["seeds"] == 2
    base, grid = str(description.with_name("base.toml")), {"projections.I_to_E.weight_mv": [-10.0]}
    assert describe(description, "paper")["first"] == {"experiment": base, "grid": grid, "seeds": 3}


def test_the_cost_of_a_part_is_reckoned_from_its_largest_run(description: Path, tmp_path: Path) -> None:
    sweeps = {}
    for name, durations_ms in (("one", [1000.0]), ("two", [1000.0, 3000.0])):
        table = describe(description, "paper")["first"] | {"grid": {"run.duration_ms": durations_ms}}
        (tmp_path / f"{name}.toml").write_text(tomli_w.dumps(table))
        sweeps[name] = read_sweep(tmp_path / f"{name}.toml")
    one, two = reckon(sweeps)
    assert (one.part, one.runs, two.runs) == ("one", 3, 6)
    assert 0 < two.core_hours < 1
    assert one.core_hours > 0
    assert 0 < one.memory_bytes < 1e9
    assert one.disk_bytes < two.disk_bytes < 4.5 * one.disk_bytes     # runs of 1 s and 3 s beside those of 1 s


@pytest.mark.parametrize("scale", ["quick", "paper"])
@pytest.mark.parametrize("name", list(known_studies()))
def test_every_part_of_a_study_can_be_run(name: str, scale: Any, tmp_path: Path) -> None:
    study, file = find_study(name)
    for part, table in describe(file, scale).items():
        if part not in study.derived:
            (tmp_path / f"{part}.toml").write_text(tomli_w.dumps(table))
            assert read_sweep(tmp_path / f"{part}.toml").members


def test_an_unknown_study_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ExperimentError, match="did you mean akil2021"):
        find_study("akil2020")


SMALL = Caveat("the network is small", Bounds(1.05, 1.5))


@pytest.mark.parametrize(
    ("low", "high", "caveat", "verdict"),
    [
        (0.4, 0.6, None, Verdict.SHOWN),
        (0.4, 0.6, SMALL, Verdict.SHOWN),
        (0.9, 1.1, None, Verdict.OPEN),
        (1.1, 1.2, None, Verdict.CONTRADICTED),
        (1.1, 1.2, SMALL, Verdict.OPEN),
        (1.4, 1.6, SMALL, Verdict.OPEN),
        (1.6, 1.7, SMALL, Verdict.CONTRADICTED),
        (-0.2, -0.1, SMALL, Verdict.CONTRADICTED),
        (float("nan"), float("nan"), None, Verdict.OPEN),
        (float("nan"), float("nan"), SMALL, Verdict.OPEN),
    ],
)
def test_the_interval_decides(low: float, high: float, caveat: Caveat | None, verdict: Verdict) -> None:
    claim = Claim("", "", "", Bounds(0.0, 1.0), Interval(0.5, low, high, 0.1), caveat=caveat)
    assert claim.verdict is verdict
    assert bool(claim.reason) == (verdict is not Verdict.SHOWN)


def test_a_caveat_is_the_reason_only_where_the_measurement_is_outside() -> None:
    outside, across = (Claim("", "", "", Bounds(0.0, 1.0), Interval(1.0, low, 1.3, 0.1), caveat=SMALL)
                       for low in (1.1, 0.9))
    assert outside.reason == "the network is small: 1.05 to 1.50"
    assert SMALL.reason not in across.reason
