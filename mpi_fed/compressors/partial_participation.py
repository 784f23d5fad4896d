"""Partial participation."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..engine.operations.compressor import Bytes, Message
from ..engine.random_streams import EVERYONE, FEW, PARTICIPATION, Stream, successes
from ..engine.wire_floats import CHUNK, pack
from .base import UNSET, Array, Compressor, compressors, one_of
from .dense import add_dense


class ParticipationKernel(NamedTuple):
    """Parameters and scratch space of partial participation in compiled code."""

    p: float
    size: int  # bytes of a message
    value_bits: int
    chunk: Array  # (CHUNK,): scratch space
    dither: Array  # (CHUNK,): scratch space
    gaps: Array  # (FEW,): scratch space


@compressors.register
class PartialParticipation(Compressor):
    """Partial participation: with probability p a client sends its whole vector, scaled by 1/p, and else nothing.

    Parameters
    ----------
    p : float
        Probability that a client takes part in a round. Give `p` or `omega`.
    omega : float
        Variance bound that sets `p = 1/(1 + omega)`.
    value_bits : {16, 32, 64}, default: 32
        Bits F of a float in the payload.

    Notes
    -----
    Formula: `C(x) = (b/p) x` with `b ~ Bernoulli(p)`, drawn once for each client and round from the seed that all
    ranks share. Unbiased and linear. An absent client sends nothing and draws no data.

    Variance bound: `omega = (1 - p)/p`, attained at every x.

    Second moment: `E[C(g) C(g)^T] = M/p` for `M = E[g g^T]`, so `Tr(C_ania H^-1) = sigma^2 d/(p N)` for every H.

    Payload: all coordinates as floats, `F d` bits with probability p, and else nothing: `F d p` bits in expectation.

    Examples
    --------
    >>> from mpi_fed.compressors import compressors
    >>> compressors["partial-participation"](p=0.25).omega_bound(100)
    3.0
    """

    kind = "partial-participation"
    may_be_absent = True
    linear = True
    fixed_length = False
    Kernel = ParticipationKernel
    examples = ({"p": 0.25},)

    p: float = Field(default=UNSET, gt=0, le=1)
    omega: float = Field(default=UNSET, ge=0)

    def resolve(self, dimension: int, clients: int = 1) -> PartialParticipation:
        one_of(self, "p", "omega")
        return self if self.p else self.model_copy(update={"p": 1 / (1 + self.omega), "omega": None})

    def omega_bound(self, dimension: int) -> float:
        return (1 - self.p) / self.p

    def moment_coefficients(self, dimension: int) -> tuple[float, float, float]:
        return 1 / self.p, 0.0, 0.0

    def sampled(self, x: Array, rng: np.random.Generator) -> Array:
        return np.where(rng.random((len(x), 1)) < self.p, x / self.p, 0.0)

    def payload_bits(self, dimension: int) -> float:
        return self.p * self.value_bits * dimension

    def payload_bytes_max(self, dimension: int) -> int:
        return self.value_bits // 8 * dimension

    def participants_max(self, clients: int) -> int:
        """Return p N + 10 standard deviations + 40, and at most N.

        More clients take part in a round with probability below 1e-20 (Bernstein).
        """
        mean = self.p * clients
        return min(clients, math.ceil(mean + 10 * math.sqrt(mean * (1 - self.p)) + 40))

    def kernel(self, dimension: int) -> ParticipationKernel:
        size = self.payload_bytes_max(dimension)
        return ParticipationKernel(self.p, size, self.value_bits, np.empty(CHUNK), np.empty(CHUNK), np.empty(FEW))

    @staticmethod
    def participants(
        kernel: ParticipationKernel, seed: np.uint64, round: np.uint64, n: int, out: NDArray[np.int64]
    ) -> int:
        """Write the clients that take part in a round into out (shape (n,)), and return the number of these clients.

        Each client takes part with probability p.
        """
        return successes(Stream(seed, EVERYONE, round), PARTICIPATION, kernel.p, n, kernel.gaps, out)

    @staticmethod
    def length(kernel: ParticipationKernel, message: Message) -> int:
        """Return the number of bytes of d floats."""
        return kernel.size

    @staticmethod
    def encode(kernel: ParticipationKernel, x: Array, payload: Bytes, message: Message) -> int:
        """Pack x (shape (d,)) as floats."""
        return pack(x, kernel.value_bits, payload, message.stream, kernel.dither)

    @staticmethod
    def decode(kernel: ParticipationKernel, payload: Bytes, weight: float, out: Array, message: Message) -> None:
        """out += weight x / p; out has shape (d,)."""
        add_dense(payload, kernel.value_bits, weight / kernel.p, out, kernel.chunk)
