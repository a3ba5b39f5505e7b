"""Runs of coding networks for the science tests, several at once, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tomli_w

from analysis.coding import CodingRun
from mpi_engine.output.coding_reader import open_coding_run


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
        command = [sys.executable, "-m", "mpi_engine", *commands[name], "-o", str(directory / name)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=7200, check=False)
        assert done.returncode == 0, f"{name}: {done.stderr}"
        return CodingRun(open_coding_run(directory / name))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(commands, pool.map(run, commands), strict=True))


def write(path: Path, table: Mapping[str, Any]) -> str:
    """Write an experiment's file and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomli_w.dumps(dict(table)), encoding="utf-8")
    return str(path)
