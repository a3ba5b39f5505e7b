"""A job: one experiment run from the first step, or a checkpoint, to the one file, on all ranks."""

from __future__ import annotations

import logging
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from mpi_engine.compiled import build
from mpi_engine.dynamics.stopwatch import Timings
from mpi_engine.experiment import Experiment, ExperimentError, find_warnings
from mpi_engine.network.ranks import Ranks
from mpi_engine.network.streams import VERSION
from mpi_engine.output.checkpoints import Checkpoint, write_checkpoint
from mpi_engine.output.provenance import provenance
from mpi_engine.output.recorded import tell_shares
from mpi_engine.output.segments import consolidate, seal
from mpi_engine.output.writers import Writer, choose_writer
from mpi_engine.run.directory import RunDirectory, read_parent
from mpi_engine.run.health import Health, UnhealthyError, write_dump
from mpi_engine.run.kinds import make_ready, make_simulation
from mpi_engine.run.resumption import change_experiment, find_start, finished_step
from mpi_engine.run.stepping import Stepping
from mpi_engine.run.walltime import WallTime
from mpi_engine.run.watcher import CHECKPOINT, STOP, WATCHDOG_S, Watcher

WriterName = Literal["parallel", "gather"]

log = logging.getLogger("steelyard")


def run(
    experiment: Experiment,
    directory: Path,
    ranks: Ranks | None = None,
    writer: WriterName | None = None,
    wall_time: WallTime | None = None,
    watchdog_s: float = WATCHDOG_S,
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
    wall_time : WallTime, optional
        The time limit, before which the run stops.
    watchdog_s : float
        See `Watcher`.

    Returns
    -------
    Path or None
        ``run.h5``; None if the run was stopped before its end, with a checkpoint to go on from.

    Raises
    ------
    DirectoryError
        If the directory cannot be used; on every rank.
    LaunchError
        If the ranks do not fit together.
    """
    ranks = ranks or Ranks()
    chosen = choose_writer(ranks.comm, writer)
    claimed = _claim(lambda: RunDirectory.new(directory, experiment), ranks)
    with _held(claimed, Watcher(claimed, ranks, wall_time, watchdog_s)) as watcher:
        return Job(experiment, directory, ranks, chosen, watcher).go_on(None)


def resume(
    directory: Path,
    overrides: Sequence[str] = (),
    ranks: Ranks | None = None,
    writer: WriterName | None = None,
    wall_time: WallTime | None = None,
    watchdog_s: float = WATCHDOG_S,
) -> Path | None:
    """Collective. Go on with a run from its last good checkpoint, on any number of ranks.

    Without a checkpoint it begins anew; a finished run is left as it is, unless it is to last longer.

    Parameters
    ----------
    directory : Path
        The run directory.
    overrides : sequence of str
        Settings like ``run.duration_ms=2000``; see `change_experiment`.
    ranks, writer, wall_time, watchdog_s
        See `run`.

    Returns
    -------
    Path or None
        See `run`.

    Raises
    ------
    DirectoryError
        If there is no run, or another job holds it.
    ExperimentError
        If what was changed must stay as it is within a run.
    RunError
        If there is no good checkpoint left.
    LaunchError
        If the ranks do not fit together.
    """
    ranks = ranks or Ranks()
    chosen = choose_writer(ranks.comm, writer)
    experiment = chosen.on_first(lambda: change_experiment(directory, overrides))
    claimed = _claim(lambda: RunDirectory.existing(directory), ranks)
    with _held(claimed, Watcher(claimed, ranks, wall_time, watchdog_s)) as watcher:
        job = Job(experiment, directory, ranks, chosen, watcher)
        ended = chosen.on_first(lambda: finished_step(directory))
        if ended is not None and ended >= experiment.n_steps:
            log.info("the run has finished already")
            return job.finish()
        return job.go_on(find_start(chosen, directory, claimed, experiment))


class Job:
    """The course of a run in a directory that is claimed.

    Parameters
    ----------
    experiment : Experiment
        What is run.
    directory : Path
        The run directory.
    ranks : Ranks
        Who takes part.
    writer : Writer
        How they write.
    watcher : Watcher
        Is told what the job does.
    """

    def __init__(
        self, experiment: Experiment, directory: Path, ranks: Ranks, writer: Writer, watcher: Watcher
    ) -> None:
        self._experiment, self._directory, self._ranks = experiment, directory, ranks
        self._writer, self._watcher = writer, watcher
        self._timings, self._started, self._simulated_ms = Timings(), time.time(), 0.0
        self._split: dict[str, float] = {}

    def go_on(self, checkpoint: Checkpoint | None) -> Path | None:
        """Collective. Run to the end, from a checkpoint or from the first step; return as `run` does."""
        if checkpoint is None or checkpoint.step < self._experiment.n_steps:
            simulation = self._prepare(checkpoint)
            if simulation is not None:
                self._advance_in_health(simulation)
            if simulation is None or simulation.step < self._experiment.n_steps:
                reason = self._watcher.why_to_stop()
                self._watcher.enter("stopped")
                stand = checkpoint if simulation is None else simulation
                where = "before the first step" if stand is None else f"at step {stand.step}"
                log.warning("stopped %s of %d by %s; go on with: steelyard resume %s", where,
                            self._experiment.n_steps, reason, self._directory)
                return None
        return self.finish()

    def finish(self) -> Path:
        """Collective. Make the one file of all segments, if it is not there."""
        self._watcher.enter("finishing")
        parent = self._writer.on_first(lambda: read_parent(self._directory))
        records = provenance(
            self._writer, self._experiment, self._started, self._timings, VERSION, parent, self._measured()
        )
        path = consolidate(self._writer, self._directory, records)
        log.info("finished: %s", path)
        self._watcher.enter("done")
        return path

    def _prepare(self, checkpoint: Checkpoint | None) -> Stepping | None:
        """Collective. Build and compile the simulation, and put it at its first step or at a checkpoint.

        Returns
        -------
        Stepping or None
            None if a stop is agreed upon before there is anything to save.
        """
        e, ranks = self._experiment, self._ranks
        for warning in find_warnings(e):
            log.warning("%s", warning)
        log.info("building %s neurons on %d rank%s", f"{e.n_neurons:,}", ranks.size, "s" * (ranks.size > 1))
        with self._timings.phase("compile"):
            make_ready(e, ranks)
        with self._timings.phase("build"):
            simulation = make_simulation(e, ranks)
            self._health = Health(simulation)
        log.info("built %s synapses in %.1f s", f"{simulation.n_synapses:,}", self._timings["build"])
        if self._watcher.why_to_stop():
            return None
        self._watcher.enter("compiling", simulation)
        log.info("compiling the step, or loading it from the cache")
        with self._timings.phase("compile"):
            simulation.compile()
        log.info("compiled in %.1f s; this is not counted as running time", self._timings["compile"])
        if self._watcher.why_to_stop():
            return None
        if checkpoint is None:
            simulation.start()
        else:
            simulation.restore(checkpoint.read)
            log.info("going on from %s", checkpoint.path)
        return simulation

    def _advance_in_health(self, simulation: Stepping) -> None:
        """Collective. Advance; seal what was recorded before an end that nobody asked for.

        Where the state is unhealthy, it is saved beside the last checkpoint, which stays.
        """
        try:
            self._advance(simulation)
        except (ExperimentError, UnhealthyError) as verdict:
            # before the state, for which a full disk may have no room
            if isinstance(verdict, UnhealthyError) and self._ranks.is_first:
                log.error("%s", verdict)
            if self._unsealed_from < simulation.step:
                self._seal(simulation)
            if isinstance(verdict, UnhealthyError):
                write_dump(self._writer, self._directory, simulation, verdict)
            raise

    def _advance(self, simulation: Stepping) -> None:
        """Collective. Advance to the end, or to where a stop is agreed upon, and save what was recorded and the state.

        A segment ends where its time is over, its memory is full, or a checkpoint is due.
        """
        e, first_of_all = self._experiment, simulation.step
        segment = e.steps(e.recording.segment_ms)
        every = e.steps(e.run.checkpoint_every_ms) if e.run.checkpoint_every_ms else e.n_steps
        self._unsealed_from, status = simulation.step, 0
        simulation.stopwatch.clear()     # of what was made ready before the first step
        while simulation.step < e.n_steps and not status & STOP:
            first = simulation.step
            edges = [(first // length + 1) * length for length in (segment, every)]
            self._watcher.enter("running", simulation)
            with self._timings.phase("run"):
                status = self._health.advance(min(*edges, e.n_steps))
            self._seal(simulation)
            if status & (STOP | CHECKPOINT) or simulation.step % every == 0 or simulation.step == e.n_steps:
                self._health.check_all()
                self._checkpoint(simulation)
        self._simulated_ms = (simulation.step - first_of_all) * e.run.dt_ms
        self._split = self._split_time(simulation)
        done_s, ran_s = self._simulated_ms * 1e-3, self._timings["run"]
        log.info("ran %.1f s in %.1f s (%.2f biological seconds a second), written in %.1f s", done_s, ran_s,
                 done_s / ran_s, self._timings["write"])
        splits = self._ranks.gather(self._split)
        log.info("time: %s", tell_shares({name: [split[name] for split in splits] for name in self._split}))

    def _split_time(self, simulation: Stepping) -> dict[str, float]:
        """Wall time of the run until now on this rank [s], by part; what no other part has is "other"."""
        split, timings = simulation.stopwatch.split(), self._timings
        split["other"] = max(timings["run"] - sum(split.values()), 0.0)
        return split | {name: timings[name] for name in ("write", "checkpoint") if name in timings}

    def _measured(self) -> dict[str, float]:
        """What this rank spent since the run began, or was resumed; nothing if no step was left to do."""
        if not self._split:
            return {}
        return {
            **{f"time_split_s/{name}": seconds for name, seconds in self._split.items()},
            "cpu_s": self._timings.cpu_s["run"],
            "peak_memory_mb": _peak_memory() * 1e-6,
            "simulated_ms": self._simulated_ms,
        }

    def _seal(self, simulation: Stepping) -> None:
        """Collective. Seal what was recorded since the last segment."""
        self._watcher.enter("writing")
        with self._timings.phase("write"):
            span, dt_ms = (self._unsealed_from, simulation.step), self._experiment.run.dt_ms
            seal(self._writer, self._directory, *span, dt_ms, simulation.take_records())
        self._unsealed_from = simulation.step

    def _checkpoint(self, simulation: Stepping) -> None:
        self._watcher.enter("checkpointing")
        with self._timings.phase("checkpoint"):
            state = simulation.save()
            write_checkpoint(self._writer, self._directory, simulation.step, self._experiment, build(), state)


def _peak_memory() -> int:
    """Most memory of this process that was resident [bytes]."""
    status = Path("/proc/self/status")
    told = re.search(r"VmHWM:\s*(\d+) kB", status.read_text(encoding="utf-8")) if status.exists() else None
    if told:
        return 1024 * int(told[1])
    # elsewhere: with what the process that began this one had at that time
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _claim(claim: Callable[[], RunDirectory], ranks: Ranks) -> RunDirectory | None:
    """Collective. Claim the directory on rank 0, which alone holds it; if that fails, it does so for every rank."""
    claimed = ranks.on_first(claim)
    return claimed if ranks.is_first else None


@contextmanager
def _held(directory: RunDirectory | None, watcher: Watcher) -> Iterator[Watcher]:
    """Watch over a claimed directory, with its log, and let go of it in the end."""
    try:
        with _log_file(directory), watcher:
            yield watcher
    finally:
        if directory is not None:
            directory.release()


class _LogFile(logging.FileHandler):
    """A log that a full disk leaves without a line: why the run ends is told elsewhere too."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Leave the line out."""


@contextmanager
def _log_file(directory: RunDirectory | None) -> Iterator[None]:
    if directory is None:
        yield
        return
    handler = _LogFile(directory.log, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
