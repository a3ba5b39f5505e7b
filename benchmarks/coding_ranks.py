"""The time of a coding network's step on one rank and on two, by the network's size: where more ranks begin to pay.

    python -m benchmarks.coding_ranks [PICTURE]

Each time is the shortest of many chunks of a tenth of a second of work or less; ranks take turns, so that nothing else
on the machine meets one of them alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from analysis.style import RUNS, canvas
from mpi_engine.experiment import CodingExperiment, parse_experiment
from mpi_engine.network.ranks import Ranks
from mpi_engine.run.coding import CodingSimulation
from orchestration.engine import engine_environment, find_mpirun

SIZES = (200, 1000, 5000, 20_000)

RANKS = (1, 2)

_CHUNKS, _STEPS = 60, 200

Times = Mapping[int, Sequence[float]]
"""Microseconds a step of each size, by the number of ranks."""


def measure(repeats: int = 3) -> Times:
    """Measure all sizes on one rank and on two, in turn, and take the shortest of all repeats."""
    found: dict[int, list[list[float]]] = {n: [] for n in RANKS}
    for _ in range(repeats):
        for n in RANKS:
            command = [str(find_mpirun()), "-n", str(n), sys.executable, "-m", "benchmarks.coding_ranks", "measure"]
            done = subprocess.run(command, env=engine_environment(n), capture_output=True, text=True, check=True)
            found[n].append(json.loads(done.stdout.splitlines()[-1]))
    return {n: [min(times) for times in zip(*rows, strict=True)] for n, rows in found.items()}


def picture(times: Times) -> Figure:
    """Draw the time of a step against the size, a line for each number of ranks."""
    with canvas() as (figure, (panel,)):
        for n, colour in zip(times, RUNS, strict=False):
            panel.loglog(SIZES, times[n], "o-", color=colour, label=f"{n} rank{'s' if n > 1 else ''}")
        panel.set(xlabel="neurons", ylabel="time of a step [us]")
        panel.legend(frameon=False, labelcolor="linecolor")
        panel.set_title("A coding network's step, K = 3")
    return figure


def _experiment(size: int) -> CodingExperiment:
    experiment = parse_experiment({
        "kind": "coding",
        "seed": 1,
        "run": {"duration_ms": 100_000.0},
        "teacher": {"kind": "lorenz"},
        "network": {"size": size},
        "phases": {"learn": {"does": "learn", "duration_ms": 100_000.0}},
    })
    assert isinstance(experiment, CodingExperiment)
    return experiment


def _step_us(size: int, ranks: Ranks) -> float:
    """Collective. Time a step [us], as the shortest of many chunks."""
    simulation = CodingSimulation(_experiment(size), ranks)
    simulation.compile()
    simulation.start()
    times = []
    for _ in range(_CHUNKS):
        ranks.sum(simulation.progress)      # all begin together
        begin = time.perf_counter()
        simulation.advance(simulation.step + _STEPS)
        times.append(time.perf_counter() - begin)
        simulation.take_records()
    return 1e6 * min(times) / _STEPS


def main() -> None:
    """Print the times, and draw them; or, started by `measure` on several ranks, print theirs."""
    if sys.argv[1:] == ["measure"]:
        ranks = Ranks.world()
        times = [_step_us(size, ranks) for size in SIZES]
        if ranks.is_first:
            print(json.dumps(times))
        return
    measured = measure()
    print(f"{'neurons':>8}" + "".join(f"{n:>6} rank{'s' if n > 1 else ' '}" for n in RANKS) + "   ratio")
    for k, size in enumerate(SIZES):
        row = [measured[n][k] for n in RANKS]
        print(f"{size:>8}" + "".join(f"{value:>8.2f} us" for value in row) + f"{row[0] / row[-1]:>8.2f}")
    if len(sys.argv) > 1:
        picture(measured).savefig(sys.argv[1])


if __name__ == "__main__":
    main()
