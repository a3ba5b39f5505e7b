"""The dynamic state, variable by variable: where each lives in memory, and what a checkpoint holds of it.

A checkpoint has every variable whole, along axis 0 in the order of global ids, or of synapses by target, then source.
A rank gives and takes the rows of its own neurons, so that the state fits any number of ranks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mpi_engine.network.ranks import Ranks
from mpi_engine.network.rows import Rows, ends_of, order_by_source, order_by_target
from mpi_engine.output.layout import Record

Read = Callable[[str, int, int], NDArray[Any]]
"""Gives the rows from start to stop of a saved variable, by its path."""


@dataclass(frozen=True)
class Variable:
    """A variable of a rank's neurons.

    Parameters
    ----------
    path : str
        Name in the checkpoint.
    values : ndarray, shape (n, ...)
        Where it lives; a view is enough.
    first, size : int
        Index of the rank's first row in the whole, and the rows of that.
    """

    path: str
    values: NDArray[Any]
    first: int
    size: int

    def give(self) -> NDArray[Any] | None:
        """Rows that this rank saves; None if others save them."""
        return self.values

    def take(self, rows: NDArray[Any]) -> None:
        """Set the variable to what was saved."""
        self.values[...] = rows

    def record(self) -> Record:
        """Collective. Describe the variable for a checkpoint."""
        shape = (self.size, *self.values.shape[1:])
        start = (self.first, *(0 for _ in shape[1:]))
        return Record(self.path, shape, self.values.dtype, grows=False, start=start, values=self.give())

    def restore(self, read: Read) -> None:
        """Set the variable to this rank's rows of what was saved."""
        self.take(read(self.path, self.first, self.first + self.values.shape[0]))


@dataclass(frozen=True)
class Common(Variable):
    """A variable that every rank has whole, and all have alike."""

    ranks: Ranks

    @classmethod
    def of(cls, path: str, values: NDArray[Any], ranks: Ranks) -> Self:
        """Describe an array."""
        return cls(path, values, 0, values.shape[0], ranks)

    def give(self) -> NDArray[Any] | None:
        """Rows that this rank saves."""
        return self.values if self.ranks.is_first else None


@dataclass(frozen=True)
class Total(Common):
    """Counts of which every rank has its share; afterwards rank 0 has all."""

    def give(self) -> NDArray[Any] | None:
        """Collective. Sum of all shares."""
        total = self.ranks.sum(self.values)
        return total if self.ranks.is_first else None

    def take(self, rows: NDArray[Any]) -> None:
        """Leave everything to rank 0."""
        self.values[...] = rows if self.ranks.is_first else 0


@dataclass(frozen=True)
class Synapses(Variable):
    """A number for each synapse of a projection, named: in memory by source, in the checkpoint by target."""

    name: str
    rows: Rows
    in_degree: NDArray[np.int64]

    def ends(self, synapses: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ids of the sources, and local indices of the targets, of synapses given by their places in memory."""
        return ends_of(self.rows, synapses)

    def give(self) -> NDArray[Any]:
        """Numbers of this rank's synapses, by target, then source."""
        rows = np.empty_like(self.values)
        order_by_target(self.rows, self._begins, self.values, rows)
        return rows

    def take(self, rows: NDArray[Any]) -> None:
        """Set the numbers to those given by target, then source."""
        order_by_source(self.rows, self._begins, rows, self.values)

    @property
    def _begins(self) -> NDArray[np.int64]:
        """Where the synapses onto each of the rank's targets begin, by target."""
        return np.cumsum(self.in_degree) - self.in_degree


def of_neurons(path: str, values: NDArray[Any], first: int, size: int) -> Variable:
    """Describe an array with the rank's neurons along its last axis."""
    return Variable(path, np.moveaxis(values, -1, 0), first, size)
