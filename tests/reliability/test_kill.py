"""kill -9 at any moment: what was sealed stays whole and readable, and the run goes on to the same end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from mpi_engine.experiment import load_experiment
from mpi_engine.output.difference import differences
from mpi_engine.output.reader import open_run
from mpi_engine.output.sealed import sealed_segments
from mpi_engine.run.job import resume, run
from tests.mpi.networks import NETWORKS
from tests.processes import wait_for, wait_for_end
from tests.reliability.engines import end_of, ranks_of, started_engine

Make = Callable[..., dict[str, Any]]

OFTEN = {"checkpoint_every_ms": 7.3}


def random_ends(path: Path, directory: Path, name: str, times: int, seed: int) -> tuple[int, int, int]:
    """Count the attempts that were killed, those of them that left a file half written, and those that stopped.

    There are more of them, if need be, until one is of the kind that the signal is about.
    """
    command = [sys.executable, "-m", "tests.reliability.kills", str(path), str(directory), name, str(times), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=None, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    killed, partial, stopped = map(int, done.stdout.split())
    return killed, partial, stopped


@pytest.fixture
def path(small_experiment: Make, tmp_path: Path) -> Path:
    path = tmp_path / "experiment.toml"
    changes = {"run": {"duration_ms": 100.0, **OFTEN}, "recording": {"segment_ms": 13.0}}
    path.write_text(tomli_w.dumps(small_experiment(**changes)))
    return path


def test_twenty_kills_at_random_moments(path: Path, tmp_path: Path) -> None:
    killed, partial, _ = random_ends(path, tmp_path, "SIGKILL", 20, seed=1)
    assert killed >= 20
    assert partial > 0


def test_stops_at_random_moments(path: Path, tmp_path: Path) -> None:
    _, _, stopped = random_ends(path, tmp_path, "SIGUSR1", 6, seed=2)
    assert stopped > 0


@pytest.mark.science
@pytest.mark.parametrize("name", ["SIGKILL", "SIGUSR1"])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_hundred_ends_of_every_network(network: str, name: str, small_experiment: Make, tmp_path: Path) -> None:
    table = small_experiment(**NETWORKS[network])
    table["run"] |= {"duration_ms": 100.0, **OFTEN}
    table["recording"]["segment_ms"] = 13.0
    (tmp_path / "experiment.toml").write_text(tomli_w.dumps(table))
    killed, _, stopped = random_ends(tmp_path / "experiment.toml", tmp_path, name, 100, seed=3)
    assert killed + stopped >= 100


@pytest.mark.parametrize("victim", ["rank 0", "rank 1", "launcher"])
def test_a_killed_job_goes_on(victim: str, small_experiment: Make, tmp_path: Path) -> None:
    """The run would go on for hours; afterwards it is made to end soon."""
    file, directory = tmp_path / "experiment.toml", tmp_path / "run"
    file.write_text(tomli_w.dumps(small_experiment(run={"duration_ms": 1e8, **OFTEN}, recording={"segment_ms": 10.0})))
    with started_engine(2, "-m", "mpi_engine", "run", file, "-o", directory) as launcher:
        wait_for(lambda: len(sealed_segments(directory)) >= 3 or launcher.poll() is not None, "a segment")
        ranks = ranks_of(launcher)
        os.kill(launcher.pid if victim == "launcher" else ranks[int(victim[-1])].pid, signal.SIGKILL)
        assert end_of(launcher).code != 0
        wait_for_end(ranks)
    reader = open_run(directory)
    assert reader.verify() == []
    assert reader.recorded_ms > 0.0
    assert reader.spikes("E").times_ms.max() <= reader.recorded_ms
    end = f"run.duration_ms={round(reader.recorded_ms) + 20}"
    resume(directory, [end])
    run(load_experiment(file, [end]), tmp_path / "uninterrupted")
    assert differences(tmp_path / "uninterrupted", directory) == []
