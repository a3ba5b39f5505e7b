"""Every bad command gives one clear message, exit code 2, no word of MPI, and writes nothing."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from tests.reliability.answers import refused

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def good(small_experiment: Make, tmp_path: Path) -> Path:
    """Write a valid experiment."""
    file = tmp_path / "good.toml"
    file.write_text(tomli_w.dumps(small_experiment()))
    return file


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["-n", "0"], "-n = 0"),
        (["-n", "-2"], "-n = -2"),
        (["-n", "two"], "'-n'"),
        (["--set", "populations.E.size"], "populations.E.size"),
        (["--set", "populations.E.size=0"], "populations.E.size"),
        (["--set", "populations.E.size.unit=3"], "populations.E.size"),
        (["--set", "seed=-1"], "seed"),
        (["--writer", "slow"], "slow"),
        (["--rank", "2"], "--rank"),
        (["more.toml"], "more.toml"),
    ],
    ids=" ".join,
)
def test_bad_command(arguments: list[str], word: str, good: Path, tmp_path: Path, steelyard) -> None:
    refused(steelyard("run", good.name, *arguments), word)
    assert list(tmp_path.iterdir()) == [good]


@pytest.mark.parametrize("command", ["check", "plan", "run"])
def test_a_sweep_is_no_experiment(command: str, good: Path, steelyard) -> None:
    good.with_name("sweep.toml").write_text(f'experiment = "{good.name}"\nseeds = 2\n')
    refused(steelyard(command, "sweep.toml"), "FILE = sweep.toml: is a sweep; steelyard sweep run sweep.toml")


@pytest.mark.parametrize("command", ["plan", "run", "status"])
def test_an_experiment_is_no_sweep(command: str, good: Path, steelyard) -> None:
    refused(steelyard("sweep", command, good.name), "is an experiment", f"or steelyard run {good.name}")


@pytest.mark.parametrize(
    ("content", "remedy"), [("experiment.toml", "steelyard resume taken"), ("notes.txt", "name another directory")]
)
def test_directory_is_taken(content: str, remedy: str, good: Path, tmp_path: Path, steelyard) -> None:
    directory = tmp_path / "taken"
    directory.mkdir()
    (directory / content).write_text("mine")
    refused(steelyard("run", good.name, "-n", "2", "-o", "taken"), "-o = taken", remedy)
    assert [path.read_text() for path in directory.iterdir()] == ["mine"]


def test_directory_is_a_file(good: Path, steelyard) -> None:
    refused(steelyard("run", good.name, "-o", good.name), "is a file")


@pytest.mark.parametrize("command", ["inspect", "verify", "report", "diff"])
def test_no_such_run(command: str, good: Path, steelyard) -> None:
    refused(steelyard(command, *["nowhere"] * (2 if command == "diff" else 1)), "nowhere")


@pytest.fixture
def wrong_mpirun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a launcher of another MPI: it starts processes that do not find each other."""
    path = tmp_path_factory.mktemp("bin") / "mpirun"
    path.write_text(
        '#!/bin/sh\nn=$2; shift 2\nfor rank in $(seq 0 $((n - 1))); do\n'
        '    PMI_RANK=$rank PMI_SIZE=$n "$@" & started="$started $!"\ndone\n'
        'code=0; for process in $started; do wait "$process" || code=$?; done; exit $code\n'
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_wrong_mpirun(wrong_mpirun: Path, good: Path, tmp_path: Path, steelyard, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(wrong_mpirun.parent), prepend=":")
    refused(steelyard("run", good.name, "-n", "2"), "mpirun", "size 1")
    assert not list(tmp_path.glob("runs/*/*"))


@pytest.mark.parametrize("ranks", [1, 2])
def test_bad_experiment_at_the_engines_door(ranks: int, good: Path, tmp_path: Path, mpirun) -> None:
    directory = tmp_path / "run"
    done = mpirun(ranks, "-m", "mpi_engine", "run", good, "-o", directory, "--set", "populations.E.size=-4")
    assert done.returncode == 2
    messages = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("steelyard: ")]
    assert len(messages) == 1 and "populations.E.size" in messages[0]
    assert "Traceback" not in done.stderr
    assert not directory.exists()
