"""A file under its final name is whole; one that was damaged later is told from it, never with a traceback."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from itertools import cycle
from pathlib import Path

import h5py
import numpy as np
import pytest

from mpi_engine.output.difference import differences
from mpi_engine.output.provenance import provenance
from mpi_engine.output.reader import RunError, open_run
from mpi_engine.output.sealed import find_damage
from mpi_engine.output.segments import consolidate, sealed_segments
from mpi_engine.output.writers import GatherWriter
from tests import made_up_run
from tests.processes import wait_for

WRITER = GatherWriter(None)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("good") / "run"
    made_up_run.write_run(directory, WRITER)
    return directory / "run.h5"


def read_everything(path: Path) -> None:
    run = open_run(path)
    repr(run)
    for population in ("E", "X"):
        run.spikes(population)
    for read, name in ((run.rates, "E"), (run.statistics, "E"), (run.traces, "E"), (run.weights, "E_to_E")):
        read(name)
    assert run.provenance


def assert_told(path: Path) -> None:
    """Check that damage is found, in one line, and that reading may fail with one line only."""
    problems = find_damage(path)
    assert problems
    assert all(str(path) in problem and "\n" not in problem for problem in problems)
    try:
        read_everything(path)
    except RunError as error:
        assert "\n" not in str(error)


def test_a_good_file_is_not_accused(good: Path) -> None:
    read_everything(good)
    assert find_damage(good) == []


@pytest.mark.parametrize("part", range(64))
def test_truncated(good: Path, tmp_path: Path, part: int) -> None:
    data = good.read_bytes()
    path = tmp_path / "run.h5"
    path.write_bytes(data[: len(data) * part // 64])
    assert_told(path)
    with pytest.raises(RunError, match="run again"):
        read_everything(path)


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_cut_short_by_some_bytes(good: Path, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "run.h5"
    path.write_bytes(good.read_bytes()[:-cut])
    assert_told(path)


def test_any_flipped_bit_is_found(good: Path, tmp_path: Path) -> None:
    data, path = good.read_bytes(), tmp_path / "run.h5"
    dice = random.Random(20210526)
    for _ in range(100):
        flipped, place = bytearray(data), dice.randrange(len(data))
        flipped[place] ^= 1 << dice.randrange(8)
        path.write_bytes(flipped)
        assert_told(path)


def test_a_flipped_bit_is_found_in_every_dataset(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with h5py.File(good) as file:
        names: list[str] = []
        file.visit(lambda name: names.append(name) if isinstance(file[name], h5py.Dataset) else None)
        extents = {name: (file[name].id.get_offset(), file[name].id.get_storage_size()) for name in names}
    data = good.read_bytes()
    assert len(extents) > 50
    for name, (offset, length) in extents.items():
        flipped = bytearray(data)
        flipped[offset + length - 1] ^= 1
        path.write_bytes(flipped)
        [problem, *_] = find_damage(path)
        assert name.startswith("manifest") or name.replace("index_pointer", "index_pointers") in problem


def test_a_damaged_segment_is_not_consolidated(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    made_up_run.write_run(directory, WRITER, whole=False)
    segment = sealed_segments(directory)[0]
    whole = segment.read_bytes()
    for name in ("spikes/X/timestamps", "weights/E_to_E/edges", "report/E/mapping/time", "network/E_to_E/in_degree"):
        with h5py.File(segment) as file:
            offset = file[name].id.get_offset()
        damaged = bytearray(whole)
        damaged[offset] ^= 8
        segment.write_bytes(damaged)
        with pytest.raises(RunError, match=f"000000.h5: /{name} is missing or damaged"):
            consolidate(WRITER, directory, [])
        assert len(sealed_segments(directory)) == 4
        assert not (directory / "run.h5").exists()
        segment.write_bytes(whole)
    consolidate(WRITER, directory, provenance(WRITER, made_up_run.experiment(), 0.0, {}, 1))
    assert find_damage(directory / "run.h5") == []


def test_foreign_files(tmp_path: Path) -> None:
    for name, content in {"empty": b"", "text": b"not a run\n", "number": b"12345678901234567890"}.items():
        (tmp_path / name).write_bytes(content)
        assert_told(tmp_path / name)
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["data"] = np.arange(10)
    assert_told(tmp_path / "foreign.h5")
    with pytest.raises(RunError, match="is not a file of a run, or damaged"):
        open_run(tmp_path / "foreign.h5")
    assert "does not exist" in find_damage(tmp_path / "missing.h5")[0]
    assert "cannot be read" in find_damage(tmp_path)[0]


def test_a_file_changed_by_another_program_is_told(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    shutil.copy(good, path)
    with h5py.File(path, "r+") as file:
        file["weights/E_to_E"].attrs["scale"] = 2.0
    assert_told(path)


_WRITE_FOREVER = """
import sys
from itertools import count
from pathlib import Path
from mpi_engine.output.writers import GatherWriter
from tests.made_up_run import N_STEPS, write_run
for k in count():
    write_run(Path(sys.argv[1]) / f"{k}", GatherWriter(None), tuple(range(100, N_STEPS, 100)))
"""


def write_until(wanted: str, directory: Path, later_s: float) -> None:
    """Write runs in a process that is killed some time [s] after a file of that pattern has been seen."""
    process = subprocess.Popen([sys.executable, "-c", _WRITE_FOREVER, str(directory)])

    def seen() -> bool:
        assert process.poll() is None, "the writer ended by itself"
        return any(directory.glob(wanted))

    wait_for(seen, wanted, every_s=0.0)
    time.sleep(later_s)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_kill_9_leaves_no_broken_file_under_a_final_name(good: Path, tmp_path: Path) -> None:
    dice = random.Random(9)
    moments, caught_writing = ["*/segments/*.partial", "*/run.partial", "*/run.unverified", "*/run.h5"], 0
    for attempt, wanted in enumerate(cycle(moments)):
        if attempt >= len(moments) and caught_writing:
            break
        directory = tmp_path / f"{attempt}"
        write_until(wanted, directory, dice.uniform(0, 0.02))
        caught_writing += any(directory.glob("**/*.partial")) or any(directory.glob("*/run.unverified"))
        files = list(directory.glob("**/*.h5"))
        assert [problem for path in files for problem in find_damage(path)] == []
        for run in directory.iterdir():
            segments = sealed_segments(run)
            if (run / "run.h5").exists() or len(segments) == made_up_run.N_STEPS // 100:
                consolidate(WRITER, run, provenance(WRITER, made_up_run.experiment(), 0.0, {}, 1))
                assert differences(good, run) == []
            elif segments:
                times_ms = open_run(run).spikes("X").times_ms
                np.testing.assert_array_equal(times_ms, open_run(good).spikes("X").times_ms[: times_ms.size])


def test_a_full_disk_is_told_and_what_was_sealed_stays(good: Path, tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from mpi_engine.output.writers import GatherWriter, WriteError\n"
        "from tests.made_up_run import write_run\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "try: write_run(Path(sys.argv[1]), GatherWriter(None))\n"
        "except WriteError as error: print(error)\n"
    )
    limit = good.stat().st_size * 9 // 10     # the segments fit, the whole does not
    command = [sys.executable, "-c", code, str(tmp_path / "run"), str(limit)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "run.unverified: cannot be written (File too large); make room on its disk" in finished.stdout
    assert finished.stdout.count("\n") == 1
    assert open_run(tmp_path / "run").verify() == []
    assert len(sealed_segments(tmp_path / "run")) == 4
