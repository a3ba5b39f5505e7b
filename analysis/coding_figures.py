"""Pictures of a coding network's run: each function takes the run and returns a figure fit for a slide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.coding import CodingRun, Stretch
from analysis.style import INK, NETWORK, PALE, RUNS, canvas, level, name_lines
from mpi_engine.output.reader import RunError

Floats = NDArray[np.float64]

TEACHER, READOUT = INK, NETWORK[0]
"""Colours of the two throughout."""

_CROWDED = 20_000
"""Samples of a line beyond which no more can be seen."""


def pictures(run: CodingRun) -> Iterator[tuple[Figure, str]]:
    """Draw all that a run has recorded, each figure with a caption that says what there is to see."""
    recording = run.experiment.recording
    if recording.state is not None:
        free, learned = list(run.stretches("run")), list(run.stretches("learn"))
        if learned:
            yield learning(run), ("Root mean square of the error while the network learns, in windows"
                                  + (", and the relative error of the learned drift." if _drift_errors(run) else "."))
        if free:
            yield free_runs(run, free[:3]), "Teacher and readout where the network runs freely, without feedback."
        for stretch in free[:1] if run.experiment.n_dimensions > 1 else ():
            yield orbit(stretch), "States that the teacher visits, and those of the network that runs freely."
    if recording.spikes:
        yield raster(run), "Spikes of the last second; neurons are in the order of their decoding vectors."
    if recording.currents is not None:
        yield currents(run), "Currents into a neuron in the last second: inhibition follows excitation."


def free_runs(run: CodingRun, stretches: Sequence[Stretch]) -> Figure:
    """Draw each dimension of teacher and readout over time, free runs one after the other.

    Parameters
    ----------
    run : CodingRun
        A run with its state recorded.
    stretches : sequence of Stretch
        The free runs, as `CodingRun.stretches` gives them.

    Returns
    -------
    Figure
    """
    K, dt_s = run.experiment.n_dimensions, run.dt_s
    with canvas((1.0,) * K, (6.4, 1.3 * K + 1.2)) as (figure, panels):
        for d, panel in enumerate(panels):
            for s in stretches:
                times = s.stage.first * dt_s + s.interval_s * np.arange(1, len(s.x) + 1)
                every = max(len(times) // _CROWDED, 1)
                panel.plot(times[::every], s.x[::every, d], color=TEACHER, lw=1.6)
                panel.plot(times[::every], s.xhat[::every, d], color=READOUT, lw=0.9)
                panel.axvline(s.stage.first * dt_s, color=PALE, lw=0.8, zorder=0)
            panel.set_ylabel(f"$x_{d + 1}$")
        last = stretches[-1]
        name_lines(panels[0], [(level(last.x[:, 0]), "teacher", TEACHER), (level(last.xhat[:, 0]), "network", READOUT)])
        panels[0].set_title("Free runs")
        panels[-1].set(xlabel="time [s]", xlim=(stretches[0].stage.first * dt_s, last.stage.last * dt_s))
        figure.align_ylabels()
    return figure


def orbit(stretch: Stretch) -> Figure:
    """Draw states of teacher and network in the plane of the first and last dimension.

    Parameters
    ----------
    stretch : Stretch
        A free run of at least two dimensions.

    Returns
    -------
    Figure
    """
    every = max(len(stretch.x) // _CROWDED, 1)
    with canvas(size=(4.8, 4.2)) as (figure, (panel,)):
        for states, colour, name in ((stretch.x, TEACHER, "teacher"), (stretch.xhat, READOUT, "network")):
            panel.plot(states[::every, 0], states[::every, -1], color=colour, lw=0.8, alpha=0.8, label=name)
        panel.set(xlabel="$x_1$", ylabel=f"$x_{stretch.x.shape[1]}$")
        panel.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), labelcolor="linecolor")
        panel.set_title("Orbit")
    return figure


def learning(run: CodingRun, windows: int = 200) -> Figure:
    """Draw the error while the network learns, and that of the learned drift where it is known.

    Parameters
    ----------
    run : CodingRun
        A run with its state recorded, and a phase in which it learns.
    windows : int
        In which the error is averaged, all together.

    Returns
    -------
    Figure
    """
    with canvas() as (figure, (panel,)):
        stretches = list(run.stretches("learn"))
        names: list[tuple[float, str, str]] = []
        size = max(sum(len(s.x) for s in stretches) // windows, 1)
        for s in stretches:
            n = len(s.x) // size
            square = ((s.x - s.xhat)[: n * size] ** 2).sum(axis=1).reshape(n, size).mean(axis=1)
            times = s.stage.first * run.dt_s + s.interval_s * size * (np.arange(n) + 0.5)
            panel.plot(times, np.sqrt(square), color=READOUT, lw=1.4)
            names = [(float(np.sqrt(square[-1])), "error", READOUT)] if n else names
        if (drift := _drift_errors(run)) is not None:
            panel.plot(*drift, "o-", color=RUNS[0], ms=3, lw=1.4)
            names.append((float(drift[1][-1]), "drift", RUNS[0]))
        panel.set(yscale="log", xlabel="time [s]", ylabel="error", xlim=(0, stretches[-1].stage.last * run.dt_s))
        for height, name, colour in names:      # the axis is logarithmic
            panel.annotate(name, (1, height), (6, 0), panel.get_yaxis_transform(), textcoords="offset points",
                           color=colour, va="center", weight="bold")
        panel.set_title("Error while learning")
    return figure


def raster(run: CodingRun, length_ms: float = 1000.0) -> Figure:
    """Draw the last spikes of a run, neurons in the order of their decoding vectors, with the population's rate below.

    Parameters
    ----------
    run : CodingRun
        A run with its spikes recorded.
    length_ms : float
        How much of its end is drawn [ms].

    Returns
    -------
    Figure
    """
    vectors, size = run.reader.network()["decoder"], run.experiment.n_neurons
    along = vectors[:, 0] if vectors.shape[1] == 1 else np.arctan2(vectors[:, 1], vectors[:, 0])
    row = np.empty(size)
    row[np.argsort(along, kind="stable")] = np.arange(size) + 0.5
    stop_ms = run.reader.recorded_ms
    start_ms = max(stop_ms - length_ms, 0.0)
    spikes = run.reader.spikes("coding")
    begin, end = np.searchsorted(spikes.times_ms, [start_ms, stop_ms], side="right")
    times, rows = 1e-3 * spikes.times_ms[begin:end], row[spikes.ids[begin:end]]
    edges = 1e-3 * np.linspace(start_ms, stop_ms, 51)
    with canvas((3, 1), (6.4, 4.4)) as (figure, (above, below)):
        above.plot(times, rows, "|", ms=3, mew=0.9, color=READOUT, rasterized=True)
        above.set(ylim=(0, size), ylabel="neuron", title="Spikes")
        rate = np.histogram(times, edges)[0] / np.diff(edges) / size
        below.stairs(rate, edges, color=READOUT, lw=1.4)
        below.set(ylim=(0, None), xlim=(edges[0], edges[-1]), xlabel="time [s]", ylabel="rate [Hz]")
        figure.align_ylabels()
    return figure


def currents(run: CodingRun, length_ms: float = 1000.0) -> Figure:
    """Draw excitation, inhibition and their sum in the first recorded neuron at the end of a run.

    Parameters
    ----------
    run : CodingRun
        A run with currents recorded.
    length_ms : float
        How much of its end is drawn [ms].

    Returns
    -------
    Figure
    """
    traces = run.reader.currents()
    inside = traces.times_ms > traces.times_ms[-1] - length_ms
    now = {name: values[inside, 0] for name, values in traces.values.items()}
    excitation, inhibition = run.excitation_and_inhibition(now)
    lines = ((excitation, "excitation", NETWORK[0]), (inhibition, "inhibition", NETWORK[1]),
             (excitation + inhibition, "net", INK))
    with canvas() as (figure, (panel,)):
        panel.axhline(0, color=PALE, lw=0.8, zorder=0)
        for values, _, colour in lines:
            panel.plot(1e-3 * traces.times_ms[inside], values, color=colour, lw=1.0)
        times = 1e-3 * traces.times_ms[inside]
        panel.set(xlim=(times[0], times[-1]), xlabel="time [s]", ylabel="current [1/s]")
        name_lines(panel, [(level(values), name, colour) for values, name, colour in lines])
        panel.set_title(f"Currents into neuron {traces.ids[0]}")
    return figure


def _drift_errors(run: CodingRun) -> tuple[Floats, Floats] | None:
    """Times [s] and relative errors of the learned drift, where these were recorded."""
    if run.experiment.recording.slow_weights is None:
        return None
    try:
        weights = run.reader.slow_weights()
    except RunError:
        return None
    if weights.drift_error is None:
        return None
    known = np.isfinite(weights.drift_error)
    return (1e-3 * weights.time_ms[known], weights.drift_error[known]) if known.any() else None
