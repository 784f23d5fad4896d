"""No compression."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..engine.operations.compressor import Bytes, Message
from ..engine.wire_floats import CHUNK, pack
from .base import Array, Compressor, compressors
from .dense import add_dense


class NoneKernel(NamedTuple):
    """Parameters and scratch space of messages without compression."""

    value_bits: int
    chunk: Array  # (CHUNK,): scratch space
    dither: Array  # (CHUNK,): scratch space


@compressors.register
class NoCompression(Compressor):
    """No compression: every coordinate is sent as one float.

    Parameters
    ----------
    value_bits : {16, 32, 64}, default: 32
        Bits F of a float in the payload.

    Notes
    -----
    Formula: `C(x) = x`.

    Variance bound: `omega = 0`.

    Second moment: `E[C(g) C(g)^T] = M` for `M = E[g g^T]`.

    Payload: d floats, F d bits.
    """

    kind = "none"
    linear = True
    Kernel = NoneKernel

    @property
    def summable(self) -> bool:
        return True

    def omega_bound(self, dimension: int) -> float:
        return 0.0

    def moment_coefficients(self, dimension: int) -> tuple[float, float, float]:
        return 1.0, 0.0, 0.0

    def sampled(self, x: Array, rng: np.random.Generator) -> Array:
        return x

    def payload_bits(self, dimension: int) -> float:
        return float(self.value_bits * dimension)

    def payload_bytes_max(self, dimension: int) -> int:
        return self.value_bits // 8 * dimension

    def kernel(self, dimension: int) -> NoneKernel:
        return NoneKernel(self.value_bits, np.empty(CHUNK), np.empty(CHUNK))

    @staticmethod
    def encode(kernel: NoneKernel, x: Array, payload: Bytes, message: Message) -> int:
        """Pack x (shape (d,)) as floats."""
        return pack(x, kernel.value_bits, payload, message.stream, kernel.dither)

    @staticmethod
    def decode(kernel: NoneKernel, payload: Bytes, weight: float, out: Array, message: Message) -> None:
        """out += weight x; out has shape (d,)."""
        add_dense(payload, kernel.value_bits, weight, out, kernel.chunk)
