"""One self-contained page about runs of a network: measured beside predicted, pictures, provenance."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import rc_context
from matplotlib.figure import Figure

from analysis import figures, style
from analysis.comparison import compare
from analysis.findings import Findings
from analysis.verdict import Line, number, summary
from analysis.weights import NotMeasured, charge, own_current
from mpi_engine.experiment import CodingExperiment, Experiment, Poisson, UserNeuron
from mpi_engine.output.reader import RunError, RunReader


@dataclass(frozen=True)
class Picture:
    """A figure on the page.

    Parameters
    ----------
    source : str
        The picture as a data URI.
    caption : str
        What there is to see; also read out in its stead.
    """

    source: str
    caption: str


def report(
    runs: Sequence[RunReader],
    labels: Sequence[str] | None = None,
    lines: Sequence[Line] | None = None,
    title: str | None = None,
) -> str:
    """Write a page about one or several runs of a network.

    Parameters
    ----------
    runs : sequence of RunReader
        At least one; see `analysis.comparison.compare` for what must be recorded.
    labels : sequence of str, optional
        A short name for each run; the names of their directories if not given.
    lines : sequence of Line, optional
        Measured beside predicted; what `compare` finds if not given.
    title : str, optional
        Title of the page; that of the first experiment if not given.

    Returns
    -------
    str
        HTML that refers to nothing outside itself.

    Raises
    ------
    RunError
        If something that is needed was not recorded.
    """
    for run in runs:
        if isinstance(run.experiment, CodingExperiment):
            raise RunError(f"{run.path}: is of a coding network, of which analysis.coding tells; name another")
    labels = list(labels or [run.directory.name for run in runs])
    lines = compare(runs) if lines is None else lines
    found = Findings(runs[0])
    environment = Environment(loader=PackageLoader("analysis", "."), autoescape=True, undefined=StrictUndefined)
    environment.filters["number"] = number
    page: str = environment.get_template("report.html").render(
        title=title or runs[0].experiment.title or "A simulated network",
        summary=_network(runs[0]),
        verdict=summary(lines),
        differs=any(line.verdict == "differs" for line in lines),
        labels=labels,
        groups=[(name, list(group)) for name, group in groupby(lines, lambda line: line.group)],
        weights=list(_of_weights(runs, labels, found)),
        activity=[(label, list(_of_activity(run, found))) for run, label in zip(runs, labels, strict=True)],
        provenance=[(label, *_provenance(run)) for run, label in zip(runs, labels, strict=True)],
    )
    return page


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
    seconds = f"{1e-3 * run.recorded_ms:g} s"
    if not run.finished:
        seconds += f" of {1e-3 * e.run.duration_ms:g} s so far"
    return " · ".join([*parts, seconds]).replace(",", "\u202f")


def _of_weights(runs: Sequence[RunReader], labels: Sequence[str], found: Findings) -> Iterator[Picture]:
    e = runs[0].experiment
    for name, p in e.plastic.items() if e.recording.weights else ():
        yield _picture(
            figures.mean_weights(runs, labels, name),
            f"Mean weight from {p.source} to {p.target}; the shade is the spread over synapses.",
        )
        if _is_felt_alone(e, name):
            yield _picture(
                figures.felt_weights(runs, labels, name, None if found.no_balance else found.weight_span(name)),
                f"The same weights, each counted as often as its source fires: what {p.target} neurons feel.",
            )
        yield _picture(
            figures.weight_histogram(runs, labels, name),
            f"Weights from {p.source} to {p.target} at the end; dashed lines are their means.",
        )


def _of_activity(run: RunReader, found: Findings) -> Iterator[Picture]:
    e, recording = run.experiment, run.experiment.recording
    last_second = (max(0.0, run.recorded_ms - 1000), run.recorded_ms)
    expected = {} if found.no_balance else {name: found.rate_span(name) for name in e.populations}
    seconds = 1e-3 * style.smoothing_ms(run.recorded_ms)
    shades = " Shades: balance, for any net input that neurons can have." if expected else ""
    yield _picture(figures.rates(run, expected), f"Rates in windows of {seconds:g} s, pale in shorter ones.{shades}")
    population = next(iter(e.populations))
    if not e.has_conductances:
        yield _picture(
            figures.currents(run, population),
            f"Mean input to {population} by source. Excitation and inhibition cancel but for the net.",
        )
    if recording.spikes:
        yield _picture(
            figures.raster(run, *last_second), "Spikes in the last second, and the rates of populations and input."
        )
    traced = {e.members(name)[0] for name in recording.traces}
    if traced and traced <= set(recording.spikes):
        models = [e.neurons[e.populations[name].neuron] for name in traced]
        lines = "" if all(isinstance(model, UserNeuron) for model in models) else ", grey lines the soft threshold"
        yield _picture(
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


def _picture(figure: Figure, caption: str) -> Picture:
    with rc_context(style.STYLE):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return Picture("data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode(), caption)


def _provenance(run: RunReader) -> tuple[list[tuple[str, str]], str]:
    """List facts about a run, and give its experiment as TOML."""
    known = run.provenance
    ranks = known.get("ranks")
    facts: dict[str, Any] = {"command": f"steelyard run experiment.toml -n {ranks}" if ranks else None, "ranks": ranks}
    facts |= {name: known.get(name) for name in ("hosts", "cpu", "platform", "start", "stop", "hash")}
    facts["timings"] = {name: f"{value:.1f} s" for name, value in known.get("timings_s", {}).items()}
    facts |= {f"{name}": version for name, version in known.get("versions", {}).items()}
    return [(name, _text(value)) for name, value in facts.items() if value], run.experiment.to_toml()


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(dict.fromkeys(map(str, value)))
    return str(value)
