"""kill -9 of a rank in mid-run: what was sealed stays whole and readable."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import tomli_w

from mpi_engine.output.reader import open_run
from orchestration.launcher import engine_environment, find_mpirun


@pytest.mark.parametrize("victim", [0, 1])
def test_sealed_segments_survive_the_death_of_a_rank(
    victim: int, small_experiment: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    path, directory = tmp_path / "experiment.toml", tmp_path / "run"
    path.write_text(tomli_w.dumps(small_experiment(run={"duration_ms": 1e6})))
    engine = [sys.executable, "-m", "mpi_engine", "run", str(path), "-o", str(directory)]
    launcher = subprocess.Popen(
        [str(find_mpirun()), "-n", "2", *engine],
        env=engine_environment(2),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 100
        while len(list(directory.glob("segments/*.h5"))) < 3:
            assert launcher.poll() is None, "the run ended by itself"
            assert time.monotonic() < deadline, "no segment was sealed in time"
            time.sleep(0.05)
        children = psutil.Process(launcher.pid).children(recursive=True)
        ranks = [child for child in children if "mpi_engine" in child.cmdline()]
        ranks.sort(key=lambda process: int(process.environ()["OMPI_COMM_WORLD_RANK"]))
        os.kill(ranks[victim].pid, signal.SIGKILL)
        assert launcher.wait(timeout=10) != 0
    finally:
        if launcher.poll() is None:
            os.killpg(launcher.pid, signal.SIGKILL)
    reader = open_run(directory)
    assert not reader.finished
    assert reader.verify() == []
    assert reader.recorded_ms >= 300.0
    spikes = reader.spikes("E")
    assert spikes.ids.size > 0
    assert spikes.times_ms.max() <= reader.recorded_ms
    assert reader.statistics("E").mean["V"].shape[1] == 83
