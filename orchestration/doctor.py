"""What this machine offers to runs, what is missing, and what to do about it."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO

import h5py
import psutil
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from orchestration.engine import Engine, count_cores, find_mpirun

_TEST_RANKS = 2
_TEST_TIMEOUT_S = 300

# Runs as a program of its own, on several ranks: this process knows no MPI.
_TEST = """
import sys
from pathlib import Path
from mpi4py import MPI
import h5py
world, meant, path = MPI.COMM_WORLD, int(sys.argv[1]), Path(sys.argv[2])
if world.size != meant:
    sys.exit(f"a world of {world.size} where {meant} ranks were started")
if h5py.get_config().mpi:
    with h5py.File(path, "w", driver="mpio", comm=world) as file:
        ranks = file.create_dataset("ranks", (meant,), "i4")
        with ranks.collective:
            ranks[world.rank : world.rank + 1] = world.rank
    world.Barrier()
    with h5py.File(path, "r", driver="mpio", comm=world) as file:
        if list(file["ranks"]) != list(range(meant)):
            sys.exit("a file written by all ranks does not hold what they wrote")
if world.rank == 0:
    print(MPI.Get_library_version().split(",")[0])
"""


@dataclass(frozen=True)
class Finding:
    """One thing looked for.

    Parameters
    ----------
    name : str
        What.
    found : str
        What there is, with versions and places.
    remedy : str
        What to do, if anything is missing.
    prevents_runs : bool
        Whether runs will fail; otherwise they do without.
    """

    name: str
    found: str
    remedy: str = ""
    prevents_runs: bool = False


def examine() -> list[Finding]:
    """Look at everything that runs need, and try two ranks."""
    return [_python(), _machine(), *_mpi(), _parallel_h5py(), *_caches()]


def show(findings: list[Finding], console: Console) -> bool:
    """Print findings as a table, with the remedies.

    Returns
    -------
    bool
        Whether runs will work.
    """
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        mark, colour = ("✗", "red") if finding.prevents_runs else ("!", "yellow") if finding.remedy else ("✓", "green")
        table.add_row(Text(mark, style=colour), finding.name, Text(finding.found))
        if finding.remedy:
            table.add_row("", "", Text(finding.remedy, style="bold"))
    console.print(table)
    return not any(finding.prevents_runs for finding in findings)


def _python() -> Finding:
    packages = ", ".join(f"{name} {_version(name)}" for name in ("steelyard", "numpy", "numba", "h5py", "mpi4py"))
    return Finding("Python", f"{platform.python_version()} ({sys.executable}); {packages}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _machine() -> Finding:
    memory = psutil.virtual_memory()
    found = f"{count_cores()} cores, {decimal(memory.available)} of {decimal(memory.total)} memory free"
    return Finding("Machine", found)


def _mpi() -> Iterator[Finding]:
    mpirun = find_mpirun()
    if mpirun is None:
        remedy = "for more than one rank load a module, or apt-get install openmpi-bin"
        yield Finding("mpirun", "none on the PATH", remedy)
    if importlib.util.find_spec("mpi4py") is None:
        yield Finding("mpi4py", "not installed", "for more than one rank: pip install 'steelyard[mpi]'")
    elif mpirun is not None:
        yield _two_ranks(mpirun)


def _two_ranks(mpirun: Path) -> Finding:
    name = f"{_TEST_RANKS} ranks"
    remedy = "use the mpirun of the MPI that mpi4py finds: load its module, or put its bin first on the PATH"
    with (
        tempfile.TemporaryDirectory() as directory,
        tempfile.TemporaryFile("w+b") as output,
        tempfile.TemporaryFile("w+b") as noise,
    ):
        test = [sys.executable, "-c", _TEST, str(_TEST_RANKS), str(Path(directory) / "test.h5")]
        with Engine([str(mpirun), "-n", str(_TEST_RANKS), *test], _TEST_RANKS, output, noise) as engine:
            code = engine.wait(_TEST_TIMEOUT_S)
        said, complained = (_lines(stream) for stream in (output, noise))
    if code == 0:
        return Finding(name, f"{said[0]}; {mpirun} works")
    failure = f"had not ended after {_TEST_TIMEOUT_S} s" if code is None else f"failed with code {code}"
    reason = complained[0] if complained else "no message"
    return Finding(name, f"{mpirun} {failure}: {reason}", remedy, prevents_runs=True)


def _lines(stream: IO[bytes]) -> list[str]:
    """Read the lines that say something: a launcher frames its messages with dashes."""
    stream.seek(0)
    lines = (line.decode(errors="replace").strip() for line in stream)
    return [line for line in lines if line.strip("-")]


def _parallel_h5py() -> Finding:
    name = "Parallel HDF5"
    if h5py.get_config().mpi:
        return Finding(name, f"h5py {h5py.__version__} with HDF5 {h5py.version.hdf5_version}")
    remedy = "make test builds an h5py with MPI; without it rank 0 writes for all (--writer gather)"
    return Finding(name, f"h5py {h5py.__version__} has no MPI", remedy)


def _caches() -> Iterator[Finding]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "steelyard"
    kernels = cache / "kernels"
    nearest = next(place for place in (kernels, *kernels.parents) if place.exists())
    if os.access(nearest, os.W_OK):
        yield Finding("Compiled kernels", f"{kernels} ({_content(kernels)})")
    else:
        remedy = "set XDG_CACHE_HOME to a writable directory: no run begins without"
        yield Finding("Compiled kernels", f"{kernels} cannot be written", remedy)
    yield Finding("Built wheels", f"{cache / 'wheels'} ({_content(cache / 'wheels')})")


def _content(directory: Path) -> str:
    sizes = [path.stat().st_size for path in directory.rglob("*") if path.is_file()]
    return f"{len(sizes)} files, {decimal(sum(sizes))}" if sizes else "empty"
