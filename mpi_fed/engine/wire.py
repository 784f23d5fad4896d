"""The buffers through which messages travel, and those of the ledger of what was sent."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .compilation import inlined

INFORMATION_BITS, PAYLOAD_BYTES, UPLINK_BYTES, DOWNLINK_BYTES = range(4)
"""Columns of the ledger's totals."""

HISTOGRAM_BINS = 1024
SLACK = 4096
"""Bytes behind the send buffer, so that a message that is too long spoils nothing before it is found."""


class Wire(NamedTuple):
    """Buffers and ledger of one configuration on one rank."""

    longest: int  # bytes of a message, checksums included
    max_messages: int  # of a round
    fixed_size: int  # bytes of every message, or -1 where lengths vary
    fixed_bits: int  # its information bits
    lengths_exchanged: bool  # only senders know the lengths of their messages
    max_clients_per_rank: int  # slots of a rank where all ranks send as many bytes
    hosts: NDArray[np.int64]  # (ranks + 1,): rank r hosts the clients hosts[r] <= i < hosts[r + 1]
    stride: int  # bytes from one round's messages in `send` to the next one's, where both are held; else 0
    send: NDArray[np.uint8]
    receive: NDArray[np.uint8]  # the root's, or every rank's where the route reaches all ranks
    sizes: NDArray[np.int32]  # (max_clients_per_rank,): bytes of this rank's messages, in order
    all_sizes: NDArray[np.int32]  # (ranks * max_clients_per_rank,): the root's, by rank
    counts: NDArray[np.int32]  # (ranks,): bytes of each rank's messages
    starts: NDArray[np.int32]  # (ranks,): where they begin in `receive`
    totals: NDArray[np.int64]  # (4,), cumulative
    client_payload: NDArray[np.int64]  # (N,), cumulative
    histogram: NDArray[np.int64]  # messages by payload size // grain
    grain: int
    clock: NDArray[np.float64]  # see phase_clock


@inlined
def start_of_messages(wire, round):
    """Where this round's messages begin in wire.send."""
    return wire.stride * (round & 1)
