"""The clock of a round: the seconds of each phase, measured in every TIMED-th round."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compilation import inlined, kernel
from .mpi_calls import wtime
from .phases import PHASES

TIMED = 251
"""Number of rounds from one round that is timed phase by phase to the next. It is prime, so that timed rounds do not
coincide with the rounds in which samples are drawn ahead."""

GRADIENT, ENCODE, WAIT, UPLINK, DECODE, UPDATE, DOWNLINK, DOWNLINK_ENCODE, DOWNLINK_DECODE = range(9)
"""Slots of the clock: the seconds of each step."""
LAST, RUNNING, ROUNDS = range(9, 12)
"""Slots of the clock: the time of the last mark, 1 if this round is timed, and the number of timed rounds."""


def new_clock() -> NDArray[np.float64]:
    """Return a clock without timed rounds, an array of shape (12,)."""
    return np.zeros(12)


def seconds_a_round(clock: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean seconds of each phase in the timed rounds, of shape (7,); NaN if no round was timed."""
    seconds = clock[: len(PHASES)].copy()
    seconds[[ENCODE, DECODE]] += clock[[DOWNLINK_ENCODE, DOWNLINK_DECODE]]
    return seconds / clock[ROUNDS] if clock[ROUNDS] else np.full(len(PHASES), np.nan)


@inlined
def begin_round(clock: NDArray[np.float64], timed: bool) -> None:
    """Begin a round, and set whether the round is timed."""
    clock[RUNNING] = 1.0 if timed else 0.0
    if timed:
        clock[ROUNDS] += 1.0
        clock[LAST] = wtime()


@kernel
def mark(clock: NDArray[np.float64], phase: int) -> None:
    """Add the time since the last mark to this phase, if the round is timed."""
    if clock[RUNNING] > 0.0:
        now = wtime()
        clock[phase] += now - clock[LAST]
        clock[LAST] = now
