"""The command: what it starts, passes on, shows and returns."""

from __future__ import annotations

import fcntl
import io
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import pytest
import tomli_w
from rich.console import Console

from mpi_engine.experiment import ExperimentError, load_experiment
from orchestration import doctor
from orchestration.engine import find_mpirun
from orchestration.launcher import Launch, prepare, prepare_resume
from orchestration.progress import picture
from tests.processes import PATIENCE_S

Table = dict[str, Any]

STEELYARD = str(Path(sys.executable).with_name("steelyard"))


@pytest.fixture
def experiment_file(small_experiment: Callable[..., Table], tmp_path: Path) -> Path:
    """Write a valid experiment."""
    file = tmp_path / "small.toml"
    file.write_text(tomli_w.dumps(small_experiment()))
    return file


def steelyard(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Type a command."""
    return subprocess.run(
        [STEELYARD, *map(str, arguments)],
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_check_prints_what_will_be_run(experiment_file: Path) -> None:
    done = steelyard("check", experiment_file, "--set", "populations.E.size=90", "--set", "title=Larger")
    assert (done.returncode, done.stderr) == (0, "")
    resolved = tomllib.loads(done.stdout)
    assert resolved["populations"]["E"]["size"] == 90
    assert resolved["title"] == "Larger"
    assert resolved["run"]["state_dtype"] == "float32"    # a default


def test_check_warns_of_a_stalling_weight(experiment_file: Path) -> None:
    done = steelyard("check", experiment_file, "--set", "plasticity.homeostatic.learning_rate_mv=1e-7")
    assert done.returncode == 0
    [line] = done.stderr.splitlines()
    assert line.startswith("steelyard: warning: ") and "plasticity.homeostatic.learning_rate_mv" in line
    tomllib.loads(done.stdout)


def test_directory_is_named_after_file_and_experiment(experiment_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(experiment_file.parent)
    launch = prepare(experiment_file)
    assert launch.directory == Path("runs") / f"small-{load_experiment(experiment_file).hash[:8]}"
    other = prepare(experiment_file, overrides=["seed=8"])
    assert other.directory != launch.directory
    assert not Path("runs").exists()


def test_command_line_of_the_engine(experiment_file: Path) -> None:
    alone = Launch(experiment_file, Path("out"), 1, ("seed=8", "title=a b"), "gather").command()
    expected = ["-m", "mpi_engine", "run", str(experiment_file), "-o", "out"]
    assert alone == [sys.executable, *expected, "--set", "seed=8", "--set", "title=a b", "--writer", "gather"]
    assert Launch(experiment_file, Path("out"), 3).command() == [
        str(find_mpirun()), "-n", "3", sys.executable, *expected
    ]  # fmt: skip
    going_on = Launch(None, Path("out"), overrides=("run.duration_ms=9",), max_walltime_s=5400.0, reserve_s=30.0)
    words = ["resume", "out", "--set", "run.duration_ms=9", "--max-walltime", "5400.0", "--reserve", "30.0"]
    assert going_on.command() == [sys.executable, "-m", "mpi_engine", *words]


def test_going_on_takes_as_many_ranks_as_before(experiment_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"RUN = .*: holds no run"):
        prepare_resume(tmp_path)
    (tmp_path / "experiment.toml").write_text(experiment_file.read_text())
    assert prepare_resume(tmp_path).ranks == 1
    (tmp_path / "status.json").write_text('{"phase": "stopped", "ranks": 2}')
    assert prepare_resume(tmp_path).ranks == 2
    assert prepare_resume(tmp_path, 1).ranks == 1
    for damaged in (b"", b'{"phase"', b"\0" * 20):     # as a crash of the machine may leave it
        (tmp_path / "status.json").write_bytes(damaged)
        assert prepare_resume(tmp_path).ranks == 1


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (("--max-walltime", "soon"), "--max-walltime = soon: is no duration"),
        (("--max-walltime", "60"), "--max-walltime = 60: is not longer than the reserve of 60 s"),
        (("--max-walltime", "60", "--reserve", "1:30"), "--max-walltime = 60: is not longer than the reserve of 90 s"),
    ],
)
def test_a_time_limit_that_cannot_be_kept(limits: tuple[str, ...], message: str, experiment_file: Path) -> None:
    done = steelyard("run", experiment_file, "-o", experiment_file.parent / "run", *limits)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith(f"steelyard: command: {message}")
    assert not (experiment_file.parent / "run").exists()


def test_no_mpirun(experiment_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if find_mpirun() is not None:
        assert find_mpirun().parent == Path(sys.executable).parent
        return
    with pytest.raises(ExperimentError, match="-n = 2: there is no mpirun"):
        prepare(experiment_file, ranks=2)
    assert prepare(experiment_file, ranks=1).ranks == 1


def drawn(status: Table, width: int = 80) -> str:
    """Draw a status on a terminal of some width."""
    terminal = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    terminal.print(picture(status))
    return terminal.file.getvalue()


RUNNING = {
    "phase": "running",
    "step": 129_000,
    "n_steps": 300_000,
    "time_ms": 12_900.0,
    "duration_ms": 30_000.0,
    "speed": 2.125,
    "remaining_s": 3_725.4,
    "rates_hz": {"E": 10.04, "I": 14.11},
}


def test_picture_of_a_running_engine() -> None:
    lines = drawn(RUNNING).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert re.search(r"12\.90 of 30 s +2\.1[23] x real time +1:02:05 left$", lines[0])
    assert lines[1].split() == ["E", "10.0", "Hz", "I", "14.1", "Hz"]


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ({}, "starting"),
        ({"phase": "building", "memory_mb": 80.0}, "building"),
        ({"phase": "compiling", "step": 0, "n_steps": 300_000, "time_ms": 0.0, "duration_ms": 30_000.0}, "once"),
        (RUNNING | {"phase": "checkpointing", "time_ms": 30_000.0}, "checkpoint"),
        (RUNNING | {"phase": "finishing", "time_ms": 30_000.0}, "run.h5"),
    ],
)
def test_picture_of_other_phases(status: Table, word: str) -> None:
    assert word in drawn(status)


def test_picture_does_not_flicker_while_a_segment_is_written() -> None:
    assert drawn(RUNNING | {"phase": "writing"}) == drawn(RUNNING)


def test_doctor_tries_two_ranks() -> None:
    findings = {finding.name: finding for finding in doctor.examine()}
    assert findings["2 ranks"].found.endswith("works")
    done = steelyard("doctor")
    assert done.returncode == 0
    assert sys.version.split()[0] in done.stdout


def test_doctor_says_what_to_do_about_an_mpirun_that_fails(tmp_path: Path) -> None:
    mpirun = tmp_path / "mpirun"
    mpirun.write_text('#!/bin/sh\nshift 2\nexec "$@"\n')     # starts one process, whatever it is asked for
    mpirun.chmod(0o755)
    done = steelyard("doctor", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.returncode == 1
    words = " ".join(done.stdout.split())
    assert "a world of 1 where 2 ranks were started" in words
    assert "load its module" in words


@pytest.fixture(scope="module")
def finished(small_experiment: Callable[..., Table], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the small experiment on two ranks, and return its directory."""
    file = tmp_path_factory.mktemp("runs") / "small.toml"
    file.write_text(tomli_w.dumps(small_experiment()))
    directory = file.parent / "two"
    done = steelyard("run", file, "-n", "2", "-o", directory)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith(f"next: steelyard inspect {directory}")
    assert done.stderr == ""
    return directory


def test_a_run_can_be_inspected_and_verified(finished: Path) -> None:
    done = steelyard("inspect", finished)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^state +finished", done.stdout, re.M)
    assert re.search(r"^recorded +0\.2 of 0\.2 s", done.stdout, re.M)
    assert re.search(r"^time +[a-z]+ \d+\.\d %, [a-z]+ \d", done.stdout, re.M)
    assert re.search(r"^E +83 neurons, \d+\.\d\d Hz", done.stdout, re.M)
    assert re.search(r"^/report/E/data +\d+ x 3 +float32 +mV *$", done.stdout, re.M)
    assert steelyard("inspect", finished / "run.h5").stdout == done.stdout
    assert steelyard("verify", finished).returncode == 0


def test_one_rank_gives_the_same_file(finished: Path) -> None:
    alone = finished.parent / "one"
    done = steelyard("run", finished.parent / "small.toml", "-o", alone)
    assert done.returncode == 0, done.stderr
    done = steelyard("diff", finished, alone)
    assert (done.returncode, done.stdout) == (0, "identical outside /provenance\n")


def test_a_directory_is_not_written_twice(finished: Path) -> None:
    before = (finished / "run.h5").read_bytes()
    done = steelyard("run", finished.parent / "small.toml", "-n", "2", "-o", finished)
    assert done.returncode == 2
    assert "holds a finished run" in done.stderr
    assert (finished / "run.h5").read_bytes() == before


def test_a_damaged_file_is_told(finished: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "run.h5"
    content = bytearray((finished / "run.h5").read_bytes())
    with h5py.File(finished / "run.h5") as file:
        means = file["/weights/I_to_E/mean"]
        content[means.id.get_offset() + means.dtype.itemsize] ^= 1    # the last bit of the second value
    damaged.write_bytes(content)
    done = steelyard("verify", damaged)
    assert done.returncode == 4
    [line] = done.stderr.splitlines()
    assert line.startswith(f"steelyard: {damaged}: /weights/I_to_E/mean")
    done = steelyard("diff", finished, damaged)     # what is damaged is not even compared
    assert (done.returncode, done.stderr.splitlines()) == (4, [line])
    damaged.write_bytes(b"no HDF5")
    done = steelyard("inspect", damaged)
    assert (done.returncode, len(done.stderr.splitlines())) == (4, 1)


def test_report_is_one_page(finished: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = steelyard("report", finished, "-o", page)
    assert done.returncode == 0, done.stderr
    assert page.read_text().lstrip().lower().startswith("<!doctype html>")


def test_a_terminal_sees_a_bar_instead_of_lines(experiment_file: Path) -> None:
    """The run would go on for hours: it is stopped when its bar has been seen."""
    directory = experiment_file.parent / "seen"
    ours, theirs = os.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [STEELYARD, "run", str(experiment_file), "-o", str(directory), "--set", "run.duration_ms=1e8"]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm"})
    os.close(theirs)
    seen, stopping = b"", False
    with suppress(OSError):     # Linux ends a terminal that nobody writes to any more with an error
        while piece := os.read(ours, 65536):
            seen += piece
            if b"x real time" in seen and not stopping:
                process.send_signal(signal.SIGINT)
                stopping = True
    os.close(ours)
    assert process.wait(PATIENCE_S) == 75, seen.decode()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    assert "of 100000 s" in text and "stopping; once more ends it at once" in text
    assert "built" in (directory / "log.txt").read_text() and "synapses in" not in text
    assert text.rstrip().splitlines()[-1].endswith(f"next: steelyard resume {directory}")
