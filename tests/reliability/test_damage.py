"""A real run whose files are cut, changed, swapped and emptied: told by every reader, and never read as good."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tomli_w

from mpi_engine.experiment import ExperimentError
from mpi_engine.output.checkpoints import Checkpoint, checkpoints
from mpi_engine.output.difference import differences
from mpi_engine.output.integrity import RunError
from mpi_engine.output.reader import open_run
from mpi_engine.output.sealed import find_damage, sealed_segments
from mpi_engine.output.writers import GatherWriter
from mpi_engine.run.directory import DirectoryError, RunDirectory
from mpi_engine.run.resumption import change_experiment, find_start
from tests.reliability.engines import engine

EASED = ("--set", "health.max_rate_hz=500")


@pytest.fixture(scope="module")
def half(small_experiment: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a run that ended at 80 of 120 ms, with two checkpoints, segments beyond them, and a dump of its state."""
    directory = tmp_path_factory.mktemp("half")
    path = directory / "experiment.toml"
    health = {"interval_ms": 80.0, "max_rate_hz": 0.5}
    run, recording = {"duration_ms": 120.0, "checkpoint_every_ms": 25.0}, {"segment_ms": 20.0}
    path.write_text(tomli_w.dumps(small_experiment(run=run, recording=recording, health=health)))
    assert engine(1, "run", path, "-o", directory / "run").code == 3
    assert [Checkpoint(each).step for each in checkpoints(directory / "run")] == [500, 750]
    return directory / "run"


@pytest.fixture(scope="module")
def whole(half: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the finished run of the other."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    shutil.copytree(half, directory)
    ended = engine(1, "resume", directory, *EASED)
    assert ended.code == 0, ended.err
    return directory


def sealed_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*.h5"))


def read_everything(directory: Path) -> list[np.ndarray]:
    """Read all that there is to read; a list of arrays."""
    run = open_run(directory)
    spikes, rates, weights, traces = run.spikes("E"), run.rates("I"), run.weights("I_to_E"), run.traces("E")
    statistics, degrees = run.statistics("E"), run.degrees("E_to_I")
    return [spikes.times_ms, spikes.ids, rates.rate_hz, weights.mean, weights.sample, traces.values["V"],
            statistics.mean["V"], statistics.spike_count, degrees.in_degree]


@pytest.fixture
def copy(half: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(half, tmp_path / "run"))


def start_of(directory: Path) -> int | None:
    """Find the step from which a damaged run goes on; None if it is refused."""
    try:
        claimed = RunDirectory.existing(directory)
    except DirectoryError as error:
        assert "\n" not in str(error)
        return None
    try:
        found = find_start(GatherWriter(None), directory, claimed, change_experiment(directory, ()))
    except (RunError, ExperimentError) as error:
        assert "Traceback" not in str(error)
        return None
    finally:
        claimed.release()
    return 0 if found is None else found.step


def test_a_good_run_is_not_accused(half: Path, whole: Path) -> None:
    for directory in (half, whole):
        assert open_run(directory).verify() == []
        assert [problem for path in sealed_files(directory) for problem in find_damage(path)] == []
    assert len(sealed_files(half)) >= 7 and len(sealed_files(whole)) == 4


def test_every_file_cut_anywhere_is_told(half: Path, whole: Path, tmp_path: Path) -> None:
    for path in (*sealed_files(half), *sealed_files(whole)):
        data, cut = path.read_bytes(), tmp_path / path.name
        for part in range(64):
            cut.write_bytes(data[: len(data) * part // 64])
            [problem] = find_damage(cut)
            assert str(cut) in problem and "\n" not in problem
        cut.unlink()


def test_no_changed_byte_is_read_as_good(half: Path, whole: Path, tmp_path: Path) -> None:
    """500 bytes anywhere in the files of both runs: told by verify; what can still be read is what was written."""
    dice = random.Random(500)
    directories = {name: Path(shutil.copytree(each, tmp_path / name)) for name, each in
                   (("half", half), ("whole", whole))}
    truth = {name: read_everything(directory) for name, directory in directories.items()}
    files = [(name, path) for name, directory in directories.items() for path in sealed_files(directory)]
    refused = 0
    for _ in range(500):
        name, path = dice.choice(files)
        data = path.read_bytes()
        changed, place = bytearray(data), dice.randrange(len(data))
        changed[place] ^= dice.randrange(1, 256)
        path.write_bytes(changed)
        assert find_damage(path), (path, place)
        if path.parent.name != "checkpoint" and path.name != "unhealthy.h5":
            try:
                for values, true in zip(read_everything(directories[name]), truth[name], strict=True):
                    np.testing.assert_array_equal(values, true)
            except RunError as error:
                assert "\n" not in str(error)
                refused += 1
        path.write_bytes(data)
    assert refused > 50
    for name, directory in directories.items():
        assert open_run(directory).verify() == []
        for values, true in zip(read_everything(directory), truth[name], strict=True):
            np.testing.assert_array_equal(values, true)


def damages(path: Path, other: Path) -> Iterator[bytes]:
    """Make of a file what it must not be taken for."""
    data = path.read_bytes()
    yield b""
    yield data[: len(data) // 2]
    yield data[:-1]
    yield b"\0" * len(data)
    yield other.read_bytes()
    for place in (0, len(data) // 3, len(data) - 30):
        yield data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def test_a_damaged_checkpoint_is_passed_over(copy: Path, whole: Path) -> None:
    first, last = checkpoints(copy)
    for number, data in enumerate(damages(last, sealed_segments(copy)[0])):
        again = Path(shutil.copytree(copy, copy.with_name(f"{number}")))
        (again / last.relative_to(copy)).write_bytes(data)
        assert any(last.name in problem for problem in open_run(again).verify())
        assert start_of(again) == 500
        (again / first.relative_to(copy)).write_bytes(data)
        assert start_of(again) is None
    last.write_bytes(b"")
    ended = engine(1, "resume", copy, *EASED)
    assert ended.code == 0, ended.err
    assert f"{last.name}" in ended.out and "trying the checkpoint before it" in ended.out
    assert differences(copy, whole) == []


def test_a_run_whose_checkpoints_are_all_damaged_is_refused(copy: Path) -> None:
    for path in checkpoints(copy):
        path.write_bytes(path.read_bytes()[:-100])
    ended = engine(1, "resume", copy, *EASED)
    assert ended.code == 4
    assert "Traceback" not in ended.err
    [line] = ended.err.splitlines()
    assert "no checkpoint is left to go on from" in line


def test_a_run_with_a_damaged_segment_is_never_gone_on_with(copy: Path) -> None:
    segments = sealed_segments(copy)
    for number, data in enumerate(damages(segments[0], checkpoints(copy)[0])):
        again = Path(shutil.copytree(copy, copy.with_name(f"{number}")))
        (again / segments[0].relative_to(copy)).write_bytes(data)
        assert any(segments[0].name in problem for problem in open_run(again).verify())
        begun = start_of(again)
        if begun:       # only data are damaged, which is found when the segments become one file, at the latest
            ended = engine(1, "resume", again, *EASED)
            assert ended.code == 4 and "Traceback" not in ended.err
            assert not (again / "run.h5").exists()
    segments[1].unlink()
    assert not start_of(copy)


@pytest.mark.parametrize(("number", "goes_on_from"), [(4, 500), (5, 500), (6, 750)])
def test_a_damaged_segment_is_done_again_where_a_checkpoint_is_before_it(
    number: int, goes_on_from: int, copy: Path
) -> None:
    """Checkpoints are at 50 and 75 ms; the segments 4 and 5 lie between them, 6 is later."""
    segments = sealed_segments(copy)
    assert len(segments) == 7
    segments[number].write_bytes(segments[number].read_bytes()[:-1])
    assert start_of(copy) == goes_on_from
    assert open_run(copy).verify() == []


@pytest.mark.parametrize("name", ["experiment.toml", "status.json", "lock"])
def test_a_text_cut_anywhere_does_no_harm(name: str, copy: Path, half: Path) -> None:
    """Where the run can be gone on with at all, it is from its last checkpoint, with the experiment of that."""
    good = (half / name).read_bytes() if (half / name).exists() else b'{"host": "elsewhere", "pid": 1, "job": ""}'
    for part in range(0, 64, 4 if name == "experiment.toml" else 16):
        (copy / name).write_bytes(good[: len(good) * part // 64])
        try:
            open_run(copy).verify()
            repr(open_run(copy))
        except RunError as error:
            assert "\n" not in str(error)
        assert start_of(copy) in (750, None)
        shutil.rmtree(copy)
        shutil.copytree(half, copy)


def test_a_checkpoint_of_another_run_is_not_taken(
    copy: Path, small_experiment: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "other.toml"
    path.write_text(tomli_w.dumps(small_experiment(seed=8, run={"duration_ms": 75.0})))
    assert engine(1, "run", path, "-o", tmp_path / "other").code == 0
    [foreign] = checkpoints(tmp_path / "other")
    shutil.copy(foreign, checkpoints(copy)[-1])
    assert start_of(copy) is None
    with h5py.File(checkpoints(copy)[-1], "w") as file:
        file["data"] = np.arange(10)
    assert start_of(copy) == 500
