"""Pictures of sweeps: what was measured against a setting in which runs differ."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle, product
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.confidence import Interval, crossed_interval
from analysis.scaling import exponent
from analysis.style import RUNS, SIZE, canvas, logarithmic

Array = NDArray[np.float64]

MARKERS = "os^DvP"
"""Of the places of the other settings, every other one hollow; colours are of what a line is of."""

FACTOR = 2.0
"""A setting whose largest value is so many times its smallest is laid out logarithmically."""


def over_seeds(values: xr.DataArray, kept: str | None = None) -> tuple[xr.DataArray, xr.DataArray]:
    """Average over seeds what a sweep measured.

    Parameters
    ----------
    values : DataArray
        Over the settings; runs that are missing are NaN.
    kept : str, optional
        A dimension that is left alone, of seeds or not.

    Returns
    -------
    mean, reach : DataArray
        Without the dimensions of seeds; reach is half the 95 % interval, NaN with fewer than two runs. Where several
        kinds of seed are crossed, see `analysis.confidence.crossed_interval`.
    """
    seeds = seed_axes(values, kept)
    if not seeds:
        return values, xr.full_like(values, np.nan)

    def estimate(runs: Array) -> tuple[float, float]:
        found = crossed_interval(runs)
        return found.value, found.high - found.value

    mean, reach = xr.apply_ufunc(
        estimate, values, input_core_dims=[seeds], output_core_dims=[[], []], vectorize=True, output_dtypes=[float] * 2
    )
    return mean, reach


def seed_axes(values: xr.DataArray, kept: str | None = None) -> list[Hashable]:
    """Name the dimensions of seeds, but for one that is left alone."""
    return [name for name in values.dims if str(name).partition(".")[0] == "seed" and name != kept]


def against(values: xr.DataArray, setting: str, log: bool = False) -> Figure:
    """Draw means over seeds, with their intervals, against a setting.

    Parameters
    ----------
    values : DataArray
        Over the settings, see `analysis.sweeps.Sweep.measure`.
    setting : str
        A dimension, or a coordinate along one; each place along the others is a line.
    log : bool
        Whether both axes are logarithmic.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the runs do not differ in the setting.
    """
    if setting not in values.coords:
        known = ", ".join(map(str, values.coords))
        raise ValueError(f"setting = {setting!r}: the runs do not differ in it, but in {known}")
    along = values.coords[setting].dims[0]
    mean, reach = over_seeds(values, str(along))
    others = [name for name in mean.dims if name != along]
    with canvas() as (figure, (panel,)):
        for place, colour in zip(product(*(mean.coords[name].values for name in others)), cycle(RUNS), strict=False):
            here = dict(zip(others, place, strict=True))
            line, spread = mean.sel(here), reach.sel(here).fillna(0.0)
            label = ", ".join(f"{str(name).rpartition('.')[2]} = {value}" for name, value in here.items())
            panel.errorbar(
                line.coords[setting].values, line.values, spread.values, color=colour, marker="o", ms=4, label=label
            )
        if others:
            panel.legend(frameon=False, loc="best")
        if log:
            logarithmic(panel, mean.coords[setting].values)
        unit = values.attrs.get("units")
        panel.set(xlabel=setting, ylabel=f"{values.name or 'value'}{f' [{unit}]' if unit else ''}")
    return figure


@dataclass(frozen=True)
class Trend:
    """A line of a picture: what was measured along a setting, the other settings being fixed.

    Parameters
    ----------
    of : str
        Of what it is.
    here : str
        The other settings; empty if there is none.
    rank : int
        Number of this place among those of the other settings.
    places : ndarray
        Values of the setting [S].
    mean, reach : ndarray
        Mean over seeds and half its 95 % interval [S]; NaN where not known.
    slope : Interval or None
        Exponent in log-log over seeds; None where a value has no logarithm, or is missing.
    theory : tuple of ndarray, optional
        Limit of large N, lowest and highest value at this size [S each].
    """

    of: str
    here: str
    rank: int
    places: NDArray[Any]
    mean: Array
    reach: Array
    slope: Interval | None
    theory: tuple[Array, Array, Array] | None


def trends(
    measured: Mapping[str, xr.DataArray], setting: str, predicted: Mapping[str, tuple[xr.DataArray, ...]]
) -> Iterator[Trend]:
    """Follow one measure of several populations along a setting, at each place of the other settings.

    Parameters
    ----------
    measured : mapping of str to DataArray
        By what it is of, over the settings; see `analysis.sweeps.Sweep.measure`.
    setting : str
        A dimension of numbers.
    predicted : mapping of str to tuple of DataArray
        Limit of large N, lowest and highest value, likewise; of some of them.
    """
    for of, values in measured.items():
        mean, reach = over_seeds(values)
        others = [name for name in mean.dims if name != setting]
        for rank, place in enumerate(product(*(mean.coords[name].values.tolist() for name in others))):
            here: dict[Hashable, Any] = dict(zip(others, place, strict=True))
            if np.isfinite(mean.sel(here)).sum() < 2:
                continue
            theory = None
            if of in predicted:
                limit, low, high = (over_seeds(part)[0].sel(here).values for part in predicted[of])
                theory = limit, low, high
            places = values.coords[setting].values
            told = ", ".join(f"{short(name)} = {as_text(value)}" for name, value in here.items())
            line = mean.sel(here).values, reach.sel(here).values, _slope(values.sel(here).transpose(setting, ...))
            yield Trend(of, told, rank, places, *line, theory)


def draw(found: list[Trend], setting: str, name: str, unit: str) -> Figure:
    """Draw trends with their slopes and the range of theory; in log-log where all that is drawn has a logarithm.

    Parameters
    ----------
    found : list of Trend
        At least one.
    setting, name, unit : str
        What to write at the axes.

    Returns
    -------
    Figure
    """
    means = np.concatenate([trend.mean[np.isfinite(trend.mean)] for trend in found])
    sign = -1.0 if (means < 0).all() else 1.0
    log = (sign * means > 0).all() and is_wide(found[0].places)
    width, height = SIZE
    with canvas(size=(width, height + 0.2 * max(0, len(found) - 2))) as (figure, (panel,)):
        colours = dict(zip(dict.fromkeys(trend.of for trend in found), cycle(RUNS), strict=False))
        for trend in found:
            label, colour = ", ".join(filter(None, (trend.of, trend.here))), colours[trend.of]
            if log:
                label += f": slope {_limits(trend.slope)}" if trend.slope else ": no slope, a value has no logarithm"
            panel.errorbar(
                trend.places, sign * trend.mean, np.nan_to_num(trend.reach), label=label, color=colour, elinewidth=1.0,
                marker=MARKERS[trend.rank % len(MARKERS)], ms=5, mfc="white" if trend.rank % 2 else colour,
            )
            if trend.theory is not None:
                limit, low, high = (sign * part for part in trend.theory)
                panel.plot(trend.places, limit, color=colour, ls=(0, (4, 3)), lw=1.2)
                panel.fill_between(trend.places, low, high, color=colour, alpha=0.12, lw=0)
        if log:
            scale = [values for trend in found for values in (sign * trend.mean, *_limit_of(trend, sign))]
            known = np.concatenate(scale)
            known = known[np.isfinite(known) & (known > 0)]
            panel.set_ylim(known.min() / 1.4, known.max() * 1.4)
            logarithmic(panel, found[0].places)
        figure.legend(frameon=False, loc="outside lower left", fontsize=9)
        minus = "\N{MINUS SIGN}" if sign < 0 else ""
        panel.set(xlabel=setting, ylabel=f"{minus}{name}{f' [{unit}]' if unit else ''}")
        panel.set_title(f"{name[0].upper()}{name[1:]}")
    return figure


def as_text(value: Any) -> str:
    """Write a value of a setting."""
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def short(key: Hashable) -> str:
    """Name a setting by the last two parts of its key."""
    return ".".join(str(key).split(".")[-2:])


def is_wide(places: NDArray[Any]) -> bool:
    """Whether a setting's values are positive and differ by a factor."""
    return bool(places.min() > 0 and places.max() >= FACTOR * places.min())


def _limit_of(trend: Trend, sign: float) -> list[Array]:
    return [] if trend.theory is None else [sign * trend.theory[0]]


def _slope(values: xr.DataArray) -> Interval | None:
    """Fit the exponent of magnitudes along the first axis by seed; None where a value is zero or of another sign."""
    places, runs = values.coords[values.dims[0]].values, values.values.reshape(len(values), -1)
    known = np.isfinite(runs).all(axis=0)
    alike = known.any() and ((runs[:, known] > 0).all() or (runs[:, known] < 0).all())
    if not alike or not is_wide(places):
        return None
    slopes = np.full(known.shape, np.nan)
    slopes[known] = [exponent(places.tolist(), abs(runs[:, [run]])).value for run in np.flatnonzero(known)]
    return crossed_interval(slopes.reshape(values.shape[1:]))


def _limits(slope: Interval) -> str:
    value, low, high = (f"{round(x, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}") for x in
                        (slope.value, slope.low, slope.high))
    return f"{value} [{low}, {high}]" if np.isfinite(slope.error) else value
