"""The same bits on any number of ranks, with any cuts, by both writers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from mpi_engine.output.difference import differences
from mpi_engine.output.reader import open_run

Table = dict[str, Any]
Mpirun = Callable[..., Any]

DIGEST = str(Path(__file__).with_name("digest.py"))

STRONG = {"kind": "current", "target": "E", "amplitude_mv_per_ms": 2000.0, "start_ms": 20.0, "stop_ms": 20.1}

ADAPTIVE = {"model": "adex", "tau_w_ms": 50.0, "a_per_ms": 0.01, "b_mv_per_ms": 0.1, "refractory_ms": 1.0}

DRAWN_DELAYS = {"uniform": [0.3, 2.0]}

MODELS = str(Path("analysis/studies/own/models.py").absolute())

OWN = str(Path(__file__).with_name("own.py"))

NETWORKS: dict[str, Table] = {
    "plastic and correlated": {"inputs": {"X": {"rate_hz": 60.0, "jitter_ms": 3.0}}},
    "double precision": {"run": {"state_dtype": "float64", "weight_dtype": "float64"}},
    "smaller than the ranks": {"populations": {"I": {"size": 3}}, "projections": {"E_to_I": {"in_degree": 2}}},
    "a rank without synapses": {"projections": {"X_to_E": {"probability": 0.02}, "E_to_E": {"probability": 0.01}}},
    "silent": {"inputs": {"X": {"rate_hz": 0.0}}, "neurons": {"cortical": {"V_init_mv": -72.0}}},
    "all fire in one step": {"inputs": {"shock": STRONG}},
    "inputs that change": {
        "subpopulations": {
            "E1": {"population": "E", "first": 30, "count": 40},
            "few": {"population": "E", "neurons": [2, 82]},
        },
        "inputs": {
            "X": {"rate_hz": "40 + 30*sin(2*pi*t/70)", "jitter_ms": 3.0},
            "ramp": {"kind": "current", "target": "E1", "amplitude_mv_per_ms": 0.0, "ramp_to_mv_per_ms": 1.5,
                     "start_ms": 40.0, "stop_ms": 150.0},
            "wave": {"kind": "current", "target": "few", "amplitude_mv_per_ms": "1.5*(sin(t/5) > 0)"},
            "step": {"kind": "current", "target": "E", "neurons": [3, 50], "amplitude_mv_per_ms": 1.0, "stop_ms": 90.0},
            "noise": {"kind": "ornstein_uhlenbeck", "target": "E1", "mean_mv_per_ms": 0.3, "std_mv_per_ms": 0.8,
                      "tau_ms": 5.0, "correlation": 0.4},
        },
    },
    "conductances, delays, adaptation": {
        "run": {"integrator": "exponential_euler"},
        "neurons": {"cortical": ADAPTIVE},
        "synapses": {
            "excitatory": {"kind": "exponential_conductance", "reversal_mv": 0.0},
            "inhibitory": {"kind": "exponential_conductance", "reversal_mv": -80.0},
        },
        "projections": {
            "E_to_E": {"match_at_mv": -72.0, "delay_ms": 1.5},
            "I_to_E": {"match_at_mv": -72.0, "delay_ms": 0.8},
            "E_to_I": {"match_at_mv": -72.0},
            "X_to_E": {"match_at_mv": -72.0, "delay_ms": 0.3},
            "X_to_I": {"match_at_mv": -72.0},
        },
        "subpopulations": {
            "E1": {"population": "E", "count": 40},
            "E2": {"population": "E", "neurons": [3, 41, 42, 80, 82]},
        },
        "recording": {
            "rates": {"subpopulations": ["E1", "E2"]},
            "statistics": {"average_ms": 0.5, "shadow_voltage": True},
            "weights": {"targets": {"I_to_E": ["E2", "E1"]}},
            "traces": {"E2": {"neurons": 2, "interval_ms": 0.3}},
        },
    },
    "drawn connections, weights and delays": {
        "inputs": {"X": {"rate_hz": 60.0}},
        "populations": {"E": {"positions": "torus"}, "I": {"positions": "torus"}},
        "subpopulations": {
            "E1": {"population": "E", "first": 20, "count": 30},
            "E2": {"population": "E", "neurons": [0, 3, 5, 30, 31, 32, 80]},
        },
        "projections": {
            "E_to_E": {"probability": 0.9, "profile": {"shape": "gaussian", "width": 0.2}, "delay_ms": DRAWN_DELAYS},
            "I_to_E": {"weight_mv": {"normal": [-10.0, 1.0]}, "delay_ms": DRAWN_DELAYS},
            "E_to_I": {"in_degree": {"normal": [11.0, 3.0]}, "weight_mv": {"lognormal": [8.0, 0.5]},
                       "delay_ms": DRAWN_DELAYS},
            "X_to_E": {"probability": [[0.5, 0.1], [0.1, 0.5]], "weight_mv": {"uniform": [20.0, 40.0]}},
            "E1_to_E2": {"source": "E1", "target": "E2", "synapse": "excitatory", "in_degree": 5, "weight_mv": 2.0},
        },
    },
    "rules of every kind, drawn neurons, a user's functions": {
        "inputs": {"X": {"rate_hz": 60.0}},
        "neurons": {
            "cortical": {"E_L_mv": {"normal": [-72.0, 0.5]}, "tau_m_ms": {"uniform": [12.0, 18.0]}},
            "own": {"model": "user", "file": MODELS, "function": "izhikevich", "V_init_mv": -65.0,
                    "parameters": {"d_mv_per_ms": {"lognormal": [6.0, 0.2]}}},
        },
        "populations": {"I": {"neuron": "own"}},
        "synapses": {"blocked": {"kind": "user", "file": OWN}},
        "plasticity": {
            "triplet": {"rule": "triplet", "a2_minus_mv": 0.1, "a3_minus_mv": 0.02, "a2_plus_mv": 0.05,
                        "a3_plus_mv": 0.1, "tau_plus_ms": 17.0, "tau_minus_ms": 34.0, "tau_x_ms": 100.0,
                        "tau_y_ms": 125.0, "schedule": [{"start_ms": 60.0, "factor": 0.5}]},
            "drift": {"rule": "pair", "tau_pre_ms": 20.0, "tau_post_ms": 40.0, "b_post": [0.02, 0.0],
                      "drift": [0.0, -1e-3], "pairing": "nearest_neighbour"},
            "sum": {"rule": "normalisation", "interval_ms": 40.0},
            "voltage_gated": {"rule": "user", "file": OWN, "schedule": [{"start_ms": 100.0, "factor": 0.0}]},
        },
        "projections": {
            "E_to_E": {"plasticity": ["triplet", "drift", "sum"]},
            "X_to_E": {"plasticity": "voltage_gated"},
            "I_to_E": {"plasticity": ["homeostatic"]},
            "X_to_I": {"synapse": "blocked", "weight_mv": 60.0},
        },
    },
}


@pytest.fixture
def experiment_file(small_experiment: Callable[..., Table], tmp_path: Path) -> Callable[[str], Path]:
    def write(name: str) -> Path:
        path = tmp_path / "experiment.toml"
        path.write_text(tomli_w.dumps(small_experiment(**NETWORKS[name])))
        return path

    return write


@pytest.mark.parametrize("network", NETWORKS)
def test_one_file_from_any_number_of_ranks(
    network: str, experiment_file: Callable[[str], Path], mpirun: Mpirun, tmp_path: Path
) -> None:
    path = experiment_file(network)
    every, few = network == "plastic and correlated", network == "smaller than the ranks"
    for ranks in (1, 2, 3, 4, 5, 7, 8) if every else (1, 8) if few else (1, 3):
        for writer in ("parallel", "gather") if ranks == 3 else ("parallel",) if ranks == 7 else ("gather",):
            directory = tmp_path / f"{writer}-{ranks}"
            done = mpirun(ranks, "-m", "mpi_engine", "run", str(path), "-o", str(directory), "--writer", writer)
            assert done.returncode == 0, done.stdout + done.stderr
            assert differences(tmp_path / "gather-1", directory) == []
    reader = open_run(tmp_path / "gather-1")
    n_spikes = {name: reader.spikes(name).ids.size for name in ("E", "I")}
    if network == "silent":
        assert n_spikes == {"E": 0, "I": 0}
    else:
        assert n_spikes["E"] > 0
    if network == "all fire in one step":
        spikes = reader.spikes("E")
        assert (spikes.times_ms == 201 * 0.1).sum() == reader.experiment.populations["E"].size


@pytest.mark.parametrize("network", ["plastic and correlated", "inputs that change"])
def test_any_cuts_give_the_same_state(
    network: str, experiment_file: Callable[[str], Path], mpirun: Mpirun
) -> None:
    path = experiment_file(network)
    digests = set()
    for ranks, seeds in ((1, ()), (3, range(4)), (5, range(4, 8))):
        done = mpirun(ranks, DIGEST, str(path), "2000", *map(str, seeds))
        assert done.returncode == 0, done.stdout + done.stderr
        digests |= set(done.stdout.split())
    assert len(digests) == 1


def test_a_recorded_input_is_replayed(
    small_experiment: Callable[..., Table], mpirun: Mpirun, tmp_path: Path
) -> None:
    """The recorded spikes of an input do to the network what the input did, bit by bit, on any number of ranks."""
    table = small_experiment()
    path = tmp_path / "experiment.toml"
    for ranks, name in ((2, "first"), (1, "again-1"), (3, "again-3")):
        path.write_text(tomli_w.dumps(table))
        done = mpirun(ranks, "-m", "mpi_engine", "run", str(path), "-o", str(tmp_path / name))
        assert done.returncode == 0, done.stdout + done.stderr
        table["inputs"]["X"] = {"kind": "recorded", "file": "first/run.h5", "population": "X", "size": 29}
        assert differences(tmp_path / "first", tmp_path / name) == []
    assert open_run(tmp_path / "first").spikes("X").ids.size > 50
    (tmp_path / "first" / "run.h5").unlink()      # a run that is over can be read without the files that it read
    assert open_run(tmp_path / "again-1").experiment.sizes["X"] == 29


CHANGE_FILE = """
import sys
from pathlib import Path
from mpi_engine.experiment import ExperimentError, load_experiment
from mpi_engine.network.ranks import Ranks
from mpi_engine.run.simulation import Simulation

ranks = Ranks.world()
experiment = load_experiment(sys.argv[1])
ranks.barrier()
if ranks.is_first:
    Path(sys.argv[2]).write_text("0 11\\n300 20\\n")
try:
    Simulation(experiment, ranks)
except ExperimentError as error:
    sys.stdout.write(f"{error}\\n")     # at once: the ranks' lines may be mixed
"""


def test_a_file_that_changes_before_the_run_is_refused_by_every_rank(
    small_experiment: Callable[..., Table], mpirun: Mpirun, tmp_path: Path
) -> None:
    samples, path = tmp_path / "rate.csv", tmp_path / "experiment.toml"
    samples.write_text("0 10\n300 20\n")
    table = small_experiment()
    table["inputs"]["X"] = {"kind": "poisson", "size": 29, "rate_file": "rate.csv"}
    path.write_text(tomli_w.dumps(table))
    done = mpirun(3, "-c", CHANGE_FILE, str(path), str(samples))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("another content") == 3


def test_a_world_of_the_wrong_size_is_refused(
    experiment_file: Callable[[str], Path], mpirun: Mpirun, tmp_path: Path
) -> None:
    """What a launcher of another MPI does: it starts ranks that do not see each other."""
    path = experiment_file("silent")
    arguments = ("-m", "mpi_engine", "run", str(path), "-o", str(tmp_path / "run"))
    done = mpirun(1, *arguments, env={"PMI_SIZE": "4"})
    assert done.returncode == 2
    assert done.stderr.count("the launcher meant 4 ranks, but this world has size 1") == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
