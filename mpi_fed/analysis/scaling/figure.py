"""Draw the picture: speed-up and efficiency against ranks, with the ideal as dotted lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..figures import STYLE, SUFFIXES, colour_of, marker_of
from .document import Estimate, GroupEntry, PointEntry, Scaling
from .groups import STRONG, WEAK
from .table import heading_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {STRONG: "strong scaling: the same clients", WEAK: "weak scaling: the same clients a rank"}
HOLLOW = "more ranks than cores"


def draw(document: Scaling, folder: Path) -> None:
    """Write scaling.png and scaling.pdf."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with mpl.rc_context(STYLE):
        figure = _figure(document.groups)
        FigureCanvasAgg(figure)
        for suffix in SUFFIXES:
            figure.savefig(folder / f"scaling{suffix}")


def _figure(groups: list[GroupEntry]) -> Figure:
    """Draw a row for each kind of scaling: the speed-up and the efficiency."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(map(heading_of, groups)))
    kinds = [kind for kind in TITLES if any(group.kind == kind for group in groups)]
    figure = Figure(figsize=(7.4, 3.0 * len(kinds) + 0.2 * len(names)), layout="constrained")
    for kind, row in zip(kinds, figure.subplots(len(kinds), 2, squeeze=False), strict=True):
        members = [group for group in groups if group.kind == kind]
        _draw_speed_ups(row[0], members, names)
        _draw_efficiencies(row[1], members, names)
        for axes, label in zip(row, ("speed-up", "efficiency"), strict=True):
            axes.set(title=TITLES[kind], xlabel="ranks", ylabel=label)
    figure.legend(handles=_legend(groups, names), loc="outside lower center", ncols=2)
    return figure


def _draw_speed_ups(axes: Axes, groups: list[GroupEntry], names: list[str]) -> None:
    ranks = _draw_groups(axes, groups, names, lambda point: point.speed_up)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:g}")
    for fewest in sorted({group.points[0].ranks for group in groups}):
        axes.plot(ranks, [count / fewest for count in ranks], **IDEAL)


def _draw_efficiencies(axes: Axes, groups: list[GroupEntry], names: list[str]) -> None:
    _draw_groups(axes, groups, names, lambda point: point.efficiency)
    axes.axhline(1.0, **IDEAL)
    axes.set_ylim(0.0, max(1.05, axes.get_ylim()[1]))


IDEAL: dict[str, Any] = {"color": "0.6", "linestyle": (0, (1, 1.6)), "linewidth": 1.0, "zorder": 1}


Choice = Callable[[PointEntry], Estimate]


def _draw_groups(axes: Axes, groups: list[GroupEntry], names: list[str], chosen: Choice) -> list[int]:
    """Draw a curve for each group, and return the numbers of ranks."""
    ranks = sorted({point.ranks for group in groups for point in group.points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ranks, [str(count) for count in ranks])
    axes.minorticks_off()
    for group in groups:
        _draw_group(axes, group.points, chosen, names.index(heading_of(group)))
    return ranks


def _draw_group(axes: Axes, points: list[PointEntry], chosen: Choice, name: int) -> None:
    """Draw a line through the estimates, bars for the intervals, and hollow markers if ranks share cores."""
    colour, marker = colour_of(name), marker_of(name)
    estimates = [chosen(point).estimate for point in points]
    axes.plot([point.ranks for point in points], estimates, color=colour, linewidth=1.2)
    for point in points:
        value, face = chosen(point), "white" if point.more_ranks_than_cores else colour
        axes.plot([point.ranks], [value.estimate], marker=marker, color=colour, markerfacecolor=face, markersize=5)
        if value.low is not None and value.high is not None:
            axes.vlines(point.ranks, value.low, value.high, color=colour, linewidth=1.0)


def _legend(groups: list[GroupEntry], names: list[str]) -> list[Any]:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour_of(i), marker=marker_of(i), markersize=5, label=name)
        for i, name in enumerate(names)
    ]
    handles.append(Line2D([], [], label="ideal", **IDEAL))
    if any(point.more_ranks_than_cores for group in groups for point in group.points):
        hollow: dict[str, Any] = {"color": "0.3", "markerfacecolor": "white", "linestyle": "", "markersize": 5}
        handles.append(Line2D([], [], marker="o", label=HOLLOW, **hollow))
    return handles
