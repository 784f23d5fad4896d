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
    """Format of kept coordinates in a payload, and scratch space for them."""

    value_bits: int
    index_bits: int  # 0 if the indices are drawn from the shared seed
    kept: NDArray[np.int64]
    values: NDArray[np.float64]
    dither: NDArray[np.float64]


def sparse_wire(most: int, value_bits: int, index_bits: int) -> SparseWire:
    """Return the format and scratch space for up to `most` coordinates."""
    return SparseWire(value_bits, index_bits, np.empty(most, np.int64), np.empty(most), np.empty(CHUNK))


@kernel
def send_kept(wire: SparseWire, count: int, x: Vector, payload: Bytes, stream: Stream) -> int:
    """Write x at wire.kept[:count], then the explicit indices; return the bytes written, negated on an overflow."""
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
    """out[kept] += weight values, for out, (d,), and a payload of `count` coordinates."""
    values = wire.values[:count]
    unpack(payload, wire.value_bits, values)
    if wire.index_bits > 0:
        _unpack_indices(payload[wire.value_bits // 8 * count :], wire.index_bits, wire.kept[:count])
    for i in range(count):
        out[wire.kept[i]] += weight * values[i]


@kernel
def _pack_indices(indices: NDArray[np.int64], bits: int, payload: Bytes) -> int:
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
