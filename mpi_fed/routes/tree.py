"""Messages by way of leaders: MPI_Gatherv to the first rank of each node, and from these to the root."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..compressors import Compressor
from ..engine.compilation import inlined, kernel
from ..engine.leader_tree import Tree, fell, tree_of
from ..engine.mpi_calls import ROOT, gather_counts, gatherv_bytes
from ..engine.operations.downlink import Downlink
from ..engine.operations.route import DECODE, RECEIVE, UPLINK, mark
from .base import Place, Route, routes
from .gatherv import decode_in_order, lay_out

if TYPE_CHECKING:
    from mpi4py import MPI

Counts = NDArray[np.int32]


class TreeKernel(NamedTuple):
    downlink: Downlink  # its path is the tree
    relay: NDArray[np.uint8]  # a leader's: the messages of its group
    counts: Counts  # (ranks of the group,), bytes; a leader's, as all below but the root's
    starts: Counts
    group_counts: Counts  # (groups,), bytes; the root's, of which a leader has its own
    group_starts: Counts
    sizes: Counts  # (ranks of the group * slots,): lengths of messages, where counts travel
    all_sizes: Counts  # (ranks * slots,): the root's, group by group
    size_counts: Counts  # (groups,): bytes of `sizes`
    size_starts: Counts


class Grouped(Route):
    """A route over two levels, of groups and of their leaders, which w takes back."""

    group_size: int | None = Field(None, ge=1)
    """Ranks a group, in their order; None for the ranks that share a node."""

    may_overlap: ClassVar[bool] = False

    def split(self, comm: MPI.Comm) -> MPI.Comm:
        """This rank's group, in the order of ranks."""
        if self.group_size:
            return comm.Split(comm.rank // self.group_size, comm.rank)
        from mpi4py import MPI

        return comm.Split_type(MPI.COMM_TYPE_SHARED, comm.rank)

    def tree(self, comm: MPI.Comm) -> Tree:
        """The communicators."""
        return tree_of(comm, self.split(comm))

    def close(self, kernel: Any) -> None:
        fell(kernel.downlink.path)


@kernel
def spread(order, slots, sizes, all_sizes):
    """all_sizes, by rank, <- the sizes of these ranks, in this order."""
    for p in range(len(order)):
        for slot in range(slots):
            all_sizes[order[p] * slots + slot] = sizes[p * slots + slot]


@kernel
def lay_out_groups(kernel, tree, wire):
    """From wire.counts, those and the starts of this rank's group and of all groups, and wire.starts by these."""
    at = np.int64(0)
    for g in range(len(kernel.group_counts)):
        kernel.group_starts[g] = at
        for p in range(tree.bounds[g], tree.bounds[g + 1]):
            wire.starts[tree.order[p]] = at
            at += wire.counts[tree.order[p]]
        kernel.group_counts[g] = at - kernel.group_starts[g]
    first = tree.bounds[tree.number]
    for m in range(len(kernel.counts)):
        rank = tree.order[first + m]
        kernel.counts[m] = wire.counts[rank]
        kernel.starts[m] = wire.starts[rank] - kernel.group_starts[tree.number]


@inlined
def collect_counts(kernel, comm, wire):
    """The MPI calls that bring lengths, where the senders alone know them: to leaders of their groups, to the root."""
    tree = kernel.downlink.path
    if not wire.counted:
        return 0
    code = gather_counts(tree.group, wire.sizes, kernel.sizes)
    if tree.leads and code == 0:
        group = tree.order[tree.bounds[tree.number] : tree.bounds[tree.number + 1]]
        spread(group, wire.slots, kernel.sizes, wire.all_sizes)
        own, whole = kernel.sizes.view(np.uint8), kernel.all_sizes.view(np.uint8)
        code = gatherv_bytes(tree.leaders, own, np.int32(len(own)), whole, kernel.size_counts, kernel.size_starts)
        if comm.rank == ROOT:
            spread(tree.order, wire.slots, kernel.all_sizes, wire.all_sizes)
    return code


@inlined
def collect(kernel, wire, size):
    """The MPI calls that bring the messages."""
    tree = kernel.downlink.path
    code = gatherv_bytes(tree.group, wire.send, np.int32(size), kernel.relay, kernel.counts, kernel.starts)
    if tree.leads and code == 0:
        own = kernel.group_counts[tree.number]
        code = gatherv_bytes(tree.leaders, kernel.relay, own, wire.receive, kernel.group_counts, kernel.group_starts)
    return code


@routes.register
class TreeRoute(Grouped):
    """Leaders pass on what their group sent: as many bytes reach the root, in fewer messages.

    The root decodes in the order of clients, so iterates are those of `gather`, bit for bit. What is handed to MPI is
    counted on both levels."""

    kind = "tree"
    Kernel: ClassVar[type] = TreeKernel

    def scratch_bytes(self, message: int, dimension: int, hosted: int, received: int) -> int:
        """What all leaders on the root's machine relay."""
        return super().scratch_bytes(message, dimension, hosted, received) + message * received

    def kernel_at(self, place: Place, compressor: Compressor, dimension: int) -> NamedTuple:
        tree = self.tree(place.comm)
        hosted, members = np.diff(place.hosts), np.diff(tree.bounds)
        own = tree.order[tree.bounds[tree.number] : tree.bounds[tree.number + 1]]
        slots, ranks, groups = int(hosted.max()), len(hosted), len(members)
        relayed = place.longest * int(hosted[own].sum()) if tree.leads else 1
        return self.Kernel(
            self.downlink(dimension, tree),
            np.zeros(max(1, relayed), np.uint8),
            *np.zeros((2, len(own)), np.int32),
            *np.zeros((2, groups), np.int32),
            np.zeros(slots * len(own), np.int32),
            np.zeros(slots * ranks, np.int32),
            (4 * slots * members).astype(np.int32),
            (4 * slots * tree.bounds[:-1]).astype(np.int32),
        )

    @staticmethod
    def uplink(kernel, comm, compressor, wire, jobs, round, seed, size, total):
        code = collect_counts(kernel, comm, wire)
        if code != 0:
            return code
        tree = kernel.downlink.path
        if tree.leads:
            lay_out(comm, compressor, wire, jobs, round, seed)
            lay_out_groups(kernel, tree, wire)
            mark(wire.clock, DECODE)
        code = collect(kernel, wire, size)
        mark(wire.clock, RECEIVE)
        if comm.rank == ROOT and code == 0:
            sent = decode_in_order(compressor, wire, jobs, round, seed, total)
            mark(wire.clock, DECODE)
            sent += 4 * len(wire.all_sizes) if wire.counted else 0
            wire.totals[UPLINK] += 2 * sent
        return code

    @staticmethod
    def bare(kernel, comm, wire, size):
        code = collect_counts(kernel, comm, wire)
        return collect(kernel, wire, size) if code == 0 else code
