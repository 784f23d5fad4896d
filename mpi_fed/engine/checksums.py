"""Messages that carry checksums: `route.self_check = true`, for whoever does not trust a network or a codec.

A client decodes what it has packed, and sends behind it a checksum of the bytes and one of the decoded vector. Whoever
decodes holds both against what arrived. The iterates are those of a run without, the checksums count as transported.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .compilation import bits_of, kernel
from .operations.compressor import (
    UNKNOWN,
    checksum_bytes,
    decode,
    encode,
    information_bits,
    length,
    participants,
)
from .random_streams import THE_ROOT

TRAILER = 16
"""Bytes of the two checksums."""
SOUND = -1
BYTES, VECTOR = 0, 1
"""What was found to differ: the bytes that arrived, or the vector that they decode to."""
_BASIS, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)  # of FNV-1a


SENDER, ROUND, WHAT = range(3)
"""Slots of a kernel's `fault`."""


class CheckedKernel(NamedTuple):
    """Any compressor's kernel, whose messages get the trailer."""

    inner: Any
    decoded: NDArray[np.float64]  # (d,)
    fault: NDArray[np.int64]  # slots SENDER, ROUND, WHAT (BYTES or VECTOR) of the first wrong message; else SOUND


def fault_found(kernel: CheckedKernel) -> str | None:
    """What was found wrong with a message, if anything was."""
    client, round, what = kernel.fault.tolist()
    if client == SOUND:
        return None
    how = "its bytes are not those that were sent"
    if what == VECTOR:
        how = "it decodes to another vector than its sender decoded"
    return f"in round {round} the message of {sender_name(client)} is wrong: {how}"


def sender_name(client: int) -> str:
    """Who a client number, as an int64, means."""
    return "the root" if client == np.int64(THE_ROOT) else f"client {client}"


def checked(inner: NamedTuple, dimension: int) -> CheckedKernel:
    """The kernel that checks every message of another one."""
    return CheckedKernel(inner, np.zeros(dimension), np.full(3, SOUND, np.int64))


@kernel
def checksum_of_bytes(payload):
    """FNV-1a, 64 bits: each change of a single byte shows."""
    word = _BASIS
    for i in range(len(payload)):
        word = (word ^ np.uint64(payload[i])) * _PRIME
    return word


@kernel
def checksum_of_vector(x):
    """The same over the bits of float64."""
    word = _BASIS
    for j in range(len(x)):
        word = (word ^ bits_of(x[j])) * _PRIME
    return word


@kernel
def byte(word, i):
    """The i-th byte of a word, the lowest first."""
    return np.uint8((word >> np.uint64(8 * i)) & np.uint64(255))


@kernel
def put(payload, at, word):
    """payload[at : at + 8] <- word."""
    for i in range(8):
        payload[at + i] = byte(word, i)


@kernel
def differs(payload, at, word):
    """Whether payload[at : at + 8] is another word."""
    same = True
    for i in range(8):
        same = same and payload[at + i] == byte(word, i)
    return not same


@encode.implement(CheckedKernel)
def _encode(kernel, x, payload, message):
    written = encode(kernel.inner, x, payload, message)
    size = abs(written)
    kernel.decoded.fill(0.0)
    decode(kernel.inner, payload[:size], 1.0, kernel.decoded, message)
    put(payload, size, checksum_of_bytes(payload[:size]))
    put(payload, size + 8, checksum_of_vector(kernel.decoded))
    return size + TRAILER if written >= 0 else -(size + TRAILER)


@decode.implement(CheckedKernel)
def _decode(kernel, payload, weight, out, message):
    size = len(payload) - TRAILER
    kernel.decoded.fill(0.0)
    decode(kernel.inner, payload[:size], 1.0, kernel.decoded, message)
    if kernel.fault[SENDER] == SOUND:
        fault = SOUND
        if differs(payload, size, checksum_of_bytes(payload[:size])):
            fault = BYTES
        elif differs(payload, size + 8, checksum_of_vector(kernel.decoded)):
            fault = VECTOR
        if fault != SOUND:
            sender, round = message.stream.client, message.stream.round
            kernel.fault[SENDER], kernel.fault[ROUND], kernel.fault[WHAT] = np.int64(sender), np.int64(round), fault
    decode(kernel.inner, payload[:size], weight, out, message)


@length.implement(CheckedKernel)
def _length(kernel, message):
    size = length(kernel.inner, message)
    return size if size == UNKNOWN else size + TRAILER


@information_bits.implement(CheckedKernel)
def _information_bits(kernel, size):
    return information_bits(kernel.inner, size)


@participants.implement(CheckedKernel)
def _participants(kernel, seed, round, clients, out):
    return participants(kernel.inner, seed, round, clients, out)


@checksum_bytes.implement(CheckedKernel)
def _checksum_bytes(kernel):
    return TRAILER
