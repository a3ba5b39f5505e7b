"""Reading an experiment from TOML, with overrides, and telling every error at once with its key path."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from mpi_engine.experiment.activity import follow_inputs, resolve_inputs
from mpi_engine.experiment.approximation import approximate, resolve_effective
from mpi_engine.experiment.base import Part
from mpi_engine.experiment.coding import CodingExperiment
from mpi_engine.experiment.coding_consistency import find_coding_problems
from mpi_engine.experiment.coding_defaults import fill_in
from mpi_engine.experiment.consistency import find_problems, find_structural_problems
from mpi_engine.experiment.experiment import Experiment
from mpi_engine.experiment.problems import ExperimentError, Problem, suggest

_NAMED_PARTS = ("neurons", "synapses", "plasticity", "populations", "subpopulations", "inputs", "projections")

_TAGGED = ("neurons", "synapses", "inputs", "plasticity")

_REMEDIES = {
    "missing": "is required; add it",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be a text in quotes",
    "bool_type": "must be true or false",
    "finite_number": "must be a finite number",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "list_type": "must be a list",
    "string_pattern_mismatch": "a name starts with a letter and has letters, digits and _ only",
}


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read and validate an experiment.

    Parameters
    ----------
    path : str or Path
        A TOML file. Relative paths in it are relative to its directory.
    overrides : sequence of str
        Settings like ``populations.E.size=4000``, values in TOML's notation (bare words are texts).

    Returns
    -------
    Experiment

    Raises
    ------
    ExperimentError
        With every problem found: the file, the key, the value and the remedy.
    """
    path = Path(path)
    return parse_experiment(read_toml(path), overrides, str(path), path.parent)


def parse_experiment(
    table: dict[str, Any],
    overrides: Sequence[str] = (),
    origin: str = "experiment",
    directory: str | Path | None = ".",
) -> Experiment:
    """Validate an experiment given as nested dictionaries.

    Parameters
    ----------
    table : dict
        What a TOML file would hold.
    overrides : sequence of str
        See `load_experiment`.
    origin : str
        What errors call it.
    directory : str, Path or None
        What the paths of files are relative to; None leaves the files alone, as for a run that is long over.

    Returns
    -------
    Experiment
        Resolved: with absolute paths of data files and the digests of what they hold, and as its effective model if it
        asks for that.

    Raises
    ------
    ExperimentError
        With every problem found.
    """
    table = deepcopy(table)
    for override in overrides:
        _apply(table, override)
    if directory is not None and (problems := _read_user_files(table, Path(directory))):
        raise ExperimentError(problems, origin)
    kind: type[Experiment] = CodingExperiment if table.get("kind") == "coding" else Experiment
    try:
        experiment = kind.model_validate(table)
    except ValidationError as error:
        problems = [_problem(details, kind) for details in error.errors()]
        whole = not any(details["loc"] == (part,) for part in _NAMED_PARTS for details in error.errors())
        if whole and kind is Experiment:
            problems += _problems_of_valid_parts(table, error, directory)    # else every reference would be wrong
        raise ExperimentError(_unique(problems), origin) from None
    if isinstance(experiment, CodingExperiment):
        experiment, problems = _resolve_coding(experiment, directory)
    else:
        experiment, problems = _resolve(experiment, directory)
    if problems:
        raise ExperimentError(problems, origin)
    return experiment


def _resolve(
    experiment: Experiment, directory: str | Path | None, broken: Collection[str] = ()
) -> tuple[Experiment, list[Problem]]:
    """Look at data files and find all problems but those of references to broken parts, which are not missing ones."""
    problems: list[Problem] = []
    volleys: dict[str, float] = {}
    given_model = experiment.effective_time_constant
    if directory is not None:
        given = experiment.inputs
        experiment, data, problems = resolve_inputs(experiment, Path(directory))
        broken = {*broken, *(given.keys() - experiment.inputs.keys())}
        if experiment.run is not None:
            volleys, wrong = follow_inputs(experiment, data)
            problems += wrong
        experiment, wrong = resolve_effective(experiment, Path(directory))
        problems += wrong
    find = find_problems if experiment.run is not None else find_structural_problems
    problems += [problem for problem in find(experiment, volleys) if problem.value.strip("'") not in broken]
    if experiment.effective_time_constant != given_model and not problems:
        experiment = approximate(experiment)
        problems = find(experiment, volleys)
    return experiment, problems


def _resolve_coding(
    experiment: CodingExperiment, directory: str | Path | None
) -> tuple[CodingExperiment, list[Problem]]:
    """Find all problems, and where there is none, fill in what follows from the teacher."""
    problems = find_coding_problems(experiment)
    if not problems and directory is not None:
        try:
            experiment = fill_in(experiment, Path(directory))
        except ExperimentError as error:
            problems = error.problems
    return experiment, problems


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; raises `ExperimentError` if it cannot be read or is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problem = Problem("file", str(path), "does not exist; check the path")
    except IsADirectoryError:
        problem = Problem("file", str(path), "is a directory; name the experiment's TOML file")
    except PermissionError:
        problem = Problem("file", str(path), "may not be read; check its permissions")
    except UnicodeDecodeError:
        problem = Problem("file", str(path), "is not a text in UTF-8, so not TOML")
    except tomllib.TOMLDecodeError as error:
        problem = Problem("file", str(path), f"is not TOML: {error}")
    raise ExperimentError([problem], str(path)) from None


def _read_user_files(table: dict[str, Any], directory: Path) -> list[Problem]:
    """Put the texts of the user's files into the experiment, unless it holds them already."""
    problems: list[Problem] = []
    teacher = table.get("teacher")
    if isinstance(teacher, dict) and teacher.get("kind") == "user" and isinstance(teacher.get("file"), str):
        problems += _read_source("teacher", teacher, directory)
    for kind, tag in (("neurons", "model"), ("synapses", "kind"), ("plasticity", "rule")):
        entries = table.get(kind)
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            if not isinstance(entry, dict) or entry.get(tag) != "user" or not isinstance(entry.get("file"), str):
                continue
            entry.setdefault("function", name)
            problems += _read_source(f"{kind}.{name}", entry, directory)
    return problems


def _read_source(key: str, entry: dict[str, Any], directory: Path) -> Iterator[Problem]:
    if "source" not in entry:
        try:
            entry["source"] = (directory / entry["file"]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is not a text in UTF-8"
            yield Problem(f"{key}.file", entry["file"], f"cannot be read: {reason}")


def _apply(table: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    path = [part.strip() for part in key.split(".")]
    if not equals or not all(path):
        raise ExperimentError([Problem("--set", override, "must look like populations.E.size=4000")], "command")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    try:
        set_key(table, path, value)
    except ValueError as error:
        raise ExperimentError([Problem("--set", override, str(error))], "command") from None


def set_key(table: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Put a value under a key path, with the tables on the way.

    Raises
    ------
    ValueError
        If a value, not a table, is on the way.
    """
    for depth, part in enumerate(path[:-1]):
        if part == "seed" and isinstance(table.get(part), int):
            table[part] = {"base": table[part]}
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ValueError(f"{'.'.join(path[: depth + 1])} is a value, not a table, and has no key {path[depth + 1]}")
    table[path[-1]] = value


def _problem(details: ErrorDetails, model: type[Experiment]) -> Problem:
    location = [str(part) for part in details["loc"] if part != "[key]"]
    kind, given = details["type"], details["input"]
    context = details.get("ctx", {})
    tag = ""
    if location[:1] and location[0] in _TAGGED and len(location) > 2 and kind != "union_tag_not_found":
        tag = location.pop(2)     # by which pydantic chose the kind
    location = [part for part, following in zip(location, [*location[1:], None], strict=True) if part != following]
    # members of a union that pydantic tried
    chosen = ("number", "uniform", "normal", "lognormal", "matrix", "formula", "int", "constrained-int")
    location = [part for part in location if part not in chosen and not part.startswith("list[")]
    key = ".".join(location) or "experiment"
    shown = "" if isinstance(given, (dict, Part)) or kind == "missing" else repr(given)
    if kind == "extra_forbidden":
        remedy = f"unknown key; {suggest(location[-1], _siblings(location, tag, model))}"
    elif kind in ("union_tag_invalid", "literal_error"):
        remedy = f"must be {context.get('expected_tags') or context.get('expected')}"
        if kind == "union_tag_invalid":
            key, shown = f"{key}.{context['discriminator'].strip(chr(39))}", repr(context["tag"])
    elif kind == "union_tag_not_found":
        key, shown, remedy = f"{key}.{context['discriminator'].strip(chr(39))}", "", "is required; add it"
    elif kind == "too_short" and isinstance(given, dict):
        remedy = "is empty; name at least one"
    elif kind == "value_error":
        remedy = str(context["error"])
    else:
        remedy = _REMEDIES.get(kind) or details["msg"].replace("Input should be", "must be")
    return Problem(key, shown, remedy)


def _siblings(location: list[str], tag: str, model: type[Experiment]) -> list[str]:
    """List the keys that the model at a location, or the one of a tag there, knows."""
    annotation: Any = model
    names: list[str] = []
    for part in location:
        models = _models(annotation)
        models = [model for model in models if _has_tag(model, tag)] or models
        names = [name for model in models for name in model.model_fields]
        fields = [model.model_fields[part].annotation for model in models if part in model.model_fields]
        if fields:
            annotation = fields[0]
        elif models:
            break
        elif getattr(annotation, "__args__", None):
            annotation = annotation.__args__[-1]
    return list(dict.fromkeys(names))


def _has_tag(model: Any, tag: str) -> bool:
    return any(tag in getattr(field.annotation, "__args__", ()) for field in model.model_fields.values())


def _models(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return [annotation]
    origin = getattr(annotation, "__origin__", None)
    if origin is dict:
        return []
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models(argument)]


def _problems_of_valid_parts(
    table: dict[str, Any], error: ValidationError, directory: str | Path | None
) -> list[Problem]:
    """Check the references and times of what is valid although something else is not."""
    broken = {tuple(str(part) for part in details["loc"][:2]) for details in error.errors()}
    fields: dict[str, Any] = {}
    for name, field in Experiment.model_fields.items():
        value = table.get(name)
        annotation: Any = field.annotation
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        if name in _NAMED_PARTS and isinstance(value, dict):
            value = {entry: item for entry, item in value.items() if (name, str(entry)) not in broken}
        try:
            fields[name] = adapter.validate_python(value)
        except ValidationError:
            fields[name] = {} if name in _NAMED_PARTS else None if field.is_required() else field.default
    lenient = Experiment.model_construct(**fields).resolve()
    return _resolve(lenient, directory, {entry for _, *rest in broken for entry in rest})[1]


def _unique(problems: list[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))
