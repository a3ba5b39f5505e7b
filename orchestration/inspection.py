"""What a run holds, in words."""

from __future__ import annotations

import time

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from mpi_engine.output.layout import PROVENANCE
from mpi_engine.output.reader import RunReader
from orchestration.launcher import read_status

_SILENT_S = 60.0
"""A run that has not written its status for so long [s] is not going any more."""


def show(run: RunReader, console: Console) -> None:
    """Print title, state, origin, populations with their rates, and every recorded dataset of a run.

    Parameters
    ----------
    run : RunReader
        The run.
    console : Console
        Where to print.

    Raises
    ------
    RunError
        If a file of the run is damaged.
    """
    summary = Table.grid(padding=(0, 2))
    summary.add_row("title", Text(run.experiment.title or "none"))
    summary.add_row("state", _state(run))
    summary.add_row("recorded", f"{run.recorded_ms / 1000:g} of {run.experiment.run.duration_ms / 1000:g} s")
    if run.recorded_ms == 0:
        console.print(summary)
        return
    sealed = run.sealed()
    size = sum(path.stat().st_size for path in sealed.files)
    summary.add_row("on disk", f"{decimal(size)} in {len(sealed.files)} file{'s' * (len(sealed.files) > 1)}")
    if run.finished:
        summary.add_row("made", _origin(run))
        if "time_split_s" in run.provenance:
            summary.add_row("time", str(run.time_split()))
    for population, neurons in run.experiment.sizes.items():
        summary.add_row(population, f"{neurons} {_kind(run, population)}{_rate(run, population)}")
    datasets = Table("dataset", "shape", "type", "units", box=None, padding=(0, 2, 0, 0))
    attributes = sealed.attributes()
    for path in sealed.paths:
        if path.startswith(PROVENANCE):
            continue
        shape = " x ".join(map(str, sealed.shape(path))) or "one"
        datasets.add_row(path, shape, str(sealed.entry(path).dtype), str(attributes[path].get("units", "")))
    console.print(summary, "", datasets)


def _state(run: RunReader) -> str:
    """Say whether a run is finished, goes on, or has ended before."""
    if run.finished:
        return "finished"
    status = read_status(run.directory)
    if not status:
        return "incomplete: it has not begun"
    phase, silent_s = status["phase"], time.time() - status["updated"]
    if phase not in ("failed", "stopped") and silent_s > _SILENT_S:
        phase = f"incomplete: no sign of life for {silent_s / 60:.0f} min"
    return f"{phase}, step {status['step']} of {status['n_steps']}" if "step" in status else str(phase)


def _origin(run: RunReader) -> str:
    made = run.provenance
    hosts = ", ".join(sorted(set(made["hosts"])))
    return f"{made['start']}, {made['ranks']} rank{'s' * (made['ranks'] > 1)} on {hosts}, {made['writer']}"


def _kind(run: RunReader, population: str) -> str:
    return "neurons" if population in run.experiment.neuron_counts else "spike trains"


def _rate(run: RunReader, population: str) -> str:
    """Give the mean rate over what is recorded, if it is."""
    recording = run.experiment.recording
    if recording.rates is not None:
        rate_hz = float(run.rates(population).rate_hz.mean())
    elif population in recording.spikes:
        spikes = run.spikes(population).ids.size
        rate_hz = spikes / run.experiment.sizes[population] / (run.recorded_ms / 1000)
    else:
        return ""
    return f", {rate_hz:.2f} Hz"
