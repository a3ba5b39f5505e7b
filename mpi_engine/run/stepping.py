"""What a simulation of any kind is to the job that advances, watches and saves it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpi_engine.compiled import build
from mpi_engine.dynamics.functions import find_what_does_not_compile
from mpi_engine.dynamics.stopwatch import Stopwatch
from mpi_engine.experiment import Experiment, ExperimentError
from mpi_engine.network.partition import Partition
from mpi_engine.network.ranks import LaunchError, Ranks
from mpi_engine.output.layout import Record
from mpi_engine.run.state import Read, Synapses, Variable


class Stepping(ABC):
    """One simulation on a rank, advanced from event to event.

    Attributes
    ----------
    experiment : Experiment
        What is simulated.
    ranks : Ranks
        Who takes part.
    partition : Partition
        Who has which neuron.
    step : int
        Steps done.
    progress : ndarray of int64, shape (1 + n_populations,)
        Steps done and spikes of each population since the start, kept up to date inside a block.
    exchange : named tuple
        The buffers of the step's collective. Its ``status``, shape (1,), is this rank's status word, which the next
        exchange carries to everyone; it may be set from another thread.
    stopwatch : Stopwatch
        Where the time of `advance` goes.
    state : list of Variable
        The whole dynamic state at the end of a step; what is learned may lag behind the spikes since: see `save`.
    """

    experiment: Experiment
    ranks: Ranks
    partition: Partition
    step: int
    progress: NDArray[np.int64]
    exchange: Any
    stopwatch: Stopwatch
    state: list[Variable]

    @property
    @abstractmethod
    def n_synapses(self) -> int:
        """Collective. Number of synapses of the whole network."""

    @abstractmethod
    def compile(self) -> None:
        """Collective. Load the kernels, compiled by one rank a node if they are not in the cache."""

    @abstractmethod
    def start(self) -> None:
        """Collective. Begin at step 0."""

    @abstractmethod
    def advance(self, last: int) -> int:
        """Collective. Do steps up to a given one, or to where records are full or a status word is raised.

        Returns
        -------
        int
            The status words of all ranks, or-ed; zero if none was raised.
        """

    @property
    @abstractmethod
    def is_full(self) -> bool:
        """Whether the records must be taken before the next step."""

    @abstractmethod
    def take_records(self) -> list[Record]:
        """Collective. Records of what was completed since the last call, for a segment."""

    @abstractmethod
    def save(self) -> list[Record]:
        """Collective. The whole dynamic state after the last step, right after its records were taken.

        Returns
        -------
        list of Record
            In the order of global ids, the same on any number of ranks.
        """

    @abstractmethod
    def present_synapses(self) -> list[Synapses]:
        """What is learned, by synapse, up to date to the last step."""

    @abstractmethod
    def restore(self, read: Read) -> None:
        """Collective. Take over a saved state, in the place of `start`.

        Parameters
        ----------
        read : callable
            ``read(path, start, stop)`` gives the rows from start to stop of a record of `save`.
        """


def require_compilable(experiment: Experiment, ranks: Ranks) -> None:
    """Collective. Raise `ExperimentError` if a function of the user's cannot be compiled."""
    problems = ranks.broadcast(find_what_does_not_compile(experiment) if ranks.is_first else [])
    if problems:
        raise ExperimentError(problems)


def require_same_build(ranks: Ranks) -> None:
    """Collective. Raise `LaunchError` if ranks differ in the engine, versions or CPU type: their bits could differ."""
    builds = ranks.gather(build())
    if len(set(builds)) > 1:
        other = next(rank for rank, build in enumerate(builds) if build != builds[0])
        raise LaunchError(
            f"rank {other} differs from rank 0 in Steelyard's version, its packages or its CPU type, and so could "
            "differ in its results; start all ranks on one type of node from one installation"
        )
