"""The kinds of networks, and the simulation and the footprint of each."""

from __future__ import annotations

from collections.abc import Mapping

from mpi_engine.experiment import CodingExperiment, Experiment
from mpi_engine.network.partition import Partition
from mpi_engine.network.ranks import Ranks
from mpi_engine.run.coding import CodingSimulation
from mpi_engine.run.coding_footprint import CodingFootprint
from mpi_engine.run.footprint import Footprint
from mpi_engine.run.simulation import Simulation, load_construction
from mpi_engine.run.stepping import Stepping


def make_ready(experiment: Experiment, ranks: Ranks) -> None:
    """Collective. Load what draws a network, so that its time is not counted as that of drawing.

    A coding network is small, and loads what it needs as it is made.
    """
    if not isinstance(experiment, CodingExperiment):
        load_construction(experiment, ranks)


def make_simulation(
    experiment: Experiment, ranks: Ranks | None = None, partition: Partition | None = None
) -> Stepping:
    """Collective. Make the simulation of an experiment, of whatever kind its network is; arguments as for these."""
    if isinstance(experiment, CodingExperiment):
        return CodingSimulation(experiment, ranks, partition)
    return Simulation(experiment, ranks, partition)


def make_footprint(
    experiment: Experiment, n_ranks: int, rates_hz: Mapping[str, float]
) -> Footprint | CodingFootprint:
    """Reckon what an experiment takes, of whatever kind its network is; arguments as for these."""
    if isinstance(experiment, CodingExperiment):
        return CodingFootprint(experiment, n_ranks, rates_hz)
    return Footprint(experiment, n_ranks, rates_hz)
