"""Dask clients: of workers on this machine, in jobs of a batch system, or of a scheduler that somebody has started.

A scheduler of ours that listens beyond the loopback speaks TLS only, with credentials made for it alone.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
import time
from asyncio import sleep, to_thread
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Any

import dask
from distributed import Client, LocalCluster, Scheduler, Security, Status, Worker
from distributed.deploy.cluster import Cluster
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin

from mpi_engine.experiment import ExperimentError, Problem
from mpi_engine.run.walltime import RESERVE_S, WallTime
from orchestration import slurm

RESOURCE = "ranks"
"""Abstract resource by which Dask bounds the ranks in flight: workers have some of it, and every run takes its own."""

_LOOPBACK = "127.0.0.1:0"
_OUR_DASHBOARD = {"distributed.dashboard.link": "{scheme}://127.0.0.1:{port}/status"}
_CONNECT_S = 30
_START_S = 300
_LOOK_AT_JOBS_S, _MOST_LOST = 10.0, 3


@contextmanager
def open_client(
    on: str, ranks: int, slots: int, directory: Path = Path(), jobs: slurm.Jobs | None = None
) -> Iterator[Client]:
    """Provide a client whose workers can start engines, as a context.

    Parameters
    ----------
    on : str
        "local"; "slurm", for workers in batch jobs; "allocation", for workers on the nodes of the batch job that this
        is in; or the address of a scheduler, like ``tls://node:8786``.
    ranks : int
        Ranks of each run.
    slots : int
        Ranks at once on this machine, for "local"; at least one run at a time.
    directory : Path
        Seen by all nodes: the place of credentials and of the jobs' logs.
    jobs : Jobs, optional
        What jobs to make, for "slurm".

    Yields
    ------
    Client

    Raises
    ------
    ExperimentError
        If there is no such cluster, or its workers do not take runs of so many ranks.
    """
    if on == "local":
        with _local(ranks, slots) as cluster, Client(cluster) as client:
            yield client
    elif on == "slurm":
        with (
            dask.config.set(_OUR_DASHBOARD),
            _temporary_credentials(directory) as security,
            _in_jobs(ranks, jobs or slurm.Jobs(), directory, security) as cluster,
            Client(cluster) as client,
        ):
            client.register_plugin(_EndsInTime())
            yield client
    elif on == "allocation":
        with (
            dask.config.set(_OUR_DASHBOARD),
            _temporary_credentials(directory) as security,
            _in_this_job(ranks, security) as client,
        ):
            client.register_plugin(_EndsInTime())
            yield client
    elif "://" in on:
        with _connect(on) as client:
            _check_workers(client, on, ranks)
            yield client
    else:
        raise _refusal(on, "must be local, slurm, allocation, or a scheduler's address like tcp://127.0.0.1:8786")


def runs_at_once(client: Client, ranks: int) -> int:
    """Count the runs of so many ranks that the workers, as they are now, take at once."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return sum(int(worker["resources"].get(RESOURCE, 0)) // ranks for worker in workers)


def _local(ranks: int, slots: int) -> LocalCluster:
    """Start one worker, whose threads wait for engines; nothing listens but on the loopback."""
    at_once = max(1, slots // ranks)
    return LocalCluster(
        n_workers=1,
        threads_per_worker=at_once,
        processes=True,
        host="127.0.0.1",
        dashboard_address=_LOOPBACK,
        memory_limit=0,    # of the worker; the engines are not in it
        resources={RESOURCE: at_once * ranks},
    )


class _Credentials(Security):
    """TLS credentials in files, whose paths stand in a worker's command line as a shell needs them."""

    def get_tls_config_for_role(self, role: str) -> dict[str, Any]:
        config: dict[str, Any] = super().get_tls_config_for_role(role)  # type: ignore[no-untyped-call]
        return {key: shlex.quote(value) for key, value in config.items() if value} if role == "worker" else config


@contextmanager
def _temporary_credentials(directory: Path) -> Iterator[Security]:
    """Make a key and a certificate in a directory that nobody else may enter, and remove it in the end."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".credentials-", dir=directory.absolute()) as private:
        pair = Security.temporary().get_tls_config_for_role("scheduler")
        paths: dict[str, str] = {}
        for part in ("key", "cert"):
            path = Path(private) / f"{part}.pem"
            path.touch(mode=0o600)
            path.write_text(pair[part], encoding="ascii")
            paths |= {f"tls_{role}_{part}": str(path) for role in ("scheduler", "worker", "client")}
        yield _Credentials(tls_ca_file=paths["tls_client_cert"], require_encryption=True, **paths)  # type: ignore[no-untyped-call]


class _EndsInTime(WorkerPlugin):
    """Lets a worker take no more runs when its job is soon over, and end with those it has, which look at the clock."""

    name = "steelyard-ends-in-time"

    async def setup(self, worker: Worker) -> None:
        """Find the time limit, where there is one."""
        with suppress(ExperimentError):    # less is left than a run needs
            if (limit := await to_thread(WallTime.of_this_job, None)) is None:
                return
            self._left_s = limit.left_s
        worker.loop.add_callback(self._end, worker)

    async def _end(self, worker: Worker) -> None:
        left_s = getattr(self, "_left_s", 0.0)
        await sleep(left_s - min(2 * RESERVE_S, left_s / 2))
        worker.status = Status.paused
        while worker.state.executing_count:
            await sleep(1.0)
        await worker.close(reason="the job is soon over")


@contextmanager
def _in_jobs(ranks: int, jobs: slurm.Jobs, directory: Path, security: Security) -> Iterator[Cluster]:
    """Keep up a number of batch jobs with one worker each; the scheduler is in this process."""
    from dask_jobqueue.slurm import SLURMCluster, SLURMJob  # noqa: PLC0415  (has a configuration of its own)

    host = slurm.find_address(jobs.partition)
    cores = max(ranks, jobs.ranks or ranks)
    log = str(directory.absolute()).replace("%", "%%") + "/worker-%j.log"

    class PatientJob(SLURMJob):  # type: ignore[misc]
        submit_command = shlex.join([sys.executable, "-m", "orchestration.slurm"])

    with SLURMCluster(
        job_cls=PatientJob,
        queue=jobs.partition,
        walltime=str(jobs.time_limit_min),
        memory=f"{jobs.memory_gb} GB",
        cores=cores,
        processes=1,
        python=shlex.quote(sys.executable),
        job_name="steelyard-worker",
        job_extra_directives=[f'--output="{log}"'],
        job_script_prologue=list(jobs.setup),
        worker_extra_args=_worker_options(cores),
        protocol="tls://",
        security=security,
        scheduler_options={"host": host, "dashboard_address": _LOOPBACK},
    ) as cluster:
        slurm.check_script(cluster.job_script())
        cluster.adapt(minimum_jobs=jobs.jobs, maximum_jobs=jobs.jobs)
        watch = _JobWatch(cluster, directory)
        try:
            yield cluster
        except ExperimentError:
            watch.tell()
            raise


class _JobWatch(SchedulerPlugin):
    """Replaces jobs that end before their worker begins, of which a cluster hears nothing; after a few it gives up."""

    def __init__(self, cluster: Any, directory: Path) -> None:
        self._cluster, self._directory = cluster, directory
        self._begun: set[Any] = set()
        self._lost: list[slurm.Job] = []
        cluster.scheduler.add_plugin(self, name="steelyard-job-watch")
        cluster.loop.add_callback(self._watch)

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Note that a job has come so far as to have a worker."""
        self._begun.add(scheduler.workers[worker].name)
        self._lost.clear()

    def tell(self) -> None:
        """Raise `ExperimentError` if jobs have been given up."""
        if len(self._lost) >= _MOST_LOST:
            job = self._lost[-1]
            remedy = f"jobs end before their workers begin; mend what {self._directory}/worker-{job.id}.log says"
            raise ExperimentError([Problem("--on", f"slurm, job {job.id} ({job.state})", remedy)], "command") from None

    async def _watch(self) -> None:
        while self._cluster.status == Status.running:
            await sleep(_LOOK_AT_JOBS_S)
            numbers = {name: job.job_id for name, job in self._cluster.workers.items() if name not in self._begun}
            for name, number in numbers.items():
                if (found := await to_thread(slurm.find_job, number)).has_ended and name not in self._begun:
                    self._lost.append(found)
                    self._cluster.workers.pop(name, None)    # upon which there will be another one
            if len(self._lost) >= _MOST_LOST:
                await self._cluster.close()


@contextmanager
def _in_this_job(ranks: int, security: Security) -> Iterator[Client]:
    """Start one worker on each node of the batch job that this process is in; the scheduler is in this process."""
    slurm.this_job()
    nodes = slurm.nodes_of_this_job()
    n = len(nodes)
    cores = max(ranks, int(os.environ.get("SLURM_NTASKS", n)) // n)
    step = ["srun", f"--nodes={n}", f"--ntasks={n}", "--ntasks-per-node=1", f"--cpus-per-task={cores}", "--overlap"]
    forget = [part for name in _PLACEMENT for part in ("-u", name)]    # so that mpirun stays on the worker's node
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", f"--nthreads={cores}", *_worker_options(cores)]
    files = security.get_tls_config_for_role("client")
    for option, name in {"ca-file": "ca_file", "cert": "cert", "key": "key"}.items():
        worker += [f"--tls-{option}", files[name]]
    options = {"protocol": "tls://", "security": security, "dashboard_address": _LOOPBACK}
    with (
        LocalCluster(n_workers=0, host=slurm.address_towards(nodes[-1]), **options) as cluster,
        Client(cluster) as client,
        Popen([*step, "env", *forget, *worker, cluster.scheduler_address], start_new_session=True) as workers,
    ):
        try:
            _wait_for_workers(client, n, workers)
            yield client
        finally:
            cluster.close()    # upon which the workers end
            with suppress(TimeoutExpired):
                workers.wait(_CONNECT_S)
            workers.terminate()


def _wait_for_workers(client: Client, n: int, step: Popen[bytes]) -> None:
    """Wait for the workers of a job step; after a while go on with those that are there."""
    deadline = time.monotonic() + _START_S
    while (there := len(client.scheduler_info(n_workers=-1)["workers"])) < n:
        if step.poll() is not None:
            raise _refusal("allocation", "srun could not start workers on the nodes of this job; it said why above")
        if there and time.monotonic() > deadline:
            break
        time.sleep(0.1)


_PLACEMENT = ("SLURM_JOBID", "SLURM_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NNODES", "SLURM_JOB_NUM_NODES")


def _worker_options(ranks: int) -> list[str]:
    # what a worker tells without TLS stays on its node; no limit of memory: the engines are processes of their own
    options = {"resources": f"{RESOURCE}={ranks}", "dashboard-address": _LOOPBACK, "memory-limit": "0"}
    return ["--no-dashboard", *(part for option, value in options.items() for part in (f"--{option}", value))]


def _connect(address: str) -> Client:
    try:
        return Client(address, timeout=_CONNECT_S)    # its credentials are in Dask's configuration
    except (OSError, ValueError, TypeError) as error:
        remedy = f"no scheduler answers ({error}); check the address, and Dask's settings of security"
        raise _refusal(address, remedy) from None


def _check_workers(client: Client, address: str, ranks: int) -> None:
    """Refuse workers that would never take a run; those to come are not known."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if workers and not runs_at_once(client, ranks):
        remedy = f"no worker takes {ranks} ranks; start workers with --resources {RESOURCE}={ranks}, or more"
        raise _refusal(address, remedy)


def _refusal(on: str, remedy: str) -> ExperimentError:
    return ExperimentError([Problem("--on", on, remedy)], "command")
