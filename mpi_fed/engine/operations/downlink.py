"""The downlink, which brings the new iterate to every rank: the field `downlink` of a route's kernel."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..compilation import Integer, inlined
from ..leader_tree import Tree
from ..mpi_calls import ROOT, Comm, bcast
from ..operation import operation
from ..phase_clock import DOWNLINK, DOWNLINK_DECODE, DOWNLINK_ENCODE, mark
from ..random_streams import EVERYONE, THE_ROOT, Stream
from ..wire import DOWNLINK_BYTES, UPLINK_BYTES
from ..wire_floats import CHUNK, pack, unpack
from .compressor import Message, Vector, decode, encode, length
from .route import Round

Slots = NDArray[np.int64]

SENDER, ROUND = range(2)
"""Slots of `overflow`: the first sender of a number beyond the wire's floats, and the round; -1 if there was none."""


class Direct(NamedTuple):
    """One MPI_Bcast to all ranks."""

    unused: int  # compiled code does not allow an empty tuple


DIRECT = Direct(0)
Path = Direct | Tree


class Broadcast(NamedTuple):
    """Broadcast of w in float64: `model` is w itself."""

    path: Path


class RoundedBroadcast(NamedTuple):
    """Broadcast of w in floats of 32 or 16 bits. The root keeps w in float64, so rounding does not accumulate."""

    path: Path
    bits: int
    buffer: NDArray[np.uint8]
    dither: NDArray[np.float64]


class NoDownlink(NamedTuple):
    """No downlink: the uplink has brought the messages to every rank."""

    unused: int  # compiled code does not allow an empty tuple


class CompressedBroadcast(NamedTuple):
    """Broadcast of the compressed direction of the step, which every rank, the root included, decodes."""

    path: Path
    compressor: Any  # its kernel
    fixed_size: int  # bytes of every message, or -1 if lengths vary
    length_sent: bool  # true if only the root knows the length, so that the length is broadcast too
    payload: NDArray[np.uint8]
    length: NDArray[np.int32]  # (1,)
    length_bytes: NDArray[np.uint8]  # (4,): the bytes of `length`


Downlink = Broadcast | RoundedBroadcast | NoDownlink | CompressedBroadcast


def broadcast(bits: int, dimension: int, path: Path = DIRECT) -> Downlink:
    """Return the broadcast of w in floats of 64, 32 or 16 bits."""
    if bits == 64:
        return Broadcast(path)
    return RoundedBroadcast(path, bits, np.empty(bits // 8 * dimension, np.uint8), np.empty(CHUNK))


def compressed_broadcast(
    path: Path, compressor: Any, fixed_size: int, length_sent: bool, longest: int
) -> CompressedBroadcast:
    """Return the broadcast of this compressor kernel's messages, of at most `longest` bytes."""
    size = np.zeros(1, np.int32)
    return CompressedBroadcast(
        path=path,
        compressor=compressor,
        fixed_size=fixed_size,
        length_sent=length_sent,
        payload=np.zeros(max(1, longest), np.uint8),
        length=size,
        length_bytes=size.view(np.uint8),
    )


@operation
def send_down(path: Any, comm: Comm, array: NDArray[Any]) -> int:
    """Send the root's float64 or byte array to all ranks along the path; return MPI's error code."""
    return bcast(comm, array)


@operation
def copies_sent(path: Any, comm: Comm) -> int:
    """Return the number of copies of an array that ranks receive from `send_down`, summed over ranks."""
    return comm.size


@send_down.implement(Tree)
def _send_down_the_tree(path: Tree, comm: Comm, array: NDArray[Any]) -> int:
    code = bcast(path.leaders, array) if path.leads else 0
    return bcast(path.group, array) if code == 0 else code


@copies_sent.implement(Tree)
def _copies_sent_by_the_tree(path: Tree, comm: Comm) -> int:
    return comm.size + path.leaders.size


@operation
def uplink_reaches_all(downlink: Any) -> bool:
    """Return whether the uplink has brought the messages to every rank."""
    return False


@operation
def all_ranks_update(downlink: Any) -> bool:
    """Return whether every rank has the direction of the step after `share_direction`, and so updates w itself."""
    return False


@operation
def share_direction(downlink: Any, round: Round, total: Vector, overflow: Slots) -> int:
    """Send the direction of the step, the root's `total`, to all ranks, and count the bytes.

    Return MPI's error code.
    """
    return 0


@operation
def share_iterate(downlink: Any, round: Round, w: Vector, model: Vector, overflow: Slots) -> int:
    """Send the root's w to every rank's `model`, at which gradients are taken, and count the bytes.

    Return MPI's error code.
    """
    if round.comm.rank == ROOT:
        round.wire.totals[DOWNLINK_BYTES] += 8 * len(w) * copies_sent(downlink.path, round.comm)
    return send_down(downlink.path, round.comm, w)


@operation
def bare_downlink(downlink: Any, comm: Comm, w: Vector) -> int:
    """Make only the MPI calls of `share_direction` and `share_iterate`, for `mpi-fed bench`.

    Return MPI's error code.
    """
    return send_down(downlink.path, comm, w)


@uplink_reaches_all.implement(NoDownlink)
@all_ranks_update.implement(NoDownlink)
@all_ranks_update.implement(CompressedBroadcast)
def _yes(downlink: NoDownlink | CompressedBroadcast) -> bool:
    return True


@share_direction.implement(CompressedBroadcast)
def _share_compressed(downlink: CompressedBroadcast, round: Round, total: Vector, overflow: Slots) -> int:
    comm, wire = round.comm, round.wire
    message = Message(Stream(round.seed, THE_ROOT, np.uint64(round.number)), 1, 0)
    size: Integer
    size, code = np.int64(0), 0
    if comm.rank == ROOT:
        size = np.int64(encode(downlink.compressor, total, downlink.payload, message))
        if size < 0:
            size = -size
            if overflow[SENDER] == -1:
                overflow[SENDER], overflow[ROUND] = np.int64(THE_ROOT), round.number
        mark(wire.clock, DOWNLINK_ENCODE)
    elif not downlink.length_sent:
        size = downlink.fixed_size if downlink.fixed_size >= 0 else np.int64(length(downlink.compressor, message))
    downlink.length[0] = size
    if downlink.length_sent:
        code = send_down(downlink.path, comm, downlink.length_bytes)
        size = np.int64(downlink.length[0])
    if code == 0:
        code = send_down(downlink.path, comm, downlink.payload[:size])
    mark(wire.clock, DOWNLINK)
    if code == 0:
        if comm.rank == ROOT:
            each = size + (4 if downlink.length_sent else 0)
            wire.totals[DOWNLINK_BYTES] += each * copies_sent(downlink.path, comm)
        total.fill(0.0)
        decode(downlink.compressor, downlink.payload[:size], 1.0, total, message)
        mark(wire.clock, DOWNLINK_DECODE)
    return code


@share_iterate.implement(RoundedBroadcast)
def _share_rounded(downlink: RoundedBroadcast, round: Round, w: Vector, model: Vector, overflow: Slots) -> int:
    if round.comm.rank == ROOT:
        stream = Stream(round.seed, EVERYONE, np.uint64(round.number))
        if pack(w, downlink.bits, downlink.buffer, stream, downlink.dither) < 0 and overflow[SENDER] == -1:
            overflow[SENDER], overflow[ROUND] = np.int64(THE_ROOT), round.number
        round.wire.totals[DOWNLINK_BYTES] += len(downlink.buffer) * copies_sent(downlink.path, round.comm)
    code = send_down(downlink.path, round.comm, downlink.buffer)
    unpack(downlink.buffer, downlink.bits, model)
    return code


@share_iterate.implement(NoDownlink)
@share_iterate.implement(CompressedBroadcast)
def _share_nothing(
    downlink: NoDownlink | CompressedBroadcast, round: Round, w: Vector, model: Vector, overflow: Slots
) -> int:
    return 0


@bare_downlink.implement(RoundedBroadcast)
def _bare_rounded(downlink: RoundedBroadcast, comm: Comm, w: Vector) -> int:
    return send_down(downlink.path, comm, downlink.buffer)


@bare_downlink.implement(CompressedBroadcast)
def _bare_compressed(downlink: CompressedBroadcast, comm: Comm, w: Vector) -> int:
    code = send_down(downlink.path, comm, downlink.length_bytes) if downlink.length_sent else 0
    if code != 0:
        return code
    return send_down(downlink.path, comm, downlink.payload[: downlink.length[0]])


@bare_downlink.implement(NoDownlink)
def _bare_nothing(downlink: NoDownlink, comm: Comm, w: Vector) -> int:
    return 0


@inlined
def decodes_here(downlink: Any, comm: Comm) -> bool:
    """Return whether this rank decodes the round's messages."""
    return comm.rank == ROOT or uplink_reaches_all(downlink)


@inlined
def enter_transported(downlink: Any, round: Round, sent: Integer, received: Integer) -> None:
    """Count the bytes that all ranks send together and, if the uplink reaches all ranks, those that each receives."""
    if round.comm.rank == ROOT:
        round.wire.totals[UPLINK_BYTES] += sent
        if uplink_reaches_all(downlink):
            round.wire.totals[DOWNLINK_BYTES] += round.comm.size * received
