"""Run a network on the ranks that there are, cut at random places, and print a digest of its state and spikes.

python digest.py EXPERIMENT STEPS [CUT_SEED ...]: even cuts first, then random ones from each seed.
"""

from __future__ import annotations

import hashlib
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpi_engine.experiment import Experiment, load_experiment
from mpi_engine.network.partition import Partition
from mpi_engine.network.ranks import Ranks
from mpi_engine.output.layout import Record
from mpi_engine.run.simulation import Simulation, load_construction


def random_partition(experiment: Experiment, n_ranks: int, seed: int) -> Partition:
    """Cut all that is divided among ranks at random places; blocks may be empty."""
    rng = np.random.default_rng(seed)
    cuts = {}
    for name, size in experiment.partitioned.items():
        cuts[name] = [0, *sorted(rng.integers(0, size + 1, n_ranks - 1).tolist()), size]
    return Partition(cuts)


def whole(record: Record, ranks: Ranks) -> NDArray[Any]:
    """Collective. Put the ranks' slabs of a record together."""
    values = np.empty(record.shape, record.dtype)
    for start, slab in ranks.gather((record.start, record.values)):
        if slab is not None:
            values[tuple(slice(first, first + n) for first, n in zip(start, slab.shape, strict=True))] = slab
    return values


def digest(experiment: Experiment, ranks: Ranks, partition: Partition | None, steps: int) -> str:
    simulation = Simulation(experiment, ranks, partition)
    simulation.compile()
    simulation.start()
    sha = hashlib.sha256()
    while simulation.step < steps:
        simulation.advance(min(simulation.step + 97, steps))
        sha.update(simulation.exchange.fired[: simulation.exchange.offsets[-1]].tobytes())
        simulation.take_records()
    for record in simulation.save():
        sha.update(record.path.encode() + whole(record, ranks).tobytes())
    return sha.hexdigest()


if __name__ == "__main__":
    ranks = Ranks.world()
    experiment = load_experiment(sys.argv[1])
    load_construction(experiment, ranks)
    digests = {digest(experiment, ranks, None, int(sys.argv[2]))}
    for seed in sys.argv[3:]:
        digests.add(digest(experiment, ranks, random_partition(experiment, ranks.size, int(seed)), int(sys.argv[2])))
    if ranks.is_first:
        print(*digests)
