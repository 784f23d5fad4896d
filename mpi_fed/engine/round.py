"""The compiled loop: rounds from log point to log point, with MPI inside.

A round computes local gradients, what the algorithm makes of them, and messages; the route's collective brings these to
the root, which decodes and averages them, updates w and sends it back (or sends the update's direction, compressed,
before it). Before the update, w enters the Polyak-Ruppert average.

A delayed algorithm takes gradients at the w before this one. Then the messages of a round may be made while those of
the round before travel: the loop makes them first, and aggregates a round behind.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .compilation import inlined, kernel
from .mpi_calls import ROOT, barrier, wtime
from .operations.algorithm import Client, direction, outgoing, sent, update
from .operations.compressor import Message, encode
from .operations.downlink import ROUND, SENDER, all_ranks_update, decodes_here, share_direction, share_iterate
from .operations.problem import gradient
from .operations.route import Round, begin_uplink, overlaps, progress_uplink, uplink
from .phase_clock import DOWNLINK, ENCODE, GRADIENT, RUNNING, TIMED, UPDATE, UPLINK, WAIT, begin_round, mark
from .planner import plan
from .random_streams import Stream
from .schedule import is_planned, place_of_round, senders
from .wire import start_of_messages

TOO_LONG, TOO_MANY = -2, -3
"""Returned where a message is longer than its compressor says, or where more clients take part than there is room."""

SNAPSHOTS, SNAPSHOT_BYTES = 64, 2**26
"""Log points that one call of the loop can pass, and the most bytes for their two iterates each."""

Array = NDArray[np.float64]


class Kernels(NamedTuple):
    """What compiled code knows of a configuration, component by component."""

    problem: Any
    compressor: Any
    algorithm: Any
    route: Any


ELAPSED, BLOCK_START = range(2)
"""Slots of a state's seconds."""


class State(NamedTuple):
    """What a repetition carries from round to round."""

    w: Array  # (d,): the iterate, where the route has it updated
    model: Array  # (d,): w as the clients know it, equal on all ranks; w itself unless the downlink rounds
    gradient_point: Array  # (d,): model itself, or the one before it where the algorithm is delayed
    delayed: bool
    iterate_sum: Array  # (d,): the root's sum of the iterates in the average
    total: Array  # (d,): the root's mean of the decoded messages, then the direction of the step
    g: Array  # (d,): a client's gradient
    averaging_start: int
    always_updates: bool  # w moves even in a round in which nobody sends
    seconds: Array  # slots ELAPSED, BLOCK_START
    overflow: NDArray[np.int64]  # slots SENDER, ROUND


NEXT_POINT, HELD = range(2)
"""Slots of the snapshots' cursor: the next log point, and how many snapshots are held."""


class Snapshots(NamedTuple):
    """The root's log points of one call, S at most, evaluated and written outside the timed loop."""

    rounds: NDArray[np.int64]  # all log points of the study
    cursor: NDArray[np.int64]  # slots NEXT_POINT, HELD
    iterate: Array  # (S, d)
    average: Array  # (S, d)
    totals: NDArray[np.int64]  # (S, 4)
    client_payload: NDArray[np.int64]  # (S, N), or (S, 0) above 1,000 clients
    seconds: Array  # (S,)


def snapshots_of(dimension: int) -> int:
    """Return how many log points one call of the loop can pass at this dimension."""
    return max(1, min(SNAPSHOTS, SNAPSHOT_BYTES // (16 * dimension)))


@kernel
def take_snapshot(state, wire, snapshots, done):
    """Hold the state after `done` rounds."""
    place = snapshots.cursor[HELD]
    averaged = done - state.averaging_start
    for j in range(len(state.w)):
        snapshots.iterate[place, j] = state.w[j]
        snapshots.average[place, j] = state.iterate_sum[j] / np.float64(averaged) if averaged > 0 else state.w[j]
    for i in range(len(wire.totals)):
        snapshots.totals[place, i] = wire.totals[i]
    for i in range(snapshots.client_payload.shape[1]):
        snapshots.client_payload[place, i] = wire.client_payload[i]
    snapshots.seconds[place] = state.seconds[ELAPSED]
    snapshots.cursor[HELD] += 1


@inlined
def keep_gradient_point(state):
    """Where the algorithm is delayed: take the next gradients at the model of now."""
    if state.delayed:
        for j in range(len(state.gradient_point)):
            state.gradient_point[j] = state.model[j]


@inlined
def make_messages(kernels, wire, schedule, state, k, seed):
    """Compute and pack this rank's messages of round k; their bytes, or TOO_LONG."""
    place, w, g, clock = place_of_round(schedule, k), state.gradient_point, state.g, wire.clock
    job, slot, start, size, longest = schedule.start[place], 0, start_of_messages(wire, k), 0, 0
    while job < schedule.start[place + 1]:
        row = schedule.client[job]
        number = schedule.first + row
        client = Client(row, number, schedule.clients)
        message = Message(Stream(seed, np.uint64(number), np.uint64(k)), schedule.clients, 0)
        gradient(kernels.problem, schedule, job, seed, w, g)
        outgoing(kernels.algorithm, client, k, w, g)
        mark(clock, GRADIENT)
        written = encode(kernels.compressor, g, wire.send[start + size :], message)
        if written < 0:
            written = -written
            if state.overflow[SENDER] == -1:
                state.overflow[SENDER], state.overflow[ROUND] = number, k
        payload = wire.send[start + size : start + size + written]
        sent(kernels.algorithm, client, kernels.compressor, payload, message)
        wire.sizes[slot] = written
        size += written
        longest = max(longest, written)
        job += schedule.steps
        slot += 1
        progress_uplink(kernels.route)
        mark(clock, ENCODE)
    return size if longest <= wire.longest else TOO_LONG


@inlined
def aggregate(kernels, round, state, anyone):
    """Bring the round's messages to the root, update w and send it back; MPI's error code."""
    comm, clock, code = round.comm, round.wire.clock, 0
    state.total.fill(0.0)
    if clock[RUNNING] > 0.0:
        code = barrier(comm)
        mark(clock, WAIT)
    if anyone and code == 0:
        code = uplink(kernels.route, round, state.total)
    if code == 0 and decodes_here(kernels.route.downlink, comm):
        direction(kernels.algorithm, round.number, state.total)
        mark(clock, UPDATE)
    if code == 0:
        code = share_direction(kernels.route.downlink, round, state.total, state.overflow)
    if code == 0 and (comm.rank == ROOT or all_ranks_update(kernels.route.downlink)):
        update(kernels.algorithm, round.number, state.total, state.w)
        mark(clock, UPDATE)
    if code == 0:
        code = share_iterate(kernels.route.downlink, round, state.w, state.model, state.overflow)
        mark(clock, DOWNLINK)
    return code


@inlined
def add_to_average(comm, state, k):
    """Let the root's w_k enter the average."""
    if comm.rank == ROOT and k >= state.averaging_start:
        for j in range(len(state.w)):
            state.iterate_sum[j] += state.w[j]


@inlined
def end_block(comm, wire, state, snapshots, done, last):
    """After `done` rounds, at a log point or at the `last` round: stop the time, and hold a snapshot; MPI's code."""
    due = snapshots.rounds[snapshots.cursor[NEXT_POINT]] == done
    if not due and not last:
        return 0
    code = barrier(comm)
    state.seconds[ELAPSED] += wtime() - state.seconds[BLOCK_START]
    if due and code == 0:
        snapshots.cursor[NEXT_POINT] += 1
        if comm.rank == ROOT:
            take_snapshot(state, wire, snapshots, done)
        state.seconds[BLOCK_START] = wtime()
    return code


@kernel
def advance(kernels, comm, wire, schedule, state, snapshots, start, stop, seed):
    """Do rounds start <= k < stop and hold a snapshot at every log point passed; MPI's error code,
    TOO_LONG or TOO_MANY.

    A block of rounds is timed between two barriers: from the start, or the last log point, to the next.
    """
    size = 0
    behind = 1 if overlaps(kernels.route) else 0
    code = barrier(comm)
    state.seconds[BLOCK_START] = wtime()
    for ahead in range(start, stop + behind):
        k = ahead - behind  # messages are made of round `ahead`, and aggregated of round k
        begin_round(wire.clock, ahead % TIMED == 0 and ahead < stop)
        if ahead < stop:
            if not is_planned(schedule, ahead):
                plan(schedule, kernels.compressor, seed, max(start, k))
            if senders(schedule, ahead) > wire.max_messages:
                return TOO_MANY
            size = make_messages(kernels, wire, schedule, state, ahead, seed)
            if size < 0:
                return TOO_LONG
            if behind == 0:
                keep_gradient_point(state)
        if k >= start:
            add_to_average(comm, state, k)
            anyone = senders(schedule, k) > 0
            if anyone or state.always_updates:  # else nothing is sent, and w stays
                round = Round(k, seed, size, comm, kernels.compressor, wire, schedule)
                code = aggregate(kernels, round, state, anyone)
            if code == 0:
                code = end_block(comm, wire, state, snapshots, k + 1, k + 1 == stop)
            if code != 0:
                return code
        if behind == 1 and ahead < stop:
            keep_gradient_point(state)
            if senders(schedule, ahead) > 0:
                code = begin_uplink(kernels.route, Round(ahead, seed, size, comm, kernels.compressor, wire, schedule))
                mark(wire.clock, UPLINK)
            if code != 0:
                return code
    return code
