"""Branches: a new run from a checkpoint of another one, with changed dynamics."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpi_engine.compiled import build
from mpi_engine.dynamics.learning import Learning
from mpi_engine.experiment import CodingExperiment, Experiment, ExperimentError, Problem, find_changes, parse_experiment
from mpi_engine.network.partition import Partition
from mpi_engine.network.ranks import Ranks
from mpi_engine.output.checkpoints import Checkpoint, checkpoints, write_checkpoint
from mpi_engine.output.integrity import RunError
from mpi_engine.output.layout import Record
from mpi_engine.output.sealed import find_damage, open_sealed
from mpi_engine.output.writers import GatherWriter
from mpi_engine.run.coding_recording import CurrentRecorder
from mpi_engine.run.directory import DirectoryError, RunDirectory
from mpi_engine.run.health import Health
from mpi_engine.run.kinds import make_simulation
from mpi_engine.run.recording import NeuronRecorder
from mpi_engine.run.state import Common, Synapses, Variable

_FIXED = ("seed.network", "run.dt_ms", "run.state_dtype", "run.weight_dtype", "effective_time_constant",
          "populations.", "projections.", "kind", "teacher.", "network.size", "network.decoder.", "network.basis.",
          "network.compensates_leak", "learning.form", "learning.initial_std_per_s", "learning.density")
"""What the parent's network and the meaning of its state hang on."""

_WEIGHTS = ("weight_mv", "weight_scaling", "match_at_mv")

log = logging.getLogger("steelyard")


def branch(parent: Path, directory: Path, at: str, overrides: Sequence[str]) -> Path:
    """Make a new run directory with a checkpoint of another run, whose experiment is changed.

    States and weights are the parent's; the new run is begun with `resume`. Recorders go on as they are; if the
    recording is changed, they begin anew.

    Parameters
    ----------
    parent : Path
        A run directory.
    directory : Path
        The new one; must be empty or not exist.
    at : str
        Time of the checkpoint [ms], or ``latest``.
    overrides : sequence of str
        Settings like ``plasticity.homeostatic.learning_rate_mv=0``.

    Returns
    -------
    Path
        The new run's checkpoint.

    Raises
    ------
    ExperimentError
        If the experiment is wrong, or what is changed needs another network or another state.
    DirectoryError
        If the parent is no run, or the new directory cannot be used.
    RunError
        If the checkpoint is damaged.
    """
    checkpoint = _choose(parent, at)
    old = parse_experiment(tomllib.loads(checkpoint.experiment), (), str(checkpoint.path), None)
    new = parse_experiment(tomllib.loads(checkpoint.experiment), overrides, str(checkpoint.path))
    changes = find_changes(old, new)
    problems = [*_find_fixed(old, new, changes), *_find_other_basis(old, new), *_find_other_traces(old, new),
                *_find_times(old, new, checkpoint.step, changes)]
    if problems:
        raise ExperimentError(problems, str(parent))
    origin = {"path": str(parent.absolute()), "hash": old.hash, "step": checkpoint.step}
    with open_sealed(checkpoint.path) as file:
        state = list(_state_of_branch(file, new, checkpoint, changes))
        claimed = RunDirectory.new(directory, new, origin)
        try:
            path = write_checkpoint(GatherWriter(None), directory, checkpoint.step, new, build(), state)
        finally:
            claimed.release()
    log.info("branched from %s; begin with: steelyard resume %s", checkpoint.path, directory)
    return path


def _choose(parent: Path, at: str) -> Checkpoint:
    paths = checkpoints(parent)
    found = [Checkpoint(path) for path in (paths[-1:] if at == "latest" else paths)]
    if not found:
        raise DirectoryError(f"run directory = {parent}: has no checkpoint; name the directory of a run that has one")
    dt_ms = [parse_experiment(tomllib.loads(c.experiment), (), str(c.path), None).run.dt_ms for c in found]
    times = [checkpoint.step * dt for checkpoint, dt in zip(found, dt_ms, strict=True)]
    chosen = [checkpoint for checkpoint, time in zip(found, times, strict=True) if _is_time(at, time)]
    if at == "latest":
        chosen = found
    if not chosen:
        listed = ", ".join(f"{time:.10g}" for time in times)
        remedy = f"{parent} has no checkpoint of then; name latest, or one of: {listed}"
        raise ExperimentError([Problem("--at", at, remedy)], "command")
    if damage := find_damage(chosen[-1].path):
        raise RunError(damage[0])
    return chosen[-1]


def _is_time(at: str, time_ms: float) -> bool:
    try:
        return bool(np.isclose(float(at), time_ms, rtol=1e-12, atol=1e-9))
    except ValueError:
        return False


def _find_fixed(old: Experiment, new: Experiment, changes: Mapping[str, Any]) -> Iterator[Problem]:
    """Find changes that need another network, or that would have no effect."""
    for key, value in changes.items():
        part, name, *rest = [*key.split("."), ""]
        static = name in old.projections and not old.projections[name].rules
        # spikes under way are counted where all synapses are alike
        alike = static and old.projections[name].has_one_weight == new.projections[name].has_one_weight
        if part == "projections" and alike and rest[0] in _WEIGHTS:
            continue
        known = part == "subpopulations" and name in old.subpopulations
        if key.startswith(_FIXED) or known or (part == "inputs" and rest[0] == "size" and name in old.trains):
            remedy = "the network is the parent's, and so this cannot change; leave it, or begin a new run"
            yield Problem(key, repr(value), remedy)
        elif part == "neurons" and rest[0] in ("V_init_mv", "initial"):
            yield Problem(key, repr(value), "initial values are those of the parent's checkpoint; leave it out")


def _find_other_basis(old: Experiment, new: Experiment) -> Iterator[Problem]:
    """Find a change of the states over which a coding network's basis is decorrelated."""
    if not (isinstance(old, CodingExperiment) and isinstance(new, CodingExperiment)):
        return
    if old.network.basis.decorrelated and old.exploring_input != new.exploring_input:
        yield Problem("phases", "", "the basis is decorrelated over states that the teacher visits with the input of "
                      "the first phase that learns, and so this cannot change; leave it, or begin a new run")


def _find_other_traces(old: Experiment, new: Experiment) -> Iterator[Problem]:
    """Find rules that would take over the trace of another, as they are numbered by what they follow."""
    before, after = _numbered_traces(old), _numbered_traces(new)
    for (projection, rule, name), number in after.items():
        if before.get((projection, rule, name), number) != number:
            yield Problem(f"plasticity.{rule}", "", f"would take over {name} on {projection} from another rule: both "
                          "follow one trace now; let time constants differ, if by little, or begin a new run")


def _numbered_traces(experiment: Experiment) -> dict[tuple[str, str, str], int]:
    """Number of each trace in a checkpoint, by projection, rule and name."""
    learning = Learning(experiment)
    return {
        (projection, rule, name): (learning.presynaptic if name.endswith("_pre") else learning.postsynaptic)[trace]
        for projection in experiment.plastic for (rule, name), trace in learning.traces(projection).items()
    }


def _find_times(old: Experiment, new: Experiment, step: int, changes: Mapping[str, Any]) -> Iterator[Problem]:
    dt = old.run.dt_ms
    if new.n_steps <= step:
        yield Problem("run.duration_ms", f"{new.run.duration_ms:g}",
                      f"the checkpoint is of {step * dt:g} ms; name a time beyond it")
    rates = new.recording.rates
    if _records_differently(changes) and rates and step % new.steps(rates.bin_ms):
        yield Problem("recording.rates.bin_ms", f"{rates.bin_ms:g}",
                      f"the checkpoint, at {step * dt:g} ms, is within a bin, and other things were recorded in its "
                      "first part; leave the recording as it is, or choose another checkpoint")


def _records_differently(changes: Iterable[str]) -> bool:
    return any(key.startswith(("recording.", "subpopulations.")) and key != "recording.segment_ms" for key in changes)


def _state_of_branch(
    file: h5py.File, new: Experiment, checkpoint: Checkpoint, changes: Mapping[str, Any]
) -> Iterator[Record]:
    """Give the state of the branch: the parent's, but for recorders that begin anew and rules that change."""
    needed, given = _find_variables(new), checkpoint.schema()
    anew: dict[str, Variable] = {}
    if _records_differently(changes):
        anew = {variable.path: variable for variable in _begin_recorders(new, checkpoint.step)}
    for variable in needed:
        path, shape = variable.path, (variable.size, *variable.values.shape[1:])
        if path in anew:
            yield anew[path].record()
            continue
        fits = path in given and given[path][1] == variable.values.dtype.str
        if not fits or (given[path][0] != shape and not isinstance(variable, Synapses)):
            raise ExperimentError(
                [Problem(key, repr(value), f"needs a state that the parent does not have ({path}); leave it, or begin "
                         "a new run") for key, value in changes.items()], str(checkpoint.path)
            )
        yield from _copy(file, variable, _learns_differently(new, path, changes), checkpoint.step)
    yield Common.of("/recorded", np.zeros(1, np.int64), Ranks()).record()


def _begin_recorders(experiment: Experiment, step: int) -> list[Variable]:
    """List the state of recorders that begin at a step."""
    if isinstance(experiment, CodingExperiment):
        return CurrentRecorder(experiment, 0, experiment.n_neurons).state()
    recorder = NeuronRecorder(experiment, Partition.even(experiment.sizes, 1), 0)
    recorder.note(step)
    return recorder.state(Ranks())


def _copy(file: h5py.File, variable: Variable, relearns: bool, step: int) -> Iterator[Record]:
    """Copy a variable; where rules change, with the weights as they are now and not as of their last event."""
    path, now = variable.path, f"{variable.path}_now"
    values: Any = file[now if relearns and now in file else path]
    if relearns and path.endswith("/epoch"):
        values = np.full_like(variable.values, step)
    record = Record(path, values.shape, values.dtype, grows=False, values=values)
    yield record
    if now in file:
        yield replace(record, path=now, values=file[now])


def _learns_differently(new: Experiment, path: str, changes: Iterable[str]) -> bool:
    _, group, name, *_ = f"{path}//".split("/")
    rules = new.projections[name].rules if group == "synapses" else ()
    return any(key.startswith(f"plasticity.{rule}.") for key in changes for rule in rules)


def _find_variables(experiment: Experiment) -> list[Variable]:
    """List the variables of an experiment's state as a rank without neurons has them."""
    recording = experiment.recording.model_copy(update={"weights": None})      # no part of the state
    nobody = Partition({name: [0, 0, size] for name, size in experiment.partitioned.items()})
    simulation = make_simulation(experiment.model_copy(update={"recording": recording}), Ranks(), nobody)
    Health(simulation)     # has a part in the state
    return simulation.state
