"""The operations of a compressor in the compiled round."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..operation import by_name, operation
from ..random_streams import Stream

Vector = NDArray[np.float64]
"""A vector of coordinates (shape (d,))."""
Bytes = NDArray[np.uint8]
"""A buffer of bytes, one-dimensional."""

UNKNOWN = -1
"""Length of a message that only its sender knows; the route then exchanges lengths."""


class Message(NamedTuple):
    """The facts about a message that sender and receiver know in addition to its bytes.

    Attributes
    ----------
    stream : Stream
        The message's random numbers.
    clients : int
        N, the number of clients; 1 for a message of a compressed downlink.
    first : int
        Index of the message's first coordinate in the whole vector. Always 0, since a message holds a whole vector.
    """

    stream: Stream
    clients: int
    first: int


@operation(required=True)
def encode(kernel: Any, x: Vector, payload: Bytes, message: Message) -> int:
    """Write C(x) into the payload.

    Parameters
    ----------
    kernel : NamedTuple
        The kernel of the compressor.
    x : (d,) array of float64
        The vector to compress. Not changed.
    payload : array of uint8
        The buffer, of at least `payload_bytes_max` bytes.
    message : Message
        The message's random numbers.

    Returns
    -------
    int
        The number of bytes written, negative if a number is beyond the range of the payload's floats.
    """
    raise NotImplementedError


@operation(required=True)
def decode(kernel: Any, payload: Bytes, weight: float, out: Vector, message: Message) -> None:
    """Add weight C(x) to a vector: out <- out + weight C(x).

    Parameters
    ----------
    kernel : NamedTuple
        The kernel of the compressor.
    payload : array of uint8
        Exactly the bytes that `encode` wrote.
    weight : float
        The factor, 1/N for the mean over the clients.
    out : (d,) array of float64
        The vector to add to.
    message : Message
        The message's random numbers. The receiver knows only its SHARED numbers.
    """
    raise NotImplementedError


@operation
def length(kernel: Any, message: Message) -> int:
    """Return the length of a message if its shared random numbers determine it. Called only if lengths vary.

    Parameters
    ----------
    kernel : NamedTuple
        The kernel of the compressor.
    message : Message
        The message's random numbers.

    Returns
    -------
    int
        The number of bytes, or UNKNOWN (the default) if only the sender knows it.
    """
    return UNKNOWN


@operation
def information_bits(kernel: Any, size: int) -> int:
    """Return the number of bits of a message before it is rounded up to bytes. Called only if lengths vary.

    Parameters
    ----------
    kernel : NamedTuple
        The kernel of the compressor.
    size : int
        The number of bytes of the message.

    Returns
    -------
    int
        The number of bits; the default is 8 `size`.
    """
    return 8 * size


@operation
def checksum_bytes(kernel: Any) -> int:
    """Return the number of bytes at the end of a message that are checksums, not payload."""
    return 0


@operation
def participants(kernel: Any, seed: np.uint64, round: np.uint64, clients: int, out: NDArray[np.int64]) -> int:
    """Write the numbers of the clients that take part in a round. The default writes all clients.

    Parameters
    ----------
    kernel : NamedTuple
        The kernel of the compressor.
    seed : uint64
        The seed of the repetition.
    round : uint64
        k, the number of the round.
    clients : int
        N, the number of clients.
    out : array of int64
        The buffer for the numbers of the clients, ascending, with room for N.

    Returns
    -------
    int
        The number of clients written.
    """
    for i in range(clients):
        out[i] = i
    return clients


OPERATIONS = by_name(encode, decode, length, information_bits, checksum_bytes, participants)
