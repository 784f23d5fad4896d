"""The ledger of sent bits and bytes: the root enters each message when the message is decoded."""

from __future__ import annotations

from typing import Any

from .compilation import Integer, kernel
from .operations.compressor import checksum_bytes, information_bits
from .wire import INFORMATION_BITS, PAYLOAD_BYTES, Wire


@kernel
def enter(wire: Wire, compressor: Any, client: Integer, size: Integer) -> None:
    """Enter a message in the ledger.

    Parameters
    ----------
    wire : Wire
        The buffers and the ledger of this rank.
    compressor : NamedTuple
        The kernel of the compressor.
    client : int
        The number of the sender.
    size : int
        The number of bytes of the message, including checksums.
    """
    size -= checksum_bytes(compressor)
    bits = wire.fixed_bits if wire.fixed_size >= 0 else information_bits(compressor, size)
    wire.totals[INFORMATION_BITS] += bits
    wire.totals[PAYLOAD_BYTES] += size
    wire.client_payload[client] += size
    wire.histogram[size // wire.grain] += 1
