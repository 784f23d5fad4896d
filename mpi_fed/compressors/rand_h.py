"""rand-h sparsification."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..engine.compilation import kernel
from ..engine.operations.compressor import Bytes, Message
from ..engine.random_streams import PRIVATE, SHARED, Stream, mask_stream, uniforms
from ..engine.wire_floats import CHUNK
from .base import UNSET, Array, Compressor, Mask, compressors, index_bits, kept_coordinates, refuse_common_indices
from .sparse import SparseWire, add_kept, send_kept, sparse_wire


class RandHKernel(NamedTuple):
    """Parameters and scratch space of rand-h in compiled code."""

    h: int
    dimension: int
    common: bool  # true if all clients draw the same mask
    wire: SparseWire
    taken: NDArray[np.uint8]  # (d,): scratch space, zero between two messages
    draws: Array  # (CHUNK,): scratch space


@kernel
def subset(
    stream: Stream, purpose: np.uint64, d: int, taken: NDArray[np.uint8], draws: Array, out: NDArray[np.int64]
) -> None:
    """Fill out (shape (h,)) with a uniformly random h-subset of 0 .. d-1, by Floyd's algorithm in O(h) time.

    The order of the indices in `out` is not uniform. taken: scratch space of shape (d,), zero before and after the
    call. draws: scratch space of shape (CHUNK,).
    """
    h = len(out)
    for start in range(0, h, CHUNK):
        count = min(CHUNK, h - start)
        uniforms(stream, purpose, np.uint64(start // 2), count, draws)
        for i in range(count):
            last = d - h + start + i
            pick: int | np.int64 = np.int64(draws[i] * np.float64(last + 1))
            if taken[pick] != 0:
                pick = last
            taken[pick] = 1
            out[start + i] = pick
    for i in range(h):
        taken[out[i]] = 0


@compressors.register
class RandH(Compressor):
    """Sparsification to h coordinates drawn without replacement, scaled by d/h.

    Parameters
    ----------
    h : int
        Number of kept coordinates, at most d. Give `h` or `omega`.
    omega : float
        Variance bound that sets `h = max(1, floor(d/(1 + omega)))`. The log holds the bound that h attains.
    indices : {"shared", "explicit"}, default: "shared"
        Source from which the root knows the kept indices. "shared" is the random numbers that client and root share, at
        no cost; "explicit" is the payload, at `ceil(log2 d)` bits each.
    mask : {"own", "common"}, default: "own"
        Whether each client draws its own mask (the default), or all clients draw the same in a round. With "common"
        messages add up (routes `reduce` and `allreduce`), but their errors do not average out. "common" needs
        `indices = "shared"`.
    value_bits : {16, 32, 64}, default: 32
        Bits F of a float in the payload.

    Notes
    -----
    Formula: `C(x)_j = (d/h) x_j 1{j in S}` with S uniform among the h-subsets of {1..d}. Unbiased and linear.

    Variance bound: `omega = d/h - 1`, attained at every x.

    Second moment: `E[C(g) C(g)^T] = (d/h) (q M + (1 - q) Diag(M))` for `M = E[g g^T]`, `q = (h - 1)/(d - 1)`.

    Payload: h floats, `F h` bits. Explicit indices add `ceil(log2 d)` bits for each float, so the length is
    `(F + ceil(log2 d)) h` bits.

    References
    ----------
    J. Konecny and P. Richtarik, "Randomized distributed mean estimation: accuracy vs. communication", Frontiers in
    Applied Mathematics and Statistics 4 (2018).

    Examples
    --------
    >>> from mpi_fed.compressors import compressors
    >>> compressor = compressors["rand-h"](omega=3.0, indices="explicit").resolve(20)
    >>> compressor.h, compressor.payload_bits(20)
    (5, 185.0)
    """

    kind = "rand-h"
    linear = True
    Kernel = RandHKernel
    examples = ({"omega": 3.0}, {"omega": 3.0, "indices": "explicit"})

    h: int = Field(default=UNSET, ge=1)
    omega: float = Field(default=UNSET, ge=0)
    indices: Literal["shared", "explicit"] = "shared"
    mask: Mask = None  # None stands for "own"

    def resolve(self, dimension: int, clients: int = 1) -> RandH:
        refuse_common_indices(self)
        return kept_coordinates(self, dimension)

    def omega_bound(self, dimension: int) -> float:
        return dimension / self.h - 1

    def moment_coefficients(self, dimension: int) -> tuple[float, float, float]:
        q = (self.h - 1) / (dimension - 1) if dimension > 1 else 1.0
        return dimension / self.h * q, dimension / self.h * (1 - q), 0.0

    def sampled(self, x: Array, rng: np.random.Generator) -> Array:
        kept = np.argpartition(rng.random(x.shape), self.h - 1, axis=1)[:, : self.h]
        result = np.zeros_like(x)
        np.put_along_axis(result, kept, np.take_along_axis(x, kept, axis=1) * (x.shape[1] / self.h), axis=1)
        return result

    def _index_bits(self, dimension: int) -> int:
        return index_bits(dimension) if self.indices == "explicit" else 0

    def payload_bits(self, dimension: int) -> float:
        return float(self.h * (self.value_bits + self._index_bits(dimension)))

    def payload_bytes_max(self, dimension: int) -> int:
        return (int(self.payload_bits(dimension)) + 7) // 8

    def kernel(self, dimension: int) -> RandHKernel:
        wire = sparse_wire(self.h, self.value_bits, self._index_bits(dimension))
        return RandHKernel(self.h, dimension, self.common, wire, np.zeros(dimension, np.uint8), np.empty(CHUNK))

    @staticmethod
    def encode(kernel: RandHKernel, x: Array, payload: Bytes, message: Message) -> int:
        """Pack the h kept coordinates of x (shape (d,)) and then, if they are explicit, their indices."""
        purpose = PRIVATE if kernel.wire.index_bits > 0 else SHARED
        mask = mask_stream(message.stream, kernel.common)
        subset(mask, purpose, kernel.dimension, kernel.taken, kernel.draws, kernel.wire.kept)
        return send_kept(kernel.wire, kernel.h, x, payload, message.stream)

    @staticmethod
    def decode(kernel: RandHKernel, payload: Bytes, weight: float, out: Array, message: Message) -> None:
        """out_j += weight (d/h) x_j for each j in S; out has shape (d,)."""
        if kernel.wire.index_bits == 0:
            mask = mask_stream(message.stream, kernel.common)
            subset(mask, SHARED, kernel.dimension, kernel.taken, kernel.draws, kernel.wire.kept)
        scale = np.float64(kernel.dimension) / np.float64(kernel.h)
        add_kept(kernel.wire, kernel.h, payload, weight * scale, out)
