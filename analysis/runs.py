"""A run as an object to work with: what it recorded, what can be measured in it, and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis import figures, spectra
from analysis.correlations import PairStatistics, pair_statistics
from analysis.currents import excitation_and_inhibition, tightness
from analysis.kept import keep, kept
from analysis.measures import Measure, measures
from analysis.pairs import Distribution, blocked, coefficients, distribution
from analysis.spikes import rates_hz, window_counts
from analysis.variability import coefficients_of_variation, fano_factors, local_coefficients_of_variation
from mpi_engine.output.layout import unit_of
from mpi_engine.output.reader import RunReader

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

MEASURES = "measures"


def open_run(path: str | Path, burn_in: float = 0.5) -> Run:
    """Open a run directory, or a run file by itself.

    Parameters
    ----------
    path : str or Path
        A run directory, of a finished run or of one that goes on, or a run file.
    burn_in : float
        Share of the recorded time that measures leave out.

    Returns
    -------
    Run

    Raises
    ------
    RunError
        If there is no run, or its file is damaged or foreign.
    """
    return Run(Path(path), burn_in)


class Run(RunReader):
    """A run, its records and the measures of it.

    Everything that `RunReader` reads is here too. Measures are of the time after the burn-in; of a run that goes on,
    of what it has recorded until now. All raise `RunError` where a record is missing, and ValueError where there is
    too little of it.

    Parameters
    ----------
    path : Path
        A run directory or a run file.
    burn_in : float
        Share of the recorded time that measures leave out, at least 0 and below 1.
    """

    def __init__(self, path: Path, burn_in: float = 0.5) -> None:
        if not 0 <= burn_in < 1:
            raise ValueError(f"burn_in = {burn_in:g}: is a share of the run, at least 0 and below 1")
        super().__init__(path)
        self._burn_in = burn_in

    @property
    def start_ms(self) -> float:
        """End of the burn-in [ms]."""
        return self._burn_in * self.stop_ms

    @property
    def stop_ms(self) -> float:
        """End of what is recorded [ms]; RunError before there is anything."""
        self.sealed()
        return self.recorded_ms

    def spike_counts(self, population: str, window_ms: float = 250.0) -> Counts:
        """Count the spikes of each neuron in windows [W, n]; see `analysis.spikes.window_counts`."""
        spikes, size = self.spikes(population), self.experiment.sizes[population]
        return window_counts(spikes.times_ms, spikes.ids, size, self.start_ms, self.stop_ms, window_ms)

    def firing_rates_hz(self, population: str) -> Array:
        """Rate of each neuron [n]."""
        spikes, size = self.spikes(population), self.experiment.sizes[population]
        return rates_hz(spikes.times_ms, spikes.ids, size, self.start_ms, self.stop_ms)

    def cv(self, population: str) -> Array:
        """Coefficient of variation of each neuron's intervals [n]; see `analysis.variability`."""
        return coefficients_of_variation(*self._late_spikes(population), self.experiment.sizes[population])

    def cv2(self, population: str) -> Array:
        """CV2 of each neuron [n]; see `analysis.variability`."""
        return local_coefficients_of_variation(*self._late_spikes(population), self.experiment.sizes[population])

    def fano(self, population: str, window_ms: float = 250.0) -> Array:
        """Fano factor of each neuron's counts [n]; see `analysis.variability`."""
        return fano_factors(self._enough(self.spike_counts(population, window_ms), window_ms))

    def pair_statistics(self, first: str, second: str | None = None, window_ms: float = 250.0) -> PairStatistics:
        """Covariance and correlation of counts over all pairs of two populations; see `analysis.correlations`."""
        counts = self._enough(self.spike_counts(first, window_ms), window_ms)
        return pair_statistics(counts, None if second in (None, first) else self.spike_counts(str(second), window_ms))

    def coefficients(self, first: str, second: str | None = None, window_ms: float = 250.0) -> Distribution:
        """Mean and spread of the correlation coefficient over all pairs, out of core; see `analysis.pairs`."""
        counts = self._enough(self.spike_counts(first, window_ms), window_ms)
        if second in (None, first):
            return distribution(coefficients(blocked(counts)), within=True)
        others = self.spike_counts(str(second), window_ms)
        return distribution(coefficients(blocked(counts), blocked(others)), within=False)

    def cross_covariance(
        self, first: str, second: str | None = None, bin_ms: float = 1.0, max_lag_ms: float = 100.0
    ) -> tuple[Array, Array]:
        """Lags [ms] and mean cross-covariance [Hz^2] of pairs; see `analysis.spectra`."""
        return spectra.cross_covariance(*self._bins_of_pair(first, second, bin_ms), max_lag_ms)

    def cross_spectrum(
        self, first: str, second: str | None = None, bin_ms: float = 1.0, resolution_hz: float = 1.0
    ) -> tuple[Array, NDArray[np.complex128]]:
        """Frequencies [Hz] and mean cross-spectrum [Hz] of pairs; see `analysis.spectra`."""
        return spectra.cross_spectrum(*self._bins_of_pair(first, second, bin_ms), resolution_hz)

    def mean_currents(self, population: str) -> tuple[Array, Array]:
        """Excitation and inhibition [T], averaged over the neurons of a population [mV/ms]."""
        rates = self.rates(population)
        values = self._late(rates.times_ms >= self.start_ms, rates.means, "rates")
        return excitation_and_inhibition(self.experiment, population, values)

    def tightness(self, population: str) -> Array:
        """Correlation in time of excitation with inhibition in each traced neuron [n]; see `analysis.currents`."""
        traces = self.traces(population)
        values = self._late(traces.times_ms > self.start_ms, traces.values, "traces")
        return tightness(*excitation_and_inhibition(self.experiment, population, values))

    def measures(self) -> list[Measure]:
        """All numbers of the run, each with a reason if it has no value; those of a finished run are kept.

        They are in ``analysis.h5`` in the run's directory: see `analysis.kept`.
        """
        table = kept(self, MEASURES) if self.finished else None
        if table is not None and table.attrs["burn_in"] == self._burn_in:
            columns = zip(*(table[name].values.tolist() for name in Measure.__dataclass_fields__), strict=True)
            return [Measure(*row) for row in columns]
        found = measures(self)
        if self.finished:
            keep(self, MEASURES, _as_dataset(found).assign_attrs(burn_in=self._burn_in))
        return found

    def plot_raster(self, start_ms: float | None = None, stop_ms: float | None = None) -> Figure:
        """Draw spikes and rates, by default of the last second; see `analysis.figures.raster`."""
        return figures.raster(self, *self._span(start_ms, stop_ms))

    def plot_rates(self) -> Figure:
        """Draw the rates of the populations over time."""
        return figures.rates(self, {})

    def plot_currents(self, population: str) -> Figure:
        """Draw the mean currents into a population over time."""
        return figures.currents(self, population)

    def plot_weights(self, projection: str) -> Figure:
        """Draw the mean weight of a plastic projection over time, with its spread."""
        return figures.mean_weights([self], [self.directory.name], projection)

    def plot_weight_histogram(self, projection: str) -> Figure:
        """Draw the weights of a plastic projection at the end."""
        return figures.weight_histogram([self], [self.directory.name], projection)

    def plot_membrane_potentials(self, start_ms: float | None = None, stop_ms: float | None = None) -> Figure:
        """Draw the membrane potentials of the traced neurons, by default of the last second."""
        return figures.membrane_potentials(self, *self._span(start_ms, stop_ms))

    def to_xarray(self) -> xr.Dataset:
        """Label what was recorded in bins of time: rates, statistics and weights, in memory.

        Returns
        -------
        Dataset
            ``rate_E`` over ``time_ms``, ``mean_V_E`` beside it; ``variance_V_E`` and others over ``block_start_ms`` and
            ``neuron_E``; ``weight_mean_I_to_E`` over ``weight_time_ms``, as weights act. Units are attributes.
        """
        e, variables = self.experiment, dict[str, xr.DataArray]()
        for name in e.populations if e.recording.rates else ():
            rates = self.rates(name)
            time = {"time_ms": rates.times_ms}
            variables[f"rate_{name}"] = _labelled(rates.rate_hz, time, "Hz")
            for variable, mean in rates.means.items():
                variables[f"mean_{variable}_{name}"] = _labelled(mean, time, unit_of(variable))
        for name in e.populations if e.recording.statistics else ():
            statistics = self.statistics(name)
            axes = {"block_start_ms": statistics.start_ms, f"neuron_{name}": np.arange(e.sizes[name])}
            variables[f"spike_count_{name}"] = _labelled(statistics.spike_count, axes, "1")
            for variable, variance in statistics.variance.items():
                variables[f"variance_{variable}_{name}"] = _labelled(variance, axes, f"({unit_of(variable)})^2")
        for name in e.plastic if e.recording.weights else ():
            weights = self.weights(name)
            time, unit = {"weight_time_ms": weights.time_ms}, "mV" if e.projections[name].weight_mv is not None else "1"
            variables[f"weight_mean_{name}"] = _labelled(weights.mean, time, unit)
            variables[f"weight_variance_{name}"] = _labelled(weights.variance, time, f"{unit}^2")
        recorded = {"recorded_ms": self.recorded_ms, "duration_ms": e.run.duration_ms}
        return xr.Dataset(variables, attrs={"title": e.title, "experiment_hash": e.hash, **recorded})

    def to_neo(self) -> Any:
        """Give spike trains and traces as Neo objects, which Elephant analyses; needs the package neo.

        Returns
        -------
        neo.Block
            One segment of all that is recorded: a train for each neuron of the recorded populations, silent ones
            included, and a signal for each traced variable; annotated with ``population``, and ``id`` or ``ids``.
        """
        import neo  # type: ignore[import-untyped]  # noqa: PLC0415  (not everyone has it)
        from quantities import ms  # type: ignore[import-untyped]  # noqa: PLC0415

        block, segment = neo.Block(name=self.experiment.title), neo.Segment()
        block.segments.append(segment)
        for name in self.experiment.recording.spikes:
            spikes, size = self.spikes(name), self.experiment.sizes[name]
            order = np.argsort(spikes.ids, kind="stable")
            trains = np.split(spikes.times_ms[order], np.searchsorted(spikes.ids[order], np.arange(1, size)))
            for lid, times in enumerate(trains):
                train = neo.SpikeTrain(times, units="ms", t_stop=self.stop_ms, population=name, id=lid)
                segment.spiketrains.append(train)
        for name in self.experiment.recording.traces:
            traces = self.traces(name)
            first_ms, second_ms = traces.times_ms[:2]
            for variable, series in traces.values.items():
                segment.analogsignals.append(neo.AnalogSignal(
                    series, units=unit_of(variable), t_start=first_ms * ms, sampling_period=(second_ms - first_ms) * ms,
                    name=variable, population=name, ids=traces.ids))
        return block

    def _late(
        self, late: NDArray[np.bool_], series: Mapping[str, NDArray[Any]], what: str
    ) -> dict[str, NDArray[Any]]:
        if not late.any():
            raise ValueError(f"no {what} were recorded after the burn-in of {self.start_ms:g} ms; shorten it")
        return {name: values[late] for name, values in series.items()}

    def _late_spikes(self, population: str) -> tuple[Array, Counts]:
        spikes = self.spikes(population)
        late = spikes.times_ms > self.start_ms
        return spikes.times_ms[late], spikes.ids[late]

    def _bins_of_pair(
        self, first: str, second: str | None, bin_ms: float
    ) -> tuple[spectra.BinnedSpikes, spectra.BinnedSpikes | None]:
        other = None if second is None or second == first else self._bins(second, bin_ms)
        return self._bins(first, bin_ms), other

    def _bins(self, population: str, bin_ms: float) -> spectra.BinnedSpikes:
        spikes, size = self.spikes(population), self.experiment.sizes[population]
        return spectra.binned(spikes.times_ms, spikes.ids, size, self.start_ms, self.stop_ms, bin_ms)

    def _enough(self, counts: Counts, window_ms: float) -> Counts:
        if len(counts) < 2:
            span = self.stop_ms - self.start_ms
            raise ValueError(f"window_ms = {window_ms:g} fits only once into the {span:g} ms that are left; shorten it")
        return counts

    def _span(self, start_ms: float | None, stop_ms: float | None) -> tuple[float, float]:
        stop = self.stop_ms if stop_ms is None else stop_ms
        return (max(0.0, stop - 1000.0) if start_ms is None else start_ms), stop


def _labelled(values: NDArray[Any], axes: dict[str, NDArray[Any]], units: str) -> xr.DataArray:
    return xr.DataArray(values, axes, list(axes), attrs={"units": units})


def _as_dataset(found: Sequence[Measure]) -> xr.Dataset:
    columns = {name: [getattr(m, name) for m in found] for name in Measure.__dataclass_fields__}
    return xr.Dataset({name: ("measure", values) for name, values in columns.items()})
