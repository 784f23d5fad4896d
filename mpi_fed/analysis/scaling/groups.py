"""Group points by configuration: with the same number of clients (strong), or of clients a rank (weak)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from ...errors import InputError
from .points import Point, differing

STRONG, WEAK = "strong", "weak"


class Group(NamedTuple):
    """Points of one configuration and setting, one for each number of ranks, in ascending order."""

    kind: str
    """STRONG: all points have the same number of clients; WEAK: all have the same number of clients a rank."""
    points: list[Point]


Sign = Callable[[Point], Any]
SIGNS: dict[str, Sign] = {
    STRONG: lambda point: point.clients,
    WEAK: lambda point: Fraction(point.clients, point.ranks),
}
"""Values that the points of a group share besides the configuration and the setting."""


def groups_of(points: Sequence[Point]) -> list[Group]:
    """Return all groups, strong ones first; a point may be in one group of each kind."""
    return [
        Group(kind, sorted(members, key=lambda point: point.ranks))
        for kind, sign in SIGNS.items()
        for members in gathered(points, sign, apart=True)
    ]


def gathered(points: Sequence[Point], sign: Sign, apart: bool) -> list[list[Point]]:
    """Return lists of points with the same configuration and sign, each with at least two numbers of ranks.

    With `apart`, the points of a list also have the same setting.
    """
    groups: dict[Any, list[Point]] = {}
    for point in points:
        groups.setdefault((point.key, sign(point), apart and point.setting), []).append(point)
    return [members for members in groups.values() if len({point.ranks for point in members}) > 1]


def why_none(points: Sequence[Point]) -> InputError:
    """Return the error for points that make no group; it says why and how to fix it."""
    for sign in SIGNS.values():
        for members in gathered(points, sign, apart=False):
            differ = differing([point.setting for point in members])
            texts = " and ".join(str(point.log.path) for point in members[:2])
            return InputError(
                f"{texts}: the runs differ not only in ranks but also in {', '.join(differ)}; run the study on "
                "machines of the same kind, with the same versions"
            )
    ranks = sorted({point.ranks for point in points})
    if len(ranks) == 1:
        return InputError(
            f"{points[0].log.path}: all these logs are of runs on {ranks[0]} rank{'s' * (ranks[0] != 1)}; also run the "
            "study on other numbers of ranks, each with its own --out, and give all folders"
        )
    return InputError(
        f"{points[0].log.path}: no two logs of the same configuration differ in ranks and have the same number of "
        "clients, or of clients a rank; run one study on different numbers of ranks"
    )


def alone(points: Sequence[Point], groups: Sequence[Group]) -> list[Point]:
    """Return the points that are in no group."""
    taken = {id(point) for group in groups for point in group.points}
    return [point for point in points if id(point) not in taken]
