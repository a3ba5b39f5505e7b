"""The same networks in Brian2: spike for spike where it is given ours, and in their statistics where it draws its own.

How the two differ within a step, and what makes up for it, is said in `brian2_network`.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ttest_ind

from analysis.correlations import pair_statistics
from analysis.spikes import window_counts
from analysis.variability import coefficients_of_variation
from mpi_engine.experiment import parse_experiment
from mpi_engine.output.reader import open_run
from mpi_engine.run.job import run
from mpi_engine.run.simulation import Simulation

Table = dict[str, Any]
Arrays = dict[str, NDArray[Any]]
Spikes = dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]]
"""Times [ms] and ids by population."""

PYTHON = Path(__file__).parents[2] / ".venv-peers" / "bin" / "python"
SCRIPT = Path(__file__).with_name("brian2_network.py")
DT_MS = 0.1


def brian2(directory: Path, **task: Any) -> Arrays:
    """Let Brian2 simulate a task of `brian2_network`."""
    assert PYTHON.exists(), "the tests need Brian2 in .venv-peers: make peers"
    asked, result = directory / "task.json", directory / "brian2.npz"
    asked.write_text(json.dumps(task), encoding="utf-8")
    finished = subprocess.run([PYTHON, SCRIPT, asked, result], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return dict(np.load(result))


# --- the same network and input spikes -----------------------------------------------------------------------------

LIF = {"model": "lif", "tau_m_ms": 15.0, "E_L_mv": -72.0, "V_th_mv": -55.0, "V_reset_mv": -75.0, "V_init_mv": -70.0,
       "refractory_ms": 2.0}
EIF = LIF | {"model": "eif", "V_T_mv": -55.0, "Delta_T_mv": 1.0, "V_th_mv": -50.0, "refractory_ms": 0.0}
ADEX = EIF | {"model": "adex", "tau_w_ms": 50.0, "a_per_ms": 0.02, "b_mv_per_ms": 0.1, "refractory_ms": 0.5}

AGREEMENT = 1e-9
"""Relative difference of membrane potentials: 10^4 steps of float64, rounded in another order."""


def four_models() -> Table:
    """A few neurons of every model, driven by recorded spikes and, some, by each other."""
    models = {"lif": LIF, "conducting": LIF, "eif": EIF, "adex": ADEX}
    projections: Table = {}
    for name in models:
        fast, slow, excite, inhibit = "excitatory", "inhibitory", {"weight_mv": 1.4}, {"weight_mv": -1.5}
        if name == "conducting":
            fast, slow, excite, inhibit = "opening", "shunting", {"weight": 0.024}, {"weight": 0.05}
        projections[f"X_to_{name}"] = {"source": "X", "target": name, "synapse": fast, "probability": 0.4, **excite}
        projections[f"Y_to_{name}"] = {"source": "Y", "target": name, "synapse": slow, "probability": 0.4, **inhibit,
                                       "delay_ms": 1.5}
    projections["eif_to_adex"] = {"source": "eif", "target": "adex", "synapse": "excitatory", "probability": 0.5,
                                  "weight_mv": 2.0}
    projections["adex_to_eif"] = {"source": "adex", "target": "eif", "synapse": "inhibitory", "probability": 0.5,
                                  "weight_mv": -3.0, "delay_ms": 0.7}
    return {
        "seed": 5,
        "run": {"duration_ms": 1000.0, "dt_ms": DT_MS, "integrator": "forward_euler", "state_dtype": "float64"},
        "neurons": models,
        "populations": {name: {"size": 5, "neuron": name} for name in models},
        "inputs": {"X": {"kind": "poisson", "size": 200, "rate_hz": 20.0},
                   "Y": {"kind": "poisson", "size": 50, "rate_hz": 20.0}},
        "synapses": {
            "excitatory": {"kind": "exponential_current", "tau_ms": 5.0},
            "inhibitory": {"kind": "exponential_current", "tau_ms": 8.0},
            "opening": {"kind": "exponential_conductance", "tau_ms": 5.0, "reversal_mv": 0.0},
            "shunting": {"kind": "exponential_conductance", "tau_ms": 8.0, "reversal_mv": -80.0},
        },
        "projections": projections,
        "recording": {"spikes": [*models, "X", "Y"],
                      "traces": {name: {"neurons": list(range(5)), "interval_ms": DT_MS} for name in models}},
    }


def test_membrane_potentials_and_spikes_of_every_model(tmp_path: Path) -> None:
    table = four_models()
    experiment = parse_experiment(table)
    run(experiment, tmp_path / "run")
    reader = open_run(tmp_path / "run")
    given: Arrays = {}
    for name in experiment.trains:
        given[f"steps/{name}"], given[f"ids/{name}"] = steps_of(reader.spikes(name).times_ms), reader.spikes(name).ids
    for name, drawn in Simulation(experiment).drawn.items():
        given[f"source/{name}"], given[f"target/{name}"] = drawn.ends
    np.savez(tmp_path / "given.npz", **given)
    theirs = brian2(tmp_path, experiment=table, seed=1, given=str(tmp_path / "given.npz"))
    for name, population in experiment.populations.items():
        ours, V = reader.spikes(name), reader.traces(name).values["V"]
        assert ours.ids.size > 50, f"{name} hardly fires"
        np.testing.assert_array_equal(steps_of(ours.times_ms), theirs[f"steps/{name}"], err_msg=name)
        np.testing.assert_array_equal(ours.ids, theirs[f"ids/{name}"], err_msg=name)
        expected = np.minimum(theirs[f"V/{name}"], experiment.neurons[population.neuron].V_th_mv)
        np.testing.assert_allclose(V, expected, rtol=AGREEMENT, atol=0, err_msg=name)


def steps_of(times_ms: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(times_ms / DT_MS).astype(np.int64)


# --- networks and input spikes of each simulator's own -------------------------------------------------------------

SIZES = {"E": 800, "I": 200}
SEEDS = 12
DURATION_MS, BURN_IN_MS, WINDOW_MS = 2000.0, 500.0, 50.0
ENOUGH_SPIKES = 10
WRONG = 1.05

CONFIDENCE = 0.99
"""Of the intervals of all quantities of a network together."""

PRECISION = {"rate": 0.06, "cv": 0.06, "correlation": 0.004}
"""Half-widths that the intervals must not exceed: relative for rates, else absolute."""

SYNAPSES = {"excitatory": (8.0, 0.0), "inhibitory": (4.0, -80.0), "feedforward": (10.0, 0.0)}
"""Time constant [ms] and reversal potential [mV]."""

PROJECTIONS = {
    "E_to_E": ("excitatory", 0.55), "I_to_E": ("inhibitory", -3.2), "E_to_I": ("excitatory", 1.9),
    "I_to_I": ("inhibitory", -4.7), "X_to_E": ("feedforward", 1.2), "X_to_I": ("feedforward", 0.9),
}
"""Synapse and weight [mV]; a conductance has this charge at -60 mV."""

MATCH_AT_MV = -60.0


def balanced_network(synapses: str, wrong: float = 1.0) -> Table:
    """A balanced network of LIF neurons; its inhibition of E can be made wrong by a factor."""
    kinds: Table = {}
    for name, (tau_ms, reversal_mv) in SYNAPSES.items():
        kinds[name] = {"kind": f"exponential_{synapses}", "tau_ms": tau_ms}
        if synapses == "conductance":
            kinds[name]["reversal_mv"] = reversal_mv
    projections: Table = {}
    for name, (synapse, weight_mv) in PROJECTIONS.items():
        source, _, target = name.partition("_to_")
        acting = weight_mv * (wrong if name == "I_to_E" else 1.0)
        weight = {"weight_mv": acting}
        if synapses == "conductance":
            weight = {"weight": acting / (SYNAPSES[synapse][1] - MATCH_AT_MV)}
        projections[name] = {"source": source, "target": target, "synapse": synapse, "probability": 0.2, **weight}
    return {
        "run": {"duration_ms": DURATION_MS, "dt_ms": DT_MS, "integrator": "forward_euler"},
        "neurons": {"lif": LIF | {"V_init_mv": {"uniform": [-75.0, -55.0]}}},
        "populations": {name: {"size": size, "neuron": "lif"} for name, size in SIZES.items()},
        "inputs": {"X": {"kind": "poisson", "size": 1000, "rate_hz": 10.0}},
        "synapses": kinds,
        "projections": projections,
        "recording": {"spikes": list(SIZES)},
    }


def measure(spikes: Spikes) -> dict[str, float]:
    """Rates [Hz], mean CV of the neurons with enough spikes, and mean pairwise correlations of counts in 50 ms."""
    measured, counts = {}, {}
    for name, (times_ms, ids) in spikes.items():
        size, late = SIZES[name], times_ms > BURN_IN_MS
        counts[name] = window_counts(times_ms, ids, size, BURN_IN_MS, DURATION_MS, WINDOW_MS)
        measured[f"rate {name}"] = float(counts[name].mean()) * 1e3 / WINDOW_MS
        enough = counts[name].sum(axis=0) >= ENOUGH_SPIKES
        measured[f"cv {name}"] = float(coefficients_of_variation(times_ms[late], ids[late], size)[enough].mean())
    measured["correlation EE"] = pair_statistics(counts["E"]).coefficient
    measured["correlation EI"] = pair_statistics(counts["E"], counts["I"]).coefficient
    measured["correlation II"] = pair_statistics(counts["I"]).coefficient
    return measured


def measure_ours(table: Table, directory: Path) -> list[dict[str, float]]:
    measured = []
    for seed in range(1, SEEDS + 1):
        path = directory / f"seed-{seed}"
        run(parse_experiment(table, [f"seed={seed}"]), path)
        spikes = {name: open_run(path).spikes(name) for name in SIZES}
        measured.append(measure({name: (s.times_ms, s.ids) for name, s in spikes.items()}))
    return measured


def measure_theirs(table: Table, directory: Path) -> list[dict[str, float]]:
    found = brian2(directory, experiment=table, seed=1, copies=SEEDS)
    measured = []
    for copy in range(SEEDS):
        spikes: Spikes = {}
        for name, size in SIZES.items():
            here = found[f"ids/{name}"] // size == copy
            spikes[name] = (found[f"steps/{name}"][here] * DT_MS, found[f"ids/{name}"][here] % size)
        measured.append(measure(spikes))
    return measured


def differences(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Welch's two-sided interval of each difference of means, as its middle and half-width; of rates, relative."""
    found = {}
    for quantity in ours[0]:
        a, b = (np.array([measured[quantity] for measured in side]) for side in (ours, theirs))
        level = 1 - (1 - CONFIDENCE) / len(ours[0])     # Bonferroni
        interval = ttest_ind(a, b, equal_var=False).confidence_interval(level)
        scale = b.mean() if quantity.startswith("rate") else 1.0
        found[quantity] = ((interval.low + interval.high) / 2 / scale, (interval.high - interval.low) / 2 / scale)
    return found


@pytest.mark.parametrize("synapses", ["current", "conductance"])
def test_statistics_of_a_balanced_network(synapses: str, tmp_path: Path) -> None:
    for name in ("ours", "theirs", "wrong"):
        (tmp_path / name).mkdir()
    theirs = measure_theirs(balanced_network(synapses), tmp_path / "theirs")
    agreed = differences(measure_ours(balanced_network(synapses), tmp_path / "ours"), theirs)
    for quantity, (difference, half_width) in agreed.items():
        assert abs(difference) <= half_width, f"{quantity}: differs by {difference:.3g}, {half_width:.2g} allowed"
        assert half_width <= PRECISION[quantity.split()[0]], f"{quantity}: known to {half_width:.2g} only"
    # what passed would have failed with a weight that is wrong by 5 %
    wrong = differences(measure_ours(balanced_network(synapses, WRONG), tmp_path / "wrong"), theirs)
    for quantity in ("rate E", "rate I"):
        difference, half_width = wrong[quantity]
        assert abs(difference) > half_width, f"{quantity}: a wrong weight went unseen"
