"""The effective-time-constant model: what it takes from a run, what it makes of an experiment, and what it refuses."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tomli_w

import analysis.studies.zhu2026
from analysis.runs import Run
from analysis.studies.zhu2026.measures import of_network, tabulate
from analysis.studies.zhu2026.networks import effective_models, matched_networks
from analysis.sweeps import Sweep
from mpi_engine.experiment import Experiment, ExperimentError, load_experiment, parse_experiment
from mpi_engine.output.reader import open_run
from mpi_engine.run.job import run

Table = dict[str, Any]

STUDY = Path(analysis.studies.zhu2026.__file__).parent

SMALL = ["populations.E.size=80", "populations.I.size=20", "inputs.X.size=30", "run.duration_ms=200.0",
         "recording.statistics.start_ms=0.0", "recording.statistics.block_ms=50.0", "recording.segment_ms=100.0"]

START_MS = 100.0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run a small network with conductances."""
    directory = tmp_path_factory.mktemp("effective") / "conductance"
    run(load_experiment(STUDY / "conductance.toml", SMALL), directory)
    return directory


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """Give a copy of the run, to be spoilt."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def table(run_path: str | Path, start_ms: float = START_MS) -> Table:
    """Make the experiment that asks for the model of a run."""
    described = tomllib.loads((STUDY / "conductance.toml").read_text(encoding="utf-8"))
    for name, size in (("E", 80), ("I", 20)):
        described["populations"][name]["size"] = size
    described["effective_time_constant"] = {"run": str(run_path), "start_ms": start_ms}
    return described


def problem_of(described: Table) -> Any:
    with pytest.raises(ExperimentError) as caught:
        parse_experiment(described)
    (problem,) = caught.value.problems
    assert len(str(problem).splitlines()) == 1
    return problem


def test_the_shipped_experiments_are_one_network() -> None:
    current, conductance, effective = (
        tomllib.loads((STUDY / f"{name}.toml").read_text(encoding="utf-8"))
        for name in ("current", "conductance", "effective")
    )
    del effective["effective_time_constant"]
    for described in (current, conductance, effective):
        del described["title"]
    assert effective == conductance
    for synapse in conductance["synapses"].values():
        synapse["kind"] = "exponential_current"
        del synapse["reversal_mv"]
    for projection in conductance["projections"].values():
        del projection["match_at_mv"]
    assert current == conductance


def test_the_model_of_a_run(finished: Path) -> None:
    model, reader = parse_experiment(table(finished)), open_run(finished)
    conductance = reader.experiment
    for name in ("E", "I"):
        rates = reader.rates(name)
        late = rates.times_ms >= START_MS
        V, g = (rates.means[variable][late].mean() for variable in ("V", "g_total"))
        neuron = model.neurons[model.populations[name].neuron]
        assert neuron.E_L_mv == pytest.approx(V, rel=1e-12)
        assert neuron.tau_m_ms == pytest.approx(1 / g, rel=1e-12)
        kept = {"E_L_mv": -72.0, "tau_m_ms": 15.0}
        assert neuron.model_copy(update=kept) == conductance.neurons["cortical"]
        for source, reversal_mv in (("E", 0.0), ("I", -80.0), ("X", 0.0)):
            projection = f"{source}_to_{name}"
            expected = conductance.initial_weight(projection) * (reversal_mv - V)
            assert model.initial_weight(projection) == pytest.approx(expected, rel=1e-12)
    assert not model.has_conductances
    assert {name: s.tau_ms for name, s in model.synapses.items()} == {
        name: s.tau_ms for name, s in conductance.synapses.items()}
    assert model.effective_time_constant.run_hash == conductance.hash


def test_it_is_made_once(finished: Path, copy: Path, tmp_path: Path) -> None:
    (tmp_path / "experiment.toml").write_text(tomli_w.dumps(table("copy")))
    model = load_experiment(tmp_path / "experiment.toml")
    assert model.effective_time_constant.run == str(copy)
    shutil.rmtree(copy)
    assert parse_experiment(tomllib.loads(model.to_toml())) == model
    assert parse_experiment(tomllib.loads(model.to_toml()), directory=None) == model
    # the hash is one of the means: not of the place
    assert parse_experiment(table(finished / "run.h5")).hash == model.hash
    assert parse_experiment(table(finished, 150.0)).hash != model.hash


def test_means_are_those_of_statistics_where_rates_are_off(finished: Path, copy: Path) -> None:
    edit(copy, lambda file: file.__delitem__("statistics/rates"))
    means = parse_experiment(table(copy)).effective_time_constant
    for name in ("E", "I"):
        statistics = open_run(finished).statistics(name)
        late = statistics.start_ms >= START_MS
        assert means.V_mv[name] == pytest.approx(statistics.mean["V"][late].mean(), rel=1e-12)
        assert means.g_per_ms[name] == pytest.approx(statistics.mean["g_total"][late].mean(), rel=1e-12)


def test_drawn_weights_and_other_neurons(finished: Path) -> None:
    described = table(finished)
    del described["neurons"]["cortical"]["spike_current_mv_per_ms"]
    described["neurons"]["cortical"]["Delta_T_mv"] = {"uniform": [1.0, 2.0]}
    weights = {
        "E_to_E": {"weight_mv": {"uniform": [10.0, 20.0]}, "match_at_mv": -72.0},
        "I_to_E": {"weight": {"normal": [12.5, 1.0]}},
        "X_to_E": {"weight": {"lognormal": [1.4, 0.3]}},
        "E_to_I": {"weight": 0.8},
    }
    for name, weight in weights.items():
        entry = described["projections"][name]
        del entry["weight_mv"], entry["match_at_mv"]
        entry |= weight
    described["synapses"]["fast"] = {"kind": "exponential_current", "tau_ms": 2.0}
    described["projections"]["current"] = described["projections"]["E_to_I"] | {"synapse": "fast", "weight_mv": 3.0}
    del described["projections"]["current"]["weight"]
    model = parse_experiment(described)
    V = model.effective_time_constant.V_mv
    given = {name: p.weight_mv for name, p in model.projections.items()}
    assert given["E_to_E"].uniform == pytest.approx([10 / 72 * -V["E"], 20 / 72 * -V["E"]])
    assert given["I_to_E"].normal == pytest.approx([12.5 * (-80 - V["E"]), 80 + V["E"]])
    assert given["X_to_E"].lognormal == pytest.approx([1.4 * -V["E"], 0.3])
    assert given["E_to_I"] == pytest.approx(0.8 * -V["I"])
    assert given["current"] == 3.0
    assert all(p.weight is None and p.match_at_mv is None for p in model.projections.values())
    # the spike current does not follow the new time constant
    assert model.neurons["cortical_I"].spike_current_mv_per_ms.uniform == pytest.approx([1 / 15, 2 / 15])


def edit(directory: Path, change: Callable[[h5py.File], None]) -> None:
    with h5py.File(directory / "run.h5", "r+") as file:
        change(file)


def spoil(directory: Path, how: str) -> None:
    file = directory / "run.h5"
    if how == "gone":
        shutil.rmtree(directory)
    elif how in ("going on", "empty"):
        file.unlink()
        if how == "empty":
            (directory / "experiment.toml").unlink()
    elif how == "text":
        file.write_text("no HDF5")
    elif how == "half":
        edit(directory, lambda file: file.attrs.modify("last_step", 1000))
    else:
        edit(directory, lambda file: file.__delitem__(how))


@pytest.mark.parametrize(("how", "word"), [
    ("gone", "there is no run"), ("going on", "has not finished"), ("empty", "holds no run"),
    ("text", "cannot be read as HDF5"), ("half", "not the whole of a finished run"),
    ("provenance", "not the file of a run"), ("statistics", "neither rates nor statistics of E"),
    ("statistics/rates/I/mean/g_total", "I has no conductances in the run"),
])  # fmt: skip
def test_bad_run(how: str, word: str, copy: Path) -> None:
    spoil(copy, how)
    problem = problem_of(table(copy))
    assert problem.key == "effective_time_constant.run"
    assert word in problem.remedy


def test_a_run_of_another_network(finished: Path) -> None:
    described = table(finished)
    described["populations"]["E"]["size"] = 81
    assert "80 neurons in the run and 81 here" in problem_of(described).remedy
    described["populations"]["F"] = described["populations"].pop("E")
    described["recording"]["traces"]["F"] = described["recording"]["traces"].pop("E")
    described["recording"]["spikes"] = []
    for projection in described["projections"].values():
        projection |= {end: "F" for end in ("source", "target") if projection[end] == "E"}
    assert "no population F" in problem_of(described).remedy


def test_a_start_beyond_the_end(finished: Path) -> None:
    problem = problem_of(table(finished, 195.0))
    assert (problem.key, problem.value) == ("effective_time_constant.start_ms", "195.0")
    assert "begins at 190 ms" in problem.remedy


def learning(described: Table) -> None:
    described["plasticity"] = {"rule": {"rule": "kohonen", "tau_ms": 20.0, "learning_rate": 0.1, "beta_mv": 2.0}}
    described["projections"]["E_to_E"]["plasticity"] = "rule"


def currents(described: Table) -> None:
    for synapse in described["synapses"].values():
        synapse["kind"] = "exponential_current"
        del synapse["reversal_mv"]
    for projection in described["projections"].values():
        del projection["match_at_mv"]


def adaptation(described: Table) -> None:
    described["neurons"]["cortical"] |= {"model": "adex", "tau_w_ms": 100.0, "a_per_ms": 0.1, "b_mv_per_ms": 0.1}


def drawn_leak(described: Table) -> None:
    described["neurons"]["cortical"]["tau_m_ms"] = {"uniform": [10.0, 20.0]}
    del described["neurons"]["cortical"]["spike_current_mv_per_ms"]


def taken_name(described: Table) -> None:
    described["neurons"]["cortical_I"] = described["neurons"]["cortical"]


def half_filled(described: Table) -> None:
    described["effective_time_constant"]["V_mv"] = {"E": -65.0, "I": -65.0}


def filled(described: Table) -> None:
    half_filled(described)
    described["synapses"] = {"excitatory": described["synapses"]["excitatory"]}
    for projection in described["projections"].values():
        projection |= {"synapse": "excitatory", "weight_mv": 1.0}
    described["effective_time_constant"] |= {"run_hash": "0" * 64, "g_per_ms": {"E": 0.2, "I": 0.2}}


@pytest.mark.parametrize(("change", "key", "word"), [
    (learning, "projections.E_to_E.plasticity", "weights that learn"),
    (currents, "effective_time_constant", "no synapse is a conductance"),
    (adaptation, "neurons.cortical.model", "lif or eif"),
    (drawn_leak, "neurons.cortical.tau_m_ms", "give spike_current_mv_per_ms"),
    (taken_name, "neurons.cortical_I", "rename"),
    (half_filled, "effective_time_constant", "filled in together"),
    (filled, "synapses.excitatory", "as if it were applied"),
])  # fmt: skip
def test_experiments_without_a_model(change: Callable[[Table], None], key: str, word: str, finished: Path) -> None:
    described = table(finished)
    change(described)
    problems = {problem.key: problem for problem in problems_of(described)}
    assert list(problems) == [key]
    assert word in problems[key].remedy


def problems_of(described: Table) -> list[Any]:
    with pytest.raises(ExperimentError) as caught:
        parse_experiment(described)
    assert len(set(caught.value.problems)) == len(caught.value.problems)
    return caught.value.problems


def test_it_is_told_with_all_other_problems(tmp_path: Path) -> None:
    described = table(tmp_path / "gone")
    described["run"]["duration_ms"] = 100.05
    described["projections"]["E_to_E"]["synapse"] = "slow"
    assert {problem.key for problem in problems_of(described)} == {
        "effective_time_constant.run", "run.duration_ms", "projections.E_to_E.synapse"}


def test_what_comes_out_is_checked_as_well(finished: Path) -> None:
    """The step has to resolve the effective time constant, not only the one at rest."""
    described = table(finished)
    described["run"]["dt_ms"] = 12.5
    for projection in described["projections"].values():
        projection["synapse"] = "slow_" + projection["synapse"]
    described["synapses"] = {f"slow_{name}": kind | {"tau_ms": 20.0} for name, kind in described["synapses"].items()}
    described["recording"] = {"sample_ms": 12.5, "segment_ms": 1000.0}
    assert {problem.key for problem in problems_of(described)} == {
        "neurons.cortical_E.tau_m_ms", "neurons.cortical_I.tau_m_ms"}


def test_a_model_runs(finished: Path, tmp_path: Path) -> None:
    model: Experiment = parse_experiment(table(finished), ["run.duration_ms=100.0", "recording.statistics.start_ms=0.0",
                                                           "recording.statistics.block_ms=100.0"])
    run(model, tmp_path / "run")
    reader = open_run(tmp_path / "run")
    assert reader.experiment == model
    assert np.isfinite(reader.statistics("E").mean["V"]).all()


def test_the_study_makes_its_networks_from_finished_ones(finished: Path) -> None:
    """Of the same size, input and seed: their effective models, and controls with conductances matched where V was."""
    run = Run(finished)
    parts = {"conductance": Sweep(finished.parent, {"a": run})}
    start = f"effective_time_constant.start_ms={START_MS}"
    model = load_experiment(STUDY / "effective.toml", [*SMALL, start, *_only(effective_models(parts))])
    assert model.effective_time_constant is not None
    assert model.effective_time_constant.run_hash == run.experiment.hash
    assert model.sizes == run.experiment.sizes
    matched = load_experiment(STUDY / "conductance.toml", [*SMALL, *_only(matched_networks(parts))])
    for name, p in matched.projections.items():
        V_mv = run.statistics(p.target).mean["V"][-1].mean()
        reversal_mv = run.experiment.synapses[p.synapse].reversal_mv
        # the same current, if V is where it was
        at_rest = run.experiment.initial_weight(name) * (reversal_mv + 72.0)
        assert matched.initial_weight(name) * (reversal_mv - V_mv) == pytest.approx(at_rest, rel=1e-6)


def test_the_study_measures_every_network(tmp_path: Path) -> None:
    longer = ["run.duration_ms=1000.0", "recording.statistics.block_ms=500.0"]
    run(load_experiment(STUDY / "conductance.toml", [*SMALL, *longer]), tmp_path / "run")
    table = tabulate({"conductance": Sweep(tmp_path, {"a": Run(tmp_path / "run")})})
    assert of_network(table, "var_V", "conductance", 0.0).shape == (1, 1)
    assert abs(of_network(table, "signed_C", "conductance", 0.0)) <= of_network(table, "absolute_C", "conductance", 0.0)
    low, high = (of_network(table, f"{kind}_E", "conductance", 0.0) for kind in ("theory", "bound"))
    assert 0 < low == high     # no input is shared
    assert of_network(table, "tau_E", "conductance", 0.0) < 15.0


def test_a_spike_carries_the_charge_that_the_papers_weight_names() -> None:
    """Exponential Euler sums the kernel from the first step after a recurrent spike, and from the one of an input's."""
    for part in ("conductance", "current"):
        weights = tomllib.loads((STUDY / "study.toml").read_text(encoding="utf-8"))[part]["grid"]
        e = load_experiment(STUDY / "current.toml")
        for name, p in e.projections.items():
            tau_ms = e.synapses[p.synapse].tau_ms
            steps = np.arange(p.source not in e.inputs, round(40 * tau_ms / e.run.dt_ms))
            carried = e.run.dt_ms / tau_ms * np.exp(-steps * e.run.dt_ms / tau_ms).sum()
            (weight_mv,) = weights[f"projections.{name}.weight_mv"]
            assert weight_mv * carried == pytest.approx(e.projections[name].weight_mv, rel=1e-6)


def _only(together: dict[str, list[Any]]) -> list[str]:
    """Settings of the one network of a sweep."""
    return [f"{key}={json.dumps(value)}" for key, (value,) in together.items()]
