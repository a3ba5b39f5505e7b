"""What starts one engine on its ranks: mpirun, a job step or a batch job; and what can be checked before.

Nothing is written here, and nothing started: see `orchestration.engine`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from mpi_engine.experiment import Experiment, ExperimentError, Problem, load_experiment
from mpi_engine.experiment.files import read_toml
from mpi_engine.run.directory import EXPERIMENT_FILE, what_is_in
from mpi_engine.run.walltime import RESERVE_S, check_limit
from orchestration.engine import find_mpirun

Launcher = Literal["mpirun", "srun", "sbatch"]
LAUNCHERS = get_args(Launcher)


@dataclass(frozen=True)
class Launch:
    """One run that can be started, or gone on with: see `prepare` and `prepare_resume`.

    Parameters
    ----------
    file : Path or None
        The experiment; None goes on with the run that is in the directory.
    directory : Path
        The run directory; the engine makes it for a new run.
    ranks : int
        Number of MPI ranks; one needs no MPI.
    overrides : tuple of str
        Settings like ``populations.E.size=4000``.
    writer : {"parallel", "gather"}, optional
        How the ranks write; the engine chooses if it is not given.
    max_walltime_s : float, optional
        Time after which the engine has to be over [s]; that of the batch job if not given.
    reserve_s : float, optional
        Time to leave before that limit [s]; the engine's own if not given.
    only_calibrates : bool
        Whether the engine only measures what a run takes.
    launcher : {"mpirun", "srun", "sbatch"}
        What starts the ranks: mpirun, here or on the nodes of the batch job that this is in; a job step of that job; a
        batch job of its own.
    """

    file: Path | None
    directory: Path
    ranks: int = 1
    overrides: tuple[str, ...] = ()
    writer: str | None = None
    max_walltime_s: float | None = None
    reserve_s: float | None = None
    only_calibrates: bool = False
    launcher: Launcher = "mpirun"

    @property
    def action(self) -> str:
        """The engine's word for it: ``run``, ``resume`` or ``calibrate``."""
        return "calibrate" if self.only_calibrates else "resume" if self.file is None else "run"

    def command(self) -> list[str]:
        """Spell the command that starts the engine, what starts its ranks included."""
        words = [self.action]
        words += [str(self.directory)] if self.file is None else [str(self.file), "-o", str(self.directory)]
        for override in self.overrides:
            words += ["--set", override]
        options = {"writer": self.writer, "max-walltime": self.max_walltime_s, "reserve": self.reserve_s}
        for option, value in options.items():
            words += [] if value is None else [f"--{option}", str(value)]
        engine = [sys.executable, "-m", "mpi_engine", *words]
        if self.launcher == "sbatch":
            return [sys.executable, "-m", "orchestration.batch", "submit", str(self.ranks), str(self.directory), *words]
        if self.launcher == "srun":
            plugin = os.environ.get("SLURM_MPI_TYPE")
            how = [] if plugin is None else [f"--mpi={plugin}"]
            return ["srun", f"--ntasks={self.ranks}", "--kill-on-bad-exit=1", *how, *engine]
        return engine if self.ranks == 1 else [str(find_mpirun()), "-n", str(self.ranks), *engine]


def prepare(
    file: Path,
    directory: Path | None = None,
    ranks: int = 1,
    overrides: Sequence[str] = (),
    writer: str | None = None,
    max_walltime_s: float | None = None,
    reserve_s: float | None = None,
    launcher: Launcher = "mpirun",
) -> Launch:
    """Check everything that can be checked before ranks are started, and write nothing.

    Parameters
    ----------
    file, directory, ranks, overrides, writer, max_walltime_s, reserve_s, launcher
        See `Launch`. Without a directory: ``runs/<name of the file>-<start of the experiment's hash>``.

    Returns
    -------
    Launch

    Raises
    ------
    ExperimentError
        If the experiment is wrong, the directory is not free, so many ranks cannot be started, or the time limit leaves
        no time to run.
    """
    experiment = read_experiment(file, overrides)
    directory = directory or Path("runs") / f"{file.stem}-{experiment.hash[:8]}"
    launch = Launch(file, directory, ranks, tuple(overrides), writer, max_walltime_s, reserve_s, launcher=launcher)
    _refuse([*_problems_of_directory(directory), *_problems_of_ranks(ranks, launcher)])
    _check_limit(launch)
    return launch


def prepare_resume(
    directory: Path,
    ranks: int | None = None,
    overrides: Sequence[str] = (),
    writer: str | None = None,
    max_walltime_s: float | None = None,
    reserve_s: float | None = None,
    launcher: Launcher = "mpirun",
) -> Launch:
    """Check what can be checked before ranks are started to go on with a run.

    Parameters
    ----------
    directory, ranks, overrides, writer, max_walltime_s, reserve_s, launcher
        See `Launch`. As many ranks as before if not given.

    Returns
    -------
    Launch

    Raises
    ------
    ExperimentError
        If the directory holds no run, so many ranks cannot be started, or the time limit leaves no time to run.
    """
    check_holds_run(directory)
    ranks = read_status(directory).get("ranks", 1) if ranks is None else ranks
    launch = Launch(None, directory, ranks, tuple(overrides), writer, max_walltime_s, reserve_s, launcher=launcher)
    check_ranks(ranks, launcher)
    _check_limit(launch)
    return launch


def read_experiment(file: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment, and know a sweep, which is none, from one with mistakes; raises `ExperimentError`."""
    if "experiment" in read_toml(file):
        _refuse([Problem("FILE", str(file), f"is a sweep; steelyard sweep run {file}")])
    return load_experiment(file, overrides)


def check_holds_run(directory: Path) -> None:
    """Refuse a directory that holds no run.

    Raises
    ------
    ExperimentError
        If it does not.
    """
    if not (directory / EXPERIMENT_FILE).exists():
        _refuse([Problem("RUN", str(directory), "holds no run; name the directory that steelyard run has written to")])


def read_status(directory: Path) -> dict[str, Any]:
    """Read the heartbeat of a run; empty before its first, and where a crash of the machine has damaged it."""
    try:
        status: dict[str, Any] = json.loads((directory / "status.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return status


def check_ranks(ranks: int, launcher: Launcher = "mpirun") -> None:
    """Refuse a number of ranks that cannot be started here; raises `ExperimentError`."""
    _refuse(list(_problems_of_ranks(ranks, launcher)))


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise ExperimentError(problems, "command")


def _check_limit(launch: Launch) -> None:
    if launch.max_walltime_s is not None:
        check_limit(launch.max_walltime_s, RESERVE_S if launch.reserve_s is None else launch.reserve_s)


def _problems_of_directory(directory: Path) -> Iterator[Problem]:
    if directory.exists() and not directory.is_dir():
        yield Problem("-o", str(directory), "is a file; name a directory")
    elif directory.exists() and (found := what_is_in(directory)):
        yield Problem("-o", str(directory), found)


def _problems_of_ranks(ranks: int, launcher: Launcher) -> Iterator[Problem]:
    if ranks < 1:
        yield Problem("-n", str(ranks), "a run has at least one rank; give 1 or more")
    elif launcher != "mpirun":
        if shutil.which(launcher) is None:
            yield Problem("--launcher", launcher, "is not on the PATH; load your site's SLURM, or take mpirun")
        elif launcher == "srun" and "SLURM_JOB_ID" not in os.environ:
            yield Problem("--launcher", launcher, "makes a step of a batch job, and this is in none; take mpirun")
    elif ranks > 1 and find_mpirun() is None:
        yield Problem("-n", str(ranks), "there is no mpirun on the PATH; load an MPI, or take -n 1")
    elif ranks > 1 and importlib.util.find_spec("mpi4py") is None:
        yield Problem("-n", str(ranks), "mpi4py is not installed; pip install 'steelyard[mpi]', or take -n 1")
