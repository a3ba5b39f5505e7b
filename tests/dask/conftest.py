"""What tests of ensembles share: a sweep of a small network, of which nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from tests.dask.runs import Runs


@pytest.fixture
def write(small_experiment: Callable[..., dict[str, Any]], tmp_path: Path) -> Iterator[Callable[..., Runs]]:
    """Write a sweep, and leave none of its processes behind."""
    started: list[Runs] = []

    def make(text: str, **changes: Any) -> Runs:
        (tmp_path / "base.toml").write_text(tomli_w.dumps(small_experiment(**changes)))
        (tmp_path / "study.toml").write_text(f'experiment = "base.toml"\n{text}')
        started.append(Runs(tmp_path / "study.toml"))
        return started[-1]

    yield make
    for runs in started:
        for driver in runs.drivers:
            if driver.poll() is None:
                driver.kill()
            driver.wait()
        runs.wait_until_nothing_runs()
