"""Every kind of plasticity rule against an event by event reference in plain NumPy, and closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mpi_engine.dynamics.plasticity import DEPTH
from mpi_engine.experiment import Experiment, Normalisation, PairRule, Triplet, parse_experiment
from mpi_engine.run.simulation import Simulation
from tests.state import state_of

Array = NDArray[np.float64]

DOUBLE = {"state_dtype": "float64", "weight_dtype": "float64"}

LIF = {"model": "lif", "tau_m_ms": 15.0, "E_L_mv": -72.0, "V_th_mv": -55.0, "V_reset_mv": -75.0, "V_init_mv": -72.0,
       "refractory_ms": 2.0}

PAIR = {"rule": "pair", "a_pre": [1e-3, -2e-3], "b_pre": [-1e-2, 1e-3], "a_post": [-1e-3, 1e-3],
        "b_post": [2e-2, -3e-3]}

TRIPLET = {"rule": "triplet", "a2_plus_mv": 5e-3, "a3_plus_mv": 6e-2, "a2_minus_mv": 7e-2, "a3_minus_mv": 2e-2,
           "tau_plus_ms": 16.8, "tau_minus_ms": 33.7, "tau_x_ms": 101.0, "tau_y_ms": 125.0}

PROJECTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "pairs": {"pair": {**PAIR, "tau_pre_ms": 17.0, "tau_post_ms": 34.0}},
    "nearest_neighbours": {"pair": {**PAIR, "tau_pre_ms": 17.0, "tau_post_ms": 34.0, "pairing": "nearest_neighbour"}},
    "drifting": {"pair": {**PAIR, "tau_ms": 20.0, "drift": [1e-3, -5e-3]}},
    "drifting_evenly": {"pair": {**PAIR, "tau_ms": 20.0, "drift": [-1e-3, 0.0]}},
    "triplets": {"triplet": TRIPLET},
    "nearest_triplets": {"triplet": {**TRIPLET, "pairing": "nearest_neighbour"}},
    "two_rules": {
        "triplet": TRIPLET,
        "homeostatic": {"rule": "homeostatic", "tau_ms": 20.0, "learning_rate_mv": 0.5, "target_rate_hz": 20.0,
                        "weight_norm_mv": -100.0,
                        "schedule": [{"start_ms": 60.0, "factor": 0.0}, {"start_ms": 150.0, "factor": 2.5}]},
    },
    "normalised": {
        "pair": {**PAIR, "tau_ms": 20.0, "drift": [1e-3, -5e-3], "schedule": [{"start_ms": 100.0, "factor": 3.0}]},
        "sum": {"rule": "normalisation", "interval_ms": 50.0},
    },
    # a trace that is zero after 15 ms, by which many sources have not fired again
    "fading": {"pair": {"rule": "pair", "tau_ms": 0.5, "b_pre": [-1e-2, 1e-3], "b_post": [2e-2, -3e-3]}},
    "summed": {"sum": {"rule": "normalisation", "interval_ms": 50.0, "sum_mv": 3.0}},
    "summed_twice": {
        "sum": {"rule": "normalisation", "interval_ms": 50.0, "sum_mv": 3.0},
        "other": {"rule": "normalisation", "interval_ms": 40.0, "sum_mv": 6.0},
    },
    "falling": {"pair": {"rule": "pair", "tau_ms": 20.0, "b_pre": [-0.5, 0.0], "b_post": [0.1, 0.0]}},
}
"""Sets of rules by the projection that learns by them."""


def network(**run: Any) -> Experiment:
    """Forty neurons that an input drives; between the same two populations, a projection for each set of rules."""
    projections: dict[str, Any] = {
        f"X_to_{target}": {"source": "X", "target": target, "synapse": "current", "probability": 0.5, "weight_mv": 15.0}
        for target in ("A", "B")
    }
    plasticity = {}
    for projection, rules in PROJECTIONS.items():
        weight = -0.3 if "homeostatic" in rules else 0.3
        plasticity |= {f"{projection}_{name}": rule for name, rule in rules.items()}
        projections[projection] = {
            "source": "A", "target": "B", "synapse": "current", "probability": 0.5, "weight_mv": weight,
            "plasticity": [f"{projection}_{name}" for name in rules],
        }
    projections["falling"] |= {"synapse": "conductance", "match_at_mv": -72.0}
    return parse_experiment({
        "run": {"duration_ms": 300.0, **DOUBLE, **run},
        "neurons": {"lif": LIF},
        "populations": {"A": {"size": 25, "neuron": "lif"}, "B": {"size": 15, "neuron": "lif"}},
        "inputs": {"X": {"kind": "poisson", "size": 40, "rate_hz": 100.0}},
        "synapses": {
            "current": {"kind": "exponential_current", "tau_ms": 5.0},
            "conductance": {"kind": "exponential_conductance", "tau_ms": 5.0, "reversal_mv": 0.0},
        },
        "projections": projections,
        "plasticity": plasticity,
    })


Fired = list[tuple[NDArray[np.int64], NDArray[np.int64]]]


def simulate(experiment: Experiment, every: int) -> tuple[Simulation, Fired]:
    """Run to the end, and look at the weights every so many steps; return who fired of A and of B in each step."""
    simulation = Simulation(experiment)
    simulation.compile()
    simulation.start()
    fired = []
    while simulation.step < experiment.n_steps:
        simulation.advance(simulation.step + 1)
        x = simulation.exchange
        fired.append((x.fired[: x.offsets[1]].astype(np.int64), x.fired[x.offsets[1] : x.offsets[2]].astype(np.int64)))
        if simulation.step % every == 0:
            for projection in PROJECTIONS:
                simulation.present_weights(projection)
    return simulation, fired


class Reference:
    """The learning of one projection, step by step, with dense matrices."""

    def __init__(self, e: Experiment, projection: str, w: Array) -> None:
        self.e, self.w, self.connected, self.projection = e, w, ~np.isnan(w), projection
        self.rules = {name: e.plasticity[name] for name in e.projections[projection].rules}
        self.x = {(name, trace): np.zeros(w.shape[1] if trace.endswith("_pre") else w.shape[0])
                  for name, rule in self.rules.items() for trace in rule.traces}
        self.totals = {name: np.nansum(w, axis=1) if rule.sum_mv is None else np.full(w.shape[0], rule.sum_mv)
                       for name, rule in self.rules.items() if isinstance(rule, Normalisation)}

    def step(self, n: int, pre: NDArray[np.int64], post: NDArray[np.int64]) -> None:
        e = self.e
        scale, unit = e.weight_scale(self.projection), e.weight_unit(self.projection)
        factors = {name: ([1.0] + [c.factor for c in rule.schedule if e.steps(c.start_ms) < n])[-1]
                   for name, rule in self.rules.items()}
        for name, rule in self.rules.items():
            if isinstance(rule, PairRule):
                constant, slope = (factors[name] * c for c in rule.coefficients(scale, unit).drift)
                growth = np.exp(slope * e.run.dt_ms)
                self.w *= growth
                self.w += constant * ((growth - 1) / slope if slope else e.run.dt_ms)
        for k in pre:
            for name, rule in self.rules.items():
                self._change(np.s_[:, k], name, rule, factors[name], True)
        for j in post:
            for name, rule in self.rules.items():
                self._change(np.s_[j, :], name, rule, factors[name], False)
        for (name, trace), x in self.x.items():
            spikes = pre if trace.endswith("_pre") else post
            nearest = self.rules[name].pairing == "nearest_neighbour"
            x[spikes] = 1.0 if nearest else x[spikes] + 1
            np.multiply(x, 1 - e.run.dt_ms / self.rules[name].traces[trace], out=x)
        for name, rule in self.rules.items():
            if isinstance(rule, Normalisation) and n % e.steps(rule.interval_ms) == 0:
                self.w *= (self.totals[name] / np.nansum(self.w, axis=1))[:, np.newaxis]

    def _change(self, which: Any, name: str, rule: Any, factor: float, is_pre: bool) -> None:
        scale, unit = self.e.weight_scale(self.projection), self.e.weight_unit(self.projection)
        old, x = self.w[which], {trace: values for (of, trace), values in self.x.items() if of == name}
        if isinstance(rule, PairRule):
            c = rule.coefficients(scale, unit)
            a, b, trace = (c.a_pre, c.b_pre, "x_post") if is_pre else (c.a_post, c.b_post, "x_pre")
            change = (a[0] + a[1] * old) + (b[0] + b[1] * old) * x[trace]
        elif isinstance(rule, Triplet) and is_pre:
            y = x["y_pre"][which[1]]
            change = -x["x_post"] * (rule.a2_minus_mv + rule.a3_minus_mv * y) * unit
        elif isinstance(rule, Triplet):
            y = x["y_post"][which[0]]
            change = x["x_pre"] * (rule.a2_plus_mv + rule.a3_plus_mv * y) * unit
        else:
            return
        self.w[which] = old + factor * change
        if self.e.conducts(self.e.projections[self.projection].synapse):
            self.w[which] = np.maximum(self.w[which], 0.0)


def weights_of(simulation: Simulation, projection: str) -> Array:
    """Dense weights, target by source; NaN where there is no synapse."""
    state = state_of(simulation)
    dense = np.full((15, 25), np.nan)
    dense[state[f"post/{projection}"], state[f"pre/{projection}"]] = state[f"weights/{projection}"]
    return dense


def test_every_rule_agrees_with_the_reference() -> None:
    experiment = network()
    simulation, fired = simulate(experiment, every=experiment.n_steps)
    assert sum(pre.size for pre, _ in fired) > 200
    assert sum(post.size for _, post in fired) > 100
    for projection, rules in PROJECTIONS.items():
        measured, initial = weights_of(simulation, projection), experiment.initial_weight(projection)
        reference = Reference(experiment, projection, np.where(np.isnan(measured), np.nan, initial))
        for n, (pre, post) in enumerate(fired, start=1):
            reference.step(n, pre, post)
        np.testing.assert_allclose(measured, reference.w, rtol=1e-11, atol=1e-15, err_msg=projection)
        assert np.nanstd(measured) > 1e-3 * np.nanmean(np.abs(measured)), projection
        if "sum" in rules:
            np.testing.assert_allclose(np.nansum(measured, axis=1), reference.totals[f"{projection}_sum"], rtol=1e-12)
    assert np.nanmin(weights_of(simulation, "falling")) == 0.0     # a conductance does not become negative


def test_looking_at_weights_does_not_change_them() -> None:
    experiment = network(state_dtype="float32", weight_dtype="float32")
    seldom, often = (state_of(simulate(experiment, every)[0]) for every in (experiment.n_steps, 7))
    for projection in PROJECTIONS:
        assert seldom[f"weights/{projection}"].tobytes() == often[f"weights/{projection}"].tobytes(), projection


def at(step: int) -> dict[str, Any]:
    """A pulse so strong that its neurons spike in one step."""
    return {"kind": "current", "amplitude_mv_per_ms": 1000.0, "start_ms": (step - 1) * 0.1, "stop_ms": step * 0.1}


def paired(rule: dict[str, Any], pre: dict[int, list[int]], post: list[int]) -> Array:
    """Change of the weights of neurons that spike in given steps onto one that does in others."""
    pulses = {f"pre_{k}_{step}": {**at(step), "target": "A", "first": k, "count": 1}
              for k, steps in pre.items() for step in steps}
    pulses |= {f"post_{step}": {**at(step), "target": "B"} for step in post}
    resting = LIF | {"refractory_ms": 0.0, "V_reset_mv": -72.0}
    experiment = parse_experiment({
        "run": {"duration_ms": 300.0, "integrator": "exponential_euler", **DOUBLE},
        "neurons": {"lif": resting},
        "populations": {"A": {"size": len(pre), "neuron": "lif"}, "B": {"size": 1, "neuron": "lif"}},
        "inputs": pulses,
        "synapses": {"excitatory": {"kind": "exponential_current", "tau_ms": 5.0}},
        "projections": {"A_to_B": {"source": "A", "target": "B", "synapse": "excitatory", "probability": 1.0,
                                   "weight_mv": 1e-3, "plasticity": "A_to_B"}},
        "plasticity": {"A_to_B": rule},     # called like its projection
    })
    simulation = Simulation(experiment)
    simulation.compile()
    simulation.start()
    simulation.advance(experiment.n_steps)
    assert simulation.progress[1] == sum(map(len, pre.values()))
    assert simulation.progress[2] == len(post)
    return state_of(simulation)["weights/A_to_B"] - 1e-3


def test_the_window_of_pairs_is_the_formula() -> None:
    """One pair of spikes: +A_+ e^(-dt/tau_+) after, -A_- e^(-dt/tau_-) before the postsynaptic one."""
    lags = np.array([-800, -300, -55, -2, -1, 1, 2, 40, 250, 900])     # post minus pre, in steps
    rule = {"rule": "pair", "tau_pre_ms": 17.0, "tau_post_ms": 34.0, "b_pre": [-1e-5, 0.0], "b_post": [2e-5, 0.0]}
    measured = paired(rule, {k: [1000 - lag] for k, lag in enumerate(lags.tolist())}, [1000])
    expected = np.where(lags > 0, 2e-5 * np.exp(-0.1 * lags / 17.0), -1e-5 * np.exp(0.1 * lags / 34.0))
    np.testing.assert_allclose(measured, expected, rtol=1e-9)
    together = paired(rule, {0: [1000]}, [1000])
    np.testing.assert_allclose(together, 0.0, atol=1e-15)     # neither sees the other


def test_more_spikes_than_a_history_holds_are_all_applied() -> None:
    """A source that is silent while its target spikes 135 times, twice what a history holds."""
    first, last, post = 100, 2900, np.arange(120, 2820, 20)
    assert post.size > 2 * DEPTH
    rule = {"rule": "pair", "tau_pre_ms": 117.0, "tau_post_ms": 34.0, "b_pre": [-1e-5, 0.0], "b_post": [2e-5, 0.0]}
    measured = paired(rule, {0: [first, last]}, post.tolist())[0]
    plus = 2e-5 * np.exp(-0.1 * (post - first) / 117.0).sum()
    assert measured == pytest.approx(plus - 1e-5 * np.exp(-0.1 * (last - post) / 34.0).sum(), rel=1e-9)


def test_triplets_are_the_formula() -> None:
    """Pre-post-pre and post-pre-post (Pfister & Gerstner 2006, eqs. 3 and 4)."""
    a = {key: 1e-2 * TRIPLET[key] for key in ("a2_plus_mv", "a3_plus_mv", "a2_minus_mv", "a3_minus_mv")}
    rule = TRIPLET | a
    first, middle, last = 500, 580, 710

    def decay(tau: str, begin: int, end: int) -> float:
        return float(np.exp(-0.1 * (end - begin) / TRIPLET[tau]))

    measured = paired(rule, {0: [first, last], 1: [middle]}, [middle])[0]
    plus = decay("tau_plus_ms", first, middle) * a["a2_plus_mv"]
    minus = decay("tau_minus_ms", middle, last) * (a["a2_minus_mv"] + a["a3_minus_mv"] * decay("tau_x_ms", first, last))
    assert measured == pytest.approx(plus - minus, rel=1e-9)
    measured = paired(rule, {0: [middle], 1: [middle]}, [first, last])[0]
    minus = decay("tau_minus_ms", first, middle) * a["a2_minus_mv"]
    plus = decay("tau_plus_ms", middle, last) * (a["a2_plus_mv"] + a["a3_plus_mv"] * decay("tau_y_ms", first, last))
    assert measured == pytest.approx(plus - minus, rel=1e-9)
