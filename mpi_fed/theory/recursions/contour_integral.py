"""High powers of a recursion's step from its resolvent: T^n = (1/2 pi i) int e^(ns) (e^s - T)^-1 e^s ds.

The contour is a hyperbola around the negative axis, s(u) = mu (1 + sin(iu - phi)). The sum over 2 POINTS equally spaced
u converges geometrically for all n between t and WIDTH t at once (Weideman and Trefethen, "Parabolic and hyperbolic
contours for computing the Bromwich integral", Mathematics of Computation 76, 2007). For this the logarithms of T's
eigenvalues must be near the negative axis. They are, for moments, if the step size is stable and at most 1/lambda_max.
The code checks the sums. Each contour covers an interval of n, a window. Two contours must agree where their windows
meet, and the first contour must agree with single steps.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..moments.symmetric_packing import Array

FIRST = 64
"""Least number of steps for the contour; below it the strip |Im s| < pi is too narrow."""
WIDTH = 4.0
"""Ratio of the largest n to the least n of one contour. Sums that grow as k^3 lose the digits of WIDTH^3."""
POINTS = 28
"""Number of nodes on the upper half of a contour."""
TOLERANCE = 1e-8
"""Largest relative difference of two contours where their windows meet."""
ROUNDING, FADED = 1e-12, 1e-7
"""The rounding error of a sum, and the value below which a number is left out, as shares of its initial value."""

Complex = NDArray[np.complex128]


class Resolvent(Protocol):
    """(1 + x - T)^-1 for states as rows, in coordinates that each resolvent defines.

    The argument is x, not 1 + x, because 1 + x would lose the digits of a small x.
    """

    sums: int
    """Number of elements of p and q together. They are at the end of a state."""

    def coordinates(self, state: Array) -> Array:
        """Return a state (size,) in the resolvent's coordinates."""

    def solve(self, start: Array, x: complex) -> Complex:
        """Return start (1 + x - T)^-1, in the resolvent's coordinates."""

    def states(self, rows: Array) -> Array:
        """Return the states (n, size) of rows in the resolvent's coordinates."""

    def magnitudes(self, rows: Array) -> Array:
        """Return magnitudes (n, 3) of the iterate's risk, p and q for rows in the resolvent's coordinates."""


class ContourError(Exception):
    """The sums over two contours differ, because the spectrum of T is not near the negative axis."""


def windows(last: int) -> list[tuple[int, int]]:
    """Return intervals of rounds that cover FIRST .. last; one contour covers each of them."""
    pieces, start = [], FIRST
    while start < last:
        end = min(last, int(start * WIDTH))
        pieces.append((start, end))
        start = end
    return pieces


def by_contour(resolvent: Resolvent, start: Array, near: Array, counts: NDArray[np.int64], whole: bool = True) -> Array:
    """Return the states after `counts` > FIRST steps; `start` is the state after 0 steps and `near` after FIRST steps.

    Moments may become smaller than the rounding errors of the sums over a contour. Then the core of the state is NaN,
    and only p and q are computed. Raises ContourError if two contours differ. With `whole` it is also raised if a core
    would be NaN.
    """
    origin, before = resolvent.coordinates(start), resolvent.coordinates(near)[None]
    largest = np.maximum(resolvent.magnitudes(origin[None])[0], resolvent.magnitudes(before)[0])
    result = np.full((len(counts), len(start)), np.nan)
    for first, last in windows(int(counts.max(initial=0))):
        inside = np.flatnonzero((counts >= first) & (counts <= last))
        rows = _sums(resolvent, origin, first, np.concatenate([[first, last], counts[inside]]))
        error, scale = resolvent.magnitudes(rows[:1] - before)[0], resolvent.magnitudes(before)[0]
        faded = resolvent.magnitudes(rows)[:, 0] < FADED * largest[0]
        allowed = np.maximum(TOLERANCE * scale, ROUNDING * largest)
        if not (error <= allowed).all() or (whole and faded.any()):
            raise ContourError(f"two contours differ by {error.max():.1e} at {first:,} rounds, or the noise vanishes")
        if len(inside):
            result[inside] = resolvent.states(rows[2:])
            result[inside[faded[2:]], : -resolvent.sums] = np.nan
        before = rows[1:2]
    return result


def _sums(resolvent: Resolvent, start: Array, first: int, counts: Array) -> Array:
    """Return start T^n for each n of `counts`, where `first` <= n <= WIDTH `first`."""
    nodes, slopes, step = _hyperbola(first * WIDTH, WIDTH)
    total: Array | float = 0.0
    for s, slope in zip(nodes, slopes, strict=True):
        weights = np.exp(counts * s) * slope * np.exp(s)
        row = resolvent.solve(start, np.expm1(s))
        total = total + (np.outer(weights.real, row.imag) + np.outer(weights.imag, row.real))
    return step / np.pi * np.asarray(total)


def _hyperbola(latest: float, width: float) -> tuple[Complex, Complex, float]:
    """Return the nodes s and slopes ds/du on the upper half of a contour, and the spacing of u.

    The contour is for n from latest / width to latest.
    """
    angles = np.linspace(np.pi / 4 + 1e-3, np.pi / 2 - 1e-3, 2000)
    arguments = ((np.pi - 2 * angles) * width + 4 * angles - np.pi) / ((4 * angles - np.pi) * np.sin(angles))
    reaches = np.arccosh(arguments)
    best = np.argmax((np.pi**2 - 2 * np.pi * angles) / reaches)
    angle, reach = angles[best], reaches[best]
    step, scale = reach / POINTS, (4 * np.pi * angle - np.pi**2) / reach * POINTS / latest
    u = (np.arange(POINTS) + 0.5) * step
    return scale * (1 + np.sin(1j * u - angle)), scale * 1j * np.cos(1j * u - angle), float(step)
