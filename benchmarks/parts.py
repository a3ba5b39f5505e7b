"""What the units of this simulator's work cost on this machine: ``python -m benchmarks.parts -o build/parts.jsonl``.

Small networks of leaky neurons with Poisson input are simulated, each doing much of one kind of work, in several sizes:
at rest or firing, with rows long and short, lists and adjacency matrices, plastic synapses and none, in the cache and
beyond it. What each part of a step took is written down; `analysis.performance_costs` finds the costs in it. Each is
measured by one process, and by as many at a time as there are cores, which share memory and caches as ranks do. Time is
the processor's, so that what else the machine does hardly enters.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.performance import Work
from analysis.performance_costs import UNITS, Measurement
from benchmarks.floor import time_allgather
from mpi_engine.compiled import kernel
from mpi_engine.dynamics.stopwatch import STRIDE, Laps, begin_laps, end_lap
from mpi_engine.experiment import Experiment, load_experiment
from mpi_engine.output.provenance import cpu_model
from mpi_engine.run.simulation import Simulation
from orchestration.engine import engine_environment

SIZES = (5_000, 50_000, 500_000)
"""Neurons of a rank."""

_SETTLING = 40
"""Strides of steps until neurons and histories are as they stay."""

_IDLE = 16
"""Neurons of a rank that has hardly anything to do."""

_DT_MS = 0.1
_ARRIVALS, _PLASTIC_ARRIVALS = 0.5, 0.25
"""Of a neuron in a step: about as many as in a balanced network with a thousand synapses a neuron."""

_NOTES_MS = 1000.0
"""Between recordings of weights."""

_RATE_HZ = 150.0
_LARGE = 2**28
"""Bytes of rows that no core's share of a cache holds."""

_ROW_BYTES = (2 * _ARRIVALS + 6 * _PLASTIC_ARRIVALS) / (_RATE_HZ * 1e-3 * _DT_MS)
"""Of the rows of as many sources as it takes at that rate, for a neuron."""

_SPARSE = 0.06
"""Share of pairs that is not an adjacency matrix yet."""

_DENSE_ROWS, _MOST_DENSE_ROWS = 1000, 500_000

_SPIKE_CURRENT = {"V_th_mv": -50.0, "V_T_mv": -55.0, "Delta_T_mv": 1.0}

_MODELS: dict[str, dict[str, float]] = {
    "lif": {},
    "eif": _SPIKE_CURRENT,
    "adex": _SPIKE_CURRENT | {"a_per_ms": 0.01, "b_mv_per_ms": 0.5, "tau_w_ms": 100.0},
}


@dataclass(frozen=True)
class Probe:
    """A network to measure.

    Parameters
    ----------
    model : str
        Of its neurons.
    weight_mv : float
        Of what makes them fire.
    lists, plastic, dense : bool
        Which of its inputs fire: through lists of targets, plastic synapses, an adjacency matrix.
    length : int
        Targets on a rank in a row of a list.
    sources : float
        How many times as many sources fire at a rate so many times lower; none to make rows come from memory.
    statistics : bool
        Whether statistics of each neuron are recorded.
    """

    model: str = "lif"
    weight_mv: float = 0.0
    lists: bool = True
    plastic: bool = False
    dense: bool = False
    length: int = 400
    sources: float | None = 1
    statistics: bool = False

    def experiment(self, n: int) -> Experiment:
        """Describe the network for so many neurons."""
        times = self.sources or max(8, _LARGE / (_ROW_BYTES * n))
        length = min(self.length, _SPARSE * n)
        of_rate = 1 / (_RATE_HZ * 1e-3 * _DT_MS)
        sizes = {"lists": times * _ARRIVALS * n / length * of_rate,
                 "plastic": times * _PLASTIC_ARRIVALS * n / length * of_rate,
                 "dense": min(times * _DENSE_ROWS, 8 * _LARGE / n, _MOST_DENSE_ROWS) * self.dense}
        settings: dict[str, float] = {f"inputs.{name}.size": max(1, round(size)) for name, size in sizes.items()}
        settings |= {f"inputs.{name}.rate_hz": getattr(self, name) * _RATE_HZ / times for name in sizes}
        settings |= {f"projections.{name}.probability": length / n for name in ("lists", "plastic")}
        settings |= {"populations.E.size": n, "projections.lists.weight_mv": self.weight_mv}
        settings |= {f"neurons.point.{name}": value for name, value in _MODELS[self.model].items()}
        settings |= {"recording.statistics.block_ms": 1e4} if self.statistics else {}
        settings |= {"recording.weights.interval_ms": _NOTES_MS} if self.plastic else {}
        overrides = [f"neurons.point.model={self.model}", *(f"{key}={value}" for key, value in settings.items())]
        experiment = load_experiment(Path(__file__).with_name("probe.toml"), overrides)
        assert isinstance(experiment, Experiment)
        return experiment


PROBES = (
    Probe(),
    Probe(model="eif"),
    Probe(model="adex"),
    Probe(statistics=True),
    Probe(weight_mv=0.25),
    Probe(plastic=True),
    Probe(plastic=True, length=40),
    Probe(plastic=True, sources=None),
    Probe(plastic=True, weight_mv=0.25, sources=8),
    Probe(lists=False, dense=True),
    Probe(lists=False, dense=True, sources=None),
)


def measure(probe: Probe, n: int, busy: int) -> Measurement:
    """Simulate a network of n neurons for some steps, beside so many processes, and count what one of them takes."""
    experiment = probe.experiment(n)
    simulation = Simulation(experiment)
    simulation.compile()
    watch, per_step = simulation.stopwatch, 1e3 / _DT_MS
    watch.laps.clock[1] = time.CLOCK_THREAD_CPUTIME_ID
    started = time.process_time()
    simulation.start()     # makes the input spikes of many steps, and notes the weights
    noted_s = watch.cpu_s["record"]
    supplied_s = time.process_time() - started - noted_s
    supplied_s /= min(trains.filled_until for trains in simulation.trains.values())
    simulation.advance((_SETTLING if probe.weight_mv else 1) * STRIDE)
    before, first = simulation.progress[1], simulation.step
    taken, counts = zip(*(_time_step(simulation) for _ in range(min(100, 10 + 2_000_000 // n))), strict=True)
    totals = np.sum(taken, axis=1)
    best = totals <= np.median(totals)     # others were disturbed, if any
    spikes = dict(zip(experiment.sizes, np.array(counts)[best].mean(axis=0) * per_step, strict=True))
    # at a visit all spikes since the last one are replayed, not those of one step
    spikes["E"] = float(simulation.progress[1] - before) / (simulation.step - first) * per_step
    work = Work(experiment, {name: spikes[name] / size for name, size in experiment.sizes.items()})
    laps = np.maximum(1e-9 * (np.array(taken)[best].mean(axis=0) - _reading_ns(watch.laps)), 0.0)
    seconds = dict.fromkeys((*UNITS, "exchange"), 0.0)
    for part, lap_s in zip(simulation.plan.laps, laps.tolist(), strict=True):
        seconds[part] += lap_s * per_step
    seconds["stimulus"] += supplied_s * per_step
    if probe.plastic:
        started = time.process_time()
        simulation.present_weights("plastic")
        seconds["record"] += (noted_s + time.process_time() - started) * 1e3 / _NOTES_MS
    return Measurement(cpu_model(), busy, n, *work.bytes_on(1), dict(work.on(1)), seconds)


def _time_step(simulation: Simulation) -> tuple[list[int], list[int]]:
    """Take a step that is timed, and those to the next; return its laps [ns] and spikes, by population."""
    elapsed, progress = simulation.stopwatch.laps.elapsed.copy(), simulation.progress.copy()
    simulation.advance(simulation.step + 1)
    laps, spikes = simulation.stopwatch.laps.elapsed - elapsed, simulation.progress[1:] - progress[1:]
    simulation.advance(simulation.step + STRIDE - 1)
    if simulation.is_full:
        simulation.take_records()
    return laps.tolist(), spikes.tolist()


def _reading_ns(laps: Laps) -> float:
    """How much of each lap it takes to read the clock."""
    times, before = 1000, laps.elapsed[0]
    _read(laps, times)
    return float(laps.elapsed[0] - before) / times


@kernel
def _read(laps: Laps, times: int) -> None:
    begin_laps(laps, 1)
    for _ in range(times):
        end_lap(laps, 1)
        laps.lap[0] = 0


def main(words: Sequence[str] | None = None) -> int:
    """Measure in one process, and in as many as there are cores; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parts", description=__doc__)
    parser.add_argument("-o", type=Path, default=Path("build/parts.jsonl"), metavar="FILE", dest="output")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="neurons of a rank")
    arguments = parser.parse_args(words)
    if len(set(arguments.sizes)) < 2:
        parser.error(f"--sizes {arguments.sizes[0]}: costs are looked up between sizes; name another one too")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    lines = json.dumps({"latency_s": 1e-9 * time_allgather()}) + "\n"
    for busy in (1, max(2, len(os.sched_getaffinity(0)))):
        lines += _measure_beside(busy, arguments.sizes)
        arguments.output.write_text(lines, encoding="utf-8")
        print(f"{arguments.output}: {busy} at a time")
    return 0


def _measure_beside(busy: int, sizes: Sequence[int]) -> str:
    """Let so many processes measure at a time; return their lines."""
    command = [sys.executable, "-m", "benchmarks.parts", "--measure", str(busy), *map(str, sizes)]
    processes = [subprocess.Popen(command, env=engine_environment(1), cwd=Path(__file__).parents[1],
                                  stdout=subprocess.PIPE, text=True) for _ in range(busy)]
    printed = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"{shlex.join(command)} failed")
    return "".join(printed)


def _measure_all(busy: int, sizes: Sequence[int]) -> None:
    """Measure every network in every size, and print the measurements; the first loads the kernels."""
    idle = Probe(lists=False)
    measure(idle, _IDLE, busy)
    for probe, size in [(idle, _IDLE), *((probe, size) for size in sizes for probe in PROBES)]:
        print(measure(probe, size, busy).line(), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        _measure_all(int(sys.argv[2]), [int(size) for size in sys.argv[3:]])
    else:
        sys.exit(main())
