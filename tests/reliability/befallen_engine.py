"""An engine to which something happens in a phase, on a rank: ``befallen_engine.py EVENT PHASE RANK NOTE ARGUMENT...``.

The event is ``raise``, an exception; ``refuse``, an error that all ranks have together as a rule; or names of signals
that the rank gets, as in ``SIGTERM`` or ``SIGUSR1,SIGINT``: each after the one before was heeded, and is long enough
ago to be another request. Its time is left in the file NOTE.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

event, phase, rank, note, *arguments = sys.argv[1:]
sys.argv = ["mpi_engine", *arguments]

from mpi_engine import __main__ as door  # noqa: E402
from mpi_engine.run import watcher  # noqa: E402

heeded = threading.Event()


def heed(self: Any, numbers: bytes) -> None:
    original_heed(self, numbers)
    heeded.set()


original_heed, watcher.Watcher._heed = watcher.Watcher._heed, heed


def befall() -> None:
    Path(note).write_text(str(time.time()))
    if event == "raise":
        raise RuntimeError("injected")
    if event == "refuse":
        from mpi_engine.output.integrity import RunError  # noqa: PLC0415
        raise RunError("injected")
    for name in event.split(","):
        if heeded.is_set():
            heeded.clear()
            time.sleep(2 * watcher._ONE_REQUEST_S)
        os.kill(os.getpid(), signal.Signals[name])
        heeded.wait()


def befallen(original: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*arguments: Any, **named: Any) -> Any:
        if not Path(note).exists():
            befall()
        return original(*arguments, **named)

    return wrapped


def prepare() -> None:
    """Put the event before what begins the phase."""
    from mpi_engine.run import job  # noqa: PLC0415
    from mpi_engine.run.simulation import Simulation  # noqa: PLC0415

    owner, name = {
        "building": (Simulation, "_build_network"),
        "compiling": (Simulation, "_compile"),
        "running": (Simulation, "advance"),
        "writing": (job, "seal"),
        "checkpointing": (Simulation, "save"),
        "finishing": (job, "consolidate"),
    }[phase]
    setattr(owner, name, befallen(getattr(owner, name)))


if int(os.environ.get("OMPI_COMM_WORLD_RANK", "0")) == int(rank):
    # MPI is loaded before h5py
    original_do = door._do
    door._do = lambda *given: (prepare(), original_do(*given))[1]
sys.exit(door.main())
