"""Messages between ranks arrive whole and in their turn, by memory that is shared and by MPI."""

from __future__ import annotations

import pytest

from mpi_engine.network.ranks import DEBUG
from tests.reliability.engines import end_of, started_engine

pytestmark = pytest.mark.timeout(3600)


@pytest.mark.parametrize("ranks", [2, 3, 7])
@pytest.mark.parametrize(("debug", "way"), [("0", "shared"), ("1", "sent")])
def test_all_are_told_all(ranks: int, debug: str, way: str) -> None:
    with started_engine(ranks, "-m", "tests.mpi.told", "2000", env={DEBUG: debug}) as process:
        end = end_of(process)
    assert (end.code, end.out.strip()) == (0, way), end.err
