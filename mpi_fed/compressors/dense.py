"""Payload of all coordinates as floats, for `none` and `partial-participation`."""

from __future__ import annotations

from ..engine.compilation import kernel
from ..engine.operations.compressor import Bytes, Vector
from ..engine.wire_floats import CHUNK, unpack


@kernel
def add_dense(payload: Bytes, bits: int, weight: float, out: Vector, chunk: Vector) -> None:
    """out += weight x, where the payload holds x as d floats of `bits` bits each; out has shape (d,).

    chunk: scratch space of shape (CHUNK,).
    """
    size = bits // 8
    for start in range(0, len(out), CHUNK):
        part = out[start : min(start + CHUNK, len(out))]
        unpack(payload[size * start :], bits, chunk[: len(part)])
        for j in range(len(part)):
            part[j] += weight * chunk[j]
