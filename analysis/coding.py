"""What a run with a coding network did, phase by phase: accuracy, spikes, balance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.spikes import window_counts
from analysis.variability import coefficients_of_variation, fano_factors, local_coefficients_of_variation
from mpi_engine.experiment.coding import NEURONS, Stage
from mpi_engine.output.coding_reader import CodingReader, Tracking
from mpi_engine.output.reader import RunError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stretch:
    """A part of a run.

    Parameters
    ----------
    stage : Stage
        The phase, as it took place.
    interval_s : float
        Time between samples [s].
    x, xhat, input : ndarray of float, shape (T, K)
        Teacher, readout and input [1/s].
    """

    stage: Stage
    interval_s: float
    x: Floats
    xhat: Floats
    input: Floats


@dataclass(frozen=True)
class Balance:
    """How closely inhibition follows excitation in each of n neurons.

    Parameters
    ----------
    correlation : ndarray of float, shape (n,)
        Of excitation with the size of inhibition, over time.
    net_over_total : ndarray of float, shape (n,)
        Mean |E + I| over mean E + |I|.
    """

    correlation: Floats
    net_over_total: Floats


class CodingRun:
    """What a coding network recorded.

    Parameters
    ----------
    reader : CodingReader
        Of the run.
    """

    def __init__(self, reader: CodingReader) -> None:
        self.reader = reader
        self.experiment = reader.experiment
        self.dt_s = self.experiment.run.dt_ms * 1e-3

    @cached_property
    def _tracking(self) -> Tracking:
        return self.reader.tracking()

    def stretches(self, does: str) -> Iterator[Stretch]:
        """Give the phases that learn, synchronise or run freely, in order, as often as they took place."""
        recorded, dt_ms = self._tracking, self.experiment.run.dt_ms
        times_ms = recorded.times_ms
        for stage in self.experiment.stages:
            if stage.phase.does != does or stage.first == stage.last:
                continue
            begin, end = np.searchsorted(times_ms, [(stage.first + 0.5) * dt_ms, (stage.last + 0.5) * dt_ms])
            parts = (series[begin:end] for series in (recorded.x, recorded.xhat, recorded.input))
            yield Stretch(stage, float(times_ms[1] - times_ms[0]) * 1e-3, *parts)

    @property
    def drift_error(self) -> float:
        """Relative root mean square error of the learned drift when learning had ended."""
        errors = self.reader.slow_weights().drift_error
        if errors is None:
            raise RunError(f"{self.reader.path}: the drift's error is known where f is, for factored weights")
        return float(errors[-1])

    def spike_times_ms(self, stage: Stage) -> tuple[Floats, NDArray[np.int64]]:
        """Times [ms] and neurons of the spikes of a phase, the times from its beginning."""
        spikes, dt_ms = self.reader.spikes(NEURONS), self.experiment.run.dt_ms
        begin, end = np.searchsorted(spikes.times_ms, [(stage.first + 0.5) * dt_ms, (stage.last + 0.5) * dt_ms])
        return spikes.times_ms[begin:end] - stage.first * dt_ms, spikes.ids[begin:end]

    def rate_hz(self, stage: Stage) -> float:
        """Mean firing rate in a phase [Hz]."""
        times, _ = self.spike_times_ms(stage)
        return len(times) / ((stage.last - stage.first) * self.dt_s * self.experiment.n_neurons)

    def irregularity(self, stretch: Stretch, fewest: int = 10) -> float:
        """Mean coefficient of variation of neurons with more than a number of spikes, each in its active epochs.

        A neuron is active while the direction in which its code moves, of dx/dt + lambda x, is within 60 degrees of its
        decoding vector; the silence between does not count.
        """
        vectors, size = self.reader.network()["decoder"], self.experiment.n_neurons
        width = max(round(0.02 / stretch.interval_s), 1)      # a readout is rough
        smooth = np.column_stack([np.convolve(x, np.ones(width) / width, mode="same") for x in stretch.xhat.T])
        moves = np.gradient(smooth, stretch.interval_s, axis=0) + self.experiment.network.leak_per_s * smooth
        lengths = np.linalg.norm(moves, axis=1)[:, None] * np.linalg.norm(vectors, axis=1)
        epochs = np.cumsum(np.diff(moves @ vectors.T > 0.5 * lengths, axis=0, prepend=False), axis=0)    # odd: active
        times, ids = self.spike_times_ms(stretch.stage)
        epoch = epochs[np.minimum((times * 1e-3 / stretch.interval_s).astype(np.int64), len(epochs) - 1), ids]
        active = epoch % 2 == 1
        cv = coefficients_of_variation(times[active], ids[active], size, epoch[active])
        return float(np.nanmean(cv[np.bincount(ids[active], minlength=size) > fewest]))

    def local_irregularities(self, stage: Stage, fewest: int = 10) -> Floats:
        """CV2 of each neuron with more than a number of spikes: changes of its rate leave it."""
        times, ids = self.spike_times_ms(stage)
        cv2 = local_coefficients_of_variation(times, ids, self.experiment.n_neurons)
        often: Floats = cv2[np.bincount(ids, minlength=cv2.size) > fewest]
        return often

    def trial_fano(self, window_ms: float, fewest: float = 0.5) -> float:
        """Mean Fano factor, over trials, of counts at the same time in each, of neurons with more than a mean count."""
        stages = [stretch.stage for stretch in self.stretches("run")]
        size = self.experiment.n_neurons
        length = min(stage.last - stage.first for stage in stages) * self.experiment.run.dt_ms
        counts = np.array([window_counts(*self.spike_times_ms(stage), size, 0.0, length, window_ms)
                           for stage in stages])
        factors = np.array([fano_factors(counts[:, w]) for w in range(counts.shape[1])])
        return float(np.nanmean(factors[counts.mean(axis=0) > fewest]))

    def poisson_error(self, stage: Stage) -> float:
        """Error of a code by independent Poisson neurons with the same rates: gamma sqrt(R / 2 lambda)."""
        vectors = self.reader.network()["decoder"]
        _, ids = self.spike_times_ms(stage)
        rates = np.bincount(ids, minlength=len(vectors)) / ((stage.last - stage.first) * self.dt_s)
        return float(np.sqrt(((vectors**2).sum(axis=1) * rates).sum() / (2 * self.experiment.network.leak_per_s)))

    def excitation_and_inhibition(self, currents: Mapping[str, NDArray[np.floating[Any]]]) -> tuple[Floats, Floats]:
        """Sum currents, as `CodingReader.currents` names them: slow, lateral and external ones, by their sign."""
        c = currents
        return (c["slow_E"] + c["lateral_E"] + np.maximum(c["external"], 0.0),
                c["slow_I"] + c["lateral_I"] + np.minimum(c["external"], 0.0))

    def balance(self, stage: Stage) -> Balance:
        """Measure the balance of the chosen neurons in a phase: slow, lateral and external currents together."""
        currents, dt_ms = self.reader.currents(), self.experiment.run.dt_ms
        begin, end = np.searchsorted(currents.times_ms, [(stage.first + 0.5) * dt_ms, (stage.last + 0.5) * dt_ms])
        now = {name: values[begin:end] for name, values in currents.values.items()}
        return balance_of(*self.excitation_and_inhibition(now))


def balance_of(excitation: Floats, inhibition: Floats) -> Balance:
    """Measure the balance of currents of shape (T, n), inhibition being negative."""
    E, I = excitation - excitation.mean(axis=0), -(inhibition - inhibition.mean(axis=0))   # noqa: E741
    correlation = (E * I).sum(axis=0) / np.sqrt((E**2).sum(axis=0) * (I**2).sum(axis=0))
    net = np.abs(excitation + inhibition).mean(axis=0) / (excitation - inhibition).mean(axis=0)
    return Balance(correlation, net)
