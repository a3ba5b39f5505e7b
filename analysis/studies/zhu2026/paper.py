"""What the figures of Zhu, Ocker & Rosenbaum (2026) show: means over four trials of 5 s, read off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, log, nan, sqrt

from analysis.confidence import common_mode_error

SIZES = (1000, 2000, 4000, 8000, 15000)
"""N."""

TRIALS, WINDOWS = 4, 18
"""Of each network, and of 250 ms in each."""

ASYNCHRONOUS, CORRELATED = 0.0, 0.2
"""Correlation of the input trains, c."""


@dataclass(frozen=True)
class Curve:
    """A quantity against N.

    Parameters
    ----------
    values : tuple of float
        By size, the first of `SIZES` on.
    errors : tuple of float, optional
        Their standard errors, where the figure has them.
    """

    values: tuple[float, ...]
    errors: tuple[float, ...] | None = None

    def at(self, sizes: Sequence[int]) -> tuple[list[float], list[float | None]]:
        """Give the values at some sizes, and their errors where they are known."""
        places = [SIZES.index(size) for size in sizes]
        return [self.values[k] for k in places], [None if self.errors is None else self.errors[k] for k in places]

    def local_exponent(self, size: int, larger: int) -> tuple[float, float]:
        """Give the exponent of N between two sizes, and its standard error; NaN where errors are not known."""
        (value, after), errors = self.at((size, larger))
        relative = [nan if error is None else error / v for v, error in zip((value, after), errors, strict=True)]
        return log(after / value) / log(larger / size), hypot(*relative) / log(larger / size)


def _over_pairs(*values: float) -> Curve:
    """Give mean correlations of pairs the errors that they have by their number of windows.

    The variance of the sum of N standardised counts, 1 + N rho a neuron, is estimated from W windows: its relative
    error is that of a common mode.
    """
    of_trial = common_mode_error(WINDOWS)
    return Curve(values, tuple(of_trial * (1 / size + rho) / sqrt(TRIALS)
                               for size, rho in zip(SIZES, values, strict=True)))


VARIANCES = {
    ("current", ASYNCHRONOUS): Curve((37.97, 38.65, 38.25, 38.57, 38.43), (0.4,) * 5),
    ("conductance", ASYNCHRONOUS): Curve((12.21, 9.75, 7.63, 5.78, 4.39), (0.02,) * 5),
    ("current", CORRELATED): Curve((67.2, 68.5, 83.2, 121.1, 303.0), (2.7, 1.9, 3.1, 9.0, 47.0)),
    ("conductance", CORRELATED): Curve((14.23, 13.51, 12.01, 11.09, 10.96), (0.2, 0.46, 0.46, 0.74, 0.69)),
    ("effective", ASYNCHRONOUS): Curve((16.71, 12.79, 9.75, 7.14, 5.26)),
    ("effective", CORRELATED): Curve((26.8, 42.5, 169.8, 683.0, 1676.0)),
}
"""Of V over time [mV^2], by synapses and correlation."""

CORRELATIONS = {
    ("current", ASYNCHRONOUS): _over_pairs(7.8e-3, 2.7e-3, 1.2e-3, 8.1e-4, 2.7e-4),
    ("conductance", ASYNCHRONOUS): _over_pairs(5.2e-3, 1.2e-3, 4.1e-4, 3.3e-4, 1.0e-4),
    ("current", CORRELATED): _over_pairs(0.132, 0.128, 0.126, 0.102, 0.112),
    ("conductance", CORRELATED): _over_pairs(0.083, 0.074, 0.080, 0.059, 0.071),
    ("effective", ASYNCHRONOUS): _over_pairs(2.9e-3, 1.2e-3, 3.0e-4, 2.0e-4, 8.9e-5),
    ("effective", CORRELATED): _over_pairs(0.120, 0.107, 0.102, 0.108, 0.137),
}
"""Of spike counts in 250 ms."""

ABSOLUTE = {
    ASYNCHRONOUS: Curve((0.188, 0.170, 0.151, 0.134, 0.119)),
    CORRELATED: Curve((0.389, 0.488, 0.652, 0.899, 1.301)),
}
"""Mean of |dV dg| [mV/ms] with conductances."""

RATES_HZ = {
    ("current", ASYNCHRONOUS): {"E": 8.1, "I": 18.0},
    ("conductance", ASYNCHRONOUS): {"E": 5.3, "I": 7.1},
    ("conductance", CORRELATED): {"E": 6.3, "I": 7.5},
}
"""At N = 1000, to 0.1 Hz."""

TIME_CONSTANTS_MS = {"E": 4.8, "I": 3.66}
"""Effective ones at N = 1000, c = 0."""
