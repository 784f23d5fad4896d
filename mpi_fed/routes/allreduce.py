"""MPI_Allreduce: messages are added up on their way, and every rank decodes the sum and updates for itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..downlink import Downlink
from ..mpi import ROOT, allreduce_sum
from ..streams import EVERYONE, Stream
from ..wire import DOWNLINK, RECEIVE, UPLINK, mark
from .base import Array, routes
from .reduce import Reduce, add_up, decode_sum


class AllreduceKernel(NamedTuple):
    downlink: Downlink
    bits: int
    sum: Array
    values: Array
    dither: Array


@routes.register
class Allreduce(Reduce):
    """What data-parallel training without compression does. The sum comes down, as long as a message."""

    kind = "allreduce"
    everywhere = True
    Kernel = AllreduceKernel

    @staticmethod
    def uplink(kernel, comm, compressor, wire, jobs, round, seed, size, total):
        stream = Stream(seed, EVERYONE, np.uint64(round))
        each = add_up(kernel, compressor, wire, stream, size)
        kind = comm.float64 if kernel.bits == 64 else comm.float32
        code = allreduce_sum(comm, wire.send, wire.receive, np.int32(8 * each // kernel.bits), kind)
        mark(wire.clock, RECEIVE)
        if comm.rank == ROOT:
            wire.totals[UPLINK] += comm.size * each
            wire.totals[DOWNLINK] += comm.size * each
        if code == 0:
            decode_sum(compressor, wire, jobs, stream, each, total)
        return code
