"""Spike-count covariance of all pairs of neurons: whole matrices, in memory or out of core.

The functions take NumPy arrays and give NumPy arrays; or take Dask arrays, and then give lazy ones, in blocks of pairs,
so that a hundred thousand neurons need the memory of a few blocks: all in time O(W N^2). For means alone,
`analysis.correlations.pair_statistics` needs O(W N). Conventions are the same: variances have ddof 1; a silent neuron
(no variance) counts as zero in covariances and is NaN in coefficients, which it does not have.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import sqrt
from typing import Any

import dask.array as da
import numpy as np
from dask.base import compute
from dask.delayed import delayed
from numpy.typing import NDArray

Matrix = Any
"""A NumPy or a Dask array of float64."""

BLOCK = 4000
"""Neurons a block: a block of pairs then takes 128 MB."""


@dataclass(frozen=True)
class Distribution:
    """What the pairs of a matrix have, pairs with NaN left out.

    Parameters
    ----------
    mean, sd : float
        Mean and standard deviation over pairs (ddof 0); NaN without pairs. The spread has the error of estimation in
        it, for W windows about 1 / sqrt(W) in coefficients.
    pairs : int
        Number of pairs.
    """

    mean: float
    sd: float
    pairs: int


def blocked(counts: NDArray[np.int64], block: int = BLOCK) -> Matrix:
    """Cut counts [W, n] in blocks of neurons, as a Dask array."""
    return da.from_array(counts, chunks=(-1, block))


def covariances(first: Matrix, second: Matrix | None = None) -> Matrix:
    """Compute the covariance of the counts of every pair.

    Parameters
    ----------
    first : array, shape (W, n)
        Counts in W windows, at least 2, NumPy or Dask.
    second : array, shape (W, m), optional
        Counts of another population in the same windows; `first` with itself if not given.

    Returns
    -------
    array, shape (n, m)
        Covariances (ddof 1) [spikes squared]; variances on the diagonal if `second` is not given.

    Raises
    ------
    ValueError
        If there are fewer than two windows, or not the same of both.
    """
    a, b = _deviations(first, second)
    return _products(a, b) / (len(a) - 1)


def coefficients(first: Matrix, second: Matrix | None = None) -> Matrix:
    """Compute the correlation coefficient of the counts of every pair; NaN where a neuron is silent.

    Parameters and errors as for `covariances`.
    """
    a, b = _deviations(first, second)
    scores = [x / _positive_or_nan((x**2).sum(axis=0)) ** 0.5 for x in ((a,) if second is None else (a, b))]
    return _products(scores[0], scores[-1])


def distribution(matrix: Matrix, within: bool) -> Distribution:
    """Average over pairs of different neurons; a Dask array is computed here, block by block.

    Parameters
    ----------
    matrix : array, shape (n, m)
        Of `covariances` or `coefficients`.
    within : bool
        Whether its rows and columns are the same neurons: the diagonal is left out.

    Returns
    -------
    Distribution
    """
    lazy = isinstance(matrix, da.Array)
    rows = matrix.to_delayed().tolist() if lazy else [[matrix]]
    parts, times = [], []
    for row, blocks in enumerate(rows):
        first = row if within else 0     # below the diagonal is the same as above
        for column, block in enumerate(blocks[first:], first):
            parts.append(delayed(_sums)(block, within and row == column))
            times.append(2 if within and column > row else 1)
    pairs, total, squares = np.array(times) @ np.array(compute(*parts))
    if pairs == 0:
        return Distribution(np.nan, np.nan, 0)
    mean = float(total / pairs)
    return Distribution(mean, sqrt(max(0.0, float(squares / pairs) - mean**2)), int(pairs))


def _deviations(first: Matrix, second: Matrix | None) -> tuple[Matrix, Matrix]:
    second = first if second is None else second
    if len(first) != len(second) or len(first) < 2:
        raise ValueError(f"counts in {len(first)} and {len(second)} windows: both must be in the same two or more")
    a = first - first.mean(axis=0)
    return a, a if second is first else second - second.mean(axis=0)


def _products(a: Matrix, b: Matrix) -> Matrix:
    """Sum over windows of the products of each pair of neurons."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", da.PerformanceWarning)     # that blocks of pairs are many is the purpose
        return a.T @ b


def _positive_or_nan(values: Matrix) -> Matrix:
    where = da.where if isinstance(values, da.Array) else np.where
    return where(values > 0, values, np.nan)


def _sums(block: NDArray[np.float64], on_diagonal: bool) -> tuple[int, float, float]:
    """Number, sum and sum of squares of a block's pairs that are not NaN, and not of a neuron with itself."""
    if on_diagonal:
        block = block.copy()
        np.fill_diagonal(block, np.nan)
    known = ~np.isnan(block)
    values = block.ravel() if known.all() else block[known]
    return values.size, float(values.sum()), float(values @ values)
