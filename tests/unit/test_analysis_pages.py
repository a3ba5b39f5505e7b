"""Pages of real runs and of a sweep: what they tell, and that a real browser, wide or narrow, is content with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess, run
from sys import executable

import pytest

import analysis
from analysis.comparison import compare
from analysis.runs import Run
from mpi_engine.experiment import load_experiment
from mpi_engine.run import job
from orchestration.cli import main
from tests.browser import PHONE, look, looks_well

HOMEOSTATIC = Path(analysis.__file__).parent / "studies" / "akil2021" / "homeostatic.toml"
STEELYARD = Path(executable).with_name("steelyard")


def settings(size: int, duration_ms: float, seed: int = 1) -> list[str]:
    shares = {"populations.E.size": 0.8, "populations.I.size": 0.2, "inputs.X.size": 0.2}
    sizes = [f"{key}={round(size * share)}" for key, share in shares.items()]
    return [*sizes, f"run.duration_ms={duration_ms}", f"seed={seed}"]


def report(*arguments: str | Path) -> CompletedProcess[str]:
    return run([STEELYARD, "report", *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    directory = tmp_path_factory.mktemp("pages") / "homeostatic"
    job.run(load_experiment(HOMEOSTATIC, settings(1000, 12000.0)), directory)
    return analysis.open_run(directory)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two sizes by two seeds, one of which did not finish: its segments were sealed, its file is not there yet."""
    directory = tmp_path_factory.mktemp("sweeps") / "sizes"
    for size in (500, 1000):
        for seed in (1, 2):
            job.run(load_experiment(HOMEOSTATIC, settings(size, 1000.0, seed)), directory / "runs" / f"{size}-{seed}")
    (directory / "runs" / "1000-2" / "run.h5").unlink()
    directory.with_suffix(".toml").write_text('experiment = "homeostatic.toml"\n', encoding="utf-8")
    yield directory.with_suffix(".toml")


def test_rates_are_those_of_balance_with_the_residual_that_is_measured(finished: Run) -> None:
    """An identity of weights that act, arrivals and net input: to 1 %, whatever the weights have become."""
    lines = {line.quantity: line for line in compare([finished])}
    for population in ("E", "I"):
        line = lines[f"{population}, by net input"]
        assert line.verdict == "agrees", line
        assert line.predicted[0].tolerance == pytest.approx(0.01 * line.predicted[0].low)


def test_the_page_of_a_run_in_a_browser(finished: Run, tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    assert (done := report(finished.path, "-o", page)).returncode == 0, done.stderr
    seen = looks_well(page)
    assert seen.pictures == 7
    assert "Measured beside predicted" in seen.text
    assert "learning_rate_mv = 0.005" in seen.text
    assert f"steelyard report {finished.path} -o {page}" in seen.text


def test_the_page_of_a_sweep_in_a_browser(sweep: Path, tmp_path: Path) -> None:
    page = tmp_path / "sweep.html"
    assert (done := report(sweep.with_suffix(""), "-o", page)).returncode == 0, done.stderr
    seen = looks_well(page)
    assert "3 of 4 runs have finished: 1000-2 has not finished." in seen.text
    assert "Against populations.E.size" in seen.text
    assert "not finished, 0 of 1000 ms recorded" in seen.text
    assert "nan" not in seen.text.lower().replace("provenance", "")


def test_a_browser_that_meets_an_error_tells_it(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    bad = '<body style="width: 500px"><img src="no.png"><script>console.error("ouch")</script>'
    page.write_text(bad, encoding="utf-8")
    [seen] = look(page, PHONE)
    assert "ouch" in "".join(seen.errors)
    assert (seen.pictures, seen.broken_pictures) == (1, 1)
    assert seen.overflow_px > 0


def test_what_has_no_page_is_told(
    finished: Run, sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sweep.toml").write_text("", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    page, nowhere = tmp_path / "none.html", tmp_path / "nowhere" / "none.html"
    for paths, output, code, words in (
        ([tmp_path / "sweep.toml"], page, 4, "has no runs; check the path, or run the sweep first"),
        ([tmp_path / "empty"], page, 4, "holds no run; name a run directory or its run.h5"),
        ([sweep, finished.path], page, 4, "is a sweep, which has a page of its own; name it alone"),
        ([sweep], nowhere, 2, f"command: -o = {nowhere}: cannot be written; name a file in a directory"),
        ([sweep], tmp_path, 2, f"command: -o = {tmp_path}: cannot be written; name a file in a directory"),
    ):
        monkeypatch.setattr("sys.argv", ["steelyard", "report", *map(str, paths), "-o", str(output)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr().err
        assert (ended.value.code, words in told, len(told.splitlines())) == (code, True, 1), told
    assert not page.exists()
