"""No compression: C(x) = x, each coordinate as one float."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..engine.wire_floats import CHUNK, pack
from .base import Array, Compressor, compressors
from .dense import add_dense


class NoneKernel(NamedTuple):
    value_bits: int
    chunk: Array
    dither: Array


@compressors.register
class NoCompression(Compressor):
    """C(x) = x, so omega = 0; F d bits, F = `value_bits`."""

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
    def encode(kernel, x, payload, message):
        return pack(x, kernel.value_bits, payload, message.stream, kernel.dither)

    @staticmethod
    def decode(kernel, payload, weight, out, message):
        add_dense(payload, kernel.value_bits, weight, out, kernel.chunk)
