"""The figures of the study; each answers one of the paper's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes

from analysis.runs import Run
from analysis.studies.akil2021.balance import IN_BURSTS
from analysis.studies.akil2021.learning import HOMEOSTATIC_RATE, KOHONEN_RATE, setting
from analysis.studies.akil2021.manifold import starts
from analysis.studies.akil2021.measured import (
    CORRELATION,
    Array,
    by_size,
    felt_weight,
    input_of,
    largest,
    mean_weight,
    net_share,
    networks,
    rate_hz,
    table,
)
from analysis.studies.akil2021.stability import beta_mv
from analysis.studies.study import Drawing, Parts, finished
from analysis.style import GREY, INK, NETWORK, PALE, RUNS, canvas, remark, smoothed
from analysis.theory.balance import NoBalance, balanced_rates, mean_field
from analysis.theory.plasticity import fixed_point, pair_rules


def net_input(parts: Parts) -> Drawing:
    """The net input against the size of the network."""
    with canvas() as (figure, (panel,)):
        looks = zip(cycle(RUNS), ["o-"] * len(RUNS) + ["s--"] * len(RUNS), strict=False)
        found = networks(parts["sizes"])
        del found[IN_BURSTS]     # is no power of N
        for (name, runs), (colour, look) in zip(found.items(), looks, strict=False):
            sizes = by_size(runs)
            panel.plot(list(sizes), table(sizes, net_share).mean(axis=1), look, ms=4, color=colour, lw=1.2, label=name)
        places = np.array(list(sizes), np.float64)
        panel.plot(places, 0.4 * np.sqrt(places[0] / places), color=GREY, ls=(0, (4, 3)), lw=1.2)
        remark(panel, 0.4 * np.sqrt(places[0] / places[-1]), "1/√N", GREY)
        _logarithmic(panel, places)
        panel.set(xlabel="neurons N", ylabel="|net| / (E + X)", title="Balance is attained under every rule")
        panel.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    caption = "Mean net input to E as a share of its excitation. In balance it falls as 1/√N, whatever rule acts."
    return Drawing("net-input", caption, figure)


def rates_with_size(parts: Parts) -> Drawing:
    """Rates against the size of the network, and their limit."""
    sizes = by_size(networks(parts["sizes"])["no plasticity"])
    field = mean_field(next(iter(sizes.values()))[0].experiment)
    with canvas() as (figure, (panel,)):
        for name, expected, colour in zip(field.populations, 1e3 * balanced_rates(field), NETWORK, strict=False):
            values = table(sizes, partial(rate_hz, population=name))
            panel.errorbar(np.array(list(sizes)) ** -0.5, values.mean(axis=1), values.std(axis=1, ddof=1), color=colour,
                           marker="o", ms=4, label=name)
            panel.plot(0, expected, "s", ms=7, color=colour, clip_on=False)
        panel.set(xlim=(0, None), ylim=(0, None), xlabel="1/√N", ylabel="rate [Hz]", title="Rates and their limit")
        panel.legend(frameon=False)
    return Drawing("rates", "Rates without plasticity (± SD over seeds); squares: theory of infinite networks.", figure)


def initial_weights(parts: Parts) -> Drawing:
    """Mean weights from many initial ones, over time."""
    with canvas() as (figure, (panel,)):
        for run, colour in zip(starts(parts, 0.0), cycle(RUNS), strict=False):
            w = run.weights("I_to_E")
            times = np.concatenate([[0.0], 1e-3 * w.time_ms])
            panel.plot(times, np.concatenate([[run.experiment.named_weight("I_to_E")], w.mean / w.scale]), color=colour)
        panel.set(xlim=(0, None), xlabel="time [s]", ylabel="mean weight I → E [mV]",
                  title="Homeostatic weights end where they can")
    return Drawing("initial-weights", "Mean weights from many initial ones: they come to rest apart, in order.", figure)


def final_weights(parts: Parts) -> Drawing:
    """Mean and felt weights at the end against the initial weight."""
    with canvas() as (figure, (panel,)):
        for c, marker in ((0.0, "o"), (0.1, "^")):
            runs = starts(parts, c)
            at = [run.experiment.named_weight("I_to_E") for run in runs]
            for values, colour, label in ((_map(runs, mean_weight), RUNS[0], "⟨J⟩"),
                                          (_map(runs, felt_weight), RUNS[1], "⟨J r⟩/⟨r⟩")):
                panel.plot(at, values, marker + "-", ms=4, lw=1.2, color=colour, label=f"{label}, c = {c:g}")
            expected = fixed_point(runs[0].experiment).weights_mv["I_to_E"]
            panel.axhline(expected, color=PALE, lw=1.2, zorder=0)
        remark(panel, expected, "theory, infinite N", GREY)
        panel.set(xlabel="initial weight [mV]", ylabel="at the end [mV]", title="What is fixed, and what is not")
        panel.legend(frameon=False, fontsize=9)
    caption = "The rate-weighted mean weight ends the same, the mean weight depends on where it began: the manifold."
    return Drawing("manifold", caption, figure)


def _map(runs: Sequence[Run], measure: Callable[[Run, str], float]) -> list[float]:
    return [measure(run, "I_to_E") for run in runs]


def perturbation(parts: Parts) -> Drawing:
    """Mean weights and rates with and without a shift."""
    runs = finished(parts["perturbation"].runs.values())
    first = [run for run in runs if run.experiment.seed.base == runs[0].experiment.seed.base]
    with canvas((1, 1), (5.8, 5.0)) as (figure, (weights, rates)):
        for run, colour in zip(first, RUNS, strict=False):
            w, r = run.weights("I_to_E"), run.rates("E")
            weights.plot(1e-3 * w.time_ms, w.mean / w.scale, color=colour)
            rates.plot(*smoothed(r.times_ms, r.rate_hz, r.bin_ms, 500.0), color=colour, lw=1.2)
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


def correlations(parts: Parts) -> Drawing:
    """Weights against the correlation of the input, beside theory."""
    with canvas((1, 1), (5.8, 5.6)) as (figure, panels):
        for panel, rule, projection, key, measure in (
            (panels[0], "kohonen", "E_to_E", KOHONEN_RATE, mean_weight),
            (panels[1], "homeostatic", "I_to_E", HOMEOSTATIC_RATE, felt_weight),
        ):
            part = parts[f"correlated_{rule}"]
            etas = sorted({setting(run, key) for run in part.runs.values()})
            cs = sorted({input_of(run).correlation for run in part.runs.values()})
            for eta, colour in zip(etas, RUNS, strict=False):
                found = [part.where({CORRELATION: c, key: eta}) for c in cs]
                values = np.array([[measure(run, projection) for run in finished(runs)] for runs in found])
                spread, label = values.std(axis=1, ddof=1), f"learning rate {eta:g}"
                panel.errorbar(cs, values.mean(axis=1), spread, color=colour, marker="o", ms=4, label=label)
            theory = [fixed_point(part.where({CORRELATION: c})[0].experiment).weights_mv[projection] for c in cs]
            panel.plot(cs, theory, "s--", color=GREY, ms=4, lw=1.2, label="theory, infinite N")
            panel.set(ylabel=f"{projection.replace('_to_', ' → ')} [mV]", title=rule)
            panel.legend(frameon=False, fontsize=9)
        panels[-1].set_xlabel("correlation c of the input")
    return Drawing("correlations", "Weights with correlated input, ± SD over seeds; rate-weighted for I → E.", figure)


def stability(parts: Parts) -> Drawing:
    """Mean weights under Kohonen's rule against beta, beside the fixed point of theory."""
    runs = sorted(parts["kohonen_stability"].runs.values(), key=beta_mv)
    with canvas() as (figure, (panel,)):
        stable = [run for run in runs if run.finished]
        panel.plot(list(map(beta_mv, stable)), [mean_weight(run, "E_to_E") for run in stable], "o-", color=RUNS[0],
                   ms=4, label="simulated")
        for run in runs:
            if not run.finished:
                panel.axvline(beta_mv(run), color=PALE, lw=3, zorder=0)
        theory = [(beta_mv(run), _fixed_point(run)) for run in runs]
        panel.plot(*zip(*theory, strict=True), "s--", color=GREY, ms=4, lw=1.2, label="theory, infinite N")
        panel.set(xlabel="β [mV]", ylabel="mean weight E → E [mV]", title="Kohonen's rule runs away before theory says")
        panel.legend(frameon=False)
    return Drawing("stability", "Mean weight against β; grey bars: the network ran away.", figure)


def _fixed_point(run: Run) -> float:
    try:
        return fixed_point(run.experiment).weights_mv["E_to_E"]
    except NoBalance:
        return float("nan")


def distributions(parts: Parts) -> Drawing:
    """Weights at the end under each rule."""
    found = networks(parts["sizes"])
    with canvas() as (figure, (panel,)):
        for name, colour in zip(("hard", "soft", "oja", "kohonen"), RUNS, strict=False):
            w = largest(found[name])[0].weights("E_to_E")
            edges = w.edges / w.scale
            density: Array = w.histogram[-1] / w.histogram[-1].sum() / np.diff(edges)
            panel.stairs(density, edges, color=colour, lw=1.6, label=name)
        panel.set(yscale="log", xlabel="weight E → E [mV]", ylabel="density [1/mV]", title="Each rule its distribution")
        panel.legend(frameon=False)
    return Drawing("distributions", "Weights from E to E at the end, in the largest networks.", figure)


def windows(parts: Parts) -> Drawing:
    """Change of a weight by a pair of spikes against the time between them, as the rules say."""
    shown = {name: largest(runs)[0] for name, runs in networks(parts["sizes"]).items() if name.isalpha()}
    lag_ms = np.linspace(-600.0, 600.0, 601)
    with canvas() as (figure, (panel,)):
        for (name, run), colour in zip(shown.items(), RUNS, strict=False):
            [projection] = run.experiment.plastic
            [(rule, _)] = pair_rules(run.experiment, projection)
            scale = run.experiment.weight_scale(projection)
            c, weight = rule.coefficients(scale, 1.0), run.experiment.named_weight(projection) * scale
            on_pre, on_post = (a + b * weight for a, b in (c.b_pre, c.b_post))
            alone = sum(a + b * weight for a, b in (c.a_pre, c.a_post))
            trace_pre, trace_post = (np.exp(-np.abs(lag_ms) / rule.traces[x]) for x in ("x_pre", "x_post"))
            change = alone + np.where(lag_ms > 0, on_post * trace_pre, on_pre * trace_post)
            panel.plot(lag_ms, change / np.abs(change).max(), color=colour, lw=1.4, label=name)
        panel.axhline(0, color=INK, lw=0.6)
        panel.set(xlabel="postsynaptic less presynaptic spike [ms]", ylabel="change of weight, scaled",
                  title="The rules' windows")
        panel.legend(frameon=False, fontsize=9)
    return Drawing("windows", "What one pair of spikes does to the initial weight, by the rules themselves.", figure)


def _logarithmic(panel: Axes, places: Array) -> None:
    panel.set(xscale="log", yscale="log")
    panel.set_xticks(places, [f"{place:g}" for place in places])
    panel.set_xticks([], minor=True)
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_formatter("{x:g}")
