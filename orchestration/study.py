"""`steelyard study`: the runs of a paper's study, part by part, and what becomes of them.

A study's ``study.toml`` has a table for each part: a sweep (see `orchestration.sweep`), its ``experiment`` relative to
that file, and within it tables ``quick`` and ``paper`` with what is added at that scale. Parts run in their order. Each
becomes a sweep file in the study's directory with its runs beside it, so that ``steelyard sweep`` knows them too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from typing import Any, Literal

import tomli_w
from distributed import Client
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from analysis.runs import Run
from analysis.studies.publication import as_table, publish
from analysis.studies.study import Parts, Study, Verdict, count, known_studies, load_study
from analysis.sweeps import Sweep as Measured
from mpi_engine.experiment import Experiment, ExperimentError, Problem
from mpi_engine.experiment.files import read_toml
from mpi_engine.experiment.problems import suggest
from mpi_engine.run.kinds import make_footprint
from orchestration.cluster import open_client
from orchestration.engine import Outcome, count_cores
from orchestration.ensemble import Ensemble
from orchestration.launcher import check_ranks
from orchestration.ledger import Ledger, State
from orchestration.plan import UNKNOWN_RATE_HZ, Plan, make_plan
from orchestration.progress import PLAIN, say
from orchestration.sweep import Sweep, read_sweep
from orchestration.sweep_cli import display

Scale = Literal["quick", "paper"]
SCALES = ("quick", "paper")

FAILED = 1
"""Exit code if a claim is contradicted, or a run has failed for a reason that is no finding."""

Described = dict[str, Any]


def find_study(name: str) -> tuple[Study, Path]:
    """Find a study by its name, and the file that describes its runs; ExperimentError names the known ones."""
    studies = known_studies()
    if name not in studies:
        raise ExperimentError([Problem("study", name, f"is not known; {suggest(name, list(studies))}")], "command")
    return load_study(name), studies[name]


def run_study(
    study: Study,
    file: Path,
    directory: Path,
    command: str,
    scale: Scale = "quick",
    on: str = "local",
    slots: int | None = None,
    consoles: tuple[Console, Console] | None = None,
) -> int:
    """Run what is not done of a study, judge its claims, and publish them; return the exit code.

    Parameters
    ----------
    study : Study
        Its claims and figures.
    file : Path
        The description of its runs.
    directory : Path
        For the runs and what is made of them.
    command : str
        What does this, for the page and to be given again.
    scale : {"quick", "paper"}
        Small networks, or those of the paper, whose cost is told first.
    on, slots
        Where, see `orchestration.cluster.open_client`.
    consoles : tuple of Console
        For what is told, and for errors; standard output and error, if not given.

    Returns
    -------
    int
        0 if no claim is contradicted; 1 if one is, or runs have failed; 75 if stopped at checkpoints.

    Raises
    ------
    ExperimentError
        If a part is wrong, or the directory cannot be written.
    """
    console, errors = consoles or (Console(), Console(stderr=True))
    described = describe(file, scale)
    _make(directory)
    free = {part: _write(part, table, directory) for part, table in described.items() if part not in study.derived}
    most = max(sweep.ranks for sweep in free.values())
    check_ranks(most)
    if scale == "paper":
        console.print(_as_table(list(reckon(free)), study.derived))
    parts: dict[str, Measured] = {}
    jobs = next(iter(free.values())).jobs
    with open_client(on, most, slots or count_cores(), directory, jobs) as client:
        for part, table in described.items():
            sweep = free.get(part) or _write(part, _derive(study, part, table, parts), directory)
            if (code := _drive(sweep, part, client, console, errors)) != Outcome.DONE:
                before = "to go on" if code == Outcome.STOPPED else "mend the cause, attempt them again, then"
                say(errors, f"{before}: {command}")
                return code
            parts[part] = open_part(sweep)
    claims = study.judge(parts)
    console.print(as_table(claims))
    page = publish(study, claims, parts, directory, command)
    console.print(f"\n{count(claims)}\n{page}", **PLAIN)
    return FAILED if any(claim.verdict is Verdict.CONTRADICTED for claim in claims) else Outcome.DONE


def describe(file: Path, scale: Scale) -> dict[str, Described]:
    """Read the parts of a study at a scale, each as what its sweep file holds.

    Tables of the scale are merged into those of the part, and its entries of ``[[zip]]`` come after the part's.
    """
    parts = {}
    for part, table in read_toml(file).items():
        common = {key: value for key, value in table.items() if key not in SCALES}
        parts[part] = _merged(common, table.get(scale, {}))
        parts[part]["experiment"] = str(file.parent / parts[part]["experiment"])
    return parts


def open_part(sweep: Sweep) -> Measured:
    """Open the runs of a sweep's members, and no others that a changed sweep has left behind."""
    return Measured(sweep.directory, {member.id: Run(sweep.run_directory(member)) for member in sweep.members})


def _merged(table: Described, added: Described) -> Described:
    merged = dict(table)
    for key, value in added.items():
        before = merged.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            merged[key] = _merged(before, value)
        else:
            merged[key] = [*before, *value] if key == "zip" and isinstance(before, list) else value
    return merged


def _derive(study: Study, part: str, table: Described, parts: Parts) -> Described:
    return _merged({"zip": []} | table, {"zip": [study.derived[part](parts)]})


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"cannot be made: {error.strerror}; name a directory that can be written"
        raise ExperimentError([Problem("-o", str(directory), reason)], "command") from None


def _write(part: str, table: Described, directory: Path) -> Sweep:
    file = directory / f"{part}.toml"
    file.write_text(tomli_w.dumps(table), encoding="utf-8")
    return read_sweep(file)


def _drive(sweep: Sweep, part: str, client: Client, console: Console, errors: Console) -> int:
    """Run what is not done of a part. A run that became unhealthy is a finding, any other failure is not."""
    console.print(f"{part}: {len(sweep.members)} runs in {sweep.directory}", **PLAIN)
    with display(client.dashboard_link) as show:
        tally = Ensemble(sweep, client).run(show)
    counts, entries = tally.counts, Ledger(sweep.directory).survey()
    if counts[State.DONE] + counts[State.FAILED] < counts.total():
        return Outcome.STOPPED
    failed = [m for m in sweep.members if (e := entries[m.id]).state == State.FAILED and e.code != Outcome.UNHEALTHY]
    for member in failed:
        say(errors, f"{member} failed: {entries[member.id].reason}")
    if failed:
        say(errors, f"to attempt them again: steelyard sweep retry {sweep.file}")
    return FAILED if failed else Outcome.DONE


@dataclass(frozen=True)
class Cost:
    """What a part takes.

    Parameters
    ----------
    part : str
        Its name.
    runs : int
        How many.
    core_hours : float
        Of all runs; NaN where the network is too large for this machine to be tried.
    disk_bytes, memory_bytes : float
        Of all run files, and of the largest run on all its ranks.
    """

    part: str
    runs: int
    core_hours: float
    disk_bytes: float
    memory_bytes: float


def reckon(sweeps: dict[str, Sweep]) -> Iterator[Cost]:
    """Reckon parts from a moment of the largest run of each; the others in proportion to their memory and steps.

    Parameters
    ----------
    sweeps : dict of str to Sweep
        By part.

    Yields
    ------
    Cost
        Of each part.
    """
    for part, sweep in sweeps.items():
        experiments = [sweep.experiment(member) for member in sweep.members]
        largest = max(experiments, key=_size)
        plan = _plan(largest, sweep.ranks)
        rates_hz = dict.fromkeys(largest.sizes, UNKNOWN_RATE_HZ) if plan.measured is None else plan.measured.rates_hz
        disk = sum(make_footprint(e, sweep.ranks, rates_hz).run_file() for e in experiments)
        wall_s = nan if plan.wall_time_s is None else plan.wall_time_s
        total = sum(map(_size, experiments)) / _size(largest)
        hours = wall_s * min(sweep.ranks, count_cores()) * total / 3600     # more ranks took turns on the cores
        yield Cost(part, len(experiments), hours, disk, plan.memory_bytes * sweep.ranks)


def _size(experiment: Experiment) -> float:
    rates_hz = dict.fromkeys(experiment.sizes, UNKNOWN_RATE_HZ)
    return experiment.n_steps * sum(make_footprint(experiment, 1, rates_hz).memory().values())


def _plan(experiment: Experiment, ranks: int) -> Plan:
    with tempfile.TemporaryDirectory(prefix="steelyard-study-") as temporary:
        file = Path(temporary) / "experiment.toml"
        file.write_text(experiment.to_toml(), encoding="utf-8")
        return make_plan(file, ranks)


def _as_table(costs: list[Cost], derived: Iterable[str]) -> Table:
    table = Table("part", "runs", "core-hours", "disk", "memory of the largest run", box=None, header_style="bold")
    disk, memory = sum(cost.disk_bytes for cost in costs), max(cost.memory_bytes for cost in costs)
    whole = Cost("all", sum(cost.runs for cost in costs), sum(cost.core_hours for cost in costs), disk, memory)
    for cost in [*costs, whole]:
        hours = f"{cost.core_hours:.3g}" if isfinite(cost.core_hours) else "unknown here"
        sizes = (decimal(round(cost.disk_bytes)), decimal(round(cost.memory_bytes)))
        table.add_row(cost.part, str(cost.runs), hours, *sizes, style="bold" if cost is whole else "")
    for part in derived:
        table.add_row(part, "", "like the parts that it follows from")
    return table
