"""The numbers of a run in one table: each with its error, and the reason where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from analysis.confidence import block_error
from analysis.convergence import settling_time
from analysis.currents import moments_over_blocks, net_over_excitation
from analysis.structure import drift, input_parts, shape_of
from analysis.verdict import Estimate, number
from mpi_engine.output.layout import unit_of
from mpi_engine.output.reader import RunError

if TYPE_CHECKING:
    from analysis.runs import Run

Array = NDArray[np.float64]

BLOCKS = 10

CUT = 0.1
"""By which the skewness of weights may depend on those beyond their histogram; in proportion where it is above one."""


@dataclass(frozen=True)
class Measure:
    """A number of a run.

    Parameters
    ----------
    name, of, unit : str
        What it is, of which population, pair of populations or projection, and its unit.
    value, error : float
        NaN where they are not known. Errors are over blocks of time, but over neurons for what each of them has alone.
    reason : str
        Why the value is not known; empty if it is.
    """

    name: str
    of: str
    unit: str
    value: float
    error: float = np.nan
    reason: str = ""


def measures(run: Run) -> list[Measure]:
    """Measure what a run's records tell, after its burn-in; see the modules of `analysis` for how.

    Parameters
    ----------
    run : Run
        A run, of which something is recorded.

    Returns
    -------
    list of Measure
        What cannot be measured has a reason instead of a value.

    Raises
    ------
    RunError
        If nothing is recorded yet.
    """
    run.sealed()
    e = run.experiment
    found: list[Measure] = []
    for population in e.populations:
        found += (_measure(*row, of=population) for row in _of_population(run, population))
    spiking = [name for name in e.populations if name in e.recording.spikes]
    for a, b in combinations_with_replacement(spiking, 2):
        found += (_measure(*row, of=f"{a} with {b}") for row in _of_pairs(run, a, b))
    for projection in e.plastic:
        found += (_measure(*row, of=projection) for row in _of_weights(run, projection))
    return found


Row = tuple[str, str, Callable[[], Estimate], str]
"""Name, unit, how to measure, and why the answer may be NaN."""


def _measure(name: str, unit: str, compute: Callable[[], Estimate], nan: str, of: str) -> Measure:
    try:
        estimate = compute()
    except (RunError, ValueError) as error:
        return Measure(name, of, unit, np.nan, reason=str(error))
    reason = "" if np.isfinite(estimate.value) else nan or "the records of it hold no finite number"
    return Measure(name, of, unit, estimate.value, estimate.error, reason)


def _of_population(run: Run, population: str) -> Iterator[Row]:
    rates_hz = cache(partial(run.firing_rates_hz, population))
    silent = f"no neuron of {population} fires often enough"
    yield "rate", "Hz", lambda: _in_time(_late(run, population)), ""
    yield "SD of rates", "Hz", lambda: Estimate(float(rates_hz().std())), ""
    yield "silent neurons", "%", lambda: Estimate(100 * float((rates_hz() == 0).mean())), ""
    yield "CV", "", lambda: _over_neurons(run.cv(population)), silent
    yield "CV2", "", lambda: _over_neurons(run.cv2(population)), silent
    yield "Fano factor", "", lambda: _over_neurons(run.fano(population)), silent
    for variable in ("V", "I_total"):
        yield f"mean {variable}", unit_of(variable), partial(_mean, run, population, variable), ""
        yield f"SD of {variable} in time", unit_of(variable), partial(_sd, run, population, variable), ""
    yield "net over excitation", "", lambda: _net(run, population), f"nothing excites {population}"
    yield "tightness of balance", "", lambda: _over_neurons(run.tightness(population)), "a current does not vary"


def _of_pairs(run: Run, a: str, b: str) -> Iterator[Row]:
    statistics = cache(partial(run.pair_statistics, a, b))

    def pairs(value: str) -> Estimate:
        return Estimate(getattr(statistics(), value), getattr(statistics(), f"{value}_error"))

    alone, silent = "there is no pair of neurons", "no two neurons fire"
    yield "count covariance", "", lambda: pairs("covariance"), alone
    yield "covariance over variance", "", lambda: pairs("ratio"), silent
    yield "correlation coefficient", "", lambda: pairs("coefficient"), silent


def _of_weights(run: Run, projection: str) -> Iterator[Row]:
    e = run.experiment
    p = e.projections[projection]
    unit = "mV" if p.weight_mv is not None else ""

    def last(of: Callable[[], float]) -> Callable[[], Estimate]:
        return lambda: Estimate(of())

    def weights() -> tuple[Array, Array, Array]:
        w = run.weights(projection)
        late = w.time_ms >= run.start_ms
        if not late.any():
            raise ValueError(f"no weights were recorded after the burn-in of {run.start_ms:g} ms; shorten it")
        return w.time_ms[late], w.mean[late] / w.scale, np.sqrt(w.variance[late]) / abs(w.scale)

    def shape() -> float:
        w = run.weights(projection)
        wide = w.edges.copy()     # at its edges a histogram counts what lies beyond
        wide[0], wide[-1] = min(wide[0], w.minimum[-1]), max(wide[-1], w.maximum[-1])
        least, most = (shape_of(w.histogram[-1], edges).skewness for edges in (w.edges, wide))
        if abs(most - least) > CUT * max(1.0, abs(least)):
            raise ValueError(f"weights lie beyond their histogram; widen recording.weights.histogram_mv.{projection}")
        return float(np.sign(w.scale)) * least

    def moving() -> Estimate:
        times_ms, means, _ = weights()
        interval = drift(times_ms, means, max(1, min(BLOCKS, len(means) - 1)))
        return Estimate(1e3 * interval.value, 1e3 * interval.error)

    def settled() -> float:
        w = run.weights(projection)
        return 1e-3 * settling_time(w.time_ms, w.mean)

    parts = cache(lambda: input_parts(run, projection, run.start_ms))
    still = "it has not settled, or never was away"
    yield "mean weight", unit, last(lambda: float(weights()[1][-1])), ""
    yield "SD of weights", unit, last(lambda: float(weights()[2][-1])), ""
    yield "skewness of weights", "", last(shape), "all weights are equal"
    yield "drift of mean weight", f"{unit}/s" if unit else "1/s", moving, ""
    yield "settling time", "s", last(settled), still
    yield "⟨J r⟩/⟨r⟩", unit, last(lambda: parts().felt_weight_mv), "no spikes arrive"
    yield "input by weight-rate covariance", unit_of(e.variable_of(p.synapse)), last(lambda: parts().covariance), ""


def _late(run: Run, population: str, variable: str | None = None) -> Array:
    rates = run.rates(population)
    values: Array = rates.rate_hz if variable is None else rates.means[variable]
    late = rates.times_ms >= run.start_ms
    if not late.any():
        raise ValueError(f"no bin of {rates.bin_ms:g} ms begins after the burn-in of {run.start_ms:g} ms; shorten it")
    return values[late]


def _in_time(series: Array) -> Estimate:
    return Estimate(float(series.mean()), block_error(series, BLOCKS))


def _over_neurons(values: Array) -> Estimate:
    """Average over the neurons that have a value; their spread gives the error, too small where they are correlated."""
    known = values[np.isfinite(values)]
    if known.size == 0:
        return Estimate(np.nan)
    return Estimate(float(known.mean()), float(known.std(ddof=1)) / known.size**0.5 if known.size > 1 else np.nan)


def _mean(run: Run, population: str, variable: str) -> Estimate:
    return _in_time(_late(run, population, variable))


def _sd(run: Run, population: str, variable: str) -> Estimate:
    """Root of the mean variance in time over all neurons."""
    variance = moments_over_blocks(run.statistics(population), variable, run.start_ms)[1]
    return Estimate(float(variance.mean() ** 0.5))


def _net(run: Run, population: str) -> Estimate:
    return Estimate(float(net_over_excitation(*run.mean_currents(population))))


def as_table(found: list[Measure]) -> Table:
    """Lay measures out for a terminal."""
    table = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=True)
    for column in ("", "of", "value", "error", ""):
        table.add_column(column, justify="right" if column in ("value", "error") else "left", no_wrap=bool(column))
    for m in found:
        table.add_row(m.name, m.of, number(m.value), number(m.error, 2), m.reason or m.unit)
    return table
