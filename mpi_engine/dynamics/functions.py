"""Functions of neurons, synapses, rules and teachers, as a kernel's text names and calls them.

All are imported from the module in which they are defined. That of a user's file is named by the hash of its text and
of the number format, so that the text of a kernel that uses it changes with it.
"""

from __future__ import annotations

import re
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numba
import numpy as np

from mpi_engine.compiled import part
from mpi_engine.experiment import CodingExperiment, Experiment, Problem
from mpi_engine.experiment.user import UserPart
from mpi_engine.user import arguments_of, load

Function = Callable[..., Any]


class Functions:
    """The functions that a kernel's text uses.

    Attributes
    ----------
    lines : list of str
        The text's lines that import and compile them.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    def name(self, function: Function, purpose: str) -> str:
        """Make a function of plain Python known to the text, and return under which name: no other name is like it."""
        plain, compiled = f"plain_{purpose}", f"compiled_{purpose}"
        name = function.__name__
        module = sys.modules[function.__module__]
        if getattr(module, name, None) is not function:     # a user's, behind its declaration or without a name
            name = plain
            setattr(module, name, function)
        line = f"from {module.__name__} import {name} as {plain}"
        if line not in self.lines:
            self.lines += [line, f"{compiled} = part({plain})"]
        return compiled


def call(function: Function, name: str, known: Mapping[str, str]) -> str:
    """Write a call of a function, by its name in the text, with what it asks for, given how each is written there."""
    return f"{name}({', '.join(known[argument] for argument in arguments_of(function))})"


def parameter_class(name: str, parameters: list[str]) -> list[str]:
    """Write the class of a function's ``p``."""
    return [f"{name} = namedtuple({name!r}, {parameters!r})"]


def find_what_does_not_compile(experiment: Experiment) -> list[Problem]:
    """Compile each of the user's functions alone, so that a failure is told with its file and line."""
    problems: list[Problem] = []
    kinds: Mapping[str, Mapping[str, Any]] = {
        "neurons": experiment.neurons, "synapses": experiment.synapses, "plasticity": experiment.plasticity
    }
    for kind, entries in kinds.items():
        real = experiment.run.weight_dtype if kind == "plasticity" else experiment.run.state_dtype
        for name, owner in entries.items():
            if isinstance(owner, UserPart):
                declared = load(owner.source, owner.file, owner.function, np.dtype(real).type)
                problems += _problems(f"{kind}.{name}", owner.file, declared, np.dtype(real).type)
    if isinstance(experiment, CodingExperiment) and isinstance(teacher := experiment.teacher, UserPart):
        x = tuple(teacher.initial_state)
        problems += _problems("teacher", teacher.file, teacher.declaration, np.float64, {"x": x})
    return problems


def _problems(
    key: str, file: str, declared: Any, real: Any, others: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[Problem]:
    """Compile what a file declares, with numbers for its arguments but for ``p`` and some others."""
    p = namedtuple("p", list(declared.parameters))(*map(real, declared.parameters.values()))
    known = {"p": p, **others}
    for function in (declared.function, getattr(declared, "reset", None), getattr(declared, "on_post", None)):
        if function is None:
            continue
        types = [numba.typeof(known.get(name, real())) for name in arguments_of(function)]
        try:
            part(function).compile(tuple(types))
        except Exception as error:     # the compiler fails in many ways
            text = str(error)
            found = re.findall(rf'File "[^"]*{re.escape(Path(file).name)}", line (\d+)', text)   # the path is relative
            reason = next((line for line in text.splitlines() if line.strip() and "Failed in" not in line), "")
            line = found[-1] if found else function.__code__.co_firstlineno
            yield Problem(f"{key}.file", file, f"line {line} cannot be compiled: {reason.strip()}")
