"""All coordinates as floats: the wire of "none" and of a client that takes part."""

from __future__ import annotations

from ..engine.compilation import kernel
from ..engine.wire_floats import CHUNK, unpack


@kernel
def add_dense(payload, bits, weight, out, chunk):
    """out += weight x, for x sent as len(out) floats of `bits` bits. chunk: scratch, (CHUNK,)."""
    size = bits // 8
    for start in range(0, len(out), CHUNK):
        part = out[start : min(start + CHUNK, len(out))]
        unpack(payload[size * start :], bits, chunk[: len(part)])
        for j in range(len(part)):
            part[j] += weight * chunk[j]
