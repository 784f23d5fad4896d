"""Groups of points that tell how a configuration scales: the same clients on more ranks, or more of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from ...errors import InputError
from .points import Point, differing

STRONG, WEAK = "strong", "weak"


class Group(NamedTuple):
    """Points of one configuration and setting, one for each number of ranks, the fewest first."""

    kind: str
    """STRONG: all have the same clients; WEAK: as many on each rank."""
    points: list[Point]


Sign = Callable[[Point], Any]
SIGNS: dict[str, Sign] = {
    STRONG: lambda point: point.clients,
    WEAK: lambda point: Fraction(point.clients, point.ranks),
}
"""What the points of a group share, beside the configuration and the setting."""


def groups_of(points: Sequence[Point]) -> list[Group]:
    """All groups, strong ones first; a point may be in one of each kind."""
    return [
        Group(kind, sorted(members, key=lambda point: point.ranks))
        for kind, sign in SIGNS.items()
        for members in gathered(points, sign, apart=True)
    ]


def gathered(points: Sequence[Point], sign: Sign, apart: bool) -> list[list[Point]]:
    """Points of one configuration and sign, where there is more than one number of ranks among them.

    Settings are kept `apart`, or not looked at.
    """
    groups: dict[Any, list[Point]] = {}
    for point in points:
        groups.setdefault((point.key, sign(point), apart and point.setting), []).append(point)
    return [members for members in groups.values() if len({point.ranks for point in members}) > 1]


def why_none(points: Sequence[Point]) -> InputError:
    """The error where points make no group: one sentence that says why and how to fix it."""
    for sign in SIGNS.values():
        for members in gathered(points, sign, apart=False):
            differ = differing([point.setting for point in members])
            texts = " and ".join(str(point.log.path) for point in members[:2])
            return InputError(
                f"{texts}: differ not in ranks alone, but in {', '.join(differ)}, too; run all of them on machines of "
                "one kind, with the same versions"
            )
    ranks = sorted({point.ranks for point in points})
    if len(ranks) == 1:
        return InputError(
            f"{points[0].log.path}: all logs here are of {ranks[0]} rank{'s' * (ranks[0] != 1)}; run the study on "
            "other numbers of ranks, too, each with an --out of its own, and give all folders"
        )
    return InputError(
        f"{points[0].log.path}: no configuration is there on two numbers of ranks with as many clients, or with "
        "as many a rank; run one study on both"
    )


def alone(points: Sequence[Point], groups: Sequence[Group]) -> list[Point]:
    """Points that are in no group."""
    taken = {id(point) for group in groups for point in group.points}
    return [point for point in points if id(point) not in taken]
