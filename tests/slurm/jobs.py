"""What tests of batch jobs share: submitting, asking, waiting."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import tomli_w

from orchestration import slurm
from tests.processes import PATIENCE_S, wait_for

SCRIPTS = Path(__file__).parents[2] / "slurm"


def wait_until(condition: Callable[[], Any], what: str, log: Path) -> Any:
    """Wait for what a job does; if it does not come, show the job's log."""
    try:
        return wait_for(condition, what, every_s=0.1)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{log.read_text() if log.exists() else 'no log'}") from None


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


def wait_for_end_of_job(job: str, log: Path) -> slurm.Job:
    return wait_until(lambda: (found := slurm.find_job(job)).has_ended and found, f"the end of job {job}", log)


def engine_of(run: Path) -> psutil.Process:
    """Find the first rank of a run."""
    return psutil.Process(json.loads((run / "status.json").read_text())["pid"])


def write_sweep(path: Path, experiment: str, **more: Any) -> Path:
    """Write a sweep over two seeds, the first of which is that of the experiment, and return its directory."""
    path.write_text(tomli_w.dumps({"experiment": experiment, "seeds": [7, 8], **more}))
    return path.with_suffix("")
