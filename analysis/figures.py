"""Pictures of a run, in one style: each function takes runs and returns a figure fit for a slide.

Colours (Okabe & Ito) can be told apart with any colour vision, and belong to populations throughout; lines carry their
names, so that no picture needs its colours to be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.weights import charge, own_current
from mpi_engine.experiment import Experiment, Homeostatic
from mpi_engine.output.reader import RunReader

Array = NDArray[np.float64]

INK, GREY, PALE = "#222222", "#767676", "#d9d9d9"
NETWORK = ("#D55E00", "#0072B2", "#CC79A7", "#E69F00")
INPUTS = ("#009E73", "#56B4E9")
RUNS = ("#0B3C5D", "#E08A00", "#7A4E9C", "#2E8B57", "#B03060", "#6B6B6B")

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlepad": 10,
    "axes.unicode_minus": True,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "white",
    "savefig.dpi": 200,
    "svg.fonttype": "path",
    "svg.hashsalt": "steelyard",
}

SIZE = (6.4, 4.0)
SMOOTH_MS = 250.0


@contextmanager
def _figure(rows: Sequence[float] = (1.0,), size: tuple[float, float] = SIZE) -> Iterator[tuple[Figure, list[Axes]]]:
    """Open a figure of panels that share their time axis, in the one style and without a window system."""
    with rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(len(rows), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": list(rows)})
        yield figure, list(panels[:, 0])


def colours(experiment: Experiment) -> dict[str, str]:
    """Give each population and input its colour."""
    network = {name: NETWORK[i % len(NETWORK)] for i, name in enumerate(experiment.populations)}
    return network | {name: INPUTS[i % len(INPUTS)] for i, name in enumerate(experiment.trains)}


def smoothed(times_ms: Array, values: Array, bin_ms: float) -> tuple[Array, Array]:
    """Average a series of bins in windows of 250 ms.

    Parameters
    ----------
    times_ms, values : ndarray
        Bin starts and values [T].
    bin_ms : float
        Width of a bin [ms].

    Returns
    -------
    ndarray, ndarray
        Centres of the windows in seconds and means [W]; a rest shorter than a window is left out.
    """
    width = max(1, round(SMOOTH_MS / bin_ms))
    windows = len(values) // width
    means = values[: windows * width].reshape(windows, width).mean(axis=1)
    return 1e-3 * (times_ms[: windows * width : width] + width * bin_ms / 2), means


def raster(run: RunReader, start_ms: float, stop_ms: float, neurons: int = 250) -> Figure:
    """Draw spikes of the first neurons of each population, in proportion to its size, with population rates below.

    Parameters
    ----------
    run : RunReader
        A run with spikes and rates recorded.
    start_ms, stop_ms : float
        Interval [ms].
    neurons : int
        Neurons shown, all populations together.

    Returns
    -------
    Figure
    """
    e = run.experiment
    colour = colours(e)
    with _figure((3, 1), (6.4, 4.8)) as (figure, (spikes, rates)):
        bottom = 0.0
        for name in [name for name in e.populations if name in e.recording.spikes]:
            shown = min(e.sizes[name], max(1, round(neurons * e.sizes[name] / e.n_neurons)))
            train = run.spikes(name)
            inside = (train.times_ms > start_ms) & (train.times_ms <= stop_ms) & (train.ids < shown)
            rows = bottom + train.ids[inside] + 0.5
            spikes.plot(1e-3 * train.times_ms[inside], rows, "|", ms=3, mew=0.9, color=colour[name], rasterized=True)
            _name(spikes, bottom + shown / 2, name, colour[name])
            bottom += shown + 0.02 * neurons
        spikes.set(ylim=(0, bottom), yticks=[], ylabel="neurons", title="Spikes")
        spikes.spines["left"].set_visible(False)
        spikes.tick_params(bottom=False)
        for name in [*e.populations, *(train for train in e.trains if train in e.recording.spikes)]:
            times, values = _rate_in_bins(run, name, start_ms, stop_ms)
            rates.plot(1e-3 * times, values, color=colour[name], lw=1.2)
        for name in [train for train in e.trains if train in e.recording.spikes]:
            rates.text(0.005, 0.98, f"{name}: input", color=colour[name], transform=rates.transAxes, va="top", fontsize=9)
        rates.set(ylim=(0, None), ylabel="rate [Hz]", xlabel="time [s]", xlim=(1e-3 * start_ms, 1e-3 * stop_ms))
        figure.align_ylabels()
    return figure


def _rate_in_bins(run: RunReader, name: str, start_ms: float, stop_ms: float, bin_ms: float = 10.0) -> tuple[Array, Array]:
    if name in run.experiment.populations:
        rates = run.rates(name)
        inside = (rates.times_ms >= start_ms) & (rates.times_ms < stop_ms)
        return rates.times_ms[inside] + rates.bin_ms / 2, rates.rate_hz[inside]
    edges = np.arange(start_ms, stop_ms + bin_ms / 2, bin_ms)
    counts = np.histogram(run.spikes(name).times_ms, edges)[0]
    return edges[:-1] + bin_ms / 2, 1e3 * counts / bin_ms / run.experiment.sizes[name]


def rates(run: RunReader, expected: Mapping[str, tuple[float, float]]) -> Figure:
    """Draw population rates over time, with the target of homeostatic plasticity and the range that theory expects.

    Parameters
    ----------
    run : RunReader
        A run with rates recorded.
    expected : mapping
        Lowest and highest rate by population [Hz].

    Returns
    -------
    Figure
    """
    e = run.experiment
    colour = colours(e)
    with _figure() as (figure, (panel,)):
        for name in e.populations:
            series = run.rates(name)
            panel.plot(*smoothed(series.times_ms, series.rate_hz, series.bin_ms), color=colour[name])
            _name(panel, _level(series.rate_hz), name, colour[name])
            if name in expected:
                panel.axhspan(*expected[name], color=colour[name], alpha=0.13, lw=0)
        for name, rule in ((p.target, e.plasticity[p.plasticity or ""]) for p in e.plastic.values()):
            if isinstance(rule, Homeostatic):
                panel.axhline(rule.target_rate_hz, color=colour[name], ls=(0, (4, 3)), lw=1.2)
                _remark(panel, rule.target_rate_hz, "target", colour[name])
        panel.set(ylim=(0, None), xlim=(0, 1e-3 * run.recorded_ms), xlabel="time [s]", ylabel="rate [Hz]")
        panel.set_title("Firing rates and the range of theory" if expected else "Firing rates")
    return figure


def currents(run: RunReader, population: str) -> Figure:
    """Draw the mean currents into a population over time, by source, and their sum.

    Parameters
    ----------
    run : RunReader
        A run with rates recorded.
    population : str
        The target.

    Returns
    -------
    Figure
    """
    e = run.experiment
    series = run.rates(population)
    with _figure() as (figure, (panel,)):
        for synapse in e.synapses_of(population):
            sources = [p.source for p in e.projections.values() if (p.target, p.synapse) == (population, synapse)]
            values, shade = series.means[f"I_{synapse}"], colours(e)[sources[0]]
            panel.plot(*smoothed(series.times_ms, values, series.bin_ms), color=shade)
            _name(panel, _level(values), "+".join(sources), shade)
        total = series.means["I_total"]
        panel.plot(*smoothed(series.times_ms, total, series.bin_ms), color=INK, lw=2.2)
        _name(panel, _level(total), "net", INK)
        panel.axhline(0, color=PALE, lw=0.8, zorder=0)
        panel.set(xlim=(0, 1e-3 * run.recorded_ms), xlabel="time [s]", ylabel="current / C  [mV/ms]")
        panel.set_title(f"Mean input to {population}: large parts, small sum")
    return figure


def mean_weights(runs: Sequence[RunReader], labels: Sequence[str], projection: str) -> Figure:
    """Draw the mean weight of a projection over time, with the spread over synapses.

    Parameters
    ----------
    runs : sequence of RunReader
        Runs with weights recorded.
    labels : sequence of str
        A short name for each.
    projection : str
        A plastic projection.

    Returns
    -------
    Figure
    """
    with _figure() as (figure, (panel,)):
        for run, label, colour in zip(runs, labels, RUNS, strict=False):
            w = run.weights(projection)
            times, mean, spread = 1e-3 * w.time_ms, w.mean / w.scale, np.sqrt(w.variance) / abs(w.scale)
            panel.fill_between(times, mean - spread, mean + spread, color=colour, alpha=0.13, lw=0)
            panel.plot(times, mean, color=colour)
            _name(panel, float(mean[-1]), label, colour)
        panel.set(xlim=(0, 1e-3 * runs[0].recorded_ms), xlabel="time [s]", ylabel="weight [mV]")
        panel.set_title(f"Mean weight of {_arrow(runs[0], projection)}, ± SD over synapses")
    return figure


def felt_weights(
    runs: Sequence[RunReader], labels: Sequence[str], projection: str, expected: tuple[float, float] | None
) -> Figure:
    r"""Draw the rate-weighted mean weight over time, as the mean current shows it.

    Parameters
    ----------
    runs, labels, projection
        As for `mean_weights`; the projection has a recorded current to itself.
    expected : tuple of float, optional
        Lowest and highest value that theory allows [mV].

    Returns
    -------
    Figure
    """
    with _figure() as (figure, (panel,)):
        if expected:
            panel.axhspan(*expected, color=PALE, alpha=0.5, lw=0)
            _remark(panel, max(expected), "theory", GREY, "top")
        for run, label, colour in zip(runs, labels, RUNS, strict=False):
            e = run.experiment
            p = e.projections[projection]
            source, target = run.rates(p.source), run.rates(p.target)
            times, current = smoothed(target.times_ms, target.means[own_current(e, projection)], target.bin_ms)
            rate = smoothed(source.times_ms, source.rate_hz, source.bin_ms)[1]
            arrivals = 1e-3 * rate * run.degrees(projection).in_degree.mean() * charge(e, projection)
            felt = np.divide(current, arrivals, out=np.full(len(rate), np.nan), where=rate > 0)
            panel.plot(times, felt / e.weight_scale(projection), color=colour)
            panel.plot([], [], color=colour, label=label)
        panel.legend(frameon=False, loc="best")
        panel.set(xlim=(0, 1e-3 * runs[0].recorded_ms), xlabel="time [s]", ylabel="⟨J r⟩ / ⟨r⟩ [mV]")
        panel.set_title(f"Weight that {runs[0].experiment.projections[projection].target} neurons feel")
    return figure


def weight_histogram(runs: Sequence[RunReader], labels: Sequence[str], projection: str) -> Figure:
    """Draw the distribution of a projection's weights at the end of each run, with its mean; see `mean_weights`."""
    with _figure() as (figure, (panel,)):
        for run, label, colour in zip(runs, labels, RUNS, strict=False):
            w = run.weights(projection)
            edges = w.edges / w.scale
            density = w.histogram[-1] / w.histogram[-1].sum() / np.diff(edges)
            panel.stairs(density, edges, color=colour, lw=1.8, label=label)
            panel.stairs(density, edges, color=colour, fill=True, alpha=0.15)
            panel.axvline(w.mean[-1] / w.scale, color=colour, ls=(0, (4, 3)), lw=1.2)
        panel.legend(frameon=False, loc="best")
        panel.set(ylim=(0, None), xlim=(edges[0], edges[-1]), xlabel="weight [mV]", ylabel="density [1/mV]")
        panel.set_title(f"Weights of {_arrow(runs[0], projection)} at the end")
    return figure


def membrane_potentials(run: RunReader, start_ms: float, stop_ms: float) -> Figure:
    """Draw membrane potentials of the recorded neurons, one above the other, their spikes as strokes.

    Parameters
    ----------
    run : RunReader
        A run with traces, and the spikes of the same populations, recorded.
    start_ms, stop_ms : float
        Interval [ms].

    Returns
    -------
    Figure
    """
    e = run.experiment
    cells = [(name, column) for name in e.recording.traces for column in range(len(run.traces(name).ids))]
    with _figure((1.0,) * len(cells), (6.4, 0.95 * len(cells) + 1.0)) as (figure, panels):
        for panel, (name, column) in zip(panels, reversed(cells), strict=True):
            traces, train = run.traces(name), run.spikes(name)
            neuron = e.neurons[e.populations[name].neuron]
            colour = colours(e)[name]
            inside = (traces.times_ms > start_ms) & (traces.times_ms <= stop_ms)
            potential = np.minimum(traces.values["V"][inside, column], neuron.V_th_mv)
            panel.plot(1e-3 * traces.times_ms[inside], potential, color=colour, lw=1.0)
            own = train.times_ms[train.ids == traces.ids[column]]
            own = own[(own > start_ms) & (own <= stop_ms)]
            panel.vlines(1e-3 * own, neuron.V_th_mv, neuron.V_th_mv + 20, color=colour, lw=1.0)
            panel.axhline(neuron.V_T_mv, color=PALE, lw=0.8, zorder=0)
            panel.set(ylim=(neuron.V_reset_mv - 8, neuron.V_th_mv + 22), yticks=[neuron.V_reset_mv, neuron.V_T_mv])
            panel.tick_params(labelsize=9)
            panel.spines["bottom"].set_visible(panel is panels[-1])
            panel.tick_params(bottom=panel is panels[-1])
            _name(panel, (neuron.V_reset_mv + neuron.V_th_mv) / 2, f"{name} {traces.ids[column]}", colour)
        panels[0].set_title("Membrane potential [mV]")
        panels[-1].set(xlabel="time [s]", xlim=(1e-3 * start_ms, 1e-3 * stop_ms))
    return figure


def _level(values: Array) -> float:
    """Height at which a line ends: its mean over the last tenth."""
    return float(values[-max(1, len(values) // 10) :].mean())


def _name(panel: Axes, height: float, text: str, colour: str) -> None:
    """Name a line to the right of its end."""
    panel.annotate(
        text, (1, height), (6, 0), panel.get_yaxis_transform(), textcoords="offset points", color=colour, va="center", weight="bold"
    ).set_in_layout(True)


def _remark(panel: Axes, height: float, text: str, colour: str, vertical: str = "bottom") -> None:
    """Write a small word on a horizontal line, at the right within the panel."""
    panel.annotate(
        text, (1, height), (-4, 3 if vertical == "bottom" else -3), panel.get_yaxis_transform(),
        textcoords="offset points", color=colour, ha="right", va=vertical, fontsize=9,
    )


def _arrow(run: RunReader, projection: str) -> str:
    p = run.experiment.projections[projection]
    return f"{p.source} → {p.target}"
