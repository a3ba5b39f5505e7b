"""The claims of Alemi, Machens, Denève & Slotine (2018), each with what is expected and what is measured.

The paper's words have no numbers: what is expected are bounds that a network which does not do what they say would
miss. Intervals are Student's over networks, exact ones of shares of pulses, or a bootstrap over free runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.coding import CodingRun
from analysis.confidence import Interval, bootstrap, t_interval
from analysis.scaling import exponent
from analysis.studies.alemi2017.measures import (
    States,
    attractor,
    coding_runs,
    free_error,
    free_rate_hz,
    horizons_s,
    orbit_error,
    poisson_error,
    readout_scatter,
    states,
    survivors,
    tracking_error,
)
from analysis.studies.study import Bounds, Caveat, Claim, Parts

Floats = NDArray[np.float64]

RETURN_MAP, SWITCHES_HZ = Bounds(high=0.05), Bounds(0.4, 0.8)
"""Distance of return maps, and rate at which x changes sign: the teacher's is 0.54 Hz."""

CORRECT = Bounds(low=0.95)
"""Share of states that are the teacher's."""


def chaos(parts: Parts) -> Iterator[Claim]:
    """Lorenz's system is learned: networks that run freely stay close for a second, and on its attractor ever after."""
    topic, runs = "Learns the system of Lorenz", coding_runs(parts["lorenz"])
    oracle, null = (next(run for run in coding_runs(parts["bars"]) if run.experiment.network.drift == drift)
                    for drift in ("exact", "learned"))
    learned = [horizons_s(run) for run in runs]
    starts = f"{len(runs)} networks, each with {len(learned[0])} free runs"
    horizon = bootstrap(_median, np.array(learned))
    yield Claim(topic, "median time for which a free run stays within 0.3 of the teacher", "more than an orbit",
                Bounds(low=1.0), horizon, starts, "s")
    worst, runs_of_bar = bootstrap(_median, np.array(horizons_s(null))), f"{len(horizons_s(null))} free runs"
    yield Claim(topic, "the same without learning", "null", Bounds(high=0.2), worst, runs_of_bar, "s")
    best = bootstrap(_median, np.array(horizons_s(oracle)))
    ratio = Interval(best.value / horizon.value, best.low / horizon.high, best.high / horizon.low, np.nan)
    yield Claim(topic, "the same with the exact drift, over that learned", "oracle: what spikes can do at best",
                Bounds(low=1.0), ratio, f"{runs_of_bar}, and {starts}")
    yield Claim(topic, "relative error of the learned drift", "a tenth", Bounds(high=0.1),
                t_interval([run.drift_error for run in runs]), _networks(runs))
    found = [attractor(run) for run in runs]
    yield Claim(topic, "largest relative error of a coordinate's standard deviation", "a tenth", Bounds(high=0.1),
                t_interval([a.spread for a in found]), _networks(runs))
    yield Claim(topic, "distance of the return maps of z", "of its range, 1.1", RETURN_MAP,
                t_interval([a.distances.mean() for a in found]), _networks(runs))
    yield Claim(topic, "switches between the wings", "teacher: 0.54 Hz", SWITCHES_HZ,
                t_interval([a.switch_rates_hz.mean() for a in found]), _networks(runs), "Hz")


def two_states(parts: Parts) -> Iterator[Claim]:
    """Two stable states are learned, and switched between by pulses of the input."""
    topic, runs = "Learns two stable states", coding_runs(parts["bistable"])
    found = [states(run) for run in runs]
    yield Claim(topic, "states after a pulse that are the teacher's", "19 of 20", CORRECT, *_share(found))
    for name, expected, values in (("lower", -1.0, [s.low for s in found]), ("upper", 1.0, [s.high for s in found])):
        yield Claim(topic, f"{name} state", "teacher, to a tenth", Bounds.around(expected, reach=0.1),
                    t_interval(values), _networks(runs))


def with_defaults(parts: Parts) -> Iterator[Claim]:
    """Other systems are learned with defaults, which follow from the teacher's scale alone."""
    systems: dict[str, list[CodingRun]] = {}
    for run in coding_runs(parts["defaults"]):
        systems.setdefault(run.experiment.teacher.kind, []).append(run)
    for name, runs in systems.items():
        what = f"{name.replace('_', ' ')}: distance of a free run's orbit from the teacher's, over its size"
        found = t_interval([orbit_error(run) for run in runs])
        yield Claim("Learns other systems with defaults", what, "a tenth", Bounds(high=0.1), found, _networks(runs))


def local_rule(parts: Parts) -> Iterator[Claim]:
    """The rule is local: a weight for every synapse, changed by what it can know, gives the same network."""
    topic = "With a local rule"
    forms = {run.experiment.learning.form: run for run in coding_runs(parts["forms"])}
    factored, by_synapse = forms["factored"], forms["per_synapse"]
    steps = f"{factored.experiment.n_steps} steps"
    spikes = [run.reader.spikes("coding") for run in (factored, by_synapse)]
    same = len(spikes[0].ids) == len(spikes[1].ids) and all(
        np.array_equal(a, b) for a, b in ((spikes[0].times_ms, spikes[1].times_ms), (spikes[0].ids, spikes[1].ids)))
    what = "spikes that are the same with presynaptic activity and the neuron's own feedback alone as with all errors"
    yield Claim(topic, what, "W = Theta D", Bounds(1, 1), _known(float(same and len(spikes[0].ids) > 500)), steps)
    theta, W = factored.reader.slow_weights().theta, by_synapse.reader.slow_weights().W
    assert theta is not None
    assert W is not None
    difference = np.abs(W[-1] - theta[-1] @ factored.reader.network()["decoder"].T).max() / np.abs(W[-1]).max()
    yield Claim(topic, "largest difference of their weights, over the largest weight", "rounding", Bounds(high=1e-9),
                _known(float(difference)), steps)


def few_spikes(parts: Parts) -> Iterator[Claim]:
    """Very few neurons and spikes suffice: the error falls as 1/N, where that of Poisson neurons falls as the root."""
    topic, runs = "With few neurons and spikes", coding_runs(parts["lorenz"])
    ratio = t_interval([tracking_error(run) / poisson_error(run) for run in runs])
    yield Claim(topic, "tracking error over that of Poisson neurons of equal rates", "a tenth", Bounds(high=0.1), ratio,
                _networks(runs))
    sizes, of_size = by(coding_runs(parts["codes"]), lambda run: run.experiment.network.size)
    codes = (("tracking error", tracking_error, -1.0), ("error of Poisson neurons", poisson_error, -0.5))
    for name, measure, value in codes:
        errors = [[measure(run) for run in runs] for runs in of_size]
        yield Claim(topic, f"exponent of N in the {name}, at a fixed rate a neuron", "theory",
                    Bounds.around(value, reach=0.15), exponent(sizes, errors), f"{len(of_size[0])} seeds")


def variability(parts: Parts) -> Iterator[Claim]:
    """Spike trains are as variable as those of the brain, though the readout is not."""
    topic = "As variable as experiments"
    chaotic, switching, repeated = (coding_runs(parts[name]) for name in ("lorenz", "bistable", "trials"))
    for name, runs in (("Lorenz", chaotic), ("two states", switching)):
        free = [next(run.stretches("run")) for run in runs]
        local = t_interval([run.local_irregularities(f.stage).mean() for run, f in zip(runs, free, strict=True)])
        yield Claim(topic, f"CV2 of intervals, {name}", "1 is Poisson's", Bounds(0.8, 1.3), local, _networks(runs))
        active = t_interval([run.irregularity(f) for run, f in zip(runs, free, strict=True)])
        yield Claim(topic, f"CV of intervals in active epochs, {name}", "1 is Poisson's", Bounds(0.8, 1.3), active,
                    _networks(runs))
    fano = t_interval([run.trial_fano(1000.0) for run in repeated])
    yield Claim(topic, "Fano factor over trials with the same input", "1 is Poisson's", Bounds(0.7, 1.4), fano,
                _networks(repeated))
    scatter = t_interval([readout_scatter(run) for run in repeated])
    yield Claim(topic, "scatter of the readout over the same trials, over what one spike adds", "less than a spike",
                Bounds(high=1.0), scatter, _networks(repeated))


def noise(parts: Parts) -> Iterator[Claim]:
    """Noise costs spikes, not accuracy: networks learn and run with up to 0.4 thresholds of it."""
    topic = "Robust to noise"
    every = coding_runs(parts["bistable"]) + coding_runs(parts["noisy"])
    levels, of_level = by(every, lambda run: run.experiment.network.noise)
    seeds = min(map(len, of_level))
    usual, pairs = of_level[levels.index(0.1)][:seeds], f"{seeds} pairs of networks"
    for level, runs in zip(levels, of_level, strict=True):
        if level > 0.4 or level == 0.1:
            continue
        name = f"noise of {level:g} thresholds"
        yield Claim(topic, f"{name}: states after a pulse that are the teacher's", "19 of 20", CORRECT,
                    *_share([states(run) for run in runs]))
        ratio = [free_error(run) / free_error(other) for run, other in zip(runs, usual, strict=True)]
        yield Claim(topic, f"{name}: error over that at 0.1", "a tenth more at most", Bounds(high=1.1),
                    t_interval(ratio), pairs)
    most = of_level[levels.index(0.4)]
    price = [free_rate_hz(run) / free_rate_hz(other) for run, other in zip(most, usual, strict=True)]
    yield Claim(topic, "noise of 0.4 thresholds: rate over that at 0.1", "the price", Bounds(low=1.0),
                t_interval(price), pairs)


def loss(parts: Parts) -> Iterator[Claim]:
    """Half of the neurons may die after learning: the others carry on, and learn nothing anew."""
    topic = "Robust to loss of neurons"
    fractions, of_fraction = by(coding_runs(parts["bereft_of_states"]), _fraction)
    for fraction, runs in zip(fractions, of_fraction, strict=True):
        yield Claim(topic, f"{fraction:.0%} die: states after a pulse that are the teacher's", "19 of 20", CORRECT,
                    *_share([states(run) for run in runs]))
    yield _dead_are_silent(topic, of_fraction[-1])
    for fraction, runs in zip(*by(coding_runs(parts["bereft_of_chaos"]), _fraction), strict=True):
        found = [attractor(run) for run in runs]
        yield Claim(topic, f"{fraction:.0%} die: distance of the return maps of z", "Lorenz", RETURN_MAP,
                    t_interval([a.distances.mean() for a in found]), _networks(runs))
        yield Claim(topic, f"{fraction:.0%} die: switches between the wings", "Lorenz", SWITCHES_HZ,
                    t_interval([a.switch_rates_hz.mean() for a in found]), _networks(runs), "Hz")


def _dead_are_silent(topic: str, runs: Sequence[CodingRun]) -> Claim:
    alive = max(survivors(run) / run.experiment.n_neurons for run in runs)
    return Claim(topic, "share of neurons that spike after half have died, at most", "the living", Bounds(high=0.5),
                 _known(alive), _networks(runs))


def balance(parts: Parts) -> Iterator[Claim]:
    """Excitation and inhibition are tightly balanced in every neuron, but for single spikes."""
    topic = "Tightly balanced"
    found = {name: [run.balance(next(run.stretches("run")).stage) for run in coding_runs(parts[part])]
             for name, part in (("Lorenz", "lorenz"), ("two states, N = 50", "bistable"),
                                ("two states, N = 100", "larger"))}
    correlations = {name: [float(np.median(b.correlation)) for b in balances] for name, balances in found.items()}
    lost = 1 - float(np.mean(correlations["two states, N = 100"]))
    few = Caveat(
        f"a single spike, which nothing balances, is a part of the currents that falls as 1/N: at N = 100 the "
        f"correlation is {lost:.3f} below one, at N = 50 at most twice that", Bounds(low=1 - 2 * lost))
    for name, balances in found.items():
        over = f"{len(balances)} networks"
        yield Claim(topic, f"{name}: correlation of E with -I, median over neurons", "0.8", Bounds(low=0.8),
                    t_interval(correlations[name]), over, caveat=few if name.endswith("N = 50") else None)
        yield Claim(topic, f"{name}: mean size of net over total current, median", "0.2", Bounds(high=0.2),
                    t_interval([np.median(b.net_over_total) for b in balances]), over)


CLAIMS = (chaos, two_states, with_defaults, local_rule, few_spikes, variability, noise, loss, balance)


def by(runs: Iterable[CodingRun], key: Callable[[CodingRun], float]) -> tuple[list[float], list[list[CodingRun]]]:
    """Put runs together that have a setting in common: its values, ascending, and the runs of each."""
    groups = [(value, list(of_value)) for value, of_value in groupby(sorted(runs, key=key), key)]
    return [value for value, _ in groups], [of_value for _, of_value in groups]


def _fraction(run: CodingRun) -> float:
    fraction = run.experiment.deaths["some"].fraction
    assert fraction is not None
    return fraction


def _share(found: Sequence[States]) -> tuple[Interval, str]:
    """Share of correct states over all pulses, with its exact interval, and what that is over."""
    correct, pulses = sum(s.correct for s in found), sum(s.pulses for s in found)
    test = stats.binomtest(correct, pulses)
    limits = test.proportion_ci()
    error = float(np.sqrt(test.statistic * (1 - test.statistic) / pulses))
    return Interval(test.statistic, limits.low, limits.high, error), f"{pulses} pulses, {len(found)} networks"


def _median(values: NDArray[np.generic]) -> float:
    return float(np.median(np.asarray(values, np.float64)))


def _known(value: float) -> Interval:
    return Interval(value, value, value, 0.0)


def _networks(runs: Sequence[CodingRun]) -> str:
    return f"{len(runs)} networks"
