"""An exception on any rank in any phase ends the whole job within seconds, and says once where it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from tests.reliability.engines import WITHIN_S, befallen, end_of, engine, started_engine

PHASES = ("building", "compiling", "running", "writing", "checkpointing", "finishing")

pytestmark = pytest.mark.timeout(3600)


def fail(phase: str, rank: int, ranks: int, table: dict[str, Any], tmp_path: Path) -> None:
    """Inject an exception, and look at the end."""
    file, note = tmp_path / "experiment.toml", tmp_path / "note"
    file.write_text(tomli_w.dumps(table))
    end = befallen("raise", phase, rank, ranks, note, "run", file, "-o", tmp_path / "run")
    assert end.at - float(note.read_text()) < WITHIN_S
    assert end.code not in (0, 2, 75)
    assert end.err.count("Traceback (most recent call last)") == 1, end.err
    assert f"steelyard: rank {rank} of {ranks} failed" in end.err
    assert "RuntimeError: injected" in end.err
    assert not (tmp_path / "run" / "run.h5").exists()


SHORT = {"run": {"duration_ms": 20.0}, "recording": {"segment_ms": 10.0}}


@pytest.mark.parametrize(("phase", "rank"), list(zip(PHASES, (2, 1, 0, 1, 2, 0), strict=True)))
def test_an_exception_ends_all_ranks(
    phase: str, rank: int, small_experiment: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    fail(phase, rank, 3, small_experiment(**SHORT), tmp_path)


@pytest.mark.parametrize(("phase", "rank"), [("running", 1), ("finishing", 0)])
def test_an_error_of_one_rank_alone_ends_all_ranks(
    phase: str, rank: int, small_experiment: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Such errors are every rank's as a rule, and the first one tells them; the others must not wait for this one."""
    file, note = tmp_path / "experiment.toml", tmp_path / "note"
    file.write_text(tomli_w.dumps(small_experiment(**SHORT)))
    end = befallen("refuse", phase, rank, 2, note, "run", file, "-o", tmp_path / "run")
    assert end.at - float(note.read_text()) < WITHIN_S
    assert end.code == 4, end.err
    assert end.err.count("steelyard: injected") == 1
    assert "Traceback" not in end.err


@pytest.mark.science
@pytest.mark.parametrize("rank", range(4))
@pytest.mark.parametrize("phase", PHASES)
def test_an_exception_on_every_rank(
    phase: str, rank: int, small_experiment: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    fail(phase, rank, 4, small_experiment(**SHORT), tmp_path)


def test_a_job_step_whose_ranks_do_not_see_each_other_is_refused(
    small_experiment: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text(tomli_w.dumps(small_experiment(**SHORT)))
    end = engine(1, "run", file, "-o", tmp_path / "run", env={"SLURM_STEP_NUM_TASKS": "4"})
    assert end.code == 2
    [line] = end.err.splitlines()
    assert line.startswith("steelyard: the launcher meant 4 ranks, but this world has size 1")
    assert not (tmp_path / "run").exists()


def test_a_cache_that_cannot_be_written_to_is_told(
    small_experiment: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text(tomli_w.dumps(small_experiment(**SHORT)))
    end = engine(1, "run", file, "-o", tmp_path / "run", env={"XDG_CACHE_HOME": str(file)})
    assert end.code == 2, end.err
    [line] = end.err.splitlines()
    assert line.startswith(f"steelyard: kernel cache = {file}/steelyard/kernels/")
    assert "Not a directory; let it be written to, or set XDG_CACHE_HOME to another" in line
    assert not (tmp_path / "run").exists()


_LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv.pop(1)),) * 2)
runpy.run_module("mpi_engine", run_name="__main__", alter_sys=True)
"""


def test_a_network_that_needs_more_memory_than_there_is_is_told(
    small_experiment: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Spikes under way to 10^6 neurons for up to 32768 steps: 65 GB, where a rank may have 16."""
    file, limit = tmp_path / "experiment.toml", 16 * 10**9
    table = small_experiment(**SHORT, populations={"I": {"size": 10**6}})
    table["projections"] = {"X_to_I": table["projections"]["X_to_I"] | {"probability": 1e-3, "delay_ms": 3276.8}}
    table["recording"] = {"segment_ms": 10.0}
    file.write_text(tomli_w.dumps(table))
    with started_engine(2, "-c", _LIMITED, str(limit), "run", file, "-o", tmp_path / "run") as process:
        end = end_of(process)
    assert end.code == 2, end.err
    assert "Traceback" not in end.err
    told = [line for line in end.err.splitlines() if line.startswith("steelyard: memory of rank ")]
    assert told
    assert "Unable to allocate" in told[0]
    assert "`steelyard plan`" in told[0]
