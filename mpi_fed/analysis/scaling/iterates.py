"""Whether iterates are the same on any number of ranks, as they must be on most routes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .points import Point

Floats = NDArray[np.float64]

EQUAL, ROUNDING, DIFFER, UNKNOWN = "equal", "rounding", "differ", "unknown"


class Agreement(NamedTuple):
    """Of the averaged iterates w_bar_K of one configuration on several numbers of ranks."""

    verdict: str
    """EQUAL bit for bit; ROUNDING: not, on a route where MPI adds floats; DIFFER: not, where they must be; UNKNOWN:
    there are no two to be compared, or nobody knows the route."""
    repetitions: int
    """The fewest that a number of ranks had in common with fewer ranks."""
    difference: float | None
    """The largest of max |a - b| / max |a| over all of them."""


def agreement(points: Sequence[Point]) -> Agreement:
    """Hold the last averaged iterates of each number of ranks against those of fewer, seed by seed."""
    known: dict[int, Floats] = {}
    counts, difference = [], 0.0
    for point in points:
        distances = []
        for seed, average in averages(point):
            if seed in known:
                distances.append(distance(known[seed], average))
            else:
                known[seed] = average
        counts.append(len(distances))
        difference = max([difference, *distances])
    if min(counts[1:]) == 0:
        return Agreement(UNKNOWN, 0, None)
    if difference == 0:
        return Agreement(EQUAL, min(counts[1:]), difference)
    rounds = rounds_differently(points[0].log.configuration["route"]["kind"])
    verdict = UNKNOWN if rounds is None else ROUNDING if rounds else DIFFER
    return Agreement(verdict, min(counts[1:]), difference)


def averages(point: Point) -> Iterator[tuple[int, Floats]]:
    """(seed, w_bar_K) of every complete repetition whose log keeps it."""
    for launch in point.launches:
        log = launch.log
        found = log.final_average()
        if found is not None:
            yield from zip(log.repetition[log.complete].tolist(), found[log.complete], strict=True)


def distance(a: Floats, b: Floats) -> float:
    """max |a - b| / max |a|, 0 only where both are the same."""
    return float(np.abs(a - b).max() / max(np.abs(a).max(), np.finfo(float).tiny))


def rounds_differently(kind: str) -> bool | None:
    """Whether the rounding of this route depends on the number of ranks; None of one that nobody knows."""
    from ...routes import routes

    route = routes.get(kind)
    return None if route is None else route.sums_in_mpi and not route.joint_messages
