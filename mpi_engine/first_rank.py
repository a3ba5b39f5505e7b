"""What rank 0 does for all ranks. Beneath both the network and the output, neither of which knows the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

T = TypeVar("T")


def on_first(comm: Any, action: Callable[[], T]) -> T:
    """Collective. Do something on rank 0; its result, or its exception, is every rank's.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or None
        The ranks; None is one rank without MPI.
    action : callable
        What to do; its result, or its exception, can be pickled.

    Returns
    -------
    object
        What the action returned.
    """
    if comm is None:
        return action()
    outcome: T | Exception | None = None
    if comm.rank == 0:
        try:
            outcome = action()
        except Exception as error:
            outcome = error
    outcome = comm.bcast(outcome)
    if isinstance(outcome, Exception):
        raise outcome
    return cast(T, outcome)
