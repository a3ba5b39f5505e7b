r"""How the program itself scales: the work of a network, what each unit of it costs, and the time that follows.

A rank's time is the sum over kinds of work of amount x cost. Some work ranks divide: neurons, arrivals at synapses,
postsynaptic spikes that are replayed. Some each does for the whole network: it walks its piece of the row of every
spike, takes every step, and receives every message. A unit's cost depends on what else a rank keeps in its caches, and
is measured for several sizes, in networks made for that: see `analysis.performance_costs`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from math import ceil, log2, sqrt

from analysis.performance_costs import BANDWIDTH, UNITS, UNPACK_S, Cost
from mpi_engine.dynamics.learning import Learning
from mpi_engine.experiment import CodingExperiment, Experiment, Poisson
from mpi_engine.network.adjacency import is_dense
from mpi_engine.network.exchange import FIRST_ROUND_WORDS
from mpi_engine.network.rows import blocks_of
from mpi_engine.output.reader import RunError, RunReader
from mpi_engine.run.footprint import Footprint

ROWS = ("piece", "plastic piece")
"""What each rank walks of the row of every spike."""


@dataclass(frozen=True)
class Work:
    """What there is to do in a biological second.

    Parameters
    ----------
    experiment : Experiment
        The network.
    rates_hz : mapping of str to float
        Rates of its populations and inputs [Hz].
    """

    experiment: Experiment
    rates_hz: Mapping[str, float]

    @property
    def neurons(self) -> int:
        """In the network."""
        return self.experiment.n_neurons

    @property
    def synapses(self) -> float:
        """In the network, as expected."""
        e = self.experiment
        return sum(e.expected_in_degree(name)[0] * e.sizes[p.target] for name, p in e.projections.items())

    @property
    def populations(self) -> int:
        """Populations and inputs."""
        return len(self.experiment.sizes)

    @property
    def steps(self) -> float:
        """Time steps."""
        return 1e3 / self.experiment.run.dt_ms

    @property
    def spikes(self) -> float:
        """Of populations and inputs."""
        return sum(map(self._spikes, self.experiment.sizes))

    def on(self, ranks: int) -> dict[str, float]:
        """Count what one of so many ranks does, by unit: see `UNITS`."""
        amounts: dict[str, float] = defaultdict(float, {"step": self.steps, "spike": self.spikes})
        for unit, amount in (*self._of_neurons(), *self._of_learning()):
            amounts[unit] += amount / ranks
        e = self.experiment
        for name, p in e.projections.items():
            n_local = ceil(e.sizes[p.target] / ranks)
            arrivals = e.expected_in_degree(name)[0] * e.sizes[p.target] / e.sizes[p.source] * self._spikes(p.source)
            if is_dense(e, name):
                amounts["piece"] += self._spikes(p.source)
                amounts["pair"] += self._spikes(p.source) * n_local
            else:
                kind = "plastic " if p.rules else ""
                amounts[f"{kind}piece"] += self._spikes(p.source) * int(blocks_of(n_local)[0])
                amounts[f"{kind}arrival"] += arrivals / ranks
        return amounts

    def bytes_on(self, ranks: int) -> tuple[float, float]:
        """Bytes of one of so many ranks' neurons, and of its synapses."""
        memory = Footprint(self.experiment, ranks, self.rates_hz).memory()
        return memory["neurons"], memory["synapses"]

    def _spikes(self, name: str) -> float:
        return self.rates_hz[name] * self.experiment.sizes[name]

    def _of_neurons(self) -> Iterator[tuple[str, float]]:
        """Work at neurons, by all ranks together."""
        e, recording = self.experiment, self.experiment.recording
        for population in e.populations.values():
            yield f"{e.neurons[population.neuron].model} update", population.size * self.steps
        samples = e.n_neurons * 1e3 / recording.sample_ms
        yield "sample", samples * (recording.rates is not None)
        yield "statistics sample", samples * (recording.statistics is not None)
        yield "input spike", sum(map(self._spikes, e.trains))

    def _of_learning(self) -> Iterator[tuple[str, float]]:
        """Work of plasticity apart from the rows of spikes, by all ranks together."""
        e, learning = self.experiment, Learning(self.experiment)
        for trace in learning.postsynaptic:
            yield "trace update", e.sizes[trace.population] * self.steps
        for target in {p.target for p in e.plastic.values()}:
            yield "noted spike", self._spikes(target) * (1 + len(learning.sampled[target]))
        for name, p in e.plastic.items():
            synapses = e.expected_in_degree(name)[0] * e.sizes[p.target]
            yield "replay", synapses * self.rates_hz[p.target] * (self.rates_hz[p.source] > 0)
            if e.recording.weights:
                yield "recorded weight", synapses * 1e3 / e.recording.weights.interval_ms


@dataclass(frozen=True)
class Timing:
    """A run that was measured: its experiment's work, ranks, and seconds a biological second of each part.

    Parameters
    ----------
    name, network : str
        Of the run, and the hash of its experiment.
    ranks : int
        P.
    seconds : dict of str to float
        Mean over ranks, by part; "exchange" holds the waiting too. Without what goes to disk.
    work : Work
        See there.
    peak_memory_mb : float
        Of the rank that had most.
    """

    name: str
    network: str
    ranks: int
    seconds: dict[str, float]
    work: Work
    peak_memory_mb: float

    @property
    def total(self) -> float:
        """Wall seconds a biological second."""
        return sum(self.seconds.values())


def measured_rates_hz(run: RunReader) -> dict[str, float]:
    """Mean rates of a run's populations and inputs over all that it recorded [Hz]."""
    e, rates = run.experiment, {}
    for name, size in e.sizes.items():
        train = e.trains.get(name)
        nominal_hz = train.constant_rate_hz if isinstance(train, Poisson) else None
        if name in e.recording.spikes:
            rates[name] = 1e3 * run.spikes(name).times_ms.size / size / run.recorded_ms
        elif nominal_hz is not None:
            rates[name] = nominal_hz
        else:
            rates[name] = float(run.rates(name).rate_hz.mean())
    return rates


def timing_of(run: RunReader) -> Timing:
    """Read what a run's time was spent on; RunError if it has not finished, or is of a coding network."""
    if isinstance(run.experiment, CodingExperiment):
        raise RunError(f"{run.path}: is of a coding network, which this model does not know; name another")
    split = run.time_split()
    seconds = {name: 1e3 * float(of_ranks.mean()) / split.simulated_ms for name, of_ranks in split.seconds.items()
               if name in (*UNITS, "exchange")}
    work = Work(run.experiment, measured_rates_hz(run))
    name, network = run.directory.name, run.experiment.hash
    return Timing(name, network, split.n_ranks, seconds, work, float(split.peak_memory_mb.max()))


def predict(cost: Cost, work: Work, ranks: int) -> dict[str, float]:
    """Predict seconds a biological second, by part, of a network on a number of ranks.

    Returns
    -------
    dict of str to float
        The parts of `UNITS`; "rows", "steps": what each rank does of them for the whole network, taken out of these;
        "latency" and "volume" of the exchange.

    Raises
    ------
    RunError
        If the network has neurons of a model that was not measured.
    """
    amounts, seconds = work.on(ranks), dict.fromkeys((*UNITS, "rows", "steps"), 0.0)
    costs = cost.units(ranks, *work.bytes_on(ranks))
    if unknown := [unit for unit in amounts if amounts[unit] and unit not in costs and unit != "step"]:
        raise RunError(f"{', '.join(unknown)}: was not measured; predict a network of lif, eif or adex neurons")
    for part, units in UNITS.items():
        for unit in units:
            seconds["rows" if unit in ROWS else part] += costs.get(unit, 0.0) * amounts.get(unit, 0.0)
        seconds["steps"] += cost.step_s[part] * work.steps
    rounds = 2 if _longest(work, ranks) > FIRST_ROUND_WORDS else 1
    seconds["latency"] = rounds * ceil(log2(ranks)) * cost.latency_s * work.steps
    seconds["volume"] = volume_s(work, ranks) if ranks > 1 else 0.0
    return seconds


def memory_mb(work: Work, ranks: int) -> float:
    """Bytes of a rank's arrays and of the messages that it receives, in 10^6; without those of the program itself."""
    received = 4 * ranks * (1 + work.populations + max(FIRST_ROUND_WORDS, _longest(work, ranks)))
    return 1e-6 * (sum(Footprint(work.experiment, ranks, work.rates_hz).memory().values()) + received)


LIMITS = {
    "rows": "the rows of all spikes, of which every rank walks its part",
    "steps": "what every rank does once a step, whatever its number of neurons",
    "latency": "the latency of the collective, once a step",
    "volume": "the volume of the exchange: every rank's message reaches every rank",
}


def breaks_first(cost: Cost, work: Work) -> tuple[int, str]:
    """Find the number of ranks, in powers of two, at which efficiency is below one half, and what costs most there."""
    alone = sum(predict(cost, work, 1).values())
    for ranks in (2**k for k in count(1)):     # it ends, as the volume grows with every rank
        seconds = predict(cost, work, ranks)
        if alone / ranks / sum(seconds.values()) < 0.5:
            break
    return ranks, LIMITS[max(LIMITS, key=seconds.__getitem__)]


def volume_s(work: Work, ranks: int) -> float:
    """Seconds for the bytes of all messages, and their unpacking, in a biological second."""
    words = 1 + work.populations + FIRST_ROUND_WORDS
    if (longest := _longest(work, ranks)) > FIRST_ROUND_WORDS:
        words += 1 + work.populations + ceil(longest)
    return work.steps * ranks * (4 * words / BANDWIDTH + UNPACK_S * work.populations)


def _longest(work: Work, ranks: int) -> float:
    """Spikes of the rank that has most in a step, three standard deviations of a Poisson number above the mean."""
    mean = work.spikes / work.steps / ranks
    return mean + 3 * sqrt(mean)
