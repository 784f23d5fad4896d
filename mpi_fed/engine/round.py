"""The compiled loop: rounds from log point to log point, with MPI inside.

Of each round: local gradients, what the algorithm compresses, encode, the route's collective, decode and mean at the
root, the update, the downlink of w (or of the update's direction, compressed, before it); before the update, w enters
the Polyak-Ruppert average.

An algorithm that is one round late takes gradients at the w before this one. Then the messages of a round may be made
while those of the round before travel: the loop makes them first, and aggregates a round behind.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .compilation import inlined, kernel
from .mpi_calls import ROOT, barrier, wtime
from .operations.algorithm import direction, outgoing, sent, update
from .operations.compressor import encode
from .operations.downlink import decodes, everywhere, send_back, share
from .operations.problem import gradient, plan, senders
from .operations.route import (
    ENCODE,
    GRADIENT,
    LAST,
    RECEIVE,
    ROUNDS,
    RUNNING,
    SEND_BACK,
    TOO_LONG,
    TOO_MANY,
    UPDATE,
    WAIT,
    depart,
    mark,
    nudge_on,
    overlaps,
    place_of,
    uplink,
)
from .random_streams import Stream

TIMED = 251
"""One round in so many is timed phase by phase; a prime, so that it meets drawing ahead as often as any other round."""

Array = NDArray[np.float64]


class State(NamedTuple):
    """What a repetition carries from round to round."""

    w: Array  # (d,): the iterate, where the route has it updated
    model: Array  # (d,): what clients know of it, equal on all ranks; w itself unless the downlink rounds
    at: Array  # (d,): where gradients are taken: model itself, or the one before it where the algorithm is late
    delayed: bool
    sum: Array  # (d,): the root's sum of the iterates in the average
    total: Array  # (d,): the root's mean of the decoded messages, then the direction of the step
    g: Array  # (d,)
    averaging_start: int
    always_updates: bool  # w moves even in a round in which nobody sends
    seconds: Array  # [elapsed, start of the present block]
    overflow: NDArray[np.int64]  # [sender, round] of the first number beyond the wire's floats, or [-1, -1]


class Snapshots(NamedTuple):
    """The root's log points of one call, S at most, evaluated and written outside the timed loop."""

    rounds: NDArray[np.int64]  # all log points of the study
    cursor: NDArray[np.int64]  # [next log point, snapshots held]
    iterate: Array  # (S, d)
    average: Array  # (S, d)
    totals: NDArray[np.int64]  # (S, 4)
    client_payload: NDArray[np.int64]  # (S, N), or (S, 0) above 1,000 clients
    seconds: Array  # (S,)


@kernel
def snapshot(state, wire, snapshots, done):
    """Hold the state after `done` rounds."""
    at = snapshots.cursor[1]
    averaged = done - state.averaging_start
    for j in range(len(state.w)):
        snapshots.iterate[at, j] = state.w[j]
        snapshots.average[at, j] = state.sum[j] / np.float64(averaged) if averaged > 0 else state.w[j]
    for i in range(len(wire.totals)):
        snapshots.totals[at, i] = wire.totals[i]
    for i in range(snapshots.client_payload.shape[1]):
        snapshots.client_payload[at, i] = wire.client_payload[i]
    snapshots.seconds[at] = state.seconds[0]
    snapshots.cursor[1] += 1


@inlined
def keep(state):
    """Where the algorithm is late: the next gradients are taken at the model of now."""
    if state.delayed:
        for j in range(len(state.at)):
            state.at[j] = state.model[j]


@inlined
def make_messages(problem, compressor, algorithm, route, wire, jobs, state, k, seed):
    """Compute and pack this rank's messages of round k; their bytes, or TOO_LONG."""
    planned, w, g, clock = k - jobs.window[0], state.at, state.g, wire.clock
    job, slot, first, size, longest = jobs.start[planned], 0, place_of(wire, k), 0, 0
    while job < jobs.start[planned + 1]:
        client = jobs.client[job]
        gradient(problem, jobs, job, seed, w, g)
        outgoing(algorithm, client, k, w, g)
        mark(clock, GRADIENT)
        stream = Stream(seed, np.uint64(jobs.first + client), np.uint64(k))
        written = encode(compressor, g, wire.send[first + size :], stream)
        if written < 0:
            written = -written
            if state.overflow[0] == -1:
                state.overflow[0], state.overflow[1] = jobs.first + client, k
        sent(algorithm, client, compressor, wire.send[first + size : first + size + written], stream)
        wire.sizes[slot] = written
        size += written
        longest = max(longest, written)
        job += jobs.steps
        slot += 1
        nudge_on(route)
        mark(clock, ENCODE)
    return size if longest <= wire.longest else TOO_LONG


@inlined
def aggregate(compressor, algorithm, route, comm, wire, jobs, state, k, seed, size, anyone):
    """Bring the messages of round k to the root, update w and bring it back; MPI's error code."""
    w, clock, code = state.w, wire.clock, 0
    state.total.fill(0.0)
    if clock[RUNNING] > 0.0:
        code = barrier(comm)
        mark(clock, WAIT)
    if anyone and code == 0:
        code = uplink(route, comm, compressor, wire, jobs, k, seed, size, state.total)
    if code == 0 and decodes(route.downlink, comm):
        direction(algorithm, k, state.total)
        mark(clock, UPDATE)
    if code == 0:
        code = share(route.downlink, comm, wire, k, seed, state.total, state.overflow)
    if code == 0 and (comm.rank == ROOT or everywhere(route.downlink)):
        update(algorithm, k, state.total, w)
        mark(clock, UPDATE)
    if code == 0:
        code = send_back(route.downlink, comm, wire, k, seed, w, state.model, state.overflow)
        mark(clock, SEND_BACK)
    return code


@kernel
def advance(problem, compressor, algorithm, route, comm, wire, jobs, state, snapshots, start, stop, seed):
    """Do rounds start <= k < stop and hold a snapshot at every log point passed; MPI's error code,
    TOO_LONG or TOO_MANY.

    A block of rounds is timed between two barriers: from the start, or the last log point, to the next."""
    clock, size = wire.clock, 0
    behind = 1 if overlaps(route) else 0
    code = barrier(comm)
    state.seconds[1] = wtime()
    for ahead in range(start, stop + behind):
        k = ahead - behind  # messages are made of round `ahead`, and aggregated of round k
        clock[RUNNING] = 1.0 if ahead % TIMED == 0 and ahead < stop else 0.0
        if clock[RUNNING] > 0.0:
            clock[ROUNDS] += 1.0
            clock[LAST] = wtime()
        if ahead < stop:
            if ahead < jobs.window[0] or ahead >= jobs.window[1]:
                plan(jobs, compressor, seed, max(start, k))
            if senders(jobs, ahead) > wire.room:
                code = TOO_MANY
                break
            size = make_messages(problem, compressor, algorithm, route, wire, jobs, state, ahead, seed)
            if size < 0:
                code = TOO_LONG
                break
            if behind == 0:
                keep(state)
        if k >= start:
            if comm.rank == ROOT and k >= state.averaging_start:
                for j in range(len(state.w)):
                    state.sum[j] += state.w[j]
            anyone = senders(jobs, k) > 0
            if anyone or state.always_updates:  # else nothing is sent, and w stays
                code = aggregate(compressor, algorithm, route, comm, wire, jobs, state, k, seed, size, anyone)
            due = snapshots.rounds[snapshots.cursor[0]] == k + 1
            if code == 0 and (due or k + 1 == stop):
                code = barrier(comm)
                state.seconds[0] += wtime() - state.seconds[1]
            if code != 0:
                break
            if due:
                snapshots.cursor[0] += 1
                if comm.rank == ROOT:
                    snapshot(state, wire, snapshots, k + 1)
                state.seconds[1] = wtime()
        if behind == 1 and ahead < stop:
            keep(state)
            if senders(jobs, ahead) > 0:
                code = depart(route, comm, compressor, wire, jobs, ahead, seed, size)
                mark(clock, RECEIVE)
            if code != 0:
                break
    return code
