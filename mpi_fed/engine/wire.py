"""The buffers of messages, and the arrays of the ledger."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .compilation import inlined

INFORMATION_BITS, PAYLOAD_BYTES, UPLINK_BYTES, DOWNLINK_BYTES = range(4)
"""Columns of the ledger's totals."""

HISTOGRAM_BINS = 1024
"""Number of bins of the histogram of payload sizes."""
SLACK = 4096
"""Number of spare bytes after the send buffer, so that a message that is too long overwrites no other data before the
error is detected."""


class Wire(NamedTuple):
    """Buffers and ledger of one configuration on one rank."""

    longest: int  # bytes of the longest message, checksums included
    max_messages: int  # largest number of messages in a round
    fixed_size: int  # bytes of every message, or -1 if lengths vary
    fixed_bits: int  # information bits of every message, if lengths do not vary
    lengths_exchanged: bool  # true if only senders know the lengths of messages, so that lengths are exchanged
    max_clients_per_rank: int  # slots of each rank if all ranks send the same number of bytes
    hosts: NDArray[np.int64]  # (ranks + 1,): rank r hosts the clients hosts[r] <= i < hosts[r + 1]
    stride: int  # bytes in `send` between the messages of two rounds, if `send` holds two rounds; else 0
    send: NDArray[np.uint8]
    receive: NDArray[np.uint8]  # used at the root, or on every rank if the route reaches all ranks
    sizes: NDArray[np.int32]  # (max_clients_per_rank,): bytes of this rank's messages, in order
    all_sizes: NDArray[np.int32]  # (ranks * max_clients_per_rank,): the sizes of all ranks, at the root
    counts: NDArray[np.int32]  # (ranks,): bytes of each rank's messages
    starts: NDArray[np.int32]  # (ranks,): index in `receive` of each rank's first byte
    totals: NDArray[np.int64]  # (4,), cumulative
    client_payload: NDArray[np.int64]  # (N,), cumulative
    histogram: NDArray[np.int64]  # number of messages by payload size // grain
    grain: int  # bytes of a bin
    clock: NDArray[np.float64]  # see phase_clock


@inlined
def start_of_messages(wire: Wire, round: int) -> int:
    """Return the index in wire.send of the first byte of this round's messages."""
    return wire.stride * (round & 1)
