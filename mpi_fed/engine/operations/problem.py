"""What a problem does inside the compiled round, and the list of gradients that are due next.

gradient(kernel, jobs, job, seed, w, g)     g <- the stochastic gradient of the job's client in the job's round at w

A problem may look ahead in the list (Gaussian features are drawn for many jobs at once), since no sample depends on w.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..compilation import Operation, inlined, kernel
from .compressor import participants

AHEAD = 512
"""Gradients that are listed ahead, about, where a round has fewer."""

_gradient = Operation("gradient")
gradient = _gradient.call
OPERATIONS = {"gradient": _gradient}


class Jobs(NamedTuple):
    """The rounds planned ahead: who takes part, and the gradients that this rank owes for it, in order."""

    first: int  # the clients first <= i < last live on this rank
    last: int
    clients: int  # N
    steps: int  # gradients that a client owes in a round, one job after the other
    window: NDArray[np.int64]  # [first round, end) of the plan, [2] = number of the first job, counting for ever
    everyone: NDArray[np.int64]  # participants of all ranks, by round, ascending
    everyone_start: NDArray[np.int64]  # (most rounds + 1,)
    client: NDArray[np.int64]  # of each job, counted from `first`
    round: NDArray[np.int64]  # of each job
    start: NDArray[np.int64]  # (most rounds + 1,): the jobs of each round


def jobs_of(first: int, last: int, clients: int, steps: int, least: int = 1) -> Jobs:
    """An empty plan, of `least` rounds or more, for the clients first <= i < last of N, `steps` gradients each."""
    rounds = max(least, AHEAD // steps)
    room = max(least * clients, clients + rounds - 1)
    owed = steps * min(room, rounds * (last - first))
    return Jobs(
        first,
        last,
        clients,
        steps,
        np.zeros(3, np.int64),
        np.empty(room, np.int64),
        np.zeros(rounds + 1, np.int64),
        np.empty(owed, np.int64),
        np.empty(owed, np.int64),
        np.zeros(rounds + 1, np.int64),
    )


@inlined
def senders(jobs, round):
    """How many clients take part in a planned round."""
    at = round - jobs.window[0]
    return jobs.everyone_start[at + 1] - jobs.everyone_start[at]


@kernel
def plan(jobs, compressor, seed, round):
    """Plan the rounds from `round` on: one, and others while there is room for all clients in the next."""
    jobs.window[2] += jobs.start[jobs.window[1] - jobs.window[0]]
    count, owed, planned = 0, 0, 0
    while planned < len(jobs.start) - 1 and count + jobs.clients <= len(jobs.everyone):
        drawn = participants(compressor, seed, np.uint64(round + planned), jobs.clients, jobs.everyone[count:])
        for j in range(count, count + drawn):
            client = jobs.everyone[j]
            if jobs.first <= client < jobs.last:
                for _ in range(jobs.steps):
                    jobs.client[owed] = client - jobs.first
                    jobs.round[owed] = round + planned
                    owed += 1
        count += drawn
        planned += 1
        jobs.everyone_start[planned] = count
        jobs.start[planned] = owed
    jobs.window[0] = round
    jobs.window[1] = round + planned
