"""Recording of plastic weights over time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpi_engine.dynamics.synapses import PlasticProjection
from mpi_engine.dynamics.weights import make_census, take_census
from mpi_engine.experiment import Experiment
from mpi_engine.network.connectivity import Connectivity, synapse_hashes
from mpi_engine.network.ranks import Ranks
from mpi_engine.output import projection_layout
from mpi_engine.output.layout import Record


class WeightRecorder:
    """Weights of a plastic projection over time.

    Parameters
    ----------
    experiment : Experiment
        What is recorded.
    name : str
        The projection.
    drawn : Connectivity
        This rank's synapses.
    ranks : Ranks
        Who takes part.
    """

    def __init__(
        self, experiment: Experiment, name: str, drawn: Connectivity, ranks: Ranks
    ) -> None:
        recording = experiment.recording.weights
        assert recording is not None
        projection = experiment.projections[name]
        self._name, self._ranks, self._dt = name, ranks, experiment.run.dt_ms
        self._scale = experiment.weight_scale(name)
        edges = recording.histogram_mv.get(name) or (0.0, 2 * experiment.named_weight(name) or 1.0)
        self._edges = np.sort(np.array(edges) * self._scale)
        self._unit = "1" if experiment.conducts(projection.synapse) else "mV"
        self._n_bins = recording.histogram_bins
        self._census = make_census(drawn.rows, drawn.in_degree.size, self._n_bins, experiment.run.weight_dtype)
        self.synapses = int(ranks.sum(np.array([drawn.rows.targets.size]))[0])
        share = synapse_hashes(experiment, name, drawn, recording.sample)
        hashes, sources, targets, self._positions = share
        order = np.argsort(ranks.concatenate(hashes), kind="stable")[: recording.sample]
        self._sample_source = ranks.concatenate(sources)[order]
        self._sample_target = ranks.concatenate(targets)[order]
        self._order = order
        in_degree = ranks.concatenate(drawn.in_degree)
        members = {part: experiment.members(part)[1] for part in recording.targets.get(name, ())}
        self._onto = {part: (ids, int(in_degree[ids].sum())) for part, ids in members.items()}
        self._records: list[tuple[Any, ...]] = []

    def note(self, step: int, projection: PlasticProjection, weights: NDArray[Any]) -> None:
        """Collective. Record the weights after a step."""
        ranks = self._ranks
        take_census(projection, weights, self._edges, self._census)
        # summed by target, then in the order of ids: the same bits on any number of ranks
        sums = ranks.concatenate(self._census.sums)
        mean, variance = _moments(sums, self.synapses)
        onto = [_moments(sums[ids], n) for ids, n in self._onto.values()]
        lowest, highest = self._census.extremes
        ends = ranks.concatenate(np.array([[lowest.min(initial=np.inf), highest.max(initial=-np.inf)]]))
        minimum, maximum = (ends[:, 0].min(), ends[:, 1].max()) if self.synapses else (0.0, 0.0)
        histogram = ranks.sum(self._census.histogram.sum(axis=0))
        sample = ranks.concatenate(weights[self._positions])[self._order]
        record = (step * self._dt, mean, variance, minimum, maximum, histogram, sample, onto)
        self._records.append(record)

    def take(self, dtype: str) -> list[Record]:
        """Records since the last call."""
        records, self._records = self._records, []
        time, mean, variance, minimum, maximum = (np.array([record[k] for record in records]) for k in range(5))
        k = len(records)
        histogram = np.array([record[5] for record in records], np.int64).reshape(k, self._n_bins)
        sample = np.array([record[6] for record in records], dtype).reshape(k, self._order.size)
        onto = np.array([record[7] for record in records]).reshape(k, len(self._onto), 2)
        return projection_layout.weights(
            self._name,
            self._scale,
            self.synapses,
            time,
            mean,
            variance,
            minimum,
            maximum,
            histogram,
            np.linspace(self._edges[0], self._edges[1], self._n_bins + 1),
            sample,
            self._sample_source,
            self._sample_target,
            self._ranks.is_first,
            self._unit,
            {part: (onto[:, index, 0], onto[:, index, 1]) for index, part in enumerate(self._onto)},
        )


def _moments(sums: NDArray[np.float64], n: int) -> tuple[float, float]:
    """Mean and variance of n synapses' weights from sums by target; zero if there is none."""
    mean, square = (_sum_in_order(column) / max(n, 1) for column in sums.T)
    return mean, max(square - mean * mean, 0.0)


def _sum_in_order(values: NDArray[np.float64]) -> float:
    return float(np.add.accumulate(values)[-1]) if values.size else 0.0
