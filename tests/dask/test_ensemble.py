"""Sweeps on a real local cluster, whose workers, engines and drivers are killed, stopped and doubled."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from distributed import Client

from mpi_engine.experiment import ExperimentError
from orchestration import cluster
from orchestration.cluster import open_client, runs_at_once
from orchestration.ensemble import Ensemble
from orchestration.ledger import Ledger, State
from tests.dask.nothing import killed_six_times, lost_with_its_node, nothing
from tests.dask.runs import Runs, kill, worker_of
from tests.processes import PATIENCE_S, is_asked_to_stop, wait_for, wait_for_end

pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


def lasting(duration_ms: float) -> dict[str, dict[str, float]]:
    """Parts of an experiment that lasts for seconds, and is caught while it goes: see `Runs.one_held`."""
    part_ms = duration_ms / 20
    return {"run": {"duration_ms": duration_ms, "checkpoint_every_ms": part_ms}, "recording": {"segment_ms": part_ms}}


def test_whoever_is_killed_each_run_is_done_once(write: Callable[..., Runs], tmp_path: Path) -> None:
    runs = write("seeds = 3", **lasting(60_000.0))
    ledger = Ledger(runs.sweep.directory)
    driver = runs.start("run", "--slots", "1")

    # What is ended goes to the end of the queue, so that each blow falls on a run of its own.
    with runs.one_held() as (stopped, rank):
        rank.send_signal(signal.SIGUSR1)    # as if its time were over
    wait_for_end([rank])
    with runs.one_held() as (bereft, rank):
        kill(worker_of(driver))
    wait_for_end([rank])
    with runs.one_held() as (victim, rank):
        kill(rank)
    told = driver.communicate(timeout=PATIENCE_S)[0]
    assert driver.returncode == 0, told
    assert "3 done, 0 running, 0 stopped, 0 failed, 0 pending" in told
    assert all(ledger.read(member.id).attempt > 1 for member in (stopped, bereft, victim))
    runs.assert_done_once()
    runs.assert_as_by_hand(victim, tmp_path)


def test_what_a_killed_driver_left_is_gone_on_with(write: Callable[..., Runs]) -> None:
    runs = write("seeds = 2", **lasting(60_000.0))
    driver = runs.start("run", "--slots", "1")
    with runs.one_held():
        kill(driver)
    runs.wait_until_nothing_runs()

    def states() -> Counter[State]:
        return Counter(entry.state for entry in Ledger(runs.sweep.directory).survey().values())

    wait_for(lambda: states()[State.RUNNING] == 0, "the end of the worker, after its engine")
    assert states()[State.FAILED] == 0
    code, told = runs.type("run")
    assert code == 0, told
    assert "2 done, 0 running, 0 stopped, 0 failed, 0 pending" in told
    runs.assert_done_once()


def test_stops_and_two_drivers_at_once(write: Callable[..., Runs], tmp_path: Path) -> None:
    runs = write("seeds = 2\nranks = 2", **lasting(24_000.0))
    driver = runs.start("run", "--slots", "2")
    with runs.one_held() as (stopped, rank):
        driver.send_signal(signal.SIGINT)
        wait_for(lambda: is_asked_to_stop(rank), "the request")
    told = driver.communicate(timeout=PATIENCE_S)[0]
    assert driver.returncode == 75, told
    assert "stopping at checkpoints; once more ends all runs at once" in told
    assert f"stopped: {stopped}: at a checkpoint" in told
    assert list((runs.sweep.run_directory(stopped) / "checkpoint").glob("*.h5"))

    two = [runs.start("run", "--slots", "2") for _ in range(2)]
    with runs.one_held() as (_, rank):
        for driver in two:
            runs.wait_until_told(driver, " done, ")    # it drives, and would go on without the next command
        assert runs.type("cancel")[0] == 0
        wait_for(lambda: is_asked_to_stop(rank), "the request")
    assert [driver.wait(PATIENCE_S) for driver in two] == [75, 75], [driver.communicate() for driver in two]
    runs.wait_until_nothing_runs()

    two = [runs.start() for _ in range(2)]
    for driver in two:
        told = driver.communicate(timeout=PATIENCE_S)[0]
        assert driver.returncode == 0, told
        assert "2 done, 0 running, 0 stopped, 0 failed, 0 pending" in told
    runs.assert_done_once()
    runs.assert_as_by_hand(stopped, tmp_path)


def test_one_that_fails_does_not_hold_up_the_others(write: Callable[..., Runs]) -> None:
    runs = write("seeds = 2")
    bad, good = runs.sweep.members
    foreign = runs.sweep.run_directory(bad) / "foreign"
    foreign.parent.mkdir(parents=True)
    foreign.touch()
    code, told = runs.type("run")
    assert code == 1, told
    assert f"failed: {bad}: output directory = {foreign.parent}: is not empty" in told
    assert (runs.sweep.run_directory(good) / "run.h5").exists()
    foreign.unlink()
    code, told = runs.type("run")
    assert code == 1, told    # a failed run waits for its user
    code, told = runs.type("status")
    assert (code, told.splitlines()[-1]) == (0, "1 done, 0 running, 0 stopped, 1 failed, 0 pending")
    code, told = runs.type("retry")
    assert code == 0, told
    runs.assert_done_once()


def listening() -> set[tuple[str, int]]:
    """List where this process, the scheduler's, and those it has started listen."""
    sockets = set()
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            sockets |= {s.laddr for s in process.net_connections("inet") if s.status == psutil.CONN_LISTEN}
    return {(address.ip, address.port) for address in sockets}


@pytest.fixture(scope="module")
def foreign() -> set[tuple[str, int]]:
    """Sockets that are here already: those of MPI, which other tests have started in this process."""
    return listening()


@pytest.fixture(scope="module")
def client(foreign: set[tuple[str, int]]) -> Iterator[Client]:
    """Start a local cluster with room for two runs of two ranks."""
    with open_client("local", ranks=2, slots=5) as opened:
        yield opened


def test_each_run_takes_its_ranks(client: Client) -> None:
    assert runs_at_once(client, 2) == 2


@pytest.mark.usefixtures("client")
def test_nothing_listens_beyond_this_machine(foreign: set[tuple[str, int]]) -> None:
    ours = listening() - foreign
    assert len(ours) >= 3    # the scheduler, its dashboard and the worker
    assert {ip for ip, _ in ours} == {"127.0.0.1"}


def test_many_runs_and_no_mpi_in_driver_or_worker(client: Client, write: Callable[..., Runs]) -> None:
    runs = write("seeds = 60\nranks = 2")
    shown: list[str] = []
    tally = Ensemble(runs.sweep, client, nothing).run(lambda tally: shown.append(str(tally)))
    assert tally.counts == {State.DONE: 60}
    assert shown[0] == "0 done, 0 running, 0 stopped, 0 failed, 60 pending"
    runs.assert_done_once()
    assert all(client.run(lambda: "mpi4py" not in sys.modules).values())
    check = "import sys, orchestration.cli, orchestration.ensemble; sys.exit('mpi4py' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_an_engine_that_cannot_be_started_is_tried_a_few_times(
    client: Client, write: Callable[..., Runs]
) -> None:
    runs = write("seeds = 2\nranks = 2")
    runs.sweep.directory.mkdir()
    (runs.sweep.directory / "runs").touch()    # in the way
    tally = Ensemble(runs.sweep, client).run(lambda _: None)
    assert tally.counts == {State.STOPPED: 2}
    assert {entry.attempt for entry in Ledger(runs.sweep.directory).survey().values()} == {4}
    assert all("NotADirectoryError" in line or "FileExistsError" in line for line in tally.list_unfinished())


def test_a_run_that_comes_further_each_time_is_tried_as_often_as_it_takes(
    client: Client, write: Callable[..., Runs]
) -> None:
    runs = write("seeds = 1\nranks = 2")
    tally = Ensemble(runs.sweep, client, killed_six_times).run(lambda _: None)
    assert tally.counts == {State.DONE: 1}
    assert Ledger(runs.sweep.directory).read(runs.sweep.members[0].id).attempt == 7


def test_a_run_that_takes_its_node_with_it_is_tried_a_few_times(client: Client, write: Callable[..., Runs]) -> None:
    runs = write("seeds = 1\nranks = 2")
    shown: list[str] = []
    tally = Ensemble(runs.sweep, client, lost_with_its_node).run(lambda tally: shown.append(tally.last_error))
    assert tally.counts == {State.STOPPED: 1}
    assert Ledger(runs.sweep.directory).read(runs.sweep.members[0].id).attempt == 4
    assert "on a node that was lost is gone" in shown[-1]


def test_a_scheduler_that_is_gone_is_missed(write: Callable[..., Runs]) -> None:
    runs = write("seeds = 20")
    with open_client("local", 1, 1) as opened, pytest.raises(ExperimentError, match="the scheduler is gone"):
        Ensemble(runs.sweep, opened, nothing).run(lambda _: opened.cluster.close())


@pytest.mark.parametrize(
    ("on", "words"),
    [("slrum", "--on = slrum: must be local"), ("tcp://127.0.0.1:1", "--on = tcp://127.0.0.1:1: no scheduler answers")],
)
def test_no_such_cluster(on: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_S", 1)
    with pytest.raises(ExperimentError, match=words), open_client(on, 1, 1):
        pass


def test_workers_that_would_never_take_a_run(client: Client) -> None:
    address = client.scheduler.address
    words = "no worker takes 8 ranks; start workers with --resources ranks=8"
    with pytest.raises(ExperimentError, match=words), open_client(address, ranks=8, slots=8):
        pass
    with open_client(address, ranks=4, slots=1) as opened:
        assert runs_at_once(opened, 4) == 1
