"""top-k sparsification."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..engine.compilation import kernel
from ..engine.operations.compressor import Bytes, Message
from .base import Array, Compressor, compressors, index_bits
from .sparse import SparseWire, add_kept, send_kept, sparse_wire


class TopKKernel(NamedTuple):
    """Parameters and scratch space of top-k in compiled code."""

    k: int
    wire: SparseWire
    magnitudes: Array  # (d,)


@kernel
def kth_largest(values: Array, k: int) -> float:
    """Return the k-th largest of `values` (shape (n,)), by Hoare's selection with the median of three.

    The array `values` is reordered.
    """
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
    result: float = values[target]
    return result


@kernel
def largest(x: Array, k: int, magnitudes: Array, out: NDArray[np.int64]) -> None:
    """Fill out (shape (k,)) with the indices of the k largest |x_j|, in ascending order; x has shape (d,).

    Among equal magnitudes the first are taken. NaN counts as infinity. magnitudes: scratch space of shape (d,).
    """
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
    """Sparsification to the k coordinates of largest magnitude, unscaled. Biased and deterministic.

    Parameters
    ----------
    k : int
        Number of kept coordinates, at most d.
    value_bits : {16, 32, 64}, default: 32
        Bits F of a float in the payload.

    Notes
    -----
    Formula: `C(x)_j = x_j` if `|x_j|` is among the k largest (the first ones among equal magnitudes), else 0. Biased,
    so algorithm `sgd` does not converge with this compressor, but `error-feedback` does.

    Variance bound: `||C(x) - x||^2 <= omega ||x||^2` with `omega = 1 - k/d`, attained if all `|x_j|` are equal.

    Second moment: given x, `E[C(x) C(x)^T] = C(x) C(x)^T`, since C is not random.

    Payload: k floats with their indices, `(F + ceil(log2 d)) k` bits. Only the sender knows which coordinates are kept.

    References
    ----------
    S. U. Stich, J.-B. Cordonnier and M. Jaggi, "Sparsified SGD with memory", NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from mpi_fed.compressors import compressors
    >>> compressors["top-k"](k=2).expectation(np.array([1.0, -3.0, 0.5, 2.0]))
    array([ 0., -3.,  0.,  2.])
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
    def encode(kernel: TopKKernel, x: Array, payload: Bytes, message: Message) -> int:
        """Pack the k coordinates of x (shape (d,)) of largest magnitude, and then their indices."""
        largest(x, kernel.k, kernel.magnitudes, kernel.wire.kept)
        return send_kept(kernel.wire, kernel.k, x, payload, message.stream)

    @staticmethod
    def decode(kernel: TopKKernel, payload: Bytes, weight: float, out: Array, message: Message) -> None:
        """out_j += weight x_j for each sent coordinate j; out has shape (d,)."""
        if kernel.wire.index_bits == 0:  # d = 1
            kernel.wire.kept[0] = 0
        add_kept(kernel.wire, kernel.k, payload, weight, out)
