"""Messages from rank 1 to rank 0: encoded, sent and decoded by compiled code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..engine.compilation import compiling, kernel
from ..engine.mpi_calls import ROOT, Comm, comm_of, gather_counts, gatherv_bytes
from ..engine.operations.compressor import Message, decode, encode, information_bits, length, participants
from ..engine.random_streams import Stream

if TYPE_CHECKING:
    from mpi4py import MPI

CLIENTS = 2
"""Clients that send in each round, both on rank 1."""
SEED = np.uint64(20221117)

Array = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Counts = NDArray[np.int32]


class Batch(NamedTuple):
    """Messages of a few rounds, ordered by round and client; those of absent clients are empty."""

    first: int  # number of the first round
    participants: NDArray[np.int64]  # scratch, (CLIENTS,)
    sizes: NDArray[np.int32]  # bytes, as sent by the sender; negated for an overflow
    lengths: NDArray[np.int64]  # bytes, as `length` computes them from shared random numbers, or UNKNOWN
    bits: NDArray[np.int64]  # as `information_bits` returns them
    present: NDArray[np.bool_]
    decoded: Array  # (messages, d): start + weight C(x), or start where absent


@kernel
def encode_messages(compressor: Any, seed: np.uint64, x: Array, batch: Batch, payload: Bytes) -> int:
    """Write the clients' messages of x, (d,), one after the other into payload; return their bytes."""
    total = 0
    for row in range(0, len(batch.sizes), CLIENTS):
        round = np.uint64(batch.first + row // CLIENTS)
        count = participants(compressor, seed, round, CLIENTS, batch.participants)
        for j in range(count):
            client = batch.participants[j]
            message = Message(Stream(seed, np.uint64(client), round), CLIENTS, 0)
            size = encode(compressor, x, payload[total:], message)
            batch.sizes[row + client] = size
            total += abs(size)
    return total


@kernel
def ship(
    comm: Comm,
    payload: Bytes,
    total: int,
    sizes: Counts,
    received: Bytes,
    all_sizes: Counts,
    counts: Counts,
    starts: Counts,
) -> int:
    """Send sizes, then the `total` bytes of payload, to the root; return MPI's error code."""
    code = gather_counts(comm, sizes, all_sizes)
    if code != 0:
        return code
    if comm.rank == ROOT:
        counts.fill(0)
        for i in range(len(all_sizes)):
            counts[i // len(sizes)] += abs(all_sizes[i])
    return gatherv_bytes(comm, payload, np.int32(total), received, counts, starts)


@kernel
def decode_messages(compressor: Any, seed: np.uint64, weight: float, payload: Bytes, batch: Batch) -> None:
    """Add weight C(x) to batch.decoded, each message decoded from its own bytes alone."""
    start = 0
    for row in range(0, len(batch.sizes), CLIENTS):
        round = np.uint64(batch.first + row // CLIENTS)
        count = participants(compressor, seed, round, CLIENTS, batch.participants)
        for j in range(count):
            client = batch.participants[j]
            place, size = row + client, abs(batch.sizes[row + client])
            message = Message(Stream(seed, np.uint64(client), round), CLIENTS, 0)
            batch.present[place] = True
            batch.lengths[place] = length(compressor, message)
            batch.bits[place] = information_bits(compressor, size)
            decode(compressor, payload[start : start + size], weight, batch.decoded[place], message)
            start += size


def batch_of(rounds: range, dimension: int, start: float = 0.0) -> Batch:
    """Return an empty batch, with batch.decoded filled with `start`."""
    n = len(rounds) * CLIENTS
    return Batch(
        first=rounds.start,
        participants=np.zeros(CLIENTS, np.int64),
        sizes=np.zeros(n, np.int32),
        lengths=np.zeros(n, np.int64),
        bits=np.zeros(n, np.int64),
        present=np.zeros(n, np.bool_),
        decoded=np.full((n, dimension), start),
    )


class Channel:
    """Connection between two ranks, which call the same methods in the same order."""

    def __init__(self, comm: MPI.Comm) -> None:
        from mpi4py import MPI

        self.mpi, self.comm = comm, comm_of(comm)
        self.is_root = comm.rank == ROOT
        self._buffers = (np.zeros(0, np.uint8), np.zeros(0, np.uint8))
        with compiling("channel"):
            nothing = np.zeros(1, np.uint8)
            self._ship(comm_of(MPI.COMM_SELF), nothing, 0, np.zeros(CLIENTS, np.int32), np.zeros_like(nothing))

    def prepare(self, kernel: Any) -> None:
        """Compile or load the code for a kind of compressor."""
        empty, x, payload = batch_of(range(0), 1), np.zeros(1), np.zeros(1, np.uint8)
        with compiling("messages", kernel), np.errstate(all="ignore"):
            encode_messages(kernel, SEED, x, empty, payload)
            decode_messages(kernel, SEED, 1.0, payload, empty)

    def send(
        self, kernel: Any, most: int, x: Array, rounds: range, weight: float = 1.0, start: float = 0.0
    ) -> tuple[Batch, Bytes]:
        """Send x, (d,), in each of `rounds` from every client; return the batch, decoded at the root, and the bytes.

        `kernel` belongs to this rank; `most` is the bytes of its longest message. The bytes are valid until the next
        call.
        """
        batch = batch_of(rounds, len(x) if self.is_root else 0, start)
        needed, total = most * len(batch.sizes), 0
        if len(self._buffers[0]) <= needed:
            self._buffers = (np.zeros(needed + 1, np.uint8), np.zeros(needed + 1, np.uint8))
        payload, received = self._buffers
        with np.errstate(all="ignore"):
            if not self.is_root:
                total = encode_messages(kernel, SEED, x, batch, payload)
            sizes = self._ship(self.comm, payload, total, batch.sizes, received)
            if self.is_root:
                batch.sizes[:] = sizes[len(batch.sizes) :]
                decode_messages(kernel, SEED, weight, received, batch)
        return batch, payload[:total]

    def _ship(self, comm: Comm, payload: Bytes, total: int, sizes: Counts, received: Bytes) -> Counts:
        counts, starts = np.zeros(comm.size, np.int32), np.zeros(comm.size, np.int32)
        all_sizes = np.zeros(comm.size * len(sizes), np.int32)
        code = ship(comm, payload, total, sizes, received, all_sizes, counts, starts)
        if code != 0:
            from mpi4py import MPI

            raise RuntimeError(f"an MPI call failed: {MPI.Get_error_string(code)}")
        return all_sizes
