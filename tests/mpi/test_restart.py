"""A run that goes on from checkpoints, on other numbers of ranks, is the uninterrupted one to the bit."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from mpi_engine.output.difference import differences
from mpi_engine.output.reader import open_run
from tests.mpi.networks import NETWORKS, Table

Mpirun = Callable[..., Any]

Write = Callable[[str], Path]

OF_EVERY_KIND = ["conductances, delays, adaptation", "drawn connections, weights and delays", "inputs that change",
                 "rules of every kind, drawn neurons, a user's functions"]


@pytest.fixture
def write(small_experiment: Callable[..., Table], tmp_path: Path) -> Write:
    def write(network: str) -> Path:
        path = tmp_path / "experiment.toml"
        path.write_text(tomli_w.dumps(small_experiment(**NETWORKS[network])))
        return path

    return write


def engine(mpirun: Mpirun, ranks: int, *arguments: str | Path) -> str:
    done = mpirun(ranks, "-m", "mpi_engine", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


def restarted(mpirun: Mpirun, path: Path, ranks: int, restarts: int, seed: int) -> None:
    """Compare a run at once with one of many parts, each cut over the ranks in its own way."""
    done = mpirun(ranks, "-m", "tests.mpi.restarts", str(path), "1999", str(restarts), str(seed))
    assert done.returncode == 0, done.stdout + done.stderr
    at_once, in_parts = done.stdout.split()
    assert at_once == in_parts


def chained(mpirun: Mpirun, path: Path, chain: list[tuple[int, float]], directory: Path) -> Path:
    """Run up to a time on some ranks, then up to a later one on others, and so on."""
    (ranks, end_ms), *rest = chain
    engine(mpirun, ranks, "run", path, "-o", directory, "--set", f"run.duration_ms={end_ms}")
    for ranks, end_ms in rest:
        engine(mpirun, ranks, "resume", directory, "--set", f"run.duration_ms={end_ms}")
    return directory


@pytest.mark.parametrize("network", OF_EVERY_KIND)
def test_ten_restarts_with_other_cuts_give_the_same_bits(network: str, write: Write, mpirun: Mpirun) -> None:
    restarted(mpirun, write(network), ranks=2, restarts=10, seed=1)


def test_a_chain_over_ranks_gives_the_same_file(write: Write, mpirun: Mpirun, tmp_path: Path) -> None:
    """Also through both writers, and with checkpoints in the midst of segments."""
    path = write("plastic and correlated")
    engine(mpirun, 2, "run", path, "-o", tmp_path / "whole")
    directory = chained(mpirun, path, [(1, 33.3), (3, 121.7)], tmp_path / "chain")
    assert open_run(directory).finished
    cadence = ["--set", "run.checkpoint_every_ms=17.9", "--set", "recording.segment_ms=41.0"]
    engine(mpirun, 2, "resume", directory, "--writer", "gather", "--set", "run.duration_ms=200.0", *cadence)
    assert differences(tmp_path / "whole", directory) == []
    assert [checkpoint.name for checkpoint in sorted((directory / "checkpoint").iterdir())] == [
        "000000001969.h5", "000000002000.h5"
    ]


@pytest.mark.science
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("ranks", [1, 3, 8])
def test_twenty_random_restarts_of_every_network(network: str, ranks: int, write: Write, mpirun: Mpirun) -> None:
    restarted(mpirun, write(network), ranks, restarts=20, seed=ranks)


@pytest.mark.science
@pytest.mark.parametrize("network", NETWORKS)
def test_every_pair_of_ranks(network: str, write: Write, mpirun: Mpirun, tmp_path: Path) -> None:
    """A chain that goes from each of 1, 2, 3, 4 and 8 ranks to each, itself included."""
    path = write(network)
    numbers = [1, 2, 3, 4, 8]
    engine(mpirun, 2, "run", path, "-o", tmp_path / "whole", "--writer", "gather")
    # a sequence of de Bruijn: every ordered pair follows one another once
    pairs = [n for k, a in enumerate(numbers) for n in (a, *(n for b in numbers[k + 1 :] for n in (a, b)))] + [1]
    assert len(set(pairwise(pairs))) == len(numbers) ** 2
    ends = [round(200.0 * (k + 1) / len(pairs), 1) for k in range(len(pairs))]
    chain = list(zip(pairs, ends, strict=True))
    assert differences(tmp_path / "whole", chained(mpirun, path, chain, tmp_path / "chain")) == []
