"""Bernoulli sparsification: each coordinate is kept with probability p, independently, and scaled by 1/p."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from ..engine.operations.compressor import UNKNOWN
from ..engine.random_streams import FEW, PRIVATE, SHARED, mask_stream, successes
from .base import UNSET, Array, Compressor, Mask, compressors, index_bits, one_of, refuse_common_indices
from .sparse import SparseWire, add_kept, send_kept, sparse_wire


class BernoulliKernel(NamedTuple):
    p: float
    dimension: int
    common: bool
    wire: SparseWire
    gaps: Array


@compressors.register
class Bernoulli(Compressor):
    """C(x)_j = x_j b_j / p, b_j ~ Bernoulli(p) iid; omega = (1-p)/p, attained at every x.

    E[C(g)C(g)^T] = M + ((1-p)/p) Diag(M). F d p bits expected with the mask drawn from the shared seed;
    `indices = "explicit"` sends ceil(log2 d) more bits with each kept coordinate.
    """

    kind = "bernoulli"
    linear = True
    fixed_length = False
    Kernel = BernoulliKernel
    examples = ({"p": 0.25}, {"p": 0.25, "indices": "explicit"})

    p: float = Field(UNSET, gt=0, le=1)
    omega: float = Field(UNSET, ge=0)
    indices: Literal["shared", "explicit"] = "shared"
    mask: Mask = None

    def resolve(self, dimension: int, clients: int = 1) -> Bernoulli:
        refuse_common_indices(self)
        one_of(self, "p", "omega")
        return self if self.p else self.model_copy(update={"p": 1 / (1 + self.omega), "omega": None})

    def omega_bound(self, dimension: int) -> float:
        return (1 - self.p) / self.p

    def moment_coefficients(self, dimension: int) -> tuple[float, float, float]:
        return 1.0, (1 - self.p) / self.p, 0.0

    def sampled(self, x: Array, rng: np.random.Generator) -> Array:
        return np.where(rng.random(x.shape) < self.p, x / self.p, 0.0)

    def _index_bits(self, dimension: int) -> int:
        return index_bits(dimension) if self.indices == "explicit" else 0

    def payload_bits(self, dimension: int) -> float:
        return self.p * dimension * (self.value_bits + self._index_bits(dimension))

    def payload_bytes_max(self, dimension: int) -> int:
        return (dimension * (self.value_bits + self._index_bits(dimension)) + 7) // 8

    def kernel(self, dimension: int) -> BernoulliKernel:
        wire = sparse_wire(dimension, self.value_bits, self._index_bits(dimension))
        return BernoulliKernel(self.p, dimension, self.common, wire, np.empty(FEW))

    @staticmethod
    def length(kernel, message):
        if kernel.wire.index_bits > 0:
            return UNKNOWN
        mask = mask_stream(message.stream, kernel.common)
        count = successes(mask, SHARED, kernel.p, kernel.dimension, kernel.gaps, kernel.wire.kept)
        return kernel.wire.value_bits // 8 * count

    @staticmethod
    def information_bits(kernel, size):
        each = kernel.wire.value_bits + kernel.wire.index_bits
        return 8 * size // each * each

    @staticmethod
    def encode(kernel, x, payload, message):
        purpose = PRIVATE if kernel.wire.index_bits > 0 else SHARED
        mask = mask_stream(message.stream, kernel.common)
        count = successes(mask, purpose, kernel.p, kernel.dimension, kernel.gaps, kernel.wire.kept)
        return send_kept(kernel.wire, count, x, payload, message.stream)

    @staticmethod
    def decode(kernel, payload, weight, out, message):
        count = 8 * len(payload) // (kernel.wire.value_bits + kernel.wire.index_bits)
        if kernel.wire.index_bits == 0:
            mask = mask_stream(message.stream, kernel.common)
            successes(mask, SHARED, kernel.p, kernel.dimension, kernel.gaps, kernel.wire.kept)
        add_kept(kernel.wire, count, payload, weight / kernel.p, out)
