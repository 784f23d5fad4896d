"""Planning rounds ahead: who takes part, and which gradients this rank owes."""

from __future__ import annotations

import numpy as np

from .compilation import kernel
from .operations.compressor import participants
from .schedule import END_ROUND, FIRST_JOB, FIRST_ROUND


@kernel
def plan(schedule, compressor, seed, round):
    """Plan round `round`, and further rounds as long as all clients still fit."""
    schedule.window[FIRST_JOB] += schedule.start[schedule.window[END_ROUND] - schedule.window[FIRST_ROUND]]
    count, owed, planned = 0, 0, 0
    while planned < len(schedule.start) - 1 and count + schedule.clients <= len(schedule.participants):
        drawn = participants(
            compressor, seed, np.uint64(round + planned), schedule.clients, schedule.participants[count:]
        )
        for j in range(count, count + drawn):
            client = schedule.participants[j]
            if schedule.first <= client < schedule.last:
                for _ in range(schedule.steps):
                    schedule.client[owed] = client - schedule.first
                    schedule.round[owed] = round + planned
                    owed += 1
        count += drawn
        planned += 1
        schedule.participants_start[planned] = count
        schedule.start[planned] = owed
    schedule.window[FIRST_ROUND] = round
    schedule.window[END_ROUND] = round + planned
