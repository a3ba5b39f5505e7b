"""What a run shows and what theory expects of it, each thing measured or solved once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from analysis.confidence import block_error
from analysis.theory.balance import NoBalance, stationary_inputs
from analysis.theory.plasticity import FixedPoint, possible_states
from analysis.verdict import Estimate
from analysis.weights import NotMeasured, arrival_rate, effective_weight, own_current
from mpi_engine.experiment import Experiment, Poisson
from mpi_engine.output.reader import RunReader

Array = NDArray[np.float64]

BLOCKS = 10

SETTLED = 0.02
"""Share of itself by which a mean weight that has settled may move after the burn-in."""


class Findings:
    """A run after its burn-in, beside the balanced states that theory gives at its realised input rates.

    Parameters
    ----------
    run : RunReader
        A run with the rates of all populations recorded.
    burn_in : float
        Share of the recorded time that is left out.
    """

    def __init__(self, run: RunReader, burn_in: float = 0.5) -> None:
        self.run = run
        self.experiment: Experiment = run.experiment
        self.stop_ms = run.recorded_ms
        self.start_ms = burn_in * self.stop_ms
        self.spikes = cache(run.spikes)
        self.rates = cache(run.rates)
        self.arrivals_khz = cache(lambda name: arrival_rate(run, name, self.start_ms))
        self.felt_weight_mv = cache(lambda name: effective_weight(run, name, self.start_ms))
        edges = np.linspace(self.start_ms, self.stop_ms, BLOCKS + 1)
        recorded = [name for name in self.experiment.trains if name in self.experiment.recording.spikes]
        self._input_counts = {name: np.histogram(self.spikes(name).times_ms, edges)[0] for name in recorded}
        self.input_rates_hz = {
            name: 1e3 * float(counts.sum()) / self.experiment.sizes[name] / (self.stop_ms - self.start_ms)
            for name, counts in self._input_counts.items()
        }

    @property
    def no_balance(self) -> str:
        """Why theory finds no balanced state; empty if it finds one."""
        return self._theory[1]

    @cached_property
    def realised(self) -> Experiment:
        """The experiment with the realised rates of its inputs; NoBalance if theory does not know these inputs."""
        inputs = {
            name: source.model_copy(update={"rate_hz": self.input_rates_hz.get(name, nominal_hz)})
            for name, (source, nominal_hz) in stationary_inputs(self.experiment).items()
        }
        return self.experiment.model_copy(update={"inputs": {**self.experiment.inputs, **inputs}})

    @cached_property
    def _theory(self) -> tuple[list[FixedPoint], str]:
        """Theory at the realised input rates, without net input and at the corners of what it can be."""
        try:
            return possible_states(self.realised), ""
        except NoBalance as error:
            return [], str(error)

    @cached_property
    def rates_hz(self) -> dict[str, float]:
        """Measured rate of each population [Hz]."""
        return {name: self.mean(name).value for name in self.experiment.populations}

    @cached_property
    def V_mv(self) -> dict[str, float]:
        """Measured mean membrane potential of each population [mV]."""
        return {name: self.mean(name, "V").value for name in self.experiment.populations}

    @cached_property
    def weights_on_their_way(self) -> str:
        """Mean weights that moved by more than a fiftieth after the burn-in; empty if none is known to."""
        e, moved = self.experiment, []
        for name in e.plastic if e.recording.weights else ():
            weights = self.run.weights(name)
            late = weights.mean[weights.time_ms >= self.start_ms]
            if late.size and abs(late[-1] - late[0]) > SETTLED * abs(late[-1]):
                moved.append(f"{name} from {late[0] / weights.scale:.4g} to {late[-1] / weights.scale:.4g}")
        return ", ".join(moved)

    def series(self, population: str, variable: str | None = None) -> Array:
        """Give a population's rate [Hz], or its mean of a variable, in the bins after the burn-in."""
        rates = self.rates(population)
        values: Array = rates.rate_hz if variable is None else rates.means[variable]
        late = rates.times_ms >= self.start_ms
        if not late.any():
            raise NotMeasured(f"no bin of {rates.bin_ms:g} ms begins after the burn-in of {self.start_ms:g} ms")
        return values[late]

    def mean(self, population: str, variable: str | None = None) -> Estimate:
        """Average a series over time."""
        values = self.series(population, variable)
        return Estimate(float(values.mean()), self.error(values))

    def error(self, values: Array) -> float:
        """Estimate the standard error of a series' mean, the inputs' realised rates being a covariate."""
        return block_error(values, BLOCKS, list(self._input_counts.values()))

    def rate_hz(self, name: str) -> float:
        """Measured rate of a population, or realised rate of an input [Hz]; NaN if that is not known."""
        if name in self.experiment.populations:
            return self.rates_hz[name]
        source = self.experiment.trains[name]
        nominal_hz = source.constant_rate_hz if isinstance(source, Poisson) else None
        return self.input_rates_hz.get(name, np.nan if nominal_hz is None else nominal_hz)

    def span(self, of_state: Callable[[FixedPoint], float]) -> tuple[float, float]:
        """Lowest and highest value of something over all possible net inputs; NoBalance without a balanced state."""
        if self.no_balance:
            raise NoBalance(self.no_balance)
        values = [of_state(state) for state in self._theory[0]]
        return min(values), max(values)

    def rate_span(self, population: str) -> tuple[float, float]:
        """Range of a population's rate in theory [Hz]."""
        return self.span(lambda state: state.rates_hz[population])

    def weight_span(self, projection: str) -> tuple[float, float]:
        """Range of a plastic projection's rate-weighted mean weight in theory [mV, as named]."""
        return self.span(lambda state: state.weights_mv[projection])

    def felt_weight(self, projection: str) -> Estimate:
        """Measure <J r>/<r> [mV, as named]; its error is that of the current, given the sources' rate."""
        p = self.experiment.projections[projection]
        value = self.felt_weight_mv(projection)
        if not np.isfinite(value):
            raise NotMeasured("the sources are silent")
        current, rate = self.series(p.target, own_current(self.experiment, projection)), self.series(p.source)
        residual = current - current.mean() / rate.mean() * rate
        return Estimate(value, abs(value) * self.error(residual) / abs(float(current.mean())))

    def mean_weight(self, projection: str) -> Estimate:
        """Measure the mean weight at the end [mV, as named]."""
        weights = self.run.weights(projection)
        return Estimate(float(weights.mean[-1] / weights.scale))
