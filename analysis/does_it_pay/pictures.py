"""Draw the pictures of the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mpi_fed.analysis.cost_model.document import Rates
from mpi_fed.analysis.cost_model.units import rate_text

from .answers import BOTH_WAYS, COMMON, SHARED, Measured, Setup, rates
from .results import Results

COLOURS = ("#0072b2", "#d55e00", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#000000")
MARKS = ("o", "s", "D", "^", "v", "P", "X")
LINES = {BOTH_WAYS: "--", COMMON: ":", SHARED: "-."}
"""Line styles by the end of a name; other lines are solid."""
DPI = 110
HIGHEST = 1e12
"""The rate, in bits a second, at which the picture shows a compressor that is faster at every rate."""


def gains(setups: Sequence[Setup], names: Sequence[str], key: str, measured: Sequence[Measured], file: Path) -> None:
    """Draw a panel for each link: the speed relative to no compression over dimensions; dots are measurements."""
    figure, axes = _panels(len(setups))
    for panel, setup in zip(axes, setups, strict=False):
        panel.axhline(1, color="black", lw=0.8)
        for name, colour, mark, dashes in _styles(names):
            curve = setup.gains(name, key)
            if curve:
                panel.plot(*zip(*curve, strict=True), color=colour, ls=dashes, lw=1.6)
            dots = [(m.dimension, m.gain) for m in measured if (m.link, m.name) == (setup.link, name)]
            if dots and key == "round":
                panel.plot(*zip(*dots, strict=True), mark, color=colour, ms=5, mec="white", mew=0.6)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_title(setup.title, fontsize=10)
        panel.grid(alpha=0.25, which="both", lw=0.4)
    _label(axes, "dimension $d$", "times as fast")
    for panel in axes[: len(setups)]:
        if key == "to_risk":
            panel.set_ylim(0.01, 2)
        _plain(panel)
    _legend(figure, axes[len(setups) :], names)
    _save(figure, file)


def break_even(setups: Sequence[Setup], names: Sequence[str], file: Path) -> None:
    """Draw, against the dimension, the rates below which a compressor is faster than floats: a round, and to a risk."""
    figure, axes = _panels(3)
    for panel, (setup, key, title) in zip(
        axes,
        [
            (setups[0], "round", f"a round, {setups[0].machine.clients} hosts"),
            (setups[1], "round", f"a round, {setups[1].machine.clients} hosts"),
            (setups[0], "to_risk", f"to a risk, {setups[0].machine.clients} hosts"),
        ],
        strict=True,
    ):
        for name, colour, mark, dashes in _styles(names):
            curve = list(_ends(setup, name, key))
            if curve:
                panel.plot(*zip(*curve, strict=True), color=colour, marker=mark, ls=dashes, ms=4, lw=1.6)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xlim(0.8e3, 1.25e6)
        panel.set_ylim(1e7, 1.5 * HIGHEST)
        ticks = [10.0**power for power in range(7, 13)]
        panel.set_yticks(ticks, [rate_text(rate) for rate in ticks], fontsize=8)
        panel.set_title(title, fontsize=10)
        panel.grid(alpha=0.25, lw=0.4)
    _label(axes, "dimension $d$", "faster below this rate")
    figure.legend(*_handles(names), loc="outside lower center", ncols=4, fontsize=8, frameon=False, handlelength=4)
    _save(figure, file)


def _ends(setup: Setup, name: str, key: str) -> Iterator[tuple[int, float]]:
    for dimension, row in setup.best(name):
        ends = rates(row, key)
        if ends == "always" or isinstance(ends, Rates):
            yield dimension, min(HIGHEST, (ends.below if isinstance(ends, Rates) else None) or HIGHEST)


def errors(results: Results, file: Path) -> None:
    """Draw predicted / measured seconds of a round: for held-out dimensions, and for results left out of the fit."""
    figure, axes = _panels(2)
    parts = [
        (axes[0], results.held_out, "sizes left out of the fit"),
        (axes[1], results.checks, "rates and numbers of hosts left out"),
    ]
    for panel, misses, title in parts:
        panel.axhline(1, color="black", lw=0.8)
        groups: dict[str, list[Any]] = {}
        for miss in misses:
            link = "shared memory" if miss.point.link is None else f"links, {rate_text(miss.point.link)}"
            hosts = f", {miss.point.ranks} hosts" if miss.point.link and miss.point.ranks > 2 else ""
            groups.setdefault(link + hosts, []).append(miss)
        for (name, of_group), colour, mark in zip(groups.items(), COLOURS, MARKS, strict=False):
            for beyond in (False, True):
                dots = [(1e3 * m.point.seconds["round"], 1 + m.error) for m in of_group if m.beyond == beyond]
                if dots:
                    face = "none" if beyond else colour
                    panel.plot(*zip(*dots, strict=True), mark, color=colour, mfc=face, ms=5, alpha=0.8, label=name)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_title(title, fontsize=10)
        panel.grid(alpha=0.25, which="both", lw=0.4)
        handles, labels = panel.get_legend_handles_labels()
        known = dict(zip(labels, handles, strict=True))
        if known:
            panel.legend(known.values(), known.keys(), fontsize=8)
        panel.set_ylim(0.2, 5) if panel is axes[0] else panel.set_ylim(0.8, 1.25)
        ticks = (0.2, 0.5, 1, 2, 5) if panel is axes[0] else (0.8, 0.9, 1, 1.1, 1.25)
        panel.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.minorticks_off()
    _label(axes, "a round as measured, ms", "predicted / measured")
    _save(figure, file)


def _panels(count: int) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    columns = min(3, count) if count != 5 else 3
    rows = -(-count // columns)
    size = 3.4 * columns + 0.4, 2.9 * rows + 0.3
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    return figure, axes.ravel()


def _label(axes: Any, x: str, y: str) -> None:
    for panel in axes:
        if panel.has_data():
            panel.set_xlabel(x, fontsize=9)
            panel.tick_params(labelsize=8)
            if panel.get_subplotspec().is_first_col():
                panel.set_ylabel(y, fontsize=9)


def _plain(panel: Any) -> None:
    """Write factors as 0.5, 1, 2 rather than as powers of ten if the axis is short."""
    low, high = panel.get_ylim()
    choices = {2.5: (1, 1.2, 1.4, 1.6, 2, 6, 7, 8, 9), 5: (1, 1.5, 2, 3, 5, 7), 300: (1, 2, 5), float("inf"): (1,)}
    choice = next(factors for most, factors in choices.items() if high / low <= most)
    ticks = [10.0**power * factor for power in range(-5, 4) for factor in choice]
    ticks = [tick for tick in ticks if low <= tick <= high]
    panel.set_yticks(ticks, [f"{t:g}" for t in ticks])
    panel.minorticks_off()


def _handles(names: Sequence[str]) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    styles = _styles(names)
    lines = [Line2D([], [], color=colour, marker=mark, ls=dashes, ms=5, lw=1.6) for _, colour, mark, dashes in styles]
    return lines, list(names)


def _styles(names: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield names with colour and mark by the compressor, and the line style by the end of the name."""
    known: dict[str, int] = {}
    for name in names:
        end = next((end for end in LINES if name.endswith(end)), "")
        place = known.setdefault(name.removesuffix(end), len(known)) % len(COLOURS)
        yield name, COLOURS[place], MARKS[place], LINES.get(end, "-")


def _legend(figure: Any, spare: Any, names: Sequence[str]) -> None:
    """Put the legend into a spare panel, or below the panels."""
    for panel in spare:
        panel.axis("off")
    lines, texts = _handles(names)
    if len(spare):
        spare[0].legend(lines, texts, loc="center", fontsize=9, frameon=False, handlelength=4)
    else:
        figure.legend(lines, texts, loc="outside lower center", ncols=3, fontsize=8, handlelength=4)


def _save(figure: Any, file: Path) -> None:
    import matplotlib.pyplot as plt

    figure.savefig(file, dpi=DPI, metadata={"Software": None})
    plt.close(figure)
