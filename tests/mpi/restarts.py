"""Run a network on the ranks that there are, at once and with many restarts, and print a digest of each.

python -m tests.mpi.restarts EXPERIMENT STEPS RESTARTS SEED: at random steps the state is saved, and a new simulation,
cut over the ranks in another random way, goes on from it. The digests cover all records and the last state.
"""

from __future__ import annotations

import hashlib
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpi_engine.experiment import Experiment, load_experiment
from mpi_engine.network.ranks import Ranks
from mpi_engine.output.layout import is_report_time
from mpi_engine.run.simulation import Simulation, load_construction
from tests.mpi.digest import random_partition, whole


def digest(experiment: Experiment, ranks: Ranks, stops: list[int], seed: int) -> str:
    recorded: dict[str, list[NDArray[Any]]] = {}
    saved: dict[str, NDArray[Any]] = {}
    for stop in stops:
        seed += 1
        simulation = Simulation(experiment, ranks, random_partition(experiment, ranks.size, seed))
        simulation.compile()
        if saved:
            simulation.restore(lambda path, start, stop, saved=saved: saved[path][start:stop])
        else:
            simulation.start()
        while simulation.step < stop:
            simulation.advance(stop)
            for record in simulation.take_records():
                if record.grows or (record.path not in recorded and not is_report_time(record.path)):
                    recorded.setdefault(record.path, []).append(whole(record, ranks))
        saved = {record.path: whole(record, ranks) for record in simulation.save()}
    sha = hashlib.sha256()
    for path, parts in sorted({**recorded, **{path: [values] for path, values in saved.items()}}.items()):
        sha.update(path.encode() + np.concatenate(parts).tobytes())
    return sha.hexdigest()


if __name__ == "__main__":
    ranks = Ranks.world()
    experiment = load_experiment(sys.argv[1])
    steps, restarts, seed = map(int, sys.argv[2:])
    stops = np.random.default_rng(seed).choice(np.arange(1, steps), restarts, replace=False)
    load_construction(experiment, ranks)
    digests = [digest(experiment, ranks, cuts, seed) for cuts in ([steps], [*sorted(stops.tolist()), steps])]
    if ranks.is_first:
        print(*digests)
