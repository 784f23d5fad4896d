"""Planning of rounds ahead: the clients that take part, and the gradients that this rank computes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .compilation import kernel
from .operations.compressor import participants
from .schedule import END_ROUND, FIRST_JOB, FIRST_ROUND, Schedule


@kernel
def plan(schedule: Schedule, compressor: Any, seed: np.uint64, round: int) -> None:
    """Plan the round `round`, and further rounds as long as there is room for all clients."""
    schedule.window[FIRST_JOB] += schedule.start[schedule.window[END_ROUND] - schedule.window[FIRST_ROUND]]
    count, jobs, planned = 0, 0, 0
    while planned < len(schedule.start) - 1 and count + schedule.clients <= len(schedule.participants):
        drawn = participants(
            compressor, seed, np.uint64(round + planned), schedule.clients, schedule.participants[count:]
        )
        for j in range(count, count + drawn):
            client = schedule.participants[j]
            if schedule.first <= client < schedule.last:
                for _ in range(schedule.steps):
                    schedule.client[jobs] = client - schedule.first
                    schedule.round[jobs] = round + planned
                    jobs += 1
        count += drawn
        planned += 1
        schedule.participants_start[planned] = count
        schedule.start[planned] = jobs
    schedule.window[FIRST_ROUND] = round
    schedule.window[END_ROUND] = round + planned
