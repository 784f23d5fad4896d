"""A few coordinates as floats, with or without their indices: the wire of Bernoulli sparsification and of rand-h."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..engine.compilation import kernel
from ..engine.wire_floats import CHUNK, pack, unpack


class SparseWire(NamedTuple):
    """How kept coordinates travel, and the scratch space for them."""

    value_bits: int
    index_bits: int  # 0 where the indices come from the shared seed
    kept: NDArray[np.int64]
    values: NDArray[np.float64]
    dither: NDArray[np.float64]


def sparse_wire(most: int, value_bits: int, index_bits: int) -> SparseWire:
    """The wire for at most `most` coordinates."""
    return SparseWire(value_bits, index_bits, np.empty(most, np.int64), np.empty(most), np.empty(CHUNK))


@kernel
def send_kept(wire, count, x, payload, stream):
    """Write x at wire.kept[:count], then the indices where they are explicit; the bytes written, as `pack` tells."""
    values = wire.values[:count]
    for i in range(count):
        values[i] = x[wire.kept[i]]
    size = pack(values, wire.value_bits, payload, stream, wire.dither)
    if wire.index_bits == 0:
        return size
    sign = 1 if size >= 0 else -1
    return sign * (sign * size + _pack_indices(wire.kept[:count], wire.index_bits, payload[sign * size :]))


@kernel
def add_kept(wire, count, payload, weight, out):
    """out[kept] += weight times the values of a payload of `count` coordinates."""
    values = wire.values[:count]
    unpack(payload, wire.value_bits, values)
    if wire.index_bits > 0:
        _unpack_indices(payload[wire.value_bits // 8 * count :], wire.index_bits, wire.kept[:count])
    for i in range(count):
        out[wire.kept[i]] += weight * values[i]


@kernel
def _pack_indices(indices, bits, payload):
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
def _unpack_indices(payload, bits, indices):
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
