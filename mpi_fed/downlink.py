"""How the new iterate comes to every rank: what a route's kernel holds as `downlink`, whose type chooses the code.

everywhere(downlink)                                            every rank has the mean message and updates for itself
send_back(downlink, comm, wire, round, seed, w, model)          the root's w to everyone's `model`, at which gradients
                                                                are taken, and into the ledger; MPI's error code
bare_send_back(downlink, comm, w)                               the MPI calls of send_back alone, with what it left in
                                                                its buffers, for `mpi-fed bench`; MPI's error code

A broadcast has a `path`, whose type chooses likewise how the root's array travels: in one MPI_Bcast, or down a tree.

pass_on(path, comm, array)                                      the root's float64 or byte array to everyone; MPI's
                                                                error code
receipts(path, comm)                                            how often a rank gets it, summed over ranks
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .jit import Operation, inlined
from .mpi import ROOT, bcast
from .streams import EVERYONE, Stream
from .tree import Tree
from .values import CHUNK, pack, unpack
from .wire import DOWNLINK, UPLINK


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


Downlink = Broadcast | RoundedBroadcast | Everywhere


def broadcast(bits: int, dimension: int, path: Path = DIRECT) -> Downlink:
    """The broadcast in floats of 64, 32 or 16 bits."""
    if bits == 64:
        return Broadcast(path)
    return RoundedBroadcast(path, bits, np.empty(bits // 8 * dimension, np.uint8), np.empty(CHUNK))


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


def _at_the_root(downlink):
    return False


def _everywhere(downlink):
    return True


def _broadcast(downlink, comm, wire, round, seed, w, model):
    if comm.rank == ROOT:
        wire.totals[DOWNLINK] += 8 * len(w) * receipts(downlink.path, comm)
    return pass_on(downlink.path, comm, w)


def _bare_broadcast(downlink, comm, w):
    return pass_on(downlink.path, comm, w)


def _rounded_broadcast(downlink, comm, wire, round, seed, w, model):
    if comm.rank == ROOT:
        pack(w, downlink.bits, downlink.buffer, Stream(seed, EVERYONE, np.uint64(round)), downlink.dither)
        wire.totals[DOWNLINK] += len(downlink.buffer) * receipts(downlink.path, comm)
    code = pass_on(downlink.path, comm, downlink.buffer)
    unpack(downlink.buffer, downlink.bits, model)
    return code


def _bare_rounded_broadcast(downlink, comm, w):
    return pass_on(downlink.path, comm, downlink.buffer)


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
