"""The same bits on any number of ranks, with any cuts, by both writers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from mpi_engine.experiment import load_experiment
from mpi_engine.network import rows
from mpi_engine.network.ranks import Ranks
from mpi_engine.output.difference import differences
from mpi_engine.output.reader import open_run
from tests.mpi.digest import digest
from tests.mpi.networks import NETWORKS, Table

Mpirun = Callable[..., Any]

DIGEST = str(Path(__file__).with_name("digest.py"))

@pytest.fixture
def experiment_file(small_experiment: Callable[..., Table], tmp_path: Path) -> Callable[[str], Path]:
    def write(name: str) -> Path:
        path = tmp_path / "experiment.toml"
        path.write_text(tomli_w.dumps(small_experiment(**NETWORKS[name])))
        return path

    return write


@pytest.mark.parametrize("network", NETWORKS)
def test_one_file_from_any_number_of_ranks(
    network: str, experiment_file: Callable[[str], Path], mpirun: Mpirun, tmp_path: Path
) -> None:
    path = experiment_file(network)
    every, few = network == "plastic and correlated", network == "smaller than the ranks"
    for ranks in (1, 2, 3, 4, 5, 7, 8) if every else (1, 8) if few else (1, 3):
        for writer in ("parallel", "gather") if ranks == 3 else ("parallel",) if ranks == 7 else ("gather",):
            directory = tmp_path / f"{writer}-{ranks}"
            done = mpirun(ranks, "-m", "mpi_engine", "run", str(path), "-o", str(directory), "--writer", writer)
            assert done.returncode == 0, done.stdout + done.stderr
            assert differences(tmp_path / "gather-1", directory) == []
    reader = open_run(tmp_path / "gather-1")
    n_spikes = {name: reader.spikes(name).ids.size for name in ("E", "I")}
    if network == "silent":
        assert n_spikes == {"E": 0, "I": 0}
    else:
        assert n_spikes["E"] > 0
    if network == "all fire in one step":
        spikes = reader.spikes("E")
        assert (spikes.times_ms == 201 * 0.1).sum() == reader.experiment.populations["E"].size


@pytest.mark.parametrize("network", ["plastic and correlated", "inputs that change"])
def test_any_cuts_give_the_same_state(
    network: str, experiment_file: Callable[[str], Path], mpirun: Mpirun
) -> None:
    path = experiment_file(network)
    digests = set()
    for ranks, seeds in ((1, ()), (3, range(4)), (5, range(4, 8))):
        done = mpirun(ranks, DIGEST, str(path), "2000", *map(str, seeds))
        assert done.returncode == 0, done.stdout + done.stderr
        digests |= set(done.stdout.split())
    assert len(digests) == 1


@pytest.mark.parametrize("network", ["drawn connections, weights and delays", "plastic and correlated"])
def test_any_blocks_of_targets_give_the_same_state(
    network: str, experiment_file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = load_experiment(experiment_file(network))
    digests = set()
    for block in (2**16, 17):
        monkeypatch.setattr(rows, "BLOCK", block)
        digests.add(digest(experiment, Ranks(), None, 1000))
    assert len(digests) == 1


def test_a_recorded_input_is_replayed(
    small_experiment: Callable[..., Table], mpirun: Mpirun, tmp_path: Path
) -> None:
    """The recorded spikes of an input do to the network what the input did, bit by bit, on any number of ranks."""
    table = small_experiment()
    path = tmp_path / "experiment.toml"
    for ranks, name in ((2, "first"), (1, "again-1"), (3, "again-3")):
        path.write_text(tomli_w.dumps(table))
        done = mpirun(ranks, "-m", "mpi_engine", "run", str(path), "-o", str(tmp_path / name))
        assert done.returncode == 0, done.stdout + done.stderr
        table["inputs"]["X"] = {"kind": "recorded", "file": "first/run.h5", "population": "X", "size": 29}
        assert differences(tmp_path / "first", tmp_path / name) == []
    assert open_run(tmp_path / "first").spikes("X").ids.size > 50
    (tmp_path / "first" / "run.h5").unlink()      # a run that is over can be read without the files that it read
    assert open_run(tmp_path / "again-1").experiment.sizes["X"] == 29


CHANGE_FILE = """
import sys
from pathlib import Path
from mpi_engine.experiment import ExperimentError, load_experiment
from mpi_engine.network.ranks import Ranks
from mpi_engine.run.simulation import Simulation

ranks = Ranks.world()
experiment = load_experiment(sys.argv[1])
ranks.barrier()
if ranks.is_first:
    Path(sys.argv[2]).write_text("0 11\\n300 20\\n")
try:
    Simulation(experiment, ranks)
except ExperimentError as error:
    sys.stdout.write(f"{error}\\n")     # at once: the ranks' lines may be mixed
"""


def test_a_file_that_changes_before_the_run_is_refused_by_every_rank(
    small_experiment: Callable[..., Table], mpirun: Mpirun, tmp_path: Path
) -> None:
    samples, path = tmp_path / "rate.csv", tmp_path / "experiment.toml"
    samples.write_text("0 10\n300 20\n")
    table = small_experiment()
    table["inputs"]["X"] = {"kind": "poisson", "size": 29, "rate_file": "rate.csv"}
    path.write_text(tomli_w.dumps(table))
    done = mpirun(3, "-c", CHANGE_FILE, str(path), str(samples))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("another content") == 3


def test_a_world_of_the_wrong_size_is_refused(
    experiment_file: Callable[[str], Path], mpirun: Mpirun, tmp_path: Path
) -> None:
    """What a launcher of another MPI does: it starts ranks that do not see each other."""
    path = experiment_file("silent")
    arguments = ("-m", "mpi_engine", "run", str(path), "-o", str(tmp_path / "run"))
    done = mpirun(1, *arguments, env={"PMI_SIZE": "4"})
    assert done.returncode == 2
    assert done.stderr.count("the launcher meant 4 ranks, but this world has size 1") == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
