"""What the inputs of an experiment do along its run, looked at before it begins: rates, currents, recorded spikes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mpi_engine.experiment.consistency import MAX_STEPS
from mpi_engine.experiment.data import Data, DataError, SampledRate, SpikeTrains, resolve
from mpi_engine.experiment.experiment import Experiment
from mpi_engine.experiment.formula import Floats, evaluate
from mpi_engine.experiment.inputs import Current, Poisson
from mpi_engine.experiment.problems import Problem

_STEPS_AT_ONCE = 2**18


def rate_of(source: Poisson, data: Data | None) -> Callable[[Floats], Floats]:
    """Make the rate of a Poisson input [Hz] a function of times [ms]; before and after its samples it is constant."""
    if isinstance(data, SampledRate):
        return lambda t_ms: np.interp(t_ms, data.times_ms, data.rates_hz)
    rate_hz = source.rate_hz
    assert rate_hz is not None
    return lambda t_ms: evaluate(rate_hz, t_ms)


def times_of(steps: NDArray[np.int64], dt_ms: float) -> Floats:
    """Give the times at which some steps end [ms]."""
    return steps * np.float64(dt_ms)


def steps_of(times_ms: Floats, dt_ms: float) -> Floats:
    """Find the first step that ends at or after each of some times, up to rounding; 1 is the first of all."""
    exact = times_ms / dt_ms
    return np.maximum(np.ceil(exact - np.minimum(1e-9 * exact, 1e-3)), 1.0)


def resolve_inputs(experiment: Experiment, directory: Path) -> tuple[Experiment, dict[str, Data], list[Problem]]:
    """Read the data files of the inputs; see `mpi_engine.experiment.data.resolve`.

    Returns
    -------
    experiment : Experiment
        With its inputs resolved. Those that cannot be are left out.
    data : dict
        What the files hold, by input.
    problems : list of Problem
        One for each input that is left out.
    """
    inputs = dict(experiment.inputs)
    data: dict[str, Data] = {}
    problems: list[Problem] = []
    for name, source in experiment.trains.items():
        try:
            inputs[name], found = resolve(source, directory)
        except DataError as error:
            given = getattr(source, error.key)
            shown = "" if given is None else repr(given)
            problems.append(Problem(f"inputs.{name}.{error.key}", shown, str(error)))
            del inputs[name]
        else:
            if found is not None:
                data[name] = found
    return experiment.model_copy(update={"inputs": inputs}), data, problems


def follow_inputs(experiment: Experiment, data: Mapping[str, Data]) -> tuple[dict[str, float], list[Problem]]:
    """Go through the inputs from the first step to the last.

    Parameters
    ----------
    experiment : Experiment
        With its inputs resolved.
    data : mapping
        What their files hold.

    Returns
    -------
    volleys : dict of str to float
        Most spikes of a train in one step, by input; for a Poisson process, six standard deviations above the mean.
    problems : list of Problem
        Rates and currents that are out of range at some time.
    """
    volleys: dict[str, float] = {}
    problems: list[Problem] = []
    e, dt = experiment, experiment.run.dt_ms
    for name, source in e.trains.items():
        found = data.get(name)
        if isinstance(found, SpikeTrains):
            volleys[name] = _recorded_volley(e, found)
        elif isinstance(source, Poisson):
            problems += _problems_of_samples(e, name, source, found)
            highest, wrong = _follow_rate(e, name, source, rate_of(source, found))
            problems += wrong
            expected = min(highest * 1e-3 * dt, 1.0)
            volleys[name] = 1 + expected + 6 * expected**0.5
    for name, current in e.currents.items():
        problems += _problems_of_current(e, name, current)
    return volleys, problems


def _times(e: Experiment, first: int, last: int) -> Iterator[Floats]:
    """Give the times of the steps after one, up to another [ms], some at a time; none of a run that is refused."""
    last = min(last, e.n_steps) if e.n_steps <= MAX_STEPS else first
    for begin in range(first, last, _STEPS_AT_ONCE):
        yield times_of(np.arange(begin + 1, min(begin + _STEPS_AT_ONCE, last) + 1), e.run.dt_ms)


def _problems_of_samples(e: Experiment, name: str, source: Poisson, data: Data | None) -> Iterator[Problem]:
    if not isinstance(data, SampledRate):
        return
    begin, end, duration = data.times_ms[0], data.times_ms[-1], e.run.duration_ms
    key, given = f"inputs.{name}.rate_file", repr(source.rate_file)
    if begin > 0:
        yield Problem(key, given, f"begins at {begin:g} ms; add a sample at 0 ms or before")
    if end < duration:
        remedy = f"ends at {end:g} ms, before the run does at {duration:g} ms; add samples, or shorten the run"
        yield Problem(key, given, remedy)


def _follow_rate(
    e: Experiment, name: str, source: Poisson, rate: Callable[[Floats], Floats]
) -> tuple[float, list[Problem]]:
    """Find the highest value of a rate [Hz], and the first time at which it is wrong, if any."""
    highest, most = 0.0, 1e3 / e.run.dt_ms
    key = "rate_file" if source.rate_hz is None else "rate_hz"
    given = getattr(source, key)
    for times in _times(e, 0, 1 if source.constant_rate_hz is not None else e.n_steps):
        values = rate(times)
        if not (within := (values >= 0) & (values <= most)).all():
            first = int(np.argmin(within))
            value, when = values[first], times[first]
            if value > most and np.isfinite(value):
                remedy = f"above a spike in each step of {e.run.dt_ms:g} ms; lower it, or give the input more trains"
            else:
                remedy = "which is no rate; keep it finite, and at 0 or above as max(0, ...) does"
            shown = repr(given) if isinstance(given, str) else f"{given:g}"
            return highest, [Problem(f"inputs.{name}.{key}", shown, f"is {value:g} Hz at t = {when:g} ms, {remedy}")]
        highest = max(highest, float(values.max()))
    return highest, []


def _problems_of_current(e: Experiment, name: str, current: Current) -> Iterator[Problem]:
    formula = current.amplitude_mv_per_ms
    if not isinstance(formula, str):
        return
    last = e.n_steps if current.stop_ms is None else e.steps(current.stop_ms)
    for times in _times(e, e.steps(current.start_ms), last):
        values = evaluate(formula, times)
        if not (finite := np.isfinite(values)).all():
            first = int(np.argmin(finite))
            remedy = f"is {values[first]:g} at t = {times[first]:g} ms; give a formula that is finite while it acts"
            yield Problem(f"inputs.{name}.amplitude_mv_per_ms", repr(formula), remedy)
            return


def _recorded_volley(e: Experiment, trains: SpikeTrains) -> float:
    steps = steps_of(trains.times_ms, e.run.dt_ms)
    inside = steps <= min(e.n_steps, MAX_STEPS)
    pairs = steps[inside].astype(np.int64) * trains.least_size + trains.ids[inside]
    return float(np.unique(pairs, return_counts=True)[1].max(initial=1))
