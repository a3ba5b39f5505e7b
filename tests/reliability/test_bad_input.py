"""Every bad experiment gives one clear message, exit code 2, no word of MPI, and writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from tests.mpi.networks import MODELS
from tests.reliability.answers import refused

Table = dict[str, Any]
Make = Callable[..., Table]

STEP = {"start_ms": 9.0, "factor": 0.0}

PARTS = {"E1": {"population": "E", "count": 12}, "I1": {"population": "I", "first": 3}}
CURRENT = {"kind": "current", "target": "E", "amplitude_mv_per_ms": 1.0}

SHUNT = {"kind": "exponential_conductance", "reversal_mv": -80.0}

NOISE = {"kind": "ornstein_uhlenbeck", "target": "E", "std_mv_per_ms": 1.0, "tau_ms": 5.0}

BAD_EXPERIMENTS = {
    "unknown key": ({"populations": {"E": {"sizes": 5}}}, "populations.E.sizes", "did you mean size?"),
    "wrong unit": ({"run": {"duration_s": 1.0}}, "run.duration_s", "did you mean duration_ms?"),
    "negative size": ({"populations": {"E": {"size": -4}}}, "populations.E.size", "-4"),
    "no size": ({"populations": {"E": {"size": 0}}}, "populations.E.size", "0"),
    "text for a number": ({"populations": {"E": {"size": "many"}}}, "populations.E.size", "whole number"),
    "fraction of a neuron": ({"populations": {"E": {"size": 4.5}}}, "populations.E.size", "4.5"),
    "duration off the step": ({"run": {"duration_ms": 100.05}}, "run.duration_ms", "run.dt_ms"),
    "bin off the sample": ({"recording": {"rates": {"bin_ms": 0.3}}}, "recording.rates.bin_ms", "sample_ms"),
    "missing population": ({"projections": {"E_to_E": {"target": "F"}}}, "projections.E_to_E.target", "'F'"),
    "missing synapse": ({"projections": {"E_to_E": {"synapse": "slow"}}}, "projections.E_to_E.synapse", "slow"),
    "probability": ({"projections": {"E_to_E": {"probability": 1.5}}}, "projections.E_to_E.probability", "1.5"),
    "two ways to connect": ({"projections": {"E_to_E": {"in_degree": 3}}}, "projections.E_to_E", "in_degree"),
    "too many sources": ({"projections": {"E_to_I": {"in_degree": 84}}}, "projections.E_to_I.in_degree", "83"),
    "NaN": ({"inputs": {"X": {"rate_hz": float("nan")}}}, "inputs.X.rate_hz", "nan"),
    "infinity": ({"run": {"duration_ms": float("inf")}}, "run.duration_ms", "inf"),
    "trace of nobody": ({"recording": {"traces": {"E": {"neurons": [83]}}}}, "recording.traces.E.neurons", "83"),
    "refractoriness without end": (
        {"neurons": {"cortical": {"refractory_ms": 4000.0}}}, "neurons.cortical.refractory_ms", "32767 steps",
    ),
    "delay below the step": (
        {"projections": {"E_to_E": {"delay_ms": 0.05}}}, "projections.E_to_E.delay_ms", "run.dt_ms",
    ),
    "drawn delay below the step": (
        {"projections": {"E_to_E": {"delay_ms": {"normal": [1.0, 0.2]}}}},
        "projections.E_to_E.delay_ms", "six standard",
    ),
    "drawn delay without end": (
        {"projections": {"E_to_E": {"delay_ms": {"lognormal": [1.0, 0.3], "max": 3}}}},
        "projections.E_to_E.delay_ms.max", "unknown",
    ),
    "weights of both signs": (
        {"projections": {"E_to_E": {"weight_mv": {"normal": [2.0, 0.5]}}}}, "projections.E_to_E.weight_mv", "sign",
    ),
    "negative conductance": (
        {"projections": {"E_to_E": {"weight": {"uniform": [-2.0, -1.0]}}}}, "projections.E_to_E.weight", "negative",
    ),
    "ragged matrix": (
        {"projections": {"E_to_E": {"probability": [[0.1, 0.2], [0.3]]}}}, "projections.E_to_E.probability", "rows",
    ),
    "matrix beyond 1": (
        {"projections": {"E_to_E": {"probability": [[0.1, 1.2]]}}}, "projections.E_to_E.probability.0.1", "1.2",
    ),
    "more blocks than neurons": (
        {"projections": {"X_to_I": {"probability": [[0.1]] * 22}}}, "projections.X_to_I.probability", "21 neurons",
    ),
    "no positions": (
        {"projections": {"E_to_E": {"profile": {"shape": "gaussian", "width": 0.1}}}},
        "projections.E_to_E.profile", "populations.E.positions",
    ),
    "an input has no place": (
        {"populations": {"E": {"positions": "ring"}},
         "projections": {"X_to_E": {"profile": {"shape": "gaussian", "width": 0.1}}}},
        "projections.X_to_E.profile", "inputs have none",
    ),
    "two geometries": (
        {"populations": {"E": {"positions": "ring"}, "I": {"positions": "line"}},
         "projections": {"I_to_E": {"profile": {"shape": "exponential", "width": 0.1}}}},
        "projections.I_to_E.profile", "I lives on a line",
    ),
    "profile of an in-degree": (
        {"projections": {"E_to_I": {"profile": {"shape": "gaussian", "width": 0.1}}}}, "projections.E_to_I", "profile",
    ),
    "no width": (
        {"projections": {"E_to_E": {"profile": {"shape": "gaussian", "width": 0.0}}}},
        "projections.E_to_E.profile.width", "0",
    ),
    "in-degree of nothing": ({"projections": {"E_to_I": {"in_degree": 0}}}, "projections.E_to_I.in_degree", "0"),
    "in-degree in fractions": (
        {"projections": {"E_to_I": {"in_degree": 1.5}}}, "projections.E_to_I.in_degree", "whole number",
    ),
    "subpopulation of nobody": (
        {"subpopulations": {"E1": {"population": "F"}}}, "subpopulations.E1.population", "'F'",
    ),
    "subpopulation beyond": (
        {"subpopulations": {"E1": {"population": "E", "first": 80, "count": 4}}}, "subpopulations.E1.count", "83",
    ),
    "subpopulation beyond the end": (
        {"subpopulations": {"E1": {"population": "E", "neurons": [4, 83]}}}, "subpopulations.E1.neurons", "83",
    ),
    "unsorted subpopulation": (
        {"subpopulations": {"E1": {"population": "E", "neurons": [4, 3]}}}, "subpopulations.E1", "ascending",
    ),
    "slice and list": (
        {"subpopulations": {"E1": {"population": "E", "neurons": [4], "count": 3}}}, "subpopulations.E1", "either",
    ),
    "subpopulation with a population's name": (
        {"subpopulations": {"I": {"population": "E"}}}, "subpopulations.I", "rename",
    ),
    "too many sources in a subpopulation": (
        {"subpopulations": {"E1": {"population": "E", "count": 10}}, "projections": {"E_to_I": {"source": "E1"}}},
        "projections.E_to_I.in_degree", "only 10 sources",
    ),
    "sources beyond their population": (
        {"subpopulations": {"E1": {"population": "E", "first": 90}}, "projections": {"E_to_E": {"source": "E1"}}},
        "subpopulations.E1.first", "90",
    ),
    "missing subpopulation": (
        {"projections": {"E_to_I": {"target_subpopulation": "I1"}}},
        "projections.E_to_I.target_subpopulation", "no subpopulation of this name",
    ),
    "subpopulation of another": (
        {"subpopulations": {"I1": {"population": "I"}}, "projections": {"E_to_I": {"source_subpopulation": "I1"}}},
        "projections.E_to_I.source_subpopulation", "no subpopulation of E",
    ),
    "two and no time constants": (
        {"plasticity": {"homeostatic": {"tau_pre_ms": 20.0}}}, "plasticity.homeostatic", "both tau_pre_ms and tau_post",
    ),
    "schedule that goes back": (
        {"plasticity": {"homeostatic": {"schedule": [STEP, STEP]}}},
        "plasticity.homeostatic", "must ascend",
    ),
    "schedule off the step": (
        {"plasticity": {"homeostatic": {"schedule": [{"start_ms": 9.05, "factor": 0.0}]}}},
        "plasticity.homeostatic.schedule.0.start_ms", "multiple",
    ),
    "negative learning": (
        {"plasticity": {"homeostatic": {"schedule": [{"start_ms": 9.0, "factor": -1.0}]}}},
        "plasticity.homeostatic.schedule.0.factor", "-1",
    ),
    "a rule twice": (
        {"projections": {"I_to_E": {"plasticity": ["homeostatic", "homeostatic"]}}},
        "projections.I_to_E.plasticity", "twice",
    ),
    "one of two rules missing": (
        {"projections": {"I_to_E": {"plasticity": ["homeostatic", "hebbian"]}}},
        "projections.I_to_E.plasticity", "'hebbian'",
    ),
    "triplet without slow traces": (
        {"plasticity": {"slow": {"rule": "triplet", "tau_plus_ms": 17.0, "tau_minus_ms": 34.0, "tau_x_ms": 100.0}}},
        "plasticity.slow.tau_y_ms", "required",
    ),
    "trace faster than the step": (
        {"plasticity": {"slow": {"rule": "triplet", "tau_plus_ms": 17.0, "tau_minus_ms": 34.0, "tau_x_ms": 100.0,
                                 "tau_y_ms": 0.01}}},
        "plasticity.slow.tau_y_ms", "run.dt_ms",
    ),
    "normalisation off the step": (
        {"plasticity": {"sum": {"rule": "normalisation", "interval_ms": 10.05}}},
        "plasticity.sum.interval_ms", "multiple",
    ),
    "a sum of the other sign": (
        {"plasticity": {"sum": {"rule": "normalisation", "interval_ms": 10.0, "sum_mv": 50.0}},
         "projections": {"I_to_E": {"plasticity": ["homeostatic", "sum"]}}},
        "plasticity.sum.sum_mv = 50", "other sign",
    ),
    "the leak of a user's neuron": (
        {"neurons": {"own": {"model": "user", "file": MODELS, "function": "izhikevich", "V_init_mv": -65.0}},
         "populations": {"I": {"neuron": "own"}}, "recording": {"statistics": {"shadow_voltage": True}}},
        "recording.statistics.shadow_voltage = true", "the leak of I",
    ),
    "more steps than can be counted": ({"run": {"duration_ms": 214748364.0}}, "run.duration_ms", "above 2147418112"),
    "bins of too much": (
        {"recording": {"rates": {"bin_ms": 1e9}, "sample_ms": 0.1}}, "recording.rates.bin_ms", "8.3e+11 samples of E",
    ),
    "bins of nothing": ({"recording": {"rates": {"bin_ms": 1e-11}}}, "recording.rates.bin_ms", "sample_ms"),
    "drawn time constants below zero": (
        {"neurons": {"cortical": {"tau_m_ms": {"normal": [15.0, 3.0]}}}}, "neurons.cortical.tau_m_ms", "six standard",
    ),
    "drawn thresholds below the reset": (
        {"neurons": {"cortical": {"V_reset_mv": {"uniform": [-80.0, -45.0]}}}}, "neurons.cortical", "below V_th_mv",
    ),
    "a law that is none": (
        {"neurons": {"cortical": {"E_L_mv": {"gamma": [1.0, 2.0]}}}}, "neurons.cortical.E_L_mv", "or a distribution",
    ),
    "a normal distribution without spread": (
        {"neurons": {"cortical": {"E_L_mv": {"normal": [1.0]}}}}, "neurons.cortical.E_L_mv", "2 items",
    ),
    "average off the step": (
        {"recording": {"statistics": {"average_ms": 0.25}}}, "recording.statistics.average_ms", "run.dt_ms"
    ),
    "average off the block": (
        {"recording": {"statistics": {"average_ms": 0.7}}}, "recording.statistics.block_ms", "average_ms = 0.7"
    ),
    "start off the step": (
        {"recording": {"statistics": {"average_ms": 0.5, "start_ms": 0.25}}}, "recording.statistics.start_ms", "dt_ms"
    ),
    "rates of nobody": (
        {"recording": {"rates": {"subpopulations": ["E"]}}}, "recording.rates.subpopulations.0", "'E'"
    ),
    "rates twice": (
        {"subpopulations": PARTS, "recording": {"rates": {"subpopulations": ["E1", "E1"]}}},
        "recording.rates.subpopulations.1", "twice",
    ),
    "trace of a stranger": (
        {"subpopulations": PARTS, "recording": {"traces": {"E1": {"neurons": [3, 12]}}}},
        "recording.traces.E1.neurons = 12", "not in E1",
    ),
    "traces of too many": (
        {"subpopulations": PARTS, "recording": {"traces": {"E1": {"neurons": 13}}}},
        "recording.traces.E1.neurons = 13", "only 12",
    ),
    "traces of nothing": (
        {"subpopulations": PARTS, "recording": {"traces": {"E3": {"neurons": 1}}}}, "recording.traces.E3", "mean E?"
    ),
    "weights onto others": (
        {"subpopulations": PARTS, "recording": {"weights": {"targets": {"I_to_E": ["I1"]}}}},
        "recording.weights.targets.I_to_E.0", "goes to E",
    ),
    "weights that are constant": (
        {"subpopulations": PARTS, "recording": {"weights": {"targets": {"E_to_E": ["E1"]}}}},
        "recording.weights.targets.E_to_E", "plastic projection",
    ),
    "no formula": ({"inputs": {"X": {"rate_hz": "10 + foo(t)"}}}, "inputs.X.rate_hz", "'foo(t)'"),
    "negative rate": ({"inputs": {"X": {"rate_hz": "50 - t"}}}, "inputs.X.rate_hz", "-0.1 Hz at t = 50.1 ms"),
    "infinite rate": ({"inputs": {"X": {"rate_hz": "1/(t - 20)"}}}, "inputs.X.rate_hz", "is no rate"),
    "rate beyond a spike a step": ({"inputs": {"X": {"rate_hz": 10001.0}}}, "inputs.X.rate_hz", "a spike in each step"),
    "two rates": ({"inputs": {"X": {"rate_file": "rate.csv"}}}, "inputs.X", "either rate_hz or rate_file"),
    "no such file": ({"inputs": {"Y": {"kind": "recorded", "file": "y.h5"}}}, "inputs.Y.file", "there is no file"),
    "ramp without end": (
        {"inputs": {"r": CURRENT | {"ramp_to_mv_per_ms": 2.0}}}, "inputs.r", "give stop_ms too"
    ),
    "current of nobody": ({"inputs": {"c": CURRENT | {"target": "E3"}}}, "inputs.c.target", "'E3'"),
    "current beyond the end": ({"inputs": {"c": CURRENT | {"neurons": [3, 83]}}}, "inputs.c.neurons", "83"),
    "neurons twice": ({"inputs": {"c": CURRENT | {"neurons": [3, 3]}}}, "inputs.c", "each once"),
    "current without end": (
        {"inputs": {"c": CURRENT | {"amplitude_mv_per_ms": "log(t - 9)"}}}, "inputs.c.amplitude_mv_per_ms", "t = 0.1 ms"
    ),
    "noise too fast": ({"inputs": {"n": NOISE | {"tau_ms": 0.05}}}, "inputs.n.tau_ms", "run.dt_ms"),
    "noise off the step": ({"inputs": {"n": NOISE | {"start_ms": 0.25}}}, "inputs.n.start_ms", "multiple"),
    "noise beyond correlation": ({"inputs": {"n": NOISE | {"correlation": 1.5}}}, "inputs.n.correlation", "1.5"),
    "means of no run": (
        {"effective_time_constant": {"run": "gone"}, "plasticity": {}, "synapses": {"inhibitory": SHUNT},
         "projections": {"I_to_E": {"plasticity": [], "match_at_mv": -72.0}}, "recording": {"weights": {}}},
        "effective_time_constant.run", "there is no run",
    ),
    "means from before the start": (
        {"effective_time_constant": {"run": "gone", "start_ms": -1.0}}, "effective_time_constant.start_ms", "-1",
    ),
    "means in other units": (
        {"effective_time_constant": {"run": "gone", "start_s": 1.0}}, "effective_time_constant.start_s", "start_ms",
    ),
    "no such rule": ({"plasticity": {"homeostatic": {"rule": "hebb"}}}, "plasticity.homeostatic.rule", "hebb"),
}


@pytest.mark.parametrize(("changes", "key", "word"), BAD_EXPERIMENTS.values(), ids=BAD_EXPERIMENTS)
def test_bad_experiment(changes: Table, key: str, word: str, small_experiment: Make, tmp_path: Path, steelyard) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(tomli_w.dumps(small_experiment(**changes)))
    answer = steelyard("run", "bad.toml", "-n", "2")
    refused(answer, f"bad.toml: {key}", word)
    assert steelyard("check", "bad.toml") == answer
    assert list(tmp_path.iterdir()) == [file]


def test_all_errors_at_once(small_experiment: Make, tmp_path: Path, steelyard) -> None:
    changes = {"populations": {"E": {"size": -4}}, "run": {"dt": 0.1}, "projections": {"I_to_E": {"target": "F"}}}
    (tmp_path / "bad.toml").write_text(tomli_w.dumps(small_experiment(**changes)))
    answer = steelyard("check", "bad.toml")
    assert answer.code == 2
    keys = [line.split(": ")[2].split(" = ")[0] for line in answer.err.splitlines()]
    assert sorted(keys) == ["populations.E.size", "projections.I_to_E.target", "run.dt"]


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"[run\n", "is not TOML"), (b"\xff\xfe\x00", "UTF-8"), (b"", "run"), (None, "does not exist")],
    ids=["not TOML", "not text", "empty", "missing"],
)
def test_bad_file(content: bytes | None, word: str, tmp_path: Path, steelyard) -> None:
    if content is not None:
        (tmp_path / "bad.toml").write_bytes(content)
    answer = steelyard("run", "bad.toml")
    assert answer.code == 2
    lines = answer.err.splitlines()
    assert lines and all(line.startswith("steelyard: bad.toml: ") for line in lines)
    assert word in answer.err
    assert not (tmp_path / "runs").exists()
