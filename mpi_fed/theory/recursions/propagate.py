"""States of a recursion at given rounds: by single steps, by repeated squaring of its matrix, or by its resolvent."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ...algorithms import Steps
from ..moments.symmetric_packing import Array
from .base import Recursion
from .contour_integral import FIRST, POINTS, ContourError, by_contour, windows

DENSE_RATE = 5e10
"""Approximate number of operations per second in large matrix products; affects the choice of a method, no result."""
STEP_RATE = 5e9
"""Approximate number of operations per second in single steps."""
STEP_OVERHEAD = 1e-4
"""Approximate seconds that a single step takes in addition to its floating-point operations."""
TIME_LIMIT = 900.0
"""Largest estimated time of a method, in seconds."""
LARGEST_MATRIX = 16_000
"""Largest size of a recursion for which repeated squaring is used."""
STEPS, POWERS, CONTOUR = "steps", "powers", "contour"


class OutOfReachError(Exception):
    """The recursion would take too long or too much memory; the message gives the reason."""


def doubling_seconds(recursion: Recursion, rounds: int) -> float:
    """Return the estimated seconds for powers of two; infinite if the matrix is too large."""
    size = recursion.size
    if size > LARGEST_MATRIX:
        return math.inf
    return (2.0 * size**3 * max(rounds, 1).bit_length() + size * recursion.flops) / DENSE_RATE


def stepping_seconds(recursion: Recursion, rounds: int) -> float:
    """Return the estimated seconds for single steps."""
    return rounds * (STEP_OVERHEAD + recursion.flops / STEP_RATE)


def contour_seconds(recursion: Recursion, gamma: float, rounds: int) -> float:
    """Return the estimated seconds for the resolvent: infinite if none exists, or for large steps or few rounds."""
    if rounds <= FIRST or gamma * recursion.eigenvalues.max() > 1:
        return math.inf
    each = recursion.operations_of_resolvent()
    return stepping_seconds(recursion, FIRST) + len(windows(rounds)) * POINTS * each / DENSE_RATE


def propagation_seconds(recursion: Recursion, steps: Steps, rounds: int) -> float:
    """Return the estimated seconds for `propagate`."""
    direct = stepping_seconds(recursion, rounds)
    if steps.exponent:
        return direct
    return min(direct, doubling_seconds(recursion, rounds), contour_seconds(recursion, steps.scale, rounds))


def propagate(
    recursion: Recursion, start: Array, steps: Steps, first: int, rounds: NDArray[np.int64], whole: bool = True
) -> Array:
    """Return the states (len(rounds), size) at these rounds, from the state `start` (size,) at round `first`.

    If `whole` is false, the core of a state (its entries without p and q, which `Recursion` defines) may be NaN where
    it is smaller than rounding errors. p and q are always computed.

    At a constant step size the state at round first + n is start T^n. It is computed by powers of two, by the resolvent
    (`contour`) or by single steps, whichever is estimated to be fastest. If the contour fails, the next method is used,
    which is as exact. Raises OutOfReachError if all methods would take too long.
    """
    counts = np.asarray(rounds, dtype=np.int64) - first
    last = int(counts.max(initial=0))
    costs = {STEPS: stepping_seconds(recursion, last)}
    if not steps.exponent:
        costs |= {POWERS: doubling_seconds(recursion, last), CONTOUR: contour_seconds(recursion, steps.scale, last)}
    reason = "take too long"
    with np.errstate(over="ignore", invalid="ignore"):  # moments overflow if the step size is too large
        for method in sorted(costs, key=lambda method: costs[method]):
            if costs[method] > TIME_LIMIT:
                break
            if method == CONTOUR:
                try:
                    return by_resolvent(recursion, start, steps, first, counts, whole)
                except ContourError as error:
                    reason = f"take too long without the contour, which fails: {error}"
            elif method == POWERS:
                return by_powers(recursion, start, steps.scale, counts)
            else:
                return by_steps(recursion, start, steps, first, counts)
    raise OutOfReachError(f"{last:,} rounds of a recursion on {recursion.size:,} numbers {reason}")


def by_resolvent(
    recursion: Recursion, start: Array, steps: Steps, first: int, counts: NDArray[np.int64], whole: bool = True
) -> Array:
    """Return the states after `counts` steps of a fixed step size: up to FIRST by single steps, then by the resolvent.

    Raises ContourError if the contours fail.
    """
    resolvent = recursion.resolvent(steps.scale)
    assert resolvent is not None
    early = counts <= FIRST
    near = by_steps(recursion, start, steps, first, np.append(counts[early], FIRST))
    result = np.empty((len(counts), recursion.size))
    result[early], result[~early] = near[:-1], by_contour(resolvent, start, near[-1], counts[~early], whole)
    return result


def by_steps(recursion: Recursion, start: Array, steps: Steps, first: int, counts: NDArray[np.int64]) -> Array:
    """Return the states after `counts` steps, by single steps."""
    result = np.empty((len(counts), recursion.size))
    state = start[None].copy()
    order = np.argsort(counts, kind="stable")
    done = 0
    for position in order:
        for k in range(first + done, first + int(counts[position])):
            state = recursion.step(state, steps.scale * (k + 1) ** -steps.exponent)
        done = int(counts[position])
        result[position] = state[0]
    return result


def by_powers(recursion: Recursion, start: Array, gamma: float, counts: NDArray[np.int64]) -> Array:
    """Return the states after `counts` steps of a fixed step size, by powers of two of the matrix of a step."""
    result = np.repeat(start[None], len(counts), axis=0)
    power = recursion.matrix(gamma)
    spares: list[Array] = []
    for bit in range(int(counts.max(initial=0)).bit_length()):
        chosen = np.flatnonzero(counts >> bit & 1)
        result[chosen] = result[chosen] @ power
        if (counts >> (bit + 1)).any():
            square = np.matmul(power, power, out=spares.pop() if spares else None)
            if bit:  # the matrix of bit 0 must not be overwritten: the recursion caches it
                spares.append(power)
            power = square
    return result
