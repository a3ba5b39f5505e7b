"""Statistics, rates and weights of a run against NumPy on the traces of the same run at every step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.report import report
from mpi_engine.experiment import parse_experiment
from mpi_engine.output.difference import differences
from mpi_engine.output.reader import RunReader, open_run
from mpi_engine.run.job import run
from mpi_engine.run.simulation import Simulation

DT_MS, DURATION_MS = 0.1, 120.0
PARTS = {"E1": {"population": "E", "first": 5, "count": 20}, "E2": {"population": "E", "neurons": [0, 7, 44]}}


def conductances(statistics: dict[str, Any], segment_ms: float = 50.0) -> dict[str, Any]:
    """A plastic network with conductances, V of all neurons traced at every step."""
    weight = {"probability": 0.3, "match_at_mv": -72.0}
    everything = {"interval_ms": DT_MS}
    return {
        "seed": 5,
        "run": {"duration_ms": DURATION_MS, "dt_ms": DT_MS, "integrator": "exponential_euler"},
        "neurons": {"cortical": {
            "model": "eif", "tau_m_ms": 15.0, "E_L_mv": -72.0, "V_T_mv": -55.0, "Delta_T_mv": 1.0, "V_th_mv": -50.0,
            "V_reset_mv": -75.0, "V_init_mv": {"uniform": [-75.0, -55.0]},
        }},
        "populations": {"E": {"size": 50, "neuron": "cortical"}, "I": {"size": 20, "neuron": "cortical"}},
        "subpopulations": PARTS,
        "inputs": {
            "X": {"kind": "poisson", "size": 40, "rate_hz": 60.0, "correlation": 0.2},
            "pulse": {"kind": "current", "target": "E", "count": 20, "amplitude_mv_per_ms": 0.3, "start_ms": 33.3},
        },
        "synapses": {
            "excitatory": {"kind": "exponential_conductance", "tau_ms": 8.0, "reversal_mv": 0.0},
            "inhibitory": {"kind": "exponential_conductance", "tau_ms": 4.0, "reversal_mv": -80.0},
        },
        "projections": {
            "I_to_E": {"source": "I", "target": "E", "synapse": "inhibitory", "weight_mv": -10.0, **weight,
                       "plasticity": "homeostatic"},
            "E_to_I": {"source": "E", "target": "I", "synapse": "excitatory", "weight_mv": 8.0, **weight},
            "X_to_E": {"source": "X", "target": "E", "synapse": "excitatory", "weight_mv": 8.0, **weight},
        },
        "plasticity": {"homeostatic": {"rule": "homeostatic", "tau_ms": 20.0, "learning_rate_mv": 0.05,
                                       "target_rate_hz": 10.0, "weight_norm_mv": -8.0}},
        "recording": {
            "segment_ms": segment_ms,
            "sample_ms": 0.5,
            "spikes": ["E", "I"],
            "rates": {"bin_ms": 5.0, "subpopulations": ["E2", "E1"]},
            "statistics": {"start_ms": 10.0, "block_ms": 30.0, "shadow_voltage": True, **statistics},
            "weights": {"interval_ms": 40.0, "sample": 10**6, "targets": {"I_to_E": ["E1", "E2"]}},
            "traces": {"E": {"neurons": 50, **everything}, "I": {"neurons": 20, **everything},
                       "E2": {"neurons": 2, "interval_ms": 1.0}},
        },
    }


def recorded(description: dict[str, Any], directory: Path) -> RunReader:
    run(parse_experiment(description), directory)
    return open_run(directory)


@pytest.fixture(scope="module", params=["averaged", "momentary"])
def conducting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunReader:
    statistics = {"average_ms": 1.5, "start_ms": 9.9} if request.param == "averaged" else {}
    return recorded(conductances(statistics), tmp_path_factory.mktemp(request.param) / "run")


def samples_of(reader: RunReader, population: str, variable: str) -> np.ndarray:
    """Samples of a variable in the blocks of the statistics, shape (blocks, samples, neurons)."""
    statistics = reader.experiment.recording.statistics
    values = reader.traces(population).values[variable].astype(np.float64)
    first, block = round(statistics.start_ms / DT_MS), round(statistics.block_ms / DT_MS)
    n_blocks = (len(values) - first) // block
    blocks = values[first : first + n_blocks * block].reshape(n_blocks, block, -1)
    if statistics.average_ms:
        window = round(statistics.average_ms / DT_MS)
        return blocks.reshape(n_blocks, block // window, window, -1).mean(axis=2)
    every = round(reader.experiment.recording.sample_ms / DT_MS)
    return blocks[:, every - 1 :: every]


@pytest.mark.parametrize("population", ["E", "I"])
def test_statistics_are_those_of_the_traces(conducting: RunReader, population: str) -> None:
    e, found = conducting.experiment, conducting.statistics(population)
    names = e.variables_of(population)
    assert names[-3:] == ["I_total", "V_free", "g_total"]
    assert found.average_ms == e.recording.statistics.average_ms
    for name in names:
        samples = samples_of(conducting, population, name)
        assert found.mean[name].shape == (3, e.populations[population].size)
        assert np.all(found.samples == samples.shape[1])
        np.testing.assert_allclose(found.mean[name], samples.mean(axis=1), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(found.variance[name], samples.var(axis=1), rtol=1e-9, atol=1e-11)
    V, g = samples_of(conducting, population, "V"), samples_of(conducting, population, "g_total")
    centred_V, centred_g = (x - x.mean(axis=1, keepdims=True) for x in (V, g))
    np.testing.assert_allclose(found.covariance_V_g, (centred_V * centred_g).mean(axis=1), atol=1e-12)
    assert np.all(found.covariance_V_g.std(axis=1) > 0.01)
    np.testing.assert_allclose(found.tau_effective_ms, (1 / g).mean(axis=1), rtol=1e-12)
    assert np.all(np.isnan(found.absolute_V_g[0]))
    before = V[:-1].mean(axis=1, keepdims=True), g[:-1].mean(axis=1, keepdims=True)
    absolute = np.abs((V[1:] - before[0]) * (g[1:] - before[1])).mean(axis=1)
    np.testing.assert_allclose(found.absolute_V_g[1:], absolute, rtol=1e-10)


def test_total_conductance_is_leak_and_synapses(conducting: RunReader) -> None:
    values = conducting.traces("E").values
    total = 1 / 15 + values["g_inhibitory"].astype(np.float64) + values["g_excitatory"]
    np.testing.assert_allclose(values["g_total"], total, rtol=1e-6)
    assert values["g_total"].max() > 0.1


def test_spike_counts_are_those_of_the_blocks(conducting: RunReader) -> None:
    found, spikes = conducting.statistics("E"), conducting.spikes("E")
    for start, counts in zip(found.start_ms, found.spike_count, strict=True):
        inside = (spikes.times_ms > start + DT_MS / 2) & (spikes.times_ms < start + found.block_ms + DT_MS / 2)
        np.testing.assert_array_equal(counts, np.bincount(spikes.ids[inside], minlength=50))
    assert found.spike_count.sum() > 20


@pytest.mark.parametrize("name", ["E", "I", "E1", "E2"])
def test_rates_and_means_in_bins(conducting: RunReader, name: str) -> None:
    population, members = conducting.experiment.members(name)
    rates, traces, spikes = conducting.rates(name), conducting.traces(population), conducting.spikes(population)
    times = spikes.times_ms[np.isin(spikes.ids, members)]
    counts = np.histogram(times, np.append(rates.times_ms, DURATION_MS) + DT_MS / 2)[0]
    np.testing.assert_allclose(rates.rate_hz, counts / (members.size * 5e-3))
    assert counts.sum() > 0
    for variable, values in traces.values.items():
        samples = values[4::5, members].astype(np.float64).reshape(rates.times_ms.size, 10, -1)
        unit = 2.0**-20 if variable.startswith("V") else 2.0**-24 if variable.startswith("I") else 2.0**-30
        # each sample is rounded to a whole number of units
        np.testing.assert_allclose(rates.means[variable], samples.mean(axis=(1, 2)), rtol=0, atol=0.51 * unit)
    assert np.all(rates.means["g_total"] > 1e5 * 2.0**-30)


def test_traces_of_a_subpopulation(conducting: RunReader) -> None:
    part, whole = conducting.traces("E2"), conducting.traces("E")
    assert set(part.ids) < {0, 7, 44}
    for name, values in part.values.items():
        np.testing.assert_array_equal(values, whole.values[name][9::10][:, part.ids])


def test_weights_onto_subpopulations(conducting: RunReader) -> None:
    weights = conducting.weights("I_to_E")
    assert set(weights.onto) == {"E1", "E2"}
    assert weights.sample.shape == (4, weights.synapses)
    for name, moments in weights.onto.items():
        mine = weights.sample[:, np.isin(weights.sample_target, conducting.experiment.members(name)[1])]
        np.testing.assert_allclose(moments.mean, mine.mean(axis=1, dtype=np.float64), rtol=1e-12)
        np.testing.assert_allclose(moments.variance, mine.var(axis=1, dtype=np.float64), rtol=1e-7)
    assert np.all(weights.onto["E1"].mean[1:] != weights.mean[1:])


def test_records_do_not_depend_on_the_segments(tmp_path: Path) -> None:
    for segment_ms in (17.3, 120.0):
        recorded(conductances({"average_ms": 1.5}, segment_ms), tmp_path / f"{segment_ms}")
    assert differences(tmp_path / "17.3", tmp_path / "120.0") == []


def test_degrees_are_written_once(tmp_path: Path) -> None:
    simulation = Simulation(parse_experiment(conductances({})))
    simulation.compile()
    simulation.start()
    paths = []
    for step in (100, 200):
        simulation.advance(step)
        paths.append({record.path for record in simulation.take_records()})
    assert {path for path in paths[0] - paths[1]} == {
        f"/network/{projection}/{side}_degree" for projection in simulation.experiment.projections
        for side in ("in", "out")
    }


def test_a_report_can_be_made_of_it(tmp_path: Path) -> None:
    description = conductances({})
    for traces in description["recording"]["traces"].values():
        traces["neurons"] = 1
    page = report([recorded(description, tmp_path / "run")])
    assert "Membrane potentials in the last second" in page


def test_what_was_not_recorded_separately(conducting: RunReader) -> None:
    with pytest.raises(Exception, match="E3"):
        conducting.rates("E3")
    with pytest.raises(Exception, match=r"traces of E1 were not recorded; add recording.traces.E1"):
        conducting.traces("E1")


def test_free_voltage_has_the_variance_of_filtered_shot_noise(tmp_path: Path) -> None:
    """Campbell's theorem: Poisson spikes of rate r and charge J, filtered by synapse and membrane.

    The kernel of V is k(t) = J tau_m / (tau_m - tau_s) (exp(-t/tau_m) - exp(-t/tau_s)), whose square has the integral
    J^2 tau_m^2 / (2 (tau_m + tau_s)); the mean over a block of length T takes r J^2 tau_m^2 / T off the variance.
    """
    tau_m, tau_s, charge, degree, rate_hz, block = 15.0, 8.0, 1.5, 10, 50.0, 4000.0
    reader = recorded({
        "seed": 2,
        "run": {"duration_ms": 100.0 + block, "dt_ms": 0.1, "integrator": "exponential_euler"},
        "neurons": {"cell": {"model": "lif", "tau_m_ms": tau_m, "E_L_mv": -70.0, "V_th_mv": -55.0,
                             "V_reset_mv": -75.0, "V_init_mv": -60.0, "refractory_ms": 2.0}},
        "populations": {"P": {"size": 150, "neuron": "cell"}},
        "inputs": {"X": {"kind": "poisson", "size": 1500, "rate_hz": rate_hz}},
        "synapses": {"s": {"kind": "exponential_current", "tau_ms": tau_s}},
        "projections": {"XP": {"source": "X", "target": "P", "synapse": "s", "in_degree": degree, "weight_mv": charge}},
        "recording": {"segment_ms": block + 100.0, "spikes": ["P"],
                      "statistics": {"start_ms": 100.0, "block_ms": block, "shadow_voltage": True}},
    }, tmp_path / "run")
    found = reader.statistics("P")
    rate = degree * rate_hz * 1e-3
    variance = rate * charge**2 * tau_m**2 * (1 / (2 * (tau_m + tau_s)) - 1 / block)
    # 150 neurons of 4000 ms with a correlation time of about 20 ms: the variance is known to 1 %
    assert found.variance["V_free"].mean() == pytest.approx(variance, rel=0.05)
    error = np.sqrt(rate * charge**2 * tau_m**2 / block / 150)
    assert found.mean["V_free"].mean() == pytest.approx(-70.0 + rate * charge * tau_m, abs=6 * error)
    assert found.spike_count.sum() > 1000
    assert found.variance["V"].mean() != pytest.approx(variance, rel=0.05)
    assert "g_total" not in found.mean
    assert found.covariance_V_g is None
    assert found.average_ms is None
