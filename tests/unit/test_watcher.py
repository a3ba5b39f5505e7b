"""The watcher: what raises which status word, the time limit, and what is said of a stall."""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpi_engine.experiment import ExperimentError, parse_experiment
from mpi_engine.network.ranks import Ranks
from mpi_engine.run.directory import RunDirectory
from mpi_engine.run.walltime import WallTime, parse_duration
from mpi_engine.run.watcher import CHECKPOINT, SIGNALS, STOP, STOP_FILE, Watcher
from tests.processes import PATIENCE_S, wait_for

Table = dict[str, Any]


@pytest.fixture
def simulation(small_experiment: Callable[..., Table]) -> SimpleNamespace:
    """Make what the watcher looks at of a simulation that stands still."""
    experiment = parse_experiment(small_experiment(run={"checkpoint_every_wall_s": 0.2}))
    return SimpleNamespace(
        experiment=experiment,
        ranks=Ranks(),
        step=0,
        progress=np.zeros(1 + len(experiment.sizes), np.int64),
        exchange=SimpleNamespace(status=np.zeros(1, np.int32)),
    )


@pytest.fixture
def directory(simulation: SimpleNamespace, tmp_path: Path) -> Iterator[RunDirectory]:
    """Claim a run directory."""
    claimed = RunDirectory.new(tmp_path / "run", simulation.experiment)
    yield claimed
    claimed.release()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_while_building_waits_for_the_simulation(number: int, simulation: SimpleNamespace) -> None:
    before = signal.getsignal(number)
    with Watcher(None, Ranks()) as watcher:
        os.kill(os.getpid(), number)
        wait_for(lambda: watcher.why_to_stop() is not None)
        assert watcher.why_to_stop() == f"{signal.Signals(number).name} to rank 0"
        watcher.enter("compiling", simulation)
        assert simulation.exchange.status[0] == STOP
    assert signal.getsignal(number) == before


def test_signals_that_were_kept_waiting_are_so_again() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        with Watcher(None, Ranks()):
            assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(SIGNALS)
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) >= set(SIGNALS)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_signals_that_come_together_are_one_request(
    simulation: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpi_engine.run.watcher._ONE_REQUEST_S", PATIENCE_S)    # however late the watcher reads them
    with Watcher(None, Ranks()) as watcher:
        watcher.enter("running", simulation)
        held = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for number in (signal.SIGTERM, signal.SIGUSR1):     # the latter would end this process, were it another request
            signal.pthread_kill(threading.get_ident(), number)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        wait_for(lambda: simulation.exchange.status[0] & STOP)


def test_a_signal_while_finishing_lets_it_finish(simulation: SimpleNamespace) -> None:
    with Watcher(None, Ranks()) as watcher:
        watcher.enter("finishing", simulation)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: watcher._first_signal_at is not None)
        assert watcher.why_to_stop() is None


def test_a_file_in_the_directory_asks_for_a_stop(simulation: SimpleNamespace, directory: RunDirectory) -> None:
    with Watcher(directory, Ranks()) as watcher:
        watcher.enter("running", simulation)
        request = directory.path / STOP_FILE
        request.touch()
        wait_for(lambda: bool(simulation.exchange.status[0] & STOP))
        assert watcher.why_to_stop() == "steelyard stop"
        assert not request.exists()


def test_a_heartbeat_that_fails_is_told_once(
    simulation: SimpleNamespace, directory: RunDirectory, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failed: list[float] = []

    def fail(_: dict[str, Any]) -> None:
        failed.append(time.monotonic())
        raise OSError("no room")

    monkeypatch.setattr(directory, "write_status", fail)
    with Watcher(directory, Ranks()) as watcher:
        watcher.enter("running", simulation)
        wait_for(lambda: len(failed) >= 4)
    assert caplog.messages == ["no heartbeat: no room"]


def test_checkpoints_are_asked_for_by_the_clock(simulation: SimpleNamespace) -> None:
    with Watcher(None, Ranks()) as watcher:
        watcher.enter("compiling", simulation)
        for _ in range(2):
            watcher.enter("running")
            wait_for(lambda: simulation.exchange.status[0] == CHECKPOINT)
            watcher.enter("checkpointing")
            watcher.enter("writing")
            assert simulation.exchange.status[0] == 0
        watcher.enter("running")
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: simulation.exchange.status[0] == STOP | CHECKPOINT)
        watcher.enter("checkpointing")
        watcher.enter("stopped")
        assert simulation.exchange.status[0] == STOP


def test_the_time_limit_asks_for_a_stop(simulation: SimpleNamespace, directory: RunDirectory) -> None:
    with Watcher(directory, Ranks(), WallTime(time.time() + 2.0, reserve_s=1.0)) as watcher:
        watcher.enter("running", simulation)
        wait_for(lambda: bool(simulation.exchange.status[0] & STOP))
        assert "time limit" in (watcher.why_to_stop() or "")


def test_a_stall_is_told_once_with_stacks(
    simulation: SimpleNamespace, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "steelyard")
    with Watcher(None, Ranks(), watchdog_s=0.6) as watcher:
        watcher.enter("running", simulation)
        for stall in (1, 2):
            wait_for(lambda stalls=stall: len(caplog.messages) == stalls)     # type: ignore[misc]
            time.sleep(3.0)     # several heartbeats more
            assert len(caplog.messages) == stall
            simulation.progress[0] += 1
    assert all(re.search(r"rank 0 .* while running", message) for message in caplog.messages)
    printed = capfd.readouterr().err
    assert printed.count("in test_a_stall_is_told_once_with_stacks") == 2
    assert "Thread 0x" in printed


def test_margin_before_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    limit = WallTime(now + 600.0)
    assert (limit.left_s, limit.margin_s, limit.is_up) == (600.0, 0.0, False)     # nothing to save yet
    limit.begin()
    assert limit.margin_s == 60.0
    limit.note_duration("checkpointing", 30.0)
    limit.note_duration("writing", 5.0)
    assert limit.margin_s == 2 * 30.0 + 5.0 + 60.0
    now = 1000.0 + 600.0 - 125.1
    assert not limit.is_up
    now += 0.2
    assert limit.is_up


def test_a_short_limit_leaves_half_of_the_rest_for_running(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    limit = WallTime(now + 100.0, reserve_s=90.0)
    now += 20.0     # spent on building
    limit.begin()
    assert limit.margin_s == 40.0
    now += 39.0
    assert not limit.is_up
    now += 2.0
    assert limit.is_up
    late = WallTime(now - 1.0)
    assert late.is_up
    late.begin()
    assert late.is_up


def test_the_limit_of_the_batch_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert WallTime.of_this_job(None) is None
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 500))
    limit = WallTime.of_this_job(None)
    assert limit is not None and 400 < limit.left_s <= 500
    own = WallTime.of_this_job(1e6)
    assert own is not None and own.left_s > 1e5     # what is given goes before the job's
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 50))
    with pytest.raises(ExperimentError, match=r"time limit = \d+ s: are left of job 12.*--reserve"):
        WallTime.of_this_job(None)
    with pytest.raises(ExperimentError, match=r"--max-walltime = 30: is not longer than the reserve of 60 s"):
        WallTime.of_this_job(30.0)


def test_a_job_whose_limit_is_not_known_runs_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))     # no squeue
    assert WallTime.of_this_job(None) is None
    assert "--max-walltime" in caplog.text


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5", 1.5), ("1:30", 90), ("2:00:01", 7201), ("1-02:00:00", 93600)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1h", "1::2", "nan", "inf", "1:2:3:4", " 5"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ExperimentError, match="--reserve"):
        parse_duration(text, "--reserve")
