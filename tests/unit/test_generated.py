"""Generated modules: written by many at once, as where members of a sweep begin together; no name is given twice."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mpi_engine.dynamics import generated
from mpi_engine.dynamics.block import Plan, block_source
from mpi_engine.experiment import parse_experiment


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


def test_no_name_is_given_twice(small_experiment: Callable[..., dict[str, Any]]) -> None:
    """Projections and rules whose names end as the names of kernels' functions do."""
    table = small_experiment()
    learns = next(p for p in table["projections"].values() if "plasticity" in p)
    rule = table["plasticity"][learns["plasticity"]]
    table["plasticity"] |= {"b": rule, "a_b": rule}
    for name in ("X", "post_X", "now_X", "up_X", "part_X", "X_a", "X_0"):
        table["projections"][name] = learns | {"plasticity": ["b", "a_b"]}
    defined: Counter[str] = Counter()
    for node in ast.parse(block_source(Plan(parse_experiment(table)))).body:
        if isinstance(node, ast.FunctionDef):
            defined[node.name] += 1
        elif isinstance(node, ast.Assign):
            defined.update(name.id for name in ast.walk(node.targets[0]) if isinstance(name, ast.Name))
    assert defined["catch_up_X"] == 1
    assert {name for name, times in defined.items() if times > 1} == set()


def test_a_shadow_voltage_leaves_synapses_their_names(small_experiment: Callable[..., dict[str, Any]]) -> None:
    """A synapse whose name ends as that of the membrane potential does."""
    table = small_experiment()
    kinds = table["synapses"]
    name = next(iter(kinds))
    kinds["PV"] = kinds.pop(name)
    for projection in table["projections"].values():
        projection["synapse"] = "PV" if projection["synapse"] == name else projection["synapse"]
    table["recording"]["statistics"] = {"block_ms": 50.0, "shadow_voltage": True}
    text = block_source(Plan(parse_experiment(table)))
    assert "I_PV[i]" in text
    assert "Pfree[i]" not in text
