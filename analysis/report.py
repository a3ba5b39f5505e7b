"""One self-contained page about runs of a network: measured beside predicted, pictures, provenance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from analysis import coding_figures, figures, style
from analysis.coding import CodingRun
from analysis.comparison import compare
from analysis.findings import Findings
from analysis.page import Cell, Code, Facts, Folded, Gallery, Picture, Role, Row, Section, Table, page, picture
from analysis.verdict import Line, number, summary
from analysis.weights import NotMeasured, charge, own_current
from mpi_engine.experiment import CodingExperiment, Experiment, Poisson, UserNeuron
from mpi_engine.output.coding_reader import open_coding_run
from mpi_engine.output.reader import RunError, RunReader


def report(
    runs: Sequence[RunReader],
    labels: Sequence[str] | None = None,
    lines: Sequence[Line] | None = None,
    title: str | None = None,
    command: str = "",
) -> str:
    """Write a page about one or several runs of a network.

    Parameters
    ----------
    runs : sequence of RunReader
        At least one; see `analysis.comparison.compare` for what must be recorded. Of coding networks, one.
    labels : sequence of str, optional
        A short name for each run; the names of their directories if not given.
    lines : sequence of Line, optional
        Measured beside predicted; what `compare` finds if not given.
    title : str, optional
        Title of the page; that of the first experiment if not given.
    command : str
        What made the page.

    Returns
    -------
    str
        HTML that refers to nothing outside itself.

    Raises
    ------
    RunError
        If something that is needed was not recorded, or the runs do not go together.
    """
    experiment = runs[0].experiment
    title = title or experiment.title or "A simulated network"
    labels = list(labels or [run.directory.name for run in runs])
    if coding := [run for run in runs if isinstance(run.experiment, CodingExperiment)]:
        if len(runs) > 1:
            raise RunError(f"{coding[0].path}: is of a coding network, which has a page of its own; name it alone")
        return page(title, _of_coding(runs[0], labels[0]), _coding_network(runs[0]), command=command)
    for run in runs:
        if (run.experiment.sizes.keys(), run.experiment.projections.keys()) != (
            experiment.sizes.keys(), experiment.projections.keys()
        ):
            raise RunError(f"{run.path}: has other populations or projections than {runs[0].path}; name them apart")
    lines = compare(runs) if lines is None else lines
    found = Findings(runs[0])
    weights = list(_of_weights(runs, labels, found))
    sections = [
        Section("Weights", [Gallery(weights, 3)] if weights else []),
        Section("Measured beside predicted", [beside(lines, labels)]),
        *(Section(f"Activity, {label}", [Gallery(list(_of_activity(run, Findings(run))))])
          for run, label in zip(runs, labels, strict=True)),
        Section("Provenance", [provenance(run, label) for run, label in zip(runs, labels, strict=True)]),
    ]
    differs = any(line.verdict == "differs" for line in lines)
    return page(title, sections, _network(runs[0]), summary(lines), differs, command)


def beside(lines: Sequence[Line], labels: Sequence[str]) -> Table:
    """Lay lines out for the page: a column for each run, the prediction and the verdict; compare `verdict.as_table`."""
    rows: list[Row | str] = []
    for group, members in groupby(lines, lambda line: line.group):
        rows.append(group)
        for line in members:
            cells = [Cell(number(estimate.value)) for estimate in line.measured]
            if len(cells) < len(labels):
                cells = [Cell(cells[0].text, span=len(labels), label="all together")]
            role: Role = "agrees" if line.verdict == "agrees" else "differs" if line.verdict == "differs" else "open"
            cells += [Cell(line.prediction, "text"), Cell(line.verdict, role)]
            rows.append(Row(line.quantity, cells, line.unit, line.note))
    return Table(("quantity", *labels, "predicted", "verdict"), rows)


def _of_coding(run: RunReader, label: str) -> list[Section]:
    """Show what a coding network did, and where that came from."""
    pictures = [picture(*drawn) for drawn in coding_figures.pictures(CodingRun(open_coding_run(run.path)))]
    return [Section("What it does", [Gallery(pictures)]), Section("Provenance", [provenance(run, label)])]


def _coding_network(run: RunReader) -> str:
    e = run.experiment
    return f"{e.n_neurons:,} neurons · {_seconds(run)}".replace(",", "\u202f")


def _network(run: RunReader) -> str:
    e = run.experiment
    parts = [f"{population.size:,} {name}" for name, population in e.populations.items()]
    for name, train in e.trains.items():
        if isinstance(train, Poisson):
            rate_hz = train.constant_rate_hz
            rate = "a changing rate" if rate_hz is None else f"{rate_hz:g} Hz"
            parts.append(f"{train.size:,} {name} at {rate} (c = {train.correlation:g})")
        else:
            parts.append(f"{train.size:,} {name}, recorded")
    return " · ".join([*parts, _seconds(run)]).replace(",", "\u202f")


def _seconds(run: RunReader) -> str:
    recorded = f"{1e-3 * run.recorded_ms:g} s"
    return recorded if run.finished else f"{recorded} of {1e-3 * run.experiment.run.duration_ms:g} s so far"


def _of_weights(runs: Sequence[RunReader], labels: Sequence[str], found: Findings) -> Iterator[Picture]:
    e = runs[0].experiment
    for name, p in e.plastic.items() if e.recording.weights else ():
        yield picture(
            figures.mean_weights(runs, labels, name),
            f"Mean weight from {p.source} to {p.target}; the shade is the spread over synapses.",
        )
        if _is_felt_alone(e, name):
            yield picture(
                figures.felt_weights(runs, labels, name, None if found.no_balance else found.weight_span(name)),
                f"The same weights, each counted as often as its source fires: what {p.target} neurons feel.",
            )
        yield picture(
            figures.weight_histogram(runs, labels, name),
            f"Weights from {p.source} to {p.target} at the end; dashed lines are their means.",
        )


def _of_activity(run: RunReader, found: Findings) -> Iterator[Picture]:
    e, recording = run.experiment, run.experiment.recording
    last_second = (max(0.0, run.recorded_ms - 1000), run.recorded_ms)
    expected = {} if found.no_balance else {name: found.rate_span(name) for name in e.populations}
    seconds = 1e-3 * style.smoothing_ms(run.recorded_ms)
    shades = " Shades: balance, for any net input that neurons can have." if expected else ""
    yield picture(figures.rates(run, expected), f"Rates in windows of {seconds:g} s, pale in shorter ones.{shades}")
    population = next(iter(e.populations))
    if not e.has_conductances:
        yield picture(
            figures.currents(run, population),
            f"Mean input to {population} by source. Excitation and inhibition cancel but for the net.",
        )
    if recording.spikes:
        yield picture(
            figures.raster(run, *last_second), "Spikes in the last second, and the rates of populations and input."
        )
    traced = {e.members(name)[0] for name in recording.traces}
    if traced and traced <= set(recording.spikes):
        models = [e.neurons[e.populations[name].neuron] for name in traced]
        lines = "" if all(isinstance(model, UserNeuron) for model in models) else ", grey lines the soft threshold"
        yield picture(
            figures.membrane_potentials(run, *last_second),
            f"Membrane potentials in the last second; strokes are spikes{lines}.",
        )


def _is_felt_alone(experiment: Experiment, projection: str) -> bool:
    """Whether a projection's weights follow from a population's current and another's rate."""
    try:
        own_current(experiment, projection)
        charge(experiment, projection)
    except NotMeasured:
        return False
    return experiment.projections[projection].source_subpopulation is None


def provenance(run: RunReader, label: str) -> Folded:
    """Tell where a run came from, and give its experiment as TOML."""
    known = run.provenance
    ranks = known.get("ranks")
    facts: dict[str, Any] = {"command": f"steelyard run experiment.toml -n {ranks}" if ranks else None, "ranks": ranks}
    facts |= {name: known.get(name) for name in ("hosts", "cpu", "platform", "start", "stop", "hash")}
    facts["timings"] = {name: f"{value:.1f} s" for name, value in known.get("timings_s", {}).items()}
    split = known.get("time_split_s", {})
    facts["time by part"] = {name: f"{np.mean(seconds):.1f} s" for name, seconds in split.items()}
    facts |= known.get("versions", {})
    pairs = [(name, _text(value)) for name, value in facts.items() if value]
    return Folded(label, [Facts(pairs), Code(run.experiment.to_toml())])


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(dict.fromkeys(map(str, value)))
    return str(value)
