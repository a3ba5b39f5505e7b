"""Collectives that are numbered and compared, so that ranks which diverge fail instead of waiting for each other."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from mpi4py import MPI

_CARRIERS = {__name__, "mpi_engine.network.ranks", "mpi_engine.first_rank"}
"""Modules that call a collective for somebody else."""


class DivergenceError(RuntimeError):
    """Ranks that have called different collectives."""


class NumberedCommunicator(MPI.Intracomm):
    """A communicator whose ranks compare number, name and caller of every collective before it.

    What is compared travels on a communicator of its own. Two ranks agree if they call the same collective from the
    same function: not from the same line, as rank 0 and the others may take different ones.

    Parameters
    ----------
    comm : MPI.Intracomm
        The communicator that is meant.

    Attributes
    ----------
    number : int
        Collectives that were compared.
    """

    number: int
    _aside: MPI.Intracomm

    def __new__(cls, comm: MPI.Intracomm) -> NumberedCommunicator:
        """Collective. Take over the handle of a communicator."""
        made: NumberedCommunicator = super().__new__(cls, comm)
        made.number = 0
        made._aside = comm.Dup()
        return made

    def meet(self, name: str) -> None:
        """Collective. Compare what the ranks are about to do together.

        Raises
        ------
        DivergenceError
            On every rank, naming two ranks and what they do, if that differs.
        """
        self.number += 1
        calls = self._aside.allgather(f"collective {self.number}, {name} in {_caller()}")
        for rank, call in enumerate(calls):
            if call != calls[0]:
                raise DivergenceError(f"the ranks have diverged: rank 0 is at {calls[0]}, rank {rank} at {call}")


def _caller() -> str:
    """Name the function outside of this module and of `Ranks` that a collective is called from."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals["__name__"] in _CARRIERS:
        frame = frame.f_back
    return f"{frame.f_globals['__name__']}.{frame.f_code.co_qualname}"


def _numbered(name: str) -> Callable[..., Any]:
    operation = getattr(MPI.Intracomm, name)

    @wraps(operation)
    def compared(self: NumberedCommunicator, *arguments: Any, **named: Any) -> Any:
        self.meet(name)
        return operation(self, *arguments, **named)

    return compared


for _name in ("Barrier", "bcast", "Bcast", "gather", "allgather", "Allgatherv", "allreduce", "Allreduce", "Split_type"):
    setattr(NumberedCommunicator, _name, _numbered(_name))
