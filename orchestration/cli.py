"""The command `steelyard`: what can be typed, and what each kind of error becomes."""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from mpi_engine.experiment import ExperimentError, Problem, find_warnings
from mpi_engine.output.difference import differences
from mpi_engine.output.reader import RunError, open_run
from mpi_engine.run.walltime import parse_duration
from orchestration import doctor as health
from orchestration import inspection, progress, stopping, sweep_cli
from orchestration.engine import Outcome
from orchestration.launcher import Launcher, prepare, prepare_resume, read_experiment

app = typer.Typer(help="Distributed simulation of plastic, correlated, balanced spiking networks.")
app.add_typer(sweep_cli.app, name="sweep")

_console = Console()
_errors = Console(stderr=True)

ExperimentFile = Annotated[Path, typer.Argument(metavar="FILE", help="The experiment, a TOML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="K=V", help="Override a key, like populations.E.size=4000; may be given again."),
]

Writer = Annotated[
    Literal["parallel", "gather"] | None,
    typer.Option(help="All ranks write, or rank 0 does for all; parallel where possible, if not given."),
]
MaxWalltime = Annotated[
    str | None,
    typer.Option(metavar="S|H:M:S", help="Stop at a checkpoint before so long; the batch job's limit, if not given."),
]
Reserve = Annotated[
    str | None, typer.Option(metavar="S|H:M:S", help="Time to leave before that limit; 60 s if not given.")
]
LauncherName = Annotated[
    Launcher, typer.Option(help="What starts the ranks: mpirun, a step of this batch job, or a batch job of its own.")
]
RunDirectory = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", exists=True, help="A run directory or a run.h5.")]


@app.command()
def check(file: ExperimentFile, overrides: Overrides = None) -> None:
    """Print the resolved experiment, or everything that is wrong with it."""
    experiment = read_experiment(file, overrides or ())
    print(experiment.to_toml(), end="")
    for warning in find_warnings(experiment):
        progress.say(_errors, f"warning: {file}: {warning}")


@app.command()
def plan(
    file: ExperimentFile,
    ranks: Annotated[int, typer.Option("-n", metavar="RANKS", help="Number of MPI ranks.")] = 1,
    overrides: Overrides = None,
) -> None:
    """Reckon the memory, disk and time of a run, and how many ranks pay; it is tried for a moment."""
    from orchestration import plan as planning  # noqa: PLC0415  (compilers take a second to import)

    planning.show(planning.make_plan(file, ranks, overrides or ()), file, overrides or (), _console)


@app.command()
def run(
    file: ExperimentFile,
    ranks: Annotated[int, typer.Option("-n", metavar="RANKS", help="Number of MPI ranks.")] = 1,
    directory: Annotated[
        Path | None, typer.Option("-o", metavar="DIR", help="The run directory; runs/FILE-HASH if not given.")
    ] = None,
    overrides: Overrides = None,
    writer: Writer = None,
    max_walltime: MaxWalltime = None,
    reserve: Reserve = None,
    launcher: LauncherName = "mpirun",
) -> None:
    """Simulate an experiment on a number of MPI ranks. Exit code 75: stopped at a checkpoint, resume it."""
    limits = _seconds("--max-walltime", max_walltime), _seconds("--reserve", reserve)
    launch = prepare(file, directory, ranks, overrides or (), writer, *limits, launcher)
    raise typer.Exit(progress.follow(launch, _console, _errors))


@app.command()
def resume(
    directory: RunDirectory,
    ranks: Annotated[
        int | None, typer.Option("-n", metavar="RANKS", help="Number of MPI ranks; as before, if not given.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="K=V",
            help="Change what is not the dynamics, like run.duration_ms=60000; may be given again.",
        ),
    ] = None,
    writer: Writer = None,
    max_walltime: MaxWalltime = None,
    reserve: Reserve = None,
    launcher: LauncherName = "mpirun",
) -> None:
    """Go on with a run from its last checkpoint, on any number of ranks."""
    limits = _seconds("--max-walltime", max_walltime), _seconds("--reserve", reserve)
    launch = prepare_resume(directory, ranks, overrides or (), writer, *limits, launcher)
    raise typer.Exit(progress.follow(launch, _console, _errors))


@app.command()
def branch(
    parent: RunDirectory,
    directory: Annotated[Path, typer.Option("-o", metavar="DIR", help="The run directory of the branch.")],
    at: Annotated[str, typer.Option(metavar="MS", help="Biological time of a checkpoint of the run.")] = "latest",
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="K=V",
            help="Change the dynamics, like plasticity.homeostatic.learning_rate_mv=0; may be given again.",
        ),
    ] = None,
) -> None:
    """Begin a new run with changed dynamics at a checkpoint of another."""
    raise typer.Exit(progress.branch(parent, directory, at, overrides or (), _console, _errors))


@app.command()
def stop(directory: RunDirectory) -> None:
    """Let a run stop at a checkpoint, wherever it goes, and wait until it has."""
    stopping.stop(directory, _console)


@app.command()
def inspect(path: RunPath) -> None:
    """Show what a run holds, also while it goes."""
    inspection.show(open_run(path), _console)


@app.command()
def diff(
    first: Annotated[Path, typer.Argument(metavar="A", exists=True, help="A run directory or a run.h5.")],
    second: Annotated[Path, typer.Argument(metavar="B", exists=True, help="Another one.")],
) -> None:
    """Say where the data of two runs differ. Exit code 1 if they do."""
    lines = differences(first, second)
    print("\n".join(lines) or "identical outside /provenance")
    raise typer.Exit(1 if lines else 0)


@app.command()
def verify(path: RunPath) -> None:
    """Compare every dataset of a run with its checksum. Exit code 4 if something is damaged."""
    if problems := open_run(path).verify():
        raise RunError("\n".join(problems))
    print("every dataset has its checksum")


@app.command()
def report(
    paths: Annotated[
        list[Path], typer.Argument(metavar="RUN|SWEEP", exists=True, help="Runs to show together, or a sweep.")
    ],
    output: Annotated[Path, typer.Option("-o", metavar="FILE", help="The page.")] = Path("report.html"),
) -> None:
    """Write a page about runs, or a sweep: pictures, and what was measured beside what theory predicts."""
    from analysis.report import report as page  # noqa: PLC0415  (plotting takes a second to import)
    from analysis.sweep_report import sweep_report  # noqa: PLC0415
    from analysis.sweeps import is_sweep, open_sweep  # noqa: PLC0415

    if output.is_dir() or not os.access(output.parent, os.W_OK):
        remedy = "cannot be written; name a file in a directory that can be written to"
        raise ExperimentError([Problem("-o", str(output), remedy)], "command")
    command = shlex.join(["steelyard", "report", *map(str, paths), "-o", str(output)])
    sweeps = list(filter(is_sweep, paths))
    if sweeps and len(paths) > 1:
        raise RunError(f"{sweeps[0]}: is a sweep, which has a page of its own; name it alone")
    if sweeps:
        text = sweep_report(open_sweep(paths[0]), command)
    else:
        text = page([open_run(path) for path in paths], command=command)
    output.write_text(text, encoding="utf-8")
    print(output)


@app.command()
def study(
    name: Annotated[str, typer.Argument(metavar="NAME", help="akil2021, alemi2017 or zhu2026.")],
    scale: Annotated[
        Literal["quick", "paper"], typer.Option(help="Small networks, or the paper's; the cost of these is told first.")
    ] = "quick",
    on: sweep_cli.On = "local",
    slots: sweep_cli.Slots = None,
    directory: Annotated[
        Path | None, typer.Option("-o", metavar="DIR", help="Where all of it goes; studies/NAME-SCALE if not given.")
    ] = None,
) -> None:
    """Simulate what a paper claims, and judge it. Exit code 1: a claim is contradicted; 75: stopped, give it again."""
    from orchestration.study import find_study, run_study  # noqa: PLC0415  (Dask and plotting take a second to import)

    directory = directory or Path("studies") / f"{name}-{scale}"
    where = ["--on", on] * (on != "local") + ["--slots", str(slots)] * (slots is not None)
    command = shlex.join(["steelyard", "study", name, "--scale", scale, "-o", str(directory), *where])
    consoles = (_console, _errors)
    raise typer.Exit(run_study(*find_study(name), directory, command, scale, on, slots, consoles))


@app.command()
def doctor() -> None:
    """Show what this machine offers to runs, and what to do about what is missing. Exit code 1 if runs will fail."""
    if not health.show(health.examine(), _console):
        raise typer.Exit(1)


def _seconds(option: str, text: str | None) -> float | None:
    return None if text is None else parse_duration(text, option)


def main() -> None:
    """Run the command; errors of the user become one line each, on standard error."""
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False) or Outcome.DONE
    except ExperimentError as error:
        code = _refuse(str(error), Outcome.WRONG)
    except typer.TyperException as error:
        command = context.command_path if (context := getattr(error, "ctx", None)) else "steelyard"
        code = _refuse(f"command: {error.format_message().rstrip('.')}; see {command} --help", Outcome.WRONG)
    except RunError as error:
        code = _refuse(str(error), Outcome.DAMAGED)
    except Exception:
        traceback.print_exc()
        code = _refuse("this is a bug; please report it with the lines above", Outcome.BUG)
    sys.exit(code)


def _refuse(reasons: str, outcome: Outcome) -> Outcome:
    for reason in reasons.splitlines():
        progress.say(_errors, reason)
    return outcome
