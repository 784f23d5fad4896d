"""The operations of a compressor in the compiled round."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..operation import by_name, operation
from ..random_streams import Stream

Vector = NDArray[np.float64]
Bytes = NDArray[np.uint8]

UNKNOWN = -1
"""Length of a message that only its sender knows; the route then exchanges lengths."""


class Message(NamedTuple):
    """The facts about a message that sender and receiver know besides its bytes."""

    stream: Stream  # its random numbers, by seed, client and round
    clients: int  # N, the number of clients
    first: int  # index of the message's first coordinate in the whole vector; always 0, as messages are whole vectors


@operation(required=True)
def encode(kernel: Any, x: Vector, payload: Bytes, message: Message) -> int:
    """Write C(x), for x of shape (d,), into the byte buffer `payload`.

    Return the number of bytes written, negated if a number overflowed the wire's floats.
    """
    raise NotImplementedError


@operation(required=True)
def decode(kernel: Any, payload: Bytes, weight: float, out: Vector, message: Message) -> None:
    """Add weight C(x) to `out`, (d,), computed from exactly the bytes sent and the shared random numbers."""
    raise NotImplementedError


@operation
def length(kernel: Any, message: Message) -> int:
    """Return the bytes of a message if its shared random numbers determine them, else UNKNOWN.

    Called only if lengths vary.
    """
    return UNKNOWN


@operation
def information_bits(kernel: Any, size: int) -> int:
    """Return the bits of a message of `size` bytes before rounding to bytes. Called only if lengths vary."""
    return 8 * size


@operation
def checksum_bytes(kernel: Any) -> int:
    """Return the number of bytes at the end of a message that are checksums, not payload."""
    return 0


@operation
def participants(kernel: Any, seed: np.uint64, round: np.uint64, clients: int, out: NDArray[np.int64]) -> int:
    """Write the clients that take part in a round into `out`, ascending, and return their number."""
    for i in range(clients):
        out[i] = i
    return clients


OPERATIONS = by_name(encode, decode, length, information_bits, checksum_bytes, participants)
