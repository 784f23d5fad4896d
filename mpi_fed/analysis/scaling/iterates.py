"""Compare the iterates on different numbers of ranks; on most routes they must be equal bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .document import Agreement
from .points import Point

Floats = NDArray[np.float64]

EQUAL, ROUNDING, DIFFER, UNKNOWN = "equal", "rounding", "differ", "unknown"
"""EQUAL: bit for bit; ROUNDING: different, on a route where MPI adds floats; DIFFER: different, although they must be
equal; UNKNOWN: there are no two iterates to compare, or the route is unknown."""


def agreement(points: Sequence[Point]) -> Agreement:
    """Compare the last averaged iterates on each number of ranks with those on fewer ranks, seed by seed."""
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
    """Yield (seed, w_bar_K), with w_bar_K of shape (d,), for each complete repetition whose log keeps it."""
    for launch in point.launches:
        log = launch.log
        iterates = log.final_average()
        if iterates is not None:
            yield from zip(log.repetition[log.complete].tolist(), iterates[log.complete], strict=True)


def distance(a: Floats, b: Floats) -> float:
    """Return max |a - b| / max |a| for a and b of shape (d,); the result is 0 only if a and b are equal."""
    return float(np.abs(a - b).max() / max(np.abs(a).max(), np.finfo(float).tiny))


def rounds_differently(kind: str) -> bool | None:
    """Return whether rounding on this route depends on the number of ranks; None for an unknown route."""
    from ...routes import routes

    route = routes.get(kind)
    return None if route is None else route.sums_in_mpi and not route.joint_messages
