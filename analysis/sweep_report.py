"""One self-contained page about a sweep: measures over its settings, trends beside theory, where it all came from."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import groupby, product

import numpy as np
import xarray as xr

from analysis.measures import Measure
from analysis.page import Cell, Code, Facts, Folded, Gallery, Part, Picture, Row, Section, Table, Text, page, picture
from analysis.report import provenance
from analysis.runs import Run
from analysis.sweeps import Sweep
from analysis.theory.balance import NoBalance
from analysis.theory.predictions import Prediction, predictions
from analysis.trends import as_text, draw, over_seeds, seed_axes, short, trends
from analysis.verdict import number
from mpi_engine.experiment import CodingExperiment
from mpi_engine.output.reader import RunError

DRAWN = (
    "rate", "CV", "Fano factor", "SD of V in time", "net over excitation", "count covariance",
    "covariance over variance", "mean weight", "SD of weights", "⟨J r⟩/⟨r⟩",
)
"""Measures that are drawn against each setting."""

LINES = 12
"""Most lines in a picture."""

NORMAL = 1.96
"""Half the 95 % interval in standard errors, where there is one run and its error is known."""

EXPLANATION = (
    "Points: means over seeds with their 95 % interval; points of a line share their seeds, so that their differences "
    "are known better than that. Slopes: exponents in log-log, of each seed, with the 95 % interval over seeds. "
    "Dashed: theory from the experiment alone, in the limit of large N; shades: its range for any net input that "
    "neurons can keep at their size."
)

Key = tuple[str, str]


def sweep_report(sweep: Sweep, command: str = "") -> str:
    """Write a page about a sweep of a network.

    Parameters
    ----------
    sweep : Sweep
        Runs of which at least one has finished; the others are named.
    command : str
        What made the page.

    Returns
    -------
    str
        HTML that refers to nothing outside itself.

    Raises
    ------
    RunError
        If no run has finished, if the runs are of coding networks, or if two have all settings in common.
    """
    finished = [run for run in sweep.runs.values() if run.finished]
    if any(isinstance(run.experiment, CodingExperiment) for run in sweep.runs.values()):
        raise RunError(f"{sweep.path}: is of coding networks; name one of its runs, which has a page of its own")
    if not finished:
        raise RunError(f"{sweep.path}: none of its {len(sweep.runs)} runs has finished; finish one first")
    values, errors, reasons = _measured(sweep)
    predicted, refusals = _predicted(sweep, values)
    sections = [
        Section("Settings", list(_settings(sweep))),
        *_trends(values, predicted, refusals),
        Section("Measures", [_table(values, errors, reasons), Text([_what_stands_in_the_table(values, finished[0])])]),
        Section("Provenance", list(_provenance(sweep, finished[0]))),
    ]
    title = finished[0].experiment.title or "A sweep"
    axes = " · ".join(f"{len(places)} of {short(key)}" for key, places in sweep.axes.items())
    summary = f"{len(sweep.runs)} runs · {axes}" if axes else f"{len(sweep.runs)} runs"
    missing = sweep.missing
    told = f": {_several(missing)}" if missing else ""
    verdict = f"{len(finished)} of {len(sweep.runs)} runs have finished{told}."
    return page(title, sections, summary, verdict, bool(missing), command)


def _measured(sweep: Sweep) -> tuple[dict[Key, xr.DataArray], dict[Key, xr.DataArray], dict[Key, dict[str, list[str]]]]:
    """Measures and their errors over the settings; and why some are missing: the runs, by reason."""
    found = {name: {(m.name, m.of): m for m in run.measures()} for name, run in sweep.runs.items() if run.finished}
    names = {id(run): name for name, run in sweep.runs.items()}
    keys = dict.fromkeys(key for rows in found.values() for key in rows)
    absent = Measure("", "", "", np.nan, reason="this run has no such part")

    def of(key: Key, run: Run) -> Measure:
        return found[names[id(run)]].get(key, absent)

    def value(key: Key, run: Run) -> float:
        return of(key, run).value

    def error(key: Key, run: Run) -> float:
        return of(key, run).error

    values, errors, reasons = {}, {}, {}
    for key in keys:
        unit = next(rows[key].unit for rows in found.values() if key in rows)
        values[key] = sweep.measure(partial(value, key), True, unit)
        errors[key] = sweep.measure(partial(error, key), True, unit)
        why: dict[str, list[str]] = {}
        for name, rows in found.items():
            if (reason := rows.get(key, absent).reason):
                why.setdefault(reason, []).append(name)
        reasons[key] = why
    return values, errors, reasons


def _predicted(
    sweep: Sweep, values: dict[Key, xr.DataArray]
) -> tuple[dict[Key, tuple[xr.DataArray, ...]], dict[str, int]]:
    """Theory of what was measured, from each experiment alone; and why there is none, with the number of runs."""
    known: dict[str, dict[Key, Prediction]] = {}
    refusals: dict[str, int] = {}

    def of(run: Run) -> dict[Key, Prediction]:
        network = run.experiment.model_dump_json(exclude={"seed", "title", "recording"})
        if network not in known:
            try:
                known[network] = predictions(run.experiment)
            except NoBalance as reason:
                known[network] = {}
                refusals[str(reason)] = refusals.get(str(reason), 0) + 1
        return known[network]

    def part(key: Key, name: str, run: Run) -> float:
        found = of(run).get(key)
        return np.nan if found is None else float(getattr(found, name))

    predicted = {}
    for key in values:
        parts = [sweep.measure(partial(part, key, name), True) for name in ("limit", "low", "high")]
        if np.isfinite(parts[0]).any():
            predicted[key] = tuple(parts)
    return predicted, refusals


def _settings(sweep: Sweep) -> Iterator[Part]:
    coordinates = sweep.measure(lambda run: 0.0, incomplete=True).coords
    yield Facts([(str(key), ", ".join(map(as_text, at.values.tolist()))) for key, at in coordinates.items()])
    rows = []
    for name, settings in sweep.settings.items():
        texts = [*(as_text(settings[key]) for key in sweep.axes), _state(sweep.runs[name])]
        rows.append(Row(name, [Cell(text, "text") for text in texts]))
    yield Folded(f"{len(rows)} runs", [Table(("run", *map(short, sweep.axes), "state"), rows)])


def _state(run: Run) -> str:
    recorded = f"{run.recorded_ms:g} of {run.experiment.run.duration_ms:g} ms recorded"
    return "finished" if run.finished else f"not finished, {recorded}"


def _trends(
    values: dict[Key, xr.DataArray], predicted: dict[Key, tuple[xr.DataArray, ...]], refusals: dict[str, int]
) -> Iterator[Section]:
    """Give a section for each setting of numbers, of pictures that show at least two places along it."""
    first = next(iter(values.values()))
    for setting in first.dims:
        if setting in seed_axes(first) or first.coords[setting].dtype.kind not in "if" or first.sizes[setting] < 2:
            continue
        pictures = list(_pictures(values, predicted, str(setting)))
        told = [EXPLANATION, *(f"Theory of {count} networks: {reason}." for reason, count in refusals.items())]
        if pictures:
            yield Section(f"Against {setting}", [Gallery(pictures), Text(told)])


def _pictures(
    values: dict[Key, xr.DataArray], predicted: dict[Key, tuple[xr.DataArray, ...]], setting: str
) -> Iterator[Picture]:
    for name in DRAWN:
        measured = {of: array for (measure, of), array in values.items() if measure == name}
        theory = {of: parts for (measure, of), parts in predicted.items() if measure == name}
        if found := list(trends(measured, setting, theory)):
            unit = str(next(iter(measured.values())).attrs["units"])
            rest = f" The first {LINES} of {len(found)} lines; all are in the table." if len(found) > LINES else ""
            caption = f"{name[0].upper()}{name[1:]} against {setting}.{rest}"
            yield picture(draw(found[:LINES], setting, name, unit), caption)


def _table(
    values: dict[Key, xr.DataArray], errors: dict[Key, xr.DataArray], reasons: dict[Key, dict[str, list[str]]]
) -> Table:
    """Lay measures over settings, seeds together; a row for each measure, below what it is of."""
    first = next(iter(values.values()))
    axes = [name for name in first.dims if name not in seed_axes(first)]
    values_of = [first.coords[name].values.tolist() for name in axes]
    places = [dict(zip(axes, at, strict=True)) for at in product(*values_of)]
    columns = [", ".join(f"{short(key)} = {as_text(value)}" for key, value in at.items()) or "all" for at in places]
    rows: list[Row | str] = []
    for of, keys in groupby(values, key=lambda key: key[1]):
        rows.append(of)
        for key in keys:
            mean, reach = over_seeds(values[key])
            alone = NORMAL * errors[key].mean(seed_axes(errors[key])).where(values[key].count(seed_axes(first)) == 1)
            reach = reach.fillna(alone)
            cells = [Cell(_value(float(mean.sel(place)), float(reach.sel(place)))) for place in places]
            rows.append(Row(key[0], cells, str(values[key].attrs["units"]), _why(reasons[key])))
    return Table(("measure", *columns), rows)


def _value(mean: float, reach: float) -> str:
    return f"{number(mean)} ± {number(reach, 2)}" if np.isfinite(reach) else number(mean)


def _why(reasons: dict[str, list[str]]) -> str:
    return "; ".join(f"{reason} ({_several(runs)})" for reason, runs in reasons.items())


def _what_stands_in_the_table(values: dict[Key, xr.DataArray], run: Run) -> str:
    seeds = seed_axes(next(iter(values.values())))
    shown = "Means over seeds ± half their 95 % interval" if seeds else "Values ± 1.96 standard errors within the run"
    left_out = f"the first {100 * run.start_ms / run.stop_ms:g} % of each run are burn-in"
    return f"{shown}, where that is known; {left_out}. A dash has its reason below the measure's name."


def _provenance(sweep: Sweep, run: Run) -> Iterator[Part]:
    file = sweep.path.with_suffix(".toml")
    if file.exists():
        yield Folded(file.name, [Facts([("command", f"steelyard sweep run {file.name}")]),
                                 Code(file.read_text(encoding="utf-8"))])
    yield provenance(run, f"one of its runs, {run.directory.name}")


def _several(texts: list[str], most: int = 3) -> str:
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
