"""Compute the page's answers for a link: rows of the model over dimensions, and measured ratios."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpi_fed.analysis.cost_model.answer import answer
from mpi_fed.analysis.cost_model.costs import Costs, downlink_of, is_clear, predicted, uplink_of
from mpi_fed.analysis.cost_model.document import RateInterval, Row
from mpi_fed.analysis.cost_model.machine import Machine
from mpi_fed.analysis.cost_model.points import Point
from mpi_fed.analysis.cost_model.rounds import bench_trace

RISK = 1e-3
DECADES = (1_000, 10_000, 100_000, 1_000_000)
"""Dimensions of a table."""
GRID = tuple(sorted({*DECADES, *np.rint(10 ** np.arange(3, 6.01, 0.125)).astype(int).tolist()}))
"""Dimensions of a curve."""
PAYS = 1.05
"""The smallest gain that counts, given the accuracy of the model and of the measurements."""


COMMON, SHARED, BOTH_WAYS = ", common mask", ", shared scale", " both ways"
"""Ends of compressors' names. They mean: all clients keep the same coordinates; MPI sums levels as integers; the
downlink has the same compressor as the uplink."""


def short(name: str, downlink: str | None = None) -> str:
    """Return a compressor's name for tables; a star stands for omega = sqrt(d)."""
    name = name.replace(", omega = sqrt(d)", "*").replace(" levels=", " ")
    if " mask=common" in name:
        name = name.replace(" mask=common", "") + COMMON
    return name if downlink is None else name + BOTH_WAYS


def name_of(row: Row) -> str:
    """Return the name of a row's compressor for tables."""
    return short(row.compressor, row.downlink)


def _name_of_point(point: Point) -> str:
    return short(point.recipe.name, None if point.down is None else point.down.name)


@dataclass(frozen=True, eq=False)
class Setup:
    """A machine and the model's rows for it."""

    title: str
    machine: Machine
    costs: Costs

    @property
    def link(self) -> float | None:
        """The rate of the links, in the form in which measured points have it."""
        return self.machine.up

    @functools.cached_property
    def rows(self) -> dict[int, list[Row]]:
        """The rows of each dimension of GRID."""
        return {d: answer(self.costs, bench_trace, self.machine, d, RISK) for d in GRID}

    def at(self, dimension: int) -> list[Row]:
        """Return the rows of a dimension."""
        return self.rows[dimension]

    def best(self, name: str, key: str = "round") -> list[tuple[int, Row]]:
        """Return, for each dimension, the compressor's row with the faster downlink."""
        best = []
        for dimension, rows in self.rows.items():
            of_name = [row for row in rows if name_of(row) == name and gain(row, key) is not None]
            if of_name:
                best.append((dimension, max(of_name, key=lambda row: gain(row, key) or 0.0)))
        return best

    def gains(self, name: str, key: str) -> list[tuple[int, float]]:
        """Return the speed relative to no compression at each dimension."""
        return [(dimension, gain(row, key) or 0.0) for dimension, row in self.best(name, key)]


def gain(row: Row, key: str) -> float | None:
    """Return the speed relative to the faster of float32 and float16; `key` is "round" or "to_risk"."""
    base = row.uncompressed
    if base is None:
        return None
    return base.round if key == "round" else base.to_risk


def rounds_needed(row: Row) -> float | None:
    """Return the rounds to a risk, divided by the rounds without compression."""
    return None if row.uncompressed is None else row.uncompressed.rounds_needed


def rates(row: Row, key: str) -> RateInterval:
    """Return the interval of link rates where the row beats float32 and float16; `key` is "round" or "to_risk"."""
    base = row.uncompressed
    if base is None:
        return None
    return base.faster_between if key == "round" else base.faster_to_risk_between


def winner(rows: Sequence[Row], key: str) -> Row | None:
    """Return the row of the fastest compressor, even if no compression is faster."""
    eligible = [row for row in rows if _counts(row, key)]
    return max(eligible, key=lambda row: gain(row, key) or 0.0) if eligible else None


def _counts(row: Row, key: str) -> bool:
    """Return whether a row may win. Partial participation, where clients may be absent, counts only to a risk."""
    absent = row.compressor.startswith("partial-participation")
    return not row.compressor.startswith("float") and gain(row, key) is not None and not (absent and key == "round")


def span(curve: Sequence[tuple[int, float]]) -> str:
    """Return where a curve lies above PAYS, such as "from 2,000", "up to 30,000" or "nowhere"; a dash if empty."""
    if not curve:
        return "-"
    above = [value >= PAYS for _, value in curve]
    if all(above):
        return "everywhere"
    if not any(above):
        return "nowhere"
    first, last = above.index(True), len(above) - 1 - above[::-1].index(True)
    low, high = about(curve[first][0]), about(curve[last][0])
    if last == len(above) - 1:
        return f"from {low}"
    return f"up to {high}" if first == 0 else f"{low} to {high}"


def about(value: int) -> str:
    """Return a number rounded to two digits."""
    return f"{float(f'{value:.2g}'):,.0f}"


@dataclass(frozen=True)
class Measured:
    """The speed of a compressor's round relative to rounds of uncompressed floats over the same link."""

    link: float | None
    hosts: int
    name: str
    dimension: int
    gain: float
    """Measured speed relative to the faster of float32 and float16."""
    modelled: float
    """The same speed by the model."""
    seconds: float
    """Measured seconds of a round."""


def measured(points: Sequence[Point], costs: Costs) -> list[Measured]:
    """Return the gain of every compressor, with its faster downlink, if floats were measured over the same link."""
    groups: dict[tuple[Any, ...], list[Point]] = {}
    for point in points:
        if not point.may_be_absent and _is_long(point):
            groups.setdefault((point.link, point.ranks, point.dimension), []).append(point)
    gains = []
    for (link, ranks, dimension), members in groups.items():
        plain = [point for point in members if _is_plain(point)]
        if not any(point.recipe.name == "float16" for point in plain):
            continue
        base, modelled_base = (min(p.seconds["round"] for p in plain), min(predicted(costs, p) for p in plain))
        for name in dict.fromkeys(_name_of_point(p) for p in members if not p.recipe.is_baseline):
            points_of_name = [p for p in members if _name_of_point(p) == name]
            seconds = min(p.seconds["round"] for p in points_of_name)
            modelled = modelled_base / min(predicted(costs, p) for p in points_of_name)
            gains.append(
                Measured(
                    link=link,
                    hosts=ranks,
                    name=name,
                    dimension=dimension,
                    gain=base / seconds,
                    modelled=modelled,
                    seconds=seconds,
                )
            )
    return gains


def _is_plain(point: Point) -> bool:
    """Return whether a point has floats of the same length up and down, or adds them up."""
    bits = point.recipe.at(1).value_bits if point.recipe.is_baseline else 0
    return point.recipe.is_baseline and not point.down and point.bits in (None, bits)


def _is_long(point: Point) -> bool:
    """Return whether the round waits for the link. Short messages pass in a burst, which a real link does not have."""
    load = downlink_of(point) if point.bits else uplink_of(point)
    return is_clear(point) and load.root >= point.burst


def names(costs: Costs) -> list[str]:
    """Return the names of the measured compressors, in order."""
    schemes = [s for s in costs.schemes if not s.recipe.is_baseline]
    return list(dict.fromkeys(short(s.recipe.name, None if s.down is None else s.down.name) for s in schemes))


def downlinks(setup: Setup, name: str, dimension: int) -> dict[int, Row]:
    """Return a compressor's rows by the bits of the iterate on the downlink."""
    return {row.downlink_bits: row for row in setup.at(dimension) if name_of(row) == name and row.downlink_bits}
