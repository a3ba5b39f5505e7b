"""Runs and sweeps on a real SLURM of two nodes: see slurm/test-cluster."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest
import tomli_w

from analysis.confidence import Interval
from analysis.studies.study import Bounds, Claim, Parts, Study
from mpi_engine.output.checkpoints import last_checkpoint
from mpi_engine.output.difference import differences
from orchestration import batch, slurm
from orchestration.cluster import open_client
from orchestration.engine import Outcome
from orchestration.ledger import Ledger, State
from orchestration.study import run_study
from orchestration.sweep import read_sweep
from tests.dask.runs import Runs
from tests.processes import PATIENCE_S, command_of, held, is_asked_to_stop, wait_for
from tests.slurm.jobs import (
    SCRIPTS,
    detail,
    engine_of,
    sbatch,
    steelyard,
    wait_for_end_of_job,
    wait_until,
    write_sweep,
)

pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


def test_a_run_goes_on_beyond_the_time_limit_of_its_job(place: Path, reference: Callable[[str], Path]) -> None:
    expected, run = reference("long"), place / "beyond the limit"    # compiles before the job
    job = sbatch("--ntasks=1", "--time=2", "--signal=B:USR1@5", SCRIPTS / "run.sbatch", "long.toml", "-o", run.name,
                 "--reserve", "40", cwd=place)
    # the run is made to need more time than its job has, however fast the machine is
    wait_until(lambda: (run / "segments").is_dir() and list(run.glob("segments/*.h5")), "the first segment",
               place / "job.log")
    with held(engine_of(run)):
        end = time.mktime(time.strptime(detail(job, "EndTime"), "%Y-%m-%dT%H:%M:%S"))
        time.sleep(max(0.0, end - 40 - time.time()))
        assert last_checkpoint(run) < 600000
    ended = wait_for_end_of_job(job, place / "job.log")
    assert (ended.state, ended.exit_code) == ("COMPLETED", 0), (place / "job.log").read_text()
    assert int(detail(job, "Restarts")) >= 1
    assert differences(run, expected) == []


def test_a_cancelled_run_over_two_nodes_can_go_on(place: Path, reference: Callable[[str], Path]) -> None:
    run = place / "over two nodes"
    over_two = ("--nodes=2", "--ntasks=2", "--ntasks-per-node=1", SCRIPTS / "run.sbatch")
    job = sbatch(*over_two, "middling.toml", "-o", run.name, cwd=place)
    wait_until(lambda: last_checkpoint(run) > 0, "the first checkpoint", place / "job.log")
    with held(engine_of(run)) as rank:    # lest it be done before it hears of that
        slurm.cancel(job)
        wait_for(lambda: is_asked_to_stop(rank), "the signal")
    assert wait_for_end_of_job(job, place / "job.log").state == "CANCELLED"
    assert not (run / "run.h5").exists()
    assert 0 < last_checkpoint(run) < 100000
    again = sbatch(*over_two, run.name, cwd=place)
    ended = wait_for_end_of_job(again, place / "job.log")
    assert (ended.state, ended.exit_code) == ("COMPLETED", 0), (place / "job.log").read_text()
    assert detail(again, "NodeList") == "n[1-2]"
    assert differences(run, reference("middling")) == []


def test_a_run_that_somebody_stops_is_not_requeued(place: Path) -> None:
    run = place / "stopped"
    job = sbatch("--ntasks=1", SCRIPTS / "run.sbatch", "long.toml", "-o", run.name, "--set", "run.duration_ms=1e8",
                 cwd=place)
    wait_until(lambda: last_checkpoint(run) > 0, "the first checkpoint", place / "job.log")
    steelyard("stop", run.name, cwd=place)
    ended = wait_for_end_of_job(job, place / "job.log")
    assert (ended.state, ended.exit_code) == ("FAILED", Outcome.STOPPED), (place / "job.log").read_text()
    assert detail(job, "Restarts") == "0"


def test_where_jobs_are_not_requeued_this_is_said(place: Path) -> None:
    run = place / "not requeued"
    job = sbatch("--ntasks=1", "--no-requeue", SCRIPTS / "run.sbatch", "long.toml", "-o", run.name, "--set",
                 "run.duration_ms=1e8", cwd=place)
    wait_until(lambda: last_checkpoint(run) > 0, "the first checkpoint", place / "job.log")
    subprocess.run(["scancel", "--batch", "--signal=USR1", job], check=True)
    ended = wait_for_end_of_job(job, place / "job.log")
    log = (place / "job.log").read_text()
    assert (ended.state, ended.exit_code) == ("FAILED", Outcome.STOPPED), log
    assert f"submit it again to go on with {run.name}" in log


def test_a_job_array_runs_the_members_of_a_sweep(place: Path, reference: Callable[[str], Path]) -> None:
    directory = write_sweep(place / "array.toml", "short.toml")
    first, second = read_sweep(place / "array.toml").members
    (directory / "runs").mkdir(parents=True)
    (directory / "runs" / second.id).write_text("in the way")
    job = sbatch("--array=0-1", SCRIPTS / "array.sbatch", "array.toml", cwd=place)
    tasks = {task: wait_for_end_of_job(f"{job}_{task}", place / "job.log") for task in (0, 1)}
    log = (place / "job.log").read_text()
    assert (tasks[0].state, tasks[0].exit_code) == ("COMPLETED", 0), log
    assert (tasks[1].state, tasks[1].exit_code) == ("FAILED", 2), log
    assert differences(directory / "runs" / first.id, reference("short")) == []
    entry = Ledger(directory).read(second.id)
    assert entry.state == State.FAILED
    assert "is a file" in entry.reason
    assert "1 done, 0 running, 0 stopped, 1 failed" in steelyard("sweep", "status", "array.toml", cwd=place)


def test_a_member_does_not_heed_what_was_asked_of_an_earlier_life_of_its_job(place: Path) -> None:
    directory = write_sweep(place / "again.toml", "short.toml")
    job = sbatch("--hold", "--array=0", SCRIPTS / "array.sbatch", "again.toml", cwd=place)
    Ledger(directory).ask_to_stop(f"job-{job}_0", 1)    # before it was killed
    subprocess.run(["scontrol", "release", job], check=True)
    ended = wait_for_end_of_job(f"{job}_0", place / "job.log")
    assert (ended.state, ended.exit_code) == ("COMPLETED", 0), (place / "job.log").read_text()


def test_one_job_runs_a_sweep_on_its_nodes(place: Path, reference: Callable[[str], Path]) -> None:
    directory = write_sweep(place / "ensemble.toml", "short.toml")
    first, second = read_sweep(place / "ensemble.toml").members
    job = sbatch("--nodes=2", "--ntasks-per-node=1", SCRIPTS / "ensemble.sbatch", "ensemble.toml", cwd=place)
    ended = wait_for_end_of_job(job, place / "job.log")
    assert (ended.state, ended.exit_code) == ("COMPLETED", 0), (place / "job.log").read_text()
    assert differences(directory / "runs" / first.id, reference("short")) == []
    hosts = {json.loads((directory / "runs" / member.id / "status.json").read_text())["host"]
             for member in (first, second)}
    assert hosts == {"n1", "n2"}
    assert not list(directory.glob(".credentials*"))


def test_a_sweep_in_jobs_survives_the_loss_of_one(place: Path, reference: Callable[[str], Path]) -> None:
    jobs = {"jobs": 1, "ranks": 2, "memory_gb": 0.5, "partition": "main", "setup": ["export SEEN='by the job'"]}
    directory = write_sweep(place / "in jobs.toml", "long.toml", slurm=jobs)
    runs = Runs(place / "in jobs.toml")
    with (place / "sweep.log").open("wb") as log:
        driver = subprocess.Popen([shutil.which("steelyard") or "", "sweep", "run", "in jobs.toml", "--on", "slurm"],
                                  cwd=place, stdout=log, stderr=log)
    runs.drivers.append(driver)
    try:
        with runs.one_held() as (_, rank):
            assert [path.stat().st_mode & 0o777 for path in directory.glob(".credentials*")] == [0o700]
            (log_of_job,) = directory.glob("worker-*.log")
            slurm.cancel(log_of_job.stem.removeprefix("worker-"))
            wait_for(lambda: is_asked_to_stop(rank), "the signal")
        assert driver.wait(PATIENCE_S) == 0, (place / "sweep.log").read_text()
    finally:
        driver.kill()
    first, second = map(runs.sweep.run_directory, runs.sweep.members)
    assert differences(first, reference("long")) == []
    assert (second / "run.h5").exists()
    assert len(list(directory.glob("worker-*.log"))) >= 2
    assert not list(directory.glob(".credentials*"))


def test_jobs_that_end_before_their_worker_begins_are_given_up(place: Path) -> None:
    directory = write_sweep(place / "broken.toml", "short.toml", slurm={"setup": ["echo no such module; exit 3"]})
    said = steelyard("sweep", "run", "broken.toml", "--on", "slurm", cwd=place, code=2)
    [line] = [line for line in said.splitlines() if "jobs end before their workers begin" in line]
    assert re.search(r"--on = slurm, job \d+ \(FAILED\): .* mend what .*/broken/worker-\d+.log says", line), said
    logs = list(directory.glob("worker-*.log"))
    assert len(logs) >= 3
    assert "no such module" in logs[0].read_text()
    assert not list(directory.glob(".credentials*"))


def both_are_done(parts: Parts) -> Iterator[Claim]:
    """Both runs of the part have a file."""
    finished = float(sum(run.finished for run in parts["only"].runs.values()))
    yield Claim("Runs", "finished", "one a seed", Bounds(2.0, 2.0), Interval(finished, finished, finished, 0.0))


def test_a_study_runs_in_jobs(place: Path) -> None:
    jobs = {"jobs": 1, "ranks": 2, "memory_gb": 0.5}
    part = {"experiment": "short.toml", "slurm": jobs, "quick": {"seeds": 2}}
    (place / "study.toml").write_text(tomli_w.dumps({"only": part}))
    study = Study("In jobs", "Nobody (2026)", (both_are_done,), ())
    assert run_study(study, place / "study.toml", place / "studied", "this test", on="slurm") == 0
    assert (place / "studied" / "report.html").exists()
    assert list((place / "studied").glob("worker-*.log"))
    assert not list((place / "studied").rglob(".credentials*"))


@pytest.mark.science
def test_workers_end_before_their_job_does(place: Path) -> None:
    jobs = {"jobs": 1, "ranks": 2, "memory_gb": 0.5, "time_limit_min": 3}
    table = {"experiment": "middling.toml", "seeds": 40, "slurm": jobs}
    (place / "in time.toml").write_text(tomli_w.dumps(table))
    said = steelyard("sweep", "run", "in time.toml", "--on", "slurm", cwd=place)
    directory = place / "in time"
    assert len(list(directory.glob("worker-*.log"))) >= 2, said
    assert "40 done" in said
    assert "lost" not in said
    records = [json.loads(path.read_text()) for path in directory.glob("ledger/*.json")]
    assert {record["state"] for record in records} <= {"done", "stopped"}, records
    assert {record["code"] for record in records} <= {0, 75}, records


STRANGER = """
import os, sys
from distributed import Client
from distributed.security import Security
address, private = sys.argv[1:]
own = {f"tls_client_{part}": f"{private}/{part}.pem" for part in ("key", "cert")}
for name, address, security, patience_s in (
    ("member", address, Security(tls_ca_file=own["tls_client_cert"], **own), 600),
    ("unencrypted", address.replace("tls", "tcp"), None, 10),
    ("no certificate", address, Security(tls_ca_file=own["tls_client_cert"]), 10),
    ("wrong certificate", address, Security.temporary(), 10),
):
    try:
        Client(address, security=security, timeout=patience_s, set_as_default=False).close()
        print(name, "let in")
    except (OSError, TypeError, ValueError) as error:
        print(name, "refused")
"""


def listening() -> set[tuple[str, int]]:
    ends = [end.laddr for end in psutil.Process().net_connections() if end.status == psutil.CONN_LISTEN]
    return {(end.ip, end.port) for end in ends}


def test_a_scheduler_refuses_strangers(tmp_path: Path) -> None:
    foreign = listening()    # sockets of MPI, which other tests have started in this process
    with open_client("slurm", 1, 1, tmp_path, slurm.Jobs()) as client:
        address = client.scheduler.address
        assert address.startswith("tls://"), address
        assert not address.startswith("tls://127."), address
        outward = {port for ip, port in listening() - foreign if not ip.startswith("127.")}
        assert outward == {int(address.rpartition(":")[2])}
        (private,) = tmp_path.glob(".credentials*")
        told = subprocess.run(
            ["nsenter", "--net=/run/netns/syd-n2", sys.executable, "-c", STRANGER, address, private],
            capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )
    verdicts = ["member let in", "unencrypted refused", "no certificate refused", "wrong certificate refused"]
    assert told.stdout.splitlines() == verdicts, told.stdout + told.stderr


@pytest.mark.parametrize("launcher", ["srun", "sbatch"])
def test_a_launcher_of_the_batch_system(
    launcher: str, place: Path, reference: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if launcher == "sbatch":
        steelyard("run", "short.toml", "-n", "2", "-o", "by sbatch", "--launcher", "sbatch", cwd=place)
    else:
        monkeypatch.setenv("SLURM_MPI_TYPE", "pmix")
        job = sbatch("--nodes=1", "--ntasks=2", SCRIPTS / "run.sbatch", "short.toml", "-o", "by srun", "--launcher",
                     "srun", cwd=place)
        ended = wait_for_end_of_job(job, place / "job.log")
        assert (ended.state, ended.exit_code) == ("COMPLETED", 0), (place / "job.log").read_text()
    assert json.loads((place / f"by {launcher}" / "status.json").read_text())["ranks"] == 2
    assert differences(place / f"by {launcher}", reference("short")) == []


def test_a_job_that_is_not_wanted_any_more_before_it_has_a_number_is_cancelled(place: Path) -> None:
    controller = psutil.Process(int(Path("/run/steelyard-slurm/pid/slurmctld").read_text()))
    words = ["run", "long.toml", "-o", "unwanted", "--launcher", "sbatch"]
    with held(controller):
        command = subprocess.Popen([shutil.which("steelyard") or "", *words], cwd=place, text=True,
                                   stderr=subprocess.PIPE)
        children = psutil.Process(command.pid).children
        wait_for(lambda: any(command_of(child)[:1] == ["sbatch"] for child in children(recursive=True)), "sbatch")
        command.send_signal(signal.SIGINT)
        assert command.stderr is not None
        assert any("stopping; once more" in line for line in iter(command.stderr.readline, "")), "it ended at once"
    assert command.wait(PATIENCE_S) == Outcome.STOPPED
    left = subprocess.run(["squeue", "--noheader", "--states=PD,R"], check=True, capture_output=True, text=True)
    assert left.stdout == ""


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"partition": "nowhere"}, "slurm.partition = nowhere: has no nodes; one of: main"),
        ({"memory_gb": 1e6}, "sbatch: "),
        ({"job": 2}, "slurm.job: unknown key; did you mean jobs?"),
        ({"time_limit_min": 1}, "slurm.time_limit_min = 1: must be at least 3 whole minutes"),
    ],
)
def test_jobs_that_cannot_be_are_refused(table: dict[str, Any], said: str, place: Path, tmp_path: Path) -> None:
    write_sweep(tmp_path / "sweep.toml", str(place / "short.toml"), slurm=table)
    assert said in steelyard("sweep", "run", "sweep.toml", "--on", "slurm", cwd=tmp_path, code=2)
    assert not list(tmp_path.glob("sweep/.credentials*"))


def test_a_busy_controller_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Path(os.environ["SLURM_CONF"]).read_text()
    impatient = tmp_path / "slurm.conf"
    impatient.write_text(re.sub(r"MessageTimeout=\d+", "MessageTimeout=2", settings))
    controller = psutil.Process(int(Path("/run/steelyard-slurm/pid/slurmctld").read_text()))
    job = sbatch("--hold", "--wrap=true", cwd=tmp_path)
    controller.suspend()
    try:
        with monkeypatch.context() as patch:
            patch.setenv("SLURM_CONF", str(impatient))
            found = Thread(target=lambda: states.append(slurm.find_job(job).state), daemon=True)
            states: list[str] = []
            found.start()
            wait_for(lambda: "SLURM is busy" in caplog.text, "the first complaint")
            controller.resume()
            found.join(PATIENCE_S)
    finally:
        controller.resume()
    assert states == ["PENDING"]
    slurm.cancel(job)


def test_a_job_that_slurm_has_forgotten_is_judged_by_its_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    job = slurm.wait_for_end("987654")
    assert batch.code_of(job, tmp_path) == Outcome.STOPPED
    assert "job 987654 has ended, and SLURM knows no more of it" in capfd.readouterr().err
    (tmp_path / "run.h5").touch()
    assert batch.code_of(job, tmp_path) == Outcome.DONE


def test_without_slurm_this_is_said(place: Path) -> None:
    nowhere = {"PATH": str(Path(sys.executable).parent)}
    write_sweep(place / "no slurm.toml", "short.toml")
    assert "sinfo: is not on the PATH" in steelyard("sweep", "run", "no slurm.toml", "--on", "slurm", cwd=place, code=2,
                                                   env=nowhere)
    assert "--launcher = sbatch: is not on the PATH" in steelyard(
        "run", "short.toml", "-n", "2", "-o", "never", "--launcher", "sbatch", cwd=place, code=2, env=nowhere
    )
    assert not (place / "never").exists()
