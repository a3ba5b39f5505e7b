"""A disk that is full, limited, read-only or taken away: a clean end, one message, and nothing lost that was saved."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from mpi_engine.output.checkpoints import checkpoints
from mpi_engine.output.difference import differences
from mpi_engine.output.reader import open_run
from mpi_engine.output.sealed import find_damage
from tests.processes import wait_for
from tests.reliability.engines import End, end_of, engine, started_engine

Make = Callable[..., dict[str, Any]]

WRONG, DAMAGED = 2, 4


@contextmanager
def mounted(directory: Path, *options: str) -> Iterator[Path]:
    """Mount something on a directory; needs root, as the tests of CI have."""
    directory.mkdir()
    subprocess.run(["mount", *options, str(directory)], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@pytest.fixture(scope="module")
def long(small_experiment: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an experiment whose files are some megabytes in the end."""
    path = tmp_path_factory.mktemp("long") / "long.toml"
    run, recording = {"duration_ms": 1000.0, "checkpoint_every_ms": 100.0}, {"segment_ms": 50.0}
    traces = {"E": {"neurons": 80, "interval_ms": 0.5}}
    path.write_text(tomli_w.dumps(small_experiment(run=run, recording=recording | {"traces": traces})))
    return path


@pytest.fixture(scope="module")
def undisturbed(long: Path) -> Path:
    assert engine(1, "run", long, "-o", long.with_name("run")).code == 0
    return long.with_name("run")


def assert_clean_end(ended: End, code: int, *words: str) -> None:
    """Check that an engine ended with a code and one message, that each rank may say."""
    assert ended.code == code, ended.err
    said = "\n".join((ended.out, ended.err))
    assert "Traceback" not in said and "Logging error" not in said and "HDF5" not in said
    [line] = {line for line in ended.err.splitlines() if line.startswith("steelyard: ")}
    assert all(word in line for word in words), line


@pytest.mark.parametrize(("ranks", "writer"), [(1, "gather"), (2, "gather"), (2, "parallel")])
def test_a_full_disk_ends_a_run_that_goes_on_when_there_is_room(
    ranks: int, writer: str, long: Path, undisturbed: Path, tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=2500k", "tmpfs") as disk:
        ended = engine(ranks, "run", long, "-o", disk / "run", "--writer", writer)
        assert_clean_end(ended, DAMAGED, "cannot be written", "make room")
        assert len(checkpoints(disk / "run")) == 2
        assert open_run(disk / "run").verify() == []
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        ended = engine(1, "resume", disk / "run")
        assert ended.code == 0, ended.err
        assert differences(undisturbed, disk / "run") == []


def test_a_limit_of_file_size_ends_a_run(long: Path, undisturbed: Path, tmp_path: Path) -> None:
    limit = (undisturbed / "run.h5").stat().st_size // 2    # enough for segments and checkpoints, not for the whole
    with started_engine(1, "-c", _LIMITED, str(limit), "run", long, "-o", tmp_path / "run") as process:
        assert_clean_end(end_of(process), DAMAGED, "File too large", "what was sealed before is whole")
    assert not (tmp_path / "run" / "run.h5").exists()
    assert open_run(tmp_path / "run").verify() == []
    ended = engine(1, "resume", tmp_path / "run")
    assert ended.code == 0, ended.err
    assert differences(undisturbed, tmp_path / "run") == []


_LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
runpy.run_module("mpi_engine", run_name="__main__", alter_sys=True)
"""


def test_a_disk_without_room_for_the_first_file(long: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=8k", "tmpfs") as disk:
        (disk / "filler").write_bytes(b"0" * 8192)
        assert_clean_end(engine(2, "run", long, "-o", disk / "run"), WRONG, "No space left on device")


def test_a_read_only_disk(long: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs") as disk:
        assert_clean_end(engine(2, "run", long, "-o", disk / "run"), WRONG, "Read-only file system")


def test_a_disk_that_becomes_read_only(long: Path, undisturbed: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=50m", "tmpfs") as disk:
        shutil.copytree(undisturbed, disk / "run")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        ended = engine(1, "resume", disk / "run", "--set", "run.duration_ms=1100")
        assert_clean_end(ended, WRONG, "Read-only file system")
        assert open_run(disk / "run").verify() == []


def test_missing_parents_are_made_and_files_are_none(long: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert_clean_end(engine(1, "run", long, "-o", tmp_path / "file" / "run"), WRONG, "Not a directory")
    assert_clean_end(engine(1, "run", long, "-o", tmp_path / "file"), WRONG, "is a file")
    ended = engine(1, "run", long, "-o", tmp_path / "a" / "b" / "run", "--set", "run.duration_ms=100")
    assert ended.code == 0, ended.err
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_directory_that_is_taken_away(ranks: int, long: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    with started_engine(ranks, "-m", "mpi_engine", "run", long, "-o", directory, "--set", "run.duration_ms=1e7",
                        "--set", "run.checkpoint_every_ms=1000") as process:
        wait_for(lambda: list(directory.glob("segments/*.h5")) or process.poll() is not None, "a segment")
        directory.rename(tmp_path / "elsewhere")
        ended = end_of(process)
    assert_clean_end(ended, DAMAGED, str(directory), "such file or directory")
    assert [problem for path in (tmp_path / "elsewhere").rglob("*.h5") for problem in find_damage(path)] == []


def test_two_runs_into_one_directory_at_once(long: Path, undisturbed: Path, tmp_path: Path) -> None:
    command = ["-m", "mpi_engine", "run", long, "-o", tmp_path / "run"]
    with started_engine(1, *command) as one, started_engine(1, *command) as other:
        ends = sorted((end_of(one), end_of(other)), key=lambda end: end.code)
    assert ends[0].code == 0, ends[0].err
    assert_clean_end(ends[1], WRONG, str(tmp_path / "run"))
    assert differences(undisturbed, tmp_path / "run") == []
