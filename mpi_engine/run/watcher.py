"""The watcher: a thread beside the loop that owns signals, the clock, the heartbeat and the progress line.

A block runs for many steps without Python, and without the interpreter's lock. The watcher reads the counters that the
block leaves in memory, and sets the status word that its next exchange carries to everyone, so that all ranks stop
after the same step, whatever the block's length. Between blocks the ranks ask each other: see `Watcher.why_to_stop`.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import psutil

from mpi_engine.network.ranks import Ranks
from mpi_engine.run.walltime import WRITES, WallTime

if TYPE_CHECKING:    # this module is loaded before MPI, h5py after it
    from mpi_engine.run.directory import RunDirectory
    from mpi_engine.run.stepping import Stepping

STOP, CHECKPOINT = 1, 2
"""Status words: stop after this step; write a checkpoint after it and go on. Kernels of a step raise others."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Signals that ask for a stop; a second one ends the process at once."""

STOP_FILE = "stop"
"""A file of this name in the run directory asks for a stop too."""

STOP_COMMAND = "steelyard stop"
"""Reason of a stop that was asked for by that file."""

WATCHDOG_S = 600.0
"""Where nothing is finished for so long [s], a rank shows what it waits for, if nobody says otherwise."""

_ONE_REQUEST_S = 1.0
"""Signals within so long [s] after the first are the same request: a launcher may pass one on along two ways."""

_KEPT_FROM_RUNNING_S = 30.0
"""A watcher that is so late [s] to see a stall is kept from running, and the stacks are printed without it."""

_STANDARD_ERROR = 2
_HEARTBEAT_S = 0.5
_FIRST_LINE_S, _LONGEST_LINE_S = 2.0, 60.0

log = logging.getLogger("steelyard")


def hold_signals() -> None:
    """Keep signals that ask for a stop waiting until a watcher takes them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


class Watcher:
    """Watches a simulation from a thread of its own, as a context.

    Parameters
    ----------
    directory : RunDirectory, optional
        Where the heartbeat goes; on rank 0 only, whose clock decides for all.
    ranks : Ranks
        Who takes part.
    wall_time : WallTime, optional
        The job's time limit.
    watchdog_s : float
        Time [s] without a finished step, or phase, after which this rank's stacks are printed, once.
    """

    def __init__(
        self,
        directory: RunDirectory | None,
        ranks: Ranks,
        wall_time: WallTime | None = None,
        watchdog_s: float = WATCHDOG_S,
    ) -> None:
        self._directory, self._ranks, self._watchdog_s = directory, ranks, watchdog_s
        self._wall_time = wall_time if ranks.is_first else None
        self._simulation: Stepping | None = None
        self._phase, self._entered_at = "building", time.monotonic()
        self._running_since: tuple[float, int] | None = None
        self._last_status: dict[str, Any] = {}
        self._word, self._word_lock = 0, threading.Lock()
        self._reason: str | None = None
        self._first_signal_at: float | None = None
        self._checkpoint_at = time.monotonic()
        self._finished, self._finished_at, self._stalled = ("", -1), time.monotonic(), False
        self._done = threading.Event()
        self._signals, self._wakeup = socket.socketpair()
        self._handlers: dict[int, Any] = {}
        self._held: set[signal.Signals | int] = set()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)

    def __enter__(self) -> Self:
        """Start to watch."""
        self._signals.setblocking(False)
        self._wakeup.setblocking(False)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            # the thread hears of the signal at once; Python's own handler would wait for the end of the block
            self._handlers[number] = signal.signal(number, lambda *_: None)
        self._thread.start()
        self._held = signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
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
        faulthandler.cancel_dump_traceback_later()
        # those that were kept waiting before are so again: one that comes late must not change the exit code
        signal.pthread_sigmask(signal.SIG_SETMASK, self._held)
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        with suppress(OSError):    # of a full disk, the writers tell
            self._beat()

    def enter(self, phase: str, simulation: Stepping | None = None) -> None:
        """Say what the rank does from now on; with a simulation, watch that.

        What a write took is what the time limit leaves for the next; after a checkpoint none is wanted for a while.
        """
        left, took_s = self._phase, time.monotonic() - self._entered_at
        if self._wall_time is not None and left in WRITES:
            self._wall_time.note_duration(left, took_s)
        self._simulation = simulation or self._simulation
        self._phase, self._entered_at = phase, time.monotonic()
        if phase == "running" and self._running_since is None and self._simulation is not None:
            self._running_since = (time.monotonic(), self._simulation.step)
            self._checkpoint_at = time.monotonic()
            if self._wall_time is not None:
                self._wall_time.begin()
        if left == "checkpointing":
            self._checkpoint_at = time.monotonic()
            self._set_word(0, clear=CHECKPOINT)
        else:
            self._set_word(0)

    def why_to_stop(self) -> str | None:
        """Collective. Say why all ranks should stop, if any of them has been asked to.

        Returns
        -------
        str or None
            What was asked for on the lowest such rank.
        """
        return next((reason for reason in self._ranks.gather(self._reason) if reason is not None), None)

    def _watch(self) -> None:
        try:
            next_line, line_interval, told = time.monotonic() + _FIRST_LINE_S, _FIRST_LINE_S, ""
            while not self._done.is_set():
                readable, _, _ = select.select([self._signals], [], [], _HEARTBEAT_S)
                if readable:
                    self._heed(self._signals.recv(64))
                self._look_for_stall()
                try:
                    self._look_at_clock()
                    self._look_for_file()
                    self._beat()
                except OSError as error:     # a full disk must not end the watch for signals
                    if str(error) != told:
                        log.warning("no heartbeat: %s", error)
                    told = str(error)
                if self._phase == "running" and time.monotonic() >= next_line:
                    self._log_progress()
                    line_interval = min(2 * line_interval, _LONGEST_LINE_S)
                    next_line = time.monotonic() + line_interval
        except Exception:    # nobody would hear of a signal any more
            print(f"steelyard: rank {self._ranks.rank} cannot watch\n{traceback.format_exc()}", file=sys.stderr,
                  flush=True)
            os._exit(70)

    def _heed(self, numbers: bytes) -> None:
        for number in numbers:
            if number not in SIGNALS:
                continue
            name, now = signal.Signals(number).name, time.monotonic()
            if self._first_signal_at is None:
                self._first_signal_at = now
                self._stop_for(f"{name} to rank {self._ranks.rank}")
            elif now - self._first_signal_at > _ONE_REQUEST_S:
                os._exit(128 + number)

    def _look_at_clock(self) -> None:
        wall_time, simulation = self._wall_time, self._simulation
        if wall_time is not None and wall_time.is_up:
            self._stop_for(f"the time limit, {max(wall_time.left_s, 0.0):.0f} s away")
        if simulation is None or not self._ranks.is_first or self._phase != "running":
            return
        if time.monotonic() - self._checkpoint_at >= simulation.experiment.run.checkpoint_every_wall_s:
            self._set_word(CHECKPOINT)

    def _look_for_file(self) -> None:
        if self._directory is None:
            return
        request = self._directory.path / STOP_FILE
        if request.exists():
            request.unlink()
            self._stop_for(STOP_COMMAND)

    def _stop_for(self, reason: str) -> None:
        """Ask all ranks for a stop, unless that was done."""
        if self._reason is None and self._phase not in ("finishing", "stopped", "done"):
            self._reason = reason
            log.warning("%s: stopping after this step; a second signal stops at once", reason)
            self._set_word(STOP)

    def _set_word(self, word: int, clear: int = 0) -> None:
        """Raise a status word of this rank and clear another, from either thread."""
        with self._word_lock:
            self._word = (self._word | word) & ~clear
            if self._simulation is not None:
                status = self._simulation.exchange.status
                status[0] = (status[0] & ~(STOP | CHECKPOINT)) | self._word

    def _look_for_stall(self) -> None:
        """Print this rank's stacks where nothing has been finished for too long."""
        step = -1 if self._simulation is None else int(self._simulation.progress[0])
        finished = (self._phase, step)
        if finished != self._finished:
            self._finished, self._finished_at, self._stalled = finished, time.monotonic(), False
            faulthandler.dump_traceback_later(self._watchdog_s + _KEPT_FROM_RUNNING_S, file=_STANDARD_ERROR)
        elif not self._stalled and time.monotonic() - self._finished_at >= self._watchdog_s:
            self._stalled = True
            faulthandler.cancel_dump_traceback_later()
            log.error("rank %d has finished nothing for %g s while %s; its stacks are on standard error",
                      self._ranks.rank, self._watchdog_s, self._phase)
            faulthandler.dump_traceback(file=_STANDARD_ERROR)

    def _beat(self) -> None:
        if self._directory is not None:
            self._last_status = self._status()
            self._directory.write_status(self._last_status)

    def _status(self) -> dict[str, Any]:
        status: dict[str, Any] = {
            "phase": self._phase,
            "memory_mb": round(psutil.Process().memory_info().rss / 1e6, 1),
        }
        if self._reason is not None:
            status["stopped_for"] = self._reason
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
