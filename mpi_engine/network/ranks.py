"""The ranks of a simulation: who takes part, and what they tell each other outside the step.

Nothing here adds floating-point numbers across ranks: integers are summed, arrays are put together in the order of
ids. Everything works on one rank without MPI.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from mpi_engine.first_rank import on_first

T = TypeVar("T")

MESSAGE_BYTES = 2**27
"""Upper bound of a single message."""

DEBUG = "STEELYARD_DEBUG_COLLECTIVES"
"""Variable of the environment that, if it is 1, has every collective compared before it is called."""

_POLL_S = 0.01


class LaunchError(RuntimeError):
    """The ranks were not started as was meant."""


class Ranks:
    """All ranks of a simulation, seen from one of them.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm, optional
        The communicator; without it there is one rank, and MPI is not touched.
    """

    def __init__(self, comm: Any = None) -> None:
        self.comm = comm
        self.rank: int = comm.rank if comm is not None else 0
        self.size: int = comm.size if comm is not None else 1
        self._compiled: Any = None
        self._windows: list[Any] = []

    @classmethod
    def world(cls) -> Ranks:
        """Collective. Join the ranks that the launcher started; without a launcher, be alone and leave MPI alone.

        Raises
        ------
        LaunchError
            If the launcher started several processes that do not see each other.
        """
        meant = launched_size()
        if meant is None:
            return cls()
        try:
            from mpi4py import MPI  # noqa: PLC0415  (MPI starts at the import)
        except (ImportError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise LaunchError(
                f"a launcher started {meant} ranks, but MPI does not work here ({reason}); "
                "install it with `pip install steelyard[mpi]`, or start one rank without mpirun"
            ) from None
        size: int = MPI.COMM_WORLD.size
        if size != meant:
            raise LaunchError(
                f"the launcher meant {meant} ranks, but this world has size {size}: its MPI and the one of mpi4py "
                f"({MPI.Get_library_version().splitlines()[0].strip()}) differ; use the mpirun of that MPI"
            )
        if size == 1:
            return cls()
        if os.environ.get(DEBUG) == "1":
            from mpi_engine.network.collectives import NumberedCommunicator  # noqa: PLC0415
            return cls(NumberedCommunicator(MPI.COMM_WORLD))
        return cls(MPI.COMM_WORLD)

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def barrier(self) -> None:
        """Collective. Wait for all."""
        if self.comm is not None:
            self.comm.Barrier()

    def meet(self, name: str) -> None:
        """Collective. In the debug mode, make sure that all ranks go into the same compiled code together."""
        if hasattr(self.comm, "meet"):
            self.comm.meet(name)

    def arrive(self, within_s: float) -> bool:
        """Collective, or not: say whether all ranks get here within some time [s], or others are somewhere else.

        After the latter, the job can only be aborted.
        """
        if self.comm is None:
            return True
        return _wait(self.comm.Ibarrier(), time.monotonic() + within_s)

    def one_per_node_first(self, action: Callable[[], None]) -> None:
        """Collective. Do something on one rank of each node, then on the others."""
        if self.comm is None:
            action()
            return
        from mpi4py import MPI  # noqa: PLC0415
        node = self.comm.Split_type(MPI.COMM_TYPE_SHARED)
        if node.rank == 0:
            action()
        _wait(node.Ibarrier())
        if node.rank > 0:
            action()
        node.Free()

    def on_first(self, action: Callable[[], T]) -> T:
        """Collective. Do something on rank 0; its result, or its exception, is every rank's."""
        return on_first(self.comm, action)

    def broadcast(self, value: Any) -> Any:
        """Collective. Give everyone rank 0's Python object."""
        return value if self.comm is None else self.comm.bcast(value)

    def gather(self, value: Any) -> list[Any]:
        """Collective. Give everyone the Python objects of all ranks, by rank."""
        return [value] if self.comm is None else list(self.comm.allgather(value))

    def maximum(self, value: int) -> int:
        """Collective. Largest of the ranks' integers."""
        return value if self.comm is None else max(self.comm.allgather(value))

    def sum(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Collective. Sum arrays of integers over the ranks, exactly."""
        if self.comm is None:
            return counts
        total = np.empty_like(counts)
        self.comm.Allreduce(np.ascontiguousarray(counts), total)
        return total

    def concatenate(self, block: NDArray[Any]) -> NDArray[Any]:
        """Collective. Put the ranks' blocks together along the first axis, in the order of ranks and so of ids."""
        if self.comm is None:
            return block
        block = np.ascontiguousarray(block)
        lengths = self.comm.allgather(block.shape[0])
        whole = np.empty((sum(lengths), *block.shape[1:]), block.dtype)
        start = 0
        for root, length in enumerate(lengths):
            part = whole[start : start + length]
            if root == self.rank:
                part[...] = block
            self._broadcast_array(part, root)
            start += length
        return whole

    def _broadcast_array(self, array: NDArray[Any], root: int) -> None:
        raw = array.reshape(-1).view(np.uint8)
        for start in range(0, raw.size, MESSAGE_BYTES):
            self.comm.Bcast(raw[start : start + MESSAGE_BYTES], root)

    def shared_memory(self, n_bytes: int) -> NDArray[np.uint8]:
        """Collective. Make memory that every rank reads and writes, all zeros, and kept as long as the ranks.

        Empty on one rank, if the ranks are not all of one node, and in the debug mode.
        """
        if self.comm is None or hasattr(self.comm, "meet"):
            return np.empty(0, np.uint8)
        from mpi4py import MPI  # noqa: PLC0415
        node = self.comm.Split_type(MPI.COMM_TYPE_SHARED)
        if node.size < self.size:     # on all ranks, or on none
            node.Free()
            return np.empty(0, np.uint8)
        window = MPI.Win.Allocate_shared(n_bytes if node.rank == 0 else 0, 1, comm=node)
        memory = np.asarray(window.Shared_query(0)[0]).view(np.uint8)
        if node.rank == 0:
            memory[:] = 0
        node.Barrier()
        node.Free()
        self._windows.append(window)
        return memory

    def handles(self) -> NDArray[np.uint64]:
        """Collective. What compiled code needs to call MPI.

        The address of MPI_Allgather, a communicator, the type of int32, and the address of MPI_Iprobe; zeros on one
        rank. An error ends the job: mpi4py lets calls return what it makes an exception of, and compiled code would go
        on.
        """
        if self.comm is None:
            return np.zeros(4, np.uint64)
        from mpi4py import MPI  # noqa: PLC0415
        if self._compiled is None:
            self._compiled = MPI.Intracomm(self.comm).Dup()
            self._compiled.Set_errhandler(MPI.ERRORS_ARE_FATAL)
        library = ctypes.CDLL(MPI.__file__)
        allgather, probe = (ctypes.cast(function, ctypes.c_void_p).value
                            for function in (library.MPI_Allgather, library.MPI_Iprobe))
        return np.array([allgather, MPI._handleof(self._compiled), MPI._handleof(MPI.INT32_T), probe], np.uint64)

    def abort(self, code: int) -> NoReturn:
        """End all ranks at once."""
        if self.comm is not None:
            self.comm.Abort(code)
        os._exit(code)


def _wait(request: Any, until: float = float("inf")) -> bool:
    """Wait for a request, at the longest until a time [s]; say whether it is done."""
    while not (done := bool(request.Test())) and time.monotonic() < until:
        time.sleep(_POLL_S)    # a blocking wait spins, and takes the core from one that works
    return done


_SIZE_VARIABLES: Sequence[str] = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS", "MV2_COMM_WORLD_SIZE")


def launched_size() -> int | None:
    """Read from the environment how many processes a launcher started together; None without a launcher."""
    sizes = [int(os.environ[name]) for name in _SIZE_VARIABLES if os.environ.get(name, "").isdigit()]
    return max(sizes, default=None)
