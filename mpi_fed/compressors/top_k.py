"""top-k: the k coordinates of largest magnitude, as they are. Biased: the one compressor here that is not random."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from ..engine.compilation import kernel
from .base import Array, Compressor, compressors, index_bits
from .sparse import SparseWire, add_kept, send_kept, sparse_wire


class TopKKernel(NamedTuple):
    k: int
    wire: SparseWire
    magnitudes: Array  # (d,)


@kernel
def kth_largest(values, k):
    """The k-th largest of values, (n,), which are put into another order (Hoare's selection, median of three)."""
    low, high, target = 0, len(values) - 1, len(values) - k
    while low < high:
        a, b, c = values[low], values[(low + high) // 2], values[high]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i, j = i + 1, j - 1
        if target <= j:
            high = j
        elif target >= i:
            low = i
        else:
            break
    return values[target]


@kernel
def largest(x, k, magnitudes, out):
    """Fill out, (k,), with the indices of the k largest |x_j|, ascending; of equal ones the first."""
    for j in range(len(x)):
        magnitudes[j] = np.abs(x[j]) if x[j] == x[j] else np.inf
    least = kth_largest(magnitudes, k)
    above = 0
    for j in range(len(x)):
        above += 1 if magnitudes[j] > least else 0
    ties, count = k - above, 0
    for j in range(len(x)):
        magnitude = np.abs(x[j]) if x[j] == x[j] else np.inf
        if magnitude > least or (magnitude == least and ties > 0):
            ties -= 1 if magnitude == least else 0
            out[count] = j
            count += 1


@compressors.register
class TopK(Compressor):
    """C(x)_j = x_j where |x_j| is among the k largest, else 0; ||C(x) - x||^2 <= (1 - k/d) ||x||^2.

    Equal |x_j| attain the bound. Biased, so that plain steps do not converge; algorithm kind = "error-feedback" does.
    (F + ceil(log2 d)) k bits: which coordinates they are, only their sender knows.
    """

    kind = "top-k"
    biased: ClassVar[bool] = True
    Kernel = TopKKernel
    examples = ({"k": 1}, {"k": 5})

    k: int = Field(ge=1)

    def resolve(self, dimension: int, clients: int = 1) -> TopK:
        if self.k > dimension:
            raise ValueError(f"k = {self.k} is more than the dimension {dimension}; give 1 to {dimension}")
        return self

    def omega_bound(self, dimension: int) -> float:
        return 1 - self.k / dimension

    def expectation(self, x: Array) -> Array:
        kept = np.argsort(-np.abs(x), kind="stable")[: self.k]
        result = np.zeros_like(x)
        result[kept] = x[kept]
        return result

    def payload_bits(self, dimension: int) -> float:
        return float(self.k * (self.value_bits + index_bits(dimension)))

    def payload_bytes_max(self, dimension: int) -> int:
        return self.value_bits // 8 * self.k + (self.k * index_bits(dimension) + 7) // 8

    def kernel(self, dimension: int) -> TopKKernel:
        return TopKKernel(self.k, sparse_wire(self.k, self.value_bits, index_bits(dimension)), np.empty(dimension))

    @staticmethod
    def encode(kernel, x, payload, message):
        largest(x, kernel.k, kernel.magnitudes, kernel.wire.kept)
        return send_kept(kernel.wire, kernel.k, x, payload, message.stream)

    @staticmethod
    def decode(kernel, payload, weight, out, message):
        if kernel.wire.index_bits == 0:  # d = 1
            kernel.wire.kept[0] = 0
        add_kept(kernel.wire, kernel.k, payload, weight, out)
