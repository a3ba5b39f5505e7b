"""What an experiment says of a user's own neuron, synapse or plasticity rule."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, ClassVar

from pydantic import model_validator

from mpi_engine.experiment.base import Part
from mpi_engine.user import Declaration, load


class UserPart(Part):
    """A function of a user's file.

    The file's text is read with the experiment and becomes part of it, so that the experiment says all that is run, and
    an edited file is another experiment.

    Parameters
    ----------
    file : str
        The Python file, relative to the experiment's.
    function : str
        The decorated function; if not given, the one with the entry's name.
    source : str
        The file's text; filled in.
    parameters : dict
        Values of the declared parameters, where they are not the default ones.
    """

    kind_of_declaration: ClassVar[type[Declaration]] = Declaration

    file: str
    function: str
    source: str

    @model_validator(mode="before")
    @classmethod
    def _fill_in_defaults(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or not all(isinstance(given.get(key), str) for key in cls._texts()):
            return given
        declaration = cls._load(given["source"], given["file"], given["function"])
        parameters = given.get("parameters", {})
        if isinstance(parameters, Mapping):
            for name in parameters:
                _require_known(name, list(declaration.parameters))
            parameters = {**declaration.parameters, **parameters}
        return {**given, "parameters": parameters}

    @staticmethod
    def _texts() -> tuple[str, ...]:
        return "file", "function", "source"

    @classmethod
    def _load(cls, source: str, file: str, function: str) -> Declaration:
        declaration = load(source, file, function)
        if not isinstance(declaration, cls.kind_of_declaration):
            wanted, found = (kind.__name__ for kind in (cls.kind_of_declaration, type(declaration)))
            raise ValueError(f"{file}: {function} is a {found} where a {wanted} is needed; use the other decorator")
        return declaration

    @property
    def declaration(self) -> Any:
        """What the file declares, as plain Python."""
        return self._load(self.source, self.file, self.function)


def _require_known(name: str, known: list[str]) -> None:
    if name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        remedy = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}" if known else "it has none"
        raise ValueError(f"the function has no parameter {name}; {remedy}")
