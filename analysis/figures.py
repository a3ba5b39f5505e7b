"""Pictures of a run: each function takes runs and returns a figure fit for a slide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.style import (
    GREY,
    INK,
    PALE,
    RUNS,
    canvas,
    colours,
    level,
    name_lines,
    plot_mean,
    remark,
    smoothed,
    smoothing_ms,
)
from analysis.weights import charge, own_current
from mpi_engine.experiment import Homeostatic, UserNeuron, average
from mpi_engine.output.reader import RunReader

Array = NDArray[np.float64]


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
    with canvas((3, 1), (6.4, 4.8)) as (figure, (spikes, rates)):
        bottom, names = 0.0, []
        for name in [name for name in e.populations if name in e.recording.spikes]:
            shown = min(e.sizes[name], max(1, round(neurons * e.sizes[name] / e.n_neurons)))
            train = run.spikes(name)
            inside = (train.times_ms > start_ms) & (train.times_ms <= stop_ms) & (train.ids < shown)
            rows = bottom + train.ids[inside] + 0.5
            spikes.plot(1e-3 * train.times_ms[inside], rows, "|", ms=3, mew=0.9, color=colour[name], rasterized=True)
            names.append((bottom + shown / 2, name, colour[name]))
            bottom += shown + 0.02 * neurons
        spikes.set(ylim=(0, bottom), yticks=[], ylabel="neurons", title="Spikes")
        name_lines(spikes, names)
        spikes.spines["left"].set_visible(False)
        spikes.tick_params(bottom=False)
        names = []
        for name in [*e.populations, *(train for train in e.trains if train in e.recording.spikes)]:
            times, values = _rate_in_bins(run, name, start_ms, stop_ms)
            rates.plot(1e-3 * times, values, color=colour[name], lw=1.2)
            names.append((level(values), name, colour[name]))
        rates.set(ylim=(0, None), ylabel="rate [Hz]", xlabel="time [s]", xlim=(1e-3 * start_ms, 1e-3 * stop_ms))
        name_lines(rates, names[len(e.populations) :])
        figure.align_ylabels()
    return figure


def _rate_in_bins(
    run: RunReader, name: str, start_ms: float, stop_ms: float
) -> tuple[Array, Array]:
    """Rate of a population, or of an input in the same bins: fluctuations in others are of another size."""
    populations = run.experiment.populations
    rates = run.rates(name if name in populations else next(iter(populations)))
    if name in populations:
        inside = (rates.times_ms >= start_ms) & (rates.times_ms < stop_ms)
        return rates.times_ms[inside] + rates.bin_ms / 2, rates.rate_hz[inside]
    bin_ms = rates.bin_ms
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
    with canvas() as (figure, (panel,)):
        names = []
        for name in e.populations:
            series = run.rates(name)
            plot_mean(panel, series.times_ms, series.rate_hz, series.bin_ms, colour[name])
            names.append((level(series.rate_hz), name, colour[name]))
            if name in expected:
                panel.axhspan(*expected[name], color=colour[name], alpha=0.13, lw=0)
        for name, rule in ((p.target, e.plasticity[rule]) for p in e.plastic.values() for rule in p.rules):
            if isinstance(rule, Homeostatic):
                panel.axhline(rule.target_rate_hz, color=colour[name], ls=(0, (4, 3)), lw=1.2)
                remark(panel, rule.target_rate_hz, "target", colour[name])
        panel.set(ylim=(0, None), xlim=(0, 1e-3 * run.recorded_ms), xlabel="time [s]", ylabel="rate [Hz]")
        name_lines(panel, names)
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
    total = series.means["I_total"]
    names = [(level(total), "net", INK)]
    with canvas() as (figure, (panel,)):
        for synapse in e.synapses_of(population):
            sources = [p.source for p in e.projections.values() if (p.target, p.synapse) == (population, synapse)]
            values, shade = series.means[f"I_{synapse}"], colours(e)[sources[0]]
            plot_mean(panel, series.times_ms, values, series.bin_ms, shade)
            names.append((level(values), "+".join(sources), shade))
        plot_mean(panel, series.times_ms, total, series.bin_ms, INK)
        panel.axhline(0, color=PALE, lw=0.8, zorder=0)
        panel.set(xlim=(0, 1e-3 * run.recorded_ms), xlabel="time [s]", ylabel="current / C  [mV/ms]")
        name_lines(panel, names)
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
    names = []
    with canvas() as (figure, (panel,)):
        for run, label, colour in zip(runs, labels, cycle(RUNS), strict=False):
            w, p = run.weights(projection), run.experiment.projections[projection]
            # where all start alike, their spread then is known too
            start = [] if p.has_drawn_weights else [run.experiment.named_weight(projection)]
            times = 1e-3 * np.concatenate([0.0 * np.array(start), w.time_ms])
            mean = np.concatenate([start, w.mean / w.scale])
            spread = np.concatenate([0.0 * np.array(start), np.sqrt(w.variance) / w.scale])
            panel.fill_between(times, mean - spread, mean + spread, color=colour, alpha=0.13, lw=0)
            panel.plot(times, mean, color=colour)
            names.append((float(mean[-1]), label, colour))
        label = _label(runs[0], projection, "weight", "mV")
        panel.set(xlim=(0, 1e-3 * runs[0].recorded_ms), xlabel="time [s]", ylabel=label)
        name_lines(panel, names)
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
    with canvas() as (figure, (panel,)):
        if expected:
            panel.axhspan(*expected, color=PALE, alpha=0.5, lw=0)
            remark(panel, min(expected), "range of theory", GREY)
        for run, label, colour in zip(runs, labels, cycle(RUNS), strict=False):
            e = run.experiment
            p = e.projections[projection]
            source, target = run.rates(p.source), run.rates(p.target)
            current, window_ms = target.means[own_current(e, projection)], smoothing_ms(run.recorded_ms) / 2
            times, current = smoothed(target.times_ms, current, target.bin_ms, window_ms)
            rate = smoothed(source.times_ms, source.rate_hz, source.bin_ms, window_ms)[1]
            arrivals = 1e-3 * rate * run.degrees(projection).in_degree.mean() * charge(e, projection)
            felt = np.divide(current, arrivals, out=np.full(len(rate), np.nan), where=rate > 0)
            panel.plot(times, felt / e.weight_scale(projection), color=colour)
            panel.plot([], [], color=colour, label=label)
        panel.legend(frameon=False, loc="best")
        label = _label(runs[0], projection, "⟨J r⟩ / ⟨r⟩", "mV")
        panel.set(xlim=(0, 1e-3 * runs[0].recorded_ms), xlabel="time [s]", ylabel=label)
        panel.set_title(f"Weight that {runs[0].experiment.projections[projection].target} neurons feel")
    return figure


def weight_histogram(runs: Sequence[RunReader], labels: Sequence[str], projection: str) -> Figure:
    """Draw the distribution of a projection's weights at the end of each run, with its mean; see `mean_weights`."""
    with canvas() as (figure, (panel,)):
        for run, label, colour in zip(runs, labels, cycle(RUNS), strict=False):
            w = run.weights(projection)
            edges = w.edges / w.scale
            density = w.histogram[-1] / w.histogram[-1].sum() / np.abs(np.diff(edges))
            panel.stairs(density, edges, color=colour, lw=1.8, label=label)
            panel.stairs(density, edges, color=colour, fill=True, alpha=0.15)
            panel.axvline(w.mean[-1] / w.scale, color=colour, ls=(0, (4, 3)), lw=1.2)
            lower, upper = w.minimum[-1] < w.edges[0], w.maximum[-1] > w.edges[-1]
            for end, inwards, beyond in ((0, "left", lower), (-1, "right", upper)):
                if beyond:     # weights out there are counted in the bin at the edge
                    panel.annotate("and beyond", (edges[end], density[end]), (0, 3), textcoords="offset points",
                                   color=colour, fontsize=9, ha=inwards)
        panel.legend(frameon=False, loc="best")
        weight, density = _label(runs[0], projection, "weight", "mV"), _label(runs[0], projection, "density", "1/mV")
        panel.set(ylim=(0, None), xlim=_extent(runs, projection), xlabel=weight, ylabel=density)
        panel.set_title(f"Weights of {_arrow(runs[0], projection)} at the end")
    return figure


def _label(run: RunReader, projection: str, what: str, unit: str) -> str:
    """Label an axis of weights, which are numbers without a unit where they are named as conductances."""
    return what if run.experiment.projections[projection].weight_mv is None else f"{what} [{unit}]"


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
    with canvas((1.0,) * len(cells), (6.4, 0.95 * len(cells) + 1.0)) as (figure, panels):
        for panel, (name, column) in zip(panels, reversed(cells), strict=True):
            population, _ = e.members(name)
            traces, train = run.traces(name), run.spikes(population)
            neuron = e.neurons[e.populations[population].neuron]
            colour = colours(e)[population]
            inside = (traces.times_ms > start_ms) & (traces.times_ms <= stop_ms)
            potential = traces.values["V"][inside, column]
            threshold = average(neuron.V_th_mv)
            panel.plot(1e-3 * traces.times_ms[inside], potential, color=colour, lw=1.0)
            own = train.times_ms[train.ids == traces.ids[column]]
            own = own[(own > start_ms) & (own <= stop_ms)]
            panel.vlines(1e-3 * own, threshold, threshold + 20, color=colour, lw=1.0)
            lowest = float(potential.min(initial=threshold))
            if isinstance(neuron, UserNeuron):
                panel.set(yticks=[round(lowest), threshold])
            else:
                panel.axhline(neuron.soft_threshold_mv, color=PALE, lw=0.8, zorder=0)
                panel.set(yticks=[average(neuron.V_reset_mv), neuron.soft_threshold_mv])
                lowest = min(lowest, average(neuron.V_reset_mv))
            panel.set(ylim=(lowest - 4, threshold + 22))
            panel.tick_params(labelsize=9)
            panel.spines["bottom"].set_visible(panel is panels[-1])
            panel.tick_params(bottom=panel is panels[-1])
            name_lines(panel, [((lowest + threshold) / 2, f"{name} {traces.ids[column]}", colour)])
        panels[0].set_title("Membrane potential [mV]")
        panels[-1].set(xlabel="time [s]", xlim=(1e-3 * start_ms, 1e-3 * stop_ms))
    return figure


def _extent(runs: Sequence[RunReader], projection: str) -> tuple[float, float]:
    """Interval of the bins with at least a thousandth of the fullest one's synapses in any run [mV]."""
    ends: list[float] = []
    for run in runs:
        w = run.weights(projection)
        used = np.flatnonzero(w.histogram[-1] >= 1e-3 * w.histogram[-1].max())
        ends += (w.edges[[used[0], used[-1] + 1]] / w.scale).tolist()
    return min(ends), max(ends)


def _arrow(run: RunReader, projection: str) -> str:
    p = run.experiment.projections[projection]
    return f"{p.source} → {p.target}"
