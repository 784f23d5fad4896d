"""MPI_Allgatherv of payloads of any length: every rank decodes them all and updates for itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..downlink import Downlink
from ..mpi import ROOT, allgather_counts, allgatherv_bytes
from ..wire import DECODE, DOWNLINK, RECEIVE, UPLINK, mark
from .base import routes
from .gatherv import Gatherv, decode_in_order, lay_out


class AllgathervKernel(NamedTuple):
    downlink: Downlink


@routes.register
class Allgatherv(Gatherv):
    """Every rank knows every length from the shared seed; explicit indices cost an MPI_Allgather of counts."""

    kind = "allgatherv"
    everywhere = True
    Kernel = AllgathervKernel

    @staticmethod
    def uplink(kernel, comm, compressor, wire, jobs, round, seed, size, total):
        if wire.counted:
            code = allgather_counts(comm, wire.sizes, wire.all_sizes)
            if code != 0:
                return code
        lay_out(comm, compressor, wire, jobs, round, seed)
        mark(wire.clock, DECODE)
        code = allgatherv_bytes(comm, wire.send, np.int32(size), wire.receive, wire.counts, wire.starts)
        mark(wire.clock, RECEIVE)
        if code == 0:
            sent = decode_in_order(compressor, wire, jobs, round, seed, total)
            mark(wire.clock, DECODE)
            if comm.rank == ROOT:
                sent += 4 * len(wire.all_sizes) if wire.counted else 0
                wire.totals[UPLINK] += sent
                wire.totals[DOWNLINK] += comm.size * sent
        return code
