"""The ledger of what was sent: messages enter it one by one, as the root decodes them."""

from __future__ import annotations

from .compilation import kernel
from .operations.compressor import checksum_bytes, information_bits
from .wire import INFORMATION_BITS, PAYLOAD_BYTES


@kernel
def enter(wire, compressor, client, size):
    """Enter a message of `size` bytes in the ledger."""
    size -= checksum_bytes(compressor)
    bits = wire.fixed_bits if wire.fixed_size >= 0 else information_bits(compressor, size)
    wire.totals[INFORMATION_BITS] += bits
    wire.totals[PAYLOAD_BYTES] += size
    wire.client_payload[client] += size
    wire.histogram[size // wire.grain] += 1
