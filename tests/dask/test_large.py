"""Large sweeps: many kills, and many runs."""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from orchestration.cluster import open_client
from orchestration.ensemble import Ensemble
from orchestration.ledger import State
from orchestration.sweep import read_sweep
from orchestration.tally import Tally
from tests.dask.nothing import nothing
from tests.dask.runs import Runs, kill, worker_of
from tests.processes import PATIENCE_S

KILLS = 20


@pytest.mark.science
@pytest.mark.timeout(4 * 3600)
def test_twenty_kills_in_sixty_runs(write: Callable[..., Runs], tmp_path: Path) -> None:
    run = {"duration_ms": 4000.0, "checkpoint_every_ms": 400.0}
    runs = write("seeds = 60\nranks = 2", run=run, recording={"segment_ms": 400.0})
    dice = random.Random(5)
    driver = runs.start()
    for _ in range(KILLS):
        time.sleep(dice.uniform(0.0, 10.0))
        if driver.poll() is not None:
            driver = runs.start()
            with runs.one_held():
                pass
        victim = dice.choice(["driver", "worker", "rank"])
        with suppress(psutil.NoSuchProcess, ValueError):    # there is no worker, or rank, at this moment
            if victim == "driver":
                kill(driver)
            elif victim == "worker":
                kill(worker_of(driver))
            else:
                running = [process for member in runs.sweep.members for process in runs.engines(member)]
                kill(dice.choice(running or [driver]))
    driver.wait(PATIENCE_S * 3)
    code, told = runs.type("run")
    assert code == 0, told
    runs.assert_done_once()
    for member in runs.sweep.members:
        runs.assert_as_by_hand(member, tmp_path)


@pytest.mark.science
@pytest.mark.timeout(4 * 3600)
def test_ten_thousand_runs(write: Callable[..., Runs]) -> None:
    """Planned in 5 s, driven with 20 ms of CPU time a run, surveyed in 1 s of it; and the driver does not grow."""
    runs = write("seeds = 10_000")
    began = time.monotonic()
    sweep = read_sweep(runs.file)
    assert time.monotonic() - began < 5.0
    memory_mb: dict[int, float] = {}

    def show(tally: Tally) -> None:
        memory_mb[tally.counts[State.DONE]] = psutil.Process().memory_info().rss / 1e6

    with open_client("local", ranks=1, slots=2) as client:
        began_cpu_s = time.process_time()
        began = time.monotonic()
        tally = Ensemble(sweep, client, nothing).run(show)
        wall_s, cpu_s = time.monotonic() - began, time.process_time() - began_cpu_s
    assert tally.counts == {State.DONE: 10_000}
    print(f"{1e3 * wall_s / 10_000:.1f} ms a run, of which the driver computes {1e3 * cpu_s / 10_000:.1f} ms")
    assert cpu_s < 0.020 * 10_000
    early = min(done for done in memory_mb if done >= 2000)
    print(f"{memory_mb[early]:.0f} MB after {early} runs, {memory_mb[10_000]:.0f} MB after all")
    assert memory_mb[10_000] - memory_mb[early] < 20.0
    began_cpu_s = cpu_of_children_s()
    code, told = runs.type("status")
    assert (code, told) == (0, "10000 done, 0 running, 0 stopped, 0 failed, 0 pending\n")
    print(f"{cpu_of_children_s() - began_cpu_s:.2f} s to survey them")
    assert cpu_of_children_s() - began_cpu_s < 1.0


def cpu_of_children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
