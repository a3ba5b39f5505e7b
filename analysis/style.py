"""How every picture looks: sizes, colours, lines that carry their names.

Colours (Okabe & Ito) can be told apart with any colour vision, and belong to populations throughout; lines carry their
names, so that no picture needs its colours to be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from mpi_engine.experiment import Experiment

Array = NDArray[np.float64]

INK, GREY, PALE = "#222222", "#767676", "#d9d9d9"
NETWORK = ("#D55E00", "#0072B2", "#CC79A7", "#E69F00")
INPUTS = ("#009E73", "#56B4E9")
RUNS = ("#0B3C5D", "#E08A00", "#7A4E9C", "#2E8B57", "#B03060", "#6B6B6B")

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlepad": 10,
    "axes.unicode_minus": True,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "white",
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "steelyard",
}

SIZE = (5.8, 3.7)


@contextmanager
def canvas(rows: Sequence[float] = (1.0,), size: tuple[float, float] = SIZE) -> Iterator[tuple[Figure, list[Axes]]]:
    """Open a figure of panels that share their time axis, in the one style and without a window system."""
    with rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(len(rows), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": list(rows)})
        yield figure, list(panels[:, 0])


def as_svg(figure: Figure) -> bytes:
    """Draw a figure as vector graphics, without the time at which it was drawn."""
    buffer = BytesIO()
    with rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as vector graphics and as pixels: ``stem.pdf`` and ``stem.png``.

    Parameters
    ----------
    figure : Figure
        Any figure of this package.
    stem : Path
        Path without a suffix; its directory exists.

    Returns
    -------
    list of Path
        The files.
    """
    files = [stem.with_name(f"{stem.name}.{suffix}") for suffix in ("pdf", "png")]
    with rc_context(STYLE):
        for file, dated in zip(files, ("CreationDate", "Creation Time"), strict=True):
            figure.savefig(file, metadata={dated: None})
    return files


def colours(experiment: Experiment) -> dict[str, str]:
    """Give each population and input its colour."""
    network = {name: NETWORK[i % len(NETWORK)] for i, name in enumerate(experiment.populations)}
    return network | {name: INPUTS[i % len(INPUTS)] for i, name in enumerate(experiment.trains)}


def smoothing_ms(recorded_ms: float) -> float:
    """Give the width of the windows in which series are averaged: a second, or a tenth of a shorter run."""
    return min(1000.0, recorded_ms / 10)


def smoothed(times_ms: Array, values: Array, bin_ms: float, window_ms: float) -> tuple[Array, Array]:
    """Average a series of bins in windows.

    Parameters
    ----------
    times_ms, values : ndarray
        Bin starts and values [T].
    bin_ms, window_ms : float
        Width of a bin and of a window [ms].

    Returns
    -------
    ndarray, ndarray
        Centres of the windows in seconds and means [W]; a rest shorter than a window is left out.
    """
    width = max(1, round(window_ms / bin_ms))
    windows = len(values) // width
    means = values[: windows * width].reshape(windows, width).mean(axis=1)
    return 1e-3 * (times_ms[: windows * width : width] + width * bin_ms / 2), means


def plot_mean(panel: Axes, times_ms: Array, values: Array, bin_ms: float, colour: str) -> None:
    """Draw a series in windows of `smoothing_ms`, over a pale one in quarters of them."""
    window_ms = smoothing_ms(len(values) * bin_ms)
    panel.plot(*smoothed(times_ms, values, bin_ms, window_ms / 4), color=colour, lw=0.8, alpha=0.35)
    panel.plot(*smoothed(times_ms, values, bin_ms, window_ms), color=colour, lw=2.2)


def level(values: Array) -> float:
    """Give the height at which a line ends: its mean over the last tenth; zero of nothing."""
    return float(values[-max(1, len(values) // 10) :].mean()) if values.size else 0.0


def logarithmic(panel: Axes, places: NDArray[Any]) -> None:
    """Lay out both axes logarithmically, numbers at all places and at as many heights as have room; after drawing."""
    panel.set(xscale="log", yscale="log")
    panel.set_xticks(places, [f"{place:g}" for place in places])
    panel.set_xticks([], minor=True)
    panel.yaxis.set_major_formatter("{x:g}")
    low, high = panel.get_ylim()
    panel.yaxis.set_minor_formatter("{x:g}" if high <= 30 * low else "")     # of several decades, decades alone
    if 3 * low < high <= 30 * low:
        panel.yaxis.set_minor_locator(LogLocator(subs=(2.0, 3.0, 5.0)))


def name_lines(panel: Axes, names: Sequence[tuple[float, str, str]]) -> None:
    """Write (height, name, colour) to the right of where lines end, apart enough to be read; limits are set before."""
    low, high = panel.get_ylim()
    below = -np.inf
    for height, text, colour in sorted(names):
        below = max(height, below + 0.075 * (high - low))
        panel.annotate(
            text,
            (1, below),
            (6, 0),
            panel.get_yaxis_transform(),
            textcoords="offset points",
            color=colour,
            va="center",
            weight="bold",
        )


def remark(panel: Axes, height: float, text: str, colour: str) -> None:
    """Write a small word on a horizontal line, at its right end."""
    panel.annotate(
        text,
        (1, height),
        (-4, 3),
        panel.get_yaxis_transform(),
        textcoords="offset points",
        color=colour,
        fontsize=9,
        ha="right",
        path_effects=[withStroke(linewidth=3, foreground="white")],
    )
