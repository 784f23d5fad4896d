"""How the new iterate comes to every rank: what a route's kernel holds as `downlink`, whose type chooses the code.

everywhere(downlink)                                            every rank has the mean message and updates for itself
send_back(downlink, comm, wire, round, seed, w, model)          the root's w to everyone's `model`, at which gradients
                                                                are taken, and into the ledger; MPI's error code
bare_send_back(downlink, comm, w)                               the MPI calls of send_back alone, with what it left in
                                                                its buffers, for `mpi-fed bench`; MPI's error code
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .jit import Operation, inlined
from .mpi import ROOT, bcast, bcast_bytes
from .streams import EVERYONE, Stream
from .values import CHUNK, pack, unpack
from .wire import DOWNLINK, UPLINK


class Broadcast(NamedTuple):
    """MPI_Bcast of w in float64: `model` is w itself."""

    kind: int


class RoundedBroadcast(NamedTuple):
    """MPI_Bcast of w in floats of 32 or 16 bits. The root keeps the w that it rounds, so no rounding accumulates."""

    bits: int
    buffer: NDArray[np.uint8]
    dither: NDArray[np.float64]


class Everywhere(NamedTuple):
    """Nothing travels: the uplink has brought every rank what it needs."""

    kind: int


Downlink = Broadcast | RoundedBroadcast | Everywhere


def broadcast(bits: int, dimension: int) -> Downlink:
    """The broadcast in floats of 64, 32 or 16 bits."""
    if bits == 64:
        return Broadcast(0)
    return RoundedBroadcast(bits, np.empty(bits // 8 * dimension, np.uint8), np.empty(CHUNK))


def _at_the_root(downlink):
    return False


def _everywhere(downlink):
    return True


def _broadcast(downlink, comm, wire, round, seed, w, model):
    if comm.rank == ROOT:
        wire.totals[DOWNLINK] += 8 * len(w) * comm.size
    return bcast(comm, w)


def _bare_broadcast(downlink, comm, w):
    return bcast(comm, w)


def _rounded_broadcast(downlink, comm, wire, round, seed, w, model):
    if comm.rank == ROOT:
        pack(w, downlink.bits, downlink.buffer, Stream(seed, EVERYONE, np.uint64(round)), downlink.dither)
        wire.totals[DOWNLINK] += len(downlink.buffer) * comm.size
    code = bcast_bytes(comm, downlink.buffer)
    unpack(downlink.buffer, downlink.bits, model)
    return code


def _bare_rounded_broadcast(downlink, comm, w):
    return bcast_bytes(comm, downlink.buffer)


def _nothing(downlink, comm, wire, round, seed, w, model):
    return 0


def _bare_nothing(downlink, comm, w):
    return 0


_is_everywhere, _send_back = Operation("everywhere", _at_the_root), Operation("send_back", _broadcast)
_bare_send_back = Operation("bare_send_back", _bare_broadcast)
_is_everywhere.implement(Everywhere, _everywhere)
_send_back.implement(RoundedBroadcast, _rounded_broadcast)
_send_back.implement(Everywhere, _nothing)
_bare_send_back.implement(RoundedBroadcast, _bare_rounded_broadcast)
_bare_send_back.implement(Everywhere, _bare_nothing)
everywhere, send_back, bare_send_back = _is_everywhere.call, _send_back.call, _bare_send_back.call


@inlined
def decodes(downlink, comm):
    """Whether this rank decodes the round's messages and updates w."""
    return comm.rank == ROOT or everywhere(downlink)


@inlined
def transported(downlink, comm, wire, sent, received):
    """Enter the bytes that all ranks handed to MPI, and what each of them got where the uplink goes everywhere."""
    if comm.rank == ROOT:
        wire.totals[UPLINK] += sent
        if everywhere(downlink):
            wire.totals[DOWNLINK] += comm.size * received
