"""A measured quantity beside its prediction, and the verdict on both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

import numpy as np
from rich.table import Table

MINUS, ABSENT = "\u2212", "\u2013"

_SMALLEST_EXPONENT = -6
"""Of numbers that are written without a power of ten."""

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Estimate:
    """A measured value and its standard error, NaN if unknown."""

    value: float
    error: float = np.nan


@dataclass(frozen=True)
class Range:
    """What theory expects: from `low` to `high`, which are equal for a number, give or take `tolerance`."""

    low: float
    high: float
    tolerance: float

    def holds(self, value: float) -> bool:
        """Say whether a value is within the range and its tolerance."""
        return self.low - self.tolerance <= value <= self.high + self.tolerance

    def __str__(self) -> str:
        """Format the range without its tolerance: "10.0" or "20.4 to 23.5"."""
        low, high = number(self.low), number(self.high)
        return low if low == high else f"{low} to {high}"


@dataclass(frozen=True)
class Line:
    """One quantity, measured in each run, beside its prediction.

    Parameters
    ----------
    group, quantity, unit : str
        Heading, name and unit.
    measured : tuple of Estimate
        One a run.
    predicted : tuple of Range
        One a run; empty where theory has no answer.
    note : str
        Where the prediction comes from, or why there is none.
    from_run : bool
        Whether the prediction rests on other measurements of the run, not on the experiment alone.
    """

    group: str
    quantity: str
    unit: str
    measured: tuple[Estimate, ...]
    predicted: tuple[Range, ...]
    note: str = ""
    from_run: bool = False

    @property
    def verdict(self) -> str:
        """One of "agrees", "differs", "not measured", "no prediction"."""
        if not all(isfinite(estimate.value) for estimate in self.measured):
            return "not measured"
        if not self.predicted:
            return "no prediction"
        pairs = zip(self.measured, self.predicted, strict=True)
        return "agrees" if all(expected.holds(estimate.value) for estimate, expected in pairs) else "differs"

    @property
    def prediction(self) -> str:
        """The prediction as text: ranges that overlap as one, others by run; with the widest tolerance."""
        if not self.predicted:
            return ABSENT
        tolerance = max(expected.tolerance for expected in self.predicted)
        ranges = sorted(self.predicted, key=lambda expected: expected.low)
        if all(one.low < one.high and other.low < one.high for one, other in pairwise(ranges)):
            ranges = [Range(ranges[0].low, max(expected.high for expected in ranges), tolerance)]
        else:
            ranges = list(self.predicted)
        text = " | ".join(dict.fromkeys(map(str, ranges)))
        return f"{text} ± {number(tolerance, 2)}" if tolerance else text


def number(value: float, digits: int = 3) -> str:
    """Format with significant digits, trailing zeros kept; in powers of ten only if it is minute."""
    if not isfinite(value) or value == 0:
        return "0" if value == 0 else ABSENT
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])     # of the rounded value
    if exponent < _SMALLEST_EXPONENT:
        mantissa = f"{value / 10.0**exponent:.{digits - 1}f}".replace("-", MINUS)
        return f"{mantissa}·10{str(exponent).translate(_RAISED)}"
    decimals = max(0, digits - 1 - exponent)
    return f"{value:.{decimals}f}".replace("-", MINUS)


def as_table(lines: Sequence[Line], labels: Sequence[str]) -> Table:
    """Lay lines out for a terminal.

    Parameters
    ----------
    lines : sequence of Line
        See `analysis.comparison.compare`.
    labels : sequence of str
        A short name for each run.

    Returns
    -------
    rich.table.Table
    """
    table = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=True)
    table.add_column("", no_wrap=True)
    for label in labels:
        table.add_column(label, justify="right", no_wrap=True)
    table.add_column("predicted")
    table.add_column("", no_wrap=True)
    styles = {"agrees": "green", "differs": "bold red"}
    group = ""
    for line in lines:
        if line.group != group:
            group = line.group
            table.add_row(f"[bold]{group}[/bold]")
        cells = [number(estimate.value) for estimate in line.measured]
        cells += [""] * (len(labels) - len(cells))
        style = styles.get(line.verdict, "yellow")
        quantity = f"  {line.quantity}" + (f" [dim]{line.unit}[/dim]" if line.unit else "")
        table.add_row(quantity, *cells, line.prediction, f"[{style}]{line.verdict}[/{style}]")
    return table


def summary(lines: Sequence[Line]) -> str:
    """Say in a sentence how many of some lines agree, and what their predictions rest on."""
    told = [line for line in lines if line.verdict in ("agrees", "differs")]
    if not told:
        return "Theory predicts nothing that was measured here; each quantity has the reason."
    agree = sum(line.verdict == "agrees" for line in told)
    alone = sum(not line.from_run for line in told)
    text = f"{agree} of {len(told)} quantities agree with their prediction: {alone} are predicted from the experiment "
    text += f"and its input's realised rate alone, {len(told) - alone} from other measurements of the same run."
    silent = len(lines) - len(told)
    return text + (f" {silent} {'is' if silent == 1 else 'are'} without a verdict, with the reason." if silent else "")
