"""Coding networks: the compiled step against a NumPy twin, both forms of learning, deaths, delays, noise and phases."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from mpi_engine.dynamics.conditions import Conditions
from mpi_engine.experiment import ExperimentError, parse_experiment
from mpi_engine.run.coding import CodingSimulation
from mpi_engine.run.health import UnhealthyError
from tests.coding_networks import NETWORKS, Table, make
from tests.unit.coding_twin import CodingTwin, signals_of

FREE = {"free": {"does": "run"}}


def started(table: Table) -> CodingSimulation:
    simulation = CodingSimulation(parse_experiment(table))
    simulation.compile()
    simulation.start()
    return simulation


def spikes_of(simulation: CodingSimulation, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Run to a step, and return the steps and ids of all spikes."""
    taken = []
    while simulation.step < steps:
        assert simulation.advance(steps) == 0
        record = simulation.spikes.records["coding"]
        kept = int(record.kept[0])
        taken.append((record.steps[:kept].copy(), record.ids[:kept].copy()))
        simulation.take_records()
    return tuple(np.concatenate(parts) for parts in zip(*taken, strict=True))


@pytest.mark.parametrize("network", [name for name in NETWORKS if name != "ties"])
def test_every_step_is_the_twins(network: str) -> None:
    simulation = started(make(**NETWORKS[network]))
    twin = CodingTwin(simulation)
    n_spikes, most = 0, 0
    for step in range(2500):
        before = simulation.progress[1]
        assert simulation.advance(step + 1) == 0
        fired = twin.step(step + 1, *signals_of(simulation, step))
        count = int(simulation.progress[1] - before)
        record = simulation.spikes.records["coding"]
        assert record.ids[: record.kept[0]][n_spikes:].tolist() == sorted(fired), step
        n_spikes, most = n_spikes + count, max(most, count)
        np.testing.assert_allclose(simulation.neurons.V, twin.V, rtol=0, atol=1e-9)
    np.testing.assert_allclose(simulation.neurons.readout, twin.readout, atol=1e-9)
    learned = simulation.basis.weights if twin.by_synapse else simulation.basis.theta.T @ twin.D
    np.testing.assert_allclose(learned, twin.W, rtol=0, atol=1e-8)
    assert n_spikes > 50
    if "several" in network:
        assert most > 1


def test_of_equals_the_first_spikes() -> None:
    """Ids 2i and 2i + 1 are alike: the first spikes, and pays for it, then it is the other's turn."""
    _, ids = spikes_of(started(make(**NETWORKS["ties"])), 4000)
    assert ids.size > 50
    for i in range(30):
        of_pair = ids[ids // 2 == i]
        if of_pair.size:
            assert of_pair[0] == 2 * i


def test_both_forms_of_learning_agree_spike_for_spike() -> None:
    """W = Theta D is exact: over 20 000 steps, the same neurons spike in the same steps."""
    phases = {"learn": make()["phases"]["learn"] | {"duration_ms": 1500.0}, "free": {"does": "run"}}
    table = make(run={"duration_ms": 2000.0}, phases=phases)
    factored = started(table)
    by_synapse = started(table | {"learning": {"form": "per_synapse"}})
    (steps, ids), (others_steps, others) = (spikes_of(simulation, 20_000) for simulation in (factored, by_synapse))
    assert steps.size > 500
    np.testing.assert_array_equal(steps, others_steps)
    np.testing.assert_array_equal(ids, others)
    W = factored.basis.theta.T @ factored.vectors.T
    assert np.abs(W).max() > 0.01
    np.testing.assert_allclose(by_synapse.basis.weights, W, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "who", [{"fraction": 0.25}, {"neurons": [0, 7, 8, 59]}], ids=["a fraction", "a list"]
)
def test_the_dead_do_not_spike(who: Table) -> None:
    simulation = started(make(deaths={"some": {"at_ms": 200.0, **who}}))
    steps, ids = spikes_of(simulation, 4000)
    before, after = set(ids[steps <= 2000].tolist()), set(ids[steps > 2000].tolist())
    alive_steps, alive_ids = spikes_of(started(make()), 4000)
    np.testing.assert_array_equal(ids[steps <= 2000], alive_ids[alive_steps <= 2000])
    dead = set(np.flatnonzero(np.isinf(simulation.neurons.threshold)).tolist())
    assert dead == set(who["neurons"]) if "neurons" in who else len(dead) == 15
    assert not dead & after
    assert dead & before


def test_a_larger_fraction_contains_a_smaller_one() -> None:
    dead = []
    for fraction in (0.1, 0.25, 0.5):
        simulation = started(make(deaths={"some": {"at_ms": 0.0, "fraction": fraction}}))
        dead.append(set(np.flatnonzero(np.isinf(simulation.neurons.threshold)).tolist()))
    assert [len(some) for some in dead] == [6, 15, 30]
    assert dead[0] < dead[1] < dead[2]


def test_no_deaths_leave_more_dead_than_live() -> None:
    """Together, that is: each of these does not, and whom the first takes is known only when it is drawn."""
    deaths = {"some": {"at_ms": 0.0, "fraction": 0.5}, "others": {"at_ms": 300.0, "neurons": list(range(20))}}
    with pytest.raises(ExperimentError, match="deaths: leave more dead neurons than live ones"):
        CodingSimulation(parse_experiment(make(deaths=deaths)))


def test_noise_has_the_deviation_that_is_asked_for() -> None:
    """V without input is a stationary process of standard deviation rho T, as long as nobody spikes."""
    network = {"noise": 0.2, "size": 400, "decoder": {"kind": "random", "norm": 0.08}}
    phases = {"rest": {"does": "run", "state": [0.0, 0.0]}}
    simulation = started(make(network=network, phases=phases, run={"duration_ms": 1000.0}))
    assert simulation.advance(10_000) == 0
    assert simulation.progress[1] == 0
    relative = simulation.neurons.V / simulation.neurons.threshold
    # 400 independent values of a normal distribution: four standard errors
    assert abs(relative.std() / 0.2 - 1) < 4 / np.sqrt(2 * 400)
    assert abs(relative.mean()) < 4 * 0.2 / np.sqrt(400)


def test_feedback_makes_the_readout_follow() -> None:
    """Tracking error is of the order of a spike's effect; a network without feedback and drift decays to zero."""
    phases = {"follow": {"does": "synchronise", "feedback_per_s": 100.0}}
    table = make(phases=phases, run={"duration_ms": 1000.0}, recording={"state": {"interval_ms": 1.0}})
    simulation = started(table)
    assert simulation.advance(10_000) == 0
    records = {record.path: record.values for record in simulation.take_records()}
    error = records["/coding/state/error"]
    np.testing.assert_array_equal(error, records["/coding/state/x"] - records["/coding/state/xhat"])
    assert error.shape == (1000, 2)
    assert np.sqrt((error[200:] ** 2).sum(axis=1).mean()) < 2 * 0.08
    alone = {"phases": {"free": {"does": "run"}}, "network": table["network"] | {"compensates_leak": False}}
    free = started(table | alone)
    assert free.advance(10_000) == 0
    assert np.abs(free.neurons.readout).max() < 2 * 0.08


def test_the_exact_drift_runs_freely_where_none_does_not() -> None:
    """The bounds of what learning can reach: an oscillation goes on for two seconds, or is gone in tenths of one."""
    phases = {"synchronise": {"does": "synchronise", "duration_ms": 300.0, "feedback_per_s": 100.0}, **FREE}
    errors = {}
    for drift in ("exact", "learned"):
        network = {"size": 200, "drift": drift, "decoder": {"kind": "random", "norm": 0.03}}
        recording = {"state": {"interval_ms": 10.0}, "segment_ms": 2000.0}
        table = make(network=network, phases=phases, run={"duration_ms": 2000.0}, recording=recording,
                     teacher={"kind": "oscillator", "damping_per_s": 0.0})
        simulation = started(table)
        assert simulation.advance(20_000) == 0
        error = next(r.values for r in simulation.take_records() if r.path == "/coding/state/error")
        errors[drift] = np.sqrt((error[150:] ** 2).sum(axis=1).mean())
    assert errors["exact"] < 0.15
    assert errors["learned"] > 0.5


def test_phases_and_trials_take_place_in_order() -> None:
    phases = {
        "learn": {"does": "learn", "duration_ms": 10.0, "feedback_per_s": {"geometric": [100.0, 25.0]},
                  "learning_rate_per_s2": 4.0},
        "synchronise": {"does": "synchronise", "duration_ms": 2.0, "feedback_per_s": 50.0, "state": [0.5, 0.5]},
        "free": {"does": "run", "duration_ms": 3.0},
    }
    table = make(phases=phases, run={"duration_ms": 25.0}, trials={"from_phase": "synchronise", "count": 3})
    experiment = parse_experiment(table)
    assert [(stage.name, stage.first, stage.last) for stage in experiment.stages] == [
        ("learn", 0, 100), ("synchronise", 100, 120), ("free", 120, 150), ("synchronise", 150, 170),
        ("free", 170, 200), ("synchronise", 200, 220), ("free", 220, 250),
    ]
    simulation = started(table)
    signals = []
    for step in range(250):
        assert simulation.advance(step + 1) == 0
        signals.append(signals_of(simulation, step))
    feedback = np.array([signal[2] for signal in signals])
    np.testing.assert_allclose(feedback[[0, 50]], [100.0, 50.0], rtol=1e-12)
    assert set(feedback[100:120]) == {50.0}
    assert not feedback[120:150].any()
    assert [signal[3] for signal in (signals[99], signals[100])] == [4.0, 0.0]
    given = (np.array([0.5, 0.5]) - experiment.teacher.offset) / experiment.teacher.scale
    np.testing.assert_allclose(signals[100][0], given, atol=0.01)     # a step after it was given
    for first in (150, 200):
        np.testing.assert_array_equal(signals[first][0], signals[100][0])


def test_inputs_are_what_they_say() -> None:
    """Pulses of the given length and distance; a process of the given deviation and time constant."""
    pulses = {"kind": "pulses", "amplitude_per_s": 6.0, "length_ms": 4.0, "interval_ms": [5.0, 9.0]}
    noise = {"kind": "ornstein_uhlenbeck", "std_per_s": 2.0, "tau_ms": 5.0}
    first = {"does": "run", "duration_ms": 2000.0, "input": pulses}
    phases = {"pulses": first, "noise": {"does": "run", "input": noise}}
    conditions = Conditions(parse_experiment(make(phases=phases, run={"duration_ms": 12_000.0})))
    c = conditions.input(0, 20_000, np.zeros(2))
    assert set(np.unique(c)) == {-6.0, 0.0, 6.0}
    np.testing.assert_array_equal(c[:, 0] != 0, c[:, 1] != 0)
    assert {(-6.0, 6.0), (6.0, 6.0)} <= set(map(tuple, c.tolist()))
    edges = np.flatnonzero(np.diff(c[:, 0] != 0))
    lengths = np.diff(edges)
    assert set(lengths[::2]) == {40}
    assert lengths[1::2].min() >= 50
    assert lengths[1::2].max() <= 90
    np.testing.assert_array_equal(conditions.input(777, 1000, np.zeros(2)), c[777:1777])
    state = np.zeros(2)
    c = conditions.input(20_000, 100_000, state)
    # 10 s of a process of 5 ms: 1000 independent values and more in each of two dimensions
    assert abs(c[1000:].std() / 2.0 - 1) < 0.1
    assert abs(np.mean(c[1000:-50] * c[1050:]) / 4.0 - np.exp(-1)) < 0.1


def test_currents_of_chosen_neurons_add_up() -> None:
    """Slow excitation and inhibition are the drift that a neuron receives, in both forms alike."""
    recording = {"currents": {"neurons": 4, "interval_ms": 1.0}}
    found = []
    for form in ("factored", "per_synapse"):
        simulation = started(make(recording=recording, learning={"form": form}))
        assert simulation.advance(2000) == 0
        drift, readout = simulation.neurons.drift.copy(), simulation.neurons.readout.copy()
        values = {record.path.rpartition("/")[2]: record.values for record in simulation.take_records()
                  if record.path.startswith("/coding/currents/")}
        assert (values["slow_E"] >= 0).all()
        assert (values["slow_I"] <= 1e-9).all()
        assert (values["lateral_I"] <= 0).all()
        if form == "factored":
            D = simulation.vectors[values["node_ids"].astype(int)]
            net = values["slow_E"][-1] + values["slow_I"][-1]
            np.testing.assert_allclose(net, D @ (drift + 10.0 * readout), rtol=0, atol=1e-9)
        found.append(values)
    exact = started(make(recording=recording, network={"drift": "exact"}))
    assert exact.advance(2000) == 0
    values = {record.path.rpartition("/")[2]: record.values for record in exact.take_records()}
    assert (values["slow_E"] * values["slow_I"] == 0).all()
    assert values["slow_E"].min() >= 0 >= values["slow_I"].max()
    assert values["slow_E"].any() and values["slow_I"].any()
    for name, values in found[0].items():
        np.testing.assert_allclose(values, found[1][name], rtol=0, atol=1e-6, err_msg=name)


def test_a_number_out_of_range_ends_the_run() -> None:
    """An overflow of the sums raises the status word of ill health; it is no wrong number."""
    simulation = started(make())
    simulation.basis.theta[0, 3] = 1e7
    with pytest.raises(UnhealthyError, match=r"unhealthy at .* ms, step 1: .*learning_rate_per_s2"):
        simulation.advance(4000)
    simulation = started(make())
    simulation.basis.theta[1, 0] = np.nan
    with pytest.raises(UnhealthyError, match="not a number"):
        simulation.advance(4000)


def test_saturation_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    network = {"decoder": {"kind": "random", "norm": 0.002}}
    phases = {"hurry": {"does": "synchronise", "feedback_per_s": 100.0}}     # the only one
    with caplog.at_level(logging.WARNING, "steelyard"):
        simulation = started(make(network=network, phases=phases))
        simulation.advance(4000)
    assert "phase hurry" in caplog.text
    assert "spikes_per_step" in caplog.text


def test_decoding_vectors_must_span() -> None:
    vectors = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.1]] * 20
    table = make(network={"decoder": {"kind": "given", "vectors": vectors}})
    with pytest.raises(ExperimentError, match=r"network\.decoder.*span"):
        CodingSimulation(parse_experiment(table))
    vectors[2] = [-1.0, -1.0]
    CodingSimulation(parse_experiment(make(network={"decoder": {"kind": "given", "vectors": vectors}})))
