"""Both writers on any number of ranks give the same data, and errors instead of hangs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from mpi_engine.output.difference import differences
from mpi_engine.output.reader import open_run
from mpi_engine.output.writers import GatherWriter
from tests import made_up_run

MpiRun = Callable[..., CompletedProcess[str]]

_PRELUDE = """
import sys
from pathlib import Path
from mpi4py import MPI
import numpy as np
from mpi_engine.output.layout import Record, text
from mpi_engine.output.writers import WriteError, choose_writer
comm = MPI.COMM_WORLD
assert comm.size == 3
writer = choose_writer(comm, sys.argv[2])
path = Path(sys.argv[1]) / "file.h5"
"""


@pytest.fixture(scope="module")
def serial_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("serial") / "run"
    made_up_run.write_run(directory, GatherWriter(None))
    return directory


def test_data_are_the_same_for_any_ranks_cuts_and_writer(mpirun: MpiRun, tmp_path: Path, serial_run: Path) -> None:
    finished = mpirun(4, made_up_run.__file__, tmp_path)
    assert finished.returncode == 0, finished.stderr
    for ranks in made_up_run.CUTS_OF_RANKS:
        for name in ("gather", "parallel"):
            run = open_run(tmp_path / f"{name}-{ranks}")
            assert differences(serial_run, run.path) == []
            assert run.verify() == []
            assert run.finished
            assert run.provenance["ranks"] == ranks == len(run.provenance["hosts"])
            assert run.provenance["writer"].lower() == f"{name}writer"
            assert sorted(path.name for path in run.path.iterdir()) == ["experiment.toml", "run.h5"]


@pytest.mark.parametrize("writer", ["gather", "parallel"])
def test_ranks_that_disagree_fail_together(mpirun: MpiRun, tmp_path: Path, writer: str) -> None:
    code = f"""{_PRELUDE}
try:
    writer.write(path, [Record("/x", (3 + comm.rank // 2,), np.dtype(float), grows=True)], {{}})
except ValueError as error:
    assert "ranks [2] and rank 0 disagree" in str(error), error
    sys.exit(0)
sys.exit("wrote although the ranks disagree")
"""
    finished = mpirun(3, "-m", "mpi4py", "-c", code, tmp_path, writer)
    assert finished.returncode == 0, finished.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("writer", ["gather", "parallel"])
def test_slabs_that_leave_a_gap_fail_on_every_rank(mpirun: MpiRun, tmp_path: Path, writer: str) -> None:
    code = f"""{_PRELUDE}
values = None if comm.rank == 1 else np.ones(1)
try:
    writer.write(path, [Record("/x", (3,), np.dtype(float), grows=True, start=(comm.rank,), values=values)], {{}})
except ValueError as error:
    assert "wrote 2 values of 3" in str(error), error
    print("told", flush=True)
comm.Barrier()
comm.Abort(0)   # a parallel file that was not closed
"""
    finished = mpirun(3, "-m", "mpi4py", "-c", code, tmp_path, writer)
    assert finished.stdout.count("told") == 3, finished.stderr
    assert not (tmp_path / "file.h5").exists()


@pytest.mark.parametrize("writer", ["gather", "parallel"])
def test_a_full_disk_ends_the_job(mpirun: MpiRun, tmp_path: Path, writer: str) -> None:
    code = f"""{_PRELUDE}
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
values = np.ones((1, 10_000))
try:
    writer.write(path, [Record("/x", (3, 10_000), values.dtype, True, start=(comm.rank, 0), values=values)], {{}})
except WriteError as error:
    sys.stderr.write(f"{{error}}\\n")     # at once: another rank's abort may cut it short
    comm.Abort(4)
"""
    finished = mpirun(3, "-m", "mpi4py", "-c", code, tmp_path, writer)
    assert finished.returncode != 0
    assert "file.h5: cannot be written" in finished.stderr
    assert not (tmp_path / "file.h5").exists()


@pytest.mark.parametrize("writer", ["gather", "parallel"])
def test_scalars_texts_empty_and_silent_ranks(mpirun: MpiRun, tmp_path: Path, writer: str) -> None:
    code = f"""{_PRELUDE}
last = comm.rank == 2
records = [
    text("/word", "grün", comm.rank == 1),
    text("/words", [], last),
    Record("/empty", (0, 4), np.dtype(np.float32), True),
    Record("/empty_slabs", (0,), np.dtype(np.int64), True, values=np.zeros(0, np.int64)),
    Record("/number", (), np.dtype(float), False, values=np.array(2.5) if last else None),
    Record("/columns", (2, 3), np.dtype(int), True, (0, 0 if last else 3), np.arange(6).reshape(2, 3)[:, :3 * last]),
]
writer.write(path, records, {{"first_step": 0, "last_step": 1}})
import h5py
if comm.rank == 0:
    with h5py.File(path) as file:
        assert file["word"].asstr()[()] == "grün"
        assert file["words"].shape == (0,) and file["empty"].shape == (0, 4) and file["empty_slabs"].shape == (0,)
        assert file["number"][()] == 2.5
        assert file["columns"][()].tolist() == [[0, 1, 2], [3, 4, 5]]
"""
    finished = mpirun(3, "-m", "mpi4py", "-c", code, tmp_path, writer)
    assert finished.returncode == 0, finished.stderr
