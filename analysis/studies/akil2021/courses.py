"""The figures of the study that show time: spikes, currents, and weights on their way."""

from __future__ import annotations

from itertools import cycle

import numpy as np
from matplotlib.axes import Axes

from analysis import figures
from analysis.runs import Run
from analysis.studies.akil2021.manifold import starts
from analysis.studies.akil2021.measured import CORRELATION, input_of, rules_of
from analysis.studies.akil2021.stability import classical_rate_mv, learning_ratio
from analysis.studies.study import Drawing, Parts, finished
from analysis.style import GREY, INK, PALE, RUNS, canvas, remark, smoothed
from analysis.theory.plasticity import fixed_point


def activity(parts: Parts) -> Drawing:
    """Spikes in the last second of a plastic network with correlated input."""
    run = _correlated(parts)
    caption = (f"Spikes in the last second of a network with homeostatic inhibition and correlated input, "
               f"c = {input_of(run).correlation:g}, and the rates of its populations and input.")
    return Drawing("activity", caption, figures.raster(run, run.stop_ms - 1000.0, run.stop_ms))


def currents(parts: Parts) -> Drawing:
    """Mean input to E by source, and their sum."""
    return Drawing("currents", "Mean input to E of the same network, by source: excitation by E and X, inhibition, and "
                   "the net that balance leaves.", figures.currents(_correlated(parts), "E"))


def _correlated(parts: Parts) -> Run:
    """Give the network with correlated input whose inhibition begins strongest, and has most to learn."""
    return starts(parts, 0.1)[0]


def initial_weights(parts: Parts) -> Drawing:
    """Mean weights from many initial ones, over time."""
    with canvas() as (figure, (panel,)):
        for run, colour in zip(starts(parts, 0.0), cycle(RUNS), strict=False):
            _weights(panel, run, "I_to_E", colour)
        panel.set(xlim=(0, None), xlabel="time [s]", ylabel="mean weight I → E [mV]",
                  title="Homeostatic weights end where they can")
    return Drawing("initial-weights", "Mean weights from many initial ones: they come to rest apart, in order.", figure)


def one_fixed_point(parts: Parts) -> Drawing:
    """Mean weights under Kohonen's rule from two initial ones, over time."""
    runs = finished(parts["kohonen_starts"].runs.values())
    begins = sorted({run.experiment.named_weight("E_to_E") for run in runs})
    with canvas() as (figure, (panel,)):
        for run in runs:
            begin = run.experiment.named_weight("E_to_E")
            _weights(panel, run, "E_to_E", RUNS[begins.index(begin) % len(RUNS)])
        expected = fixed_point(runs[0].experiment).weights_mv["E_to_E"]
        panel.axhline(expected, color=GREY, ls=(0, (4, 3)), lw=1.2)
        panel.set(xlim=(0, None), ylim=(0, None), xlabel="time [s]", ylabel="mean weight E → E [mV]",
                  title="Kohonen's rule has one fixed point")
        remark(panel, expected, "theory, infinite N", GREY)
    return Drawing("one-fixed-point", "Mean weights under Kohonen's rule from "
                   f"{' and '.join(f'{begin:g}' for begin in begins)} mV, a line for each seed.", figure)


def perturbation(parts: Parts) -> Drawing:
    """Mean weights and rates with and without a shift."""
    runs = finished(parts["perturbation"].runs.values())
    first = [run for run in runs if run.experiment.seed.base == runs[0].experiment.seed.base]
    with canvas((1, 1), (5.8, 5.0)) as (figure, (weights, rates)):
        for run, colour in zip(first, RUNS, strict=False):
            w, r = run.weights("I_to_E"), run.rates("E")
            weights.plot(1e-3 * w.time_ms, w.mean / w.scale, color=colour)
            label = "with the shift" if any(run.experiment.plasticity["shift"].drift) else "without"  # type: ignore[union-attr]
            rates.plot(*smoothed(r.times_ms, r.rate_hz, r.bin_ms, 500.0), color=colour, lw=1.2, label=label)
        rates.legend(frameon=False, fontsize=9)
        weights.set(ylabel="mean weight I → E [mV]", title="All weights shifted at once")
        rates.set(xlabel="time [s]", ylabel="rate of E [Hz]", xlim=(0, None))
    return Drawing("perturbation", "With the shift and without: the rate returns, the mean weight does not.", figure)


def stimulus(parts: Parts) -> Drawing:
    """Rates and weights of both halves of E through a stimulus of one."""
    run = finished(parts["stimulus"].where({CORRELATION: 0.0}))[0]
    third = 1e-3 * run.experiment.run.duration_ms / 3
    with canvas((1, 1), (5.8, 5.0)) as (figure, (rates, weights)):
        w = run.weights("I_to_E")
        for name, colour in (("E1", RUNS[1]), ("E2", RUNS[0])):
            r = run.rates(name)
            rates.plot(*smoothed(r.times_ms, r.rate_hz, r.bin_ms, 250.0), color=colour, lw=1.2, label=name)
            weights.plot(1e-3 * w.time_ms, w.onto[name].mean / w.scale, color=colour)
        for panel in (rates, weights):
            panel.axvspan(third, 2 * third, color=PALE, alpha=0.4, lw=0, zorder=0)
        rates.set(ylabel="rate [Hz]", title="A second input to half of E")
        rates.legend(frameon=False)
        weights.set(xlabel="time [s]", ylabel="mean weight from I [mV]", xlim=(0, None))
    caption = "E1 gets a second input in the shaded time: its rate jumps, and inhibition brings it back."
    return Drawing("stimulus", caption, figure)


def both_inhibitions(parts: Parts) -> Drawing:
    """The rate of E while both kinds of inhibition learn, by the ratio of their learning rates."""
    runs = sorted(parts["inhibition_stability"].runs.values(), key=lambda run: run.experiment.seed.base)
    names = {10.0: "I → E ten times faster", 1.0: "equally fast", 0.1: "I → E ten times slower"}
    with canvas((1, 1, 1), (5.8, 5.6)) as (figure, panels):
        for panel, (ratio, name) in zip(panels, names.items(), strict=True):
            for run, colour in zip([run for run in runs if np.isclose(learning_ratio(run), ratio)], cycle(RUNS),
                                   strict=False):
                r = run.rates("E")
                panel.plot(*smoothed(r.times_ms, r.rate_hz, r.bin_ms, 1000.0), color=colour, lw=1.2)
            panel.axhline(10.0, color=GREY, ls=(0, (4, 3)), lw=1.0)
            panel.set(ylim=(0, 30), ylabel="rate of E [Hz]")
            panel.set_title(name, fontsize=10)
        panels[-1].set(xlabel="time [s]", xlim=(0, None))
    return Drawing("both-inhibitions", "The rate of E, in seconds, while I → E and I → I learn; dashed: its target. "
                   "Where I → E is slow, networks run away.", figure)


def random_walks(parts: Parts) -> Drawing:
    """The spread of weights under the classical rule over time, with bounds and without."""
    runs = sorted(parts["unbounded"].runs.values(), key=lambda run: run.experiment.seed.base)
    first = [run for run in runs if run.experiment.seed.base == runs[0].experiment.seed.base]
    with canvas() as (figure, (panel,)):
        for run, colour in zip(first, RUNS, strict=False):
            w = run.weights("E_to_E")
            spread = np.sqrt(w.variance) / w.scale
            known = w.time_ms > 0     # before, all are the same
            panel.plot(1e-3 * w.time_ms[known], spread[known], color=colour, lw=1.4,
                       label=f"{rules_of(run)}, learning rate {classical_rate_mv(run):g} mV")
            if not run.finished:
                panel.plot(1e-3 * w.time_ms[-1], spread[-1], "x", color=INK, ms=8, mew=2)
        panel.set(xscale="log", yscale="log", xlabel="time [s]", ylabel="SD of weights E → E [mV]",
                  title="Weights of the classical rule walk at random")
        panel.legend(frameon=False, fontsize=9, loc="upper left")
    return Drawing("random-walks", "Spread of weights under the classical rule, without bounds and, as hard, between 0 "
                   "and 50 mV; at a cross the network ran away.", figure)


def _weights(panel: Axes, run: Run, projection: str, colour: str) -> None:
    """Draw the mean weight of a projection over time, from the initial one on."""
    w = run.weights(projection)
    times_s = np.concatenate([[0.0], 1e-3 * w.time_ms])
    panel.plot(times_s, np.concatenate([[run.experiment.named_weight(projection)], w.mean / w.scale]), color=colour,
               lw=1.4)
