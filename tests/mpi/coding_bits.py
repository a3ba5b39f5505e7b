"""Run coding networks on the ranks that there are, and print three digests of each.

At once, cut evenly; at once, cut at random places; in parts that go on from saved states, each cut in another way.

python -m tests.mpi.coding_bits STEPS NETWORK ...: names as in tests.coding_networks. The digests cover all records and
the last state.
"""

from __future__ import annotations

import hashlib
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpi_engine.experiment import Experiment, parse_experiment
from mpi_engine.network.ranks import Ranks
from mpi_engine.run.coding import CodingSimulation
from tests.coding_networks import NETWORKS, make
from tests.mpi.digest import random_partition, whole

RECORDING = {
    "state": {"interval_ms": 0.7},
    "currents": {"neurons": [0, 7, 29, 30, 59], "interval_ms": 1.3},
    "slow_weights": {"interval_ms": 20.0},
}


def digest(experiment: Experiment, ranks: Ranks, stops: list[int], seed: int | None) -> str:
    recorded: dict[str, list[NDArray[Any]]] = {}
    saved: dict[str, NDArray[Any]] = {}
    for number, stop in enumerate(stops):
        partition = None if seed is None else random_partition(experiment, ranks.size, seed + number)
        simulation = CodingSimulation(experiment, ranks, partition)
        simulation.compile()
        if saved:
            simulation.restore(lambda path, start, stop, saved=saved: saved[path][start:stop])
        else:
            simulation.start()
        while simulation.step < stop:
            simulation.advance(min(simulation.step + 333, stop))
            for record in simulation.take_records():
                if record.grows or record.path not in recorded:
                    recorded.setdefault(record.path, []).append(whole(record, ranks))
        saved = {record.path: whole(record, ranks) for record in simulation.save()}
    sha = hashlib.sha256()
    for path, parts in sorted({**recorded, **{path: [values] for path, values in saved.items()}}.items()):
        sha.update(path.encode() + np.concatenate(parts).tobytes())
    return sha.hexdigest()


if __name__ == "__main__":
    ranks, steps = Ranks.world(), int(sys.argv[1])
    for name in sys.argv[2:]:
        deaths = {"some": {"at_ms": 31.0, "fraction": 0.2}, "few": {"at_ms": 50.5, "neurons": [3, 59]}}
        table = make(recording=RECORDING, deaths=deaths, **NETWORKS[name])
        if name != "factored":     # a decorrelated basis is costly to make, and once is enough
            table["network"]["basis"] = table["network"]["basis"] | {"decorrelated": False}
        experiment = parse_experiment(table)
        stops = sorted(np.random.default_rng(5).choice(np.arange(1, steps), 3, replace=False).tolist())
        courses = (([steps], None), ([steps], 11), ([*stops, steps], 3))
        digests = [digest(experiment, ranks, *course) for course in courses]
        if ranks.is_first:
            print(*digests)
