r"""How the program itself scales: measured time splits, a model of computation and communication, and its predictions.

The time of a part of a step on P ranks is :math:`a\,w/P + b\,s`: work w that ranks divide, and work s that each rank
does for the whole network. What is divided are neurons (integrate, record), input spikes (stimulus) and arrivals at
synapses (deliver, learn); what is not are steps, and the rows of all spikes, of which every rank walks its own part.
The exchange costs a latency for each doubling of P, the bytes of all ranks' messages, and the unpacking of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from math import ceil, log2, sqrt

import numpy as np
from scipy.optimize import nnls

from mpi_engine.experiment import CodingExperiment, Experiment, Poisson
from mpi_engine.network.exchange import FIRST_ROUND_WORDS
from mpi_engine.output.reader import RunError, RunReader
from mpi_engine.run.footprint import Footprint

DIVIDED = {
    "stimulus": ("input spike", "step"), "integrate": ("neuron-step", "step"), "deliver": ("arrival", "row"),
    "learn": ("plastic arrival", "plastic row"), "record": ("neuron-step", "step"), "write": ("neuron-step", "step"),
    "other": ("neuron-step", "step"),
}
"""Parts of a step: what of their work ranks divide, and what each does. No checkpoints: these follow a clock."""

BANDWIDTH = 2e9
"""Bytes that reach a rank in a second, its share of a node's network and memory."""

UNPACK_S = 2e-9
"""Time to look at one population's part of one rank's message [s]."""


@dataclass(frozen=True)
class Work:
    """What there is to do in a biological second, by all ranks together.

    Parameters
    ----------
    experiment : Experiment
        The network.
    rates_hz : mapping of str to float
        Rates of its populations and inputs [Hz].
    amounts : dict of str to float
        By name, see `DIVIDED`: input spikes, neuron-steps, arrivals and rows, static and plastic, and steps.
    synapses : float
        In the network.
    """

    experiment: Experiment
    rates_hz: Mapping[str, float]
    amounts: dict[str, float]
    synapses: float

    @property
    def neurons(self) -> int:
        """In the network."""
        return self.experiment.n_neurons

    @property
    def populations(self) -> int:
        """Populations and inputs."""
        return len(self.experiment.sizes)

    @property
    def spikes(self) -> float:
        """Of populations and inputs."""
        return sum(self.rates_hz[name] * size for name, size in self.experiment.sizes.items())


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
        Mean over ranks, by part; "exchange" holds the waiting too.
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


@dataclass(frozen=True)
class Cost:
    """The model: seconds for each unit of work, by part.

    Parameters
    ----------
    divided, everywhere : dict of str to float
        By part, for a unit of what ranks divide, and of what each does [s].
    latency_s : float
        Of a level of the exchange, with the wait for others [s].
    """

    divided: dict[str, float]
    everywhere: dict[str, float]
    latency_s: float


def work_of(experiment: Experiment, rates_hz: Mapping[str, float]) -> Work:
    """Count the work of a network at given rates [Hz] of its populations and inputs."""
    e, steps = experiment, 1e3 / experiment.run.dt_ms
    spikes = {name: rates_hz[name] * size for name, size in e.sizes.items()}
    amounts = dict.fromkeys(("arrival", "row", "plastic arrival", "plastic row"), 0.0)
    synapses = 0.0
    for name, p in e.projections.items():
        kind = "plastic " if name in e.plastic else ""
        number = e.expected_in_degree(name)[0] * e.sizes[p.target]
        amounts[f"{kind}arrival"] += number / e.sizes[p.source] * spikes[p.source]
        amounts[f"{kind}row"] += spikes[p.source]
        synapses += number
    amounts["neuron-step"], amounts["step"] = e.n_neurons * steps, steps
    amounts["input spike"] = sum(spikes[name] for name in e.trains)
    return Work(e, rates_hz, amounts, synapses)


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
    seconds = {name: 1e3 * float(of_ranks.mean()) / split.simulated_ms for name, of_ranks in split.seconds.items()}
    seconds.pop("checkpoint", None)
    work = work_of(run.experiment, measured_rates_hz(run))
    name, network = run.directory.name, run.experiment.hash
    return Timing(name, network, split.n_ranks, seconds, work, float(split.peak_memory_mb.max()))


def fit(timings: Sequence[Timing]) -> Cost:
    """Fit the model to runs, by least squares of relative errors with costs that are not negative.

    Parameters
    ----------
    timings : sequence of Timing
        Of runs on at least two different numbers of ranks.

    Raises
    ------
    RunError
        If all ran on the same number of ranks: what they divide cannot be told from what each does.
    """
    if len({timing.ranks for timing in timings}) < 2:
        told = f"{', '.join(timing.name for timing in timings)}: on {timings[0].ranks} ranks only"
        raise RunError(f"{told}; add a run of the same experiment on another number of ranks")
    divided, everywhere = {}, {}
    for part, (shared, own) in DIVIDED.items():
        timed = [t for t in timings if t.seconds.get(part, 0.0) > 0]
        table = [[t.work.amounts[shared] / t.ranks / t.seconds[part], t.work.amounts[own] / t.seconds[part]]
                 for t in timed]
        scale = np.max(table, axis=0, initial=1e-300) if table else np.ones(2)
        costs = nnls(np.array(table) / scale, np.ones(len(timed)))[0] / scale if table else np.zeros(2)
        divided[part], everywhere[part] = costs.tolist()
    levels = [(t.seconds["exchange"] - _volume_s(t.work, t.ranks)) / t.work.amounts["step"] / _levels(t.work, t.ranks)
              for t in timings if t.ranks > 1]
    return Cost(divided, everywhere, max(float(np.mean(levels)), 0.0))


def predict(cost: Cost, work: Work, ranks: int) -> dict[str, float]:
    """Predict seconds a biological second, by part, of a network on a number of ranks.

    Returns
    -------
    dict of str to float
        The parts of `DIVIDED`; "rows", "steps": what each rank does of them for the whole network, taken out of these;
        "latency" and "volume" of the exchange.
    """
    seconds = {part: cost.divided[part] * work.amounts[shared] / ranks for part, (shared, _) in DIVIDED.items()}
    undivided = {part: cost.everywhere[part] * work.amounts[own] for part, (_, own) in DIVIDED.items()}
    seconds["rows"] = undivided["deliver"] + undivided["learn"]
    seconds["steps"] = sum(undivided.values()) - seconds["rows"]
    seconds["latency"] = _levels(work, ranks) * cost.latency_s * work.amounts["step"]
    seconds["volume"] = _volume_s(work, ranks) if ranks > 1 else 0.0
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


def _levels(work: Work, ranks: int) -> int:
    """Doublings of P that messages of a step pass, in one round or two."""
    rounds = 2 if _longest(work, ranks) > FIRST_ROUND_WORDS else 1
    return rounds * ceil(log2(ranks))


def _longest(work: Work, ranks: int) -> float:
    """Spikes of the rank that has most in a step, three standard deviations of a Poisson number above the mean."""
    mean = work.spikes / work.amounts["step"] / ranks
    return mean + 3 * sqrt(mean)


def _volume_s(work: Work, ranks: int) -> float:
    """Seconds for the bytes of all messages, and their unpacking, in a biological second."""
    words = 1 + work.populations + FIRST_ROUND_WORDS
    if (longest := _longest(work, ranks)) > FIRST_ROUND_WORDS:
        words += 1 + work.populations + ceil(longest)
    return work.amounts["step"] * ranks * (4 * words / BANDWIDTH + UNPACK_S * work.populations)
