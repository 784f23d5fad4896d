"""MPI_Allgather of payloads of one fixed length: every rank decodes them all and updates for itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..downlink import Downlink
from ..mpi import ROOT, allgather_bytes
from ..wire import DECODE, DOWNLINK, RECEIVE, UPLINK, mark
from .base import routes
from .gather import Gather, decode_slots


class AllgatherKernel(NamedTuple):
    downlink: Downlink


@routes.register
class Allgather(Gather):
    """What comes down are the clients' payloads, and no iterate: fewer bytes while N payloads are smaller than w."""

    kind = "allgather"
    everywhere = True
    Kernel = AllgatherKernel

    @staticmethod
    def uplink(kernel, comm, compressor, wire, jobs, round, seed, size, total):
        block = wire.slots * wire.fixed_size
        code = allgather_bytes(comm, wire.send, np.int32(block), wire.receive)
        mark(wire.clock, RECEIVE)
        if comm.rank == ROOT:
            wire.totals[UPLINK] += comm.size * block
            wire.totals[DOWNLINK] += comm.size * comm.size * block
        if code == 0:
            decode_slots(comm, compressor, wire, jobs, round, seed, total)
            mark(wire.clock, DECODE)
        return code
