"""A stop at any moment, asked for in any way: a checkpoint, exit code 75, and the same result after going on."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import psutil
import pytest
import tomli_w

from mpi_engine.output.difference import differences
from tests.processes import held, wait_for, wait_for_end
from tests.reliability.engines import (
    WITHIN_S,
    Process,
    ask,
    befallen,
    end_of,
    engine,
    ranks_of,
    started,
    started_engine,
    wait_until_nothing_is_left,
)

STEELYARD = str(Path(sys.executable).with_name("steelyard"))

Table = dict[str, Any]

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def reference(small_experiment: Callable[..., Table], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run an experiment without interruption; its file lies beside the run directory."""
    file = tmp_path_factory.mktemp("reference") / "experiment.toml"
    run = {"duration_ms": 60.0, "checkpoint_every_ms": 20.0}
    file.write_text(tomli_w.dumps(small_experiment(run=run, recording={"segment_ms": 20.0})))
    assert engine(1, "run", file, "-o", file.with_name("run")).code == 0
    return file.with_name("run")


@pytest.fixture
def long(small_experiment: Callable[..., Table], tmp_path: Path) -> Path:
    """Write an experiment that would run for hours, with segments as long as memory allows."""
    file = tmp_path / "experiment.toml"
    file.write_text(tomli_w.dumps(small_experiment(run={"duration_ms": 1e8}, recording={"segment_ms": 1e8})))
    return file


def checkpoints(directory: Path) -> list[int]:
    """Steps at which a run can go on."""
    return sorted(int(path.stem) for path in directory.glob("checkpoint/*.h5"))


def step_of(directory: Path) -> int:
    """Read how far a run is."""
    try:
        return int(json.loads((directory / "status.json").read_text()).get("step", 0))
    except FileNotFoundError:
        return 0


def wait_for_steps(process: Process, directory: Path) -> None:
    """Wait until the steps of a run go on."""
    before = step_of(directory)

    def goes_on() -> bool:
        assert process.poll() is None, process.communicate()
        return step_of(directory) > before

    wait_for(goes_on, "a step")


def go_on(directory: Path, ranks: int, reference: Path) -> None:
    """Resume a run, and find what was there without the stop."""
    end = engine(ranks, "resume", directory)
    assert end.code == 0, end.err
    assert differences(directory, reference) == []


def stop_in(phase: str, event: str, rank: int, ranks: int, reference: Path, directory: Path) -> None:
    """Send a signal in a phase, and see that the run stops after at most one step more."""
    note = directory.with_suffix(".note")
    file = reference.with_name("experiment.toml")
    end = befallen(event, phase, rank, ranks, note, "run", file, "-o", directory)
    assert end.at - float(note.read_text()) < WITHIN_S
    if phase == "finishing":     # everything is done already
        assert end.code == 0
        assert differences(directory, reference) == []
        return
    assert end.code == 75, end.err
    assert f"{event} to rank {rank}" in (directory / "log.txt").read_text()
    steps = {"building": 0, "compiling": 0, "running": 1, "writing": 201, "checkpointing": 201}[phase]
    assert checkpoints(directory)[-1:] in ([steps], []) if steps == 0 else checkpoints(directory)[-1] == steps
    go_on(directory, 1, reference)


@pytest.mark.parametrize(
    ("phase", "event", "rank", "ranks"),
    [
        ("building", "SIGUSR1", 1, 2),
        ("compiling", "SIGTERM", 0, 1),
        ("running", "SIGINT", 1, 2),
        ("writing", "SIGTERM", 0, 1),
        ("checkpointing", "SIGUSR1", 0, 1),
        ("finishing", "SIGTERM", 0, 1),
    ],
)
def test_a_signal_in_a_phase(phase: str, event: str, rank: int, ranks: int, reference: Path, tmp_path: Path) -> None:
    stop_in(phase, event, rank, ranks, reference, tmp_path / "run")


@pytest.mark.science
@pytest.mark.parametrize(
    ("phase", "event", "rank"),
    list(product(
        ("building", "compiling", "running", "writing", "checkpointing", "finishing"),
        ("SIGINT", "SIGTERM", "SIGUSR1"),
        (0, 2),
    )),
)
def test_every_signal_in_every_phase(phase: str, event: str, rank: int, reference: Path, tmp_path: Path) -> None:
    stop_in(phase, event, rank, 3, reference, tmp_path / "run")


def test_a_second_signal_ends_at_once_and_leaves_the_last_checkpoint(reference: Path, tmp_path: Path) -> None:
    directory, note, file = tmp_path / "run", tmp_path / "note", reference.with_name("experiment.toml")
    assert befallen("SIGTERM", "writing", 0, 1, note, "run", file, "-o", directory).code == 75
    kept = {path: path.read_bytes() for path in directory.glob("checkpoint/*.h5")}
    assert kept
    note.unlink()
    end = befallen("SIGUSR1,SIGINT", "checkpointing", 0, 1, note, "resume", directory)
    assert end.code == 128 + signal.SIGINT
    assert {path: path.read_bytes() for path in directory.glob("checkpoint/*.h5")} == kept
    go_on(directory, 2, reference)


@pytest.mark.parametrize("whom", ["launcher", "all ranks"])
def test_a_signal_amid_a_long_block(whom: str, long: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    with started_engine(2, "-m", "mpi_engine", "run", long, "-o", directory) as process:
        wait_for_steps(process, directory)
        asked = time.time()
        if whom == "launcher":
            process.send_signal(signal.SIGUSR1)
        else:
            ask(ranks_of(process), signal.SIGTERM)
        end = end_of(process)
        wait_until_nothing_is_left(process)
    assert end.code == 75, end.err
    assert end.at - asked < WITHIN_S
    assert checkpoints(directory)[-1] == step_of(directory)


def test_steelyard_stop_and_resume(long: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    with started([STEELYARD, "run", str(long), "-n", "2", "-o", str(directory)], dict(os.environ)) as process:
        wait_for_steps(process, directory)
        with started([STEELYARD, "stop", str(directory)], dict(os.environ)) as stopping:
            stopped = end_of(stopping)
        end = end_of(process)
    assert (stopped.code, stopped.err) == (0, "")
    said = f"stopped at {step_of(directory) * 1e-4:g} of 100000 s; next: steelyard resume {directory}"
    assert stopped.out.splitlines()[-1] == end.out.splitlines()[-1] == said
    assert end.code == 75
    with started([STEELYARD, "stop", str(directory)], dict(os.environ)) as stopping:
        again = end_of(stopping)
    assert (again.code, again.out.splitlines()) == (0, [f"{directory} is not running", said])
    with started([STEELYARD, "inspect", str(directory)], dict(os.environ)) as inspection:
        assert f"stopped, step {step_of(directory)} of 1000000000" in end_of(inspection).out
    with started([STEELYARD, "resume", str(directory)], dict(os.environ)) as process:
        wait_for_steps(process, directory)
        assert len(psutil.Process(process.pid).children(recursive=True)) >= 3     # mpirun, and two ranks as before
        process.send_signal(signal.SIGTERM)
        end = end_of(process)
    assert end.code == 75
    assert "stopped at " in end.out.splitlines()[-1]


def test_the_time_limit(long: Path, tmp_path: Path) -> None:
    limits = ["--max-walltime", "0:00:15", "--reserve", "2"]
    with started([STEELYARD, "run", str(long), "-o", str(tmp_path / "run"), *limits], dict(os.environ)) as process:
        end = end_of(process)
    assert end.code == 75, end.err
    assert "time limit" in (tmp_path / "run" / "log.txt").read_text()
    assert end.out.splitlines()[-1].startswith("stopped ")


def test_a_plan_that_is_not_wanted_any_more_ends_in_silence(reference: Path) -> None:
    file = reference.with_name("experiment.toml")
    with started([STEELYARD, "plan", str(file), "-n", "2"], dict(os.environ)) as process:
        command = psutil.Process(process.pid)

        def ranks_run() -> list[psutil.Process]:
            assert process.poll() is None, process.communicate()
            return found if len(found := command.children(recursive=True)) >= 3 else []

        ranks = wait_for(ranks_run, "the ranks")
        with held(ranks[-1]):
            process.send_signal(signal.SIGINT)
            end = end_of(process)
    wait_for_end(ranks)
    assert (end.code, end.out, end.err) == (128 + signal.SIGINT, "", "")
