"""High powers of a recursion's step from its resolvent: T^n = (1/2 pi i) int e^(ns) (e^s - T)^-1 e^s ds.

The contour is a hyperbola around the negative axis, s(u) = mu (1 + sin(iu - phi)), and the sum over 2 POINTS equally
spaced u converges geometrically for all n between t and WIDTH t at once (Weideman and Trefethen, "Parabolic and
hyperbolic contours for computing the Bromwich integral", Mathematics of Computation 76, 2007). It holds where the
logarithms of T's eigenvalues are near the negative axis, as for moments under a step that is stable and no larger than
1/lambda_max. Whether it did is seen where windows meet: there two contours, or the first and single steps, must agree.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..moments.symmetric_packing import Array

FIRST = 64
"""From so many steps on; below, the strip |Im s| < pi is too narrow for the contour."""
WIDTH = 4.0
"""The times of one contour. Sums that grow as fast as k^3 lose the digits of WIDTH^3."""
POINTS = 28
TOLERANCE = 1e-8
"""The most that two contours may differ where windows meet, relative to the number."""
ROUNDING, FADED = 1e-12, 1e-7
"""Sums are exact to the first share of what they began with; what falls below the second share of it is left out."""

Complex = NDArray[np.complex128]


class Resolvent(Protocol):
    """(1 + x - T)^-1 for states as rows, in coordinates of its own; x keeps the digits that 1 + x would lose."""

    sums: int
    """p and q are so many numbers at the end of a state."""

    def coordinates(self, state: Array) -> Array:
        """A state (size,) in those coordinates."""

    def solve(self, start: Array, x: complex) -> Complex:
        """start (1 + x - T)^-1."""

    def states(self, rows: Array) -> Array:
        """(n, size) states of rows in those coordinates."""

    def magnitudes(self, rows: Array) -> Array:
        """(n, 3): magnitudes of the risk of the iterate, of p and of q, in rows of those coordinates."""


class ContourError(Exception):
    """The sums over the contour do not agree: T's spectrum is elsewhere."""


def windows(last: int) -> list[tuple[int, int]]:
    """FIRST .. last in pieces of one contour each."""
    pieces, start = [], FIRST
    while start < last:
        end = min(last, int(start * WIDTH))
        pieces.append((start, end))
        start = end
    return pieces


def by_contour(resolvent: Resolvent, start: Array, near: Array, counts: NDArray[np.int64], whole: bool = True) -> Array:
    """The states after `counts` > FIRST steps; `near` is the one after FIRST steps.

    Moments may fade below what sums over a contour can tell. Then, unless the states are wanted `whole`, what counts
    iterates is NaN and the sums over rounds remain. Raises ContourError.
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
            raise ContourError(f"two contours differ by {error.max():.1e} about {first:,} rounds, or all noise fades")
        if len(inside):
            result[inside] = resolvent.states(rows[2:])
            result[inside[faded[2:]], : -resolvent.sums] = np.nan
        before = rows[1:2]
    return result


def _sums(resolvent: Resolvent, start: Array, first: int, counts: Array) -> Array:
    """start T^n for each n of `counts`, from `first` to WIDTH times it."""
    nodes, slopes, step = _hyperbola(first * WIDTH, WIDTH)
    total: Array | float = 0.0
    for s, slope in zip(nodes, slopes, strict=True):
        weights = np.exp(counts * s) * slope * np.exp(s)
        row = resolvent.solve(start, np.expm1(s))
        total = total + (np.outer(weights.real, row.imag) + np.outer(weights.imag, row.real))
    return step / np.pi * np.asarray(total)


def _hyperbola(latest: float, width: float) -> tuple[Complex, Complex, float]:
    """Nodes s, slopes ds/du of the upper half, and the spacing of u, for times latest / width .. latest."""
    angles = np.linspace(np.pi / 4 + 1e-3, np.pi / 2 - 1e-3, 2000)
    arguments = ((np.pi - 2 * angles) * width + 4 * angles - np.pi) / ((4 * angles - np.pi) * np.sin(angles))
    reaches = np.arccosh(arguments)
    best = np.argmax((np.pi**2 - 2 * np.pi * angles) / reaches)
    angle, reach = angles[best], reaches[best]
    step, scale = reach / POINTS, (4 * np.pi * angle - np.pi**2) / reach * POINTS / latest
    u = (np.arange(POINTS) + 0.5) * step
    return scale * (1 + np.sin(1j * u - angle)), scale * 1j * np.cos(1j * u - angle), float(step)
