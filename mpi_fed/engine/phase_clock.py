"""The clock of a round: which phase its seconds went to, in one round of TIMED."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compilation import inlined, kernel
from .mpi_calls import wtime
from .phases import PHASES

TIMED = 251
"""Every 251st round is timed phase by phase: a prime, so as not to keep step with samples that are drawn ahead."""

GRADIENT, ENCODE, WAIT, UPLINK, DECODE, UPDATE, DOWNLINK, DOWNLINK_ENCODE, DOWNLINK_DECODE = range(9)
"""Slots of the clock: the seconds of each step."""
LAST, RUNNING, ROUNDS = range(9, 12)
"""Slots of the clock: the time of the last mark, whether this round is timed, how many rounds have been."""


def new_clock() -> NDArray[np.float64]:
    """Return a clock that has timed nothing."""
    return np.zeros(12)


def seconds_a_round(clock: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean seconds of each phase in the rounds timed, (7,); NaN where none was."""
    seconds = clock[: len(PHASES)].copy()
    seconds[[ENCODE, DECODE]] += clock[[DOWNLINK_ENCODE, DOWNLINK_DECODE]]
    return seconds / clock[ROUNDS] if clock[ROUNDS] else np.full(len(PHASES), np.nan)


@inlined
def begin_round(clock, timed):
    """Time this round, or do not."""
    clock[RUNNING] = 1.0 if timed else 0.0
    if timed:
        clock[ROUNDS] += 1.0
        clock[LAST] = wtime()


@kernel
def mark(clock, phase):
    """Where this round is timed: add the time since the last mark to this phase."""
    if clock[RUNNING] > 0.0:
        now = wtime()
        clock[phase] += now - clock[LAST]
        clock[LAST] = now
