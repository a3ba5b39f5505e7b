"""Runs and sweeps as objects: what they measure, keep and give away, and what they say when they cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from rich.console import Console

from analysis import Run, Sweep, open_run, open_sweep
from analysis.kept import FILE, keep, kept
from analysis.measures import Measure, as_table, measures
from analysis.spikes import window_counts
from analysis.structure import input_parts, weight_rate_covariance
from analysis.studies.study import finished
from analysis.trends import over_seeds
from analysis.weights import arrival_rate, charge
from mpi_engine.experiment import parse_experiment
from mpi_engine.output.reader import RunError
from mpi_engine.output.writers import GatherWriter
from mpi_engine.run.job import run
from tests.made_up_run import N_STEPS, write_run

Make = Callable[..., dict[str, Any]]
DURATION_MS = 4000.0


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory, small_experiment: Make) -> Run:
    """A small plastic network, with every weight recorded."""
    directory = tmp_path_factory.mktemp("simulated") / "run"
    table = small_experiment(
        run={"duration_ms": DURATION_MS},
        plasticity={"homeostatic": {"learning_rate_mv": 0.01}},
        recording={"segment_ms": DURATION_MS, "weights": {"interval_ms": 10.0, "sample": 10**6}},
    )
    run(parse_experiment(table), directory)
    return open_run(directory)


@pytest.fixture(scope="module")
def going(tmp_path_factory: pytest.TempPathFactory) -> Run:
    directory = tmp_path_factory.mktemp("going") / "run"
    write_run(directory, GatherWriter(None), whole=False)
    return open_run(directory)


@pytest.fixture
def silent(tmp_path: Path) -> Run:
    """A finished run of 60 ms, whose neurons E are silent in the second half."""
    write_run(tmp_path / "run", GatherWriter(None))
    return open_run(tmp_path / "run")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, small_experiment: Make) -> Sweep:
    """Two strengths of input, with a size each, by two seeds; the directory is laid out as a sweep's."""
    directory = tmp_path_factory.mktemp("sweep") / "ensemble"
    for strength, probability in ((30.0, 0.3), (45.0, 0.4)):
        for seed in (2, 1):
            table = small_experiment(
                title=f"another {seed}", seed=seed, run={"duration_ms": 100.0},
                projections={"X_to_E": {"weight_mv": strength, "probability": probability}},
            )
            run(parse_experiment(table), directory / "runs" / f"run-{strength:g}-{seed}")
    return open_sweep(directory)


def by_name(found: list[Measure], of: str) -> dict[str, Measure]:
    return {measure.name: measure for measure in found if measure.of == of}


def test_the_input_is_that_of_mean_weights_and_of_their_covariance_with_rates(simulated: Run) -> None:
    """K (<J><r> + cov(J, r)), from every weight and every spike, closes to 1 % with the recorded current."""
    e, weights, start_ms = simulated.experiment, simulated.weights("I_to_E"), simulated.start_ms
    late = weights.time_ms > start_ms
    recorded = weights.sample[late].astype(np.float64)     # every 10 ms, and the rates in between
    spikes = simulated.spikes("I")
    counts = window_counts(spikes.times_ms, spikes.ids, e.sizes["I"], start_ms, DURATION_MS, 10.0)
    rates_khz = counts[:, weights.sample_source] / 10.0
    assert recorded.shape == rates_khz.shape == (200, weights.synapses)
    per_target = weights.synapses / e.sizes["E"] * charge(e, "I_to_E")
    covariance = weight_rate_covariance(recorded.ravel(), rates_khz.ravel()).value * (1 - 1 / recorded.size)
    mean_field = per_target * recorded.mean() * rates_khz.mean()
    parts = input_parts(simulated, "I_to_E", start_ms)
    assert parts.mean_field == pytest.approx(mean_field, rel=0.01)
    assert parts.total == pytest.approx(mean_field + per_target * covariance, rel=0.01)
    assert parts.covariance == pytest.approx(parts.total - parts.mean_field)
    assert parts.total == pytest.approx(simulated.rates("E").means["I_inhibitory"][200:].mean(), rel=1e-9)
    arrivals = arrival_rate(simulated, "I_to_E", start_ms)
    assert parts.felt_weight_mv == pytest.approx(parts.total / arrivals / charge(e, "I_to_E"))


def test_measures_of_a_run_are_those_of_its_arrays(simulated: Run) -> None:
    found = simulated.measures()
    excitatory = by_name(found, "E")
    counts = simulated.spike_counts("E")
    assert counts.shape == (8, 83)
    assert excitatory["rate"].value == pytest.approx(simulated.firing_rates_hz("E").mean(), rel=1e-9)
    assert excitatory["Fano factor"].value == pytest.approx(np.nanmean(simulated.fano("E")))
    assert excitatory["CV"].value == pytest.approx(np.nanmean(simulated.cv("E")))
    pairs = simulated.pair_statistics("E", "I")
    assert by_name(found, "E with I")["count covariance"].value == pairs.covariance
    spread = simulated.coefficients("E", "I")
    assert (spread.mean, spread.pairs) == (pytest.approx(pairs.coefficient, rel=1e-10), pairs.active_pairs)
    assert simulated.coefficients("E").pairs == simulated.pair_statistics("E").active_pairs
    weights = by_name(found, "I_to_E")
    assert weights["mean weight"].value == pytest.approx(simulated.weights("I_to_E").mean[-1])
    assert all(np.isfinite(measure.value) != bool(measure.reason) for measure in found)


def test_weights_beyond_the_histogram_have_no_skewness(simulated: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    w = simulated.weights("I_to_E")
    assert by_name(measures(simulated), "I_to_E")["skewness of weights"].reason == ""
    histogram = w.histogram.copy()
    for beyond, known in ((0, True), (histogram[-1].sum() // 50, False)):
        histogram[-1, -1] += beyond
        there = replace(w, histogram=histogram, maximum=w.edges[-1:] + np.ptp(w.edges))
        monkeypatch.setattr(simulated, "weights", lambda _, there=there: there)
        found = by_name(measures(simulated), "I_to_E")["skewness of weights"]
        assert np.isfinite(found.value) == known
        assert known or found.reason.endswith("widen recording.weights.histogram_mv.I_to_E")


def test_measures_are_kept_beside_the_run_and_not_in_it(silent: Run) -> None:
    before = (silent.path / "run.h5").read_bytes()
    first = silent.measures()
    assert (silent.path / FILE).exists()
    assert (silent.path / "run.h5").read_bytes() == before
    with h5py.File(silent.path / FILE, "a") as file:
        file["measures/value"][0] = 77.0
    assert open_run(silent.path).measures()[0].value == 77.0
    assert [m.reason for m in open_run(silent.path).measures()] == [m.reason for m in first]
    assert open_run(silent.path, burn_in=0.25).measures()[0].value != 77.0


def test_what_is_kept_is_of_this_run_and_this_name(silent: Run) -> None:
    keep(silent, "one", xr.Dataset({"x": ("n", [1.0, 2.0])}))
    keep(silent, "two", xr.Dataset({"x": ("n", [3.0])}))
    path = keep(silent, "one", xr.Dataset({"x": ("n", [4.0])}))
    assert [float(kept(silent, name)["x"][-1]) for name in ("one", "two")] == [4.0, 3.0]  # type: ignore[index]
    assert kept(silent, "three") is None
    with h5py.File(path, "a") as file:
        file["two"].attrs["experiment_hash"] = "of another"
    assert kept(silent, "two") is None
    assert [file.name for file in path.parent.iterdir() if file.name.startswith(".")] == []


def test_a_damaged_file_of_results_is_told(silent: Run) -> None:
    (silent.path / FILE).write_bytes(b"\x89HDF\r\n\x1a\n nothing more")
    assert kept(silent, "one") is None
    with pytest.raises(RunError, match=r"analysis\.h5: cannot be written \(.*\); remove it, or make room for it"):
        keep(silent, "one", xr.Dataset())


@pytest.mark.filterwarnings("error")
def test_every_number_has_a_value_or_a_reason(silent: Run) -> None:
    """Neurons E do not spike after the burn-in, those of I are not recorded, and the run is short."""
    found = silent.measures()
    assert all(np.isfinite(measure.value) != bool(measure.reason) for measure in found)
    excitatory, inhibitory = by_name(found, "E"), by_name(found, "I")
    assert excitatory["silent neurons"].value == 100.0
    assert excitatory["CV"].reason == "no neuron of E fires often enough"
    assert excitatory["Fano factor"].reason == "window_ms = 250 does not fit into 30 ms; shorten it"
    assert 'name "I" in recording.spikes and run again' in inhibitory["CV2"].reason
    console = Console(width=200, record=True)
    console.print(as_table(found))
    assert "nan" not in console.export_text().replace("than", "")


def test_a_burn_in_that_leaves_nothing_is_a_reason(silent: Run) -> None:
    found = open_run(silent.path, burn_in=0.99).measures()
    assert all(np.isfinite(measure.value) != bool(measure.reason) for measure in found)
    assert by_name(found, "E")["rate"].reason == "no bin of 10 ms begins after the burn-in of 59.4 ms; shorten it"
    assert "after the burn-in of 59.4 ms; shorten it" in by_name(found, "E_to_E")["⟨J r⟩/⟨r⟩"].reason


def test_a_run_that_goes_on_is_measured_but_nothing_is_kept(going: Run) -> None:
    assert going.stop_ms == pytest.approx(N_STEPS * 0.1)
    assert by_name(going.measures(), "E")["silent neurons"].value == 100.0
    with pytest.raises(RunError, match=r"has not finished, 60 of 60 ms are recorded; results are kept of finished"):
        keep(going, "one", xr.Dataset())
    assert not (going.path / FILE).exists()


def test_studies_measure_whole_runs_only(going: Run, simulated: Run) -> None:
    with pytest.raises(RunError, match=f"1 of 2 runs have no end, among them {going.path}"):
        finished([simulated, going])
    with pytest.raises(RunError, match="there are no such runs"):
        finished([])


def test_a_run_of_which_nothing_is_recorded_says_so(going: Run, tmp_path: Path) -> None:
    (tmp_path / "experiment.toml").write_text((going.path / "experiment.toml").read_text())
    with pytest.raises(RunError, match="nothing is recorded yet; wait for the first segment"):
        open_run(tmp_path).measures()


def test_bad_questions_have_clear_answers(simulated: Run) -> None:
    with pytest.raises(RunError, match="population 'A': there is none of this name"):
        simulated.cv("A")
    with pytest.raises(RunError, match="population 'J': there is none of this name"):
        simulated.pair_statistics("E", "J")
    with pytest.raises(ValueError, match="window_ms = 5000 does not fit into 2000 ms; shorten it"):
        simulated.fano("E", 5000.0)
    with pytest.raises(ValueError, match="window_ms = 1500 fits only once into the 2000 ms that are left; shorten it"):
        simulated.pair_statistics("E", window_ms=1500.0)
    with pytest.raises(ValueError, match="burn_in = 1: is a share of the run, at least 0 and below 1"):
        open_run(simulated.path, burn_in=1.0)


def test_covariance_functions_and_spectra_of_a_run(simulated: Run) -> None:
    lags_ms, covariance = simulated.cross_covariance("E", "I", bin_ms=2.0, max_lag_ms=50.0)
    reverse = simulated.cross_covariance("I", "E", bin_ms=2.0, max_lag_ms=50.0)[1]
    np.testing.assert_allclose(covariance, reverse[::-1], rtol=1e-9, atol=1e-9)
    assert lags_ms[[0, -1]].tolist() == [-50.0, 50.0]
    frequencies_hz, spectrum = simulated.cross_spectrum("E", "E", resolution_hz=5.0)
    assert frequencies_hz[:2].tolist() == [0.0, 5.0]
    np.testing.assert_allclose(spectrum.imag, 0, atol=1e-9)


def test_a_run_draws_itself(simulated: Run) -> None:
    for figure in (simulated.plot_raster(), simulated.plot_rates(), simulated.plot_currents("E"),
                   simulated.plot_weights("I_to_E"), simulated.plot_weight_histogram("I_to_E"),
                   simulated.plot_membrane_potentials()):
        assert isinstance(figure, Figure)
        assert figure.axes


def test_labelled_records_of_a_run(simulated: Run) -> None:
    labelled = simulated.to_xarray()
    assert labelled["rate_E"].attrs["units"] == "Hz"
    assert float(labelled["rate_E"].sel(time_ms=200.0)) == simulated.rates("E").rate_hz[20]
    assert labelled["spike_count_I"].shape == (80, 21)
    assert labelled["variance_V_E"].attrs["units"] == "(mV)^2"
    assert float(labelled["weight_mean_I_to_E"][-1]) == simulated.weights("I_to_E").mean[-1]
    assert labelled.attrs["experiment_hash"] == simulated.experiment.hash


def test_neo_objects_of_a_run(simulated: Run) -> None:
    segment = simulated.to_neo().segments[0]
    assert len(segment.spiketrains) == 83 + 21 + 29
    spikes = simulated.spikes("I")
    train = segment.spiketrains[83 + 4]
    assert (train.annotations["population"], train.annotations["id"]) == ("I", 4)
    assert train.magnitude.tolist() == spikes.times_ms[spikes.ids == 4].tolist()
    traces = simulated.traces("E")
    V = next(signal for signal in segment.analogsignals if signal.name == "V")
    np.testing.assert_array_equal(V.magnitude, traces.values["V"])
    np.testing.assert_allclose(V.times.rescale("ms").magnitude, traces.times_ms, rtol=1e-9)
    assert str(V.units.dimensionality) == "mV"


def test_a_run_tells_what_it_is(simulated: Run) -> None:
    assert "E (83), I (21), X (29); 4000 of 4000 ms recorded, finished" in repr(simulated)


def test_a_sweep_tells_what_differs(sweep: Sweep) -> None:
    assert "4 runs, 4 finished; seed (2), projections.X_to_E.probability (2)" in repr(sweep)
    assert sweep.axes == {"seed": [1, 2], "projections.X_to_E.probability": [0.3, 0.4]}
    assert sweep.settings["run-45-2"] == {
        "seed": 2, "projections.X_to_E.probability": 0.4, "projections.X_to_E.weight_mv": 45.0
    }
    assert sweep.missing == []


def test_a_sweep_is_measured_by_its_settings(sweep: Sweep) -> None:
    rates = sweep.measure(lambda run: float(run.rates("E").rate_hz.mean()), unit="Hz")
    assert rates.dims == ("seed", "projections.X_to_E.probability")
    assert rates.coords["projections.X_to_E.weight_mv"].values.tolist() == [30.0, 45.0]
    expected = open_run(sweep.path / "runs" / "run-45-1").rates("E").rate_hz.mean()
    assert float(rates.sel({"seed": 1, "projections.X_to_E.probability": 0.4})) == expected
    assert rates.attrs["units"] == "Hz"


def test_all_numbers_of_a_sweep_are_labelled(sweep: Sweep) -> None:
    labelled = sweep.to_xarray()
    rates = sweep.measure(lambda run: run.measures()[0].value)
    np.testing.assert_array_equal(labelled["rate_E"].values, rates.values)
    assert labelled["rate_E"].attrs["units"] == "Hz"
    assert np.isnan(labelled["count_covariance_E_with_I"].values).all()
    assert labelled["count_covariance_E_with_I"].attrs["reasons"] == [
        "window_ms = 250 does not fit into 50 ms; shorten it"
    ]


def test_a_sweep_is_drawn_against_its_settings(sweep: Sweep) -> None:
    values = sweep.measure(lambda run: run.experiment.seed.base + run.experiment.named_weight("X_to_E"), unit="mV")
    mean, reach = over_seeds(values)
    assert mean.values.tolist() == [31.5, 46.5]
    assert reach.values == pytest.approx(12.706 * 0.5, rel=1e-4)     # Student's t of one degree of freedom
    panel = sweep.plot(values, "projections.X_to_E.weight_mv", log=True).axes[0]
    assert panel.lines[0].get_xydata().tolist() == [[30.0, 31.5], [45.0, 46.5]]
    assert panel.get_xscale() == "log"
    lines = sweep.plot(values, "seed").axes[0]
    assert [text.get_text() for text in lines.get_legend().get_texts()] == ["probability = 0.3", "probability = 0.4"]
    with pytest.raises(ValueError, match=r"setting = 'run\.dt_ms': the runs do not differ in it, but in "):
        sweep.plot(values, "run.dt_ms")


def test_an_incomplete_sweep_is_refused_unless_asked_for(sweep: Sweep) -> None:
    path = sweep.path / "runs" / "run-30-1"
    hidden = sweep.path / "hidden"
    path.rename(hidden)
    try:
        rest = open_sweep(sweep.path.with_suffix(".toml"))
        with pytest.raises(RunError, match="1 of 4 combinations of settings have no run; finish them, or ask for what"):
            rest.measure(lambda run: 1.0)
        there = rest.measure(lambda run: 1.0, incomplete=True)
        assert np.isnan(there.values).tolist() == [[True, False], [False, False]]
        assert there.attrs["missing"] == ["1 of 4 combinations of settings have no run"]
        path.mkdir()
        (path / "experiment.toml").write_bytes((hidden / "experiment.toml").read_bytes())
        assert open_sweep(sweep.path).missing == ["run-30-1 has not finished"]
        (path / "experiment.toml").unlink()
        path.rmdir()
    finally:
        hidden.rename(path)


def test_two_runs_of_the_same_settings_are_refused(sweep: Sweep) -> None:
    twice = Sweep(sweep.path, sweep.runs | {"again": sweep.runs["run-30-1"]})
    with pytest.raises(RunError, match="again has the settings of run-30-1; remove one of the two"):
        twice.measure(lambda run: 1.0)


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_no_sweep_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="check the path, or run the sweep first"):
        open_sweep(tmp_path / name)
