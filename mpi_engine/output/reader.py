"""Reading a run, finished or still going, without MPI."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mpi_engine.experiment import Experiment, ExperimentError, parse_experiment
from mpi_engine.experiment.problems import suggest
from mpi_engine.output.checkpoints import checkpoints, find_misfit
from mpi_engine.output.integrity import RunError
from mpi_engine.output.layout import JOINT, NETWORK, PROVENANCE, RATES, REPORT, SPIKES, STATISTICS, TRACES, WEIGHTS
from mpi_engine.output.recorded import Degrees, Moments, Rates, Spikes, Statistics, TimeSplit, Traces, Weights
from mpi_engine.output.sealed import RUN_FILE, Contents, Sealed, Stamp, find_damage, sealed_segments

__all__ = [
    "Degrees",
    "Moments",
    "Rates",
    "RunError",
    "RunReader",
    "Spikes",
    "Statistics",
    "TimeSplit",
    "Traces",
    "Weights",
    "open_run",
]

T = TypeVar("T")


def open_run(path: str | Path) -> RunReader:
    """Open a run directory, or a run file by itself.

    Raises
    ------
    RunError
        If there is no run, or its file is damaged or foreign.
    """
    return RunReader(Path(path))


class RunReader:
    """What a run recorded until now: its sealed segments, or its one file when it has finished.

    Every method reads anew, so a reader of a run that goes on sees more as time passes. All of them raise `RunError`,
    with one line, for names that the experiment does not have, recorders that were off, and damaged files.

    Parameters
    ----------
    path : Path
        A run directory or a run file.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise RunError(f"{path}: does not exist; check the path")
        self.path = path
        self.directory = path if path.is_dir() else path.parent
        self._contents: dict[Stamp, Contents] = {}
        if not self._files() and not (path / "experiment.toml").exists():
            raise RunError(f"{path}: holds no run; name a run directory or its {RUN_FILE}")
        self.experiment = self._read_experiment()

    def __repr__(self) -> str:
        """Tell what this is in one line."""
        sizes = ", ".join(f"{name} ({size})" for name, size in self.experiment.sizes.items())
        recorded, duration = self.recorded_ms, self.experiment.run.duration_ms
        title = self.experiment.title or "untitled run"
        return f"<{title}: {sizes}; {recorded:g} of {duration:g} ms recorded, {self._state()}; {self.path}>"

    @property
    def finished(self) -> bool:
        """Whether the run is whole, in one file."""
        whole = self._whole()
        return whole is not None and self._look(lambda sealed: sealed.steps[1]) == self.experiment.n_steps

    @property
    def recorded_ms(self) -> float:
        """Biological time until which everything is recorded [ms]."""
        return self._look(lambda sealed: sealed.steps[1]) * self.experiment.run.dt_ms if self._files() else 0.0

    @property
    def provenance(self) -> dict[str, Any]:
        """What the run, or its last part until now, ran on: groups as nested dictionaries."""
        return self._look(_read_provenance)

    def spikes(self, population: str) -> Spikes:
        """Read the spikes of a population or an input."""
        self._check(population, "population", self.experiment.sizes)
        remedy = f'name "{population}" in recording.spikes and run again'
        _, columns = self._columns(f"{SPIKES}/{population}", f"spikes of {population}", remedy)
        return Spikes(columns["timestamps"], columns["node_ids"].astype(np.int64))

    def rates(self, population: str) -> Rates:
        """Read the rates of a population or subpopulation, and its means of variables."""
        e = self.experiment
        self._check(population, "population", [*e.sizes, *e.subpopulations])
        group, what = f"{RATES}/{population}", f"rates of {population}"
        remedy = "add recording.rates and run again"
        if population in e.subpopulations:
            remedy = f'name "{population}" in recording.rates.subpopulations and run again'
        attributes, columns = self._columns(group, what, remedy)
        bin_ms, rate_hz = float(attributes["bin_ms"]), columns["rate_hz"]
        times_ms = attributes["start_ms"] + bin_ms * np.arange(rate_hz.size)
        return Rates(times_ms, bin_ms, rate_hz, _of(columns, "mean"))

    def statistics(self, population: str) -> Statistics:
        """Read the statistics of each neuron of a population."""
        self._check(population, "population", self.experiment.populations)
        group, what = f"{STATISTICS}/{population}", f"statistics of {population}"
        attributes, columns = self._columns(group, what, "add recording.statistics and run again")
        return Statistics(
            columns["start_ms"],
            float(attributes["block_ms"]),
            columns["samples"],
            columns["spike_count"],
            _of(columns, "mean"),
            _of(columns, "variance"),
            float(attributes["average_ms"]) if "average_ms" in attributes else None,
            *(columns.get(name) for name in JOINT),
        )

    def weights(self, projection: str) -> Weights:
        """Read the weights of a plastic projection."""
        self._check(projection, "projection", self.experiment.projections)
        if projection not in self.experiment.plastic:
            plastic = ", ".join(self.experiment.plastic) or "none"
            raise RunError(f"projection {projection!r}: does not learn, its weights are constant; plastic: {plastic}")
        group, what = f"{WEIGHTS}/{projection}", f"weights of {projection}"
        attributes, columns = self._columns(group, what, "add recording.weights and run again")
        moments = _of(columns, "onto")
        onto = {
            name: Moments(moments[f"{name}/mean"], moments[f"{name}/variance"])
            for name in dict.fromkeys(key.partition("/")[0] for key in moments)
        }
        over_all = {name: values for name, values in columns.items() if not name.startswith("onto/")}
        return Weights(**over_all, scale=float(attributes["scale"]), synapses=int(attributes["synapses"]), onto=onto)

    def traces(self, population: str) -> Traces:
        """Read the time series of the chosen neurons of a population or subpopulation."""
        self._check(population, "population", [*self.experiment.populations, *self.experiment.subpopulations])
        what, remedy = f"traces of {population}", f"add recording.traces.{population} and run again"
        report_group, trace_group = f"{REPORT}/{population}", f"{TRACES}/{population}"
        report, currents = self._look(
            lambda sealed: (_read_group(sealed, report_group), _read_group(sealed, trace_group))
        )
        if not report:
            raise self._not_recorded(what, remedy)
        start_ms, _, interval_ms = report["mapping/time"]
        times_ms = start_ms + interval_ms * np.arange(len(report["data"]))
        ids = report["mapping/node_ids"].astype(np.int64)
        return Traces(times_ms, ids, {"V": report["data"], **currents})

    def degrees(self, projection: str) -> Degrees:
        """Read the in- and out-degrees of a projection."""
        self._check(projection, "projection", self.experiment.projections)
        _, columns = self._columns(f"{NETWORK}/{projection}", f"degrees of {projection}", "run again")
        return Degrees(**columns)

    def time_split(self) -> TimeSplit:
        """Read where the time of the run went; of its last part, if it was stopped and resumed."""
        made = self.provenance
        if "time_split_s" not in made:
            raise RunError(f"{self.path}: has no time split, which is written as a run finishes; wait, or run again")
        return TimeSplit(
            {name: np.array(seconds) for name, seconds in made["time_split_s"].items()},
            float(made["simulated_ms"][0]),
            float(made["timings_s"]["build"]),
            float(made["timings_s"]["compile"]),
            np.array(made["cpu_s"]),
            np.array(made["peak_memory_mb"]),
        )

    def verify(self) -> list[str]:
        """Compare all files with their manifests; a line a problem, empty if everything is as it was written."""
        files = self._files()
        saved = checkpoints(self.path) if self.path.is_dir() else []
        problems = [problem for path in (*files, *saved) for problem in find_damage(path)]
        problems += [problem for path in saved if (problem := find_misfit(path)) and problem not in problems]
        if not problems and files:
            try:
                Sealed(files)
            except RunError as error:
                problems.append(str(error))
        return problems

    def sealed(self) -> Sealed:
        """See all that is recorded until now as one file.

        Raises
        ------
        RunError
            If nothing is.
        """
        files = self._files()
        if not files:
            raise RunError(f"{self.path}: nothing is recorded yet; wait for the first segment")
        return Sealed(files, self._contents)

    def _files(self) -> list[Path]:
        # the segments first: they vanish when the file that takes their place is there
        segments = sealed_segments(self.path)
        whole = self._whole()
        return segments if whole is None else [whole]

    def _whole(self) -> Path | None:
        """Name the one file that holds all, if there is one."""
        path = self.path / RUN_FILE if self.path.is_dir() else self.path
        return path if path.exists() else None

    def _look(self, at: Callable[[Sealed], T]) -> T:
        """Look at all that is recorded; anew if the run finished meanwhile and its segments became one file."""
        files = self._files()
        try:
            return at(self.sealed())
        except RunError:
            if self._files() == files or not self._files():
                raise
            return self._look(at)

    def _state(self) -> str:
        if self.finished:
            return "finished"
        try:
            return str(json.loads((self.directory / "status.json").read_text(encoding="utf-8"))["phase"])
        except (OSError, ValueError, KeyError):
            return "not finished"

    def _read_experiment(self) -> Experiment:
        whole = self._whole()
        origin = str(whole or self.path / "experiment.toml")
        try:
            text = str(self.provenance["experiment"]) if whole else Path(origin).read_text(encoding="utf-8")
            return parse_experiment(tomllib.loads(text), origin=origin, directory=None)
        except KeyError:
            raise RunError(f"{origin}: has no experiment in it; restore it from a copy, or run again") from None
        except (OSError, ValueError, ExperimentError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(f"{origin}: the experiment cannot be read ({reason}); restore it from a copy") from None

    def _check(self, name: str, what: str, known: Iterable[str]) -> None:
        if name not in known:
            raise RunError(f"{what} {name!r}: there is none of this name; {suggest(name, list(known))}")

    def _columns(self, group: str, what: str, remedy: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Read the attributes of a group and all that is in it, by path within the group."""
        attributes, columns = self._look(lambda sealed: (sealed.attributes_of(group), _read_group(sealed, group)))
        if not columns:
            raise self._not_recorded(what, remedy)
        return attributes, columns

    def _not_recorded(self, what: str, remedy: str) -> RunError:
        return RunError(f"{self.path}: {what} were not recorded; {remedy}")


def _read_group(sealed: Sealed, group: str) -> dict[str, NDArray[Any]]:
    paths = [path for path in sealed.paths if path.startswith(f"{group}/")]
    return dict(zip([path.removeprefix(f"{group}/") for path in paths], sealed.read(paths), strict=True))


def _read_provenance(sealed: Sealed) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path, values in _read_group(Sealed(sealed.files[-1:]), PROVENANCE).items():
        *groups, name = path.split("/")
        branch = found
        for group in groups:
            branch = branch.setdefault(group, {})
        value = values.tolist()
        branch[name] = [_decoded(v) for v in value] if isinstance(value, list) else _decoded(value)
    return found


def _decoded(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _of(columns: dict[str, NDArray[Any]], group: str) -> dict[str, NDArray[Any]]:
    """Choose the columns of a group in a group, by variable."""
    return {name.removeprefix(f"{group}/"): values for name, values in columns.items() if name.startswith(f"{group}/")}
