"""What the study measures in a run, and in runs side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.confidence import Interval, t_interval
from analysis.findings import Findings
from analysis.runs import Run
from analysis.studies.study import finished
from analysis.sweeps import Sweep
from analysis.theory.plasticity import fixed_point
from mpi_engine.experiment import Experiment, Poisson

Array = NDArray[np.float64]

BLOCKS = 10

CORRELATION = "inputs.X.correlation"
INHIBITION = "projections.I_to_E.weight_mv"


def rules_of(run: Run) -> str:
    """Name the rules that act in a run."""
    return " + ".join(name for p in run.experiment.plastic.values() for name in p.rules) or "no plasticity"


def input_of(run: Run) -> Poisson:
    """Describe the feedforward input of a run."""
    source = run.experiment.trains["X"]
    assert isinstance(source, Poisson)
    return source


def networks(part: Sweep) -> dict[str, list[Run]]:
    """Sort runs by the rules that act in them, those with correlated input apart."""
    found: dict[str, list[Run]] = defaultdict(list)
    for run in part.runs.values():
        c = input_of(run).correlation
        found[rules_of(run) + f", c = {c:g}" * (c > 0)].append(run)
    return dict(found)


def by_size(runs: Iterable[Run]) -> dict[int, list[Run]]:
    """Sort runs by the size of their network, those of a size by their seeds."""
    found: dict[int, list[Run]] = defaultdict(list)
    for run in sorted(finished(runs), key=lambda run: run.experiment.n_neurons):
        found[run.experiment.n_neurons].append(run)
    return dict(found)


def table(runs: dict[int, list[Run]], measure: Callable[[Run], float]) -> Array:
    """Measure runs by size and seed [S, R]."""
    return np.array([[measure(run) for run in seeds] for seeds in runs.values()])


def largest(runs: Iterable[Run]) -> list[Run]:
    """Give the runs of the largest network."""
    return list(by_size(runs).values())[-1]


def over_seeds(runs: Sequence[Run], measure: Callable[[Run], float]) -> Interval:
    """Measure each run, and average over their seeds."""
    return t_interval([measure(run) for run in finished(runs)])


def mean_between(run: Run, population: str, variable: str | None, start_ms: float, stop_ms: float) -> float:
    """Average the rate [Hz] or the mean of a variable of a (sub)population over an interval."""
    rates = run.rates(population)
    inside = (rates.times_ms >= start_ms) & (rates.times_ms < stop_ms)
    series = rates.rate_hz if variable is None else rates.means[variable]
    return float(series[inside].mean())


def net_share(run: Run, population: str = "E", start_ms: float | None = None, stop_ms: float | None = None) -> float:
    """Mean net input as a share of excitation, recurrent and feedforward; after the burn-in if no interval is given."""
    start, stop = run.start_ms if start_ms is None else start_ms, run.stop_ms if stop_ms is None else stop_ms
    currents = ("I_total", "I_excitatory", "I_feedforward")
    net, recurrent, feedforward = (mean_between(run, population, current, start, stop) for current in currents)
    return abs(net) / (recurrent + feedforward)


def rate_hz(run: Run, population: str = "E") -> float:
    """Mean rate after the burn-in [Hz]."""
    return mean_between(run, population, None, run.start_ms, run.stop_ms)


def input_rate_hz(run: Run) -> float:
    """Realised rate of the feedforward input after the burn-in [Hz]."""
    return float(run.firing_rates_hz("X").mean())


def mean_weight(run: Run, projection: str) -> float:
    """Mean weight after the burn-in, averaged over time [mV, as named]."""
    weights = run.weights(projection)
    return float(weights.mean[weights.time_ms > run.start_ms].mean() / weights.scale)


def felt_weight(run: Run, projection: str) -> float:
    """Rate-weighted mean weight <J r>/<r> after the burn-in [mV, as named]."""
    return Findings(run).felt_weight_mv(projection)


def in_blocks(series: Array) -> Array:
    """Average a series over consecutive blocks of time [BLOCKS]."""
    return np.array([block.mean() for block in np.array_split(series, BLOCKS)])


def over_time(series: Array) -> Interval:
    """Average a series, with a t interval over blocks of time."""
    return t_interval(in_blocks(series))


def at_realised_input(run: Run) -> Experiment:
    """Describe a run with the rate that its input had after the burn-in."""
    e = run.experiment
    realised = input_of(run).model_copy(update={"rate_hz": input_rate_hz(run)})
    return e.model_copy(update={"inputs": {**e.inputs, "X": realised}})


def predicted_weight(run: Run, projection: str, with_net_input: bool = False) -> float:
    """Fixed point of a mean weight at the realised input rate, with or without the net input that the run has [mV].

    It is sought from the measured weight: from an initial one that is out of balance there is no theory to begin with.
    """
    e = at_realised_input(run)
    found = e.projections[projection].model_copy(update={"weight_mv": felt_weight(run, projection)})
    e = e.model_copy(update={"projections": {**e.projections, projection: found}})
    net: Array | float = 0.0
    if with_net_input:
        net = np.array([mean_between(run, a, "I_total", run.start_ms, run.stop_ms) for a in e.populations])
    return fixed_point(e, net).weights_mv[projection]
