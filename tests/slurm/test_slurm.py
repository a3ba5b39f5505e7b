"""Runs and sweeps on a real SLURM of two nodes: see slurm/test-cluster."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import tomli_w

from mpi_engine.output.difference import differences
from orchestration import slurm
from orchestration.batch import last_checkpoint

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "slurm"
PATIENCE_S = 1200
POLL_S = 0.1

pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


def wait_until(condition: Callable[[], Any], what: str, log: Path | None = None) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not in time\n{log.read_text() if log else ''}"
        time.sleep(POLL_S)
    return found


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    """Start the cluster; wait for its end first, if someone else on this machine has one."""
    wait_until(lambda: not Path("/run/steelyard-slurm").exists(), "the end of another test cluster")
    started = subprocess.run([SCRIPTS / "test-cluster", "start"], capture_output=True, text=True, check=False)
    assert started.returncode == 0, started.stderr
    environment = {
        "SLURM_CONF": started.stdout.strip().partition("=")[2],
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield
        subprocess.run([SCRIPTS / "test-cluster", "stop"], check=True)
    assert not Path("/run/steelyard-slurm").exists()
    assert not any("slurm" in process.info["name"] for process in psutil.process_iter(["name"]))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, small_experiment: Callable[..., dict[str, Any]]) -> Path:
    """A directory with blanks in its name, with experiments of some seconds and of a moment."""
    place = tmp_path_factory.mktemp("a place")
    for name, duration_ms in {"long": 60000.0, "short": 200.0}.items():
        run = {"duration_ms": duration_ms, "checkpoint_every_ms": duration_ms / 20}
        experiment = small_experiment(run=run, recording={"segment_ms": duration_ms / 20})
        (place / f"{name}.toml").write_text(tomli_w.dumps(experiment))
    return place


@pytest.fixture(scope="module")
def reference(place: Path) -> Path:
    """The long run without a batch system, uninterrupted."""
    steelyard("run", "long.toml", "-o", "reference", cwd=place)
    return place / "reference"


def steelyard(*arguments: str | Path, cwd: Path, code: int = 0, env: dict[str, str] | None = None) -> str:
    ran = subprocess.run([shutil.which("steelyard") or "", *arguments], cwd=cwd, capture_output=True, text=True,
                         timeout=PATIENCE_S, check=False, env=os.environ | (env or {}))
    assert ran.returncode == code, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def sbatch(*arguments: str | Path, cwd: Path) -> str:
    submitted = subprocess.run(["sbatch", "--parsable", "--output=job.log", *arguments], cwd=cwd, check=True,
                               capture_output=True, text=True)
    return submitted.stdout.strip()


def detail(job: str, key: str) -> str:
    shown = subprocess.run(["scontrol", "show", "job", "--oneliner", job], check=True, capture_output=True, text=True)
    found = re.search(rf"\b{key}=(\S+)", shown.stdout)
    assert found is not None
    return found[1]


def wait_for_end(job: str, log: Path | None = None) -> slurm.Job:
    return wait_until(lambda: (found := slurm.find_job(job)).has_ended and found, f"end of job {job}", log)


def test_a_run_goes_on_beyond_the_time_limit_of_its_job(place: Path, reference: Path) -> None:
    run = place / "beyond the limit"
    job = sbatch("--ntasks=1", "--time=2", "--signal=B:USR1@5", SCRIPTS / "run.sbatch", "long.toml", "-o", run.name,
                 "--reserve", "40", cwd=place)
    # the run is made to need more time than its job has, however fast the machine is
    wait_until(lambda: (run / "segments").is_dir() and list(run.glob("segments/*.h5")), "the first segment",
               place / "job.log")
    engine = psutil.Process(json.loads((run / "status.json").read_text())["pid"])
    engine.suspend()
    end = time.mktime(time.strptime(detail(job, "EndTime"), "%Y-%m-%dT%H:%M:%S"))
    time.sleep(max(0.0, end - 40 - time.time()))
    assert last_checkpoint(run) < 600000
    engine.resume()
    ended = wait_for_end(job, place / "job.log")
    assert (ended.state, ended.exit_code) == ("COMPLETED", 0), (place / "job.log").read_text()
    assert int(detail(job, "Restarts")) >= 1
    assert differences(run, reference) == []


def test_a_cancelled_run_over_two_nodes_can_go_on(place: Path, reference: Path) -> None:
    run = place / "over two nodes"
    over_two = ("--nodes=2", "--ntasks=2", "--ntasks-per-node=1", SCRIPTS / "run.sbatch")
    job = sbatch(*over_two, "long.toml", "-o", run.name, cwd=place)
    wait_until(lambda: last_checkpoint(run) > 0, "the first checkpoint", place / "job.log")
    slurm.cancel(job)
    assert wait_for_end(job).state == "CANCELLED"
    assert not (run / "run.h5").exists()
    assert 0 < last_checkpoint(run) < 600000
    again = sbatch(*over_two, run.name, cwd=place)
    ended = wait_for_end(again, place / "job.log")
    assert (ended.state, ended.exit_code) == ("COMPLETED", 0), (place / "job.log").read_text()
    assert detail(again, "NodeList") == "n[1-2]"
    assert differences(run, reference) == []
