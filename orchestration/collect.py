"""The finished runs of a sweep as one labelled dataset, read from their files when and as far as it is asked for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import distributed  # noqa: F401  (xarray would import it at the first write, and its bytes count among those read)
import h5py
import numpy as np
import xarray as xr
from dask._task_spec import Task
from dask.base import tokenize
from numpy.typing import NDArray

from mpi_engine.experiment import ExperimentError, Problem
from mpi_engine.output import layout
from mpi_engine.output.integrity import RunError, reason_of
from mpi_engine.output.sealed import RUN_FILE, Contents, attributes_of, read_contents
from orchestration.sweep import Axis, Sweep

GROUPS = ("rates", "statistics", "weights", "traces")
"""What can be collected; spikes stay in the runs."""

_MOST_NAMED = 10

_PLACES = {layout.RATES: "rates", layout.STATISTICS: "statistics", layout.WEIGHTS: "weights",
           layout.REPORT: "traces", layout.TRACES: "traces"}
_TIMES = {"rates": "rate_time", "statistics": "block_time", "weights": "weight_time", "traces": "trace_time_{}"}
_COLUMNS = {"statistics": "neuron_{}", "traces": "traced_{}", "histogram": "bin_{}", "edges": "edge_{}"}
_TIME_LEAVES = ("start_ms", "time_ms")


@dataclass(frozen=True)
class _Variable:
    """A dataset that runs have in common.

    Parameters
    ----------
    path : str
        Its place in their files.
    group, owner, leaf : str
        What it belongs to, of which population or projection, and its name there.
    axes : tuple of str
        The names of its dimensions there.
    """

    path: str
    group: str
    owner: str
    leaf: str
    axes: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the dataset of all runs calls it."""
        return f"{self.group}.{self.owner}.{self.leaf}"


def collect(sweep: Sweep, groups: Sequence[str] = GROUPS, incomplete: bool = False) -> xr.Dataset:
    """Lay the finished runs of a sweep side by side.

    Nothing but the runs' tables of contents is read; each variable of each run is a chunk, read when it is computed.

    Parameters
    ----------
    sweep : Sweep
        Whose runs.
    groups : sequence of str
        Of `GROUPS`.
    incomplete : bool
        Whether runs may be missing.

    Returns
    -------
    Dataset
        The parameters are dimensions, named by the key that varies along them. Variables are named like
        ``statistics.E.mean.V``. Where a run is missing, or has less of something than others, there is NaN.

    Raises
    ------
    ExperimentError
        If runs are missing or damaged and may not be, or there is none at all, or no such group.
    """
    if unknown := [group for group in groups if group not in GROUPS]:
        raise ExperimentError([Problem("--only", unknown[0], f"must be one of: {', '.join(GROUPS)}")], "command")
    found, missing = _find(sweep)
    if not found or (missing and not incomplete):
        raise ExperimentError(list(_tell_missing(missing, incomplete)), str(sweep.file))
    variables = [variable for variable in _variables(found.values()) if variable.group in groups]
    sizes = _sizes(variables, found.values())
    first = next(iter(found))
    same_times = not any(key.split(".")[0] in ("run", "recording") for key in sweep.members[0].settings)
    parameters = tuple(axis.name for axis in sweep.axes)
    with h5py.File(first, "r") as file:
        times = dict(_times(file, variables, sizes)) if same_times else {}
        data = {
            variable.name: (
                parameters + variable.axes,
                _lay_out(sweep, variable, found, tuple(sizes[axis] for axis in variable.axes)),
                _units(file, variable.path),
            )
            for variable in variables
            if not (same_times and variable.leaf in _TIME_LEAVES)
        }
    ids = np.array([member.id for member in sweep.members]).reshape(_shape(sweep))
    attributes = {"title": str(sweep.table.get("title", "")), "sweep": sweep.file.read_text(encoding="utf-8")}
    return xr.Dataset(data | {"run": (parameters, ids)}, dict(_coordinates(sweep.axes)) | times, attributes)


def save(dataset: xr.Dataset, path: Path) -> None:
    """Write a dataset as netCDF, run by run; under its name only when it is whole."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        dataset.to_netcdf(temporary, engine="h5netcdf")
        temporary.replace(path)
    except OSError as error:
        raise ExperimentError([Problem("-o", str(path), f"cannot be written: {reason_of(error)}")], "command") from None
    finally:
        temporary.unlink(missing_ok=True)


def _find(sweep: Sweep) -> tuple[dict[Path, Contents], dict[str, str]]:
    """Read the tables of contents of the finished runs, and say what is wrong with the others."""
    found, missing = {}, {}
    for member in sweep.members:
        path = sweep.run_directory(member) / RUN_FILE
        try:
            found[path] = read_contents(path)
        except RunError as error:
            missing[str(member)] = "is not finished" if not path.exists() else str(error)
    return found, missing


def _tell_missing(missing: dict[str, str], incomplete: bool) -> Iterator[Problem]:
    for member, reason in list(missing.items())[:_MOST_NAMED]:
        yield Problem("run", member, reason)
    more = f"; {len(missing) - _MOST_NAMED} more are not named" if len(missing) > _MOST_NAMED else ""
    remedy = "there is nothing to collect" if incomplete else "finish them, or collect what there is with --incomplete"
    yield Problem("runs", f"{len(missing)} missing{more}", remedy)


def _variables(contents: Iterable[Contents]) -> Iterator[_Variable]:
    """List what the runs have recorded, spikes and degrees left out."""
    entries = {path: entry for content in contents for path, entry in content.entries.items()}
    for path, entry in entries.items():
        place = next((place for place in _PLACES if path.startswith(f"{place}/")), None)
        if place is None or "/mapping/" in path:
            continue
        group, (owner, _, leaf) = _PLACES[place], path.removeprefix(f"{place}/").partition("/")
        leaf = "V" if place == layout.REPORT else leaf.replace("/", ".")
        time = (_TIMES[group].format(owner),) if entry.grows else ()
        column = _COLUMNS.get(leaf, _COLUMNS.get(group, "synapse_{}")).format(owner)
        yield _Variable(path, group, owner, leaf, (*time, column)[: len(entry.shape)])


def _sizes(variables: Iterable[_Variable], contents: Iterable[Contents]) -> dict[str, int]:
    """Find the length of each dimension: that of the run which has most."""
    sizes: Counter[str] = Counter()
    for variable in variables:
        for content in contents:
            if entry := content.entries.get(variable.path):
                sizes |= Counter(dict(zip(variable.axes, entry.shape, strict=True)))
    return sizes


def _lay_out(sweep: Sweep, variable: _Variable, found: dict[Path, Contents], shape: tuple[int, ...]) -> da.Array:
    """Make the array of a variable over all runs, a chunk a run."""
    having = {path: content.entries for path, content in found.items() if variable.path in content.entries}
    entries = {path: entries[variable.path] for path, entries in having.items()}
    dtype = next(iter(entries.values())).dtype
    if len(entries) < len(sweep.members) or any(entry.shape != shape for entry in entries.values()):
        dtype = np.result_type(dtype, np.float32)    # which has a NaN
    name = f"{variable.name}-{tokenize(str(sweep.directory), variable.path, shape, list(entries))}"
    ones = (1,) * len(sweep.axes)
    origin = (0,) * len(shape)
    graph = {}
    for member in sweep.members:
        path = sweep.run_directory(member) / RUN_FILE
        graph[(name, *member.place, *origin)] = Task(
            (name, *member.place, *origin), _read, path if path in entries else None, variable.path, ones, shape, dtype
        )
    chunks = tuple((1,) * length for length in _shape(sweep)) + tuple((length,) for length in shape)
    return da.Array(graph, name, chunks, dtype)


def _read(
    file: Path | None, path: str, ones: tuple[int, ...], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Read a variable of a run; what it has less than others, or all of it, is NaN."""
    values = np.full(shape, np.nan if dtype.kind == "f" else 0, dtype)
    if file is not None:
        with h5py.File(file, "r") as opened:
            own = opened[path][()]
        values[tuple(slice(length) for length in own.shape)] = own
    return values.reshape(ones + shape)


def _times(file: h5py.File, variables: Iterable[_Variable], sizes: Mapping[str, int]) -> Iterator[tuple[str, Any]]:
    """Read the times of records, as one run has them [ms]."""
    axes = {_TIMES[v.group].format(v.owner): (v.group, v.owner) for v in variables}
    for axis, (group, owner) in axes.items():
        steps = np.arange(sizes[axis])
        if group == "rates":
            bins = file[f"{layout.RATES}/{owner}"].attrs
            times = bins["start_ms"] + bins["bin_ms"] * steps
        elif group == "traces":
            start_ms, _, interval_ms = file[f"{layout.REPORT}/{owner}/mapping/time"][()]
            times = start_ms + interval_ms * steps
        else:
            place = layout.STATISTICS if group == "statistics" else layout.WEIGHTS
            times = file[f"{place}/{owner}/{_TIME_LEAVES[group == 'weights']}"][()]
        yield axis, (axis, times, {"units": "ms"})


def _coordinates(axes: Iterable[Axis]) -> Iterator[tuple[str, Any]]:
    """Label the dimensions of parameters with the values of each key; what is no number or text by its JSON."""
    for axis in axes:
        for key in axis.settings[0]:
            values = [settings[key] for settings in axis.settings]
            if len({type(value) for value in values}) > 1 or not isinstance(values[0], (bool, int, float, str)):
                values = [json.dumps(value) for value in values]
            yield key, (axis.name, values)


def _units(file: h5py.File, path: str) -> dict[str, str]:
    units = attributes_of(file[path]).get("units") if path in file else None
    return {} if units is None else {"units": str(units)}


def _shape(sweep: Sweep) -> tuple[int, ...]:
    return tuple(len(axis.settings) for axis in sweep.axes)
