"""MPI_Gather of payloads of one fixed length, then MPI_Bcast of w."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..codec import decode
from ..compressors import Compressor
from ..mpi import ROOT, gather_bytes
from ..streams import Stream
from ..wire import DECODE, RECEIVE, UPLINK, enter, mark
from .base import Route, routes


class GatherKernel(NamedTuple):
    kind: int


@routes.register
class Gather(Route):
    """Every rank hands MPI_Gather as many slots as the fullest rank hosts clients; empty slots count as transported."""

    kind = "gather"
    Kernel = GatherKernel

    def check(self, compressor: Compressor) -> None:
        if not compressor.fixed_length:
            raise ValueError(
                f'route kind = "gather" carries payloads of one length, and those of {compressor.kind} vary; '
                f'give kind = "gatherv" or "auto"'
            )

    def kernel(self) -> GatherKernel:
        return GatherKernel(0)

    @staticmethod
    def uplink(kernel, comm, compressor, wire, jobs, round, seed, size, total):
        each = wire.fixed_size
        block = wire.slots * each
        code = gather_bytes(comm, wire.send, np.int32(block), wire.receive)
        mark(wire.clock, RECEIVE)
        if comm.rank != ROOT or code != 0:
            return code
        wire.totals[UPLINK] += comm.size * block
        weight = 1.0 / np.float64(jobs.clients)
        for rank in range(comm.size):
            for i in range(wire.hosts[rank], wire.hosts[rank + 1]):
                at = rank * block + (i - wire.hosts[rank]) * each
                stream = Stream(seed, np.uint64(i), np.uint64(round))
                decode(compressor, wire.receive[at : at + each], weight, total, stream)
                enter(wire, compressor, i, each)
        mark(wire.clock, DECODE)
        return code

    @staticmethod
    def bare(kernel, comm, wire, size):
        return gather_bytes(comm, wire.send, np.int32(wire.slots * wire.fixed_size), wire.receive)
