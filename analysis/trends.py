"""Pictures of sweeps: what was measured against a setting in which runs differ."""

from __future__ import annotations

from itertools import cycle, product

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy import stats

from analysis.confidence import LEVEL
from analysis.style import RUNS, canvas


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
        Without the dimensions of seeds; reach is half the 95 % interval of Student's t, NaN with fewer than two runs.
    """
    seeds = [name for name in values.dims if str(name).partition(".")[0] == "seed" and name != kept]
    if not seeds:
        return values, xr.full_like(values, np.nan)
    runs = values.count(seeds)
    error = values.std(seeds, ddof=1) / runs**0.5
    return values.mean(seeds), error * stats.t.ppf((1 + LEVEL) / 2, np.maximum(runs - 1, 1))


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
            panel.set(xscale="log", yscale="log")
            places = mean.coords[setting].values
            panel.set_xticks(places, [f"{place:g}" for place in places])
            panel.set_xticks([], minor=True)
            panel.yaxis.set_major_formatter("{x:g}")
            panel.yaxis.set_minor_formatter("{x:g}")
        unit = values.attrs.get("units")
        panel.set(xlabel=setting, ylabel=f"{values.name or 'value'}{f' [{unit}]' if unit else ''}")
    return figure
