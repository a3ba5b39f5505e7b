"""What a run recorded, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, repr=False)
class Spikes:
    """Spikes of a population, sorted by (time, id).

    Parameters
    ----------
    times_ms : ndarray of float, shape (n,)
        Times [ms].
    ids : ndarray of int, shape (n,)
        Indices of the neurons in the population.
    """

    times_ms: Floats
    ids: Integers


@dataclass(frozen=True, repr=False)
class Rates:
    """Rate and mean variables of a population in bins.

    Parameters
    ----------
    times_ms : ndarray of float, shape (T,)
        Start of each bin [ms].
    bin_ms : float
        Width of a bin [ms].
    rate_hz : ndarray of float, shape (T,)
        Spikes a neuron and second [Hz].
    means : dict of str to ndarray of float, shape (T,)
        Mean of each variable over the neurons (V in mV, currents in mV/ms).
    """

    times_ms: Floats
    bin_ms: float
    rate_hz: Floats
    means: dict[str, Floats]


@dataclass(frozen=True, repr=False)
class Statistics:
    """Statistics of each of the n neurons of a population in B blocks.

    Parameters
    ----------
    start_ms : ndarray of float, shape (B,)
        Start of each block [ms].
    block_ms : float
        Length of a block [ms].
    samples : ndarray of int, shape (B,)
        Samples of each variable in a block.
    spike_count : ndarray of int, shape (B, n)
        Spikes.
    mean, variance : dict of str to ndarray of float, shape (B, n)
        Of each variable (V in mV, currents in mV/ms, conductances in 1/ms).
    average_ms : float, optional
        Time over which samples are averages [ms]; None where they are momentary values.
    covariance_V_g, absolute_V_g : ndarray of float, shape (B, n), optional
        Covariance of V and the total conductance, and mean of its absolute value about the means of the block before
        (NaN in the first) [mV/ms]; None where no synapse is a conductance.
    tau_effective_ms : ndarray of float, shape (B, n), optional
        Mean of 1 / total conductance [ms].
    """

    start_ms: Floats
    block_ms: float
    samples: Integers
    spike_count: Integers
    mean: dict[str, Floats]
    variance: dict[str, Floats]
    average_ms: float | None = None
    covariance_V_g: Floats | None = None
    absolute_V_g: Floats | None = None
    tau_effective_ms: Floats | None = None


@dataclass(frozen=True, repr=False)
class Moments:
    """Mean and variance of something over time.

    Parameters
    ----------
    mean, variance : ndarray of float, shape (W,)
        The moments.
    """

    mean: Floats
    variance: Floats


@dataclass(frozen=True, repr=False)
class Weights:
    """Weights of a plastic projection over time, as they act [mV].

    Parameters
    ----------
    time_ms : ndarray of float, shape (W,)
        Times [ms].
    mean, variance, minimum, maximum : ndarray of float, shape (W,)
        Over all synapses.
    histogram : ndarray of int, shape (W, bins)
        Synapses in each bin.
    edges : ndarray of float, shape (bins + 1,)
        Edges of the bins.
    sample : ndarray of float, shape (W, k)
        Weights of a fixed sample of synapses.
    sample_source, sample_target : ndarray of int, shape (k,)
        Their neurons, as indices in the populations.
    scale : float
        Factor from the weights that the experiment names to these.
    synapses : int
        Number of synapses.
    onto : dict of str to Moments
        Of the weights onto each subpopulation that was recorded separately.
    """

    time_ms: Floats
    mean: Floats
    variance: Floats
    minimum: Floats
    maximum: Floats
    histogram: Integers
    edges: Floats
    sample: NDArray[np.floating[Any]]
    sample_source: Integers
    sample_target: Integers
    scale: float
    synapses: int
    onto: dict[str, Moments] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Traces:
    """Time series of chosen neurons.

    Parameters
    ----------
    times_ms : ndarray of float, shape (T,)
        Times [ms].
    ids : ndarray of int, shape (E,)
        Indices of the neurons in the population.
    values : dict of str to ndarray of float, shape (T, E)
        Each variable (V in mV, currents in mV/ms).
    """

    times_ms: Floats
    ids: Integers
    values: dict[str, NDArray[np.floating[Any]]]


@dataclass(frozen=True, repr=False)
class Degrees:
    """Numbers of synapses in a projection.

    Parameters
    ----------
    in_degree : ndarray of int, shape (n_target,)
        Synapses onto each target.
    out_degree : ndarray of int, shape (n_source,)
        Synapses from each source.
    """

    in_degree: Integers
    out_degree: Integers


@dataclass(frozen=True, repr=False)
class TimeSplit:
    """Where the time of a run on P ranks went, since it began or was resumed last.

    Parameters
    ----------
    seconds : dict of str to ndarray of float, shape (P,)
        Wall time by part [s]: stimulus (input spikes and currents), integrate, exchange (and the wait for others),
        deliver, learn (with the delivery through what learns), record, write, checkpoint, and other, such as health
        checks. A compiled block is timed as a whole, and divided by what was measured in some of its steps.
    simulated_ms : float
        Biological time that was simulated meanwhile [ms].
    build_s, compile_s : float
        Wall time before the first step, on rank 0 [s]: of drawing the network, and of compiling or loading kernels.
    cpu_s : ndarray of float, shape (P,)
        Processor time of the steps [s], of all threads; neither of writing nor of checkpoints.
    peak_memory_mb : ndarray of float, shape (P,)
        Most memory that was resident [10^6 bytes].
    """

    seconds: dict[str, Floats]
    simulated_ms: float
    build_s: float
    compile_s: float
    cpu_s: Floats
    peak_memory_mb: Floats

    @property
    def n_ranks(self) -> int:
        """P."""
        return self.cpu_s.size

    def __str__(self) -> str:
        """Tell the shares of the parts, the largest first."""
        return tell_shares(self.seconds)


def tell_shares(seconds: Mapping[str, ArrayLike]) -> str:
    """Tell what share of the time of all ranks each part has, the largest first; arguments as of `TimeSplit`."""
    total = {name: float(np.sum(times)) for name, times in seconds.items()}
    shares = sorted(((part / sum(total.values()), name) for name, part in total.items()), reverse=True)
    return ", ".join(f"{name} {100 * share:.1f} %" for share, name in shares)
