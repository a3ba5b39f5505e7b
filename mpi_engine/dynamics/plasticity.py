"""Plasticity: traces, the history of postsynaptic spikes, and the pair rule.

Presynaptic events happen at a source's spike, when its row of weights is walked anyway. Postsynaptic events are
deferred: a target's spike is only noted in its history, and is applied to a weight when the row is visited next, with
the presynaptic trace as it was at that spike. That is exact, and touches memory in order. The bits do not depend on
when a row is visited: a trace follows in closed form from the source's own last spike, spikes are replayed one by one,
oldest first, and a weight is rounded to its number format after each event.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import Real, part
from mpi_engine.dynamics.integrators import decay_factor
from mpi_engine.dynamics.neurons import Population
from mpi_engine.experiment import Experiment, PairCoefficients
from mpi_engine.network.exchange import Exchange

DEPTH = 64
"""Spikes that a history holds; older ones are applied to every row before they are dropped."""

NEVER = -(2**30)
"""The step of spikes that have not happened."""

_TABLE_TIME_CONSTANTS = 30
"""Beyond so many time constants a trace is zero."""


class PairRule(NamedTuple):
    """Coefficients of the pair form in the weights' number format; see `PairCoefficients`."""

    a_pre0: Real
    a_pre1: Real
    b_pre0: Real
    b_pre1: Real
    a_post0: Real
    a_post1: Real
    b_post0: Real
    b_post1: Real
    w_min: Real
    w_max: Real


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
    """

    after: NDArray[np.float32]
    before: NDArray[np.float32]
    last: NDArray[np.int32]
    decay: NDArray[np.float32]


class PostsynapticTrace(NamedTuple):
    """Traces of a rank's targets, kept up to date every step.

    Parameters
    ----------
    value : ndarray, shape (n,)
        The traces as the next step sees them.
    decay : ndarray, shape (1,)
        Factor of decay in a step.
    """

    value: NDArray[np.float32]
    decay: NDArray[np.float32]


class History(NamedTuple):
    """Steps of the last spikes of a rank's targets, newest first.

    Parameters
    ----------
    steps : ndarray of int32, shape (DEPTH, n)
        `NEVER` where there was none.
    """

    steps: NDArray[np.int32]


def make_rule(coefficients: PairCoefficients, weight_dtype: str) -> PairRule:
    """Put coefficients into the weights' number format."""
    c, scalar = coefficients, np.dtype(weight_dtype).type
    terms = (*c.a_pre, *c.b_pre, *c.a_post, *c.b_post, c.w_min, c.w_max)
    return PairRule(*(scalar(term) for term in terms))


def make_presynaptic_trace(experiment: Experiment, source: str, tau_ms: float) -> PresynapticTrace:
    """Make the traces of all neurons of a source, at zero."""
    n, dtype = experiment.sizes[source], np.dtype(experiment.run.state_dtype)
    n_table = min(experiment.steps(_TABLE_TIME_CONSTANTS * tau_ms), experiment.n_steps) + 2
    factors = np.full(n_table, decay_factor(experiment, tau_ms))
    factors[0] = 1.0
    decay = np.cumprod(factors)
    decay[-1] = 0.0
    last = np.full(n, NEVER, np.int32)
    return PresynapticTrace(np.zeros(n, dtype), np.zeros(n, dtype), last, decay.astype(dtype))


def make_postsynaptic_trace(experiment: Experiment, n: int, tau_ms: float) -> PostsynapticTrace:
    """Make the traces of n targets, at zero."""
    dtype = np.dtype(experiment.run.state_dtype)
    return PostsynapticTrace(np.zeros(n, dtype), np.array([decay_factor(experiment, tau_ms)], dtype))


def make_history(n: int) -> History:
    """Make the histories of n targets, empty."""
    return History(np.full((DEPTH, n), NEVER, np.int32))


@part
def on_pre(w: Real, x_post: Real, rule: PairRule) -> Real:
    """Weight after a presynaptic spike (Akil et al. 2021: A_pre + B_pre x_post)."""
    changed = w + ((rule.a_pre0 + rule.a_pre1 * w) + (rule.b_pre0 + rule.b_pre1 * w) * x_post)
    return changed if w > rule.w_min else w


@part
def on_post(w: Real, x_pre: Real, rule: PairRule) -> Real:
    """Weight after a postsynaptic spike (Akil et al. 2021: A_post + B_post x_pre)."""
    changed = w + ((rule.a_post0 + rule.a_post1 * w) + (rule.b_post0 + rule.b_post1 * w) * x_pre)
    return changed if rule.w_min < w < rule.w_max else w


@part
def trace_at(trace: PresynapticTrace, source: int, step: int) -> Real:
    """Presynaptic trace that a spike in a step sees: the value before the spikes of that step."""
    since = step - trace.last[source]
    if since == 0:
        return trace.before[source]
    return trace.after[source] * trace.decay[min(since, trace.decay.size - 1)]


@part
def update_presynaptic(trace: PresynapticTrace, x: Exchange, index: int, n: int) -> None:
    """Let the traces of the sources that fired jump by one."""
    for k in range(x.offsets[index], x.offsets[index + 1]):
        source = x.fired[k]
        if trace.last[source] < n:
            trace.before[source] = trace_at(trace, source, n)
            trace.after[source] = trace.before[source]
            trace.last[source] = n
        trace.after[source] += trace.decay[0]


@part
def update_postsynaptic(trace: PostsynapticTrace, population: Population) -> None:
    """Let the traces of the targets that fired jump by one, then all decay."""
    one, decay = trace.decay.dtype.type(1), trace.decay[0]
    for k in range(population.n_fired[0]):
        trace.value[population.fired[k]] += one
    value = trace.value
    for i in range(value.size):
        value[i] *= decay


@part
def remember(history: History, population: Population, n: int) -> None:
    """Note the spikes of this step, after `make_room` has been called for every projection onto the population."""
    steps = history.steps
    for k in range(population.n_fired[0]):
        i = population.fired[k]
        for depth in range(steps.shape[0] - 1, 0, -1):
            steps[depth, i] = steps[depth - 1, i]
        steps[0, i] = n
