"""The debug mode: ranks that call different collectives fail with a name for each, and others run as ever."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from mpi_engine.network.ranks import DEBUG
from mpi_engine.output.difference import differences
from tests.reliability.engines import end_of, engine, started_engine

pytestmark = pytest.mark.timeout(3600)

DIVERGED = """
import sys
from mpi_engine.network.ranks import Ranks
ranks = Ranks.world()
ranks.barrier()
def save():
    ranks.{first}
def advance():
    ranks.{other}
try:
    save() if ranks.is_first else advance()
except RuntimeError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize(
    ("first", "other", "names"),
    [("barrier()", "broadcast(1)", ("Barrier", "bcast")), ("gather(1)", "meet('block')", ("allgather", "block"))],
)
def test_diverged_ranks_are_named_with_what_they_do(first: str, other: str, names: tuple[str, str]) -> None:
    with started_engine(2, "-c", DIVERGED.format(first=first, other=other), env={DEBUG: "1"}) as process:
        end = end_of(process)
    assert end.code == 1
    said = f"rank 0 is at collective 2, {names[0]} in __main__.save, rank 1 at collective 2, {names[1]} in __main__.ad"
    assert said in end.err


@pytest.mark.parametrize("writer", ["parallel", "gather"])
def test_a_run_in_the_debug_mode_gives_the_same(
    writer: str, small_experiment: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    file = tmp_path / "experiment.toml"
    run = {"duration_ms": 20.0, "checkpoint_every_ms": 10.0}
    file.write_text(tomli_w.dumps(small_experiment(run=run)))
    assert engine(1, "run", file, "-o", tmp_path / "plain").code == 0
    end = engine(2, "run", file, "-o", tmp_path / "compared", "--writer", writer, env={DEBUG: "1"})
    assert end.code == 0, end.err
    assert differences(tmp_path / "plain", tmp_path / "compared") == []
