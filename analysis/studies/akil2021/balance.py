"""Balance is attained under every rule, from balanced and unbalanced starts, and kept through a stimulus."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from analysis.confidence import t_interval
from analysis.correlations import pair_statistics
from analysis.runs import Run
from analysis.scaling import exponent, extrapolation
from analysis.spikes import window_counts
from analysis.studies.akil2021.measured import (
    CORRELATION,
    INHIBITION,
    Array,
    by_size,
    in_blocks,
    mean_between,
    net_share,
    networks,
    over_seeds,
    table,
)
from analysis.studies.study import Bounds, Claim, Parts, finished

ATTAINED, MAINTAINED = "Balance is attained under plasticity", "Balance is maintained"
AT_5000 = {"no plasticity": 0.094, "homeostatic": 0.188}
"""Net input of a network of the paper's size as a share of its excitation, from another implementation."""

IN_BURSTS = "classical, c = 0.75"
"""The classical rule with the input that the paper has for it."""

SUBPOPULATION = "Fig. of a stimulated subpopulation of E"


def attained(parts: Parts) -> Iterator[Claim]:
    """The net input falls as the square root of the network's size, relative to excitation."""
    found = {name: by_size(runs) for name, runs in networks(parts["sizes"]).items()}
    in_bursts = table(found.pop(IN_BURSTS), net_share)
    for name, sizes in found.items():
        runs = next(iter(sizes.values()))
        yield Claim(
            ATTAINED,
            f"|mean net input| / (E + X) of E, exponent of N: {name}",
            "balance: excitation of order √N cancels but for an input of order one",
            Bounds.around(-0.5, reach=0.1),
            exponent(list(sizes), table(sizes, net_share)),
            f"{len(runs)} seeds, N = {', '.join(map(str, sizes))}",
        )
        if name in AT_5000:
            yield Claim(
                ATTAINED,
                f"|mean net input| / (E + X) of E, its power law continued to N = 5000: {name}",
                "another implementation of the same scheme, to a tenth",
                Bounds.around(AT_5000[name], share=0.1),
                extrapolation(list(sizes), table(sizes, net_share), 5000),
                f"{len(runs)} seeds",
            )
    ratios = (in_bursts / table(found["no plasticity"], net_share)).max(axis=0)
    yield Claim(ATTAINED, f"|mean net input| / (E + X) of E over that without plasticity, most at any N: {IN_BURSTS}",
                "same bound: what is left of input that comes in bursts is no power of N", Bounds(high=1.0),
                t_interval(ratios), f"{len(ratios)} seeds")


def from_unbalanced_starts(parts: Parts) -> Iterator[Claim]:
    """Networks that begin out of balance come to the net input of one that begins in it."""
    part = parts["manifold"]
    starts = sorted({run.experiment.named_weight("I_to_E") for run in part.runs.values()})
    for c in (0.0, 0.1):
        balanced = finished(part.where({INHIBITION: -120.0, CORRELATION: c}))[0]
        for start in (starts[0], starts[-1]):
            run = finished(part.where({INHIBITION: start, CORRELATION: c}))[0]
            yield Claim(
                MAINTAINED,
                f"|net| / (E + X) from I→E of {start:g} mV over that from -120 mV, c = {c:g}",
                "the same bound from balanced and from unbalanced starts",
                Bounds.around(1.0, share=0.1),
                t_interval(_shares(run) / _shares(balanced)),
                "blocks of time",
            )


def _shares(run: Run) -> Array:
    """Net input as a share of excitation, in blocks of the time after the burn-in."""
    rates = run.rates("E")
    late = rates.times_ms >= run.start_ms
    net, recurrent, feedforward = (
        in_blocks(rates.means[name][late]) for name in ("I_total", "I_excitatory", "I_feedforward")
    )
    return np.abs(net) / (recurrent + feedforward)


def through_a_stimulus(parts: Parts) -> Iterator[Claim]:
    """A second input to half of E is balanced by inhibition that grows on that half, and shrinks again."""
    onset, late, offset, end = (_change(rate_in, name) for name in ("onset", "late", "offset", "end"))
    share_late, share_end = (_change(share_in, name) for name in ("late", "end"))
    rows: list[tuple[str, str, Bounds, Callable[[Run], float], str]] = [
        ("rate of the stimulated half at onset, over before", "it jumps", Bounds(low=1.5), onset, ""),
        ("rate late in the stimulus, over before", "it returns", Bounds.around(1.0, share=0.05), late, ""),
        ("rate at offset, over before", "it dips", Bounds(high=0.5), offset, ""),
        ("rate at the end, over before", "it returns", Bounds.around(1.0, share=0.05), end, ""),
        ("|net| / (E + X) late in the stimulus, over before", "same bound", Bounds(high=1.1), share_late, ""),
        ("|net| / (E + X) at the end, over before", "same bound", Bounds(high=1.1), share_end, ""),
        ("I→E of this half less that of the other, late", "-186 and -159 mV", Bounds(high=0.0), apart_late, "mV"),
        ("share of this difference that is left at the end", "it goes back", Bounds(high=0.2), apart_left, ""),
    ]
    for c in (0.0, 0.1):
        runs = finished(parts["stimulus"].where({CORRELATION: c}))
        for quantity, source, bounds, measure, unit in rows:
            statement, cited = f"{quantity}, c = {c:g}", f"{SUBPOPULATION}: {source}"
            yield Claim(MAINTAINED, statement, cited, bounds, over_seeds(runs, measure), f"{len(runs)} seeds", unit)


def correlations_in_a_stimulus(parts: Parts) -> Iterator[Claim]:
    """Neurons of the stimulated half are less correlated while it lasts, and as before after it."""
    rows = (("late in the stimulus less before", "0.0032 before, -0.0002 during", Bounds(high=0.0), ("late", "before")),
            ("at the end less late in the stimulus", "back to 0.003", Bounds(low=0.0), ("end", "late")))
    for c in (0.0, 0.1):
        runs = finished(parts["stimulus"].where({CORRELATION: c}))
        for quantity, seen, bounds, (after, before) in rows:
            changes = [correlation_in(run, after) - correlation_in(run, before) for run in runs]
            yield Claim(MAINTAINED, f"correlation of counts in the stimulated half, {quantity}, c = {c:g}",
                        f"{SUBPOPULATION}, by its sign: {seen} with c = 0", bounds, t_interval(changes),
                        f"{len(runs)} seeds")


def correlation_in(run: Run, name: str) -> float:
    """Mean correlation of counts, in 250 ms, of pairs in the stimulated half, in three quarters of a third of a run."""
    _, stop_ms = interval(run, name)
    start_ms = stop_ms - run.experiment.run.duration_ms / 4
    spikes, half = run.spikes("E"), run.experiment.subpopulations["E1"]
    counts = window_counts(spikes.times_ms, spikes.ids, run.experiment.sizes["E"], start_ms, stop_ms, 250.0)
    return pair_statistics(counts[:, half.first : half.last + 1]).coefficient


def interval(run: Run, name: str) -> tuple[float, float]:
    """Give a part of a run with a stimulus in its second third [ms]."""
    third = run.experiment.run.duration_ms / 3
    onset, offset, stop, some = third, 2 * third, 3 * third, third / 5
    return {
        "before": (onset - some, onset),
        "onset": (onset, onset + 500.0),
        "late": (offset - some, offset),
        "offset": (offset, offset + 500.0),
        "end": (stop - some, stop),
    }[name]


def rate_in(run: Run, name: str) -> float:
    """Rate of the stimulated half in a part of the run [Hz]."""
    return mean_between(run, "E1", None, *interval(run, name))


def share_in(run: Run, name: str) -> float:
    """Net input as a share of excitation of the stimulated half, in a part of the run."""
    return net_share(run, "E1", *interval(run, name))


def apart_in(run: Run, name: str) -> float:
    """Mean weight of I to the stimulated half less that to the other, in a part of the run [mV]."""
    start_ms, stop_ms = interval(run, name)
    w = run.weights("I_to_E")
    inside = (w.time_ms > start_ms) & (w.time_ms <= stop_ms)
    return float((w.onto["E1"].mean - w.onto["E2"].mean)[inside].mean() / w.scale)


def apart_late(run: Run) -> float:
    """See `apart_in`: late in the stimulus."""
    return apart_in(run, "late")


def apart_left(run: Run) -> float:
    """See `apart_in`: at the end over late in the stimulus."""
    return abs(apart_in(run, "end") / apart_in(run, "late"))


def _change(measure: Callable[[Run, str], float], name: str) -> Callable[[Run], float]:
    return lambda run: measure(run, name) / measure(run, "before")
