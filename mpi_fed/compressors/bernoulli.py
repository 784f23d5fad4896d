"""Bernoulli sparsification."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from ..engine.operations.compressor import UNKNOWN, Bytes, Message
from ..engine.random_streams import FEW, PRIVATE, SHARED, mask_stream, successes
from .base import UNSET, Array, Compressor, Mask, compressors, index_bits, one_of, refuse_common_indices
from .sparse import SparseWire, add_kept, send_kept, sparse_wire


class BernoulliKernel(NamedTuple):
    """Parameters and scratch space of Bernoulli sparsification in compiled code."""

    p: float
    dimension: int
    common: bool  # true if all clients draw the same mask
    wire: SparseWire
    gaps: Array  # (FEW,): scratch space


@compressors.register
class Bernoulli(Compressor):
    """Bernoulli sparsification: each coordinate is kept with probability p, independently, and scaled by 1/p.

    Parameters
    ----------
    p : float
        Probability of keeping a coordinate. Give `p` or `omega`.
    omega : float
        Variance bound that sets `p = 1/(1 + omega)`.
    indices : {"shared", "explicit"}, default: "shared"
        The way in which the root learns the kept indices. "shared" computes them from the random numbers that client
        and root share, at no cost; "explicit" sends them in the payload, at `ceil(log2 d)` bits for each index.
    mask : {"own", "common"}, default: "own"
        Whether each client draws its own mask (the default), or all clients draw the same in a round. With "common",
        MPI can add the messages (routes `reduce` and `allreduce`), but their errors do not average out. "common" needs
        `indices = "shared"`.
    value_bits : {16, 32, 64}, default: 32
        Number v of bits of a float in the payload.

    Notes
    -----
    Formula: `C(x)_j = x_j b_j / p` with `b_j ~ Bernoulli(p)` independent. Unbiased and linear.

    Variance bound: `omega = (1 - p)/p`, attained at every x.

    Second moment: `E[C(g) C(g)^T] = M + ((1 - p)/p) Diag(M)` for `M = E[g g^T]`.

    Payload: the kept coordinates as floats, `v d p` bits in expectation. Explicit indices add `ceil(log2 d)` bits for
    each kept coordinate, so the expectation is `(v + ceil(log2 d)) d p` bits. The length varies from message to
    message.

    References
    ----------
    J. Konecny and P. Richtarik, "Randomized distributed mean estimation: accuracy vs. communication", Frontiers in
    Applied Mathematics and Statistics 4 (2018).

    Examples
    --------
    >>> from mpi_fed.compressors import compressors
    >>> compressor = compressors["bernoulli"](omega=3.0).resolve(100)
    >>> compressor.p, compressor.payload_bits(100)
    (0.25, 800.0)
    """

    kind = "bernoulli"
    linear = True
    fixed_length = False
    Kernel = BernoulliKernel
    examples = ({"p": 0.25}, {"p": 0.25, "indices": "explicit"})

    p: float = Field(default=UNSET, gt=0, le=1)
    omega: float = Field(default=UNSET, ge=0)
    indices: Literal["shared", "explicit"] = "shared"
    mask: Mask = None  # None stands for "own"

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
    def length(kernel: BernoulliKernel, message: Message) -> int:
        """Return the number of bytes of a message, computed by drawing the mask, or UNKNOWN with explicit indices."""
        if kernel.wire.index_bits > 0:
            return UNKNOWN
        mask = mask_stream(message.stream, kernel.common)
        count = successes(mask, SHARED, kernel.p, kernel.dimension, kernel.gaps, kernel.wire.kept)
        return kernel.wire.value_bits // 8 * count

    @staticmethod
    def information_bits(kernel: BernoulliKernel, size: int) -> int:
        """Return the number of bits of the coordinates in a message of `size` bytes."""
        coordinate_bits = kernel.wire.value_bits + kernel.wire.index_bits
        return 8 * size // coordinate_bits * coordinate_bits

    @staticmethod
    def encode(kernel: BernoulliKernel, x: Array, payload: Bytes, message: Message) -> int:
        """Pack the kept coordinates of x (shape (d,)), and then their indices if indices are explicit."""
        purpose = PRIVATE if kernel.wire.index_bits > 0 else SHARED
        mask = mask_stream(message.stream, kernel.common)
        count = successes(mask, purpose, kernel.p, kernel.dimension, kernel.gaps, kernel.wire.kept)
        return send_kept(kernel.wire, count, x, payload, message.stream)

    @staticmethod
    def decode(kernel: BernoulliKernel, payload: Bytes, weight: float, out: Array, message: Message) -> None:
        """out_j += weight x_j / p for each kept coordinate j; out has shape (d,)."""
        count = 8 * len(payload) // (kernel.wire.value_bits + kernel.wire.index_bits)
        if kernel.wire.index_bits == 0:
            mask = mask_stream(message.stream, kernel.common)
            successes(mask, SHARED, kernel.p, kernel.dimension, kernel.gaps, kernel.wire.kept)
        add_kept(kernel.wire, count, payload, weight / kernel.p, out)
