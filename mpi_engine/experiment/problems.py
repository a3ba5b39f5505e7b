"""What is wrong with an experiment, as its user is told."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an experiment.

    Parameters
    ----------
    key : str
        Path of the key, like ``populations.E.size``.
    value : str
        What was given.
    remedy : str
        What is wrong and what to do.
    """

    key: str
    value: str
    remedy: str

    def __str__(self) -> str:
        """Format as the one line that a user sees."""
        given = f" = {self.value}" if self.value else ""
        line = f"{self.key}{given}: {self.remedy}"
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


class ExperimentError(ValueError):
    """An experiment that cannot be run, with every problem found.

    Parameters
    ----------
    problems : list of Problem
        At least one.
    origin : str
        The file, or what else the experiment came from.
    """

    def __init__(self, problems: list[Problem], origin: str = "experiment") -> None:
        self.problems = problems
        self.origin = origin
        super().__init__(problems, origin)

    def __str__(self) -> str:
        """List the problems, one a line."""
        return "\n".join(f"{self.origin}: {problem}" for problem in self.problems)


def suggest(name: str, known: list[str]) -> str:
    """Name the known words nearest to an unknown one, or all of them."""
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]}?"
    return f"one of: {', '.join(known)}" if known else "none is defined"
