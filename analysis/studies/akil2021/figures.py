"""The figures of the study; each answers one of the paper's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from analysis.figures import weight_histogram
from analysis.runs import Run
from analysis.studies.akil2021.balance import IN_BURSTS
from analysis.studies.akil2021.growth import WINDOW_MS, WITH_COVARIANCES, covariance, in_balance
from analysis.studies.akil2021.learning import (
    HOMEOSTATIC_RATE,
    KOHONEN_RATE,
    SOFT_RATE,
    relaxation_of_rate,
    relaxation_of_weights,
    setting,
)
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
from analysis.style import GREY, INK, NETWORK, PALE, RUNS, canvas, logarithmic, remark
from analysis.theory.balance import NoBalance, balanced_rates, mean_field
from analysis.theory.covariance import asynchronous_count_covariance, correlated_count_covariance
from analysis.theory.plasticity import fixed_point, pair_rules


def net_input(parts: Parts) -> Drawing:
    """The net input against the size of the network."""
    with canvas() as (figure, (panel,)):
        found = networks(parts["sizes"])
        in_bursts = found.pop(IN_BURSTS)
        looks = [(colour, look) for look in ("o-", "s--") for colour in RUNS][: len(found)]
        for (name, runs), (colour, look) in zip(
            [*found.items(), (IN_BURSTS, in_bursts)], [*looks, (INK, "d:")], strict=True
        ):
            sizes = by_size(runs)
            panel.plot(list(sizes), table(sizes, net_share).mean(axis=1), look, ms=4, color=colour, lw=1.2, label=name)
        places = np.array(list(sizes), np.float64)
        guide = 0.8 * np.sqrt(places[0] / places)     # above all others
        panel.plot(places, guide, color=GREY, lw=0.8)
        panel.annotate("1/√N", (places[0], guide[0]), (8, 3), textcoords="offset points", color=GREY, fontsize=9)
        logarithmic(panel, places)
        panel.set(xlabel="neurons N", ylabel="|net| / (E + X)", title="Balance is attained under every rule")
        panel.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    caption = ("Mean net input to E as a share of its excitation. In balance it falls as 1/√N, whatever rule acts; "
               "what is left of input in bursts (dotted) is smaller, and no power of N.")
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


def weights_with_size(parts: Parts) -> Drawing:
    """Mean weights against the size of the network, over the fixed point of theory."""
    found = networks(parts["sizes"])
    lines = (("homeostatic", "I_to_E", felt_weight, "⟨J r⟩/⟨r⟩ of I → E"), ("kohonen", "E_to_E", mean_weight, "E → E"),
             ("soft", "E_to_E", mean_weight, "E → E"), ("oja", "E_to_E", mean_weight, "E → E"))
    with canvas() as (figure, (panel,)):
        for (name, projection, measure, what), colour in zip(lines, RUNS, strict=False):
            sizes = by_size(found[name])
            expected = fixed_point(next(iter(sizes.values()))[0].experiment).weights_mv[projection]
            values = table(sizes, partial(measure, projection=projection)) / expected
            panel.errorbar(np.array(list(sizes)) ** -0.5, values.mean(axis=1), values.std(axis=1, ddof=1), color=colour,
                           marker="o", ms=4, lw=1.2, label=f"{name}, {what}: {expected:.4g} mV")
        panel.plot(0, 1, "s", ms=7, color=GREY, clip_on=False)
        panel.set(xlim=(0, None), ylim=(0, None), xlabel="1/√N", ylabel="weight over that of theory",
                  title="Weights and their limit")
        panel.legend(frameon=False, fontsize=9, loc="lower left")
    return Drawing("weights", "Weights over the fixed point that theory has for infinite networks (square; value in "
                   "the legend), ± SD over seeds. Soft weights of slow neurons are still on their way.", figure)


def covariances_with_size(parts: Parts) -> Drawing:
    """Count covariances against the size of the network, beside theory of the largest windows."""
    found = networks(parts["sizes"])
    with canvas((1, 1), (6.8, 5.4)) as (figure, panels):
        for panel, pair in zip(panels, ("EE", "II"), strict=True):
            for name, colour in zip(WITH_COVARIANCES, RUNS, strict=False):
                sizes = by_size(found[name])
                values = table(sizes, partial(covariance, pair=pair))
                panel.errorbar(list(sizes), values.mean(axis=1), values.std(axis=1, ddof=1), color=colour, marker="o",
                               ms=4, lw=1.2, label=name)
                if name.startswith("no plasticity"):
                    theory = [_covariance_in_theory(runs[0], pair) for runs in sizes.values()]
                    panel.plot(list(sizes), theory, color=colour, ls=(0, (4, 3)), lw=1.2)
            logarithmic(panel, np.array(list(sizes), np.float64))
            panel.set_ylabel(f"covariance, {pair[0]} with {pair[1]}")
        panels[0].set_title("Covariances of counts fall as 1/N, or not at all")
        panels[0].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        panels[-1].set_xlabel("neurons N")
    caption = (f"Mean covariance of spike counts in {WINDOW_MS:g} ms, ± SD over seeds; dashed: leading order in N, for "
               "windows much longer than synapses and jitter.")
    return Drawing("covariances", caption, figure)


def _covariance_in_theory(run: Run, pair: str) -> float:
    e = run.experiment
    a, b = (list(e.populations).index(name) for name in pair)
    theory = correlated_count_covariance if input_of(run).correlation > 0 else asynchronous_count_covariance
    return float(theory(e, mean_field(e), WINDOW_MS)[a, b])


def static_networks(parts: Parts) -> Drawing:
    """Rates and covariances against recurrent excitation, at two strengths of inhibition, beside theory."""
    found: dict[float, dict[float, list[Run]]] = {}
    for run in finished(parts["static"].runs.values()):
        weights = (run.experiment.named_weight(name) for name in ("I_to_E", "E_to_E"))
        found.setdefault(next(weights), {}).setdefault(next(weights), []).append(run)
    measures: tuple[tuple[str, Callable[[Run], float], str], ...] = (
        ("rate", rate_hz, "rate of E [Hz]"),
        ("covariance", partial(covariance, pair="EE", window_ms=250.0), "covariance of E"),
    )
    with canvas((1, 1), (5.8, 5.0)) as (figure, panels):
        for panel, (quantity, measure, label) in zip(panels, measures, strict=True):
            for (inhibition, of_excitation), colour in zip(sorted(found.items()), RUNS, strict=False):
                places = sorted(of_excitation)
                values = np.array([[measure(run) for run in of_excitation[place]] for place in places])
                panel.errorbar(places, values.mean(axis=1), values.std(axis=1, ddof=1), color=colour, marker="o", ms=4,
                               label=f"I → E {inhibition:g} mV")
                theory = [in_balance(of_excitation[place][0])[quantity] for place in places]
                panel.plot(places, theory, "s--", color=colour, ms=6, mfc="none", lw=1.0)
            panel.set(ylabel=label, ylim=(0, None))
        panels[0].set_title("Without plasticity")
        panels[0].legend(frameon=False, fontsize=9)
        panels[-1].set_xlabel("weight E → E [mV]")
    return Drawing("static", "Rates and count covariances (250 ms) with correlated input, ± SD over seeds; hollow: "
                   "theory of infinite networks.", figure)


def paces(parts: Parts) -> Drawing:
    """Time constants of learning against the learning rate."""
    part = parts["time_scales"]
    etas = sorted({setting(run, HOMEOSTATIC_RATE) for run in finished(part.runs.values())})
    with canvas() as (figure, (panel,)):
        lines = ((relaxation_of_weights, "mean weight I → E", RUNS[0]), (relaxation_of_rate, "rate of E", NETWORK[0]))
        for measure, label, colour in lines:
            times_s = np.array([[1e-3 * measure(run) for run in finished(part.where({HOMEOSTATIC_RATE: eta}))]
                                for eta in etas])
            panel.plot(etas, times_s, "o", color=colour, ms=4)
            middle = np.exp(np.log(times_s).mean()) * np.exp(np.log(etas).mean()) / np.array(etas)
            panel.plot(etas, middle, color=colour, lw=1.0, label=label)
        panel.set(xlabel="learning rate [mV]", ylabel="time constant [s]", title="Learning is as fast as its rate")
        logarithmic(panel, np.array(etas))
        panel.legend(frameon=False)
    return Drawing("paces", "Time constants with which mean weight and rate settle under homeostatic inhibition, a "
                   "point for each seed; lines are in inverse proportion to the learning rate.", figure)


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


def correlations(parts: Parts) -> Drawing:
    """Weights against the correlation of the input, beside theory."""
    with canvas((1, 1, 1), (5.8, 7.4)) as (figure, panels):
        for panel, rule, projection, key, measure in (
            (panels[0], "kohonen", "E_to_E", KOHONEN_RATE, mean_weight),
            (panels[1], "soft", "E_to_E", SOFT_RATE, mean_weight),
            (panels[2], "homeostatic", "I_to_E", HOMEOSTATIC_RATE, felt_weight),
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
            weights = [run.weights("E_to_E") for run in largest(found[name])]
            values: Array = np.concatenate([w.sample[-1].astype(np.float64) / w.scale for w in weights])
            edges = np.arange(np.floor(values.min()), np.ceil(values.max()) + 1)
            panel.stairs(np.histogram(values, edges, density=True)[0], edges, color=colour, lw=1.6,
                         label=f"{name}, from {_initial(found[name]):g} mV")
        panel.set(yscale="log", xlabel="weight E → E [mV]", ylabel="density [1/mV]", title="Each rule its distribution")
        panel.legend(frameon=False, fontsize=9)
    return Drawing("distributions", "Sampled weights from E to E at the end, in the largest networks of all seeds.",
                   figure)


def _initial(runs: Sequence[Run]) -> float:
    return runs[0].experiment.named_weight("E_to_E")


def rate_distributions(parts: Parts) -> Drawing:
    """Rates of single neurons with and without plasticity of inhibition."""
    found = networks(parts["sizes"])
    with canvas((1, 1), (5.8, 4.6)) as (figure, panels):
        for panel, name in zip(panels, ("no plasticity", "homeostatic"), strict=True):
            run = largest(found[name])[0]
            rates = {population: run.firing_rates_hz(population) for population in run.experiment.populations}
            edges = np.linspace(0.0, max(map(np.max, rates.values())), 61)
            for (population, of_neurons), colour in zip(rates.items(), NETWORK, strict=False):
                panel.stairs(np.histogram(of_neurons, edges, density=True)[0], edges, color=colour, lw=1.6,
                             label=population)
            panel.set(ylabel="density [1/Hz]")
            panel.set_title(name, fontsize=10)
        panels[0].legend(frameon=False)
        panels[-1].set_xlabel("rate of a neuron [Hz]")
    return Drawing("rate-distributions", "Rates of single neurons, in the largest networks: homeostatic inhibition "
                   "makes those of E alike, and leaves those of I broad.", figure)


def inhibitory_weights(parts: Parts) -> Drawing:
    """Weights of homeostatic inhibition at the end."""
    run = largest(networks(parts["sizes"])["homeostatic"])[0]
    return Drawing("inhibitory-weights", "Weights from I to E at the end, in the largest network; dashed: their mean.",
                   weight_histogram([run], ["homeostatic"], "I_to_E"))


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
        panel.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return Drawing("windows", "What one pair of spikes does to the initial weight, by the rules themselves.", figure)
