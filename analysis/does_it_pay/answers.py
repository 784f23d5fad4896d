"""What the page tells of a link: rows of the model over dimensions, and ratios that were measured."""

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
GRID = tuple(sorted({*DECADES, *np.rint(10 ** np.arange(3, 6.01, 0.125)).astype(int).tolist()}))
"""Dimensions of a curve."""
PAYS = 1.05
"""A gain that is worth a word: model and machine are not known better than that."""


COMMON, SHARED, BOTH_WAYS = ", common mask", ", shared scale", " both ways"
"""What a name ends with where all clients keep the same coordinates, where levels are summed as integers, and where the
direction comes back compressed as the messages are."""


def short(name: str, downlink: str | None = None) -> str:
    """A compressor's name for tables; the star says omega = sqrt(d)."""
    name = name.replace(", omega = sqrt(d)", "*").replace(" levels=", " ")
    if " mask=common" in name:
        name = name.replace(" mask=common", "") + COMMON
    return name if downlink is None else name + BOTH_WAYS


def name_of(row: Row) -> str:
    """The same of a row."""
    return short(row.compressor, row.downlink)


def _name_of_point(point: Point) -> str:
    return short(point.recipe.name, None if point.down is None else point.down.name)


@dataclass(frozen=True, eq=False)
class Setup:
    """A machine, and the model's answers for it."""

    title: str
    machine: Machine
    costs: Costs

    @property
    def link(self) -> float | None:
        """As points have it, for two hosts."""
        return self.machine.up

    @functools.cached_property
    def rows(self) -> dict[int, list[Row]]:
        """By dimension."""
        return {d: answer(self.costs, bench_trace, self.machine, d, RISK) for d in GRID}

    def at(self, dimension: int) -> list[Row]:
        return self.rows[dimension]

    def best(self, name: str, key: str = "round") -> list[tuple[int, Row]]:
        """Of a compressor at each dimension the row of the better downlink."""
        best = []
        for dimension, rows in self.rows.items():
            its_rows = [row for row in rows if name_of(row) == name and gain(row, key) is not None]
            if its_rows:
                best.append((dimension, max(its_rows, key=lambda row: gain(row, key) or 0.0)))
        return best

    def gains(self, name: str, key: str) -> list[tuple[int, float]]:
        """How many times as fast as without compression, at each dimension."""
        return [(dimension, gain(row, key) or 0.0) for dimension, row in self.best(name, key)]


def gain(row: Row, key: str) -> float | None:
    """Over the faster of float32 and float16; `key` is "round" or "to_risk"."""
    base = row.uncompressed
    if base is None:
        return None
    return base.round if key == "round" else base.to_risk


def rounds_needed(row: Row) -> float | None:
    """The rounds to a risk, over those without compression."""
    return None if row.uncompressed is None else row.uncompressed.rounds_needed


def rates(row: Row, key: str) -> RateInterval:
    """Between which rates of the links it is faster than float32 and float16; `key` is "round" or "to_risk"."""
    base = row.uncompressed
    if base is None:
        return None
    return base.faster_between if key == "round" else base.faster_to_risk_between


def winner(rows: Sequence[Row], key: str) -> Row | None:
    """The compressor that is fastest, whatever it is against no compression."""
    eligible = [row for row in rows if _counts(row, key)]
    return max(eligible, key=lambda row: gain(row, key) or 0.0) if eligible else None


def _counts(row: Row, key: str) -> bool:
    """A client that is absent does not make a round faster, so that rounds of it are not told."""
    absent = row.compressor.startswith("partial-participation")
    return not row.compressor.startswith("float") and gain(row, key) is not None and not (absent and key == "round")


def span(curve: Sequence[tuple[int, float]]) -> str:
    """Where a curve lies above PAYS: "from 2,000", "up to 30,000", "everywhere", "nowhere"; a dash where
    there is none.
    """
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
    return f"{float(f'{value:.2g}'):,.0f}"


@dataclass(frozen=True)
class Measured:
    """A round of a compressor beside those of floats, all three measured over the same link."""

    link: float | None
    hosts: int
    name: str
    dimension: int
    gain: float
    """Over the faster of float32 and float16."""
    modelled: float
    seconds: float


def measured(points: Sequence[Point], costs: Costs) -> list[Measured]:
    """Every compressor where floats were measured with it; the better downlink of the two."""
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
    """Floats of one length both ways, or added up."""
    bits = point.recipe.at(1).value_bits if point.recipe.is_baseline else 0
    return point.recipe.is_baseline and not point.down and point.bits in (None, bits)


def _is_long(point: Point) -> bool:
    """A round over a cable waits for it; one of short messages, which go at once, says nothing of a real link."""
    load = downlink_of(point) if point.bits else uplink_of(point)
    return is_clear(point) and load.root >= point.burst


def names(costs: Costs) -> list[str]:
    """Compressors, as they were measured."""
    schemes = [s for s in costs.schemes if not s.recipe.is_baseline]
    return list(dict.fromkeys(short(s.recipe.name, None if s.down is None else s.down.name) for s in schemes))


def downlinks(setup: Setup, name: str, dimension: int) -> dict[int, Row]:
    """Of a compressor the rows by bits on the way back, where the iterate comes back."""
    return {row.downlink_bits: row for row in setup.at(dimension) if name_of(row) == name and row.downlink_bits}
