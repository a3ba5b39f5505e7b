r"""Mean weight dynamics under pair rules, and the fixed points of weights and rates together.

Averaging the general pair form over a balanced network gives, for the mean weight from k onto j,

.. math::
    \dot J = A_0(J) + A_k(J)\,r_k + B_k(J)\,(\tau_j r_j r_k + I_{jk}) + A_j(J)\,r_j
        + B_j(J)\,(\tau_k r_j r_k + I_{kj})

where k stands for presynaptic and j for postsynaptic spikes and the traces they leave (Akil, Rosenbaum & Josić 2021);
several rules on a projection add. The rates r and the integrals I of the covariance follow from the weights by
balance. Bounds of a rule are not part of the theory; of a schedule, the last factor holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from analysis.theory.balance import Array, NoBalance, balanced_rates, mean_field, rheobase
from analysis.theory.covariance import trace_covariance
from mpi_engine.experiment import Experiment, PairRule, UserNeuron, average

SMALLEST_STEP = 1 / 64


@dataclass(frozen=True)
class FixedPoint:
    """A state that neither the rates nor the mean weights leave.

    Parameters
    ----------
    rates_hz : dict
        Rate by population [Hz].
    weights_mv : dict
        Mean weight by plastic projection [mV, in the projection's own scaling]; empty in a static network. Under
        weights that vary from synapse to synapse, read <J r>/<r> for it.
    """

    rates_hz: dict[str, float]
    weights_mv: dict[str, float]


def pair_rules(experiment: Experiment, projection: str) -> Iterator[tuple[PairRule, float]]:
    """Go through the rules of a plastic projection with the factors that their schedules end with.

    Raises
    ------
    NoBalance
        If the mean of a rule is not known.
    """
    for name in experiment.projections[projection].rules:
        rule = experiment.plasticity[name]
        if not isinstance(rule, PairRule) or rule.pairing != "all_to_all":
            raise NoBalance(f"no prediction: {name} is not a rule of pairs that pairs all spikes with all")
        reached = [change.factor for change in rule.schedule if change.start_ms < experiment.run.duration_ms]
        yield rule, reached[-1] if reached else 1.0


def weight_drift(
    experiment: Experiment, weights_mv: Mapping[str, float], rates_hz: Mapping[str, float]
) -> dict[str, float]:
    """Compute how fast each plastic projection's mean weight changes.

    Parameters
    ----------
    experiment : Experiment
        The description.
    weights_mv : mapping
        Mean weight by plastic projection [mV, in the projection's own scaling].
    rates_hz : mapping
        Rate by population and input [Hz]: balanced ones, or measured ones.

    Returns
    -------
    dict
        Drift by plastic projection [mV/ms, in the projection's own scaling].

    Raises
    ------
    NoBalance
        If the mean of a rule, or the covariance, is not known.
    """
    names = list(experiment.sizes)
    drift = {}
    for name, p in experiment.plastic.items():
        scale = experiment.weight_scale(name)
        weight = weights_mv[name] * scale
        post, pre = names.index(p.target), names.index(p.source)
        r_post, r_pre = 1e-3 * rates_hz[p.target], 1e-3 * rates_hz[p.source]
        drift[name] = 0.0
        for rule, factor in pair_rules(experiment, name):
            tau_pre, tau_post = rule.traces["x_pre"], rule.traces["x_post"]
            added = {tau: trace_covariance(experiment, tau, weights_mv) for tau in {tau_pre, tau_post}}
            covariance = float(added[tau_post][post, pre]), float(added[tau_pre][pre, post])
            terms = rule_terms(rule, scale, experiment.weight_unit(name), weight, r_pre, r_post, covariance)
            drift[name] += factor * sum(terms) / scale
    return drift


def rule_terms(
    rule: PairRule,
    scale: float,
    unit: float,
    weight: Array | float,
    r_pre: Array | float,
    r_post: Array | float,
    covariance: tuple[float, float] = (0.0, 0.0),
) -> list[float]:
    """Compute the terms of the equation above for a rule, in its order: what each adds to the change of a weight.

    Parameters
    ----------
    rule : PairRule
        The rule.
    scale, unit : float
        See `PairRule.coefficients`.
    weight, r_pre, r_post : float or ndarray
        Weight as it acts [mV] and rates of its neurons [kHz]; or those of many synapses, over which the terms are then
        averaged, so that the covariance of weights and rates counts.
    covariance : tuple of float
        Integrals I_jk and I_kj [kHz].

    Returns
    -------
    list of float
        Five terms [mV/ms].
    """
    c = rule.coefficients(scale, unit)
    tau_pre, tau_post = rule.traces["x_pre"], rule.traces["x_post"]
    terms = [
        (c.drift, 1.0),
        (c.a_pre, r_pre),
        (c.b_pre, tau_post * r_post * r_pre + covariance[0]),
        (c.a_post, r_post),
        (c.b_post, tau_pre * r_post * r_pre + covariance[1]),
    ]
    return [float(np.mean((a + b * weight) * average)) for (a, b), average in terms]


def fixed_point(
    experiment: Experiment, net_input_mv_per_ms: Array | float = 0.0, V_mv: Mapping[str, float] | None = None
) -> FixedPoint:
    """Find the fixed point nearest to the initial weights, by Newton's method.

    Parameters
    ----------
    experiment : Experiment
        The description.
    net_input_mv_per_ms : float or ndarray
        Mean total current that each population keeps [K or scalar]; 0 is the limit of large N, from which the fixed
        point is followed to other values.
    V_mv : mapping, optional
        Mean membrane potential by population [mV]; needed with conductances.

    Returns
    -------
    FixedPoint
        For a static network, its balanced rates.

    Raises
    ------
    NoBalance
        If there is no balanced state, or no fixed point of the weights within it.
    """
    state, obstacle = _follow(experiment, np.asarray(net_input_mv_per_ms, dtype=np.float64), V_mv)
    if obstacle is not None:
        raise obstacle
    return state


def _follow(
    experiment: Experiment, net: Array, V_mv: Mapping[str, float] | None
) -> tuple[FixedPoint, NoBalance | None]:
    """Follow the fixed point to a net input, or as far as it goes; the last one, and what stands in the way."""
    plastic = experiment.plastic
    for name in plastic:
        if not any(factor for _, factor in pair_rules(experiment, name)):
            raise NoBalance(f"no prediction: the schedule of {name} ends with frozen weights")
    weights = _solve(experiment, np.array([experiment.named_weight(name) for name in plastic]), 0 * net, V_mv)
    share, step, obstacle = 0.0, 1.0, None
    while net.any() and share < 1 and step >= SMALLEST_STEP:
        try:
            weights = _solve(experiment, weights, (share + step) * net, V_mv)
            share += step
        except NoBalance as reason:
            step, obstacle = step / 2, reason
    named = dict(zip(plastic, weights.tolist(), strict=True))
    rates = _balanced(experiment, named, share * net, V_mv)
    reached = FixedPoint({name: rates[name] for name in experiment.populations}, named)
    return reached, obstacle if step < SMALLEST_STEP else None


def possible_states(experiment: Experiment, V_mv: Mapping[str, float] | None = None) -> list[FixedPoint]:
    """Find the corners of the states that a finite network can be in, whatever net input its neurons keep.

    That is from zero, the limit of large N, to each population's rheobase. Where a population falls silent on the way
    to a corner, the last state in which all fire stands for it.

    Parameters
    ----------
    experiment : Experiment
        The description.
    V_mv : mapping, optional
        Mean membrane potential by population [mV]. With conductances, if it is not given: one that all populations
        share, at rest and at the threshold of the average neuron.

    Returns
    -------
    list of FixedPoint

    Raises
    ------
    NoBalance
        If there is no balanced state in the limit of large N.
    """
    corners = list(product(*((0.0, rheobase(experiment, population)) for population in experiment.populations)))
    potentials = [V_mv] if V_mv or not experiment.has_conductances else _rest_and_threshold(experiment)
    return [_follow(experiment, np.array(corner), potential)[0] for potential in potentials for corner in corners]


def _rest_and_threshold(experiment: Experiment) -> list[dict[str, float] | None]:
    used = [experiment.neurons[population.neuron] for population in experiment.populations.values()]
    known = [neuron for neuron in used if not isinstance(neuron, UserNeuron)]     # the rheobase refuses the others
    rest = min(average(neuron.E_L_mv) for neuron in known)
    threshold = max(neuron.soft_threshold_mv for neuron in known)
    return [dict.fromkeys(experiment.populations, level) for level in (rest, threshold)]


def _solve(experiment: Experiment, weights: Array, net: Array, V_mv: Mapping[str, float] | None) -> Array:
    def drift(weights: Array) -> Array:
        named = dict(zip(experiment.plastic, weights.tolist(), strict=True))
        return np.array(list(weight_drift(experiment, named, _balanced(experiment, named, net, V_mv)).values()))

    return _newton(drift, weights)


def _balanced(
    experiment: Experiment, weights_mv: Mapping[str, float], net: Array, V_mv: Mapping[str, float] | None
) -> dict[str, float]:
    """Rate by population and input in balance [Hz]."""
    field = mean_field(experiment, weights_mv, V_mv=V_mv)
    rates = np.concatenate([balanced_rates(field, net), field.input_rates_khz])
    return dict(zip((*field.populations, *field.inputs), (1e3 * rates).tolist(), strict=True))


def _newton(drift: Callable[[Array], Array], weights: Array) -> Array:
    """Find a zero of the drift, never leaving the region where balance exists."""
    value = drift(weights)
    for _ in range(200):
        if not value.any():
            return weights
        h = 1e-6 * np.maximum(np.abs(weights), 1e-3)
        jacobian = np.array([(drift(weights + d) - drift(weights - d)) / (2 * d.sum()) for d in np.diag(h)]).T
        step = np.linalg.lstsq(jacobian, -value, rcond=None)[0]
        if np.all(np.abs(step) <= 1e-10 * np.abs(weights)):
            found: Array = weights + step
            return found
        weights, value = _descend(drift, weights, value, step)
    raise NoBalance("no fixed point of the mean weights was found near the initial ones")


def _descend(drift: Callable[[Array], Array], weights: Array, value: Array, step: Array) -> tuple[Array, Array]:
    """Halve a step until it lowers the drift."""
    for _ in range(40):
        try:
            there = drift(weights + step)
        except NoBalance:
            there = np.full_like(value, np.inf)
        if np.linalg.norm(there) < np.linalg.norm(value):
            return weights + step, there
        step = step / 2
    raise NoBalance("the mean weights have no fixed point: their drift has no zero near the initial ones")
