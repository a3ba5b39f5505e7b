"""Compare runs with theory: each measured quantity beside what follows from the experiment alone.

One rule for all: a measurement agrees if it is within the predicted range, give or take three standard errors or 2 %,
whichever is more; what follows from other measurements of the same run by an identity closes to 1 %. Theory gets the
realised rates of the inputs, so these are a covariate in the standard errors too; covariances, which all pairs share,
have the error sqrt(2 / (W - 1)) of a variance, or that of their blocks of windows where this is more, as it is with
independent input; and linear theory gives the variance of V to 40 %. Where theory needs
the net input that is left at finite size, the prediction spans all values from zero (large N) to the rheobase; where
it needs the mean of V, which turns conductances into currents, all values from rest to threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations_with_replacement, pairwise
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from analysis.confidence import common_mode_error
from analysis.correlations import pair_statistics
from analysis.findings import BLOCKS, Findings
from analysis.potentials import (
    LINEAR,
    effective_time_constant,
    measured_free_variance,
    net_at_mean,
    predicted_free_variance,
    predicted_time_constant,
)
from analysis.spikes import trace_average, window_counts
from analysis.theory.balance import NoBalance, balanced_rates, mean_field, rheobase, stationary_inputs
from analysis.theory.covariance import asynchronous_count_covariance, correlated_count_covariance
from analysis.theory.plasticity import possible_states
from analysis.verdict import Estimate, Line, Range, number
from analysis.weights import NotMeasured, charge, decay_factor
from mpi_engine.experiment import Experiment, Homeostatic
from mpi_engine.output.layout import unit_of
from mpi_engine.output.reader import RunReader

Array = NDArray[np.float64]

WINDOW_MS = 250.0
FINEST = 0.02
CLOSURE = 0.01
FEWEST_WINDOWS = 20
V_IS_ANY = ", and any V from rest to threshold"


def compare(runs: Sequence[RunReader]) -> list[Line]:
    """Lay what runs of one network show beside what theory predicts.

    Parameters
    ----------
    runs : sequence of RunReader
        Runs with the same populations and projections; spikes and rates recorded. The first half of each is burn-in.

    Returns
    -------
    list of Line
        Rates, currents and membrane by population, spike-count covariances, weights.

    Raises
    ------
    RunError
        If a recorder that is needed was off.
    """
    found = [Findings(run) for run in runs]
    return list(_lines(found, found[0].experiment))


def _lines(found: list[Findings], e: Experiment) -> Iterator[Line]:
    for population in e.populations:
        yield _rate(found, population)
    for population in e.populations if e.has_conductances else ():
        yield _rate_by_potential(found, population)
    for population in e.populations:
        yield _rate_by_net_input(found, population)
    for name, p in e.plastic.items():
        rules = [e.plasticity[rule] for rule in p.rules]
        recorded = not p.parts and {p.source, p.target} <= set(e.recording.spikes)
        if recorded and len(rules) == 1 and isinstance(rules[0], Homeostatic) and rules[0].pairing == "all_to_all":
            yield _rate_seen_by_plasticity(found, name, rules[0])
    for population in e.populations:
        for synapse in e.synapses_of(population):
            yield _current(found, population, synapse)
        yield from () if e.has_conductances else _net_input(found, population)
    for population in e.populations:
        yield from _membrane(found, population)
    yield from _covariances(found)
    for name in e.plastic:
        yield _weight(found, name)


def _line(
    found: list[Findings],
    names: tuple[str, str, str],
    measure: Callable[[Findings], Estimate],
    predict: Callable[[Findings], tuple[float, float]],
    note: str,
    identity: bool = False,
    from_run: bool = False,
    accuracy: float = FINEST,
) -> Line:
    try:
        measured = tuple(measure(f) for f in found)
    except NotMeasured as reason:
        return Line(*names, (Estimate(np.nan),) * len(found), (), str(reason))
    ranges = []
    for f, estimate in zip(found, measured, strict=True):
        if not isfinite(estimate.value):
            return Line(*names, measured, (), "nothing to measure: the sources are silent")
        try:
            answer = predict(f)
        except (NoBalance, NotMeasured) as reason:
            return Line(*names, measured, (), str(reason))
        largest = max(abs(answer[0]), abs(answer[1]))
        known = 3 * estimate.error if isfinite(estimate.error) else 0.0
        tolerance = CLOSURE * largest if identity else max(known, accuracy * largest)
        ranges.append(Range(answer[0], answer[1], tolerance))
    return Line(*names, measured, tuple(ranges), note, identity or from_run)


def _rate(found: list[Findings], population: str) -> Line:
    return _line(
        found,
        ("Firing rates", population, "Hz"),
        lambda f: f.mean(population),
        lambda f: f.rate_span(population),
        f"balance, for any net input up to the rheobase{V_IS_ANY if found[0].experiment.has_conductances else ''}"
        f"{_on_their_way(found)}",
    )


def _on_their_way(found: list[Findings]) -> str:
    """Say which weights have not come to the fixed point that a prediction is of."""
    moved = ", ".join(filter(None, (f.weights_on_their_way for f in found)))
    return f"; where weights come to rest, and they still moved in the second half: {moved} (mean)" if moved else ""


def _rate_by_potential(found: list[Findings], population: str) -> Line:
    def predict(f: Findings) -> tuple[float, float]:
        rates = [state.rates_hz[population] for state in possible_states(f.realised, f.V_mv)]
        return min(rates), max(rates)

    return _line(
        found,
        ("Firing rates", f"{population}, by mean V", "Hz"),
        lambda f: f.mean(population),
        predict,
        "balance of conductances at the measured mean V, for any net input up to the rheobase",
        from_run=True,
    )


def _rate_by_net_input(found: list[Findings], population: str) -> Line:
    return _line(
        found,
        ("Firing rates", f"{population}, by net input", "Hz"),
        lambda f: f.mean(population),
        lambda f: _balanced_rate(f, population),
        "balance, with the measured net inputs and ⟨J r⟩/⟨r⟩",
        identity=True,
    )


def _balanced_rate(f: Findings, population: str) -> tuple[float, float]:
    e = f.experiment
    acting = {}
    for name, p in e.projections.items():
        weight = f.felt_weight_mv(name) if name in e.plastic else e.named_weight(name)
        expected = 1e-3 * e.expected_in_degree(name)[0] * f.rate_hz(p.source)
        if expected == 0:
            raise NotMeasured(f"the weight of {name} does not act: {p.source} is silent")
        acting[name] = weight * charge(e, name) * f.arrivals_khz(name) / expected
    net = np.array([net_at_mean(f, a) for a in e.populations])
    rates = balanced_rates(mean_field(e, acting, f.input_rates_hz, f.V_mv), net)
    rate = 1e3 * float(rates[list(e.populations).index(population)])
    return rate, rate


def _rate_seen_by_plasticity(found: list[Findings], projection: str, rule: Homeostatic) -> Line:
    neurons = found[0].experiment.projections[projection].target
    return _line(
        found,
        ("Firing rates", f"{neurons}, seen by plasticity", "Hz"),
        lambda f: _rate_seen(f, projection, rule),
        lambda f: (rule.target_rate_hz, rule.target_rate_hz),
        "the rule's target, which it holds for ⟨x S⟩ of pairs rather than for the rate itself",
    )


def _rate_seen(f: Findings, projection: str, rule: Homeostatic) -> Estimate:
    r"""Rate that a homeostatic rule holds at its target: (<x_j S_k> + <x_k S_j>) / ((tau_j + tau_k) <S_k>)."""
    e = f.experiment
    p = e.projections[projection]
    decay = {trace: decay_factor(e, tau_ms) for trace, tau_ms in rule.traces.items()}
    post, pre = f.spikes(p.target).times_ms, f.spikes(p.source).times_ms
    pairs = e.sizes[p.source] * e.sizes[p.target]

    def seen(start: float, stop: float) -> float:
        times = (e.run.dt_ms, start, stop)
        both = trace_average(post, pre, pairs, decay["x_post"], *times)
        both += trace_average(pre, post, pairs, decay["x_pre"], *times)
        spikes = np.count_nonzero((pre > start) & (pre <= stop)) / e.sizes[p.source] / (stop - start)
        return 1e3 * both / (sum(rule.traces.values()) * spikes) if spikes else np.nan

    edges = np.linspace(f.start_ms, f.stop_ms, BLOCKS + 1).tolist()
    blocks = [seen(start, stop) for start, stop in pairwise(edges)]
    return Estimate(seen(f.start_ms, f.stop_ms), f.error(np.array(blocks)))


def _current(found: list[Findings], population: str, synapse: str) -> Line:
    e = found[0].experiment
    names = [name for name, p in e.projections.items() if (p.target, p.synapse) == (population, synapse)]
    learns = any(name in e.plastic for name in names)
    variable = e.variable_of(synapse)
    what = "conductance of" if e.conducts(synapse) else "input to"
    sources = " and ".join(e.projections[name].source for name in names)
    return _line(
        found,
        (f"Mean {what} {population}", f"from {sources}", unit_of(variable)),
        lambda f: f.mean(population, variable),
        lambda f: _predicted_current(f, names),
        "fixed point of the weights, for any net input" if learns else "weight, out-degrees and measured rates",
        identity=not learns,
    )


def _predicted_current(f: Findings, projections: list[str]) -> tuple[float, float]:
    e = f.experiment
    low = high = 0.0
    for name in projections:
        p = e.projections[name]
        factor = e.weight_scale(name) * charge(e, name)
        weight, arrivals = e.named_weight(name), f.arrivals_khz(name)
        span = (weight * arrivals, weight * arrivals)
        if name in e.plastic:
            per_hz = arrivals / (f.rate_hz(p.source) or np.nan)
            span = _arriving_weight_span(f, name, per_hz)
        low, high = low + factor * span[0], high + factor * span[1]
    return low, high


def _arriving_weight_span(f: Findings, projection: str, per_hz: float) -> tuple[float, float]:
    source = f.experiment.projections[projection].source
    fixed = None if source in f.experiment.populations else f.rate_hz(source)
    return f.span(lambda state: per_hz * state.weights_mv[projection] * (fixed or state.rates_hz[source]))


def _net_input(found: list[Findings], population: str) -> Iterator[Line]:
    e = found[0].experiment
    group = f"Mean input to {population}"
    yield _line(
        found,
        (group, "net", "mV/ms"),
        lambda f: f.mean(population, "I_total"),
        lambda f: (0.0, rheobase(e, population)),
        "what balance leaves at this size: positive, below the rheobase",
    )
    yield _line(
        found,
        (group, "net over excitation", "%"),
        lambda f: _net_share(f, population),
        lambda f: (0.0, 100 * rheobase(e, population) / _excitation(f, population)),
        "at most rheobase over excitation, which falls as 1/√N",
        from_run=True,
    )


def _membrane(found: list[Findings], population: str) -> Iterator[Line]:
    e = found[0].experiment
    group = f"Membrane of {population}"
    correlated = any(getattr(train, "correlation", 0) > 0 for train in e.trains.values())
    if e.has_conductances:
        yield _line(
            found,
            (group, "effective time constant", "ms"),
            lambda f: effective_time_constant(f, population),
            lambda f: predicted_time_constant(f, population),
            f"inverse of the mean total conductance, at the rates of balance for any net input{V_IS_ANY}",
        )
    if e.has_conductances or e.has_shadow_voltage:
        bounds = "shared input cancelled wholly, and not at all" if correlated else "shot noise of independent trains"
        yield _line(
            found,
            (group, "variance of V without spikes", "mV²"),
            lambda f: measured_free_variance(f, population),
            lambda f: predicted_free_variance(f, population),
            f"linear theory at the measured rates{' and conductances' if e.has_conductances else ''}: {bounds}",
            from_run=True,
            accuracy=LINEAR,
        )


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
    group = f"Count covariance, {WINDOW_MS:g} ms"
    if windows < FEWEST_WINDOWS:
        missing = (Estimate(np.nan),) * len(found)
        needed = 2 * FEWEST_WINDOWS * WINDOW_MS
        reason = f"in less than {needed:g} ms, three standard errors exceed the covariance itself; run longer"
        yield Line(group, "all pairs", "", missing, (), reason)
        return
    counts = [
        {a: window_counts(*_spikes(f, a), e.sizes[a], f.start_ms, f.stop_ms, WINDOW_MS) for a in recorded}
        for f in found
    ]
    names = list(e.populations)
    error = common_mode_error(windows)
    try:
        theory, refusal = [_theory_covariance(f) for f in found], ""
    except (NoBalance, NotMeasured) as reason:
        theory, refusal = [], f"; {reason}"
    for a, b in combinations_with_replacement(recorded, 2):
        pairs = [pair_statistics(c[a], None if a == b else c[b]) for c in counts]
        measured = tuple(Estimate(pair.covariance, pair.covariance_error) for pair in pairs)
        values = [float(c[names.index(a), names.index(b)]) for c in theory]
        ranges = tuple(Range(value, value, 3 * max(error * abs(value), estimate.error))
                       for value, estimate in zip(values, measured, strict=False))     # there may be no theory
        coefficients = ", ".join(number(pair.coefficient) for pair in pairs)
        ratios = ", ".join(number(pair.ratio) for pair in pairs)
        note = f"mean coefficient {coefficients}; mean covariance over mean variance {ratios}{refusal}"
        yield Line(group, f"{a} with {b}", "", measured, ranges, note, bool(e.plastic) or e.has_conductances)


def _spikes(f: Findings, population: str) -> tuple[Array, NDArray[np.int64]]:
    spikes = f.spikes(population)
    return spikes.times_ms, spikes.ids


def _theory_covariance(f: Findings) -> Array:
    if f.no_balance:
        raise NoBalance(f.no_balance)
    e = f.experiment
    felt = {name: f.felt_weight_mv(name) for name in e.plastic}
    field = mean_field(e, felt, f.input_rates_hz, f.V_mv)
    correlated = any(train.correlation > 0 for train, _ in stationary_inputs(e).values())
    covariance = correlated_count_covariance if correlated else asynchronous_count_covariance
    return covariance(e, field, WINDOW_MS)


def _weight(found: list[Findings], projection: str) -> Line:
    e = found[0].experiment
    p = e.projections[projection]
    felt = any(isinstance(e.plasticity[rule], Homeostatic) for rule in p.rules)
    return _line(
        found,
        ("Weights", f"{'⟨J r⟩/⟨r⟩' if felt else 'mean weight'} of {p.source} to {p.target}", "mV"),
        lambda f: f.felt_weight(projection) if felt else f.mean_weight(projection),
        lambda f: f.weight_span(projection),
        f"fixed point of the rule in balance, for any net input{_on_their_way(found)}",
    )
