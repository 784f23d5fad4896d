"""Compute the errors of the model for rounds that were left out of the fit."""

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
"""Smallest number of dimensions, so that two are left for the fit."""


@dataclass(frozen=True)
class Miss:
    """A point and its prediction by a fit that leaves the point's dimension out."""

    point: Point
    seconds: float
    """The predicted seconds of the round."""
    beyond: bool
    """True if the point's dimension is smaller or larger than all dimensions of the fit."""

    @property
    def error(self) -> float:
        """The relative error, predicted / measured - 1."""
        return self.seconds / self.point.seconds["round"] - 1


def fair(points: Sequence[Point]) -> list[Point]:
    """Return the points that the model covers: every client sends, and bursts do not hide the rates of the links."""
    return [point for point in points if not point.may_be_absent and is_clear(point)]


def held_out_sizes(points: Sequence[Point]) -> list[Miss]:
    """Predict the rounds of each dimension from the other dimensions, where there are enough of these."""
    misses = []
    for dimension in sorted({point.dimension for point in points}):
        known = [point for point in points if point.dimension != dimension]
        left = [p for p in fair(points) if p.dimension == dimension and len(_sizes(p, known)) >= FEWEST - 1]
        misses += _missed(known, left)
    return misses


def checked(points: Sequence[Point], others: Sequence[Point]) -> list[Miss]:
    """Predict `others` from a fit to `points`."""
    return _missed(points, fair(others))


def _sizes(point: Point, known: Sequence[Point]) -> set[int]:
    """Return the dimensions in which the point's scheme was measured over the same medium."""
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
        except InputError:  # a part of the round is not among the known points
            continue
        misses.append(Miss(point, seconds, not min(sizes) <= point.dimension <= max(sizes)))
    return misses


def summary(misses: Sequence[Miss]) -> HeldOutErrors | None:
    """Return the median and the largest absolute relative error, with the round of the latter; None without misses."""
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
    """Return the errors at dimensions between measured ones, where the fit interpolates, and beyond them."""
    return HeldOut(
        between=summary([miss for miss in misses if not miss.beyond]),
        beyond=summary([miss for miss in misses if miss.beyond]),
    )
