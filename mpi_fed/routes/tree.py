"""Messages by way of leaders: MPI_Gatherv to the first rank of each node, and from these to the root."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..compressors import Compressor
from ..engine.compilation import inlined, kernel
from ..engine.leader_tree import Tree, free_tree, tree_of
from ..engine.mpi_calls import ROOT, gather_counts, gatherv_bytes
from ..engine.operations.downlink import Downlink
from ..engine.phase_clock import DECODE, UPLINK, mark
from ..engine.wire import UPLINK_BYTES
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
    sizes: Counts  # (ranks of the group * max_clients_per_rank,): lengths of messages, where they are exchanged
    all_sizes: Counts  # (ranks * max_clients_per_rank,): the root's, group by group
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
        free_tree(kernel.downlink.path)


@kernel
def spread(order, slots, sizes, all_sizes):
    """all_sizes, by rank, <- the sizes of these ranks, in this order."""
    for p in range(len(order)):
        for slot in range(slots):
            all_sizes[order[p] * slots + slot] = sizes[p * slots + slot]


@kernel
def lay_out_groups(kernel, tree, wire):
    """From wire.counts, those and the starts of this rank's group and of all groups, and wire.starts by these."""
    start = np.int64(0)
    for g in range(len(kernel.group_counts)):
        kernel.group_starts[g] = start
        for p in range(tree.bounds[g], tree.bounds[g + 1]):
            wire.starts[tree.order[p]] = start
            start += wire.counts[tree.order[p]]
        kernel.group_counts[g] = start - kernel.group_starts[g]
    first = tree.bounds[tree.number]
    for m in range(len(kernel.counts)):
        rank = tree.order[first + m]
        kernel.counts[m] = wire.counts[rank]
        kernel.starts[m] = wire.starts[rank] - kernel.group_starts[tree.number]


@inlined
def collect_lengths(kernel, comm, wire):
    """The MPI calls that bring lengths, where the senders alone know them: to leaders of their groups, to the root."""
    tree = kernel.downlink.path
    if not wire.lengths_exchanged:
        return 0
    code = gather_counts(tree.group, wire.sizes, kernel.sizes)
    if tree.leads and code == 0:
        group = tree.order[tree.bounds[tree.number] : tree.bounds[tree.number + 1]]
        spread(group, wire.max_clients_per_rank, kernel.sizes, wire.all_sizes)
        lengths, all_lengths = kernel.sizes.view(np.uint8), kernel.all_sizes.view(np.uint8)
        count = np.int32(len(lengths))
        code = gatherv_bytes(tree.leaders, lengths, count, all_lengths, kernel.size_counts, kernel.size_starts)
        if comm.rank == ROOT:
            spread(tree.order, wire.max_clients_per_rank, kernel.all_sizes, wire.all_sizes)
    return code


@inlined
def collect(kernel, wire, size):
    """The MPI calls that bring the messages."""
    tree = kernel.downlink.path
    code = gatherv_bytes(tree.group, wire.send, np.int32(size), kernel.relay, kernel.counts, kernel.starts)
    if tree.leads and code == 0:
        size = kernel.group_counts[tree.number]
        code = gatherv_bytes(tree.leaders, kernel.relay, size, wire.receive, kernel.group_counts, kernel.group_starts)
    return code


@routes.register
class TreeRoute(Grouped):
    """Leaders pass on what their group sent: as many bytes reach the root, in fewer messages.

    The root decodes in the order of clients, so iterates are those of `gather`, bit for bit. What is handed to MPI is
    counted on both levels.
    """

    kind = "tree"
    Kernel: ClassVar[Any] = TreeKernel

    def scratch_bytes(self, message: int, dimension: int, hosted: int, received: int) -> int:
        """What all leaders on the root's machine relay."""
        return super().scratch_bytes(message, dimension, hosted, received) + message * received

    def kernel(self, place: Place, compressor: Compressor, dimension: int) -> NamedTuple:
        tree = self.tree(place.comm)
        hosted, members = np.diff(place.hosts), np.diff(tree.bounds)
        group = tree.order[tree.bounds[tree.number] : tree.bounds[tree.number + 1]]
        most, ranks, groups = int(hosted.max()), len(hosted), len(members)
        relayed = place.longest * int(hosted[group].sum()) if tree.leads else 1
        return self.Kernel(
            downlink=self.downlink(dimension, tree),
            relay=np.zeros(max(1, relayed), np.uint8),
            counts=np.zeros(len(group), np.int32),
            starts=np.zeros(len(group), np.int32),
            group_counts=np.zeros(groups, np.int32),
            group_starts=np.zeros(groups, np.int32),
            sizes=np.zeros(most * len(group), np.int32),
            all_sizes=np.zeros(most * ranks, np.int32),
            size_counts=(4 * most * members).astype(np.int32),
            size_starts=(4 * most * tree.bounds[:-1]).astype(np.int32),
        )

    @staticmethod
    def uplink(kernel, round, total):
        comm, wire, tree = round.comm, round.wire, kernel.downlink.path
        code = collect_lengths(kernel, comm, wire)
        if code != 0:
            return code
        if tree.leads:
            lay_out(round)
            lay_out_groups(kernel, tree, wire)
            mark(wire.clock, DECODE)
        code = collect(kernel, wire, round.size)
        mark(wire.clock, UPLINK)
        if comm.rank == ROOT and code == 0:
            sent = decode_in_order(round, total)
            mark(wire.clock, DECODE)
            sent += 4 * len(wire.all_sizes) if wire.lengths_exchanged else 0
            wire.totals[UPLINK_BYTES] += 2 * sent
        return code

    @staticmethod
    def bare_uplink(kernel, comm, wire, size):
        code = collect_lengths(kernel, comm, wire)
        return collect(kernel, wire, size) if code == 0 else code
