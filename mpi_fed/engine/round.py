"""The compiled loop: rounds from log point to log point, with the MPI calls inside.

In a round each client computes its gradient, and the algorithm turns it into the vector that the compressor packs into
a message. The collective of the route brings the messages to the root, which decodes and averages them, updates w and
sends w to all ranks. With a compressed downlink the root sends the direction of the step instead, and all ranks update
w. Before the update, w enters the averaged iterate (Polyak-Ruppert).

A delayed algorithm takes gradients at the previous iterate. So the messages of a round can be made while the messages
of the round before are in transit: the loop first makes the messages of round k + 1, and then aggregates round k.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .compilation import inlined, kernel
from .mpi_calls import ROOT, Comm, barrier, wtime
from .operations.algorithm import Client, direction, outgoing, sent, update
from .operations.compressor import Message, encode
from .operations.downlink import ROUND, SENDER, all_ranks_update, decodes_here, share_direction, share_iterate
from .operations.problem import gradient
from .operations.route import Round, begin_uplink, overlaps, progress_uplink, uplink
from .phase_clock import DOWNLINK, ENCODE, GRADIENT, RUNNING, TIMED, UPDATE, UPLINK, WAIT, begin_round, mark
from .planner import plan
from .random_streams import Stream
from .schedule import Schedule, is_planned, place_of_round, senders
from .wire import Wire, start_of_messages

TOO_LONG, TOO_MANY = -2, -3
"""Error codes: a message is longer than its compressor's maximum, or more clients take part than the buffers hold."""

SNAPSHOTS, SNAPSHOT_BYTES = 64, 2**26
"""Largest number of log points that a call of the loop can pass, and largest memory, in bytes, of their snapshots."""

Array = NDArray[np.float64]


class Kernels(NamedTuple):
    """The kernels of the components of a configuration."""

    problem: Any
    compressor: Any
    algorithm: Any
    route: Any


ELAPSED, BLOCK_START = range(2)
"""Slots of a state's seconds."""


class State(NamedTuple):
    """The state of a repetition between rounds."""

    w: Array  # (d,): the iterate, on the ranks that update it
    model: Array  # (d,): the iterate that clients received, equal on all ranks; w itself unless the downlink rounds
    gradient_point: Array  # (d,): model itself, or the previous one if the algorithm is delayed
    delayed: bool
    iterate_sum: Array  # (d,): the sum of the iterates in the average, at the root
    total: Array  # (d,): the mean of the decoded messages, then the direction of the step, at the root
    g: Array  # (d,): the gradient of one client
    averaging_start: int  # first round whose iterate enters the average
    always_updates: bool  # true if w changes even in a round without messages
    seconds: Array  # slots ELAPSED, BLOCK_START
    overflow: NDArray[np.int64]  # slots SENDER, ROUND


NEXT_POINT, HELD = range(2)
"""Slots of the snapshots' cursor: the index of the next log point, and the number of snapshots held."""


class Snapshots(NamedTuple):
    """The snapshots of one call at the root, at most S, evaluated and written to the log outside the timed loop."""

    rounds: NDArray[np.int64]  # all log points of the study
    cursor: NDArray[np.int64]  # slots NEXT_POINT, HELD
    iterate: Array  # (S, d)
    average: Array  # (S, d)
    totals: NDArray[np.int64]  # (S, 4)
    client_payload: NDArray[np.int64]  # (S, N), or (S, 0) above 1,000 clients
    seconds: Array  # (S,)


def snapshots_of(dimension: int) -> int:
    """Return the number of log points that one call of the loop can pass at this dimension."""
    return max(1, min(SNAPSHOTS, SNAPSHOT_BYTES // (16 * dimension)))


@kernel
def take_snapshot(state: State, wire: Wire, snapshots: Snapshots, done: int) -> None:
    """Copy the state after `done` rounds into the snapshots."""
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
def keep_gradient_point(state: State) -> None:
    """Set the point of the next gradients to the present model, if the algorithm is delayed."""
    if state.delayed:
        for j in range(len(state.gradient_point)):
            state.gradient_point[j] = state.model[j]


@inlined
def make_messages(kernels: Kernels, wire: Wire, schedule: Schedule, state: State, k: int, seed: np.uint64) -> int:
    """Compute and pack this rank's messages of round k; return the number of their bytes, or TOO_LONG."""
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
def aggregate(kernels: Kernels, round: Round, state: State, any_sender: bool) -> int:
    """Bring the round's messages to the root, update w and send w to all ranks; return MPI's error code."""
    comm, clock, code = round.comm, round.wire.clock, 0
    state.total.fill(0.0)
    if clock[RUNNING] > 0.0:
        code = barrier(comm)
        mark(clock, WAIT)
    if any_sender and code == 0:
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
def add_to_average(comm: Comm, state: State, k: int) -> None:
    """Add w_k to the sum of the averaged iterate, at the root."""
    if comm.rank == ROOT and k >= state.averaging_start:
        for j in range(len(state.w)):
            state.iterate_sum[j] += state.w[j]


@inlined
def end_block(comm: Comm, wire: Wire, state: State, snapshots: Snapshots, done: int, last: bool) -> int:
    """Stop the clock and take a snapshot, if `done` rounds reach a log point or the `last` round.

    Return MPI's error code.
    """
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
def advance(  # noqa: C901 (the compiled loop)
    kernels: Kernels,
    comm: Comm,
    wire: Wire,
    schedule: Schedule,
    state: State,
    snapshots: Snapshots,
    start: int,
    stop: int,
    seed: np.uint64,
) -> int:
    """Run the rounds start <= k < stop, and take a snapshot at every log point.

    Return MPI's error code, TOO_LONG or TOO_MANY. A block of rounds, from the start or a log point to the next log
    point, is timed between two barriers.
    """
    size = 0
    behind = 1 if overlaps(kernels.route) else 0
    code = barrier(comm)
    state.seconds[BLOCK_START] = wtime()
    for ahead in range(start, stop + behind):
        k = ahead - behind  # the messages of round `ahead` are made, and those of round k aggregated
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
            any_sender = senders(schedule, k) > 0
            if any_sender or state.always_updates:  # otherwise there are no messages, and w does not change
                round = Round(k, seed, size, comm, kernels.compressor, wire, schedule)
                code = aggregate(kernels, round, state, any_sender)
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
