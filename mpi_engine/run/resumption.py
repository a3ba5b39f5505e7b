"""Where a run goes on: the last good checkpoint, with everything that was recorded until then and nothing else."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mpi_engine.compiled import build
from mpi_engine.experiment import (
    Experiment,
    ExperimentError,
    Problem,
    find_changes,
    load_experiment,
    may_change,
    parse_experiment,
)
from mpi_engine.output.checkpoints import CHECKPOINTS, Checkpoint, checkpoints, find_checkpoint_damage
from mpi_engine.output.integrity import RunError
from mpi_engine.output.sealed import RUN_FILE, read_contents
from mpi_engine.output.segments import find_gap, go_back, reopen
from mpi_engine.output.writers import Writer
from mpi_engine.run.directory import EXPERIMENT_FILE, RunDirectory, read_parent, require_run

log = logging.getLogger("steelyard")


def change_experiment(run_dir: Path, overrides: Sequence[str]) -> Experiment:
    """Read the experiment of a run that is to go on, with changes that neither its dynamics nor its records feel.

    Raises
    ------
    DirectoryError
        If there is no run.
    ExperimentError
        If the experiment is wrong, or other keys are changed.
    """
    require_run(run_dir)
    path = run_dir / EXPERIMENT_FILE
    old, new = load_experiment(path), load_experiment(path, overrides)
    refuse_changes(run_dir, old, new)
    return new


def refuse_changes(run_dir: Path, old: Experiment, new: Experiment) -> None:
    """Raise `ExperimentError` if two experiments differ in a key that must stay as it is in the middle of a run."""
    remedy = f"cannot change within a run; make a branch of it: steelyard branch {run_dir} --at latest -o NEW --set"
    problems = [
        Problem(key, repr(value), f"{remedy} {key}={value}")
        for key, value in find_changes(old, new).items() if not may_change(key)
    ]
    if problems:
        raise ExperimentError(problems, str(run_dir / EXPERIMENT_FILE))


def find_start(
    writer: Writer, run_dir: Path, claimed: RunDirectory | None, experiment: Experiment
) -> Checkpoint | None:
    """Collective. Find the checkpoint that a run goes on from, and throw away what is later than it.

    Parameters
    ----------
    writer : Writer
        Knows the ranks.
    run_dir : Path
        The run directory.
    claimed : RunDirectory or None
        The directory, on rank 0.
    experiment : Experiment
        What is to be run, see `change_experiment`; from now on, the directory says so too.

    Returns
    -------
    Checkpoint or None
        None if there is none, and the run begins anew.

    Raises
    ------
    RunError
        If all checkpoints are damaged, or do not fit what is recorded.
    ExperimentError
        If the experiment is not the checkpoint's.
    """
    checkpoint = _last_good(writer, run_dir)

    def prepare() -> None:
        if checkpoint is None:
            _begin_anew(run_dir)
        else:
            _check(run_dir, checkpoint, experiment)
        assert claimed is not None
        claimed.write_experiment(experiment)
        if (run_dir / RUN_FILE).exists():
            reopen(run_dir)
        begin = _begin_of(run_dir)
        go_back(run_dir, begin, begin if checkpoint is None else checkpoint.step)
        for path in checkpoints(run_dir):
            if checkpoint is not None and int(path.stem) > checkpoint.step:
                path.unlink()

    writer.on_first(prepare)
    return checkpoint


def finished_step(run_dir: Path) -> int | None:
    """Say at which step a finished run ended; None if there is no run file."""
    path = run_dir / RUN_FILE
    return read_contents(path).last_step if path.exists() else None


def _last_good(writer: Writer, run_dir: Path) -> Checkpoint | None:
    problem = ""
    paths = writer.on_first(lambda: checkpoints(run_dir))
    for path in reversed(paths):
        found = find_checkpoint_damage(writer, path)
        found = found or writer.on_first(partial(_find_gap, run_dir, int(path.stem)))
        if not found:
            return Checkpoint(path)
        problem = found
        log.warning("%s; trying the checkpoint before it", problem)
    if paths:
        remedy = f"restore the file from a copy, or remove {run_dir / CHECKPOINTS} to begin the run anew"
        raise RunError(f"{problem}; no checkpoint is left to go on from: {remedy}")
    return None


def _find_gap(run_dir: Path, step: int) -> str:
    """Say which part of the run until a checkpoint is not recorded; empty if all is."""
    begin, whole = _begin_of(run_dir), run_dir / RUN_FILE
    if whole.exists():
        end = read_contents(whole).last_step
        return "" if end == step else f"{whole}: ends at step {end}, the checkpoint is of step {step}"
    return find_gap(run_dir, begin, step)


def _begin_of(run_dir: Path) -> int:
    """Steps that a run did not do itself: those of its parent, if it is a branch."""
    return int(read_parent(run_dir).get("step", 0))


def _begin_anew(run_dir: Path) -> None:
    if read_parent(run_dir):
        raise RunError(f"{run_dir}: the branch has no checkpoint to begin from; remove it, and make it again")
    if (run_dir / RUN_FILE).exists():
        raise RunError(f"{run_dir}: has finished, and has no checkpoint at its end to be made longer from; run it anew")
    log.warning("there is no checkpoint: the run begins anew")


def _check(run_dir: Path, checkpoint: Checkpoint, experiment: Experiment) -> None:
    origin = str(checkpoint.path)
    refuse_changes(run_dir, parse_experiment(tomllib.loads(checkpoint.experiment), (), origin, None), experiment)
    if experiment.n_steps < checkpoint.step:
        reached = checkpoint.step * experiment.run.dt_ms
        problem = f"the run is at {reached:g} ms already; name a time beyond it"
        raise ExperimentError([Problem("run.duration_ms", f"{experiment.run.duration_ms:g}", problem)], origin)
    if checkpoint.build != build():
        log.warning("Steelyard, its packages or the CPU are not those of the checkpoint: the last bits may differ")
