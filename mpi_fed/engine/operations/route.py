"""What a route does inside the compiled round: its buffers, its ledger of bytes, its operations.

uplink(kernel, comm, compressor, wire, jobs, round, seed, size, total)
    bring `size` bytes of packed payloads from every rank to the root, which adds each decoded one, weighted 1/N, to
    total and enters it in the ledger; MPI's error code. How w comes back is `kernel.downlink` (`downlink.py`); where
    that is `Everywhere`, all of this holds of every rank, not of the root alone
bare(kernel, comm, wire, size)
    the MPI calls of uplink alone, of the sizes that the last round left in the wire, for `mpi-fed bench`, which runs it
    outside of rounds; MPI's error code, or UNTOLD, the default, where a route does not say
overlaps(kernel)
    whether the uplink travels while the next messages are made; by default it does not, and depart is never called
depart(kernel, comm, compressor, wire, jobs, round, seed, size)
    start it with the round's messages, which lie in wire.send from `place_of` on: uplink then waits for it; MPI's error
    code
nudge_on(kernel)
    let MPI go on with it; MPI's error code
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..compilation import Operation, inlined, kernel
from ..mpi_calls import wtime
from .compressor import information_bits, trailer

INFORMATION_BITS, PAYLOAD, UPLINK, DOWNLINK = 0, 1, 2, 3
"""Columns of the ledger's totals."""

HISTOGRAM_BINS = 1024
SNAPSHOTS, SNAPSHOT_BYTES = 64, 2**26
"""Log points that one call of the loop can pass, and the most bytes for their two iterates each."""

PHASES = ("gradient", "encode", "wait", "uplink", "decode", "update", "downlink")
STEPS = (*PHASES, "downlink_encode", "downlink_decode")
"""What the clock tells apart: of what goes down compressed, a log has packing in `encode`, unpacking in `decode`."""
GRADIENT, ENCODE, WAIT, RECEIVE, DECODE, UPDATE, SEND_BACK, ENCODE_DOWN, DECODE_DOWN, LAST, RUNNING, ROUNDS = range(12)
"""Of the clock: the seconds of each step, the last mark, whether this round is timed, how many have been."""


def snapshots_of(dimension: int) -> int:
    """Log points that one call of the loop can pass at this dimension."""
    return max(1, min(SNAPSHOTS, SNAPSHOT_BYTES // (16 * dimension)))


class Wire(NamedTuple):
    """Buffers and ledger of one configuration on one rank."""

    longest: int  # bytes of a message, checksums included
    room: int  # messages of a round
    fixed_size: int  # bytes of every message, or -1 where lengths vary
    fixed_bits: int  # its information bits
    counted: bool  # lengths are the senders' alone to know, so that counts are exchanged
    slots: int  # clients on the fullest rank
    hosts: NDArray[np.int64]  # (ranks + 1,): rank r hosts the clients hosts[r] <= i < hosts[r + 1]
    stride: int  # bytes from one round's messages in `send` to the next one's, where both are held; else 0
    send: NDArray[np.uint8]
    receive: NDArray[np.uint8]  # the root's, or on every rank where the route brings all of it everywhere
    sizes: NDArray[np.int32]  # (slots,): bytes of this rank's messages, in order
    all_sizes: NDArray[np.int32]  # (ranks * slots,): the root's, by rank
    counts: NDArray[np.int32]  # (ranks,)
    starts: NDArray[np.int32]  # (ranks,)
    totals: NDArray[np.int64]  # (4,), cumulative
    client_payload: NDArray[np.int64]  # (N,), cumulative
    histogram: NDArray[np.int64]  # messages by payload size // grain
    grain: int
    clock: NDArray[np.float64]  # (12,): see `mark`


@kernel
def enter(wire, compressor, client, size):
    """Enter a message of `size` bytes in the ledger."""
    size -= trailer(compressor)
    bits = wire.fixed_bits if wire.fixed_size >= 0 else information_bits(compressor, size)
    wire.totals[INFORMATION_BITS] += bits
    wire.totals[PAYLOAD] += size
    wire.client_payload[client] += size
    wire.histogram[size // wire.grain] += 1


@kernel
def mark(clock, phase):
    """Where this round is timed: the time since the last mark was this phase's."""
    if clock[RUNNING] > 0.0:
        now = wtime()
        clock[phase] += now - clock[LAST]
        clock[LAST] = now


UNTOLD = -1
"""Of a route that does not say what its bare collectives are."""
TOO_LONG, TOO_MANY = -2, -3
"""Of a round with a message that is longer than its compressor says, or with more clients than there is room for."""
SLACK = 4096
"""Bytes behind the send buffer, so that such a message spoils nothing before it is found."""


def _untold(kernel, comm, wire, size):
    return UNTOLD


def _no(kernel):
    return False


def _nothing(kernel):
    return 0


def _stays(kernel, comm, compressor, wire, jobs, round, seed, size):
    return 0


_uplink, _bare = Operation("uplink"), Operation("bare", _untold)
_overlaps, _depart, _nudge_on = Operation("overlaps", _no), Operation("depart", _stays), Operation("nudge_on", _nothing)
uplink, bare, overlaps, depart, nudge_on = _uplink.call, _bare.call, _overlaps.call, _depart.call, _nudge_on.call
OPERATIONS = {"uplink": _uplink, "bare": _bare, "overlaps": _overlaps, "depart": _depart, "nudge_on": _nudge_on}


@inlined
def place_of(wire, round):
    """Where this round's messages begin in wire.send."""
    return wire.stride * (round & 1)
