"""The schedule: the rounds planned ahead, with the clients that take part and the gradients to compute."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .compilation import inlined

AHEAD = 512
"""Approximate number of gradients that are planned ahead, if one round has fewer."""

FIRST_ROUND, END_ROUND, FIRST_JOB = range(3)
"""Slots of a schedule's window: the planned rounds, FIRST_ROUND <= k < END_ROUND, and the number of the first job."""


class Schedule(NamedTuple):
    """The plan of a rank. A job is one gradient that the rank computes. Jobs are in the order of their rounds."""

    first: int  # this rank hosts the clients first <= i < last
    last: int
    clients: int  # N
    steps: int  # gradients that a client computes in a round, one job after the other
    window: NDArray[np.int64]  # slots FIRST_ROUND, END_ROUND, FIRST_JOB; job numbers are never used again
    participants: NDArray[np.int64]  # clients of all ranks that take part, by round, ascending
    participants_start: NDArray[np.int64]  # (largest number of rounds + 1,): bounds of each round in `participants`
    client: NDArray[np.int64]  # client of each job, counted from `first`
    round: NDArray[np.int64]  # round of each job
    start: NDArray[np.int64]  # (largest number of rounds + 1,): bounds of each round in the jobs


def empty_schedule(first: int, last: int, clients: int, steps: int, least: int = 1) -> Schedule:
    """Return an empty plan with room for at least `least` rounds.

    A round has `steps` gradients for each client first <= i < last of the N = `clients` clients.
    """
    rounds = max(least, AHEAD // steps)
    places = max(least * clients, clients + rounds - 1)
    jobs = steps * min(places, rounds * (last - first))
    return Schedule(
        first=first,
        last=last,
        clients=clients,
        steps=steps,
        window=np.zeros(3, np.int64),
        participants=np.empty(places, np.int64),
        participants_start=np.zeros(rounds + 1, np.int64),
        client=np.empty(jobs, np.int64),
        round=np.empty(jobs, np.int64),
        start=np.zeros(rounds + 1, np.int64),
    )


def forget(schedule: Schedule) -> None:
    """Clear the plan. Job numbers are never used again, so that samples drawn ahead cannot be mixed up."""
    schedule.window[:] = 0, 0, schedule.window[FIRST_JOB] + len(schedule.client)


@inlined
def is_planned(schedule: Schedule, round: int) -> bool:
    """Return whether the schedule contains this round."""
    planned: bool = schedule.window[FIRST_ROUND] <= round < schedule.window[END_ROUND]
    return planned


@inlined
def place_of_round(schedule: Schedule, round: int) -> int:
    """Return the position of a round in the planned rounds."""
    place: int = round - schedule.window[FIRST_ROUND]
    return place


@inlined
def senders(schedule: Schedule, round: int) -> int:
    """Return the number of clients that take part in a planned round."""
    place = place_of_round(schedule, round)
    count: int = schedule.participants_start[place + 1] - schedule.participants_start[place]
    return count
