"""Coding networks give the same bits on any number of ranks, with any cuts, and wherever they are restarted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from mpi_engine.experiment import ExperimentError
from mpi_engine.output.coding_reader import open_coding_run
from mpi_engine.output.difference import differences
from mpi_engine.run.branch import branch as branch_off
from tests.coding_networks import NETWORKS, make
from tests.mpi.coding_bits import RECORDING

Mpirun = Callable[..., Any]

OF_EVERY_KIND = [
    "factored", "per synapse, sparse, from random weights, with decay", "dense basis", "late and several", "ties"
]


def digests(mpirun: Mpirun, ranks: int, steps: int, networks: list[str]) -> list[list[str]]:
    done = mpirun(ranks, "-m", "tests.mpi.coding_bits", steps, *networks)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def test_the_same_bits_on_any_ranks_with_any_cuts_and_restarts(mpirun: Mpirun) -> None:
    found = [digests(mpirun, ranks, 1200, OF_EVERY_KIND) for ranks in (1, 2, 3)]
    for network, of_ranks in zip(OF_EVERY_KIND, zip(*found, strict=True), strict=True):
        assert len({digest for of_rank in of_ranks for digest in of_rank}) == 1, network
    assert len({lines[0] for lines in found[0]}) == len(OF_EVERY_KIND)


@pytest.mark.science
def test_the_same_bits_of_all_networks(mpirun: Mpirun) -> None:
    found = [digests(mpirun, ranks, 4000, list(NETWORKS)) for ranks in (1, 2, 3, 4, 7)]
    for network, of_ranks in zip(NETWORKS, zip(*found, strict=True), strict=True):
        assert len({digest for of_rank in of_ranks for digest in of_rank}) == 1, network


def test_one_file_from_runs_and_resumed_runs(mpirun: Mpirun, tmp_path: Path) -> None:
    """Through both writers; a run that goes on, on other ranks, and one that is branched with its neurons dead."""
    path = tmp_path / "experiment.toml"
    path.write_text(tomli_w.dumps(make(recording=RECORDING | {"segment_ms": 60.0}, run={"duration_ms": 150.0})))

    def engine(ranks: int, *arguments: str | Path) -> None:
        done = mpirun(ranks, "-m", "mpi_engine", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr

    engine(1, "run", path, "-o", tmp_path / "whole")
    engine(3, "run", path, "-o", tmp_path / "parts", "--set", "run.duration_ms=70.3", "--writer", "parallel")
    engine(1, "branch", tmp_path / "parts", "-o", tmp_path / "branch", "--at", "latest", "--set",
           "run.duration_ms=150.0", "--set", "deaths.half={at_ms=70.3, fraction=0.5}", "--set", "seed.noise=9")
    with pytest.raises(ExperimentError, match="the basis is decorrelated over states"):
        branch_off(tmp_path / "parts", tmp_path / "other", "latest",
                   ["run.duration_ms=150.0", "phases.learn.input.std_per_s=2.0"])
    engine(2, "resume", tmp_path / "parts", "--set", "run.duration_ms=150.0", "--writer", "gather")
    assert differences(tmp_path / "whole", tmp_path / "parts") == []
    engine(2, "resume", tmp_path / "branch")
    status = json.loads((tmp_path / "branch" / "status.json").read_text())
    assert status["step"] == 1500
    whole, branch = open_coding_run(tmp_path / "whole"), open_coding_run(tmp_path / "branch")
    tracking, currents, weights = whole.tracking(), whole.currents(), whole.slow_weights()
    assert tracking.x.shape == (214, 2)
    np.testing.assert_allclose(tracking.times_ms[[0, -1]], [0.7, 149.8])
    assert currents.ids.tolist() == [0, 7, 29, 30, 59]
    assert currents.values["slow_E"].shape == (115, 5)
    assert weights.theta is not None
    assert weights.theta.shape == (8, 30, 2)
    assert weights.drift_error is not None
    assert np.isfinite(weights.drift_error[1:]).all()
    assert whole.network()["decoder"].shape == (60, 2)
    np.testing.assert_allclose(branch.tracking().times_ms[0], 70.7)
    late = branch.spikes("coding")
    assert late.times_ms.min() > 70.3
    assert np.unique(late.ids).size <= 30
