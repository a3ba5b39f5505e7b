"""The figures of the study: what networks have learned, with how few spikes, and what they bear."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.coding import CodingRun
from analysis.coding_figures import currents, free_runs, learning, orbit, raster
from analysis.orbits import maxima
from analysis.studies.alemi2017.claims import by
from analysis.studies.alemi2017.measures import (
    attractor,
    coding_runs,
    free_error,
    free_rate_hz,
    horizons_s,
    poisson_error,
    tracking_error,
)
from analysis.studies.study import Drawing, Parts
from analysis.style import GREY, INK, NETWORK, RUNS, canvas

Array = NDArray[np.float64]


def attractors(parts: Parts) -> Drawing:
    """Draw Lorenz's attractor, and that on which a network runs freely."""
    run = coding_runs(parts["lorenz"])[0]
    return Drawing("attractor", "The teacher's states, and those of a network that has learned them, in its first free "
                   "run.", orbit(next(run.stretches("run"))))


def free_chaos(parts: Parts) -> Drawing:
    """Draw free runs on Lorenz's attractor beside the teacher over time."""
    run = coding_runs(parts["lorenz"])[0]
    return Drawing("free-runs", "A network that has learned the system of Lorenz runs freely, three times from where "
                   "it was synchronised: close to the teacher at first, then on a course of its own.",
                   free_runs(run, list(run.stretches("run"))[:3]))


def return_maps(parts: Parts) -> Drawing:
    """Draw each maximum of z against the one before, of the teacher and of all networks."""
    runs = coding_runs(parts["lorenz"])
    with canvas(size=(4.8, 4.2)) as (figure, (panel,)):
        for label, colour, size in (("network", NETWORK[0], 2.0), ("teacher", INK, 1.0)):
            for run in runs:
                for s in run.stretches("run"):
                    heights = maxima((s.x if label == "teacher" else s.xhat)[:, 2])
                    panel.plot(heights[:-1], heights[1:], "o", color=colour, ms=size, mew=0)
            panel.plot([], [], "o", color=colour, label=label)
        panel.set(xlabel="maximum of z", ylabel="next maximum of z", xlim=(0, 1.2), ylim=(0, 1.2))
        panel.legend(frameon=False, labelcolor="linecolor")
    return Drawing("return-map", "Return maps of the maxima of z in all free runs.", figure)


def horizons(parts: Parts) -> Drawing:
    """Draw for how long free runs stay close to the teacher: exact, learned, and no drift at all."""
    bars = {run.experiment.network.drift: horizons_s(run) for run in coding_runs(parts["bars"])}
    networks = [horizons_s(run) for run in coding_runs(parts["lorenz"])]
    groups = [("no learning", GREY, bars["learned"]),
              *((f"network {k}", NETWORK[0], of_one) for k, of_one in enumerate(networks, 1)),
              ("exact drift", RUNS[0], bars["exact"])]
    with canvas() as (figure, (panel,)):
        for place, (_, colour, seconds) in enumerate(groups):
            across = place + 0.5 * (np.arange(len(seconds)) / len(seconds) - 0.5)
            panel.plot(across, seconds, "o", color=colour, ms=3.5, alpha=0.7, mew=0)
            panel.plot([place - 0.35, place + 0.35], 2 * [np.median(seconds)], color=colour, lw=2.2)
        panel.set_xticks(range(len(groups)), [name for name, *_ in groups], rotation=30, ha="right")
        panel.set(ylabel="time within 0.3 of the teacher [s]", ylim=(0, None))
    return Drawing("horizon", "How long free runs stay close to the teacher; bars are medians.", figure)


def drift_learned(parts: Parts) -> Drawing:
    """Draw the error while a network learns."""
    return Drawing("learning", "Error of the readout, and of the learned drift, while the network learns the system of "
                   "Lorenz.", learning(coding_runs(parts["lorenz"])[0]))


def free_states(parts: Parts) -> Drawing:
    """Draw a free run of a network with two states beside the teacher."""
    run = coding_runs(parts["bistable"])[0]
    return Drawing("two-states", "A network that has learned two states switches between them at pulses of its input, "
                   "as the teacher does.", free_runs(run, list(run.stretches("run"))[:1]))


def efficiency(parts: Parts) -> Drawing:
    """Draw tracking errors against N, with those of Poisson neurons."""
    sizes, of_size = by(coding_runs(parts["codes"]), lambda run: run.experiment.network.size)
    with canvas() as (figure, (panel,)):
        lines = ((tracking_error, "network", NETWORK[0], -1.0), (poisson_error, "Poisson neurons", INK, -0.5))
        for measure, name, colour, exponent in lines:
            errors = np.array([[measure(run) for run in runs] for runs in of_size])
            panel.plot(sizes, errors, "o", color=colour, ms=5)
            middle = float(np.exp(np.log(errors).mean())) * (np.array(sizes) / np.exp(np.log(sizes).mean())) ** exponent
            panel.plot(sizes, middle, color=colour, lw=1.0)
            panel.annotate(f"{name}\n$N^{{{exponent:g}}}$", (sizes[-1], middle[-1]), (8, 0), color=colour, va="center",
                           textcoords="offset points", weight="bold")
        panel.set(xscale="log", yscale="log", xlabel="N", ylabel="tracking error", xlim=(None, 1.8 * sizes[-1]))
        panel.set_xticks(sizes, [f"{size:g}" for size in sizes])
        panel.set_xticks([], minor=True)
    return Drawing("efficiency", "Error of the readout at a fixed rate a neuron, against N, with the slopes of theory.",
                   figure)


def spikes(parts: Parts) -> Drawing:
    """Draw the spikes of a network that runs freely."""
    return Drawing("spikes", "Spikes of a network on Lorenz's attractor; neurons are in the order of their decoding "
                   "vectors.", raster(coding_runs(parts["lorenz"])[0]))


def balanced_currents(parts: Parts) -> Drawing:
    """Draw excitation and inhibition in a neuron."""
    return Drawing("balance", "Currents into one neuron of a network on Lorenz's attractor: inhibition follows "
                   "excitation.", currents(coding_runs(parts["lorenz"])[0]))


def variability(parts: Parts) -> Drawing:
    """Draw how irregular the spike trains of single neurons are."""
    with canvas() as (figure, (panel,)):
        for part, label, colour in (("lorenz", "Lorenz", NETWORK[0]), ("bistable", "two states", RUNS[0])):
            cv2 = np.concatenate([run.local_irregularities(next(run.stretches("run")).stage)
                                  for run in coding_runs(parts[part])])
            panel.stairs(*np.histogram(cv2, np.linspace(0.0, 2.0, 41), density=True), color=colour, lw=1.6, label=label)
        panel.axvline(1.0, color=GREY, lw=1.0, ls="--")
        panel.annotate("Poisson", (1.0, 1.0), (4, -4), panel.get_xaxis_transform(), textcoords="offset points",
                       color=GREY, fontsize=9, va="top")
        panel.set(xlabel="CV2 of a neuron's intervals", ylabel="density")
        panel.legend(frameon=False)
    return Drawing("variability", "Irregularity of single neurons in the first free run of each network: near that of "
                   "Poisson processes, as in the brain.", figure)


def noise(parts: Parts) -> Drawing:
    """Draw errors and rates against the noise."""
    runs = coding_runs(parts["bistable"]) + coding_runs(parts["noisy"])
    levels, of_level = by(runs, lambda run: run.experiment.network.noise)
    with canvas((1, 1), (5.8, 4.6)) as (figure, (above, below)):
        for panel, measure, name in ((above, free_error, "error"), (below, free_rate_hz, "rate [Hz]")):
            for level, of_one in zip(levels, of_level, strict=True):
                panel.plot([level] * len(of_one), [measure(run) for run in of_one], "o", color=NETWORK[0], ms=5, mew=0)
            panel.plot(levels, [np.mean([measure(run) for run in of_one]) for of_one in of_level], color=NETWORK[0])
            panel.set(ylim=(0, None), ylabel=name)
        below.set_xlabel("noise [thresholds]")
    return Drawing("noise", "Free runs of networks with two states: noise costs spikes, not accuracy.", figure)


def loss(parts: Parts) -> Drawing:
    """Draw what is left of Lorenz's attractor when neurons have died."""
    runs = coding_runs(parts["lorenz"]) + coding_runs(parts["bereft_of_chaos"])
    fractions, of_fraction = by(runs, _fraction_dead)
    with canvas((1, 1), (5.8, 4.6)) as (figure, (above, below)):
        for fraction, of_one in zip(fractions, of_fraction, strict=True):
            found = [attractor(run) for run in of_one]
            for panel, values in ((above, [a.distances.mean() for a in found]),
                                  (below, [a.switch_rates_hz.mean() for a in found])):
                panel.plot([fraction] * len(found), values, "o", color=NETWORK[0], ms=5, mew=0)
        above.axhline(0.05, color=GREY, lw=1.0, ls="--")
        below.axhspan(0.4, 0.8, color=GREY, alpha=0.15, lw=0)
        above.set(ylim=(0, None), ylabel="distance of return maps")
        below.set(ylim=(0, 1), ylabel="switches [Hz]", xlabel="fraction of neurons that died after learning")
    return Drawing("loss", "Free runs of networks of which a part has died; below the dashed line, and in the shade, "
                   "they are on Lorenz's attractor.", figure)


FIGURES = (attractors, free_chaos, return_maps, horizons, drift_learned, free_states, spikes, variability, efficiency,
           noise, loss, balanced_currents)


def _fraction_dead(run: CodingRun) -> float:
    return sum(death.fraction or 0.0 for death in run.experiment.deaths.values())
