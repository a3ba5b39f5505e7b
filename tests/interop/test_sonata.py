"""Libraries of the SONATA format, not ours, read the spikes and the report of a run as they were written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import libsonata
import numpy as np
import pytest

from mpi_engine.output.segments import consolidate, sealed_segments
from mpi_engine.output.writers import GatherWriter
from tests.made_up_run import CHOSEN, DT_MS, N_STEPS, TRACE, due, spikes_of, table, write_run

# bmtk opens spike files through MPI and leaves them open, so it gets a process of its own, which must not clean up
_READ_BY_BMTK = """
import json, os, sys
from bmtk.utils.reports import CompartmentReport, SpikeTrains

def read(path):
    spikes = SpikeTrains.load(path).to_dataframe()
    report = CompartmentReport.load(path)["E"]
    return {
        "spikes": {name: [r.timestamps.tolist(), r.node_ids.tolist()] for name, r in spikes.groupby("population")},
        "time": [report.tstart(), report.tstop(), report.dt()],
        "ids": report.node_ids().tolist(),
        "V": {int(neuron): report.data(int(neuron)).ravel().tolist() for neuron in report.node_ids()},
        "units": report.units(),
    }

print(json.dumps([read(path) for path in sys.argv[1:]]), flush=True)
os._exit(0)
"""

SPANS = [(0, 200), (200, 330), (330, 335), (335, N_STEPS), (0, N_STEPS)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], Path]:
    """Give the segments of a run and its run file, by the steps that they hold."""
    directory = tmp_path_factory.mktemp("sonata")
    writer = GatherWriter(None)
    write_run(directory / "going", writer, whole=False)
    write_run(directory / "finished", writer)
    return dict(zip(SPANS, [*sealed_segments(directory / "going"), directory / "finished" / "run.h5"], strict=True))


@pytest.fixture(scope="module")
def read_by_bmtk(files: dict[tuple[int, int], Path]) -> dict[tuple[int, int], Any]:
    command = [sys.executable, "-c", _READ_BY_BMTK, *map(str, files.values())]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return dict(zip(files, json.loads(finished.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("span", SPANS)
def test_libsonata(files: dict[tuple[int, int], Path], span: tuple[int, int]) -> None:
    path = str(files[span])
    reader = libsonata.SpikeReader(path)
    assert set(reader.get_population_names()) == {"E", "X"}
    for name, size in (("E", 7), ("X", 5)):
        times_ms, ids = spikes_of(name, size, *span)
        population = reader[name]
        assert population.sorting == "by_time"
        spikes = population.get_dict()
        np.testing.assert_array_equal(spikes["timestamps"], times_ms)
        np.testing.assert_array_equal(spikes["node_ids"], ids)
    report = libsonata.ElementReportReader(path)["E"]
    steps = due(TRACE, *span)
    assert report.sorted
    assert (report.time_units, report.data_units) == ("ms", "mV")
    assert report.get_node_ids() == CHOSEN.tolist()
    np.testing.assert_allclose(report.times, np.array([steps[0], steps[-1] + TRACE, TRACE]) * DT_MS)
    frame = report.get()
    np.testing.assert_array_equal(frame.data, table(7, steps, 3).astype(np.float32))
    np.testing.assert_allclose(frame.times, steps * DT_MS)
    np.testing.assert_array_equal(report.get(node_ids=[3]).data[:, 0], table(7, steps, 3)[:, 1].astype(np.float32))


@pytest.mark.parametrize("span", SPANS)
def test_bmtk(read_by_bmtk: dict[tuple[int, int], Any], span: tuple[int, int]) -> None:
    read = read_by_bmtk[span]
    for name, size in (("E", 7), ("X", 5)):
        times_ms, ids = spikes_of(name, size, *span)
        found_ms, found_ids = read["spikes"].get(name, ([], []))
        np.testing.assert_array_equal(found_ms, times_ms)
        np.testing.assert_array_equal(found_ids, ids)
    steps = due(TRACE, *span)
    np.testing.assert_allclose(read["time"], np.array([steps[0], steps[-1] + TRACE, TRACE]) * DT_MS)
    assert read["ids"] == CHOSEN.tolist()
    assert read["units"] == "mV"
    for column, neuron in enumerate(CHOSEN):
        np.testing.assert_array_equal(read["V"][str(neuron)], table(7, steps, 3)[:, column].astype(np.float32))


def test_segments_without_spikes_or_samples(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    write_run(directory, GatherWriter(None), cuts=(1, 2, 301), whole=False)
    for path in sealed_segments(directory):
        assert libsonata.SpikeReader(str(path)).get_population_names()
        libsonata.SpikeReader(str(path))["E"].get()
        assert libsonata.ElementReportReader(str(path))["E"].get_node_ids() == CHOSEN.tolist()
    consolidate(GatherWriter(None), directory, [])
    assert len(libsonata.ElementReportReader(str(directory / "run.h5"))["E"].get().times) == N_STEPS // TRACE
