"""Asking a run to stop from anywhere that sees its directory."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from mpi_engine.run.directory import living_holder
from mpi_engine.run.watcher import STOP_FILE
from orchestration.launcher import check_holds_run
from orchestration.progress import PLAIN, describe_end

_POLL_S = 0.2


def stop(directory: Path, console: Console) -> None:
    """Ask a run to stop at a checkpoint, wait until it has ended, and say where it stands.

    Parameters
    ----------
    directory : Path
        The run directory.
    console : Console
        Where to print.

    Raises
    ------
    ExperimentError
        If the directory holds no run.
    """
    check_holds_run(directory)
    request = directory / STOP_FILE
    if holder := living_holder(directory):
        console.print(f"waiting for {holder} to stop", **PLAIN)
        request.touch()
        while living_holder(directory):
            time.sleep(_POLL_S)
        request.unlink(missing_ok=True)    # if it ended before it looked
    else:
        console.print(f"{directory} is not running", **PLAIN)
    console.print(describe_end(directory), **PLAIN)
