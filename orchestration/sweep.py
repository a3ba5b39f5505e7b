"""A sweep: one experiment with many settings, expanded to members that are known by what they simulate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy, deepcopy
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from mpi_engine.experiment import Experiment, ExperimentError, Problem, Seed, parse_experiment
from mpi_engine.experiment.files import read_toml, set_key
from mpi_engine.experiment.problems import suggest
from orchestration.launcher import LAUNCHERS, Launcher
from orchestration.slurm import Jobs, read_jobs

ID_DIGITS = 16
"""Digits of an experiment's hash that name a member: 64 bits tell any sweep's members apart."""

_KEYS = ("experiment", "ranks", "launcher", "slurm", "grid", "zip", "seeds")
_VARYING = ("grid", "zip", "seeds")
_SEED_PARTS = ("network", "input", "state", "noise")


@dataclass(frozen=True)
class Axis:
    """A direction of a sweep: keys of the experiment whose values change together.

    Parameters
    ----------
    settings : tuple of dict
        At each place the value of every key, by key path.
    """

    settings: tuple[dict[str, Any], ...]

    @property
    def name(self) -> str:
        """The first key."""
        return next(iter(self.settings[0]))


@dataclass(frozen=True)
class Member:
    """One run of a sweep.

    Parameters
    ----------
    id : str
        Start of the hash of its resolved experiment.
    settings : dict
        What distinguishes it from the base experiment, by key path.
    place : tuple of int
        Its place along each axis of the sweep.
    """

    id: str
    settings: dict[str, Any]
    place: tuple[int, ...]

    def __str__(self) -> str:
        """Name it by its id and settings, in one line."""
        return f"{self.id} ({', '.join(f'{key}={value}' for key, value in self.settings.items())})"


@dataclass(frozen=True)
class Sweep:
    """What a sweep file asks for: see `read_sweep`.

    Parameters
    ----------
    file : Path
        The sweep file.
    base : Path
        The experiment that is varied.
    table : dict
        What the base holds.
    ranks : int
        Number of ranks of each run.
    axes : tuple of Axis
        The members are their product.
    members : tuple of Member
        In the order of the axes, the last one running fastest.
    launcher : {"mpirun", "srun", "sbatch"}
        What starts the ranks of each run.
    jobs : Jobs
        What jobs the workers are in, if they are in some.
    """

    file: Path
    base: Path
    table: dict[str, Any]
    ranks: int
    axes: tuple[Axis, ...]
    members: tuple[Member, ...]
    launcher: Launcher
    jobs: Jobs

    @property
    def directory(self) -> Path:
        """Where everything of the sweep is: beside its file, with its name."""
        return self.file.with_suffix("")

    def run_directory(self, member: Member) -> Path:
        """Run directory of a member; the engine makes it."""
        return self.directory / "runs" / member.id

    def experiment(self, member: Member) -> Experiment:
        """Resolve the experiment of a member.

        Raises
        ------
        ExperimentError
            If it is not the one that the id stands for any more: a file that it names has changed.
        """
        experiment = _resolve(self.table, member.settings, self.base)
        if not experiment.hash.startswith(member.id):
            problem = Problem("experiment", str(self.base), "a file it names has changed since the sweep was read; "
                              "run the sweep again")
            raise ExperimentError([problem], str(self.file))
        return experiment


def read_sweep(path: str | Path) -> Sweep:
    """Read a sweep file and resolve every member.

    ``experiment`` names the base, relative to the sweep file; ``ranks`` are those of each run (default 1). ``[grid]``
    has a list of values for each key, and every combination is run; in each ``[[zip]]`` the lists go together.
    ``seeds`` is a number of seeds (from 1), a list of them, or a table of these for the parts of a seed.

    Parameters
    ----------
    path : str or Path
        A TOML file.

    Returns
    -------
    Sweep

    Raises
    ------
    ExperimentError
        With every problem found in the sweep and its members.
    """
    path = Path(path).absolute()
    given = read_toml(path)
    if "experiment" not in given and "run" in given:
        problem = Problem("SWEEP", path.name, f"is an experiment; name it in a sweep, or steelyard run {path.name}")
        raise ExperimentError([problem], "command")
    jobs, problems = read_jobs(given.get("slurm", {}))
    problems += _problems(given)
    if path.suffix != ".toml":
        problems.append(Problem("file", path.name, "must end in .toml: its runs go to a directory named without that"))
    if problems:
        raise ExperimentError(problems, str(path))
    base = path.parent / given["experiment"]
    table = _read_base(base, path)
    plain = [Axis(tuple({key: value} for value in values)) for key, values in _leaves(given.get("grid", {}))]
    plain += [_zipped(dict(_leaves(entry))) for entry in given.get("zip", [])]
    seeds = list(_seed_axes(given.get("seeds")))
    members = _expand(path, base, table, plain, seeds)
    return Sweep(path, base, table, given.get("ranks", 1), (*plain, *seeds), tuple(members),
                 given.get("launcher", "mpirun"), jobs)


def _expand(path: Path, base: Path, table: dict[str, Any], plain: list[Axis], seeds: list[Axis]) -> list[Member]:
    """Resolve one experiment for each combination of settings; with other seeds only its hash is another."""
    members: list[Member] = []
    problems: dict[Problem, None] = {}
    seedings = list(_combinations(seeds))
    for place, settings in _combinations(plain):
        try:
            experiment = _resolve(table, settings, base)
            hashes = experiment.hashes(_seed(table, settings | seeding) for _, seeding in seedings)
        except ExperimentError as error:
            problems |= dict.fromkeys(error.problems)
            continue
        members += [
            Member(digest[:ID_DIGITS], settings | seeding, place + seed_place)
            for digest, (seed_place, seeding) in zip(hashes, seedings, strict=True)
        ]
    known: dict[str, Member] = {}
    for member in members:
        if (other := known.setdefault(member.id, member)) is not member:
            problems[Problem("members", f"{other} and {member}", "are the same experiment; leave one out")] = None
    if problems:
        raise ExperimentError(list(problems), str(path))
    return members


def _combinations(axes: list[Axis]) -> Iterator[tuple[tuple[int, ...], dict[str, Any]]]:
    for chosen in product(*(enumerate(axis.settings) for axis in axes)):
        merged: dict[str, Any] = {}
        for _, settings in chosen:
            merged |= settings
        yield tuple(place for place, _ in chosen), merged


def _resolve(table: dict[str, Any], settings: Mapping[str, Any], base: Path) -> Experiment:
    return parse_experiment(_set(deepcopy(table), settings), origin=str(base), directory=base.parent)


def _set(table: dict[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in settings.items():
        try:
            set_key(table, key.split("."), value)
        except ValueError as error:
            raise ExperimentError([Problem(key, repr(value), str(error))]) from None
    return table


def _seed(table: dict[str, Any], settings: Mapping[str, Any]) -> Seed:
    chosen = {key: value for key, value in settings.items() if key.split(".")[0] == "seed"}
    return Seed.model_validate(_set({"seed": copy(table.get("seed", 1))}, chosen)["seed"])


def _read_base(base: Path, path: Path) -> dict[str, Any]:
    try:
        table = read_toml(base)
    except ExperimentError as error:
        problems = [Problem("experiment", str(base), problem.remedy) for problem in error.problems]
        raise ExperimentError(problems, str(path)) from None
    if "experiment" in table:
        problem = Problem("experiment", str(base), "is a sweep, not an experiment; name the experiment to vary")
        raise ExperimentError([problem], str(path))
    return table


def _problems(given: dict[str, Any]) -> Iterator[Problem]:
    """Find what is wrong with the sweep itself, without a look at the experiment."""
    for key in given:
        if key not in _KEYS:
            yield Problem(key, "", f"unknown key; {suggest(key, list(_KEYS))}")
    if not isinstance(base := given.get("experiment"), str):
        shown = "" if base is None else repr(base)
        yield Problem("experiment", shown, "name the experiment that is varied, a TOML file")
    ranks = given.get("ranks", 1)
    if type(ranks) is not int or ranks < 1:
        yield Problem("ranks", repr(ranks), "must be a whole number of at least 1")
    if (launcher := given.get("launcher", "mpirun")) not in LAUNCHERS:
        yield Problem("launcher", repr(launcher), f"one of: {', '.join(LAUNCHERS)}")
    if not any(given.get(key) for key in _VARYING):
        yield Problem("grid", "", "there is nothing to vary; give [grid], [[zip]] or seeds, with values")
        return
    if not isinstance(given.get("grid", {}), dict):
        yield Problem("grid", repr(given["grid"]), "must be a table, with a list of values for each key")
        return
    if not isinstance(given.get("zip", []), list) or not all(isinstance(entry, dict) for entry in given.get("zip", [])):
        yield Problem("zip", "", "write [[zip]], once for each group of keys that change together")
        return
    keys: list[str] = []
    tables = {"grid": given["grid"]} if "grid" in given else {}
    for name, entry in (tables | {f"zip[{index}]": entry for index, entry in enumerate(given.get("zip", []))}).items():
        lists = dict(_leaves(entry))
        keys += lists
        yield from _problems_of_lists(name, lists)
    wrong_seeds = list(_problems_of_seeds(given.get("seeds")))
    yield from wrong_seeds
    keys += [] if wrong_seeds else [axis.name for axis in _seed_axes(given.get("seeds"))]
    for index, key in enumerate(keys):
        for other in keys[:index]:
            if f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}."):
                yield Problem(key, "", f"is varied twice (see {other}); vary it in one place")


def _problems_of_lists(name: str, lists: dict[str, Any]) -> Iterator[Problem]:
    if not lists:
        yield Problem(name, "", "is empty; give a key a list of values, or leave it out")
    for key, values in lists.items():
        if not isinstance(values, list):
            yield Problem(f"{name}.{key}", repr(values), f"must be a list of values; write [{values!r}] for one")
        elif not values:
            yield Problem(f"{name}.{key}", "[]", "has no values; give at least one, or leave it out")
    lengths = {key: len(values) for key, values in lists.items() if isinstance(values, list)}
    if name != "grid" and len(set(lengths.values())) > 1:
        yield Problem(name, str(lengths), "the lists go together and must be of one length")


def _problems_of_seeds(seeds: Any, name: str = "seeds") -> Iterator[Problem]:
    if isinstance(seeds, dict) and name == "seeds":
        if not seeds:
            yield Problem(name, "{}", f"is empty; one of: {', '.join(_SEED_PARTS)}")
        for part, values in seeds.items():
            if part not in _SEED_PARTS:
                yield Problem(f"{name}.{part}", "", f"unknown key; {suggest(part, list(_SEED_PARTS))}")
            yield from _problems_of_seeds(values, f"{name}.{part}")
        return
    values = [] if seeds is None else seeds if isinstance(seeds, list) else [seeds]
    least = 0 if isinstance(seeds, list) else 1
    if seeds == [] or any(type(value) is not int or value < least for value in values):
        yield Problem(name, repr(seeds), "must be a number of seeds, or a list of seeds: whole numbers of at least 0")


def _seed_axes(seeds: Any) -> Iterator[Axis]:
    parts = {f"seed.{part}": values for part, values in seeds.items()} if isinstance(seeds, dict) else {"seed": seeds}
    for key, values in parts.items():
        if values is not None:
            chosen = values if isinstance(values, list) else range(1, values + 1)
            yield Axis(tuple({key: value} for value in chosen))


def _leaves(table: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """List the key paths in nested tables with what stands there; a quoted key may be a path by itself."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _zipped(lists: dict[str, list[Any]]) -> Axis:
    return Axis(tuple(dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)))
