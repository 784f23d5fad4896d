"""The rounds planned ahead: who takes part, and which gradients are due next."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .compilation import inlined

AHEAD = 512
"""Gradients that are listed ahead, about, where a round has fewer."""

FIRST_ROUND, END_ROUND, FIRST_JOB = range(3)
"""Slots of a schedule's window: the rounds planned, FIRST_ROUND <= k < END_ROUND, and the number of its first job."""


class Schedule(NamedTuple):
    """The plan of a rank. A job is one gradient that it owes; jobs are listed in the order of their rounds."""

    first: int  # this rank hosts the clients first <= i < last
    last: int
    clients: int  # N
    steps: int  # gradients that a client owes in a round, one job after the other
    window: NDArray[np.int64]  # slots FIRST_ROUND, END_ROUND, FIRST_JOB; jobs are numbered without end
    participants: NDArray[np.int64]  # of all ranks, by round, ascending
    participants_start: NDArray[np.int64]  # (most rounds + 1,)
    client: NDArray[np.int64]  # of each job, counted from `first`
    round: NDArray[np.int64]  # of each job
    start: NDArray[np.int64]  # (most rounds + 1,): the jobs of each round


def empty_schedule(first: int, last: int, clients: int, steps: int, least: int = 1) -> Schedule:
    """Return an empty plan of `least` rounds or more: for clients first <= i < last of N, `steps` gradients each."""
    rounds = max(least, AHEAD // steps)
    places = max(least * clients, clients + rounds - 1)
    owed = steps * min(places, rounds * (last - first))
    return Schedule(
        first=first,
        last=last,
        clients=clients,
        steps=steps,
        window=np.zeros(3, np.int64),
        participants=np.empty(places, np.int64),
        participants_start=np.zeros(rounds + 1, np.int64),
        client=np.empty(owed, np.int64),
        round=np.empty(owed, np.int64),
        start=np.zeros(rounds + 1, np.int64),
    )


def forget(schedule: Schedule) -> None:
    """Clear the plan. Numbers of jobs are never used again, so that samples drawn ahead cannot be mixed up."""
    schedule.window[:] = 0, 0, schedule.window[FIRST_JOB] + len(schedule.client)


@inlined
def is_planned(schedule, round):
    """Whether the schedule holds this round."""
    return schedule.window[FIRST_ROUND] <= round < schedule.window[END_ROUND]


@inlined
def place_of_round(schedule, round):
    """The round's position among those planned."""
    return round - schedule.window[FIRST_ROUND]


@inlined
def senders(schedule, round):
    """How many clients take part in a planned round."""
    place = place_of_round(schedule, round)
    return schedule.participants_start[place + 1] - schedule.participants_start[place]
