"""The watcher: a thread beside the loop that owns signals, the heartbeat and the progress line.

A block runs for many steps without Python, and without the interpreter's lock. The watcher reads the counters that the
block leaves in memory, and sets the status word that its next exchange carries to everyone, so that all ranks stop
after the same step, whatever the block's length.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import threading
import time
from types import TracebackType
from typing import Any, Self

import psutil

from mpi_engine.run.directory import RunDirectory
from mpi_engine.run.stepping import Stepping

STOP, CHECKPOINT, UNHEALTHY = 1, 2, 4
"""Status words, or-ed: stop after this step with a checkpoint; write one and go on; stop because something is wrong."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Signals that ask for a stop; a second one ends the process at once."""

_HEARTBEAT_S = 0.5
_FIRST_LINE_S, _LONGEST_LINE_S = 2.0, 60.0

log = logging.getLogger("steelyard")


class Watcher:
    """Watches a simulation from a thread of its own, as a context.

    Parameters
    ----------
    directory : RunDirectory, optional
        Where the heartbeat goes; on rank 0 only.
    """

    def __init__(self, directory: RunDirectory | None) -> None:
        self._directory = directory
        self._simulation: Stepping | None = None
        self._phase = "building"
        self._running_since: tuple[float, int] | None = None
        self._last_checkpoint = time.monotonic()
        self._last_status: dict[str, Any] = {}
        self._done = threading.Event()
        self._signals, self._wakeup = socket.socketpair()
        self._handlers: dict[int, Any] = {}
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self.stop_signal: int | None = None

    def __enter__(self) -> Self:
        """Start to watch."""
        self._signals.setblocking(False)
        self._wakeup.setblocking(False)
        signal.set_wakeup_fd(self._wakeup.fileno())
        for number in SIGNALS:
            # the thread hears of the signal at once; Python's own handler would wait for the end of the block
            self._handlers[number] = signal.signal(number, lambda *_: None)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching, with a last heartbeat."""
        if kind is not None:
            self._phase = "failed"
        self._done.set()
        self._wakeup.send(b"\0")
        self._thread.join()
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._beat()

    def enter(self, phase: str, simulation: Stepping | None = None) -> None:
        """Say what the rank does now; with a simulation, watch that from now on."""
        self._simulation = simulation or self._simulation
        self._phase = phase
        if phase == "running" and self._running_since is None and self._simulation is not None:
            self._running_since = (time.monotonic(), self._simulation.step)
            self.note_checkpoint()
        self._pass_on()

    def note_checkpoint(self) -> None:
        """Count the time to the next checkpoint from now."""
        self._last_checkpoint = time.monotonic()

    def _watch(self) -> None:
        next_line, line_interval = time.monotonic() + _FIRST_LINE_S, _FIRST_LINE_S
        while not self._done.is_set():
            readable, _, _ = select.select([self._signals], [], [], _HEARTBEAT_S)
            if readable:
                self._heed(self._signals.recv(64))
            try:
                self._beat()
            except OSError as error:     # a full disk must not end the watch for signals
                log.warning("no heartbeat: %s", error)
            self._ask_for_checkpoint()
            if self._phase == "running" and time.monotonic() >= next_line:
                self._log_progress()
                line_interval = min(2 * line_interval, _LONGEST_LINE_S)
                next_line = time.monotonic() + line_interval

    def _heed(self, numbers: bytes) -> None:
        for number in numbers:
            if number not in SIGNALS:
                continue
            if self.stop_signal is not None:
                os._exit(128 + number)
            self.stop_signal = number
            log.warning("%s: stopping after this step; a second signal stops at once", signal.Signals(number).name)
            self._pass_on()

    def _pass_on(self) -> None:
        if self.stop_signal is not None and self._simulation is not None:
            self._simulation.exchange.status[0] |= STOP

    def _ask_for_checkpoint(self) -> None:
        """Raise the status word on rank 0 when the last checkpoint is too long ago."""
        if self._directory is None or self._simulation is None or self._phase != "running":
            return
        if time.monotonic() - self._last_checkpoint > self._simulation.experiment.run.checkpoint_every_wall_s:
            self._simulation.exchange.status[0] |= CHECKPOINT

    def _beat(self) -> None:
        if self._directory is not None:
            self._last_status = self._status()
            self._directory.write_status(self._last_status)

    def _status(self) -> dict[str, Any]:
        status: dict[str, Any] = {
            "phase": self._phase,
            "memory_mb": round(psutil.Process().memory_info().rss / 1e6, 1),
        }
        simulation = self._simulation
        if simulation is None:
            return status
        e, step = simulation.experiment, int(simulation.progress[0])
        status |= {"ranks": simulation.ranks.size, "step": step, "n_steps": e.n_steps}
        status |= {"time_ms": step * e.run.dt_ms, "duration_ms": e.run.duration_ms}
        if self._running_since is not None and step > self._running_since[1]:
            since, first_step = self._running_since
            biological_s = (step - first_step) * e.run.dt_ms * 1e-3
            speed = biological_s / (time.monotonic() - since)
            status |= {"speed": speed, "remaining_s": (e.n_steps - step) * e.run.dt_ms * 1e-3 / speed}
            rates = simulation.progress[1:] / (step * e.run.dt_ms * 1e-3)
            sizes = e.sizes
            status["rates_hz"] = {
                name: round(rate / sizes[name], 3) for name, rate in zip(sizes, rates.tolist(), strict=True)
            }
        return status

    def _log_progress(self) -> None:
        status = self._last_status
        if "speed" not in status:
            return
        rates = ", ".join(f"{name} {rate:.2f}" for name, rate in status["rates_hz"].items())
        log.info(
            "step %d of %d, %.1f of %.1f s, %.2f biological seconds a second, %.0f s remaining, rates %s Hz",
            status["step"], status["n_steps"], status["time_ms"] * 1e-3, status["duration_ms"] * 1e-3,
            status["speed"], status["remaining_s"], rates,
        )
