"""A study of a paper: what its runs must show, claim by claim, and the verdict on each.

A study is a package beside this module. Its ``study.toml`` describes the runs, part by part and at two scales, see
`orchestration.study`; its module ``study`` holds a `Study`, whose claims are functions of the finished parts. One rule
judges all claims: a measurement has an interval, an expectation has bounds, and how the two lie decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from analysis.confidence import Interval
from analysis.runs import Run
from analysis.sweeps import Sweep
from analysis.verdict import ABSENT, number
from mpi_engine.output.reader import RunError

DESCRIPTION = "study.toml"

UNKNOWN = Interval(nan, nan, nan, nan)

Parts = Mapping[str, Sweep]
"""The parts of a study, by name; a run that has become unhealthy is among them, unfinished: see `finished`."""


def finished(runs: Iterable[Run]) -> list[Run]:
    """Give the runs back in the order of their seeds, in which they make pairs, if all are whole."""
    runs = sorted(runs, key=lambda run: run.experiment.seed.base)
    if broken := [run for run in runs if not run.finished]:
        raise RunError(f"{len(broken)} of {len(runs)} runs have no end, among them {broken[0].path}")
    if not runs:
        raise RunError("there are no such runs")
    return runs


class Verdict(StrEnum):
    """What a measurement makes of a claim."""

    SHOWN = "shown"
    CONTRADICTED = "not shown"
    OPEN = "not shown at this size"


@dataclass(frozen=True)
class Bounds:
    """What is expected of a quantity: a value from `low` to `high`."""

    low: float = -inf
    high: float = inf

    @classmethod
    def around(cls, value: float, share: float = 0.0, reach: float = 0.0) -> Bounds:
        """Expect a value, give or take a share of it or an absolute reach, whichever is more."""
        tolerance = max(abs(value) * share, reach)
        return cls(value - tolerance, value + tolerance)

    def exclude(self, measured: Interval) -> bool:
        """Say whether a whole interval is outside; never of one whose limits are not known."""
        return measured.high < self.low or measured.low > self.high

    def __str__(self) -> str:
        """Format as "below 0.1", "above 0" or "0.4 to 0.6"."""
        match isfinite(self.low), isfinite(self.high):
            case True, True:
                return f"{number(self.low)} to {number(self.high)}"
            case True, False:
                return f"above {number(self.low)}"
            case False, True:
                return f"below {number(self.high)}"
        return ABSENT


@dataclass(frozen=True)
class Caveat:
    """Why a claim that is true may be missed by a network of this size or a run of this length, and by how much.

    Parameters
    ----------
    reason : str
        The cause, with the size of its effect.
    reach : Bounds
        Where the quantity may be for this reason, from a measurement of the cause or a derivation; beyond it and
        beyond what is expected, the claim is contradicted all the same.
    """

    reason: str
    reach: Bounds


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, and the measurement that it stands or falls with.

    Parameters
    ----------
    topic : str
        The paper's claim that this is a part of; claims of one topic follow each other.
    statement : str
        What should be seen, in a few words.
    source : str
        Where the expectation comes from: the paper's figure or equation, or a theory.
    expected : Bounds
        Where the quantity should be.
    measured : Interval
        Where it is; the limits are equal for what is known without error.
    over : str
        What the interval is over: "3 seeds"; empty if it is over nothing.
    unit : str
        Of both.
    caveat : Caveat, optional
        What may keep this size or length from showing it; a measurement outside the bounds is no contradiction within
        the caveat's reach.
    failure : str
        Why it could not be measured at all, which is as good as contradicted; empty if it was.
    """

    topic: str
    statement: str
    source: str
    expected: Bounds
    measured: Interval
    over: str = ""
    unit: str = ""
    caveat: Caveat | None = None
    failure: str = ""

    @property
    def verdict(self) -> Verdict:
        """Shown if the whole interval is within the bounds; not shown if outside, also of a caveat's reach; or open."""
        if self.failure:
            return Verdict.CONTRADICTED
        if self.expected.low <= self.measured.low and self.measured.high <= self.expected.high:
            return Verdict.SHOWN
        allowed = (self.expected,) if self.caveat is None else (self.expected, self.caveat.reach)
        return Verdict.CONTRADICTED if all(bounds.exclude(self.measured) for bounds in allowed) else Verdict.OPEN

    @property
    def reason(self) -> str:
        """Why it is not shown; empty if it is."""
        if self.verdict is Verdict.SHOWN or self.failure:
            return self.failure
        if self.verdict is Verdict.CONTRADICTED:
            return "the whole interval is outside" + (f", and of {self.caveat.reach}" if self.caveat else "")
        if self.caveat and self.expected.exclude(self.measured):
            return f"{self.caveat.reason}: {self.caveat.reach}"
        if isfinite(self.measured.low):
            return "the interval reaches across the bounds; more of what it is over, or longer runs, narrow it"
        return "a single value has no interval"


@dataclass(frozen=True)
class Drawing:
    """A figure of a study.

    Parameters
    ----------
    name : str
        Of its files.
    caption : str
        What there is to see, and which of the paper's figures it answers.
    figure : Figure
        Made with `analysis.style`.
    """

    name: str
    caption: str
    figure: Figure


Examine = Callable[[Parts], Iterable[Claim]]
Draw = Callable[[Parts], Drawing]
Derive = Callable[[Parts], dict[str, list[Any]]]


@dataclass(frozen=True)
class Study:
    """What is asked of the runs.

    Parameters
    ----------
    title, paper : str
        Of the page, and the reference.
    claims : tuple of callable
        Each gives claims from the finished parts; the first line of its docstring names it.
    figures : tuple of callable
        Each gives a figure from the finished parts.
    derived : mapping of str to callable
        For a part that depends on the parts before it: keys and the lists of their values, which go together as in a
        sweep's ``[[zip]]``.
    chosen : str
        What was chosen with which runs in view: settings and measures that other seeds have yet to confirm.
    """

    title: str
    paper: str
    claims: tuple[Examine, ...]
    figures: tuple[Draw, ...]
    derived: Mapping[str, Derive] = field(default_factory=dict)
    chosen: str = ""

    def judge(self, parts: Parts) -> list[Claim]:
        """Measure what each claim needs, and judge it."""
        return [claim for examine in self.claims for claim in _examined(examine, parts)]


def _examined(examine: Examine, parts: Parts) -> list[Claim]:
    claims: list[Claim] = []
    try:
        for claim in examine(parts):
            claims.append(claim)
    except (RunError, ValueError) as error:
        name = (examine.__doc__ or examine.__name__).strip().splitlines()[0]
        topic = claims[-1].topic if claims else "What could not be measured"
        claims.append(Claim(topic, name, "", Bounds(), UNKNOWN, failure=str(error)))
    return claims


def known_studies() -> dict[str, Path]:
    """List the studies by name, with the file that describes the runs of each."""
    here = Path(__file__).parent
    return {file.parent.name: file for file in sorted(here.glob(f"*/{DESCRIPTION}"))}


def load_study(name: str) -> Study:
    """Import a study by its name, one of `known_studies`."""
    study: Study = import_module(f"{__package__}.{name}.study").STUDY
    return study


def count(claims: Sequence[Claim]) -> str:
    """Say in a sentence how many claims have which verdict."""
    numbers = {verdict: sum(claim.verdict is verdict for claim in claims) for verdict in Verdict}
    told = ", ".join(f"{number_} {verdict}" for verdict, number_ in numbers.items() if number_)
    return f"{len(claims)} claims: {told}."
