"""The ledger of sent bits and bytes: the root enters each message when it decodes it."""

from __future__ import annotations

from typing import Any

from .compilation import Integer, kernel
from .operations.compressor import checksum_bytes, information_bits
from .wire import INFORMATION_BITS, PAYLOAD_BYTES, Wire


@kernel
def enter(wire: Wire, compressor: Any, client: Integer, size: Integer) -> None:
    """Enter a message of `size` bytes in the ledger."""
    size -= checksum_bytes(compressor)
    bits = wire.fixed_bits if wire.fixed_size >= 0 else information_bits(compressor, size)
    wire.totals[INFORMATION_BITS] += bits
    wire.totals[PAYLOAD_BYTES] += size
    wire.client_payload[client] += size
    wire.histogram[size // wire.grain] += 1
