"""A sweep as an object to work with: runs that differ in a few settings, and measures over these."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from analysis.runs import Run
from analysis.trends import against
from mpi_engine.output.reader import RunError

RUNS = "runs"


def is_sweep(path: Path) -> bool:
    """Whether a path is that of a sweep file, or of a directory that holds run directories and is none."""
    return path.suffix == ".toml" or (path.is_dir() and bool(_runs_in(path)))


def open_sweep(path: str | Path, burn_in: float = 0.5) -> Sweep:
    """Open the directory of a sweep, or any directory of run directories.

    Parameters
    ----------
    path : str or Path
        A directory with run directories in ``runs/``, or in itself; of a sweep, also the sweep file beside it.
    burn_in : float
        Share of the recorded time that measures leave out.

    Returns
    -------
    Sweep

    Raises
    ------
    RunError
        If there is no run, or a run is damaged.
    """
    given = Path(path)
    directory = given.with_suffix("") if given.suffix == ".toml" else given
    if not directory.is_dir():
        raise RunError(f"{given}: has no runs; check the path, or run the sweep first")
    paths = _runs_in(directory)
    if not paths:
        raise RunError(f"{given}: holds no runs; check the path, or run the sweep first")
    return Sweep(directory, {run.name: Run(run, burn_in) for run in paths})


class Sweep:
    """Runs of one experiment with different settings.

    Parameters
    ----------
    path : Path
        Their directory.
    runs : mapping of str to Run
        At least one, by name.

    Attributes
    ----------
    path : Path
        The directory.
    runs : dict of str to Run
        By name.
    settings : dict of str to dict
        For each run, the values of the keys in which runs differ.
    axes : dict of str to list
        Directions of the sweep: the first of the keys that change together, and its values in ascending order.
    """

    def __init__(self, path: Path, runs: Mapping[str, Run]) -> None:
        self.path, self.runs = path, dict(runs)
        self._tables = {n: dict(_leaves(run.experiment.model_dump(exclude={"title"}))) for n, run in runs.items()}
        keys = list(dict.fromkeys(key for table in self._tables.values() for key in table))
        columns = {key: [table.get(key, "") for table in self._tables.values()] for key in keys}
        varied = {key: column for key, column in columns.items() if any(value != column[0] for value in column)}
        self.settings = {name: {key: varied[key][k] for key in varied} for k, name in enumerate(self.runs)}
        self._together = _group(varied)
        self.axes = {key: _ascending(varied[key]) for key in self._together}

    def __repr__(self) -> str:
        """Tell in one line how many runs there are, how many have finished, and what differs."""
        axes = ", ".join(f"{key} ({len(values)})" for key, values in self.axes.items()) or "nothing differs"
        finished = sum(run.finished for run in self.runs.values())
        return f"<{len(self.runs)} runs, {finished} finished; {axes}; {self.path}>"

    @property
    def missing(self) -> list[str]:
        """What a whole sweep would have besides: runs that have not finished, and places without a run; a line each."""
        unfinished = [f"{name} has not finished" for name, run in self.runs.items() if not run.finished]
        places = prod(len(values) for values in self.axes.values())
        absent = places - len({tuple(self._place(name)) for name in self.runs})
        return unfinished + ([f"{absent} of {places} combinations of settings have no run"] if absent else [])

    def where(self, settings: Mapping[str, Any]) -> list[Run]:
        """Find the runs with some settings, by key, finished or not; whether runs differ in them does not matter."""
        wanted = settings.items()
        return [run for name, run in self.runs.items() if all(self._tables[name].get(k) == v for k, v in wanted)]

    def measure(self, function: Callable[[Run], float], incomplete: bool = False, unit: str = "") -> xr.DataArray:
        """Measure each run, labelled by the settings in which runs differ.

        Parameters
        ----------
        function : callable
            From a run to a number.
        incomplete : bool
            Whether to go without the runs that are missing, as NaN.
        unit : str
            Of the number.

        Returns
        -------
        DataArray
            A dimension for each of `axes`, with the keys that change together as coordinates along it. The attribute
            ``missing`` says why some values are NaN.

        Raises
        ------
        RunError
            If runs are missing, unless `incomplete`; if two runs have all settings in common.
        """
        return self._labelled({name: function(run) for name, run in self._chosen(incomplete)}, unit)

    def to_xarray(self, incomplete: bool = False) -> xr.Dataset:
        """Label all numbers of all runs, as `Run.measures` has them; parameters and errors as for `measure`.

        Returns
        -------
        Dataset
            A variable for each number, as ``rate_E`` or ``mean_weight_I_to_E``; its attribute ``reasons`` says why some
            values are NaN.
        """
        found = {name: {(m.name, m.of): m for m in run.measures()} for name, run in self._chosen(incomplete)}
        variables: dict[str, xr.DataArray] = {}
        for what in dict.fromkeys(key for rows in found.values() for key in rows):
            rows = {name: measured[what] for name, measured in found.items() if what in measured}
            values = self._labelled({name: row.value for name, row in rows.items()}, next(iter(rows.values())).unit)
            reasons = sorted({row.reason for row in rows.values() if row.reason})
            variables["_".join(" ".join(what).split())] = values.assign_attrs(reasons=reasons)
        return xr.Dataset(variables)

    def plot(self, values: xr.DataArray, setting: str, log: bool = False) -> Figure:
        """Draw values of `measure` or `to_xarray` against a setting; see `analysis.trends.against`."""
        return against(values, setting, log)

    def _chosen(self, incomplete: bool) -> list[tuple[str, Run]]:
        """Finished runs; refuse if they are not all."""
        missing = self.missing
        if missing and not incomplete:
            told = "; ".join(missing[:3]) + (f"; and {len(missing) - 3} more" if len(missing) > 3 else "")
            raise RunError(f"{self.path}: {told}; finish them, or ask for what there is with incomplete=True")
        return [(name, run) for name, run in self.runs.items() if run.finished]

    def _labelled(self, by_run: Mapping[str, float], unit: str) -> xr.DataArray:
        values = np.full([len(places) for places in self.axes.values()], np.nan)
        taken: dict[tuple[int, ...], str] = {}
        for name, value in by_run.items():
            place = tuple(self._place(name))
            if (other := taken.setdefault(place, name)) != name:
                raise RunError(f"{self.path}: {name} has the settings of {other}; remove one of the two")
            values[place] = value
        attributes = {"units": unit, "missing": self.missing}
        return xr.DataArray(values, self._coordinates(), list(self.axes), attrs=attributes)

    def _place(self, name: str) -> Iterator[int]:
        return (values.index(self.settings[name][key]) for key, values in self.axes.items())

    def _coordinates(self) -> dict[str, tuple[str, list[Any]]]:
        found: dict[str, tuple[str, list[Any]]] = {}
        for key, others in self._together.items():
            at = {_label(settings[key]): settings for settings in self.settings.values()}
            for other in (key, *others):
                found[other] = (key, [_label(at[_label(value)][other]) for value in self.axes[key]])
        return found


def _runs_in(directory: Path) -> list[Path]:
    parent = directory / RUNS if (directory / RUNS).is_dir() else directory
    return sorted(run for run in parent.iterdir() if (run / "experiment.toml").exists())


def _leaves(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """List the key paths in nested tables; a seed whose parts are equal is one number."""
    for key, value in table.items():
        if not above and key == "seed" and len(set(value.values())) == 1:
            yield "seed", value["base"]
        elif isinstance(value, dict):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _group(varied: Mapping[str, list[Any]]) -> dict[str, list[str]]:
    """Put keys together that change together: each value of the one goes with one value of the other."""
    groups: dict[str, list[str]] = {}
    for key, column in varied.items():
        labels = list(map(_label, column))
        for first, others in groups.items():
            leading = list(map(_label, varied[first]))
            if len(set(zip(leading, labels, strict=True))) == len(set(leading)) == len(set(labels)):
                others.append(key)
                break
        else:
            groups[key] = []
    return groups


def _ascending(column: list[Any]) -> list[Any]:
    unique = list({_label(value): value for value in column}.values())
    try:
        return sorted(unique)
    except TypeError:
        return sorted(unique, key=str)


def _label(value: Any) -> Any:
    """Make a coordinate of a value: itself if it is a number or a text."""
    return value if isinstance(value, (int, float, str)) else str(value)
