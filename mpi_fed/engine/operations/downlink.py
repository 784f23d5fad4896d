"""How the new iterate comes to every rank: what a route's kernel holds as `downlink`, whose type chooses the code.

gathered(downlink)                                              the uplink has brought every rank the messages
share(downlink, comm, wire, round, seed, total, overflow)       the step's direction, which the root has in total, to
                                                                every rank's, and into the ledger; MPI's error code
everywhere(downlink)                                            every rank has that direction then, and updates itself
send_back(downlink, comm, wire, round, seed, w, model, overflow) the root's w to everyone's `model`, at which gradients
                                                                are taken, and into the ledger; MPI's error code
bare_send_back(downlink, comm, w)                               the MPI calls of share and send_back alone, with what
                                                                they left in their buffers, for `mpi-fed bench`; MPI's
                                                                error code

A broadcast has a `path`, whose type chooses likewise how the root's array travels: in one MPI_Bcast, or down a tree.

pass_on(path, comm, array)                                      the root's float64 or byte array to everyone; MPI's
                                                                error code
receipts(path, comm)                                            how often a rank gets it, summed over ranks
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..compilation import Operation, inlined
from ..leader_tree import Tree
from ..mpi_calls import ROOT, bcast
from ..random_streams import EVERYONE, THE_ROOT, Stream
from ..wire_floats import CHUNK, pack, unpack
from .compressor import decode, encode, length
from .route import DECODE_DOWN, DOWNLINK, ENCODE_DOWN, SEND_BACK, UPLINK, mark


class Direct(NamedTuple):
    """One MPI_Bcast to all ranks."""

    kind: int


DIRECT = Direct(0)
Path = Direct | Tree


class Broadcast(NamedTuple):
    """w goes down in float64: `model` is w itself."""

    path: Path


class RoundedBroadcast(NamedTuple):
    """w goes down in floats of 32 or 16 bits. The root keeps the w that it rounds, so no rounding accumulates."""

    path: Path
    bits: int
    buffer: NDArray[np.uint8]
    dither: NDArray[np.float64]


class Everywhere(NamedTuple):
    """Nothing travels: the uplink has brought every rank what it needs."""

    kind: int


class CompressedBroadcast(NamedTuple):
    """The compressed direction of the step goes down, which every rank, the root included, decodes."""

    path: Path
    compressor: Any  # its kernel
    fixed_size: int  # bytes of every message, or -1 where lengths vary
    counted: bool  # lengths are the root's alone to know, so that they go down too
    payload: NDArray[np.uint8]
    length: NDArray[np.int32]  # (1,)
    length_bytes: NDArray[np.uint8]  # (4,): the same


Downlink = Broadcast | RoundedBroadcast | Everywhere | CompressedBroadcast


def broadcast(bits: int, dimension: int, path: Path = DIRECT) -> Downlink:
    """The broadcast in floats of 64, 32 or 16 bits."""
    if bits == 64:
        return Broadcast(path)
    return RoundedBroadcast(path, bits, np.empty(bits // 8 * dimension, np.uint8), np.empty(CHUNK))


def compressed(path: Path, compressor: Any, fixed_size: int, counted: bool, longest: int) -> CompressedBroadcast:
    """The broadcast of messages of at most `longest` bytes of this compressor's kernel."""
    size = np.zeros(1, np.int32)
    return CompressedBroadcast(
        path, compressor, fixed_size, counted, np.zeros(max(1, longest), np.uint8), size, size.view(np.uint8)
    )


def _directly(path, comm, array):
    return bcast(comm, array)


def _down_the_tree(path, comm, array):
    code = bcast(path.leaders, array) if path.leads else 0
    return bcast(path.group, array) if code == 0 else code


def _once_a_rank(path, comm):
    return comm.size


def _leaders_twice(path, comm):
    return comm.size + path.leaders.size


_pass_on, _receipts = Operation("pass_on", _directly), Operation("receipts", _once_a_rank)
_pass_on.implement(Tree, _down_the_tree)
_receipts.implement(Tree, _leaders_twice)
pass_on, receipts = _pass_on.call, _receipts.call


def _no(downlink):
    return False


def _yes(downlink):
    return True


def _kept(downlink, comm, wire, round, seed, total, overflow):
    return 0


def _compressed(downlink, comm, wire, round, seed, total, overflow):
    stream, size, code = Stream(seed, THE_ROOT, np.uint64(round)), np.int64(0), 0
    if comm.rank == ROOT:
        size = np.int64(encode(downlink.compressor, total, downlink.payload, stream))
        if size < 0:
            size = -size
            if overflow[0] == -1:
                overflow[0], overflow[1] = np.int64(THE_ROOT), round
        mark(wire.clock, ENCODE_DOWN)
    elif not downlink.counted:
        size = downlink.fixed_size if downlink.fixed_size >= 0 else np.int64(length(downlink.compressor, stream))
    downlink.length[0] = size
    if downlink.counted:
        code = pass_on(downlink.path, comm, downlink.length_bytes)
        size = np.int64(downlink.length[0])
    if code == 0:
        code = pass_on(downlink.path, comm, downlink.payload[:size])
    mark(wire.clock, SEND_BACK)
    if code == 0:
        if comm.rank == ROOT:
            wire.totals[DOWNLINK] += (size + (4 if downlink.counted else 0)) * receipts(downlink.path, comm)
        total.fill(0.0)
        decode(downlink.compressor, downlink.payload[:size], 1.0, total, stream)
        mark(wire.clock, DECODE_DOWN)
    return code


def _broadcast(downlink, comm, wire, round, seed, w, model, overflow):
    if comm.rank == ROOT:
        wire.totals[DOWNLINK] += 8 * len(w) * receipts(downlink.path, comm)
    return pass_on(downlink.path, comm, w)


def _bare_broadcast(downlink, comm, w):
    return pass_on(downlink.path, comm, w)


def _rounded_broadcast(downlink, comm, wire, round, seed, w, model, overflow):
    if comm.rank == ROOT:
        stream = Stream(seed, EVERYONE, np.uint64(round))
        if pack(w, downlink.bits, downlink.buffer, stream, downlink.dither) < 0 and overflow[0] == -1:
            overflow[0], overflow[1] = np.int64(THE_ROOT), round
        wire.totals[DOWNLINK] += len(downlink.buffer) * receipts(downlink.path, comm)
    code = pass_on(downlink.path, comm, downlink.buffer)
    unpack(downlink.buffer, downlink.bits, model)
    return code


def _bare_rounded_broadcast(downlink, comm, w):
    return pass_on(downlink.path, comm, downlink.buffer)


def _nothing(downlink, comm, wire, round, seed, w, model, overflow):
    return 0


def _bare_compressed(downlink, comm, w):
    code = pass_on(downlink.path, comm, downlink.length_bytes) if downlink.counted else 0
    if code != 0:
        return code
    return pass_on(downlink.path, comm, downlink.payload[: downlink.length[0]])


def _bare_nothing(downlink, comm, w):
    return 0


_gathered, _share = Operation("gathered", _no), Operation("share", _kept)
_is_everywhere, _send_back = Operation("everywhere", _no), Operation("send_back", _broadcast)
_bare_send_back = Operation("bare_send_back", _bare_broadcast)
_gathered.implement(Everywhere, _yes)
_share.implement(CompressedBroadcast, _compressed)
_is_everywhere.implement(Everywhere, _yes)
_is_everywhere.implement(CompressedBroadcast, _yes)
_send_back.implement(RoundedBroadcast, _rounded_broadcast)
_send_back.implement(Everywhere, _nothing)
_send_back.implement(CompressedBroadcast, _nothing)
_bare_send_back.implement(RoundedBroadcast, _bare_rounded_broadcast)
_bare_send_back.implement(Everywhere, _bare_nothing)
_bare_send_back.implement(CompressedBroadcast, _bare_compressed)
gathered, share = _gathered.call, _share.call
everywhere, send_back, bare_send_back = _is_everywhere.call, _send_back.call, _bare_send_back.call


@inlined
def decodes(downlink, comm):
    """Whether this rank decodes the round's messages."""
    return comm.rank == ROOT or gathered(downlink)


@inlined
def transported(downlink, comm, wire, sent, received):
    """Enter the bytes that all ranks handed to MPI, and what each of them got where the uplink goes everywhere."""
    if comm.rank == ROOT:
        wire.totals[UPLINK] += sent
        if gathered(downlink):
            wire.totals[DOWNLINK] += comm.size * received
