"""Which rank has which neurons: every population is cut into contiguous blocks, one a rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Partition:
    """The cut of every population, and of every input train.

    Parameters
    ----------
    cuts : mapping of str to sequence of int
        For each, the first id of every rank's block, then its size: n_ranks + 1 ascending numbers from 0.
    """

    cuts: Mapping[str, Sequence[int]]

    @classmethod
    def even(cls, sizes: Mapping[str, int], n_ranks: int) -> Partition:
        """Cut populations of given sizes into blocks that differ by one neuron at most."""
        return cls({name: [size * rank // n_ranks for rank in range(n_ranks + 1)] for name, size in sizes.items()})

    def span(self, name: str, rank: int) -> tuple[int, int]:
        """First id of a rank's block of a population, and the first beyond it."""
        return self.cuts[name][rank], self.cuts[name][rank + 1]

    def count(self, name: str, rank: int) -> int:
        """Number of a rank's neurons of a population."""
        first, last = self.span(name, rank)
        return last - first
