"""Messages from rank 1 to rank 0, which compiled code encodes, sends and decodes."""

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
"""Number of clients that send in each round. Both clients are on rank 1."""
SEED = np.uint64(20221117)
"""Seed of the random numbers of all messages."""

Array = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Counts = NDArray[np.int32]


class Batch(NamedTuple):
    """Messages of a few rounds, ordered by round and client. The messages of absent clients are empty."""

    first: int  # number of the first round
    participants: NDArray[np.int64]  # scratch, (CLIENTS,)
    sizes: NDArray[np.int32]  # (messages,): numbers of bytes, from the sender; negative for an overflow
    lengths: NDArray[np.int64]  # (messages,): results of `length`: numbers of bytes, or UNKNOWN
    bits: NDArray[np.int64]  # (messages,): results of `information_bits`
    present: NDArray[np.bool_]  # (messages,): false for absent clients
    decoded: Array  # (messages, d): start + weight C(x), or start where absent


@kernel
def encode_messages(compressor: Any, seed: np.uint64, x: Array, batch: Batch, payload: Bytes) -> int:
    """Encode x (shape (d,)) for each round and client, one message after the other; return the number of bytes."""
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
    """Send `sizes` and then the `total` bytes of `payload` to the root; return MPI's error code."""
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
    """Decode each message from only its own bytes, and add weight C(x) to its row of batch.decoded."""
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
    """Return a batch without messages for these rounds; batch.decoded is filled with `start`."""
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
        """Compile or load the code for the kernel of a compressor."""
        empty, x, payload = batch_of(range(0), 1), np.zeros(1), np.zeros(1, np.uint8)
        with compiling("messages", kernel), np.errstate(all="ignore"):
            encode_messages(kernel, SEED, x, empty, payload)
            decode_messages(kernel, SEED, 1.0, payload, empty)

    def send(
        self, kernel: Any, longest: int, x: Array, rounds: range, weight: float = 1.0, start: float = 0.0
    ) -> tuple[Batch, Bytes]:
        """Send x (shape (d,)) from every client in each of `rounds`; return the batch and the payload.

        `kernel` belongs to this rank, and `longest` is the number of bytes of its longest message. Only the root
        decodes the batch, and only the sender gets the payload, which is valid until the next call.
        """
        batch = batch_of(rounds, len(x) if self.is_root else 0, start)
        needed, total = longest * len(batch.sizes), 0
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
