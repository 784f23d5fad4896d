"""Whether iterates are the same on any number of ranks, as they must be on most routes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .document import Agreement
from .points import Point

Floats = NDArray[np.float64]

EQUAL, ROUNDING, DIFFER, UNKNOWN = "equal", "rounding", "differ", "unknown"
"""EQUAL: bit for bit; ROUNDING: not, on a route where MPI adds floats; DIFFER: not, where they must be; UNKNOWN: there
are no two to be compared, or nothing is known of the route."""


def agreement(points: Sequence[Point]) -> Agreement:
    """Compare the last averaged iterates of each number of ranks with those of fewer, seed by seed."""
    averages_by_seed: dict[int, Floats] = {}
    counts, difference = [], 0.0
    for point in points:
        distances = []
        for seed, average in averages(point):
            if seed in averages_by_seed:
                distances.append(distance(averages_by_seed[seed], average))
            else:
                averages_by_seed[seed] = average
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
        iterates = log.final_average()
        if iterates is not None:
            yield from zip(log.repetition[log.complete].tolist(), iterates[log.complete], strict=True)


def distance(a: Floats, b: Floats) -> float:
    """max |a - b| / max |a|, 0 only where both are the same."""
    return float(np.abs(a - b).max() / max(np.abs(a).max(), np.finfo(float).tiny))


def rounds_differently(kind: str) -> bool | None:
    """Whether the rounding of this route depends on the number of ranks; None of an unknown one."""
    from ...routes import routes

    route = routes.get(kind)
    return None if route is None else route.sums_in_mpi and not route.joint_messages
