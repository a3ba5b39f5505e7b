"""A job: one experiment run from the first step to the one file, on all ranks."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from mpi_engine.experiment import Experiment, find_warnings
from mpi_engine.network.ranks import Ranks
from mpi_engine.network.streams import VERSION
from mpi_engine.output.provenance import provenance
from mpi_engine.output.segments import consolidate, seal
from mpi_engine.output.writers import Writer, choose_writer
from mpi_engine.run.directory import DirectoryError, RunDirectory
from mpi_engine.run.simulation import Simulation
from mpi_engine.run.watcher import Watcher

WriterName = Literal["parallel", "gather"]

log = logging.getLogger("steelyard")


class Timings(dict[str, float]):
    """Seconds spent, by phase."""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of a block to a phase."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self[name] = self.get(name, 0.0) + time.monotonic() - begin


def run(
    experiment: Experiment, directory: Path, ranks: Ranks | None = None, writer: WriterName | None = None
) -> Path | None:
    """Collective. Run an experiment into a new directory.

    Parameters
    ----------
    experiment : Experiment
        What is run.
    directory : Path
        The run directory; must be empty or not exist.
    ranks : Ranks, optional
        Who takes part; one rank if not given.
    writer : {"parallel", "gather"}, optional
        How the ranks write; parallel where h5py can, if not given.

    Returns
    -------
    Path or None
        ``run.h5``; None if the run was stopped before its end by a signal, with all it has recorded in segments.

    Raises
    ------
    DirectoryError
        If the directory cannot be used; on every rank.
    LaunchError
        If the ranks do not fit together.
    """
    ranks = ranks or Ranks()
    chosen = choose_writer(ranks.comm, writer)
    claimed = _claim(directory, experiment, ranks)
    try:
        with _log_file(claimed), Watcher(claimed) as watcher:
            path = _run(experiment, directory, ranks, chosen, watcher)
            watcher.enter("stopped" if path is None else "done")
    finally:
        if claimed is not None:
            claimed.release()
    return path


def _run(experiment: Experiment, directory: Path, ranks: Ranks, writer: Writer, watcher: Watcher) -> Path | None:
    timings, started = Timings(), time.time()
    for warning in find_warnings(experiment):
        log.warning("%s", warning)
    log.info("building %s neurons on %d ranks", f"{experiment.n_neurons:,}", ranks.size)
    with timings.phase("build"):
        simulation = Simulation(experiment, ranks)
    synapses = sum(int(ranks.sum(rows.in_degree.sum(keepdims=True))[0]) for rows in simulation.rows.values())
    log.info("built %s synapses in %.1f s", f"{synapses:,}", timings["build"])
    watcher.enter("compiling", simulation)
    log.info("compiling the step, or loading it from the cache")
    with timings.phase("compile"):
        simulation.compile()
    log.info("compiled in %.1f s; this is not counted as running time", timings["compile"])
    simulation.start()
    stopped = _run_segments(simulation, directory, writer, watcher, timings)
    if stopped:
        log.warning("stopped after step %d of %d; what was recorded is in %s", simulation.step, experiment.n_steps,
                    directory / "segments")
        return None
    watcher.enter("writing")
    duration_s = experiment.run.duration_ms * 1e-3
    log.info("ran %.1f s in %.1f s (%.2f biological seconds a second), written in %.1f s", duration_s,
             timings["run"], duration_s / timings["run"], timings["write"])
    path = consolidate(writer, directory, provenance(writer, experiment, started, timings, VERSION))
    log.info("finished: %s", path)
    return path


def _run_segments(
    simulation: Simulation, directory: Path, writer: Writer, watcher: Watcher, timings: Timings
) -> bool:
    """Collective. Advance to the end and seal the segments; return whether a signal stopped it before."""
    e = simulation.experiment
    segment = e.steps(e.recording.segment_ms)
    status = 0
    while simulation.step < e.n_steps and not status:
        first = simulation.step
        edge = min((first // segment + 1) * segment, e.n_steps)
        watcher.enter("running", simulation)
        with timings.phase("run"):
            status = simulation.advance(edge)
        watcher.enter("writing")
        with timings.phase("write"):
            seal(writer, directory, first, simulation.step, e.run.dt_ms, simulation.take_records())
    return simulation.step < e.n_steps


def _claim(directory: Path, experiment: Experiment, ranks: Ranks) -> RunDirectory | None:
    """Collective. Claim the directory on rank 0, and tell everyone if that failed."""
    claimed, problem = None, None
    if ranks.is_first:
        try:
            claimed = RunDirectory(directory, experiment)
        except DirectoryError as error:
            problem = str(error)
    problem = ranks.broadcast(problem)
    if problem is not None:
        raise DirectoryError(problem)
    return claimed


@contextmanager
def _log_file(directory: RunDirectory | None) -> Iterator[None]:
    if directory is None:
        yield
        return
    handler = logging.FileHandler(directory.log, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
