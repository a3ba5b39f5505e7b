"""Generated modules: written by many at once, as where the members of a sweep begin together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mpi_engine.dynamics import generated


def test_a_module_that_many_write_at_once_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads have one process number, as processes in containers of several nodes may have."""
    monkeypatch.setattr(generated, "cache_directory", lambda: tmp_path / "kernels")
    with ThreadPoolExecutor(8) as pool:
        for turn in range(50):
            text = f"answer = {turn}\n" + "# a long text\n" * 1000
            modules = list(pool.map(generated.load_module, ["shared"] * 8, [text] * 8))
            assert modules[0].answer == turn
    files = [path for path in (tmp_path / "kernels").iterdir() if path.is_file()]
    assert len(files) == 50
    assert {path.suffix for path in files} == {".py"}
