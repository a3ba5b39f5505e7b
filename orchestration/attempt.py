"""One attempt at a run: a task of a Dask worker, which starts an engine, looks after it, and writes down its end."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from distributed import Worker
from distributed.diagnostics.plugin import WorkerPlugin

from mpi_engine.run.directory import EXPERIMENT_FILE, living_holder
from orchestration.engine import Engine, Outcome
from orchestration.launcher import Launch, Launcher
from orchestration.ledger import Claim, Ledger, State
from orchestration.sweep import Member, Sweep

_POLL_S = 0.5
_FORMER_S = 120.0
_TEARDOWN_S = 60.0

_FAILURES = {Outcome.WRONG, Outcome.UNHEALTHY, Outcome.DAMAGED, Outcome.BUG}
"""What would happen again at the next attempt."""

_ending = threading.Event()
_running: set[str] = set()


@dataclass(frozen=True)
class Order:
    """What a worker needs to know for an attempt.

    Parameters
    ----------
    directory : Path
        The sweep's directory.
    member : str
        Id of the run.
    experiment : str
        What it simulates, resolved, as TOML.
    ranks : int
        Number of MPI ranks.
    after : int
        Number of the last attempt: see `Ledger.claim`.
    driver : str
        Who asks for it, and may ask it to stop.
    cancellation : str
        The sweep's last cancellation when it was ordered; a later one stops it.
    launcher : {"mpirun", "srun", "sbatch"}
        What starts the ranks.
    """

    directory: Path
    member: str
    experiment: str
    ranks: int
    after: int
    driver: str
    cancellation: str
    launcher: Launcher = "mpirun"

    @classmethod
    def of(cls, sweep: Sweep, member: Member, after: int, driver: str, cancellation: str) -> Self:
        """Order an attempt at a member of a sweep; raises `ExperimentError` if its experiment has changed."""
        experiment = sweep.experiment(member).to_toml()
        return cls(sweep.directory, member.id, experiment, sweep.ranks, after, driver, cancellation, sweep.launcher)

    @property
    def run_directory(self) -> Path:
        """Where the run is."""
        return self.directory / "runs" / self.member


def attempt(order: Order) -> None:
    """Begin a run or go on with it, unless somebody else has since; the ledger tells what became of it.

    An exit code of the engine's own is final (done, or failed with the reason), but for that of a stop at a checkpoint.
    All other ends are those of the machinery around it, and leave the run stopped.
    """
    ledger = Ledger(order.directory)
    if _requests(ledger, order) or (claim := ledger.claim(order.member, order.after)) is None:
        return
    _running.add(order.member)
    try:
        with tempfile.TemporaryFile() as noise:
            code, asked = _run(order, ledger, claim, noise)
            state, reason = _judge(code, asked, order.run_directory / "run.h5", noise)
    except BaseException as error:
        claim.end(State.STOPPED, f"{type(error).__name__}: {error}")
        raise
    else:
        claim.end(state, reason, code)
    finally:
        _running.discard(order.member)     # and the worker may close


class EnginesEnd(WorkerPlugin):
    """Lets the engines of a worker stop at checkpoints when it closes; if it is killed, the system ends them."""

    name = "steelyard-engines-end"
    idempotent = True     # a second driver does not put another in its place, which would end this one

    def setup(self, worker: Worker) -> None:
        """Leave the interrupts of a terminal to the driver."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    async def teardown(self, worker: Worker) -> None:
        """Wait for the engines to stop."""
        _ending.set()
        deadline = time.monotonic() + _TEARDOWN_S
        while _running and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_S / 5)


def _run(order: Order, ledger: Ledger, claim: Claim, noise: IO[bytes]) -> tuple[int, bool]:
    """Start an engine and look after it; return its exit code, and whether it was asked to stop."""
    _wait_for_former(order.run_directory, claim)
    with _Recipe(order) as launch, Engine(launch.command(), order.ranks, subprocess.DEVNULL, noise) as engine:
        while (code := engine.wait(_POLL_S)) is None:
            claim.beat()
            for _ in range(engine.requests, _requests(ledger, order)):
                engine.stop()
        return code, engine.requests > 0


def _requests(ledger: Ledger, order: Order) -> int:
    """Count the requests to stop this attempt, from whoever has a say."""
    others = _ending.is_set() or ledger.last_cancellation() != order.cancellation
    return max(ledger.requests_to_stop(order.driver), int(others))


def _wait_for_former(directory: Path, claim: Claim) -> None:
    """Wait until the engine of a lost attempt, which may be writing its checkpoint still, has let go of the run."""
    deadline = time.monotonic() + _FORMER_S
    while holder := living_holder(directory):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{directory} is held by {holder}; wait for its end, or stop it")
        claim.beat()
        time.sleep(_POLL_S / 5)


class _Recipe:
    """What an engine is started with: a file of its own for a new run, which is removed in the end."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._file = order.run_directory.with_suffix(".toml")

    def __enter__(self) -> Launch:
        order = self._order
        if (order.run_directory / EXPERIMENT_FILE).exists():
            return Launch(None, order.run_directory, order.ranks, launcher=order.launcher)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(order.experiment, encoding="utf-8")
        return Launch(self._file, order.run_directory, order.ranks, launcher=order.launcher)

    def __exit__(self, *_: object) -> None:
        self._file.unlink(missing_ok=True)


def _judge(code: int, asked: bool, run_file: Path, noise: IO[bytes]) -> tuple[State, str]:
    """Say what an exit code makes of a run, and why."""
    if code == Outcome.DONE:
        return (State.DONE, "") if run_file.exists() else (State.FAILED, f"ended without {run_file}")
    if code == Outcome.STOPPED:
        return State.STOPPED, "at a checkpoint"
    if code in _FAILURES:
        return State.FAILED, _last_words(noise)
    if asked:
        return State.STOPPED, "ended at once, as asked"
    if code - 128 in set(signal.Signals):    # a launcher has codes of its own up there
        return State.STOPPED, f"killed by {signal.Signals(code - 128).name}"
    return State.STOPPED, f"code {code}: {_last_words(noise)}"


def _last_words(noise: IO[bytes]) -> str:
    """Find the reason in what an engine and its launcher said: the engine's own lines, each once, or the last one."""
    noise.seek(0)
    lines = [line.decode(errors="replace").strip() for line in noise]
    own = [line.removeprefix("steelyard: ") for line in dict.fromkeys(lines) if line.startswith("steelyard: ")]
    before_launcher = [line for line in lines[: lines.index("-" * 74) if "-" * 74 in lines else None] if line]
    if "Traceback (most recent call last):" in lines or not own:
        own += before_launcher[-1:]
    return "; ".join(own) or "said nothing"
