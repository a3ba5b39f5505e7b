"""Dask clients: of workers on this machine, or of a scheduler that somebody else has started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from distributed import Client, LocalCluster

from mpi_engine.experiment import ExperimentError, Problem

RESOURCE = "ranks"
"""Abstract resource by which Dask bounds the ranks in flight: workers have some of it, and every run takes its own."""

_CONNECT_S = 30


@contextmanager
def open_client(on: str, ranks: int, slots: int) -> Iterator[Client]:
    """Provide a client whose workers can start engines, as a context.

    Parameters
    ----------
    on : str
        "local", or the address of a scheduler, like ``tls://node:8786``.
    ranks : int
        Ranks of each run.
    slots : int
        Ranks at once on this machine, for "local"; at least one run at a time.

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
    elif "://" in on:
        with _connect(on) as client:
            _check_workers(client, on, ranks)
            yield client
    else:
        raise _refusal(on, "must be local, or a scheduler's address like tcp://127.0.0.1:8786")


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
        dashboard_address="127.0.0.1:0",
        memory_limit=0,    # of the worker; the engines are not in it
        resources={RESOURCE: at_once * ranks},
    )


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
