"""The weights of a plastic projection as a whole: their sums onto each target, and a normalisation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel
from mpi_engine.dynamics.synapses import PlasticProjection
from mpi_engine.network.rows import n_sources, piece


@kernel
def sum_weights(projection: PlasticProjection, sums: NDArray[np.float64]) -> None:
    """Sum the weights onto each target, in ascending order of sources."""
    sums[:] = 0.0
    rows = projection.rows
    for source in range(n_sources(rows)):
        for block in range(rows.blocks[0]):
            begin, end, first = piece(rows, source, block)
            for s in range(begin, end):
                sums[first + rows.targets[s]] += projection.weights[s]


@kernel
def normalise(projection: PlasticProjection, totals: NDArray[np.float64], sums: NDArray[np.float64]) -> None:
    """Multiply the weights onto each target by a factor, so that they sum to `totals`; `sums` is room."""
    sum_weights(projection, sums)
    rows, weights = projection.rows, projection.weights
    for source in range(n_sources(rows)):
        for block in range(rows.blocks[0]):
            begin, end, first = piece(rows, source, block)
            for s in range(begin, end):
                target = first + rows.targets[s]
                if sums[target] != 0.0:
                    weights[s] = np.float64(weights[s]) * (totals[target] / sums[target])


@kernel
def weight_sums(
    projection: PlasticProjection,
    weights: NDArray[np.float32],
    edges: NDArray[np.float64],
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
    histogram: NDArray[np.int64],
    extremes: NDArray[np.float64],
) -> None:
    """Sum weights and their squares for each target, in ascending order of sources, and count them in bins.

    Parameters
    ----------
    projection : PlasticProjection
        Whose.
    weights : ndarray, shape (n_synapses,)
        Up to date.
    edges : ndarray of float64, shape (2,)
        Lower and upper edge of the histogram.
    sums, squares : ndarray of float64, shape (n,)
        Receive the sums.
    histogram : ndarray of int64, shape (n_bins,)
        Receives the counts; weights beyond an edge are counted in the bin at it.
    extremes : ndarray of float64, shape (2,)
        Receives the smallest and the largest weight.
    """
    sums[:], squares[:], histogram[:] = 0.0, 0.0, 0
    low, high, n_bins = edges[0], edges[1], histogram.size
    lowest, highest = np.inf, -np.inf
    rows = projection.rows
    for source in range(n_sources(rows)):
        for block in range(rows.blocks[0]):
            begin, end, first = piece(rows, source, block)
            for s in range(begin, end):
                w, target = np.float64(weights[s]), first + rows.targets[s]
                sums[target] += w
                squares[target] += w * w
                lowest, highest = min(lowest, w), max(highest, w)
                place = (w - low) / (high - low) * n_bins
                # the first bin also where a weight is not a number
                histogram[int(min(place, n_bins - 1.0)) if place > 0.0 else 0] += 1
    extremes[0], extremes[1] = lowest, highest
