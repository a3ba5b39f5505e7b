"""The ledger: one claim wins, the dead are recognised, ten thousand runs are surveyed at a glance."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from orchestration.ledger import SILENT_S, Entry, Ledger, State
from tests.processes import PATIENCE_S


def finish(directory: Path, member: str) -> None:
    run = directory / "runs" / member
    run.mkdir(parents=True)
    (run / "run.h5").touch()


def test_states_of_a_run(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.survey() == {}
    assert ledger.read("a") == Entry(State.PENDING, 0)
    claim = ledger.claim("a", after=0)
    assert claim is not None
    assert ledger.read("a") == Entry(State.RUNNING, 1)
    claim.end(State.FAILED, "unhealthy: rates ran away", 3)
    assert ledger.read("a") == Entry(State.FAILED, 1, "unhealthy: rates ran away", 3)
    again = ledger.claim("a", after=1)
    assert again is not None
    finish(tmp_path, "a")
    again.end(State.DONE, code=0)
    assert ledger.survey() == {"a": Entry(State.DONE, 2, "", 0)}
    (tmp_path / "runs" / "a" / "run.h5").unlink()
    assert ledger.read("a").state == State.PENDING


def _race(directory: Path, start: Barrier, won: multiprocessing.Queue[int]) -> None:
    ledger = Ledger(directory)
    start.wait(PATIENCE_S)
    won.put(sum(ledger.claim(f"{k}", after=0) is not None for k in range(200)))


def test_a_claim_succeeds_once_whoever_tries(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    won: multiprocessing.Queue[int] = context.Queue()
    start = context.Barrier(4)
    racers = [context.Process(target=_race, args=(tmp_path, start, won)) for _ in range(4)]
    for racer in racers:
        racer.start()
    assert sum(won.get(timeout=PATIENCE_S) for _ in racers) == 200
    for racer in racers:
        racer.join(PATIENCE_S)


def test_a_late_claim_fails(tmp_path: Path) -> None:
    """Whoever decided from an older state does not run what has been run since."""
    ledger = Ledger(tmp_path)
    first = ledger.claim("a", after=0)
    assert first is not None
    first.end(State.STOPPED, "time", 75)
    second = ledger.claim("a", after=1)
    assert second is not None
    second.end(State.STOPPED, "time", 75)
    assert ledger.claim("a", after=0) is None
    assert ledger.claim("a", after=1) is None
    assert ledger.read("a").attempt == 2


def _claim_and_wait(directory: Path, claimed: multiprocessing.synchronize.Event) -> None:
    assert Ledger(directory).claim("a", after=0) is not None
    claimed.set()
    signal.pause()


def test_the_run_of_a_killed_process_is_stopped(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    claimed = context.Event()
    process = context.Process(target=_claim_and_wait, args=(tmp_path, claimed))
    process.start()
    assert claimed.wait(PATIENCE_S)
    ledger = Ledger(tmp_path)
    assert ledger.read("a").state == State.RUNNING
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    entry = ledger.read("a")    # of a zombie, which nobody may ever wait for
    assert (entry.state, entry.attempt) == (State.STOPPED, 1)
    assert f"its process {process.pid}" in entry.reason
    process.join(PATIENCE_S)
    assert ledger.read("a") == entry


def test_on_a_full_disk_nobody_waits_for_the_run(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    claim = ledger.claim("a", after=0)
    assert claim is not None
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))    # no file may grow
    try:
        with pytest.raises(OSError, match="File too large"):
            claim.end(State.DONE, code=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    entry = ledger.read("a")
    assert entry.state == State.STOPPED
    assert "the disk was full" in entry.reason
    assert ledger.claim("a", after=entry.attempt) is not None


def _claim_elsewhere(directory: Path) -> Path:
    """Claim a run as if on another host; return the attempt's file."""
    assert Ledger(directory).claim("a", after=0) is not None
    path = directory / "ledger" / "a.1.json"
    record = json.loads(path.read_text())
    record["holder"]["host"] = "another"
    path.write_text(json.dumps(record))
    return path


@pytest.mark.parametrize(("silent_s", "state"), [(SILENT_S / 4, State.RUNNING), (SILENT_S * 1.5, State.STOPPED)])
def test_other_hosts_give_signs_of_life(tmp_path: Path, silent_s: float, state: State) -> None:
    path = _claim_elsewhere(tmp_path)
    os.utime(path, (time.time() - silent_s, time.time() - silent_s))
    assert Ledger(tmp_path).read("a").state == state


def test_the_clock_of_another_host_may_be_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are stamped by the file server, and one that is read on a host an hour ahead is not an hour old."""
    path, now = _claim_elsewhere(tmp_path), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    assert Ledger(tmp_path).read("a").state == State.RUNNING
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_process_of_the_same_number_is_another(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.claim("a", after=0) is not None
    path = tmp_path / "ledger" / "a.1.json"
    record = json.loads(path.read_text())
    record["holder"]["since"] -= 100.0
    path.write_text(json.dumps(record))
    assert ledger.read("a").state == State.STOPPED


@pytest.mark.parametrize("text", ["", "{", '{"state": "asleep"}', "[]", "\0" * 100])
def test_a_damaged_file_does_not_block_the_others(tmp_path: Path, text: str) -> None:
    ledger = Ledger(tmp_path)
    claim = ledger.claim("b", after=0)
    assert claim is not None
    (tmp_path / "ledger" / "a.1.json").write_text(text)
    survey = ledger.survey()
    assert survey["b"].state == State.RUNNING
    assert survey["a"].state == State.STOPPED
    assert "damaged" in survey["a"].reason
    assert ledger.claim("a", after=1) is not None


def test_requests_to_stop(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.requests_to_stop("driver") == 0
    ledger.ask_to_stop("driver", 2)
    assert (ledger.requests_to_stop("driver"), ledger.requests_to_stop("other")) == (2, 0)
    ledger.ask_to_stop("driver", 0)
    assert ledger.requests_to_stop("driver") == 0
    before = ledger.last_cancellation()
    ledger.cancel()
    first = ledger.last_cancellation()
    ledger.cancel()
    assert len({before, first, ledger.last_cancellation()}) == 3
    assert ledger.survey() == {}
