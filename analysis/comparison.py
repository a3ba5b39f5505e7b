"""Measured beside predicted: what a run shows, what theory says from the experiment alone, and a verdict.

One rule for all: a measurement agrees if it is within the predicted range, give or take three standard errors or 2 %,
whichever is more; what follows from other measurements of the same run by an identity closes to 1 %. Theory gets the realised rates of the inputs, so these are a covariate in the standard errors too;
covariances, which all pairs share, have the error sqrt(2 / (W - 1)) of a variance. Where theory needs the net input
that is left at finite size, the prediction spans all values from zero (large N) to the rheobase.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, pairwise, product
from math import isfinite

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from analysis.correlations import block_error, common_mode_error, pair_statistics
from analysis.spikes import trace_average, window_counts
from analysis.theory.balance import NoBalance, balanced_rates, mean_field, mean_in_degree, rheobase
from analysis.theory.covariance import asynchronous_count_covariance, correlated_count_covariance
from analysis.theory.plasticity import FixedPoint, fixed_point
from analysis.weights import arrival_rate, charge, effective_weight, own_current
from mpi_engine.experiment import Experiment, Homeostatic
from mpi_engine.output.reader import RunReader

Array = NDArray[np.float64]

WINDOW_MS = 250.0
BLOCKS = 10
FINEST = 0.02
CLOSURE = 0.01


@dataclass(frozen=True)
class Estimate:
    """A measured value and its standard error, NaN if unknown."""

    value: float
    error: float = np.nan


@dataclass(frozen=True)
class Range:
    """What theory expects: from `low` to `high`, which are equal for a number, give or take `tolerance`."""

    low: float
    high: float
    tolerance: float

    def holds(self, value: float) -> bool:
        """Say whether a value is within the range and its tolerance."""
        return self.low - self.tolerance <= value <= self.high + self.tolerance

    def __str__(self) -> str:
        """Format the range without its tolerance: "10.0" or "20.4 to 23.5"."""
        low, high = number(self.low), number(self.high)
        return low if low == high else f"{low} to {high}"


@dataclass(frozen=True)
class Line:
    """One quantity, measured in each run, beside its prediction.

    Parameters
    ----------
    group, quantity, unit : str
        Heading, name and unit.
    measured : tuple of Estimate
        One a run.
    predicted : tuple of Range
        One a run; empty where theory has no answer.
    note : str
        Where the prediction comes from, or why there is none.
    """

    group: str
    quantity: str
    unit: str
    measured: tuple[Estimate, ...]
    predicted: tuple[Range, ...]
    note: str = ""

    @property
    def verdict(self) -> str:
        """One of "agrees", "differs", "not measured", "no prediction"."""
        if not all(isfinite(estimate.value) for estimate in self.measured):
            return "not measured"
        if not self.predicted:
            return "no prediction"
        pairs = zip(self.measured, self.predicted, strict=True)
        return "agrees" if all(expected.holds(estimate.value) for estimate, expected in pairs) else "differs"

    @property
    def prediction(self) -> str:
        """The prediction as text, the runs' apart where they differ, with the widest tolerance."""
        if not self.predicted:
            return "–"     # noqa: RUF001
        tolerance = max(expected.tolerance for expected in self.predicted)
        return f"{' | '.join(dict.fromkeys(map(str, self.predicted)))} ± {number(tolerance, 2)}"


def number(value: float, digits: int = 3) -> str:
    """Format with significant digits, trailing zeros kept and never in powers of ten."""
    if not isfinite(value) or value == 0:
        return "0" if value == 0 else "–"
    decimals = max(0, digits - 1 - int(np.floor(np.log10(abs(value)))))
    return f"{value:.{decimals}f}".replace("-", "−")     # noqa: RUF001


class Findings:
    """What compare needs of one run, each thing measured or solved once.

    Parameters
    ----------
    run : RunReader
        A run with the rates of all populations recorded.
    burn_in : float
        Share of the recorded time that is left out.
    """

    def __init__(self, run: RunReader, burn_in: float = 0.5) -> None:
        self.run = run
        self.experiment: Experiment = run.experiment
        self.stop_ms = run.recorded_ms
        self.start_ms = burn_in * self.stop_ms
        e = self.experiment
        self.input_rates_hz = {
            name: self._realised_rate(name) for name in e.trains if name in e.recording.spikes
        }
        self.states, self.no_balance = self._states()

    def _realised_rate(self, name: str) -> float:
        times = self.run.spikes(name).times_ms
        count = np.count_nonzero((times > self.start_ms) & (times <= self.stop_ms))
        return 1e3 * count / self.experiment.sizes[name] / (self.stop_ms - self.start_ms)

    def _states(self) -> tuple[list[FixedPoint], str]:
        """Solve theory at the realised input rates, without net input and at the corners of what it can be."""
        e = self.experiment
        inputs = {
            name: source.model_copy(update={"rate_hz": self.input_rates_hz.get(name, source.rate_hz)})
            for name, source in e.trains.items()
        }
        realised = e.model_copy(update={"inputs": {**e.inputs, **inputs}})
        bounds = [(0.0, rheobase(e.neurons[population.neuron])) for population in e.populations.values()]
        states, reason = [], ""
        for corner in product(*bounds):
            try:
                states.append(fixed_point(realised, np.array(corner)))
            except NoBalance as error:
                if not any(corner):
                    return [], str(error)
        return states, reason

    def series(self, population: str, variable: str | None = None) -> Array:
        """Population rate [Hz], or mean of a variable, in the bins after the burn-in."""
        rates = self.run.rates(population)
        values: Array = rates.rate_hz if variable is None else rates.means[variable]
        return values[rates.times_ms >= self.start_ms]

    def mean(self, population: str, variable: str | None = None) -> Estimate:
        """Average a series over time."""
        values = self.series(population, variable)
        return Estimate(float(values.mean()), self.error(values))

    def error(self, values: Array) -> float:
        """Standard error of the mean of a series of equal bins, the inputs' realised rates being a covariate."""
        edges = np.linspace(self.start_ms, self.stop_ms, BLOCKS + 1)
        known = [np.histogram(self.run.spikes(name).times_ms, edges)[0] for name in self.input_rates_hz]
        return block_error(values, BLOCKS, known)

    def rate_hz(self, name: str) -> float:
        """Measured rate of a population, or realised rate of an input [Hz]."""
        if name in self.experiment.populations:
            return self.mean(name).value
        return self.input_rates_hz.get(name, self.experiment.trains[name].rate_hz)

    def span(self, of_state: Callable[[FixedPoint], float]) -> tuple[float, float] | None:
        """Lowest and highest value of something over all possible net inputs; None without a balanced state."""
        values = [of_state(state) for state in self.states]
        return (min(values), max(values)) if values else None


def compare(runs: Sequence[RunReader]) -> list[Line]:
    """Lay what runs of one network show beside what theory predicts.

    Parameters
    ----------
    runs : sequence of RunReader
        Runs with the same populations and projections; spikes and rates recorded. The first half of each is burn-in.

    Returns
    -------
    list of Line
        Rates, currents by population, spike-count covariances, weights.

    Raises
    ------
    RunError
        If a recorder that is needed was off.
    """
    found = [Findings(run) for run in runs]
    return [*_rates(found), *_currents(found), *_covariances(found), *_weights(found)]


def _line(
    found: list[Findings],
    names: tuple[str, str, str],
    measure: Callable[[Findings], Estimate],
    predict: Callable[[Findings], tuple[float, float] | None],
    note: str,
    identity: bool = False,
) -> Line:
    measured = tuple(measure(f) for f in found)
    ranges = []
    for f, estimate in zip(found, measured, strict=True):
        answer = predict(f)
        if answer is None:
            return Line(*names, measured, (), f.no_balance or "no balanced state with the measured net inputs")
        largest = max(abs(answer[0]), abs(answer[1]))
        known = 3 * estimate.error if isfinite(estimate.error) else 0.0
        tolerance = CLOSURE * largest if identity else max(known, FINEST * largest)
        ranges.append(Range(answer[0], answer[1], tolerance))
    return Line(*names, measured, tuple(ranges), note)


def _rates(found: list[Findings]) -> Iterator[Line]:
    e = found[0].experiment
    group = "Firing rates"
    for a in e.populations:
        yield _line(
            found,
            (group, f"{a}", "Hz"),
            lambda f, a=a: f.mean(a),
            lambda f, a=a: f.span(lambda state: state.rates_hz[a]),
            "balance, for any net input up to the rheobase",
        )
    for a in e.populations:
        yield _line(
            found,
            (group, f"{a}, from the net inputs", "Hz"),
            lambda f, a=a: f.mean(a),
            lambda f, a=a: _closed_rate(f, a),
            "balance, with the measured net inputs and ⟨J r⟩/⟨r⟩",
            identity=True,
        )
    for name, p in e.plastic.items():
        rule = e.plasticity[p.plasticity or ""]
        if isinstance(rule, Homeostatic) and {p.source, p.target} <= set(e.recording.spikes):
            yield _line(
                found,
                (group, f"{p.target}, as its plasticity sees it", "Hz"),
                lambda f, name=name: _rate_seen(f, name),
                lambda f, target=rule.target_rate_hz: (target, target),
                "target of the rule, met by ⟨x S⟩ of pairs rather than by the rate itself",
            )


def _closed_rate(f: Findings, population: str) -> tuple[float, float] | None:
    e = f.experiment
    acting = {}
    for name, p in e.projections.items():
        weight = effective_weight(f.run, name, f.start_ms) if name in e.plastic else p.weight_mv
        expected = 1e-3 * mean_in_degree(e, name) * f.rate_hz(p.source)
        acting[name] = weight * charge(e, name) * arrival_rate(f.run, name, f.start_ms) / expected
    net = np.array([f.mean(a, "I_total").value for a in e.populations])
    try:
        rates = balanced_rates(mean_field(e, acting, f.input_rates_hz), net)
    except NoBalance:
        return None
    rate = 1e3 * float(rates[list(e.populations).index(population)])
    return rate, rate


def _rate_seen(f: Findings, projection: str) -> Estimate:
    r"""Rate that a homeostatic rule holds at its target: (<x_j S_k> + <x_k S_j>) / (2 tau <S_k>)."""
    e = f.experiment
    p = e.projections[projection]
    tau_ms = e.plasticity[p.plasticity or ""].tau_ms
    post, pre = f.run.spikes(p.target).times_ms, f.run.spikes(p.source).times_ms
    pairs = e.sizes[p.source] * e.sizes[p.target]

    def seen(start: float, stop: float) -> float:
        times = (tau_ms, e.run.dt_ms, start, stop)
        both = trace_average(post, pre, pairs, *times) + trace_average(pre, post, pairs, *times)
        spikes = np.count_nonzero((pre > start) & (pre <= stop)) / e.sizes[p.source] / (stop - start)
        return 1e3 * both / (2 * tau_ms * spikes) if spikes else np.nan

    edges = np.linspace(f.start_ms, f.stop_ms, BLOCKS + 1).tolist()
    blocks = [seen(start, stop) for start, stop in pairwise(edges)]
    return Estimate(seen(f.start_ms, f.stop_ms), f.error(np.array(blocks)))


def _currents(found: list[Findings]) -> Iterator[Line]:
    e = found[0].experiment
    for a, population in e.populations.items():
        group = f"Mean input to {a}"
        for synapse in e.synapses_of(a):
            names = [name for name, p in e.projections.items() if (p.target, p.synapse) == (a, synapse)]
            learns = any(name in e.plastic for name in names)
            yield _line(
                found,
                (group, "from " + " and ".join(e.projections[name].source for name in names), "mV/ms"),
                lambda f, a=a, synapse=synapse: f.mean(a, f"I_{synapse}"),
                lambda f, names=names: _predicted_current(f, names),
                "fixed point of the weights, for any net input" if learns else "weight, out-degrees and measured rates",
                identity=not learns,
            )
        limit = rheobase(e.neurons[population.neuron])
        yield _line(
            found,
            (group, "net", "mV/ms"),
            lambda f, a=a: f.mean(a, "I_total"),
            lambda f, limit=limit: (0.0, limit),
            "what balance leaves at this size: positive, below the rheobase",
        )
        yield _line(
            found,
            (group, "net over excitation", "%"),
            lambda f, a=a: _net_share(f, a),
            lambda f, a=a, limit=limit: (0.0, 100 * limit / _excitation(f, a)),
            "rheobase over excitation; falls as 1/√N",
        )


def _predicted_current(f: Findings, projections: list[str]) -> tuple[float, float] | None:
    e = f.experiment
    low = high = 0.0
    for name in projections:
        p = e.projections[name]
        factor = e.weight_scale(name) * charge(e, name)
        arrivals = arrival_rate(f.run, name, f.start_ms)
        span: tuple[float, float] | None = (p.weight_mv * arrivals, p.weight_mv * arrivals)
        if name in e.plastic:
            per_hz = arrivals / f.rate_hz(p.source)
            span = f.span(lambda s, n=name, p=p, k=per_hz: k * s.weights_mv[n] * s.rates_hz.get(p.source, np.nan))
        if span is None:
            return None
        low, high = low + factor * span[0], high + factor * span[1]
    return low, high


def _excitation(f: Findings, population: str) -> float:
    means = [f.mean(population, f"I_{synapse}").value for synapse in f.experiment.synapses_of(population)]
    return sum(mean for mean in means if mean > 0) or np.nan


def _net_share(f: Findings, population: str) -> Estimate:
    net = f.mean(population, "I_total")
    scale = 100 / _excitation(f, population)
    return Estimate(scale * net.value, scale * net.error)


def _covariances(found: list[Findings]) -> Iterator[Line]:
    e = found[0].experiment
    recorded = [a for a in e.populations if a in e.recording.spikes]
    windows = min(int((f.stop_ms - f.start_ms) / WINDOW_MS + 1e-9) for f in found)
    group = f"Spike-count covariance in {WINDOW_MS:g} ms"
    if windows < 4:
        missing = (Estimate(np.nan),) * len(found)
        reason = f"needs at least {8 * WINDOW_MS:g} ms: four windows after a burn-in of half the run"
        yield Line(group, "all pairs", "", missing, (), reason)
        return
    counts = [
        {
            a: window_counts(*_spikes(f, a), e.sizes[a], f.start_ms, f.stop_ms, WINDOW_MS)
            for a in recorded
        }
        for f in found
    ]
    names = list(e.populations)
    error = common_mode_error(windows)
    for a, b in combinations_with_replacement(recorded, 2):
        pairs = [pair_statistics(c[a], None if a == b else c[b]) for c in counts]
        measured = tuple(Estimate(pair.covariance, pair.covariance_error) for pair in pairs)
        predicted = [float(c[names.index(a), names.index(b)]) for f in found if (c := _theory_covariance(f)) is not None]
        ranges = tuple(Range(value, value, 3 * error * abs(value)) for value in predicted)
        coefficients = ", ".join(number(pair.coefficient) for pair in pairs)
        ratios = ", ".join(number(pair.ratio) for pair in pairs)
        note = f"mean coefficient {coefficients}; mean covariance over mean variance {ratios}"
        yield Line(group, f"{a} with {b}", "", measured, ranges if len(ranges) == len(found) else (), note)


def _spikes(f: Findings, population: str) -> tuple[Array, NDArray[np.int64]]:
    spikes = f.run.spikes(population)
    return spikes.times_ms, spikes.ids


def _theory_covariance(f: Findings) -> Array | None:
    if not f.states:
        return None
    e = f.experiment
    felt = {name: effective_weight(f.run, name, f.start_ms) for name in e.plastic}
    field = mean_field(e, felt, f.input_rates_hz)
    correlated = any(train.correlation > 0 for train in e.trains.values())
    covariance = correlated_count_covariance if correlated else asynchronous_count_covariance
    return covariance(e, field, WINDOW_MS)


def _weights(found: list[Findings]) -> Iterator[Line]:
    e = found[0].experiment
    for name, p in e.plastic.items():
        homeostatic = isinstance(e.plasticity[p.plasticity or ""], Homeostatic)
        yield _line(
            found,
            ("Weights", f"⟨J r⟩/⟨r⟩ of {p.source} to {p.target}" if homeostatic else f"mean of {name}", "mV"),
            (lambda f, name=name: felt_weight(f, name)) if homeostatic else (lambda f, name=name: mean_weight(f, name)),
            lambda f, name=name: f.span(lambda state: state.weights_mv[name]),
            "fixed point of the rule in balance, for any net input",
        )


def felt_weight(f: Findings, projection: str) -> Estimate:
    """Measure <J r>/<r> [mV, as named]; its error is that of the current, which it inherits."""
    p = f.experiment.projections[projection]
    value = effective_weight(f.run, projection, f.start_ms)
    current, rate = f.series(p.target, own_current(f.experiment, projection)), f.series(p.source)
    ratios = current - current.mean() / rate.mean() * rate
    return Estimate(value, abs(value) * f.error(ratios) / abs(float(current.mean())))


def mean_weight(f: Findings, projection: str) -> Estimate:
    """Measure the mean weight at the end of a run [mV, as named]."""
    weights = f.run.weights(projection)
    return Estimate(float(weights.mean[-1] / weights.scale))


def as_table(lines: Sequence[Line], labels: Sequence[str]) -> Table:
    """Lay lines out for a terminal.

    Parameters
    ----------
    lines : sequence of Line
        See `compare`.
    labels : sequence of str
        A short name for each run.

    Returns
    -------
    rich.table.Table
    """
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    for label in labels:
        table.add_column(label, justify="right")
    table.add_column("predicted")
    table.add_column("")
    styles = {"agrees": "green", "differs": "bold red"}
    group = ""
    for line in lines:
        if line.group != group:
            group = line.group
            table.add_row(f"[bold]{group}[/bold]")
        cells = [number(estimate.value) for estimate in line.measured]
        cells = cells if len(cells) == len(labels) else [*cells, *[""] * (len(labels) - len(cells))]
        style = styles.get(line.verdict, "yellow")
        quantity = f"  {line.quantity}" + (f" [dim]{line.unit}[/dim]" if line.unit else "")
        table.add_row(quantity, *cells, line.prediction, f"[{style}]{line.verdict}[/{style}]")
    return table
