"""What was written is read back, while the run goes on and after it; what is not there is told in one line."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpi_engine.experiment import ExperimentError
from mpi_engine.output.difference import differences
from mpi_engine.output.layout import Record, traces
from mpi_engine.output.provenance import provenance
from mpi_engine.output.reader import RunError, RunReader, open_run
from mpi_engine.output.segments import consolidate, seal, sealed_segments
from mpi_engine.output.writers import GatherWriter, choose_writer
from tests.made_up_run import (
    BIN,
    BLOCK,
    CHOSEN,
    DT_MS,
    N_STEPS,
    TRACE,
    VARIABLES,
    WEIGHTS,
    due,
    experiment,
    make_records,
    spikes_of,
    table,
    write_run,
)

WRITER = GatherWriter(None)


@pytest.fixture(scope="module")
def going(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("going") / "run"
    write_run(directory, WRITER, whole=False)
    return directory


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("finished") / "run"
    write_run(directory, WRITER)
    return directory


@pytest.fixture(params=["going", "finished", "file"])
def run(request: pytest.FixtureRequest, going: Path, finished: Path) -> RunReader:
    return open_run({"going": going, "finished": finished, "file": finished / "run.h5"}[request.param])


def test_spikes(run: RunReader) -> None:
    for population, size in (("E", 7), ("X", 5)):
        times_ms, ids = spikes_of(population, size, 0, N_STEPS)
        spikes = run.spikes(population)
        assert spikes.ids.dtype == np.int64
        np.testing.assert_array_equal(spikes.times_ms, times_ms)
        np.testing.assert_array_equal(spikes.ids, ids)


def test_statistics(run: RunReader) -> None:
    ends = due(BLOCK, 0, N_STEPS)
    for population, size in (("E", 7), ("I", 2)):
        statistics = run.statistics(population)
        assert statistics.block_ms == BLOCK * DT_MS
        np.testing.assert_array_equal(statistics.start_ms, (ends - BLOCK) * DT_MS)
        np.testing.assert_array_equal(statistics.samples, BLOCK)
        np.testing.assert_array_equal(statistics.spike_count, np.round(10 * table(3, ends, size)))
        assert set(statistics.mean) == set(statistics.variance) == set(VARIABLES)
        for salt, name in enumerate(VARIABLES):
            np.testing.assert_array_equal(statistics.mean[name], table(salt, ends, size))
            np.testing.assert_array_equal(statistics.variance[name], table(salt, ends, size) ** 2)


def test_rates(run: RunReader) -> None:
    ends = due(BIN, 0, N_STEPS)
    rates = run.rates("I")
    assert rates.bin_ms == BIN * DT_MS
    np.testing.assert_allclose(rates.times_ms, (ends - BIN) * DT_MS)
    np.testing.assert_array_equal(rates.rate_hz, table(4, ends, 1)[:, 0])
    np.testing.assert_array_equal(rates.means["V"], table(0, ends, 1)[:, 0])
    assert set(rates.means) == set(VARIABLES)


def test_weights(run: RunReader) -> None:
    times = due(WEIGHTS, 0, N_STEPS)
    weights = run.weights("E_to_E")
    assert (weights.scale, weights.synapses) == (1 / 3, 14)
    np.testing.assert_array_equal(weights.time_ms, times * DT_MS)
    series = table(5, times, 4)
    series[:, 1] **= 2
    for column, name in enumerate(("mean", "variance", "minimum", "maximum")):
        np.testing.assert_array_equal(getattr(weights, name), series[:, column])
    np.testing.assert_array_equal(weights.histogram, np.round(10 * abs(table(6, times, 6))))
    np.testing.assert_array_equal(weights.edges, np.linspace(0, 2, 7))
    np.testing.assert_array_equal(weights.sample, series.astype(np.float32))
    assert weights.sample_source.tolist() == [0, 1, 2, 3]
    assert weights.sample_target.tolist() == [3, 2, 1, 0]


def test_traces(run: RunReader) -> None:
    steps = due(TRACE, 0, N_STEPS)
    traces_of_e = run.traces("E")
    np.testing.assert_allclose(traces_of_e.times_ms, steps * DT_MS)
    np.testing.assert_array_equal(traces_of_e.ids, CHOSEN)
    assert set(traces_of_e.values) == set(VARIABLES)
    for salt, name in enumerate(VARIABLES):
        np.testing.assert_array_equal(traces_of_e.values[name], table(7 + salt, steps, 3).astype(np.float32))


def test_degrees(run: RunReader) -> None:
    degrees = run.degrees("E_to_E")
    assert degrees.in_degree.tolist() == [2] * 7
    assert degrees.out_degree.tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_provenance(finished: Path) -> None:
    found = open_run(finished).provenance
    assert found["experiment"] == experiment().to_toml()
    assert found["hash"] == experiment().hash
    assert found["seed"]["network"] == 1
    assert (found["ranks"], len(found["hosts"])) == (1, 1)
    assert found["versions"]["numpy"] == np.__version__
    assert found["timings_s"] == {"run": 1.5}


def test_a_reader_says_what_it_reads(going: Path, finished: Path) -> None:
    (going / "status.json").write_text(json.dumps({"phase": "running"}))
    assert repr(open_run(going)) == (
        f"<A made-up run: E (7), I (2), X (5); 60 of 60 ms recorded, running; {going}>"
    )
    assert "finished" in repr(open_run(finished))
    assert open_run(finished).finished
    assert not open_run(going).finished
    part = open_run(sealed_segments(going)[1])
    assert not part.finished
    assert part.recorded_ms == pytest.approx(33.0)
    assert part.spikes("E").times_ms.min() > 20.0


@pytest.mark.parametrize(
    ("method", "name", "words"),
    [
        ("spikes", "Ee", "population 'Ee': there is none of this name; did you mean E?"),
        ("spikes", "I", 'spikes of I were not recorded; name "I" in recording.spikes'),
        ("rates", "X", "rates of X were not recorded; add recording.rates"),
        ("statistics", "X", "population 'X': there is none of this name; one of: E, I"),
        ("traces", "I", "traces of I were not recorded; add recording.traces.I"),
        ("weights", "X_to_I", "projection 'X_to_I': does not learn, its weights are constant; plastic: E_to_E"),
        ("weights", "E_to_F", "projection 'E_to_F': there is none of this name; did you mean E_to_E?"),
        ("degrees", "X_to_I", "degrees of X_to_I were not recorded"),
    ],
)
def test_what_is_not_there_is_told(run: RunReader, method: str, name: str, words: str) -> None:
    with pytest.raises(RunError) as raised:
        getattr(run, method)(name)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_run_without_a_time_split_says_so(run: RunReader) -> None:
    with pytest.raises(RunError, match="has no time split, which is written as a run finishes"):
        run.time_split()


def test_a_run_that_has_recorded_nothing_yet(tmp_path: Path) -> None:
    (tmp_path / "experiment.toml").write_text(experiment().to_toml())
    run = open_run(tmp_path)
    assert run.recorded_ms == 0.0
    assert run.verify() == []
    assert "0 of 60 ms recorded" in repr(run)
    with pytest.raises(RunError, match="nothing is recorded yet; wait for the first segment"):
        run.spikes("E")


def test_paths_that_hold_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no run"):
        open_run(tmp_path)
    with pytest.raises(RunError, match="does not exist"):
        open_run(tmp_path / "nowhere")
    (tmp_path / "experiment.toml").write_text("title = ")
    with pytest.raises(RunError, match="the experiment cannot be read"):
        open_run(tmp_path)


def test_a_run_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    whole, _ = spikes_of("X", 5, 0, N_STEPS)
    cuts = tuple(range(60, N_STEPS, 60))
    writing = threading.Thread(target=write_run, args=(tmp_path / "run", WRITER, cuts))
    writing.start()
    lengths = []
    while not lengths or writing.is_alive():
        if sealed_segments(tmp_path / "run") or (tmp_path / "run" / "run.h5").exists():
            run = open_run(tmp_path / "run")
            times_ms = run.spikes("X").times_ms
            np.testing.assert_array_equal(times_ms, whole[: times_ms.size])
            lengths.append(times_ms.size)
    writing.join()
    assert lengths == sorted(lengths)
    assert len(set(lengths)) > 1
    assert run.spikes("X").times_ms.size == whole.size


def test_a_reader_sees_segments_that_were_done_again(tmp_path: Path) -> None:
    """As those after a checkpoint that a run went back to, cut elsewhere the second time."""
    directory = tmp_path / "run"
    write_run(directory, WRITER, (200, 400), whole=False)
    reader = open_run(directory)
    before = reader.spikes("X").times_ms
    shutil.rmtree(directory)
    write_run(directory, WRITER, (300, 500), whole=False)
    np.testing.assert_array_equal(reader.spikes("X").times_ms, before)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.sets(st.integers(1, N_STEPS - 1), max_size=3))
def test_data_do_not_depend_on_the_cuts(tmp_path: Path, finished: Path, cuts: set[int]) -> None:
    directory = tmp_path / "run"
    shutil.rmtree(directory, ignore_errors=True)
    write_run(directory, WRITER, tuple(sorted(cuts)), whole=False)
    assert differences(finished, directory) == []
    consolidate(WRITER, directory, provenance(WRITER, experiment(), 0.0, {}, 1))
    assert differences(finished, directory) == []


def test_consolidation_can_be_repeated_after_a_crash(tmp_path: Path, going: Path, finished: Path) -> None:
    directory = tmp_path / "run"
    shutil.copytree(going, directory)
    (directory / "run.unverified").write_text("left by a crash")
    (directory / "segments" / "000004.partial").write_text("left by another")
    consolidate(WRITER, directory, provenance(WRITER, experiment(), 0.0, {}, 1))
    before = (directory / "run.h5").read_bytes()
    shutil.copytree(going / "segments", directory / "segments")     # as if it had died before removing them
    consolidate(WRITER, directory, provenance(WRITER, experiment(), 0.0, {}, 1))
    assert (directory / "run.h5").read_bytes() == before
    assert not (directory / "segments").exists()
    assert differences(finished, directory) == []


def test_segments_follow_each_other(tmp_path: Path, going: Path) -> None:
    directory = tmp_path / "run"
    shutil.copytree(going, directory)
    with pytest.raises(RunError, match="begins at step 100, the last sealed one ends at 600"):
        seal(WRITER, directory, 100, 200, DT_MS, make_records(0, 1, 100, 200))
    sealed_segments(directory)[1].unlink()
    with pytest.raises(RunError, match="begins at step 330, the one before it ends at 200"):
        open_run(directory).spikes("E")
    with pytest.raises(RunError, match="begins at step 330"):
        consolidate(WRITER, directory, [])
    assert open_run(directory).verify() != []


def test_a_run_that_records_nothing_can_finish(tmp_path: Path) -> None:
    """Neurons without synapses, of which nothing was asked."""
    for first in (0, 100):
        seal(WRITER, tmp_path, first, first + 100, DT_MS, [])
    path = consolidate(WRITER, tmp_path, provenance(WRITER, experiment(), 0.0, {}, 1))
    assert open_run(path).recorded_ms == pytest.approx(200 * DT_MS)
    assert open_run(path).verify() == []
    assert differences(path, path) == []


def test_there_must_be_segments_to_consolidate(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has no sealed segment"):
        consolidate(WRITER, tmp_path, [])


def test_records_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"/x: a slab of \(3,\) at \(1,\) does not fit \(3,\)"):
        Record("/x", (3,), np.dtype(float), grows=True, start=(1,), values=np.zeros(3))
    with pytest.raises(ValueError, match="/x: a slab of int64 does not fit float64"):
        Record("/x", (3,), np.dtype(float), grows=True, values=np.zeros(3, np.int64))
    with pytest.raises(ValueError, match="must ascend"):
        traces("E", 0.0, 1.0, [3, 1], 0, {"V": np.zeros((2, 2))})


def test_the_parallel_writer_needs_mpi() -> None:
    with pytest.raises(ExperimentError, match="--writer = parallel: the engine runs without MPI; use the gather wri"):
        choose_writer(None, "parallel")
    assert isinstance(choose_writer(None), GatherWriter)
