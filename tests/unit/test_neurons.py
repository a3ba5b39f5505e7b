"""Neuron models against theory: f-I curves by closed form and quadrature, trajectories by an independent ODE solver."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from mpi_engine.experiment import parse_experiment
from mpi_engine.run.simulation import Simulation

BASE = {"tau_m_ms": 15.0, "E_L_mv": -72.0, "V_reset_mv": -75.0, "V_init_mv": -75.0}
LIF = BASE | {"model": "lif", "V_th_mv": -55.0, "refractory_ms": 2.0}
EIF = BASE | {"model": "eif", "V_T_mv": -55.0, "Delta_T_mv": 1.0, "V_th_mv": -50.0}
ADEX = EIF | {"model": "adex", "tau_w_ms": 150.0, "a_per_ms": 0.02, "b_mv_per_ms": 0.1}
CURRENTS = (1.0, 1.3, 2.0, 3.0)     # mV/ms; the rheobase of the LIF is 17/15, of the EIF 16/15


def fire(neuron: dict[str, Any], integrator: str, duration_ms: float, dt_ms: float) -> list[np.ndarray]:
    """Spike times [ms] of one neuron for each current."""
    experiment = parse_experiment({
        "run": {"duration_ms": duration_ms, "dt_ms": dt_ms, "integrator": integrator, "state_dtype": "float64"},
        "neurons": {"cell": neuron},
        "populations": {"P": {"size": len(CURRENTS), "neuron": "cell"}},
        "inputs": {
            f"step{k}": {"kind": "current", "target": "P", "first": k, "count": 1, "amplitude_mv_per_ms": current}
            for k, current in enumerate(CURRENTS)
        },
        "recording": {"spikes": ["P"], "segment_ms": duration_ms},
    })
    simulation = Simulation(experiment)
    simulation.compile()
    simulation.start()
    simulation.advance(experiment.n_steps)
    record = simulation.spikes.records["P"]
    steps, ids = record.steps[: record.kept[0]], record.ids[: record.kept[0]]
    return [steps[ids == k] * dt_ms for k in range(len(CURRENTS))]


def test_lif_fires_as_the_closed_form_says() -> None:
    spikes = fire(LIF, "exponential_euler", 1000.0, 0.01)
    for current, times in zip(CURRENTS, spikes, strict=True):
        target = -72.0 + 15.0 * current
        if target <= -55.0:
            assert times.size == 0
            continue
        period = 2.0 + 15.0 * np.log((target + 75.0) / (target + 55.0))
        # the membrane is exact, and a spike and the end of refractoriness fall on the grid of steps
        assert times.size >= int(1000.0 / period)
        assert np.diff(times) == pytest.approx(period, abs=0.02)


def time_per_mv(V: float, current: float) -> float:
    """Inverse of the EIF's slope [ms/mV]."""
    return 1 / (((-72.0 - V) + np.exp(V + 55.0)) / 15.0 + current)


@pytest.mark.parametrize("integrator", ["forward_euler", "exponential_euler"])
def test_eif_fires_as_quadrature_says(integrator: str) -> None:
    spikes = fire(EIF, integrator, 1000.0, 0.01)
    for current, times in zip(CURRENTS, spikes, strict=True):
        if current < 16 / 15:
            assert times.size == 0
            continue
        period = quad(time_per_mv, -75.0, -50.0, args=(current,), points=[-56.0, -55.0, -54.0])[0]
        assert times.size >= int(1000.0 / period)
        assert np.diff(times) == pytest.approx(period, rel=0.005)     # first order in dt = 0.01 ms


@pytest.mark.parametrize("integrator", ["forward_euler", "exponential_euler"])
def test_adex_fires_as_an_ode_solver_says(integrator: str) -> None:
    spikes = fire(ADEX, integrator, 400.0, 0.01)
    for current, times in zip(CURRENTS[1:], spikes[1:], strict=True):
        expected = adex_spikes(current, 400.0)
        assert times.size == expected.size
        assert times == pytest.approx(expected, rel=0.005)
        if times.size > 3:
            assert np.diff(times)[-1] > 1.2 * np.diff(times)[0], "it does not adapt"


def adex_spikes(current: float, duration_ms: float) -> np.ndarray:
    """Spike times of the AdEx by integration between spikes to a tolerance of 1e-9."""
    def slope(_: float, y: np.ndarray) -> list[float]:
        V, w = y
        return [((-72.0 - V) + np.exp(V + 55.0)) / 15.0 - w + current, (0.02 * (V + 72.0) - w) / 150.0]

    def threshold(_: float, y: np.ndarray) -> float:
        return float(y[0]) + 50.0

    threshold.terminal = True     # type: ignore[attr-defined]
    t, y, times = 0.0, [-75.0, 0.0], []
    while True:
        solution = solve_ivp(slope, (t, duration_ms), y, events=threshold, rtol=1e-9, atol=1e-9)
        if not solution.t_events[0].size:
            return np.array(times)
        t = float(solution.t_events[0][0])
        times.append(t)
        y = [-75.0, float(solution.y_events[0][0][1]) + 0.1]


@pytest.mark.parametrize(("delay_ms", "recurrent_steps", "input_steps"), [(None, 1, 0), (0.1, 1, 1), (1.5, 15, 15)])
def test_a_spike_acts_after_its_delay(delay_ms: float | None, recurrent_steps: int, input_steps: int) -> None:
    """A chain X -> A -> B: when does the current of each target jump?"""
    delay = {} if delay_ms is None else {"delay_ms": delay_ms}
    synapse = {"synapse": "fast", "probability": 1.0, **delay}
    experiment = parse_experiment({
        "run": {"duration_ms": 40.0, "dt_ms": 0.1, "state_dtype": "float64"},
        "neurons": {"cell": EIF | {"V_init_mv": -72.0}},
        "populations": {"A": {"size": 1, "neuron": "cell"}, "B": {"size": 1, "neuron": "cell"}},
        "inputs": {"X": {"kind": "poisson", "size": 1, "rate_hz": 100.0}},
        "synapses": {"fast": {"kind": "exponential_current", "tau_ms": 1.0}},
        "projections": {
            "XA": {"source": "X", "target": "A", "weight_mv": 100.0, **synapse},
            "AB": {"source": "A", "target": "B", "weight_mv": 1.0, **synapse},
        },
        "recording": {
            "spikes": ["X", "A"],
            "traces": {"A": {"neurons": 1, "interval_ms": 0.1}, "B": {"neurons": 1, "interval_ms": 0.1}},
        },
    })
    simulation = Simulation(experiment)
    simulation.compile()
    simulation.start()
    simulation.advance(experiment.n_steps)
    first = {name: int(record.steps[0]) for name, record in simulation.spikes.records.items() if record.kept[0]}
    assert set(first) == {"X", "A"}
    jump = {}
    for name in ("A", "B"):
        current = simulation.neurons.traces[name].values[: experiment.n_steps, 1, 0]
        jump[name] = int(np.flatnonzero(current > 0)[0]) + 1
    assert jump["A"] - first["X"] == input_steps
    assert jump["B"] - first["A"] == recurrent_steps


def test_a_step_is_arithmetic_in_the_format_of_the_state() -> None:
    """Bit for bit: no number passes through a wider format, and none is contracted or reordered by the compiler."""
    f = np.float32
    experiment = parse_experiment({
        "seed": 2,
        "run": {"duration_ms": 60.0, "dt_ms": 0.1, "state_dtype": "float32"},
        "neurons": {"cell": LIF | {"V_init_mv": {"uniform": [-75.0, -56.0]}}},
        "populations": {"P": {"size": 45, "neuron": "cell"}},
        "inputs": {"drive": {"kind": "current", "target": "P", "first": 5, "amplitude_mv_per_ms": 2.7}},
        "synapses": {"slow": {"kind": "exponential_current", "tau_ms": 7.0}},
        "projections": {"PP": {"source": "P", "target": "P", "synapse": "slow", "probability": 0.4, "weight_mv": 1.1}},
    })
    simulation = Simulation(experiment)
    simulation.compile()
    simulation.start()
    neurons, synapses = simulation.populations["P"], simulation.projections["PP"]
    V, current = neurons.V.copy(), np.zeros(45, f)
    drive = np.where(np.arange(45) < 5, f(0), f(2.7))
    waiting, n_spikes = np.zeros(45, int), 0
    for step in range(1, experiment.n_steps + 1):
        arrivals = synapses.arrivals[0].astype(f)
        simulation.advance(step)
        current = (current + synapses.gain[0] * arrivals) * f(1 - 0.1 / 7.0)
        moved = V + f(0.1) * (f(1 / 15.0) * (f(-72.0) - V) + (current + drive))
        fired = (moved >= f(-55.0)) & (waiting == 0)
        V = np.where(fired, f(-75.0), np.where(waiting > 0, V, moved))
        waiting = np.where(fired, 20, np.maximum(waiting - 1, 0))
        n_spikes += int(fired.sum())
        np.testing.assert_array_equal(neurons.currents[0], current)
        np.testing.assert_array_equal(neurons.V, V)
        np.testing.assert_array_equal(np.maximum(neurons.held_until - step, 0), waiting)
    assert n_spikes > 50
    assert current.min() > 0
