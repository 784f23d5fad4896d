"""Messages with checksums (`route.self_check = true`), to find errors of a network or a codec.

A client decodes the payload that it has packed, and appends two checksums: of the bytes and of the decoded vector. The
receiver compares both with the message that arrived. The iterates are the same as without checksums. Checksums count as
transported bytes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .compilation import bits_of, kernel
from .operations.compressor import (
    UNKNOWN,
    Bytes,
    Message,
    Vector,
    checksum_bytes,
    decode,
    encode,
    information_bits,
    length,
    participants,
)
from .random_streams import THE_ROOT

TRAILER = 16
"""Number of bytes of the two checksums."""
NO_FAULT = -1
"""Value of the slots of `fault` until a wrong message arrives."""
BYTES, VECTOR = 0, 1
"""Kinds of faults: other bytes arrived than were sent, or the bytes decode to another vector than at the sender."""
_BASIS, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)  # of FNV-1a


SENDER, ROUND, KIND = range(3)
"""Slots of a kernel's `fault`."""


class CheckedKernel(NamedTuple):
    """The kernel of any compressor, with checksums at the end of its messages."""

    inner: Any
    decoded: NDArray[np.float64]  # (d,)
    fault: NDArray[np.int64]  # slots SENDER, ROUND, KIND (BYTES or VECTOR) of the first wrong message; else NO_FAULT


def fault_found(kernel: CheckedKernel) -> str | None:
    """Return a sentence about the first wrong message, or None if there was none."""
    client, round, kind = kernel.fault.tolist()
    if client == NO_FAULT:
        return None
    reason = "its bytes are not those that were sent"
    if kind == VECTOR:
        reason = "it decodes to another vector than at its sender"
    return f"in round {round} the message of {sender_name(client)} is wrong: {reason}"


def sender_name(client: int) -> str:
    """Return the name of the sender with this client number, an int64."""
    return "the root" if client == np.int64(THE_ROOT) else f"client {client}"


def checked(inner: NamedTuple, dimension: int) -> CheckedKernel:
    """Return a kernel that adds checksums to the messages of the kernel `inner` and verifies them."""
    return CheckedKernel(inner, np.zeros(dimension), np.full(3, NO_FAULT, np.int64))


@kernel
def checksum_of_bytes(payload: Bytes) -> np.uint64:
    """Return the 64-bit FNV-1a hash of the bytes. A change of any single byte changes the hash."""
    word = _BASIS
    for i in range(len(payload)):
        word = (word ^ np.uint64(payload[i])) * _PRIME
    return word


@kernel
def checksum_of_vector(x: Vector) -> np.uint64:
    """Return the 64-bit FNV-1a hash of the bits of float64 numbers, computed word by word."""
    word = _BASIS
    for j in range(len(x)):
        word = (word ^ bits_of(x[j])) * _PRIME
    return word


@kernel
def byte(word: np.uint64, i: int) -> np.uint8:
    """Return the i-th byte of a word; byte 0 is the lowest."""
    return np.uint8((word >> np.uint64(8 * i)) & np.uint64(255))


@kernel
def put(payload: Bytes, at: int, word: np.uint64) -> None:
    """payload[at : at + 8] <- word."""
    for i in range(8):
        payload[at + i] = byte(word, i)


@kernel
def differs(payload: Bytes, at: int, word: np.uint64) -> bool:
    """Return whether payload[at : at + 8] differs from the word."""
    same = True
    for i in range(8):
        same = same and payload[at + i] == byte(word, i)
    return not same


@encode.implement(CheckedKernel)
def _encode(kernel: CheckedKernel, x: Vector, payload: Bytes, message: Message) -> int:
    written = encode(kernel.inner, x, payload, message)
    size = abs(written)
    kernel.decoded.fill(0.0)
    decode(kernel.inner, payload[:size], 1.0, kernel.decoded, message)
    put(payload, size, checksum_of_bytes(payload[:size]))
    put(payload, size + 8, checksum_of_vector(kernel.decoded))
    return size + TRAILER if written >= 0 else -(size + TRAILER)


@decode.implement(CheckedKernel)
def _decode(kernel: CheckedKernel, payload: Bytes, weight: float, out: Vector, message: Message) -> None:
    size = len(payload) - TRAILER
    kernel.decoded.fill(0.0)
    decode(kernel.inner, payload[:size], 1.0, kernel.decoded, message)
    if kernel.fault[SENDER] == NO_FAULT:
        fault = NO_FAULT
        if differs(payload, size, checksum_of_bytes(payload[:size])):
            fault = BYTES
        elif differs(payload, size + 8, checksum_of_vector(kernel.decoded)):
            fault = VECTOR
        if fault != NO_FAULT:
            sender, round = message.stream.client, message.stream.round
            kernel.fault[SENDER], kernel.fault[ROUND], kernel.fault[KIND] = np.int64(sender), np.int64(round), fault
    decode(kernel.inner, payload[:size], weight, out, message)


@length.implement(CheckedKernel)
def _length(kernel: CheckedKernel, message: Message) -> int:
    size = length(kernel.inner, message)
    return size if size == UNKNOWN else size + TRAILER


@information_bits.implement(CheckedKernel)
def _information_bits(kernel: CheckedKernel, size: int) -> int:
    return information_bits(kernel.inner, size)


@participants.implement(CheckedKernel)
def _participants(
    kernel: CheckedKernel, seed: np.uint64, round: np.uint64, clients: int, out: NDArray[np.int64]
) -> int:
    return participants(kernel.inner, seed, round, clients, out)


@checksum_bytes.implement(CheckedKernel)
def _checksum_bytes(kernel: CheckedKernel) -> int:
    return TRAILER
