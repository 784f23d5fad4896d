"""The errors of the model for rounds that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import InputError
from .costs import fit_costs, is_clear, predicted
from .document import HeldOut, HeldOutErrors, HeldOutRound
from .points import Point, link_in_json
from .recipe import name_of

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
    misses = []
    for dimension in sorted({point.dimension for point in points}):
        known = [point for point in points if point.dimension != dimension]
        left = [p for p in fair(points) if p.dimension == dimension and len(_sizes(p, known)) >= FEWEST - 1]
        misses += _missed(known, left)
    return misses


def checked(points: Sequence[Point], others: Sequence[Point]) -> list[Miss]:
    """`others`, which no fit has seen, predicted from `points`."""
    return _missed(points, fair(others))


def _sizes(point: Point, known: Sequence[Point]) -> set[int]:
    """Dimensions in which the same was measured, in a memory if this was, else over links."""
    same = (point.recipe, point.down, point.route, point.link is None)
    return {p.dimension for p in known if (p.recipe, p.down, p.route, p.link is None) == same}


def _missed(known: Sequence[Point], others: Sequence[Point]) -> list[Miss]:
    if not others:
        return []
    costs, misses = fit_costs(known), []
    for point in others:
        sizes = _sizes(point, known) | {p.dimension for p in known if p.recipe == point.recipe}
        try:
            seconds = predicted(costs, point)
        except InputError:  # nothing of that kind is among the known
            continue
        misses.append(Miss(point, seconds, not min(sizes) <= point.dimension <= max(sizes)))
    return misses


def summary(misses: Sequence[Miss]) -> HeldOutErrors | None:
    """Median and greatest of the absolute relative errors, and the round of the greatest; None without misses."""
    if not misses:
        return None
    sizes = np.abs([miss.error for miss in misses])
    worst = misses[int(sizes.argmax())]
    point = worst.point
    return HeldOutErrors(
        count=len(misses),
        median=float(np.median(sizes)),
        worst=float(sizes.max()),
        worst_is=HeldOutRound(
            compressor=point.recipe.name,
            route=point.route,
            downlink_bits=point.bits,
            downlink=name_of(point.down),
            dimension=point.dimension,
            link=link_in_json(point.link),
            measured_seconds=point.seconds["round"],
            predicted_seconds=float(worst.seconds),
        ),
    )


def summaries(misses: Sequence[Miss]) -> HeldOut:
    """The errors at sizes between measured ones, where the fit interpolates, and beyond them."""
    return HeldOut(
        between=summary([miss for miss in misses if not miss.beyond]),
        beyond=summary([miss for miss in misses if miss.beyond]),
    )
