"""Footprint of a coding network: the bytes that a run takes in memory and on disk, reckoned without running it."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from mpi_engine.dynamics.coding_recorders import CURRENTS, STATE
from mpi_engine.experiment.coding import NEURONS, CodingExperiment
from mpi_engine.run.footprint import CHECKPOINT, DATASET_BYTES, FILE_BYTES, SPIKE_IN_MEMORY, SPIKE_ON_DISK


class CodingFootprint:
    """What an experiment with a coding network takes on a number of ranks; everything is in float64.

    Parameters
    ----------
    experiment : CodingExperiment
        What is run.
    n_ranks : int
        Among how many its neurons are divided.
    rates_hz : mapping of str to float
        Mean rate of its neurons [Hz].
    """

    def __init__(self, experiment: CodingExperiment, n_ranks: int, rates_hz: Mapping[str, float]) -> None:
        self._experiment, self._n_ranks = experiment, n_ranks
        self._rate_hz = rates_hz[NEURONS]
        self._by_synapse = experiment.learning.form == "per_synapse"

    def memory(self) -> dict[str, float]:
        """Bytes of the arrays of the rank that has most, by what they hold, at the time of a checkpoint."""
        e, K = self._experiment, self._experiment.n_dimensions
        n, units = e.network.size, e.network.basis.n_units
        local, own_units = ceil(n / self._n_ranks), units if self._by_synapse else ceil(units / self._n_ranks)
        dense = n * own_units if e.network.basis.kind == "dense" else 0
        slow = (2 * units * local if self._by_synapse else K * own_units) + self._mixing * (1 + own_units / units)
        segment = e.recording.segment_ms
        records = self._recorded(segment) + self._spikes(segment) * SPIKE_IN_MEMORY
        return {"neurons": 8.0 * (K * (n + local) + 6 * local), "synapses": 8.0 * (slow + dense + (K + 4) * own_units),
                "plasticity": 0.0, "recorders": records, CHECKPOINT: 0.0}

    def run_file(self) -> float:
        """Bytes of all that is recorded, as ``run.h5`` holds it at the end."""
        e, duration = self._experiment, self._experiment.run.duration_ms
        network = 8 * (e.network.size * e.n_dimensions + e.network.basis.n_units * (e.n_dimensions + 1) + self._mixing)
        recorded = self._recorded(duration) + self._spikes(duration) * SPIKE_ON_DISK
        return recorded + network + 20 * DATASET_BYTES + FILE_BYTES

    def checkpoint(self) -> float:
        """Bytes of a checkpoint."""
        return 8 * (self._weights() + 3 * self._experiment.network.size) + 12 * DATASET_BYTES + FILE_BYTES

    def disk(self) -> float:
        """Most bytes on disk at a time: the segments beside the file they become, two checkpoints and one begun."""
        return 2 * self.run_file() + 3 * self.checkpoint()

    @property
    def _mixing(self) -> int:
        """Numbers in the mixing of a decorrelated basis, of which each rank has the whole, and its part again."""
        basis = self._experiment.network.basis
        return basis.n_units**2 if basis.decorrelated else 0

    def _weights(self) -> int:
        e = self._experiment
        return e.network.basis.n_units * (e.network.size if self._by_synapse else e.n_dimensions)

    def _spikes(self, duration_ms: float) -> float:
        e = self._experiment
        return e.network.size * self._rate_hz * duration_ms * 1e-3 if e.recording.spikes else 0.0

    def _recorded(self, duration_ms: float) -> float:
        """Bytes of all samples of a time."""
        e, recording = self._experiment, self._experiment.recording
        total = 0.0
        if recording.state:
            total += duration_ms / recording.state.interval_ms * len(STATE) * e.n_dimensions
        if recording.currents:
            chosen = recording.currents.neurons
            n = chosen if isinstance(chosen, int) else len(chosen)
            total += duration_ms / recording.currents.interval_ms * len(CURRENTS) * n
        if recording.slow_weights:
            total += duration_ms / recording.slow_weights.interval_ms * (2 + self._weights())
        return 8 * total
