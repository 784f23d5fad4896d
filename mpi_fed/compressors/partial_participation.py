"""Partial participation: a client sends all of x with probability p, and otherwise nothing."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from pydantic import Field

from ..engine.random_streams import EVERYONE, FEW, PARTICIPATION, Stream, successes
from ..engine.wire_floats import CHUNK, pack
from .base import UNSET, Array, Compressor, compressors, one_of
from .dense import add_dense


class ParticipationKernel(NamedTuple):
    p: float
    size: int
    value_bits: int
    chunk: Array
    dither: Array
    gaps: Array


@compressors.register
class PartialParticipation(Compressor):
    """C(x) = (b/p) x with b ~ Bernoulli(p), one coin a client and round; omega = (1-p)/p, attained at every x.

    E[C(g)C(g)^T] = E[gg^T]/p, so Tr(C_ania H^-1) = sigma^2 d/(p N) whatever H. F d p bits expected: the coins come
    from the shared seed, an absent client sends nothing and draws no data.
    """

    kind = "partial-participation"
    may_be_absent = True
    linear = True
    fixed_length = False
    Kernel = ParticipationKernel
    examples = ({"p": 0.25},)

    p: float = Field(UNSET, gt=0, le=1)
    omega: float = Field(UNSET, ge=0)

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
        """p N and 10 standard deviations and 40 clients more: exceeded with a probability below 1e-20 (Bernstein)."""
        mean = self.p * clients
        return min(clients, math.ceil(mean + 10 * math.sqrt(mean * (1 - self.p)) + 40))

    def kernel(self, dimension: int) -> ParticipationKernel:
        size = self.payload_bytes_max(dimension)
        return ParticipationKernel(self.p, size, self.value_bits, np.empty(CHUNK), np.empty(CHUNK), np.empty(FEW))

    @staticmethod
    def participants(kernel, seed, round, n, out):
        return successes(Stream(seed, EVERYONE, round), PARTICIPATION, kernel.p, n, kernel.gaps, out)

    @staticmethod
    def length(kernel, message):
        return kernel.size

    @staticmethod
    def encode(kernel, x, payload, message):
        return pack(x, kernel.value_bits, payload, message.stream, kernel.dither)

    @staticmethod
    def decode(kernel, payload, weight, out, message):
        add_dense(payload, kernel.value_bits, weight / kernel.p, out, kernel.chunk)
