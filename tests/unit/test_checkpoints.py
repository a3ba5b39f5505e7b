"""Checkpoints in a run directory: generations, what a resume finds and refuses, and branches."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpi_engine.experiment import Experiment, ExperimentError, parse_experiment
from mpi_engine.output.checkpoints import SCHEMA, Checkpoint, checkpoints
from mpi_engine.output.difference import differences
from mpi_engine.output.integrity import RunError
from mpi_engine.output.reader import open_run
from mpi_engine.output.sealed import find_damage
from mpi_engine.run.branch import branch
from mpi_engine.run.directory import DirectoryError, RunDirectory
from mpi_engine.run.health import UnhealthyError
from mpi_engine.run.job import resume, run
from tests.mpi.networks import NETWORKS

Make = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def experiment(small_experiment: Make) -> Experiment:
    return parse_experiment(small_experiment(run={"checkpoint_every_ms": 60.0}))


@pytest.fixture(scope="module")
def finished(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 200 ms with checkpoints at 180 and 200 ms."""
    directory = tmp_path_factory.mktemp("finished") / "run"
    assert run(experiment, directory) == directory / "run.h5"
    return directory


@pytest.fixture(scope="module")
def ended_early(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 150 ms of the same, with checkpoints at 120 and 150 ms."""
    directory = tmp_path_factory.mktemp("early") / "run"
    shorter = experiment.model_copy(update={"run": experiment.run.model_copy(update={"duration_ms": 150.0})})
    run(shorter, directory)
    return directory


@pytest.fixture
def early(ended_early: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ended_early, tmp_path / "early"))


@pytest.fixture
def half(early: Path) -> Path:
    """A run that was killed after its checkpoint at 150 ms, in the middle of writing the next segment."""
    (early / "segments").mkdir()
    (early / "run.h5").rename(early / "segments" / "000000.h5")
    (early / "segments" / "000001.partial").write_bytes(b"half")
    (early / "checkpoint" / "000000001600.partial").write_bytes(b"half")
    text = (early / "experiment.toml").read_text()
    (early / "experiment.toml").write_text(text.replace("duration_ms = 150.0", "duration_ms = 200.0"))
    return early


def damage(path: Path) -> None:
    """Flip a bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def names(directory: Path) -> list[str]:
    return [path.stem.lstrip("0") for path in checkpoints(directory)]


def test_two_generations_are_kept_and_whole(finished: Path) -> None:
    assert names(finished) == ["1800", "2000"]
    for path in checkpoints(finished):
        assert find_damage(path) == []
        assert Checkpoint(path).step == int(path.stem)


def test_a_run_goes_on_and_leaves_no_trace_of_the_interruption(half: Path, finished: Path) -> None:
    assert resume(half) == half / "run.h5"
    assert differences(finished, half) == []
    assert names(half) == ["1800", "2000"]
    assert sorted(path.name for path in half.iterdir()) == sorted(path.name for path in finished.iterdir())
    assert open_run(half).finished


def test_what_was_recorded_after_the_checkpoint_is_done_again(half: Path, finished: Path) -> None:
    """The newer checkpoint is damaged: the run goes back to the one before it, and to what was recorded then."""
    whole = half / "segments" / "000000.h5"
    whole.unlink()
    shutil.rmtree(half / "checkpoint")
    cut = half.with_name("cut")
    e = open_run(finished).experiment
    run(e.model_copy(update={"run": e.run.model_copy(update={"duration_ms": 120.0})}), cut)
    (cut / "run.h5").rename(whole)
    shutil.copytree(cut / "checkpoint", half / "checkpoint")
    resume(half, ["run.duration_ms=180.0"])
    assert differences(finished, half)     # one is longer
    resume(half, ["run.duration_ms=200.0"])
    assert differences(finished, half) == []


def test_a_damaged_generation_is_passed_over(
    experiment: Experiment, finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "run"
    stopped = parse_experiment(experiment.model_dump(exclude_none=True) | {"seed": 7})
    assert stopped.hash == experiment.hash
    _run_until_segments(stopped, directory)
    older, newer = checkpoints(directory)
    damage(newer)
    with caplog.at_level(logging.WARNING, "steelyard"):
        assert resume(directory) == directory / "run.h5"
    assert f"{newer}" in caplog.text
    assert "trying the checkpoint before it" in caplog.text
    assert differences(finished, directory) == []
    assert names(directory) == ["1800", "2000"]
    assert older.stem == "000000000600"


def _run_until_segments(experiment: Experiment, directory: Path) -> None:
    """Run to 130 ms with checkpoints every 60 ms in a directory whose segments are kept as they are sealed."""
    code = (
        "import sys, os\n"
        "from pathlib import Path\n"
        "from mpi_engine.experiment import load_experiment\n"
        "from mpi_engine.run import job\n"
        "original = job.write_checkpoint\n"
        "def write(*arguments):\n"
        "    original(*arguments)\n"
        "    if arguments[2] == 1200:\n"
        "        os._exit(9)\n"
        "job.write_checkpoint = write\n"
        "job.run(load_experiment(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    file = directory.with_suffix(".toml")
    file.write_text(experiment.to_toml())
    done = subprocess.run([sys.executable, "-c", code, str(file), str(directory)], check=False)
    assert done.returncode == 9
    assert names(directory) == ["600", "1200"]


def test_a_checkpoint_of_another_version_is_left_alone(half: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = names(half)
    monkeypatch.setattr("mpi_engine.output.checkpoints.SCHEMA", SCHEMA + 1)
    words = f"is a checkpoint of version {SCHEMA}, and this Steelyard reads {SCHEMA + 1}; resume the run with the"
    with pytest.raises(RunError, match=words):
        resume(half)
    assert names(half) == before


def test_without_a_good_checkpoint_the_message_says_what_to_do(half: Path) -> None:
    for path in checkpoints(half):
        damage(path)
    with pytest.raises(RunError, match=r"no checkpoint is left to go on from: restore the file .* or remove"):
        resume(half)
    assert len(checkpoints(half)) == 2
    shutil.rmtree(half / "checkpoint")
    (half / "checkpoint").mkdir()
    shutil.copy(half / "segments" / "000000.h5", half / "checkpoint" / "000000001500.h5")
    with pytest.raises(RunError, match="is not a checkpoint"):
        resume(half)


def test_without_any_checkpoint_a_run_begins_anew(
    half: Path, finished: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(half / "checkpoint")
    with caplog.at_level(logging.WARNING, "steelyard"):
        resume(half)
    assert "begins anew" in caplog.text
    assert differences(finished, half) == []


def test_a_missing_segment_is_told(half: Path) -> None:
    (half / "segments" / "000000.h5").unlink()
    with pytest.raises(RunError, match="steps 0 to 1200 are not all recorded"):
        resume(half)


def test_a_finished_run_is_left_alone(finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = Path(shutil.copytree(finished, tmp_path / "run"))
    content = {path: path.read_bytes() for path in (directory / "run.h5", *checkpoints(directory))}
    with caplog.at_level(logging.INFO, "steelyard"):
        assert resume(directory) == directory / "run.h5"
    assert "has finished already" in caplog.text
    assert {path: path.read_bytes() for path in content} == content


def test_a_finished_run_is_made_longer(early: Path, finished: Path) -> None:
    assert resume(early, ["run.duration_ms=200.0"]) == early / "run.h5"
    assert differences(finished, early) == []
    shutil.rmtree(early / "checkpoint")
    with pytest.raises(RunError, match="no checkpoint at its end"):
        resume(early, ["run.duration_ms=300.0"])
    assert differences(finished, early) == []


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("plasticity.homeostatic.learning_rate_mv=0.1", "plasticity.homeostatic.learning_rate_mv = 0.1: cannot change"),
        ("seed.noise=3", "seed.noise = 3: cannot change within a run; make a branch of it: steelyard branch"),
        ("recording.rates.bin_ms=20.0", "recording.rates.bin_ms = 20.0: cannot change"),
        ("run.duration_ms=100.0", "run.duration_ms = 100: the run is at 150 ms already"),
        ("run.checkpoint_every_ms=0.05", "run.checkpoint_every_ms = 0.05: is below run.dt_ms"),
        ("run.nonsense=1", "run.nonsense = 1: unknown key"),
    ],
)
def test_what_changes_the_dynamics_is_refused(override: str, told: str, half: Path) -> None:
    before = (half / "experiment.toml").read_text()
    with pytest.raises(ExperimentError) as error:
        resume(half, [override])
    assert told in str(error.value)
    assert "Traceback" not in str(error.value)
    assert (half / "experiment.toml").read_text() == before
    assert not (half / "lock").exists()


def test_an_experiment_edited_by_hand_is_refused(half: Path) -> None:
    text = (half / "experiment.toml").read_text()
    (half / "experiment.toml").write_text(text.replace("learning_rate_mv = 0.05", "learning_rate_mv = 0.06"))
    with pytest.raises(ExperimentError, match=r"plasticity\.homeostatic\.learning_rate_mv = 0\.06: cannot change"):
        resume(half)


def test_cadence_may_change(half: Path, finished: Path) -> None:
    resume(half, ["run.checkpoint_every_ms=13.0", "recording.segment_ms=7.0", "run.checkpoint_every_wall_s=0.001"])
    assert differences(finished, half) == []


def test_a_directory_says_what_it_holds(half: Path, finished: Path, tmp_path: Path, experiment: Experiment) -> None:
    with pytest.raises(DirectoryError, match=r"holds a finished run; .* steelyard resume .* --set run\.duration_ms"):
        run(experiment, finished)
    with pytest.raises(DirectoryError, match="has not finished; go on with it: steelyard resume"):
        run(experiment, half)
    with pytest.raises(DirectoryError, match="holds no run"):
        resume(tmp_path / "nothing")


def test_the_lock_of_a_dead_job_is_taken_over(half: Path, experiment: Experiment) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    lock, host = half / "lock", os.uname().nodename
    lock.write_text(json.dumps({"host": host, "pid": ended.pid, "started": time.time(), "job": ""}))
    RunDirectory.existing(half).release()
    # a process of the same number that began at another time is another one
    lock.write_text(json.dumps({"host": host, "pid": os.getpid(), "started": 1.0, "job": ""}))
    RunDirectory.existing(half).release()
    lock.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": 1.0, "job": "12"}))
    with pytest.raises(DirectoryError, match="is held by process 1 on elsewhere, job 12"):
        RunDirectory.existing(half)
    an_hour_ago = time.time() - 3600
    for silent in (lock, half / "status.json"):
        os.utime(silent, (an_hour_ago, an_hour_ago))
    claimed = RunDirectory.existing(half)
    with pytest.raises(DirectoryError, match=f"is held by process {os.getpid()}"):
        RunDirectory.existing(half)
    claimed.release()
    assert not lock.exists()


def test_a_branch_without_changes_goes_on_as_its_parent(early: Path, finished: Path, tmp_path: Path) -> None:
    path = branch(early, tmp_path / "new", "120", ["run.duration_ms=200.0"])
    assert path.stem == "000000001200"
    resume(tmp_path / "new")
    new, old = open_run(tmp_path / "new"), open_run(finished)
    assert new.finished
    spikes, all_spikes = new.spikes("E"), old.spikes("E")
    later = all_spikes.times_ms > 120.0 + 1e-9
    assert spikes.times_ms.tobytes() == all_spikes.times_ms[later].tobytes()
    assert spikes.ids.tobytes() == all_spikes.ids[later].tobytes()
    # the block of 50 ms in which it begins counts the parent's part too
    assert new.statistics("E").start_ms.tolist() == [100.0, 150.0]
    assert new.statistics("E").mean["V"].tobytes() == old.statistics("E").mean["V"][2:].tobytes()
    assert new.degrees("I_to_E").in_degree.tobytes() == old.degrees("I_to_E").in_degree.tobytes()
    parent = new.provenance["parent"]
    assert parent == {"path": str(early), "hash": open_run(early).experiment.hash, "step": "1200"}


def test_a_branch_with_frozen_plasticity_keeps_the_weights(early: Path, tmp_path: Path) -> None:
    frozen = ["plasticity.homeostatic.learning_rate_mv=0.0", "run.duration_ms=300.0", "seed.input=11"]
    branch(early, tmp_path / "new", "latest", frozen)
    resume(tmp_path / "new")
    weights, learned = open_run(tmp_path / "new").weights("I_to_E"), open_run(early).weights("I_to_E")
    assert weights.time_ms.tolist() == [200.0, 250.0, 300.0]
    for record in weights.sample:
        assert record.tobytes() == learned.sample[-1].tobytes()
    spikes = open_run(tmp_path / "new").spikes("X")
    assert spikes.times_ms.min() > 150.0


def test_a_branch_may_record_other_things(early: Path, tmp_path: Path) -> None:
    recorded = ["recording.statistics.block_ms=10.0", "recording.rates.bin_ms=5.0", "run.duration_ms=200.0"]
    branch(early, tmp_path / "new", "120.0", recorded)
    resume(tmp_path / "new")
    new = open_run(tmp_path / "new")
    np.testing.assert_allclose(new.statistics("E").start_ms, np.arange(120.0, 200.0, 10.0))
    rates, spikes = new.rates("E"), new.spikes("E")
    assert rates.times_ms[0] == 120.0
    assert rates.rate_hz.sum() * 83 * 5e-3 == pytest.approx(spikes.ids.size)
    with pytest.raises(ExperimentError, match=r"recording\.rates\.bin_ms = 7: .* is within a bin"):
        branch(early, tmp_path / "other", "150", ["recording.rates.bin_ms=7.0", "run.duration_ms=210.0"])


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("populations.E.size=84", "populations.E.size = 84: the network is the parent's"),
        ("seed.network=3", "seed.network = 3: the network is the parent's"),
        ("projections.E_to_E.delay_ms=1.5", "projections.E_to_E.delay_ms = 1.5: the network is the parent's"),
        ("projections.I_to_E.weight_mv=-5.0", "projections.I_to_E.weight_mv = -5.0: the network is the parent's"),
        ("inputs.X.size=30", "inputs.X.size = 30: the network is the parent's"),
        ("neurons.cortical.refractory_ms=1.0", "neurons.cortical.refractory_ms = 1.0: needs a state that the parent"),
        ("projections.E_to_E.weight_mv={normal=[1.0,0.1]}", "the network is the parent's"),
        ("neurons.cortical.V_init_mv=-65.0", "neurons.cortical.V_init_mv = -65.0: initial values are those"),
        ("run.duration_ms=140.0", "run.duration_ms = 140: the checkpoint is of 150 ms; name a time beyond it"),
    ],
)
def test_a_branch_of_another_network_is_refused(override: str, told: str, ended_early: Path, tmp_path: Path) -> None:
    with pytest.raises(ExperimentError) as error:
        branch(ended_early, tmp_path / "new", "latest", ["run.duration_ms=200.0", override])
    assert told in str(error.value)
    assert not (tmp_path / "new").exists()


def test_a_branch_that_fell_ill_before_its_first_segment_goes_on(
    early: Path, tmp_path: Path, small_experiment: Make
) -> None:
    ill = ["health.interval_ms=10.0", "health.max_rate_hz=0.01", "run.duration_ms=200.0"]
    branch(early, tmp_path / "new", "latest", ill)
    with pytest.raises(UnhealthyError, match=r"above health\.max_rate_hz = 0\.01"):
        resume(tmp_path / "new")
    assert 150.0 < open_run(tmp_path / "new").recorded_ms < 200.0
    resume(tmp_path / "new", ["health.max_rate_hz=500.0"])
    branch(early, tmp_path / "healthy", "latest", ["run.duration_ms=200.0"])
    resume(tmp_path / "healthy")
    assert differences(tmp_path / "healthy", tmp_path / "new") == []


def test_what_a_killed_branch_left_does_not_make_a_run_a_branch(early: Path, tmp_path: Path) -> None:
    branch(early, tmp_path / "new", "latest", ["run.duration_ms=200.0"])
    left = tmp_path / "new" / "parent.json"
    for path in (tmp_path / "new").rglob("*"):
        if path.is_file() and path != left:
            path.unlink()
    (tmp_path / "new" / "checkpoint").rmdir()
    RunDirectory.new(tmp_path / "new", open_run(early).experiment).release()
    assert not left.exists()


def test_copies_beside_files_of_a_run_are_left_alone(half: Path) -> None:
    copies = [path.with_name(f"{path.stem} (copy).h5") for path in (checkpoints(half)[-1], half / "segments/000000.h5")]
    for copy in copies:
        copy.write_bytes(b"mine")
    assert open_run(half).verify() == []
    resume(half, ["run.duration_ms=160.0"])
    assert open_run(half).finished
    assert [copy.read_bytes() for copy in copies] == [b"mine", b"mine"]


def test_a_branch_names_the_checkpoints_that_there_are(ended_early: Path, tmp_path: Path) -> None:
    for at in ("130", "soon"):
        with pytest.raises(ExperimentError, match=r"has no checkpoint of then; name latest, or one of: 120, 150"):
            branch(ended_early, tmp_path / "new", at, [])
    with pytest.raises(DirectoryError, match="has no checkpoint"):
        branch(tmp_path, tmp_path / "new", "latest", [])


def test_another_drift_begins_with_the_weights_as_they_are(small_experiment: Make, tmp_path: Path) -> None:
    """Weights that change between spikes are saved as of their last one; a new rule must not be applied to the past."""
    table = small_experiment(**NETWORKS["rules of every kind, drawn neurons, a user's functions"])
    table["run"]["duration_ms"] = 50.0
    run(parse_experiment(table), tmp_path / "parent")
    longer = "run.duration_ms=60.0"
    same = Checkpoint(branch(tmp_path / "parent", tmp_path / "same", "latest", [longer]))
    other = Checkpoint(branch(tmp_path / "parent", tmp_path / "other", "latest",
                              [longer, "plasticity.drift.drift=[0.0, -2e-3]"]))
    n = same.schema()["/synapses/E_to_E/weights"][0][0]
    assert n > 500
    last, now = (same.read(f"/synapses/E_to_E/{name}", 0, n) for name in ("weights", "weights_now"))
    assert np.mean(last != now) > 0.5
    assert other.read("/synapses/E_to_E/weights", 0, n).tobytes() == now.tobytes()
    assert other.read("/synapses/E_to_E/epoch", 0, 1).tolist() == [500]
    assert same.read("/synapses/E_to_E/epoch", 0, 1).tolist() != [500]
    with pytest.raises(ExperimentError, match=r"plasticity\.homeostatic: would take over x_post on I_to_E"):
        branch(tmp_path / "parent", tmp_path / "third", "latest", [longer, "plasticity.homeostatic.tau_ms=34.0"])
