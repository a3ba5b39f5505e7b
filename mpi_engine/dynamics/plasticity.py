"""Plasticity: traces, the history of postsynaptic spikes, and the rules.

Presynaptic events happen at a source's spike, when its row of weights is walked anyway. Postsynaptic events are
deferred: a target's spike is only noted in its history, and is applied to a weight when the row is visited next, with
the presynaptic trace as it was at that spike. That is exact, and touches memory in order. The bits do not depend on
when a row is visited: a trace follows in closed form from the source's own last spike, spikes are replayed one by one,
oldest first, and a weight is rounded to its number format after each event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import Real, kernel, part
from mpi_engine.dynamics.integrators import decay_factor
from mpi_engine.dynamics.neurons import Population
from mpi_engine.experiment import Experiment, PairRule, Triplet, UserRule
from mpi_engine.network.exchange import Exchange
from mpi_engine.network.mathematics import exp
from mpi_engine.user import RuleModel, load

Function = Callable[..., Any]

DEPTH = 64
"""Spikes that a history holds; older ones are applied to every row before they are dropped."""

NEAR = 10
"""So many of them move down at a spike; the others are far apart in memory, and form a ring, of which one changes."""

NEVER = -(2**30)
"""The step of spikes that have not happened."""

TABLE_TIME_CONSTANTS = 30
"""Beyond so many time constants a trace is zero."""

_SMALLEST_UNIT = 2.0**-20
"""When a unit of traces has become as small, the traces are counted in a new one."""


class PresynapticTrace(NamedTuple):
    """Traces of all sources of a projection, the same on every rank.

    Parameters
    ----------
    after, before : ndarray, shape (n_source,)
        Value after and before the jump at the source's last spike.
    last : ndarray of int32, shape (n_source,)
        Step of that spike.
    decay : ndarray, shape (n_table,)
        Factor of decay in so many steps; the last entry is zero.
    keep : ndarray, shape (1,)
        Factor of the trace in a jump by one: 0 pairs a spike with the last one only.
    """

    after: NDArray[np.float32]
    before: NDArray[np.float32]
    last: NDArray[np.int32]
    decay: NDArray[np.float32]
    keep: NDArray[np.float32]


class SourceTrace(NamedTuple):
    """The presynaptic trace of one source; see `PresynapticTrace`."""

    after: Real
    before: Real
    last: int
    decay: NDArray[np.float32]


class PostsynapticTrace(NamedTuple):
    """Traces of a rank's targets, as the next step sees them.

    They all decay alike, so that only their unit need do so in a step, and no array is touched.

    Parameters
    ----------
    value : ndarray, shape (n,)
        The traces, in `unit`.
    unit : ndarray of float64, shape (1,)
        What a value of one is worth now.
    decay : ndarray of float64, shape (1,)
        Factor of decay in a step.
    keep : ndarray, shape (1,)
        As in `PresynapticTrace`.
    """

    value: NDArray[np.float32]
    unit: NDArray[np.float64]
    decay: NDArray[np.float64]
    keep: NDArray[np.float32]


class TargetTraces(NamedTuple):
    """Postsynaptic traces in this step: `value` times `unit`; see `PostsynapticTrace`."""

    value: NDArray[np.float32]
    unit: Real


class History(NamedTuple):
    """Steps of the last spikes of a rank's targets; see `row_of`.

    Parameters
    ----------
    steps : ndarray of int32, shape (DEPTH, n)
        `NEVER` where there was none.
    samples : ndarray, shape (n_samples, DEPTH, n)
        Postsynaptic traces as these spikes saw them, for the rules that ask.
    turn : ndarray of int8, shape (n,)
        By how many rows each target's ring is turned.
    """

    steps: NDArray[np.int32]
    samples: NDArray[np.float32]
    turn: NDArray[np.int8]


class Trace(NamedTuple):
    """Which trace: of whose spikes, with which time constant, and whether it jumps by 1 or to 1."""

    population: str
    tau_ms: float
    pairing: str


def make_presynaptic_trace(experiment: Experiment, trace: Trace) -> PresynapticTrace:
    """Make the traces of all neurons of a source, at zero."""
    n, dtype = experiment.sizes[trace.population], np.dtype(experiment.run.state_dtype)
    n_table = min(experiment.steps(TABLE_TIME_CONSTANTS * trace.tau_ms), experiment.n_steps) + 2
    factors = np.full(n_table, decay_factor(experiment, trace.tau_ms))
    factors[0] = 1.0
    decay = np.cumprod(factors)
    decay[-1] = 0.0
    last = np.full(n, NEVER, np.int32)
    return PresynapticTrace(np.zeros(n, dtype), np.zeros(n, dtype), last, decay.astype(dtype), _keep(trace, dtype))


def make_postsynaptic_trace(experiment: Experiment, n: int, trace: Trace) -> PostsynapticTrace:
    """Make the traces of n targets, at zero."""
    dtype = np.dtype(experiment.run.state_dtype)
    decay = np.array([decay_factor(experiment, trace.tau_ms)])
    return PostsynapticTrace(np.zeros(n, dtype), np.ones(1), decay, _keep(trace, dtype))


def _keep(trace: Trace, dtype: np.dtype[Any]) -> NDArray[np.float32]:
    return np.array([trace.pairing == "all_to_all"], dtype)


def make_history(experiment: Experiment, n: int, n_samples: int) -> History:
    """Make the histories of n targets, empty."""
    samples = np.zeros((n_samples, DEPTH, n), experiment.run.state_dtype)
    return History(np.full((DEPTH, n), NEVER, np.int32), samples, np.zeros(n, np.int8))


def pair_on_pre(w: Real, x_post: Real, p: Any) -> Real:
    """Weight after a presynaptic spike (Akil et al. 2021: A_pre + B_pre x_post)."""
    changed = w + ((p.a_pre0 + p.a_pre1 * w) + (p.b_pre0 + p.b_pre1 * w) * x_post)
    return changed if w > p.w_min else w


def pair_on_post(w: Real, x_pre: Real, p: Any) -> Real:
    """Weight after a postsynaptic spike (Akil et al. 2021: A_post + B_post x_pre)."""
    changed = w + ((p.a_post0 + p.a_post1 * w) + (p.b_post0 + p.b_post1 * w) * x_pre)
    return changed if p.w_min < w < p.w_max else w


def triplet_on_pre(w: Real, x_post: Real, y_pre: Real, p: Any) -> Real:
    """Weight after a presynaptic spike (Pfister & Gerstner 2006, eq. 3)."""
    changed = w - x_post * (p.a2_minus + p.a3_minus * y_pre)
    return changed if w > p.w_min else w


def triplet_on_post(w: Real, x_pre: Real, y_post: Real, p: Any) -> Real:
    """Weight after a postsynaptic spike (Pfister & Gerstner 2006, eq. 4)."""
    changed = w + x_pre * (p.a2_plus + p.a3_plus * y_post)
    return changed if p.w_min < w < p.w_max else w


def rule_functions(experiment: Experiment, rule: str) -> tuple[Function, Function | None]:
    """Find what a rule does on a presynaptic and on a postsynaptic spike, as functions like a user's."""
    described = experiment.plasticity[rule]
    if isinstance(described, UserRule):
        real = np.dtype(experiment.run.weight_dtype).type
        declared = cast(RuleModel, load(described.source, described.file, described.function, real))
        return declared.function, declared.on_post
    return (triplet_on_pre, triplet_on_post) if isinstance(described, Triplet) else (pair_on_pre, pair_on_post)


def rule_parameters(experiment: Experiment, projection: str, rule: str, step: int) -> dict[str, float]:
    """Resolve a rule's parameters on a projection in the steps after a given one, weights as they act.

    Returns
    -------
    dict of str to float
        As the rule's functions name them; with ``schedule_factor`` for a user's rule that has a schedule, and
        ``drift0`` and ``drift1`` [per step] for a rule that changes weights between spikes.
    """
    described = experiment.plasticity[rule]
    passed = [change.factor for change in described.schedule if experiment.steps(change.start_ms) <= step]
    factor = passed[-1] if passed else 1.0
    if isinstance(described, UserRule):
        return {**described.parameters, **({"schedule_factor": factor} if described.schedule else {})}
    scale, unit = experiment.weight_scale(projection), experiment.weight_unit(projection)
    if isinstance(described, Triplet):
        names = ("a2_plus", "a3_plus", "a2_minus", "a3_minus")
        amplitudes = {name: factor * unit * getattr(described, f"{name}_mv") for name in names}
        return {**amplitudes, **dict(zip(("w_min", "w_max"), described.bounds(scale), strict=True))}
    assert isinstance(described, PairRule)
    c = described.coefficients(scale, unit)
    events = ("a_pre", "b_pre", "a_post", "b_post")
    terms = {f"{term}{k}": factor * getattr(c, term)[k] for term in events for k in (0, 1)}
    drift = {f"drift{k}": factor * c.drift[k] * experiment.run.dt_ms for k in (0, 1)} if c.drift != (0.0, 0.0) else {}
    return {**terms, "w_min": c.w_min, "w_max": c.w_max, **drift}


def only_scales_traces(experiment: Experiment, projection: str, rule: str) -> bool:
    """Whether all that a rule does at a postsynaptic spike is in proportion to presynaptic traces."""
    described = experiment.plasticity[rule]
    if isinstance(described, PairRule):
        return described.coefficients(experiment.weight_scale(projection)).a_post == (0.0, 0.0)
    return isinstance(described, Triplet)


@part
def drifted(w: Real, steps: int, constant: Real, slope: Real) -> float:
    r"""Weight some steps later, where :math:`dw/dt = c_0 + c_1 w`; the coefficients are those of a step."""
    duration, constant, slope = np.float64(steps), np.float64(constant), np.float64(slope)
    if slope == 0.0:
        return w + constant * duration
    growth = exp(slope * duration)
    return w * growth + (growth - 1.0) / slope * constant


@part
def last_event(history: History, trace: SourceTrace, epoch: NDArray[np.int32], target: int, depth: int) -> int:
    """Step to which a weight is up to date: of the last spike on either side, a history's entry or an older one."""
    post = history.steps[row_of(history, target, depth), target] if depth < DEPTH else NEVER
    return max(post, trace.last, epoch[0])


@part
def trace_of(trace: PresynapticTrace, source: int) -> SourceTrace:
    """Look up a source's trace."""
    return SourceTrace(trace.after[source], trace.before[source], trace.last[source], trace.decay)


@part
def trace_at(trace: SourceTrace, step: int) -> Real:
    """Presynaptic trace that a spike in a step sees: the value before the spikes of that step."""
    since = np.uint64(step - trace.last)
    decayed = trace.after * trace.decay[min(since, np.uint64(trace.decay.size - 1))]
    return trace.before if since == 0 else decayed


@part
def traces_of(trace: PostsynapticTrace) -> TargetTraces:
    """Look up the traces of all targets."""
    return TargetTraces(trace.value, trace.value.dtype.type(trace.unit[0]))


@part
def fades(trace: SourceTrace) -> int:
    """First step from which on the presynaptic trace is zero."""
    return trace.last + trace.decay.size - 1


@part
def update_presynaptic(trace: PresynapticTrace, x: Exchange, index: int, n: int) -> None:
    """Let the traces of the sources that fired jump by one."""
    for k in range(x.offsets[index], x.offsets[index + 1]):
        source = x.fired[k]
        if trace.last[source] < n:
            trace.before[source] = trace_at(trace_of(trace, source), n)
            trace.after[source] = trace.before[source]
            trace.last[source] = n
        trace.after[source] = trace.keep[0] * trace.after[source] + trace.decay[0]


@part
def update_postsynaptic(trace: PostsynapticTrace, population: Population) -> None:
    """Let the traces of the targets that fired jump by one, then all decay."""
    value, unit, keep, real = trace.value, trace.unit, trace.keep[0], trace.value.dtype.type
    one = real(1 / unit[0])
    for k in range(population.n_fired[0]):
        value[population.fired[k]] = keep * value[population.fired[k]] + one
    unit[0] *= trace.decay[0]
    if unit[0] < _SMALLEST_UNIT:
        factor, unit[0] = real(unit[0]), 1.0
        for i in range(value.size):
            value[i] *= factor


@part
def row_of(history: History, target: int, depth: int) -> int:
    """Row of a history that holds a target's spike: the newest has depth 0."""
    if depth < NEAR:
        return depth
    row = depth + int(history.turn[target])
    return row if row < DEPTH else row - (DEPTH - NEAR)


@part
def remember(history: History, population: Population, n: int) -> None:
    """Note the spikes of this step, after `make_room` has been called for every projection onto the population."""
    for k in range(population.n_fired[0]):
        i = population.fired[k]
        oldest = row_of(history, i, DEPTH - 1)
        _push(history.steps, i, oldest, n)
        history.turn[i] = oldest - NEAR


@part
def remember_trace(history: History, sample: int, trace: PostsynapticTrace, population: Population) -> None:
    """Note the trace that the spikes of this step see, before these are noted themselves."""
    now = traces_of(trace)
    for k in range(population.n_fired[0]):
        i = population.fired[k]
        _push(history.samples[sample], i, row_of(history, i, DEPTH - 1), now.value[i] * now.unit)


@part
def _push(rows: NDArray[Any], i: int, oldest: int, value: Real) -> None:
    """Put a value before the others of a target; the oldest is dropped."""
    rows[oldest, i] = rows[NEAR - 1, i]
    for depth in range(NEAR - 1, 0, -1):
        rows[depth, i] = rows[depth - 1, i]
    rows[0, i] = value


@kernel
def straighten(history: History) -> None:
    """Turn all rings back: afterwards row and depth are the same, and a saved history does not tell how it was kept."""
    for i in range(history.turn.size):
        if history.turn[i] > 0:
            _turn_back(history.steps, i, history.turn[i])
            for sample in range(history.samples.shape[0]):
                _turn_back(history.samples[sample], i, history.turn[i])
            history.turn[i] = 0


@part
def _turn_back(rows: NDArray[Any], i: int, turn: int) -> None:
    """Rotate a target's ring in its place: each of two parts is reversed, then the whole."""
    middle = NEAR + turn
    _reverse(rows, i, NEAR, middle)
    _reverse(rows, i, middle, DEPTH)
    _reverse(rows, i, NEAR, DEPTH)


@part
def _reverse(rows: NDArray[Any], i: int, begin: int, end: int) -> None:
    for k in range((end - begin) // 2):
        rows[begin + k, i], rows[end - 1 - k, i] = rows[end - 1 - k, i], rows[begin + k, i]
