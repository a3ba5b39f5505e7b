"""What a run records, and how often."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, FiniteFloat, NonNegativeInt, PositiveInt

from mpi_engine.experiment.base import Milliseconds, Part


class Rates(Part):
    """Population rates, and population means of V and of each current, in bins.

    Parameters
    ----------
    bin_ms : float
        Width of a bin [ms]; a multiple of ``recording.sample_ms``.
    """

    bin_ms: Milliseconds = 10.0


class Statistics(Part):
    """Per neuron, in blocks: spike count, mean and variance of V and of each current as it acts on V.

    Parameters
    ----------
    start_ms, block_ms : float
        Start of the first block and length of each [ms]; multiples of ``recording.sample_ms``.
    """

    start_ms: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    block_ms: Milliseconds = 1000.0


class Weights(Part):
    """Plastic projections over time: mean, variance, extremes, histogram, and a fixed random sample of synapses.

    Parameters
    ----------
    interval_ms : float
        Time between records [ms].
    sample : int
        Number of synapses in the sample of each projection.
    histogram_bins : int
        Number of histogram bins.
    histogram_mv : dict
        Lower and upper edge by projection [mV], in the projection's scaling; from zero to twice the initial weight
        (to 1 if that is zero) where not given. Weights beyond an edge are counted in the bin at it.
    """

    interval_ms: Milliseconds = 1000.0
    sample: NonNegativeInt = 100
    histogram_bins: PositiveInt = 50
    histogram_mv: dict[str, Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]] = {}


class Traces(Part):
    """Time series of V and of each current of chosen neurons.

    Parameters
    ----------
    neurons : int or list of int
        Indices within the population, or how many to choose at random.
    interval_ms : float
        Time between samples [ms].
    """

    neurons: PositiveInt | list[NonNegativeInt]
    interval_ms: Milliseconds = 1.0


class Recording(Part):
    """All recorders; one that is not named does not record.

    Parameters
    ----------
    segment_ms : float
        Biological time in a segment, the part of a run that is written at once [ms].
    spikes : list of str
        Populations and inputs whose spikes are kept.
    sample_ms : float
        Time between the samples of V and currents that enter `rates` and `statistics` [ms].
    rates, statistics, weights, traces
        The recorders; traces by population.
    """

    segment_ms: Milliseconds = 1000.0
    spikes: list[str] = []
    sample_ms: Milliseconds = 1.0
    rates: Rates | None = None
    statistics: Statistics | None = None
    weights: Weights | None = None
    traces: dict[str, Traces] = {}
