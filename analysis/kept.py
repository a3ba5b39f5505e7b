"""Results kept beside a run, in ``analysis.h5``: a finished run itself is never written again."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import version
from pathlib import Path

import h5py
import xarray as xr

from mpi_engine.output.reader import RunError, RunReader

FILE = "analysis.h5"


def keep(run: RunReader, name: str, results: xr.Dataset) -> Path:
    """Keep labelled results of a finished run, as netCDF in a group of ``analysis.h5``.

    The file is replaced as a whole, so that a reader sees the old one or the new one. Of two writers at once, one
    may lose what it kept; nothing is lost that could not be measured again.

    Parameters
    ----------
    run : RunReader
        A finished run.
    name : str
        Name of the results; earlier ones of this name are replaced.
    results : Dataset
        What to keep.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    RunError
        If the run has not finished, or the file cannot be written.
    """
    if not run.finished:
        recorded = f"{run.recorded_ms:g} of {run.experiment.run.duration_ms:g} ms"
        raise RunError(f"{run.path}: has not finished, {recorded} are recorded; results are kept of finished runs only")
    path = run.directory / FILE
    temporary = path.with_name(f".{FILE}.{os.getpid()}")
    try:
        if path.exists():
            shutil.copyfile(path, temporary)
            with h5py.File(temporary, "a") as file:
                file.pop(name, None)
        results.assign_attrs(_origin(run)).to_netcdf(temporary, mode="a", group=name, engine="h5netcdf")
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or "it is damaged"
        raise RunError(f"{path}: cannot be written ({reason}); remove it, or make room for it") from None
    finally:
        temporary.unlink(missing_ok=True)
    return path


def kept(run: RunReader, name: str) -> xr.Dataset | None:
    """Read what `keep` wrote.

    Returns
    -------
    Dataset or None
        None if there is nothing of this name, or it is of another experiment or another version of the program.
    """
    try:
        results = xr.load_dataset(run.directory / FILE, group=name, engine="h5netcdf")
    except (OSError, KeyError):
        return None
    return results if _origin(run).items() <= results.attrs.items() else None


def _origin(run: RunReader) -> dict[str, str]:
    return {"experiment_hash": run.experiment.hash, "version": version("steelyard")}
