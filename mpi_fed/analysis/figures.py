"""Draw the averaged excess risk, measured and predicted, against rounds, uplink bytes and seconds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .series import BAND_PERCENTILES, Curve, Pictures, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Picture(NamedTuple):
    """A picture: the name of its file, its axes and its caption."""

    name: str
    x: str
    x_label: str
    y_label: str
    caption: str
    scaled: bool = False
    """True if the risk is multiplied by 2k, so that the curve tends to the limit trace."""


RISK = "excess risk of the averaged iterate"
PICTURES = (
    Picture("risk-rounds", "rounds", "rounds $k$", RISK, "Excess risk of the averaged iterate against rounds."),
    Picture(
        "risk-scaled",
        "rounds",
        "rounds $k$",
        "$2k$ · excess risk",
        "Excess risk times 2k, against rounds. It tends to the limit trace Tr(C H⁻¹), marked at the right edge, for "
        "step sizes that tend to 0, and levels out above it at a fixed step size.",
        scaled=True,
    ),
    Picture(
        "risk-bytes",
        "bytes",
        "uplink, bytes transported",
        RISK,
        "Excess risk against the bytes that all ranks together handed to MPI on the uplink.",
    ),
    Picture("risk-seconds", "seconds", "wall time, seconds", RISK, "Excess risk against the seconds spent in rounds."),
)
COLUMNS = 3
"""Largest number of panels side by side."""
BLOW_UP = 100
"""Factor over the initial risk above which risks are cut off."""
SUFFIXES = (".png", ".pdf")
HANDLE_INCHES, CHARACTER_INCHES = 0.55, 0.07
"""Widths, in inches, of the line and of a character of a legend's entry."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, safe for the colour-blind, without yellow, which is too pale for a line."""
MARKERS = "osD^vPX*"
THEORY = {"exact": (0, (5, 2)), "approximate": (0, (1, 1.6))}
"""Line styles of the predictions, by kind."""
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "0.91",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
}


def draw(pictures: Pictures, folder: Path) -> list[tuple[Path, str]]:
    """Write every picture as .png and .pdf; return the .png files with their captions."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with mpl.rc_context(STYLE):
        for picture in PICTURES:
            figure = _figure(pictures, picture)
            FigureCanvasAgg(figure)
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # compute the layout once, for all formats
            for suffix in SUFFIXES:
                figure.savefig(folder / f"{picture.name}{suffix}")
    return [(folder / f"{picture.name}.png", picture.caption) for picture in PICTURES]


def _figure(pictures: Pictures, picture: Picture) -> Figure:
    from matplotlib.figure import Figure

    count = len(pictures.panels)
    columns = 2 if count == 4 else min(count, COLUMNS)
    rows = math.ceil(count / columns)
    width, height = (6.4, 3.9) if count == 1 else (3.4 * columns, 3.0 * rows)
    handles = _legend(pictures, picture)
    across = _across([handle.get_label() for handle in handles], width)
    figure = Figure(figsize=(width, height + 0.2 * math.ceil(len(handles) / across)), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, panel in zip(grid.flat, pictures.panels, strict=False):
        axes.set_title(panel.title)
        axes.set(xscale="log", yscale="log")
        for series in panel.series:
            _draw_series(axes, series, picture)
        axes.margins(x=0.02)
    for axes in grid.flat[count:]:
        axes.set_axis_off()
    for axes in grid.flat[max(0, count - columns) : count]:
        axes.set_xlabel(picture.x_label)
    for axes in grid[:, 0]:
        axes.set_ylabel(picture.y_label)
    _limit(grid.flat[0], pictures, picture)
    figure.legend(handles=handles, loc="outside lower center", ncols=across)
    return figure


def _draw_series(axes: Axes, series: Series, picture: Picture) -> None:
    """Draw the mean as a line, the band over repetitions, and the prediction on top of both."""
    curve, colour = series.curve, colour_of(series.name_index)
    x, scale = getattr(curve, picture.x), _scale(curve, picture)
    marks = (0.02 + 0.03 * (series.name_index % 5), 0.16)
    axes.plot(x, scale * curve.mean, color=colour, marker=marker_of(series.name_index), markevery=marks, **_LINE)
    if curve.low is not None and curve.high is not None:
        axes.fill_between(x, scale * curve.low, scale * curve.high, color=colour, alpha=0.14, linewidth=0)
    if curve.theory is not None and curve.kind in THEORY:
        style: dict[str, Any] = {"color": _darker(colour), "linestyle": THEORY[curve.kind], "linewidth": 1.1}
        axes.plot(x, scale * curve.theory, zorder=3, **style)
    if picture.scaled and curve.limit_trace:
        edge: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "clip_on": False}
        axes.plot([1.015], [curve.limit_trace], color=colour, **_LIMIT, **edge)


def _darker(colour: str) -> tuple[float, ...]:
    from matplotlib.colors import to_rgb

    return tuple(0.6 * part for part in to_rgb(colour))


def _across(labels: list[str], width: float) -> int:
    """Return the largest number of columns with which a legend, filled column by column, fits a width in inches."""
    for columns in range(len(labels), 1, -1):
        longest = [max(map(len, column)) for column in np.array_split(np.array(labels, object), columns)]
        if sum(HANDLE_INCHES + CHARACTER_INCHES * length for length in longest) <= width:
            return columns
    return 1


_LINE: dict[str, Any] = {
    "linewidth": 1.3,
    "markersize": 4,
    "markeredgecolor": "white",
    "markeredgewidth": 0.5,
}


_LIMIT: dict[str, Any] = {"marker": "<", "markersize": 5, "linestyle": ""}


def colour_of(position: int) -> str:
    """Return the colour of the compressor at this position among all names."""
    return COLOURS[position % len(COLOURS)]


def marker_of(position: int) -> str:
    """Return the marker of the compressor at this position; compressors with the same colour have different markers."""
    return MARKERS[(position + position // len(COLOURS)) % len(MARKERS)]


def _limit(axes: Axes, pictures: Pictures, picture: Picture) -> None:
    """Limit the vertical axis to risks of at most BLOW_UP times the initial risk if a curve exceeds it."""
    curves = [series.curve for panel in pictures.panels for series in panel.series]
    ceiling = BLOW_UP * np.median([curve.mean[0] for curve in curves])
    if all((curve.mean <= ceiling).all() for curve in curves):
        return
    shown = [(_scale(curve, picture) * curve.mean)[(curve.mean <= ceiling) & (curve.mean > 0)] for curve in curves]
    values = np.concatenate(shown)
    if len(values):
        axes.set_ylim(values.min() / 2, values.max() * 2)


def _scale(curve: Curve, picture: Picture) -> NDArray[np.float64] | float:
    return 2 * curve.rounds if picture.scaled else 1.0


def _legend(pictures: Pictures, picture: Picture) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    curves = [series.curve for panel in pictures.panels for series in panel.series]
    shown = sorted({series.name_index for panel in pictures.panels for series in panel.series})
    handles: list[Any] = [
        Line2D([], [], color=colour_of(i), marker=marker_of(i), label=pictures.names[i], **_LINE) for i in shown
    ]
    for kind, style in THEORY.items():
        if any(curve.kind == kind and curve.theory is not None for curve in curves):
            handles.append(Line2D([], [], color="0.3", linestyle=style, linewidth=1.0, label=f"theory, {kind}"))
    if picture.scaled and any(curve.limit_trace for curve in curves):
        handles.append(Line2D([], [], color="0.3", label="limit trace", **_LIMIT))
    if any(curve.low is not None for curve in curves):
        low, high = BAND_PERCENTILES
        handles.append(Patch(color="0.3", alpha=0.18, linewidth=0, label=f"{low}–{high}% of repetitions"))
    return handles
