"""A small run of made-up data, which depend on time and neuron only, written by the real writers.

``mpirun -n 4 python made_up_run.py DIRECTORY`` writes it with both writers on 1, 2, 3 and 4 ranks.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

from mpi_engine.experiment import Experiment, parse_experiment
from mpi_engine.output import integrity, layout, projection_layout
from mpi_engine.output.layout import Record
from mpi_engine.output.provenance import provenance
from mpi_engine.output.segments import consolidate, seal
from mpi_engine.output.writers import Writer, choose_writer

DT_MS = 0.1
N_STEPS = 600
BIN, BLOCK, WEIGHTS, TRACE = 100, 200, 150, 5     # steps between records
CHOSEN = np.array([0, 3, 6])
CUTS = (200, 330, 335)
"""Steps at which segments end: on the edges of records, between them, and with hardly anything in between."""

CUTS_OF_RANKS: dict[int, tuple[int, ...]] = {1: (), 2: CUTS, 3: (100,), 4: (335,)}
VARIABLES = ("V", "I_excitatory", "I_total")


def experiment() -> Experiment:
    return parse_experiment(
        {
            "title": "A made-up run",
            "run": {"duration_ms": N_STEPS * DT_MS, "dt_ms": DT_MS},
            "neurons": {
                "cell": {
                    "model": "eif", "tau_m_ms": 15.0, "E_L_mv": -72.0, "V_T_mv": -55.0, "Delta_T_mv": 1.0,
                    "V_th_mv": -50.0, "V_reset_mv": -75.0, "V_init_mv": -60.0,
                }
            },
            "populations": {"E": {"size": 7, "neuron": "cell"}, "I": {"size": 2, "neuron": "cell"}},
            "inputs": {"X": {"kind": "poisson", "size": 5, "rate_hz": 10.0}},
            "synapses": {"excitatory": {"kind": "exponential_current", "tau_ms": 8.0}},
            "plasticity": {
                "rule": {"rule": "kohonen", "tau_ms": 200.0, "learning_rate": 0.01, "beta_mv": 1.0}
            },
            "projections": {
                "E_to_E": {
                    "source": "E", "target": "E", "synapse": "excitatory", "in_degree": 2, "weight_mv": 1.0,
                    "plasticity": "rule", "weight_scaling": "1/sqrt(N)",
                },
                "X_to_I": {
                    "source": "X", "target": "I", "synapse": "excitatory", "probability": 0.5, "weight_mv": 2.0
                },
            },
            "recording": {
                "spikes": ["E", "X"], "sample_ms": 0.1, "segment_ms": 20.0, "rates": {"bin_ms": BIN * DT_MS},
                "statistics": {"block_ms": BLOCK * DT_MS},
                "weights": {"interval_ms": WEIGHTS * DT_MS, "sample": 4, "histogram_bins": 6},
                "traces": {"E": {"neurons": CHOSEN.tolist(), "interval_ms": TRACE * DT_MS}},
            },
        }
    )


def spikes_of(population: str, size: int, first_step: int, last_step: int) -> tuple[np.ndarray, np.ndarray]:
    """Make the spikes of a population in the steps first < n <= last; E is silent in the second half."""
    times, ids = [], []
    for step in range(first_step + 1, last_step + 1):
        if population == "E" and step > N_STEPS // 2:
            break
        for lid in np.flatnonzero(np.random.default_rng([size, step]).random(size) < 0.1):
            times.append(step * DT_MS)
            ids.append(lid)
    return np.array(times, np.float64), np.array(ids, np.uint64)


def table(salt: int, steps: np.ndarray, columns: int) -> np.ndarray:
    """Make numbers that depend on what is recorded, the step and the column only."""
    values = [np.random.default_rng([salt, step]).normal(size=columns) for step in steps]
    return np.array(values).reshape(len(steps), columns)


def due(interval: int, first_step: int, last_step: int) -> np.ndarray:
    return np.arange(-(-(first_step + 1) // interval), last_step // interval + 1) * interval


def slab(size: int, rank: int, ranks: int) -> tuple[int, int]:
    return size * rank // ranks, size * (rank + 1) // ranks


def make_records(rank: int, ranks: int, first_step: int, last_step: int) -> list[Record]:
    mine = rank == 0
    records: list[Record] = []
    for population, size in (("E", 7), ("X", 5)):
        times, ids = spikes_of(population, size, first_step, last_step)
        low, high = slab(len(times), rank, ranks)
        records += layout.spikes(population, times[low:high], ids[low:high], low, len(times))
    for population, size in (("E", 7), ("I", 2)):
        low, high = slab(size, rank, ranks)
        ends = due(BLOCK, first_step, last_step)
        per_neuron = {name: table(salt, ends, size)[:, low:high] for salt, name in enumerate(VARIABLES)}
        squares = {name: values**2 for name, values in per_neuron.items()}
        counts = np.round(10 * table(3, ends, size))[:, low:high].astype(np.int64)
        starts = (ends - BLOCK) * DT_MS
        samples = np.full(len(ends), BLOCK)
        records += layout.statistics(
            population, low, size, starts, BLOCK * DT_MS, samples, counts, per_neuron, squares
        )
        bins = due(BIN, first_step, last_step)
        means = {name: table(salt, bins, 1)[:, 0] for salt, name in enumerate(VARIABLES)}
        start_ms = first_step // BIN * BIN * DT_MS
        records += layout.rates(population, start_ms, BIN * DT_MS, table(4, bins, 1)[:, 0], means, mine)
    times = due(WEIGHTS, first_step, last_step)
    series = table(5, times, 4)
    series[:, 1] **= 2     # the variance
    records += projection_layout.weights(
        "E_to_E", 1 / 3, 14, times * DT_MS, *series.T, np.round(10 * abs(table(6, times, 6))), np.linspace(0, 2, 7),
        series.astype(np.float32), np.arange(4), np.arange(4)[::-1], mine,
    )
    low, high = slab(7, rank, ranks)
    owned = np.flatnonzero((low <= CHOSEN) & (high > CHOSEN))
    first = int(np.searchsorted(CHOSEN, low))
    steps = due(TRACE, first_step, last_step)
    values = {name: table(7 + salt, steps, 3)[:, owned].astype(np.float32) for salt, name in enumerate(VARIABLES)}
    start_ms = (first_step // TRACE + 1) * TRACE * DT_MS
    records += layout.traces("E", start_ms, TRACE * DT_MS, CHOSEN, first, values)
    if first_step == 0:
        records += projection_layout.degrees("E_to_E", low, 7, np.full(high - low, 2), np.arange(7) % 3, mine)
    return records


def write_run(directory: Path, writer: Writer, cuts: tuple[int, ...] = CUTS, whole: bool = True) -> None:
    given = experiment()
    if writer.rank == 0:
        directory.mkdir(parents=True)
        (directory / "experiment.toml").write_text(given.to_toml())
    writer.barrier()
    edges = [0, *cuts, N_STEPS]
    for first_step, last_step in pairwise(edges):
        records = make_records(writer.rank, writer.size, first_step, last_step)
        seal(writer, directory, first_step, last_step, DT_MS, records + provenance(writer, given, 0.0, {}, 1))
    if whole:
        consolidate(writer, directory, provenance(writer, given, 0.0, {"run": 1.5}, 1))


def write_on_all_ranks(directory: Path) -> None:
    from mpi4py import MPI  # noqa: PLC0415  # most tests need no MPI

    world = MPI.COMM_WORLD
    for ranks, cuts in CUTS_OF_RANKS.items():
        assert ranks <= world.size, f"{world.size} ranks: this needs 4"
        comm = world.Split(0 if world.rank < ranks else 1, world.rank)
        integrity.PIECE_BYTES = 256 if ranks == 3 else 2**26   # many pieces a slab, and one
        for name in ("gather", "parallel"):
            if world.rank < ranks:
                write_run(directory / f"{name}-{ranks}", choose_writer(comm, name), cuts)
        comm.Free()


if __name__ == "__main__":
    write_on_all_ranks(Path(sys.argv[1]))
