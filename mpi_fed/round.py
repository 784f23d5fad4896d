"""The compiled loop: rounds from log point to log point, with MPI inside.

Of each round: local gradients, what the algorithm compresses, encode, the route's collective, decode and mean at the
root, the update, the downlink of w (or of the update's direction, compressed, before it); before all of this, w enters
the Polyak-Ruppert average.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .codec import encode
from .descent import direction, outgoing, sent, update
from .downlink import decodes, everywhere, send_back, share
from .jit import kernel
from .mpi import ROOT, barrier, wtime
from .sampling import gradient, plan
from .streams import Stream
from .wire import (
    ENCODE,
    GRADIENT,
    LAST,
    ROUNDS,
    RUNNING,
    SEND_BACK,
    TOO_LONG,
    TOO_MANY,
    UPDATE,
    WAIT,
    mark,
    uplink,
)

TIMED = 251
"""One round in so many is timed phase by phase; a prime, so that it meets drawing ahead as often as any other round."""

Array = NDArray[np.float64]


class State(NamedTuple):
    """What a repetition carries from round to round."""

    w: Array  # (d,): the iterate, where the route has it updated
    model: Array  # (d,): what clients know of it, equal on all ranks; w itself unless the downlink rounds
    sum: Array  # (d,): the root's sum of the iterates in the average
    total: Array  # (d,): the root's mean of the decoded messages, then the direction of the step
    g: Array  # (d,)
    averaging_start: int
    restless: bool  # w moves even in a round in which nobody sends
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


@kernel
def advance(problem, compressor, algorithm, route, comm, wire, jobs, state, snapshots, start, stop, seed):
    """Do rounds start <= k < stop and hold a snapshot at every log point passed; MPI's error code,
    TOO_LONG or TOO_MANY.

    A block of rounds is timed between two barriers: from the start, or the last log point, to the next."""
    w, model, g, clock = state.w, state.model, state.g, wire.clock
    code = barrier(comm)
    state.seconds[1] = wtime()
    for k in range(start, stop):
        if k < jobs.window[0] or k >= jobs.window[1]:
            plan(jobs, compressor, seed, k)
        if comm.rank == ROOT and k >= state.averaging_start:
            for j in range(len(w)):
                state.sum[j] += w[j]
        at = k - jobs.window[0]
        job, slot, size, longest = jobs.start[at], 0, 0, 0
        if jobs.everyone_start[at + 1] - jobs.everyone_start[at] > wire.room:
            code = TOO_MANY
            break
        clock[RUNNING] = 1.0 if k % TIMED == 0 else 0.0
        if clock[RUNNING] > 0.0:
            clock[ROUNDS] += 1.0
            clock[LAST] = wtime()
        while job < jobs.start[at + 1]:
            client = jobs.client[job]
            gradient(problem, jobs, job, seed, model, g)
            outgoing(algorithm, client, k, model, g)
            mark(clock, GRADIENT)
            stream = Stream(seed, np.uint64(jobs.first + client), np.uint64(k))
            written = encode(compressor, g, wire.send[size:], stream)
            if written < 0:
                written = -written
                if state.overflow[0] == -1:
                    state.overflow[0], state.overflow[1] = jobs.first + client, k
            sent(algorithm, client, compressor, wire.send[size : size + written], stream)
            wire.sizes[slot] = written
            size += written
            longest = max(longest, written)
            job += jobs.steps
            slot += 1
            mark(clock, ENCODE)
        if longest > wire.longest:
            code = TOO_LONG
            break
        anyone = jobs.everyone_start[at] < jobs.everyone_start[at + 1]
        if anyone or state.restless:  # else nothing is sent, and w stays
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
                code = send_back(route.downlink, comm, wire, k, seed, w, model)
                mark(clock, SEND_BACK)
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
    return code
