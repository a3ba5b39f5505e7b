"""Everything needed to repeat a run, and what it ran on."""

from __future__ import annotations

import os
import platform
import socket
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpi_engine.experiment import Experiment
from mpi_engine.output.layout import PROVENANCE, Record, common, number, text
from mpi_engine.output.writers import Writer

_PACKAGES = ("numpy", "numba", "llvmlite", "h5py", "mpi4py")
_SLURM = ("SLURM_JOB_ID", "SLURM_JOB_NAME", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT")


def provenance(
    writer: Writer,
    experiment: Experiment,
    started: float,
    timings_s: Mapping[str, float],
    random_streams: int,
    parent: Mapping[str, Any] | None = None,
    measured: Mapping[str, float] | None = None,
) -> list[Record]:
    """Collective. Describe the run until now.

    Parameters
    ----------
    writer : Writer
        Knows the ranks.
    experiment : Experiment
        As resolved.
    started : float
        When the run began, in seconds since 1970; it stops now.
    timings_s : mapping
        Seconds spent, by phase, on rank 0.
    random_streams : int
        Version of the random streams.
    parent : mapping, optional
        For a branch: path and hash of the run that it comes from, and the step.
    measured : mapping, optional
        What this rank measured, by name: the same names on every rank, which end on the unit
        or are in a group that does.

    Returns
    -------
    list of Record
        The same on every rank, written by rank 0.
    """
    hosts = writer.allgather(socket.gethostname())
    texts, numbers = writer.on_first(lambda: (_texts(experiment, writer, started), dict(timings_s)))
    of_ranks = writer.allgather(dict(measured or {}))
    mine = writer.rank == 0
    return [
        text(f"{PROVENANCE}/hosts", hosts, mine),
        number(f"{PROVENANCE}/ranks", writer.size, mine),
        number(f"{PROVENANCE}/random_streams", random_streams, mine),
        *(number(f"{PROVENANCE}/seed/{part}", seed, mine) for part, seed in experiment.seed),
        *(text(f"{PROVENANCE}/{name}", words, mine) for name, words in texts.items()),
        *(text(f"{PROVENANCE}/parent/{name}", str(value), mine) for name, value in (parent or {}).items()),
        *(number(f"{PROVENANCE}/timings_s/{name}", float(seconds), mine, "s") for name, seconds in numbers.items()),
        *(common(f"{PROVENANCE}/{name}", np.array([rank[name] for rank in of_ranks]), mine, grows=False)
          for name in of_ranks[0]),
    ]


def _texts(experiment: Experiment, writer: Writer, started: float) -> dict[str, str]:
    texts = {
        "experiment": experiment.to_toml(),
        "hash": experiment.hash,
        "start": _time(started),
        "stop": _time(datetime.now(UTC).timestamp()),
        "cpu": cpu_model(),
        "platform": platform.platform(),
        "writer": type(writer).__name__,
        "versions/steelyard": metadata.version("steelyard"),
        "versions/python": platform.python_version(),
        "versions/HDF5": h5py.version.hdf5_version,
    }
    for package in _PACKAGES:
        if (module := sys.modules.get(package)) is not None:
            texts[f"versions/{package}"] = module.__version__
    if writer.comm is not None:
        texts["versions/MPI"] = import_module("mpi4py.MPI").Get_library_version().strip("\0\n ")
    texts |= {f"slurm/{name}": os.environ[name] for name in _SLURM if name in os.environ}
    return texts


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def cpu_model() -> str:
    """Name the CPU as its maker does, where Linux tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
