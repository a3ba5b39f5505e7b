"""Inputs as an experiment describes them: formulas, data files, and how these are resolved."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from mpi_engine.experiment import ExperimentError, load_experiment, parse_experiment
from mpi_engine.experiment.formula import evaluate
from mpi_engine.network.ranks import Ranks
from mpi_engine.run.simulation import Simulation
from tests.unit.test_stimulus import write_spikes

T = np.linspace(0.0, 500.0, 1001)


@pytest.mark.parametrize(("formula", "values"), [
    ("10 + 5*sin(2*pi*t/1000)", 10 + 5 * np.sin(2 * np.pi * T / 1000)),
    ("-t**2/3 - +2", -(T**2) / 3 - 2),
    ("where(t < 100, 1, exp(-t/50)*abs(cos(t)))", np.where(T < 100, 1, np.exp(-T / 50) * np.abs(np.cos(T)))),
    ("max(0, min(t, 30, 100 - t)) + sqrt(t) + log(1 + t)",
     np.maximum(0, np.minimum(np.minimum(T, 30), 100 - T)) + np.sqrt(T) + np.log(1 + T)),
    ("(t >= 10) + (t != 20) + (100 < t <= 200)", 1.0 * (T >= 10) + (T != 20) + ((T > 100) & (T <= 200))),
    ("  7 ", np.full(T.size, 7.0)),
])  # fmt: skip
def test_a_formula_is_what_numpy_computes(formula: str, values: np.ndarray) -> None:
    assert np.array_equal(evaluate(formula, T), values)


@pytest.mark.parametrize(("formula", "word"), [
    ("10 + x", "'x' cannot stand"), ("t.real", "'t.real'"), ("__import__('os')", "cannot stand"), ("sin", "'sin'"),
    ("sin(t, t)", "2 arguments"), ("max(t)", "at least 2"), ("10 +", "is not a formula"), ("", "is not a formula"),
    ("t % 5", "'t % 5'"), ("t if t else 1", "cannot stand"), ("1j", "'1j'"), ("True", "'True'"),
    ("'a'", "cannot stand"), ("sin(x=t)", "cannot stand"), ("(" * 400 + "t" + ")" * 90, "is not a formula"),
    ("t\0", "is not a formula"),
    ("t" + " + t" * 200, "at most 500"), ("t[0]", "cannot stand"), ("not t", "cannot stand"), ("t; t", "not a formula"),
])  # fmt: skip
def test_what_is_no_formula_is_refused(formula: str, word: str, small_experiment) -> None:
    with pytest.raises(ExperimentError) as caught:
        parse_experiment(small_experiment(inputs={"X": {"rate_hz": formula}}))
    (problem,) = caught.value.problems
    assert problem.key == "inputs.X.rate_hz"
    assert word in problem.remedy


def test_numbers_without_end_are_no_trap() -> None:
    assert np.isinf(evaluate("9**9**9**9**9", T)).all()
    assert np.isinf(evaluate("9" * 400, T)).all()


@settings(max_examples=200, deadline=None)
@given(text=st.text("t0159+-*/(),.<=> sincoexpwhr", max_size=30))
def test_any_text_is_a_formula_or_refused(text: str) -> None:
    try:
        assert evaluate(text, T).shape == T.shape
    except ValueError as error:
        assert "formula" in str(error) or "arguments" in str(error)


def samples(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def with_file(small_experiment, **source: Any) -> dict[str, Any]:
    table = small_experiment()
    table["inputs"]["X"] = source
    return table


def problem_of(table: dict[str, Any]) -> Any:
    with pytest.raises(ExperimentError) as caught:
        parse_experiment(table)
    (problem,) = caught.value.problems
    assert len(str(problem).splitlines()) == 1
    return problem


@pytest.mark.parametrize(("lines", "word"), [
    (["0 10", "100 10"], "ends at 100 ms, before the run does at 200 ms"),
    (["5 10", "300 10"], "begins at 5 ms"), (["0 10", "50 -1", "300 10"], "line 2: the rate is -1 Hz"),
    (["# rates", "0 10", "50 nan"], "line 3: '50 nan' is not finite"),
    (["0 10", "0 20"], "line 2: the time 0 ms is not after 0 ms"), (["0 10 20"], "line 1: '0 10 20' is not"),
    (["time_s,rate_hz", "0,1"], "line 1: the columns are"), ([], "no samples"),
    (["0 10", "ten 10"], "line 2"), (["0 10", "250 20000"], "above a spike in each step"),
])  # fmt: skip
def test_bad_rate_file(lines: list[str], word: str, small_experiment, tmp_path: Path) -> None:
    path = samples(tmp_path / "rate.csv", *lines)
    table = with_file(small_experiment, kind="poisson", size=29, rate_file=str(path))
    problem = problem_of(table)
    assert problem.key == "inputs.X.rate_file"
    assert word in problem.remedy


@pytest.mark.parametrize(("changes", "key", "word"), [
    ({"times": [-1.0, 2.0]}, "file", "-1 ms"), ({"ids": [0, -3]}, "file", "-3"), ({"units": "s"}, "file", "'s'"),
    ({"times": [np.nan, 2.0]}, "file", "nan ms"), ({"population": "Y"}, "population", "one of: X"),
    ({"size": 1}, "size", "at least 2"), ({"more": "Z"}, "population", "one of: X, Z"),
    ({"sha256": "0" * 64}, "file", "another content"), ({"sha256": "0"}, "sha256", "not a SHA-256"),
    ({"text": "no HDF5"}, "file", "not an HDF5 file"), ({"file": "gone.h5"}, "file", "there is no file"),
    ({"file": "."}, "file", "is a directory"),
])  # fmt: skip
def test_bad_recorded_spikes(changes: dict[str, Any], key: str, word: str, small_experiment, tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    write_spikes(path, changes.pop("times", [1.0, 2.0]), changes.pop("ids", [0, 1]), changes.pop("units", "ms"))
    if "more" in changes:
        write_spikes(path, [1.0], [0], name=changes.pop("more"))
    if "text" in changes:
        path.write_text(changes.pop("text"))
    table = with_file(small_experiment, **{"kind": "recorded", "file": str(path)} | changes)
    problem = problem_of(table)
    assert problem.key == f"inputs.X.{key}"
    assert word in problem.remedy


def test_volleys_that_cannot_be_counted_are_refused(small_experiment, tmp_path: Path) -> None:
    write_spikes(tmp_path / "x.h5", np.ones(20_000), np.zeros(20_000))
    with pytest.raises(ExperimentError) as caught:
        parse_experiment(with_file(small_experiment, kind="recorded", file=str(tmp_path / "x.h5")))
    assert {problem.key for problem in caught.value.problems} == {
        "projections.X_to_E.probability", "projections.X_to_I.probability"}
    told = "and a source of X up to 20000 spikes in a step, above 65535"
    assert all(told in problem.remedy for problem in caught.value.problems)


def test_a_file_is_resolved_when_the_experiment_is_read(small_experiment, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "data").mkdir()
    path = samples(tmp_path / "data" / "rate.csv", "0 10", "300 20")
    table = with_file(small_experiment, kind="poisson", size=29, rate_file="data/rate.csv")
    (tmp_path / "experiment.toml").write_text(tomli_w.dumps(table))
    experiment = load_experiment(tmp_path / "experiment.toml")
    source = experiment.inputs["X"]
    assert source.rate_file == str(path)
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.chdir(tmp_path)
    assert parse_experiment(table) == experiment
    # again from what a run writes down; and without looking, when the file is gone
    (tmp_path / "resolved.toml").write_text(experiment.to_toml())
    assert load_experiment(tmp_path / "resolved.toml") == experiment
    # the hash is one of the content: not of the place
    moved = samples(tmp_path / "elsewhere.csv", "0 10", "300 20")
    table["inputs"]["X"]["rate_file"] = str(moved)
    assert parse_experiment(table).hash == experiment.hash
    samples(moved, "0 10", "300 30")
    assert parse_experiment(table).hash != experiment.hash
    path.unlink()
    kept = parse_experiment(experiment.model_dump(exclude_none=True), directory=None)
    assert kept == experiment


def test_size_and_population_are_those_of_the_file(small_experiment, tmp_path: Path) -> None:
    write_spikes(tmp_path / "x.h5", [1.0, 2.0], [0, 28])
    experiment = parse_experiment(with_file(small_experiment, kind="recorded", file=str(tmp_path / "x.h5")))
    assert (experiment.sizes["X"], experiment.inputs["X"].population) == (29, "X")


def test_a_file_that_has_changed_since_is_refused_by_the_run(small_experiment, tmp_path: Path) -> None:
    path = samples(tmp_path / "rate.csv", "0 10", "300 20")
    table = with_file(small_experiment, kind="poisson", size=29, rate_file=str(path))
    experiment = parse_experiment(table)
    samples(path, "0 10", "300 30")
    with pytest.raises(ExperimentError, match=r"inputs.X.rate_file.*another content"):
        Simulation(experiment, Ranks())


def test_a_broken_file_is_not_a_missing_input(small_experiment) -> None:
    """Other errors are told beside it, and references to the input are none."""
    table = with_file(small_experiment, kind="recorded", file="gone.h5")
    table["run"]["duration_ms"] = 100.05
    with pytest.raises(ExperimentError) as caught:
        parse_experiment(table)
    assert [problem.key for problem in caught.value.problems] == ["inputs.X.file", "run.duration_ms"]
    table["populations"]["E"]["size"] = -1
    with pytest.raises(ExperimentError) as caught:
        parse_experiment(table)
    assert {problem.key for problem in caught.value.problems} == {
        "inputs.X.file", "run.duration_ms", "populations.E.size"}


def test_an_hdf5_file_without_spikes(small_experiment, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["spikes"] = np.zeros(3)
    problem = problem_of(with_file(small_experiment, kind="recorded", file=str(tmp_path / "x.h5")))
    assert "/spikes/<population>/timestamps" in problem.remedy
