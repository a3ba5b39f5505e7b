"""Generated bad experiments: whatever is wrong, and however much of it, is told by its key, and at once."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mpi_engine.experiment import Experiment, ExperimentError, parse_experiment

Table = dict[str, Any]
Key = tuple[Any, ...]

PROMISE_S = 1.0
MARGIN = 8.0
"""What a slow and busy machine may add to the time that is promised."""

WHOLE: Table = {
    "title": "All kinds of parts",
    "seed": {"base": 3, "noise": 4},
    "run": {"duration_ms": 200.0, "dt_ms": 0.1, "integrator": "exponential_euler", "state_dtype": "float64"},
    "neurons": {
        "lif": {"model": "lif", "tau_m_ms": 15.0, "E_L_mv": -72.0, "V_th_mv": -50.0, "V_reset_mv": -75.0,
                "V_init_mv": {"uniform": [-75.0, -55.0]}, "refractory_ms": 2.0},
        "adex": {"model": "adex", "tau_m_ms": {"normal": [15.0, 1.0]}, "E_L_mv": -72.0, "V_T_mv": -55.0,
                 "Delta_T_mv": 1.0, "V_th_mv": -50.0, "V_reset_mv": -75.0, "V_init_mv": -70.0,
                 "tau_w_ms": {"lognormal": [100.0, 0.1]}, "a_per_ms": 0.01, "b_mv_per_ms": 0.1},
    },
    "populations": {"E": {"size": 80, "neuron": "adex", "positions": "ring"},
                    "I": {"size": 20, "neuron": "lif", "positions": "ring"}},
    "subpopulations": {"E1": {"population": "E", "first": 10, "count": 20}},
    "inputs": {
        "X": {"kind": "poisson", "size": 30, "rate_hz": "20 + 5*sin(t)", "correlation": 0.1},
        "c": {"kind": "current", "target": "E1", "amplitude_mv_per_ms": 0.5, "start_ms": 10.0, "stop_ms": 20.0},
        "n": {"kind": "ornstein_uhlenbeck", "target": "E", "std_mv_per_ms": 1.0, "tau_ms": 5.0},
    },
    "synapses": {"fast": {"kind": "exponential_current", "tau_ms": 8.0},
                 "shunt": {"kind": "exponential_conductance", "tau_ms": 4.0, "reversal_mv": -80.0}},
    "plasticity": {
        "homeostatic": {"rule": "homeostatic", "tau_ms": 50.0, "learning_rate_mv": 0.05, "target_rate_hz": 10.0,
                        "weight_norm_mv": 10.0, "schedule": [{"start_ms": 9.0, "factor": 0.5}]},
        "hebb": {"rule": "hebbian_hard", "tau_pre_ms": 20.0, "tau_post_ms": 20.0, "learning_rate_mv": 0.01,
                 "weight_min_mv": 0.0, "weight_max_mv": 5.0},
        "slow": {"rule": "triplet", "tau_plus_ms": 17.0, "tau_minus_ms": 34.0, "tau_x_ms": 100.0, "tau_y_ms": 100.0},
        "sum": {"rule": "normalisation", "interval_ms": 10.0},
    },
    "projections": {
        "E_to_E": {"source": "E", "target": "E", "synapse": "fast", "probability": [[0.1, 0.2], [0.2, 0.1]],
                   "weight_mv": {"lognormal": [1.0, 0.2]}, "plasticity": ["hebb", "sum"],
                   "delay_ms": {"uniform": [0.5, 2.0]}},
        "I_to_E": {"source": "I", "target": "E", "synapse": "shunt", "in_degree": 5, "weight": 0.2},
        "E1_to_I": {"source": "E1", "target": "I", "synapse": "fast", "probability": 0.2, "weight_mv": 2.0,
                    "profile": {"shape": "gaussian", "width": 0.1}, "delay_ms": 1.0,
                    "weight_scaling": "1/sqrt(N)"},
        "X_to_E": {"source": "X", "target": "E", "synapse": "fast", "probability": 0.3, "weight_mv": 3.0},
    },
    "health": {"interval_ms": 50.0, "max_rate_hz": 300.0, "weights_mv": {"E_to_E": [0.0, 9.0]}},
    "recording": {
        "segment_ms": 100.0, "spikes": ["E", "X"], "rates": {"bin_ms": 10.0, "subpopulations": ["E1"]},
        "statistics": {"block_ms": 50.0, "average_ms": 5.0},
        "weights": {"interval_ms": 50.0, "sample": 20, "histogram_mv": {"E_to_E": [0.0, 4.0]},
                    "targets": {"E_to_E": ["E1"]}},
        "traces": {"E": {"neurons": 3}, "E1": {"neurons": [12, 14], "interval_ms": 2.0}},
    },
}

NUMBERS = st.sampled_from([0, -1, 1, 2**15, 2**16, 2**31 - 1, 2**31, 2**63, 10**30, 0.0, -0.0, 0.05, 0.3, 1.5, -1e-300,
                           5e-324, 1e-9, 1e9, 1e18, 1e38, 1e300, -1e300, math.inf, -math.inf, math.nan])
WORDS = st.one_of(
    st.sampled_from(["", "E", "I", "X", "E1", "fast", "lif", "hebb", "none", "t", "1/t", "exp(t*t)", "(" * 90, "a\nb"]),
    st.text(max_size=8),
)
JUNK = st.recursive(
    st.one_of(NUMBERS, st.integers(), st.floats(), WORDS, st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=6,
)


def places(value: Any, before: Key = ()) -> list[Key]:
    """List where something stands in nested tables and lists."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in inside for place in ((*before, key), *places(item, (*before, key)))]


@st.composite
def spoiled(draw: st.DrawFn) -> Table:
    """Draw an experiment in which one to four things are other than they were."""
    table: Table = deepcopy(WHOLE)
    for _ in range(draw(st.integers(1, 4))):
        everywhere = places(table)
        if not everywhere:
            break
        *parents, key = draw(st.sampled_from(everywhere))
        branch: Any = table
        for parent in parents:
            branch = branch[parent]
        what = draw(st.sampled_from(["other", "other", "empty", "leave out", "rename", "another's"]))
        if what == "other":
            branch[key] = draw(JUNK)
        elif what == "empty":
            branch[key] = draw(st.sampled_from([{}, [], ""]))
        elif what == "another's":
            *uncles, cousin = draw(st.sampled_from(everywhere))
            found: Any = table
            for uncle in uncles:
                found = found[uncle]
            branch[key] = deepcopy(found[cousin])
        else:
            value = branch.pop(key)
            if what == "rename" and isinstance(branch, dict):
                branch[draw(WORDS)] = value
    return table


def is_refused(table: Table) -> bool:
    """Check that an experiment is taken, or refused by key, in time; say whether it was refused."""
    begin = time.process_time()
    try:
        experiment = parse_experiment(table)
    except ExperimentError as error:
        assert time.process_time() - begin < MARGIN * PROMISE_S
        assert error.problems
        for problem in error.problems:
            assert problem.key and problem.remedy
            assert len(str(problem).splitlines()) == 1
        return True
    assert time.process_time() - begin < MARGIN * PROMISE_S
    assert isinstance(experiment, Experiment)
    assert experiment.to_toml()
    return False


def test_the_whole_experiment_is_good() -> None:
    assert not is_refused(WHOLE)


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(table=spoiled())
def test_300_bad_experiments(table: Table) -> None:
    assume(is_refused(table))


@pytest.mark.science
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(table=spoiled())
def test_10000_bad_experiments(table: Table) -> None:
    assume(is_refused(table))


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), key=st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True))
def test_unknown_keys_are_refused(data: st.DataObject, key: str, small_experiment: Callable[..., Table]) -> None:
    table = small_experiment()
    models = [(), ("run",), ("populations", "E"), ("inputs", "X"), ("projections", "E_to_E"), ("recording", "rates")]
    where = data.draw(st.sampled_from(models))
    branch = table
    for part in where:
        branch = branch[part]
    branch[f"{key}_"] = 1
    with pytest.raises(ExperimentError) as caught:
        parse_experiment(table)
    assert ".".join([*where, f"{key}_"]) in [problem.key for problem in caught.value.problems]


@pytest.mark.parametrize("part", ["populations", "neurons", "synapses", "plasticity", "inputs", "projections", "run",
                                  "recording", "health", "seed", "subpopulations"])
@pytest.mark.parametrize("value", [{}, [], 0, "", math.nan, True])
def test_a_part_is_empty_or_none(part: str, value: Any, small_experiment: Callable[..., Table]) -> None:
    is_refused(small_experiment() | {part: value})
    is_refused({part: value})


def test_bad_experiments_at_the_door(tmp_path: Path) -> None:
    bad = {
        "empty": WHOLE | {"populations": {}},
        "negative": WHOLE | {"health": {"interval_ms": -1.0}},
        "foreign": WHOLE | {"health": {"weights_mv": {"X_to_E": [0.0, 1.0]}}},
        "disorder": WHOLE | {"health": {"min_rate_hz": 5.0, "max_rate_hz": 4.0}},
    }
    for name, table in bad.items():
        path = tmp_path / f"{name}.toml"
        path.write_text(tomli_w.dumps(table))
        done = subprocess.run(
            [sys.executable, "-m", "mpi_engine", "run", str(path), "-o", str(tmp_path / name)],
            capture_output=True, text=True, check=False,
        )
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        lines = done.stderr.splitlines()
        key = "populations" if name == "empty" else "health"
        assert len(lines) == 1 and f"{name}.toml: {key}" in lines[0], done.stderr
        assert not (tmp_path / name).exists()
