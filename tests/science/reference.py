"""Reference numbers for networks of Akil et al. (2021) with N = 5000, and the rule of comparison with them.

The numbers come from another implementation of the same scheme, one run a line: rates in Hz; `corr` and `cov`, mean
correlation coefficient and covariance of pairs of spike counts in 250 ms; mean currents into E neurons in mV/ms, after
the decay at the end of a step; mean and standard deviation of the plastic weights at the end, in mV as named.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, nan, sqrt

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ERRORS = 3.0
"""Standard errors by which two means may differ."""

FINEST = 0.02
"""Relative difference that is never held against a mean."""

ENOUGH_RUNS = 3
"""Runs from which the reference's own spread is known; with fewer, the spread of our seeds stands for it."""

_CURRENTS = ("from_E", "from_I", "from_X")

_RUNS = """
run            rate_E rate_I corr_EE corr_EI corr_II  from_E  from_I from_X  weight weight_sd
ei_c0_j150_s1   10.10  22.45  0.0026  0.0028  0.0022   1.409  -3.190  2.520 -124.83     26.52
ei_c0_j150_s2   10.06  22.29  0.0012  0.0012  0.0008   1.404  -3.179  2.511 -124.33     25.43
ei_c0_j60_s1    10.12  22.45  0.0022  0.0030  0.0032   1.412  -3.165  2.511  -79.13     28.34
hard_c0_s1       5.56  14.43  0.0000  0.0006  0.0003   0.776  -2.986  2.518   25.02      0.63
koh_c0_j5_s1     6.40  15.93  0.0007  0.0014  0.0014   0.202  -2.198  2.511    2.88      2.79
koh_c0_j5_s2     6.44  15.89  0.0002  0.0008  0.0005   0.202  -2.195  2.511    2.86      2.72
soft_c0_j20_s1  11.12  24.58  0.0009  0.0016  0.0014   1.436  -3.392  2.513   22.63      3.15
soft_c0_j20_s2  11.23  24.64  0.0005  0.0010  0.0008   1.448  -3.404  2.507   22.55      3.11
static_c0.1_s1   5.76  14.82  0.0286  0.0458  0.0738   0.804  -3.066  2.530
static_c0.1_s2   5.66  14.41  0.0307  0.0488  0.0779   0.791  -2.988  2.471
static_c0.1_s3   5.74  14.59  0.0371  0.0548  0.0814   0.801  -3.018  2.498
static_c0_s1     5.55  14.42  0.0003  0.0010  0.0009   0.775  -2.985  2.519
static_c0_s2     5.61  14.43  0.0003  0.0008  0.0004   0.784  -2.991  2.516
static_c0_s3     5.65  14.49  0.0004  0.0010  0.0010   0.788  -2.997  2.523
"""

_THREE_SEEDS = """
network      number  cov_EE  cov_EI  cov_II  fano_E  fano_I
static_c0    mean    0.0008  0.0028  0.0044  0.9859  1.0091
static_c0    sd      0.0001  0.0002  0.0008  0.0001  0.0079
static_c0.1  mean    0.1057  0.2777  0.7274  1.0300  1.2059
static_c0.1  sd      0.0091  0.0196  0.0432  0.0068  0.0145
"""


@dataclass(frozen=True)
class Sample:
    """A quantity over runs.

    Parameters
    ----------
    mean, sd : float
        Over runs; the standard deviation is NaN for a single one.
    runs : int
        How many.
    rounding : float
        Half a unit of the last digit that is known.
    """

    mean: float
    sd: float
    runs: int
    rounding: float = 0.0

    @classmethod
    def of(cls, values: Array, rounding: float = 0.0, least_sd: float = 0.0) -> Sample:
        """Summarise one value a run; runs are taken to differ at least by `least_sd`."""
        sd = max(float(values.std(ddof=1)), least_sd) if values.size > 1 else nan
        return cls(float(values.mean()), sd, values.size, rounding)


@dataclass(frozen=True)
class Comparison:
    """A quantity as measured beside the reference."""

    quantity: str
    measured: Sample
    reference: Sample

    @property
    def tolerance(self) -> float:
        """Three standard errors of the difference, at least 2 % of the reference; and its rounding."""
        m, r = self.measured, self.reference
        spread = r.sd if r.runs >= ENOUGH_RUNS else m.sd
        error = hypot(m.sd / sqrt(m.runs), spread / sqrt(r.runs))
        return max(ERRORS * error, FINEST * abs(r.mean)) + r.rounding

    @property
    def agrees(self) -> bool:
        """Whether the difference is within the tolerance."""
        return abs(self.measured.mean - self.reference.mean) <= self.tolerance

    def __str__(self) -> str:
        m, r = self.measured, self.reference
        return (f"{self.quantity:10} {m.mean:10.5g} (sd {m.sd:.2g}, {m.runs} seeds)   reference {r.mean:10.5g} "
                f"({r.runs} runs)   difference {m.mean - r.mean:+.2g} of {self.tolerance:.2g}"
                + ("" if self.agrees else "   DISAGREES"))


def reference_runs(name: str) -> tuple[dict[str, Array], dict[str, float]]:
    """Look up a run, or all runs of a network; with the net current, what balance leaves of much larger ones.

    Returns
    -------
    values : dict of str to ndarray
        One value a run, by quantity.
    rounding : dict of str to float
        Half a unit of the last digit, by quantity.
    """
    (_, *quantities), *lines = _table(_RUNS)
    chosen = [row for run, *row in lines if name in (run, run.rpartition("_")[0])]
    columns = dict(zip(quantities, zip(*chosen, strict=True), strict=False))     # static networks have no weights
    values = {quantity: np.array(column, np.float64) for quantity, column in columns.items()}
    rounding = {quantity: _rounding(column[0]) for quantity, column in columns.items()}
    values["net"] = np.sum([values[current] for current in _CURRENTS], axis=0)
    rounding["net"] = sum(rounding[current] for current in _CURRENTS)
    return values, rounding


def reference_means(network: str) -> dict[str, Sample]:
    """Look up the quantities of which only mean and spread over three seeds are known."""
    (_, _, *quantities), *lines = _table(_THREE_SEEDS)
    pairs = zip(*(row for name, _, *row in lines if name == network), strict=True)
    samples = [Sample(float(mean), float(sd), 3, _rounding(mean)) for mean, sd in pairs]
    return dict(zip(quantities, samples, strict=True))


def _table(text: str) -> list[list[str]]:
    return [line.split() for line in text.strip().splitlines()]


def _rounding(number: str) -> float:
    return 0.5 * 10.0 ** -len(number.partition(".")[2])
