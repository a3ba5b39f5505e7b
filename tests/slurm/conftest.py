"""A real SLURM of two nodes, and experiments for its jobs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import tomli_w

from tests.processes import wait_for, wait_for_end
from tests.slurm.jobs import SCRIPTS, steelyard


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    """Start the cluster; wait for its end first, if someone else on this machine has one."""
    wait_for(lambda: not Path("/run/steelyard-slurm").exists(), "the end of another test cluster")
    started = subprocess.run([SCRIPTS / "test-cluster", "start"], capture_output=True, text=True, check=False)
    assert started.returncode == 0, started.stderr
    environment = {
        "SLURM_CONF": started.stdout.strip().partition("=")[2],
        "PYTHONPATH": str(SCRIPTS.parent),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMPI_MCA_mpi_yield_when_idle": "1",    # the nodes share their cores, with other tests too
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        daemons = [psutil.Process(int((Path("/run/steelyard-slurm/pid") / name).read_text()))
                   for name in ("munged", "slurmctld", "n1", "n2")]
        yield
        subprocess.run([SCRIPTS / "test-cluster", "stop"], check=True)
    wait_for_end(daemons)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, small_experiment: Callable[..., dict[str, Any]]) -> Path:
    """A directory with blanks in its name, with experiments of some seconds, of one, and of a moment."""
    place = tmp_path_factory.mktemp("a place")
    for name, duration_ms in {"long": 60000.0, "middling": 10000.0, "short": 200.0}.items():
        run = {"duration_ms": duration_ms, "checkpoint_every_ms": duration_ms / 20}
        experiment = small_experiment(run=run, recording={"segment_ms": duration_ms / 20})
        (place / f"{name}.toml").write_text(tomli_w.dumps(experiment))
    return place


@pytest.fixture(scope="module")
def reference(place: Path) -> Callable[[str], Path]:
    """What an experiment gives without a batch system, uninterrupted."""

    def run(name: str) -> Path:
        if not (place / "reference" / name).exists():
            steelyard("run", f"{name}.toml", "-o", f"reference/{name}", cwd=place)
        return place / "reference" / name

    return run
