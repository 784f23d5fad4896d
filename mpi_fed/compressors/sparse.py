"""Payload of a few coordinates as floats, with or without their indices, for `bernoulli`, `rand-h` and `top-k`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..engine.compilation import kernel
from ..engine.operations.compressor import Bytes, Vector
from ..engine.random_streams import Stream
from ..engine.wire_floats import CHUNK, pack, unpack


class SparseWire(NamedTuple):
    """Format of the kept coordinates in a payload, and scratch space to pack and unpack them."""

    value_bits: int  # bits of a float
    index_bits: int  # bits of an index; 0 if the indices are drawn from the shared seed
    kept: NDArray[np.int64]  # (max_kept,): the indices of the kept coordinates
    values: NDArray[np.float64]  # (max_kept,): the kept coordinates
    dither: NDArray[np.float64]  # (CHUNK,): uniform numbers for rounding at random


def sparse_wire(max_kept: int, value_bits: int, index_bits: int) -> SparseWire:
    """Return the format and scratch space for at most `max_kept` coordinates."""
    return SparseWire(value_bits, index_bits, np.empty(max_kept, np.int64), np.empty(max_kept), np.empty(CHUNK))


@kernel
def send_kept(wire: SparseWire, count: int, x: Vector, payload: Bytes, stream: Stream) -> int:
    """Pack the coordinates x[wire.kept[:count]] and then, if they are explicit, their indices.

    Returns the number of bytes, negative if a value is too large for the float format. x has shape (d,).
    """
    values = wire.values[:count]
    for i in range(count):
        values[i] = x[wire.kept[i]]
    size = pack(values, wire.value_bits, payload, stream, wire.dither)
    if wire.index_bits == 0:
        return size
    sign = 1 if size >= 0 else -1
    return sign * (sign * size + _pack_indices(wire.kept[:count], wire.index_bits, payload[sign * size :]))


@kernel
def add_kept(wire: SparseWire, count: int, payload: Bytes, weight: float, out: Vector) -> None:
    """Unpack the values of `count` coordinates, and add weight times each value to its coordinate of out (shape (d,)).

    Explicit indices are read from the payload; otherwise wire.kept[:count] must hold them.
    """
    values = wire.values[:count]
    unpack(payload, wire.value_bits, values)
    if wire.index_bits > 0:
        _unpack_indices(payload[wire.value_bits // 8 * count :], wire.index_bits, wire.kept[:count])
    for i in range(count):
        out[wire.kept[i]] += weight * values[i]


@kernel
def _pack_indices(indices: NDArray[np.int64], bits: int, payload: Bytes) -> int:
    """Write indices of `bits` bits each, without gaps and lowest bits first; return the number of bytes."""
    word, bits_held, size = np.uint64(0), 0, 0
    for i in range(len(indices)):
        word |= np.uint64(indices[i]) << np.uint64(bits_held)
        bits_held += bits
        while bits_held >= 8:
            payload[size] = np.uint8(word & np.uint64(255))
            word >>= np.uint64(8)
            bits_held -= 8
            size += 1
    if bits_held > 0:
        payload[size] = np.uint8(word)
        size += 1
    return size


@kernel
def _unpack_indices(payload: Bytes, bits: int, indices: NDArray[np.int64]) -> None:
    """Read indices of `bits` bits each, which `_pack_indices` wrote."""
    word, bits_held, read = np.uint64(0), 0, 0
    mask = (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    for i in range(len(indices)):
        while bits_held < bits:
            word |= np.uint64(payload[read]) << np.uint64(bits_held)
            bits_held += 8
            read += 1
        indices[i] = np.int64(word & mask)
        word >>= np.uint64(bits)
        bits_held -= bits
