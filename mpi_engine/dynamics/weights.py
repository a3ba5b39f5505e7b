"""The weights of a plastic projection as a whole: sums onto each target, a normalisation, and a census."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import kernel, part
from mpi_engine.dynamics.synapses import PlasticProjection
from mpi_engine.network.rows import Rows, n_sources, piece

_TURNS = 4
"""Parts of a histogram, that take turns."""


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


class Census(NamedTuple):
    """What is counted of a projection's weights at a time, and room for it.

    Parameters
    ----------
    sums : ndarray of float64, shape (n, 2)
        Sum of the weights onto each target, and of their squares.
    histogram : ndarray of int64, shape (_TURNS, n_bins)
        Counts of weights in bins, in several parts: what was just counted is not waited for.
    extremes : ndarray, shape (2, longest)
        Smallest and largest weight at each place of a row's piece.
    bins : ndarray of int32, shape (longest,)
        Room for the bins of a piece's weights.
    """

    sums: NDArray[np.float64]
    histogram: NDArray[np.int64]
    extremes: NDArray[np.float32]
    bins: NDArray[np.int32]


def make_census(rows: Rows, n_local: int, n_bins: int, dtype: Any) -> Census:
    """Make room for a census of the weights of such rows onto so many targets."""
    longest = int(np.diff(rows.starts).max(initial=0))
    histogram = np.empty((_TURNS, n_bins), np.int64)
    return Census(np.empty((n_local, 2)), histogram, np.empty((2, longest), dtype), np.empty(longest, np.int32))


@kernel
def take_census(
    projection: PlasticProjection, weights: NDArray[np.float32], edges: NDArray[np.float64], census: Census
) -> None:
    """Sum weights and their squares for each target, in ascending order of sources, and count them in bins.

    Parameters
    ----------
    projection : PlasticProjection
        Whose.
    weights : ndarray, shape (n_synapses,)
        Up to date.
    edges : ndarray of float64, shape (2,)
        Lower and upper edge of the histogram; weights beyond are counted in the bin at the edge.
    census : Census
        Receives all.
    """
    sums, histogram, bins = census.sums, census.histogram, census.bins
    lowest, highest = census.extremes[0], census.extremes[1]
    sums[:], histogram[:], lowest[:], highest[:] = 0.0, 0, np.inf, -np.inf
    rows = projection.rows
    for source in range(n_sources(rows)):
        for block in range(rows.blocks[0]):
            begin, end, first = piece(rows, source, block)
            targets, some = rows.targets[begin:end], weights[begin:end]
            for k in range(some.size):
                lowest[k] = min(lowest[k], some[k])
                highest[k] = max(highest[k], some[k])
            _find_bins(some, edges, histogram.shape[1], bins)
            for k in range(some.size):
                w, target = np.float64(some[k]), first + targets[k]
                sums[target, 0] += w
                sums[target, 1] += w * w
                histogram[k % _TURNS, bins[k]] += 1


@part
def _find_bins(weights: NDArray[np.float32], edges: NDArray[np.float64], n_bins: int, bins: NDArray[np.int32]) -> None:
    low, width, last = edges[0], edges[1] - edges[0], np.float64(n_bins - 1)
    for k in range(weights.size):
        place = (weights[k] - low) / width * n_bins
        place = place if place > 0.0 else 0.0     # also where a weight is not a number
        bins[k] = np.int32(place if place < last else last)
