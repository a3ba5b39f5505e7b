"""Checkpoints: the whole state of a run at a step, in sealed files of which the last two are kept.

A checkpoint falls on the edge of a segment: what was recorded until its step is in sealed segments, and what is
recorded later belongs to the steps that are done again when a run goes on from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mpi_engine.experiment import Experiment
from mpi_engine.output.integrity import RunError, checksum
from mpi_engine.output.layout import MANIFEST, Record, text
from mpi_engine.output.sealed import attributes_of, numbered_files, open_sealed
from mpi_engine.output.writers import Writer

CHECKPOINTS = "checkpoint"

GENERATIONS = 2
"""So many checkpoints are kept, lest the last one be damaged."""

SCHEMA = 3
"""Version of what a checkpoint holds, and of the networks that are drawn; another one cannot be gone on from."""

_EXPERIMENT = "/experiment"


class Checkpoint:
    """A checkpoint, by its file.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    RunError
        If it is missing, damaged, foreign, or of another version. Data are not looked at: see `find_damage`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_sealed(path) as file:
            attributes = attributes_of(file)
            if "schema" not in attributes or _EXPERIMENT not in file:
                raise RunError(f"{path}: is not a checkpoint; remove it")
            if attributes["schema"] != SCHEMA:
                raise RunError(
                    f"{path}: is a checkpoint of version {attributes['schema']}, and this Steelyard reads {SCHEMA}; "
                    "resume the run with the Steelyard that began it"
                )
            self.step, self.build = int(attributes["step"]), str(attributes["build"])
            self.experiment = bytes(file[_EXPERIMENT][()]).decode()

    def schema(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and type of every variable of the state, by path."""
        with open_sealed(self.path) as file:
            paths = [name.decode() for name in file[f"{MANIFEST}/dataset"][()]]
            return {path: (file[path].shape, file[path].dtype.str) for path in paths if path != _EXPERIMENT}

    def read(self, path: str, start: int, stop: int) -> NDArray[Any]:
        """Read the rows of a variable from start to stop."""
        with open_sealed(self.path) as file:
            values: NDArray[Any] = file[path][start:stop]
        return values


def checkpoints(run_dir: Path) -> list[Path]:
    """List the checkpoints of a run in the order of time."""
    return numbered_files(run_dir / CHECKPOINTS)


def last_checkpoint(run_dir: Path) -> int:
    """Step of the last checkpoint of a run, damaged or not; -1 before the first."""
    paths = checkpoints(run_dir)
    return int(paths[-1].stem) if paths else -1


def write_checkpoint(
    writer: Writer, run_dir: Path, step: int, experiment: Experiment, build: str, state: Sequence[Record]
) -> Path:
    """Collective. Write a checkpoint, and remove those that are older than the one before it.

    Parameters
    ----------
    writer : Writer
        How.
    run_dir : Path
        The run directory.
    step : int
        Steps done.
    experiment : Experiment
        What is run.
    build : str
        What the bits depend on beside the experiment: see `mpi_engine.compiled.build`.
    state : sequence of Record
        The whole state.

    Returns
    -------
    Path
        The sealed file.
    """
    path = writer.on_first(lambda: _next_path(run_dir, step))
    attributes = {"schema": SCHEMA, "step": step, "build": build}
    writer.write(path, [*state, text(_EXPERIMENT, experiment.to_toml(), writer.rank == 0)], attributes)
    writer.on_first(lambda: _keep_last(run_dir))
    return path


def find_misfit(path: Path) -> str | None:
    """Say why a file cannot be gone on from as its name says, without a look at its data; None if it can."""
    try:
        step = Checkpoint(path).step
    except RunError as error:
        return str(error)
    return None if step == int(path.stem) else f"{path}: is the checkpoint of step {step}; remove it, or name it so"


def find_checkpoint_damage(writer: Writer, path: Path) -> str | None:
    """Collective. Compare a checkpoint with its manifest, each rank a share; say what is wrong, if anything."""
    problem = None
    try:
        with open_sealed(path) as file:
            pairs = zip(file[f"{MANIFEST}/dataset"][()], file[f"{MANIFEST}/checksum"][()], strict=True)
            for name, digest in list(pairs)[writer.rank :: writer.size]:
                if name.decode() not in file or checksum(file[name.decode()]) != digest.decode():
                    problem = f"{path}: {name.decode()} is missing or damaged"
        problem = problem or find_misfit(path)
    except RunError as error:
        problem = str(error)
    return next(filter(None, writer.allgather(problem)), None)


def _next_path(run_dir: Path, step: int) -> Path:
    (run_dir / CHECKPOINTS).mkdir(exist_ok=True)
    return run_dir / CHECKPOINTS / f"{step:012d}.h5"


def _keep_last(run_dir: Path) -> None:
    for path in checkpoints(run_dir)[:-GENERATIONS]:
        path.unlink()
