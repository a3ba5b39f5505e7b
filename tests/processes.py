"""Processes that tests start: waited for as long as it takes, held where they are, and gone in the end."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from os import getsid
from pathlib import Path
from typing import TypeVar

import psutil

PATIENCE_S = 1200.0
"""So long [s] a test waits for anything: that it comes is what counts, not the speed of the machine."""

_STOPPING = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1}

T = TypeVar("T")


def wait_for(condition: Callable[[], T], what: str = "what was waited for", every_s: float = 0.02) -> T:
    """Wait until something is so, looking every so often [s], and return what the condition then gives."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(every_s)
    return found


def command_of(process: psutil.Process) -> list[str]:
    """Words of a process's command line; none if it has ended."""
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


def is_gone(process: psutil.Process) -> bool:
    """Whether a process has ended, even if its parent has not taken note of that yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for_end(processes: Iterable[psutil.Process]) -> None:
    """Wait until processes have ended, whoever their parents are."""
    left = list(processes)
    wait_for(lambda: all(map(is_gone, left)), f"the end of {left}")


def living(session: int) -> list[psutil.Process]:
    """Processes of a session that have not ended."""
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError):
            if getsid(process.pid) == session and not is_gone(process):
                found.append(process)
    return found


@contextmanager
def held(process: psutil.Process) -> Iterator[psutil.Process]:
    """Let a process stand still, so that it cannot end before what is to happen to it meanwhile."""
    process.suspend()
    try:
        yield process
    finally:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def is_asked_to_stop(process: psutil.Process) -> bool:
    """Whether a signal to stop waits for a process that is held, or has been there and ended it."""
    try:
        told = Path(f"/proc/{process.pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    waiting = [int(mask, 16) for mask in re.findall(r"^S[hi][dg]Pnd:\s*(\w+)$", told, re.M)]
    return is_gone(process) or any(mask >> (number - 1) & 1 for mask in waiting for number in _STOPPING)
