"""How wrong the model is about what it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import InputError
from .costs import fit_costs, is_clear, predicted
from .points import Point, told_link

FEWEST = 3
"""Dimensions that there must be, so that two are left to fit."""


@dataclass(frozen=True)
class Miss:
    """A point that a fit without it predicted."""

    point: Point
    seconds: float
    beyond: bool
    """The fit had no dimension as small, or none as large."""

    @property
    def error(self) -> float:
        """predicted / measured - 1."""
        return self.seconds / self.point.seconds["round"] - 1


def fair(points: Sequence[Point]) -> list[Point]:
    """Those whose round the model is about: everybody sends, and no link's burst hides how fast it is."""
    return [point for point in points if not point.may_be_absent and is_clear(point)]


def held_out_sizes(points: Sequence[Point]) -> list[Miss]:
    """Each dimension predicted from all others, where there are enough of them."""
    found = []
    for dimension in sorted({point.dimension for point in points}):
        known = [point for point in points if point.dimension != dimension]
        left = [p for p in fair(points) if p.dimension == dimension and len(_sizes(p, known)) >= FEWEST - 1]
        found += _missed(known, left)
    return found


def checked(points: Sequence[Point], others: Sequence[Point]) -> list[Miss]:
    """`others`, which no fit has seen, predicted from `points`."""
    return _missed(points, fair(others))


def _sizes(point: Point, known: Sequence[Point]) -> set[int]:
    """Dimensions in which the same was measured, in a memory if this was, else over links."""
    same = (point.recipe, point.down, point.route, point.link is None)
    return {p.dimension for p in known if (p.recipe, p.down, p.route, p.link is None) == same}


def _missed(known: Sequence[Point], left: Sequence[Point]) -> list[Miss]:
    if not left:
        return []
    costs, found = fit_costs(known), []
    for point in left:
        sizes = _sizes(point, known) | {p.dimension for p in known if p.recipe == point.recipe}
        try:
            seconds = predicted(costs, point)
        except InputError:  # nothing of that kind is among the known
            continue
        found.append(Miss(point, seconds, not min(sizes) <= point.dimension <= max(sizes)))
    return found


def summary(misses: Sequence[Miss]) -> dict[str, Any] | None:
    """Median and greatest of the absolute relative errors, and of what the greatest is; None of nothing."""
    if not misses:
        return None
    sizes = np.abs([miss.error for miss in misses])
    worst = misses[int(sizes.argmax())]
    return {
        "count": len(misses),
        "median": float(np.median(sizes)),
        "worst": float(sizes.max()),
        "worst_is": {
            "compressor": worst.point.recipe.name,
            "route": worst.point.route,
            "downlink_bits": worst.point.bits,
            "downlink": worst.point.down and worst.point.down.name,
            "dimension": worst.point.dimension,
            "link": told_link(worst.point.link),
            "measured_seconds": worst.point.seconds["round"],
            "predicted_seconds": float(worst.seconds),
        },
    }


def summaries(misses: Sequence[Miss]) -> dict[str, Any]:
    """Of sizes between measured ones, where the fit interpolates, and beyond them."""
    return {
        "between": summary([miss for miss in misses if not miss.beyond]),
        "beyond": summary([miss for miss in misses if miss.beyond]),
    }
