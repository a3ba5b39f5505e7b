"""Runs of coding networks for the science tests: in this process, or several at once, each in its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tomli_w

from analysis.coding import CodingRun
from mpi_engine.output.coding_reader import open_coding_run

STUDY = Path(__file__).parents[2] / "analysis/studies/alemi2017"


def run_all(directory: Path, commands: Mapping[str, Sequence[str]]) -> dict[str, CodingRun]:
    """Run engines, as many at once as there are processors, and open what they recorded.

    Parameters
    ----------
    directory : Path
        Where to.
    commands : mapping of str to sequence of str
        Arguments of each engine without its directory, by its name.
    """

    def run(name: str) -> CodingRun:
        _engine(*commands[name], "-o", str(directory / name))
        return CodingRun(open_coding_run(directory / name))

    return _each(commands, run)


def branch_all(directory: Path, parent: Path, changes: Mapping[str, Sequence[str]]) -> dict[str, CodingRun]:
    """Branch off the last checkpoint of a run, go on to the end, and open what was recorded; see `run_all`.

    Parameters
    ----------
    directory : Path
        Where to.
    parent : Path
        The run directory.
    changes : mapping of str to sequence of str
        What each branch sets, by its name.
    """
    directory.mkdir(parents=True, exist_ok=True)

    def run(name: str) -> CodingRun:
        settings = [word for setting in changes[name] for word in ("--set", setting)]
        _engine("branch", str(parent), "-o", str(directory / name), *settings)
        _engine("resume", str(directory / name))
        return CodingRun(open_coding_run(directory / name))

    return _each(changes, run)


def _engine(*arguments: str) -> None:
    command = [sys.executable, "-m", "mpi_engine", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=7200, check=False)
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"


def _each(names: Iterable[str], run: Callable[[str], CodingRun]) -> dict[str, CodingRun]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return {name: future.result() for name, future in [(name, pool.submit(run, name)) for name in names]}


def write(path: Path, table: Mapping[str, Any]) -> str:
    """Write an experiment's file and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomli_w.dumps(dict(table)), encoding="utf-8")
    return str(path)
