"""What a unit of work costs, measured in small networks that are made to do much of one kind: `benchmarks.parts`.

The cost of a unit depends on how much a rank keeps in its caches. Networks of several sizes are measured, each with few
synapses and with so many that rows come from memory, on one rank, and on as many as the machine has cores, which share
its memory. Between sizes costs are interpolated over the logarithm of bytes; beyond them they stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import log
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

from mpi_engine.output.reader import RunError

UNITS = {
    "stimulus": ("input spike",),
    "integrate": ("lif update", "eif update", "adex update"),
    "deliver": ("arrival", "pair", "piece"),
    "learn": ("plastic arrival", "plastic piece", "replay", "noted spike", "trace update"),
    "record": ("sample", "statistics sample", "recorded weight", "spike"),
}
"""Kinds of work, by part of a step. A piece is that of a row onto 65 536 targets, or a row of an adjacency matrix, a
pair is a bit of one, and a replay what a plastic synapse does at a postsynaptic spike, which is noted once for all."""

FROM_MEMORY = ("arrival", "plastic arrival", "pair")
"""Units that cost more where the rows are not in a cache."""

BANDWIDTH = 2e9
"""Bytes that reach a rank in a second, its share of a node's network and memory."""

UNPACK_S = 2e-9
"""Time to look at one population's part of one rank's message [s]."""


@dataclass(frozen=True)
class Measurement:
    """What there was to do in a biological second of a network on one rank, and how long it took.

    Parameters
    ----------
    cpu : str
        On which processor.
    busy, neurons : int
        How many processes were at work at a time, and neurons in each.
    neuron_bytes, synapse_bytes : float
        Memory of neurons and synapses.
    amounts : dict of str to float
        What there was to do, by unit, and "step".
    seconds : dict of str to float
        What it took, by part.
    """

    cpu: str
    busy: int
    neurons: int
    neuron_bytes: float
    synapse_bytes: float
    amounts: dict[str, float]
    seconds: dict[str, float]

    def line(self) -> str:
        """Write it as a line of JSON."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Point:
    """Costs at one size.

    Parameters
    ----------
    neuron_bytes : float
        Of a rank's neurons.
    synapse_bytes : tuple of float
        Of its synapses: where rows are in a cache, and where they come from memory.
    cached, extra : dict of str to float
        Seconds a unit where rows are in a cache, and how many more where they come from memory.
    """

    neuron_bytes: float
    synapse_bytes: tuple[float, float]
    cached: dict[str, float]
    extra: dict[str, float]

    def costs(self, synapse_bytes: float) -> dict[str, float]:
        """Seconds a unit, for so many bytes of synapses."""
        share = _share(synapse_bytes, *self.synapse_bytes)
        return {unit: cost + share * self.extra.get(unit, 0.0) for unit, cost in self.cached.items()}


@dataclass(frozen=True)
class Cost:
    """The model: seconds for each unit of work.

    Parameters
    ----------
    alone, together : sequence of Point
        By size, for one rank, and for ranks that share a machine.
    step_s : dict of str to float
        What each part takes in a step without anything to do [s].
    latency_s : float
        Of a level of the exchange [s].
    """

    alone: Sequence[Point]
    together: Sequence[Point]
    step_s: dict[str, float]
    latency_s: float

    def units(self, ranks: int, neuron_bytes: float, synapse_bytes: float) -> dict[str, float]:
        """Seconds a unit, for a rank of so many with such neurons and synapses."""
        points = self.alone if ranks == 1 else self.together
        low, high = next((ends for ends in pairwise(points) if neuron_bytes <= ends[1].neuron_bytes), points[-2:])
        share = _share(neuron_bytes, low.neuron_bytes, high.neuron_bytes)
        before, after = low.costs(synapse_bytes), high.costs(synapse_bytes)
        return {unit: (1 - share) * cost + share * after[unit] for unit, cost in before.items()}


def read_costs(path: Path) -> Cost:
    """Find the costs in what `benchmarks.parts` has measured.

    Raises
    ------
    RunError
        If there is no such file, or it is none of these.
    """
    try:
        first, *lines = path.read_text(encoding="utf-8").splitlines()
        return fit([Measurement(**json.loads(line)) for line in lines], json.loads(first)["latency_s"])
    except (OSError, ValueError, TypeError, KeyError):
        told = f"{path}: holds no measured parts; `python -m benchmarks.parts -o {path}` measures them"
        raise RunError(told) from None


def fit(measurements: Sequence[Measurement], latency_s: float) -> Cost:
    """Find the costs of units, size by size, by least squares of relative errors with costs that are not negative.

    Parameters
    ----------
    measurements : sequence of Measurement
        Of three sizes at least, in one process and in several; in the smallest there is hardly anything to do.
    latency_s : float
        Of an exchange between two ranks [s].

    Raises
    ------
    ValueError
        If there are fewer.
    """
    idle, *sizes = sorted({m.neurons for m in measurements})
    if len(sizes) < 2:
        raise ValueError("costs are looked up between two sizes at least, beside the smallest")
    steps = [m for m in measurements if m.neurons == idle]
    step_s = {part: min(m.seconds[part] / m.amounts["step"] for m in steps) for part in UNITS}
    alone, together = ([_point([m for m in measurements if m.neurons == size and (m.busy > 1) == shared], step_s)
                        for size in sizes] for shared in (False, True))
    return Cost(alone, together, step_s, latency_s)


def _point(measurements: Sequence[Measurement], step_s: Mapping[str, float]) -> Point:
    """Find the costs at one size."""
    if not measurements:
        raise ValueError("parts were measured in one process only, or in several only")
    synapse_bytes = [m.synapse_bytes for m in measurements]
    ends = min(synapse_bytes), max(synapse_bytes)
    cached: dict[str, float] = {}
    extra: dict[str, float] = {}
    for part, units in UNITS.items():
        beyond = [unit for unit in units if unit in FROM_MEMORY]
        table = [[*(m.amounts.get(unit, 0.0) for unit in units),
                  *(_share(m.synapse_bytes, *ends) * m.amounts.get(unit, 0.0) for unit in beyond)]
                 for m in measurements]
        seconds = [max(m.seconds[part] - step_s[part] * m.amounts["step"], 0.0) for m in measurements]
        costs = _solve(table, seconds)
        cached |= dict(zip(units, costs, strict=False))
        extra |= dict(zip(beyond, costs[len(units):], strict=True))
    return Point(float(np.median([m.neuron_bytes for m in measurements])), ends, cached, extra)


def _solve(table: Sequence[Sequence[float]], seconds: Sequence[float]) -> list[float]:
    """Solve for costs by relative errors; what took no time tells nothing."""
    timed = [(row, s) for row, s in zip(table, seconds, strict=True) if s > 0]
    relative = np.array([[amount / s for amount in row] for row, s in timed]).reshape(-1, len(table[0]))
    scale = relative.max(axis=0, initial=1e-300)
    costs: list[float] = (nnls(relative / scale, np.ones(len(timed)))[0] / scale).tolist()
    return costs


def _share(value: float, low: float, high: float) -> float:
    """Where a number lies between two others, by logarithms; 0 and 1 beyond them."""
    return min(max(log(value / low) / log(high / low), 0.0), 1.0) if high > low else 0.0
