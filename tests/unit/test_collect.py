"""Collecting the runs of a sweep: labels, what is missing, and how little is read."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import numpy as np
import psutil
import pytest
import xarray as xr

from mpi_engine.experiment import ExperimentError
from mpi_engine.output import layout, projection_layout
from mpi_engine.output.provenance import provenance
from mpi_engine.output.segments import consolidate, seal
from mpi_engine.output.writers import choose_writer
from orchestration.collect import collect, save
from orchestration.sweep import Member, Sweep, read_sweep
from tests import made_up_run
from tests.made_up_run import DT_MS, N_STEPS


def write_sweep(directory: Path, text: str) -> Sweep:
    """Write a sweep of the made-up run."""
    (directory / "base.toml").write_text(made_up_run.experiment().to_toml())
    (directory / "study.toml").write_text(f'experiment = "base.toml"\n{text}')
    return read_sweep(directory / "study.toml")


def write_run(sweep: Sweep, member: Member, value: float, neurons: int = 7, ballast: int = 0) -> None:
    """Write a run in which every recorded number is `value`, and spikes that are ballast only."""
    directory, writer = sweep.run_directory(member), choose_writer(None, "gather")
    directory.mkdir(parents=True)
    experiment = sweep.experiment(member)
    (directory / "experiment.toml").write_text(experiment.to_toml())
    times = np.array([20.0, 40.0])
    per_neuron = {"V": np.full((2, neurons), value)}
    records = [
        *layout.spikes("E", np.zeros(ballast), np.zeros(ballast, np.uint64), 0, ballast),
        *layout.rates("E", 0.0, 10.0, np.full(6, value), {"V": np.full(6, value)}, True),
        *layout.statistics("E", 0, neurons, times - 20, 20.0, [200, 200], np.full((2, neurons), 3), per_neuron,
                           per_neuron),
        *projection_layout.weights("E_to_E", 1.0, 14, times, *np.full((4, 2), value), np.ones((2, 6)),
                                   np.linspace(0, 2, 7), np.full((2, 4), value, np.float32), np.arange(4),
                                   np.arange(4), True),
        *layout.traces("E", 0.5, 0.5, [0, 3], 0, dict.fromkeys(("V", "I_total"), np.full((3, 2), value, np.float32))),
    ]
    seal(writer, directory, 0, N_STEPS, DT_MS, records + provenance(writer, experiment, 0.0, {}, 1))
    consolidate(writer, directory, provenance(writer, experiment, 0.0, {"run": 1.5}, 1))


GRID = """
seeds = [4, 6]
[[zip]]
projections.E_to_E.weight_mv = [1.0, 2.0, 3.0]
projections.X_to_I.weight_mv = [5.0, 7.0, 9.0]
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Write a sweep of which everything is done; the numbers of a run are its index."""
    sweep = write_sweep(tmp_path_factory.mktemp("collect"), GRID)
    for index, member in enumerate(sweep.members):
        write_run(sweep, member, float(index))
    return sweep


def test_parameters_are_dimensions(finished: Sweep, tmp_path: Path) -> None:
    save(collect(finished), tmp_path / "all.nc")
    dataset = xr.open_dataset(tmp_path / "all.nc")
    weight = "projections.E_to_E.weight_mv"
    rates = dataset["rates.E.rate_hz"]
    assert rates.dims == (weight, "seed", "rate_time")
    assert rates.attrs["units"] == "Hz"
    assert dataset["rate_time"].values.tolist() == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    assert dataset["block_time"].values.tolist() == [0.0, 20.0]
    assert dataset["weight_time"].values.tolist() == [20.0, 40.0]
    assert dataset["trace_time_E"].values.tolist() == [0.5, 1.0, 1.5]
    for member, index in zip(finished.members, range(6), strict=True):
        place = {weight: member.settings[weight], "seed": member.settings["seed"]}
        chosen = dataset.sel(place)
        assert chosen["projections.X_to_I.weight_mv"] == member.settings["projections.X_to_I.weight_mv"]
        assert chosen["run"].item() == member.id
        for name in ("rates.E.mean.V", "statistics.E.variance.V", "weights.E_to_E.mean", "traces.E.I_total"):
            assert (chosen[name].values == index).all()
    assert dataset["statistics.E.spike_count"].dims[2:] == ("block_time", "neuron_E")
    assert dataset["statistics.E.spike_count"].dtype == np.int64
    assert dataset["weights.E_to_E.sample"].dims[2:] == ("weight_time", "synapse_E_to_E")
    assert dataset["weights.E_to_E.edges"].shape == (3, 2, 7)
    assert not [name for name in dataset if "spikes" in str(name) or "mapping" in str(name)]
    assert tomllib.loads(dataset.attrs["sweep"])["seeds"] == [4, 6]


def test_only_what_is_asked_for(finished: Sweep) -> None:
    dataset = collect(finished, ["weights"])
    assert {str(name).split(".")[0] for name in dataset.data_vars} == {"weights", "run"}
    with pytest.raises(ExperimentError, match="--only = spikes: must be one of: rates, statistics, weights, traces"):
        collect(finished, ["spikes"])


def test_what_is_missing_is_named_or_nan(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path, "seeds = 4")
    with pytest.raises(ExperimentError, match="runs = 4 missing: there is nothing to collect"):
        collect(sweep, incomplete=True)
    for member in sweep.members[:3]:
        write_run(sweep, member, 2.0)
    damaged = sweep.run_directory(sweep.members[2]) / "run.h5"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(ExperimentError) as raised:
        collect(sweep)
    lines = str(raised.value).splitlines()
    assert all(line.startswith(f"{sweep.file}: ") for line in lines)
    assert f"run = {sweep.members[2]}: {damaged}: is not a file of a run, or damaged" in lines[0]
    assert lines[1].endswith(f"run = {sweep.members[3]}: is not finished")
    assert lines[2].endswith("runs = 2 missing: finish them, or collect what there is with --incomplete")
    rates = collect(sweep, incomplete=True)["rates.E.rate_hz"].values
    assert (rates[:2] == 2.0).all() and np.isnan(rates[2:]).all()


def test_runs_of_other_sizes_are_filled_up(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path, '[grid]\n"populations.E.size" = [7, 9]')
    for member, neurons in zip(sweep.members, (7, 9), strict=True):
        write_run(sweep, member, 1.0, neurons)
    dataset = collect(sweep)
    counts = dataset["statistics.E.spike_count"]
    assert counts.shape == (2, 2, 9)
    assert np.isnan(counts.values[0, :, 7:]).all()
    assert (counts.values[0, :, :7] == 3).all() and (counts.values[1] == 3).all()


def test_other_times_in_each_run_stay_in_it(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path, '[grid]\n"recording.segment_ms" = [20.0, 60.0]')
    for member in sweep.members:
        write_run(sweep, member, 1.0)
    dataset = collect(sweep)
    assert "block_time" not in dataset.coords
    assert dataset["statistics.E.start_ms"].values.tolist() == [[0.0, 20.0]] * 2


def test_values_that_are_no_numbers_are_labels(tmp_path: Path) -> None:
    cells = '[{uniform = [-70.0, -60.0]}, -65.0]'
    sweep = write_sweep(tmp_path, f'[grid]\n"neurons.cell.V_init_mv" = {cells}')
    for member in sweep.members:
        write_run(sweep, member, 1.0)
    save(collect(sweep), tmp_path / "all.nc")
    labels = xr.open_dataset(tmp_path / "all.nc")["neurons.cell.V_init_mv"].values.tolist()
    assert labels == ['{"uniform": [-70.0, -60.0]}', "-65.0"]


def test_little_is_read_of_many_runs(tmp_path: Path) -> None:
    """Rates of 200 runs: what is read is a small part of the files, and nothing before it is asked for."""
    sweep = write_sweep(tmp_path, "seeds = 200")
    first, *others = sweep.members
    write_run(sweep, first, 1.0, ballast=20_000)
    for member in others:
        shutil.copytree(sweep.run_directory(first), sweep.run_directory(member))
    size = sum(path.stat().st_size for path in sweep.directory.rglob("run.h5"))
    assert size > 200 * 320_000
    process = psutil.Process()
    before = process.io_counters().read_chars
    dataset = collect(sweep, ["rates"])
    opened = process.io_counters().read_chars
    mean = float(dataset["rates.E.rate_hz"].mean())
    read = process.io_counters().read_chars
    assert mean == 1.0
    assert opened - before < 0.3 * size
    assert read - opened < 0.3 * size


def test_a_place_that_cannot_be_written(finished: Sweep, tmp_path: Path) -> None:
    (tmp_path / "all.nc").mkdir()
    with pytest.raises(ExperimentError, match=r"-o = .*all\.nc: cannot be written: "):
        save(collect(finished, ["rates"]), tmp_path / "all.nc")
    assert [path.name for path in tmp_path.iterdir()] == ["all.nc"]
