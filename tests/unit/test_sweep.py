"""Sweeps: what they expand to, and every mistake in one line."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from mpi_engine.experiment import ExperimentError, load_experiment, parse_experiment
from orchestration.ledger import State
from orchestration.sweep import ID_DIGITS, read_sweep
from orchestration.sweep_cli import exit_code
from tests.unit.test_stimulus import write_spikes

Table = dict[str, Any]


@pytest.fixture
def write(small_experiment: Callable[..., Table], tmp_path: Path) -> Callable[[str], Path]:
    """Write a sweep beside its base experiment."""
    (tmp_path / "base.toml").write_text(tomli_w.dumps(small_experiment()))

    def sweep(text: str, name: str = "study.toml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return sweep


def test_grid_zips_and_seeds_are_multiplied(write: Callable[[str], Path]) -> None:
    sweep = read_sweep(write("""
experiment = "base.toml"
ranks = 2
seeds = [3, 5]
[grid]
projections.I_to_E.weight_mv = [-10.0, -8.0, -6.0]
[[zip]]
"populations.E.size" = [80, 160]
"populations.I.size" = [20, 40]
"""))
    assert sweep.ranks == 2
    assert [axis.name for axis in sweep.axes] == ["projections.I_to_E.weight_mv", "populations.E.size", "seed"]
    assert len(sweep.members) == len({member.id for member in sweep.members}) == 3 * 2 * 2
    assert sweep.members[1].settings == {
        "projections.I_to_E.weight_mv": -10.0, "populations.E.size": 80, "populations.I.size": 20, "seed": 5
    }  # fmt: skip
    assert [member.place for member in sweep.members[:3]] == [(0, 0, 0), (0, 0, 1), (0, 1, 0)]
    assert sweep.directory == sweep.file.parent / "study"


def test_ids_are_hashes_of_what_is_run(write: Callable[[str], Path], small_experiment: Callable[..., Table]) -> None:
    sweep = read_sweep(write("""
experiment = "base.toml"
[seeds]
network = 2
noise = [7, 9]
[grid]
"run.duration_ms" = [100.0, 200.0]
"""))
    assert len(sweep.members) == 8
    for member in sweep.members:
        experiment = sweep.experiment(member)
        assert experiment.hash[:ID_DIGITS] == member.id
        assert parse_experiment(tomllib.loads(experiment.to_toml())).hash == experiment.hash
    last = sweep.experiment(sweep.members[-1])
    assert last.seed.model_dump() == {"base": 7, "network": 2, "input": 7, "state": 7, "noise": 9}
    assert last == parse_experiment(small_experiment(seed={"base": 7, "network": 2, "noise": 9}))


def test_a_number_of_seeds_counts_from_one(write: Callable[[str], Path], tmp_path: Path) -> None:
    sweep = read_sweep(write('experiment = "base.toml"\nseeds = 3'))
    assert [member.settings for member in sweep.members] == [{"seed": 1}, {"seed": 2}, {"seed": 3}]
    by_hand = load_experiment(tmp_path / "base.toml", ["seed=2"])
    assert sweep.members[1].id == by_hand.hash[:ID_DIGITS]


def test_a_changed_sweep_keeps_the_ids_of_what_it_had(write: Callable[[str], Path]) -> None:
    before = read_sweep(write('experiment = "base.toml"\nseeds = 3'))
    after = read_sweep(write('experiment = "base.toml"\nseeds = 4\nranks = 2'))
    assert [m.id for m in after.members[:3]] == [m.id for m in before.members]


def test_members_stay_inside_the_sweeps_directory(write: Callable[[str], Path]) -> None:
    sweep = read_sweep(write('experiment = "base.toml"\n[grid]\ntitle = ["../../elsewhere"]\nseed = [1, 2]'))
    for member in sweep.members:
        assert sweep.run_directory(member).parent == sweep.directory / "runs"
        assert sweep.run_directory(member).name.isalnum()


def test_a_file_that_changes_after_reading_is_noticed(write: Callable[[str], Path], tmp_path: Path) -> None:
    path = write('experiment = "base.toml"\nseeds = 2\n[grid]\n"inputs.X" = [{kind = "recorded", file = "x.h5"}]')
    write_spikes(tmp_path / "x.h5", [1.0, 2.0], [3, 4])
    sweep = read_sweep(path)
    sweep.experiment(sweep.members[0])
    (tmp_path / "x.h5").unlink()
    write_spikes(tmp_path / "x.h5", [1.0, 2.0], [3, 5])
    with pytest.raises(ExperimentError, match="has changed since the sweep was read; run the sweep again"):
        sweep.experiment(sweep.members[0])


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ["experiment: name the experiment", "grid: there is nothing to vary"]),
        ('experiment = "base.toml"', ["grid: there is nothing to vary"]),
        ('experiment = "base.toml"\nseeds = 0', ["grid: there is nothing to vary"]),
        ('experiment = "base.toml"\nseed = 3\nseeds = 2', ["seed: unknown key; did you mean seeds?"]),
        ('experiment = "base.toml"\nseeds = "two"', ["seeds = 'two': must be a number of seeds, or a list"]),
        ('experiment = "base.toml"\nseeds = [1, -2]', ["seeds = [1, -2]: must be a number of seeds"]),
        ('experiment = "base.toml"\nseeds.inputs = 2', ["seeds.inputs: unknown key; did you mean input?"]),
        ('experiment = "base.toml"\nranks = 0\nseeds = 2', ["ranks = 0: must be a whole number of at least 1"]),
        ('experiment = "base.toml"\n[grid]\n"run.dt_ms" = 0.1', ["grid.run.dt_ms = 0.1: must be a list of values"]),
        ('experiment = "base.toml"\nseeds = 2\n[grid]\n"run.dt_ms" = []', ["grid.run.dt_ms = []: has no values"]),
        ('experiment = "base.toml"\nseeds = 2\n[grid]', ["grid: is empty"]),
        ('experiment = "base.toml"\n[zip]\ntitle = ["a"]', ["zip: write [[zip]]"]),
        ('experiment = "base.toml"\nzip = [1, 2]', ["zip: write [[zip]]"]),
        ('experiment = "base.toml"\n[[zip]]\ntitle = ["a"]\nseed = [1, 2]', ["zip[0] = {'title': 1, 'seed': 2}: the"]),
        ('experiment = "base.toml"\nseeds = 2\n[grid]\nseed.noise = [1]', ["seed: is varied twice (see seed.noise)"]),
        ('experiment = "none.toml"\nseeds = 2', ["experiment = ", "none.toml: does not exist; check the path"]),
        ('experiment = "study.toml"\nseeds = 2', ["study.toml: is a sweep, not an experiment"]),
        ('experiment = "base.toml"\n[grid]\n"populations.E.size" = [10, -1, 0]',
         ["populations.E.size = -1: must be greater than 0", "populations.E.size = 0: must be greater than 0"]),
        ('experiment = "base.toml"\n[grid]\n"populations.E.sise" = [10, 20]',
         ["populations.E.sise = 10: unknown key; did you mean size?"]),
        ('experiment = "base.toml"\n[grid]\n"title.a" = [1]', ["title.a = 1: title is a value, not a table"]),
        ('experiment = "base.toml"\nseeds = [4, 4]', ["members = ", "(seed=4) and ", "are the same experiment"]),
        ('experiment = "base.toml"\n[grid]\n"projections.E_to_E.delay_ms" = [1', ["file = ", "is not TOML"]),
    ],
)  # fmt: skip
def test_mistakes(write: Callable[[str], Path], text: str, lines: list[str]) -> None:
    path = write(text)
    with pytest.raises(ExperimentError) as raised:
        read_sweep(path)
    message = str(raised.value)
    assert all(line.startswith(f"{path}: ") for line in message.splitlines())
    for line in lines:
        assert line in message


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ({State.DONE: 2}, 0),
        ({State.DONE: 1, State.FAILED: 1}, 1),
        ({State.DONE: 1, State.STOPPED: 1}, 75),
        ({State.FAILED: 1, State.PENDING: 1}, 75),    # or a batch job would leave the pending one
    ],
)
def test_exit_codes(counts: dict[State, int], code: int) -> None:
    assert exit_code(Counter(counts)) == code


def test_the_name_of_a_sweep_file(write: Callable[..., Path]) -> None:
    with pytest.raises(ExperimentError, match=r"file = study: must end in \.toml"):
        read_sweep(write('experiment = "base.toml"\nseeds = 2', "study"))
