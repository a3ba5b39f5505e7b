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
    subpopulations : list of str
        Subpopulations whose rates and means are recorded beside those of all populations.
    """

    bin_ms: Milliseconds = 10.0
    subpopulations: list[str] = []


class Statistics(Part):
    """Per neuron, in blocks: spike count, mean and variance of V and of each current as it acts on V.

    Neurons with conductances have, besides, the covariance of V and the total conductance, the mean of its absolute
    value about the means of the block before, and the mean effective time constant (Zhu, Ocker & Rosenbaum 2026).

    Parameters
    ----------
    start_ms, block_ms : float
        Start of the first block and length of each [ms]; multiples of ``recording.sample_ms``.
    average_ms : float, optional
        Every step is sampled, and samples are averaged over this time [ms] before anything is made of them; it divides
        ``block_ms``. If not given, samples are taken every ``recording.sample_ms`` as they are.
    shadow_voltage : bool
        Whether each neuron has a second membrane potential, V_free, which gets the same input but has neither spike
        current, threshold, reset nor adaptation. It starts at V, and is recorded wherever V is.
    """

    start_ms: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    block_ms: Milliseconds = 1000.0
    average_ms: Milliseconds | None = None
    shadow_voltage: bool = False


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
    targets : dict
        Subpopulations by projection: mean and variance of the weights onto each are recorded separately.
    """

    interval_ms: Milliseconds = 1000.0
    sample: NonNegativeInt = 100
    histogram_bins: PositiveInt = 50
    histogram_mv: dict[str, Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]] = {}
    targets: dict[str, list[str]] = {}


class Traces(Part):
    """Time series of V and of each current of chosen neurons of a population or subpopulation.

    Parameters
    ----------
    neurons : int or list of int
        Indices within the population, or how many to choose at random; of a subpopulation, among its members.
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
        The recorders; traces by population or subpopulation.
    """

    segment_ms: Milliseconds = 1000.0
    spikes: list[str] = []
    sample_ms: Milliseconds = 1.0
    rates: Rates | None = None
    statistics: Statistics | None = None
    weights: Weights | None = None
    traces: dict[str, Traces] = {}
