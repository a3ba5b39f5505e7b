"""The figures of the study: what the paper's show, with its own values as rings, and theory drawn in."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from analysis.studies.study import Drawing, Parts
from analysis.studies.zhu2026.measures import of_network, sizes_of, tabulate
from analysis.studies.zhu2026.networks import condition
from analysis.studies.zhu2026.paper import ABSOLUTE, ASYNCHRONOUS, CORRELATED, CORRELATIONS, VARIANCES, Curve
from analysis.style import GREY, INK, NETWORK, PALE, RUNS, canvas
from analysis.trends import over_seeds
from analysis.verdict import MINUS

Array = NDArray[np.float64]

COLOURS = {"current": NETWORK[0], "conductance": INK, "effective": NETWORK[1], "matched": RUNS[3]}

LINES: Mapping[float, tuple[str, str]] = {ASYNCHRONOUS: ("o", ":"), CORRELATED: ("s", "-")}
"""Marker and line, as in the paper: dotted without correlated input."""

REALISTIC_MV = (2.0, 6.0)

SIZE = (6.8, 3.7)


def variances(parts: Parts) -> Drawing:
    """Draw the variance of V against N in the four conditions."""
    table = tabulate(parts)
    with canvas(size=SIZE) as (figure, (panel,)):
        panel.axhspan(*np.square(REALISTIC_MV), color=PALE, alpha=0.5, lw=0)
        panel.annotate("recorded in cortex", (0.02, REALISTIC_MV[0] ** 2), (0, 4), panel.get_yaxis_transform(),
                       textcoords="offset points", color=GREY, fontsize=9)
        _draw(panel, table, "var_V", ("current", "conductance"), VARIANCES)
        _against_size(panel, table, "variance of V [mV²]")
    return Drawing("variance", "Variance of V over time against N, with intervals over seeds; rings are the paper's "
                   "(figure 1). The band is a standard deviation of 2 to 6 mV.", figure)


def count_correlations(parts: Parts) -> Drawing:
    """Draw the correlation of spike counts against N in the four conditions."""
    table = tabulate(parts)
    with canvas(size=SIZE) as (figure, (panel,)):
        _draw(panel, table, "count_correlation", ("current", "conductance"), CORRELATIONS)
        sizes = np.array(sizes_of(table))
        panel.plot(sizes, 2.5 / sizes, color=GREY, lw=1.0)
        panel.annotate("1/N", (sizes[-1], 2.5 / sizes[-1]), (10, -4), textcoords="offset points", color=GREY)
        _against_size(panel, table, "correlation of counts in 250 ms")
    caption = "Mean correlation of spike counts against N; rings are the paper's (figure 1)."
    return Drawing("correlation", caption, figure)


def effective_model(parts: Parts) -> Drawing:
    """Draw the variance of V in the effective-time-constant model beside the network's own."""
    table = tabulate(parts)
    with canvas(size=SIZE) as (figure, (panel,)):
        _draw(panel, table, "var_V", ("conductance", "effective"), VARIANCES)
        _against_size(panel, table, "variance of V [mV²]")
    return Drawing("effective-model", "The effective-time-constant model follows the network without correlated input, "
                   "and explodes with it; rings are the paper's (figure 2).", figure)


def joint_fluctuations(parts: Parts) -> Drawing:
    """Draw the mean size of joint fluctuations of V and g, and their covariance, against N."""
    table = tabulate(parts)
    curves = {("conductance", c): curve for c, curve in ABSOLUTE.items()}
    with canvas(size=SIZE) as (figure, (panel,)):
        _draw(panel, table, "absolute_C", ("conductance",), curves, ", ⟨|ΔV Δg|⟩")
        for c, (marker, line) in LINES.items():
            values = of_network(table, "signed_C", "conductance", c)
            sign = np.sign(values.mean())     # as a rule, not that of the other
            mean, reach = _over_seeds(sign * values)
            panel.errorbar(sizes_of(table), mean, reach, color=RUNS[1], marker=marker, ls=line, ms=5,
                           label=f"{MINUS if sign < 0 else ''}⟨ΔV Δg⟩, c = {c:g}")
        _against_size(panel, table, "joint fluctuations [mV/ms]")
    return Drawing("joint-fluctuations", "What the effective model neglects: the mean size of joint fluctuations of V "
                   "and total conductance, as in the paper's figure 3 (rings), and their covariance, which changes "
                   "its sign with correlated input.", figure)


def linear_theory(parts: Parts) -> Drawing:
    """Draw the variance of V without spikes against linear theory."""
    table = tabulate(parts)
    with canvas(size=SIZE) as (figure, (panel,)):
        for synapses in ("current", "conductance"):
            for a, marker in (("E", "o"), ("I", "^")):
                mean, reach = _over_seeds(of_network(table, f"free_{a}", synapses, ASYNCHRONOUS))
                colour = COLOURS[synapses]
                panel.errorbar(sizes_of(table), mean, reach, color=colour, marker=marker, ls="", ms=6,
                               label=f"{a}, {synapses}")
                theory = of_network(table, f"theory_{a}", synapses, ASYNCHRONOUS).mean(axis=1)
                panel.plot(sizes_of(table), theory, color=colour, lw=1.2, ls="-" if a == "E" else "--")
        _against_size(panel, table, "variance of V without spikes [mV²]")
    return Drawing("linear-theory", "V without spikes and resets for c = 0: measured (marks) and linear theory with "
                   "the measured rates, mean V and conductance (lines; dashed for I).", figure)


def shared_input(parts: Parts) -> Drawing:
    """Draw the variance of V without spikes with correlated input, between the bounds of theory."""
    table = tabulate(parts)
    with canvas(size=SIZE) as (figure, (panel,)):
        for synapses in ("current", "conductance"):
            colour = COLOURS[synapses]
            bounds = [of_network(table, f"{kind}_E", synapses, CORRELATED).mean(axis=1) for kind in ("theory", "bound")]
            panel.fill_between(sizes_of(table), *bounds, color=colour, alpha=0.12, lw=0)
            mean, reach = _over_seeds(of_network(table, "free_E", synapses, CORRELATED))
            panel.errorbar(sizes_of(table), mean, reach, color=colour, marker="s", ms=5, label=synapses)
        _against_size(panel, table, "variance of V of E without spikes [mV²]")
    return Drawing("shared-input", "V of E without spikes for c = 0.2. Shades: theory, from all of the shared input "
                   "cancelled to none of it.", figure)


def rates(parts: Parts) -> Drawing:
    """Draw rates against N, with those of the balance that N has in the limit."""
    table = tabulate(parts)
    with canvas((1, 1), (6.8, 5.2)) as (figure, panels):
        for panel, a in zip(panels, "EI", strict=True):
            for synapses in ("current", "conductance", "matched"):
                for c, (marker, line) in LINES.items():
                    mean, reach = _over_seeds(of_network(table, f"rate_{a}", synapses, c))
                    panel.errorbar(sizes_of(table), mean, reach, color=COLOURS[synapses], marker=marker, ls=line, ms=5,
                                   label=f"{synapses}, c = {c:g}")
            limit = {"E": 25 / 3, "I": 125 / 6}[a]
            panel.axhline(limit, color=GREY, lw=1.0)
            panel.annotate("balance\nwith currents", (1, limit), (6, 0), panel.get_yaxis_transform(), va="center",
                           textcoords="offset points", color=GREY, fontsize=9)
            panel.set(xscale="log", ylim=(0, None), ylabel=f"rate of {a} [Hz]")
        _label_sizes(panels[-1], table)
        panels[0].legend(frameon=False, fontsize=8, ncols=3, loc="lower right")
    return Drawing("rates", "Rates against N. Weights matched at rest make conductances inhibit three times as much; "
                   "matched at the mean of V, they do not.", figure)


def sample_traces(parts: Parts) -> Drawing:
    """Draw V of an E neuron for half a second in the four conditions, at the largest N."""
    largest = max(sizes_of(tabulate(parts)))
    with canvas((1, 1, 1, 1), (6.4, 6.4)) as (figure, panels):
        for panel, (synapses, c) in zip(panels, VARIANCES, strict=False):
            run = next(run for run in parts[synapses].runs.values() if condition(run)[:2] == (c, largest))
            traces = run.traces("E")
            last = traces.times_ms > traces.times_ms[-1] - 500.0
            panel.plot(1e-3 * traces.times_ms[last], traces.values["V"][last, 0], color=COLOURS[synapses], lw=1.0)
            panel.set(ylim=(-110, -45), ylabel="V [mV]")
            panel.set_title(f"{synapses}, c = {c:g}", fontsize=10)
        panels[-1].set_xlabel("time [s]")
    return Drawing("traces", f"Membrane potential of an E neuron at N = {largest} in the four conditions.", figure)


FIGURES = (variances, count_correlations, sample_traces, effective_model, joint_fluctuations, linear_theory,
           shared_input, rates)


def _draw(
    panel: Axes, table: xr.Dataset, quantity: str, networks: tuple[str, ...],
    curves: Mapping[tuple[str, float], Curve], name: str = "",
) -> None:
    """Draw a quantity of networks against N, with the paper's curves as rings."""
    sizes = sizes_of(table)
    for synapses in networks:
        for c, (marker, line) in LINES.items():
            mean, reach = _over_seeds(of_network(table, quantity, synapses, c))
            colour = COLOURS[synapses]
            panel.errorbar(sizes, mean, reach, color=colour, marker=marker, ls=line, ms=5,
                           label=f"{synapses}{name}, c = {c:g}")
            panel.plot(sizes, curves[synapses, c].at(sizes)[0], "o", ms=11, mfc="none", mec=colour, mew=0.9, alpha=0.6)


def _over_seeds(values: Array) -> tuple[Array, Array]:
    mean, reach = over_seeds(xr.DataArray(values, dims=("size", "seed")))
    return mean.values, reach.values


def _against_size(panel: Axes, table: xr.Dataset, quantity: str) -> None:
    panel.set(xscale="log", yscale="log", ylabel=quantity)
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_locator(NullLocator())
    _label_sizes(panel, table)
    panel.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _label_sizes(panel: Axes, table: xr.Dataset) -> None:
    sizes = sizes_of(table)
    panel.set_xticks(sizes, [f"{size:g}" for size in sizes])
    panel.set_xticks([], minor=True)
    panel.set_xlabel("N")
