"""The schema of what is recorded of projections: their weights over time, and how many synapses neurons have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpi_engine.output.layout import NETWORK, WEIGHTS, Record, common


def weights(
    projection: str,
    scale: float,
    synapses: int,
    time_ms: ArrayLike,
    mean: ArrayLike,
    variance: ArrayLike,
    minimum: ArrayLike,
    maximum: ArrayLike,
    histogram: ArrayLike,
    edges: ArrayLike,
    sample: NDArray[Any],
    sample_source: ArrayLike,
    sample_target: ArrayLike,
    mine: bool,
    unit: str = "mV",
    onto: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
) -> list[Record]:
    """Record the weights of a plastic projection over time, as they act.

    Parameters
    ----------
    projection : str
        Name.
    scale : float
        Factor from the weights that the experiment names to weights as they act.
    synapses : int
        Number of synapses.
    time_ms : array_like of float, shape (W,)
        Times of the records [ms].
    mean, variance, minimum, maximum : array_like of float, shape (W,)
        Over all synapses.
    histogram : array_like of int, shape (W, bins)
        Synapses in each bin.
    edges : array_like of float, shape (bins + 1,)
        Edges of the bins.
    sample : ndarray of float, shape (W, k)
        Weights of a fixed sample of synapses.
    sample_source, sample_target : array_like of int, shape (k,)
        Their neurons, as indices in the populations.
    mine : bool
        Whether this rank writes what every rank knows.
    unit : str
        Of the weights: mV for currents, 1 for conductances.
    onto : mapping of str to a pair of array_like of float, shape (W,)
        Mean and variance over the synapses onto subpopulations.
    """
    group = f"{WEIGHTS}/{projection}"
    scaling = {"scale": float(scale), "synapses": np.int64(synapses)}
    series = {"mean": mean, "variance": variance, "minimum": minimum, "maximum": maximum}
    return [
        common(f"{group}/time_ms", np.asarray(time_ms, np.float64), mine, "ms", group_attributes=scaling),
        *(
            common(f"{group}/{name}", np.asarray(values, np.float64), mine, unit + "^2" * (name == "variance"))
            for name, values in series.items()
        ),
        common(f"{group}/histogram", np.asarray(histogram, np.int64), mine),
        common(f"{group}/edges", np.asarray(edges, np.float64), mine, unit, grows=False),
        common(f"{group}/sample", np.asarray(sample), mine, unit),
        common(f"{group}/sample_source", np.asarray(sample_source, np.int64), mine, grows=False),
        common(f"{group}/sample_target", np.asarray(sample_target, np.int64), mine, grows=False),
        *(
            common(f"{group}/onto/{name}/{moment}", np.asarray(values, np.float64), mine, moment_unit)
            for name, moments in (onto or {}).items()
            for moment, values, moment_unit in zip(("mean", "variance"), moments, (unit, f"{unit}^2"), strict=True)
        ),
    ]


def degrees(
    projection: str,
    first: int,
    n_target: int,
    in_degree: NDArray[Any],
    out_degree: ArrayLike,
    mine: bool,
) -> list[Record]:
    """Record how many synapses each neuron receives and makes in a projection.

    Parameters
    ----------
    projection : str
        Name.
    first, n_target : int
        Index of this rank's first target in its population, and the population's size.
    in_degree : ndarray of int, shape (n,)
        Of this rank's n targets.
    out_degree : array_like of int, shape (n_source,)
        Of every source, known to every rank.
    mine : bool
        Whether this rank writes what every rank knows.
    """
    group = f"{NETWORK}/{projection}"
    slab = np.asarray(in_degree, np.int64)
    return [
        Record(f"{group}/in_degree", (n_target,), slab.dtype, grows=False, start=(first,), values=slab),
        common(f"{group}/out_degree", np.asarray(out_degree, np.int64), mine, grows=False),
    ]
