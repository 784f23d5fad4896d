"""The recursion with control variates: the error's moments together with those of the clients' memories.

Client i sends C(g_i - h_i), and h_i <- h_i + alpha C(g_i - h_i). With u = (eta, 1), U = E[u u^T], m_i = E[g_i | eta]
and A = I - gamma H the error still has E[eta_{k+1} | past] = A eta_k, so that only its noise is another:
    N_i = E Cov(g_i | eta) + W_i,  W_i = c(D_i) - D_i what compression adds at D_i = E[(g_i - h_i)(g_i - h_i)^T],
    U          <- T U T^T + (gamma^2/N^2) sum_i N_i,  T = A on eta, 1 on the constant,
    E[u h_i^T] <- T ((1-alpha) E[u h_i^T] + alpha E[u m_i^T]) - (gamma alpha/N) N_i, the last on eta alone,
    E[h_i h_i^T] <- (1-alpha)^2 E[h_i h_i^T] + alpha (1-alpha) (E[m_i h_i^T] + its transpose)
                    + alpha^2 (E[m_i m_i^T] + N_i).
No moment of two clients' memories enters. What a linear compressor of the downlink adds has no covariance with the
messages, so that it enters U alone. For Gaussian clients of one covariance all of this is linear in means over
clients, so that they share one block; alone, they are looked at in H's eigenbasis, where H is a row of numbers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from ...problems.population import Covariance
from ..moments.compression_covariance import AddedCovariance
from ..moments.gradient_moments import EmpiricalLaw, GaussianLaw, Law, left, right
from ..moments.symmetric_packing import Array, pack, packed_size, unpack
from .base import Recursion
from .control_variates_resolvent import MemoryResolvent, has_memory_resolvent


def transposed(matrices: Array) -> Array:
    """(n, d, d), each transposed."""
    return matrices.transpose(0, 2, 1)


class Block(ABC):
    """Clients whose memories are looked at together: means over them of their moments."""

    crossed = False
    """The mean of Delta_i E[h_i]^T is a moment of its own."""

    def __init__(self, law: Law, batch: int | None, added: AddedCovariance) -> None:
        self.law, self.batch, self.added, self.weight = law, batch, added, law.weight

    def moments(self, second: Array) -> tuple[Array, Array]:
        """E[m m^T] and E Cov(g | eta), (n, d, d) each."""
        mean = self.law.mean(second)
        return mean, self.law.sampling(second, mean) / self.batch if self.batch else np.zeros_like(mean)

    @abstractmethod
    def pull(self, second: Array) -> Array:
        """E[u m^T], (n, d+1, d)."""

    @abstractmethod
    def mean_memory(self, cross: Array, shifts: Array) -> Array:
        """E[m h^T], (n, d, d), from E[u h^T] and the mean of Delta_i E[h_i]^T."""

    def pull_shifts(self, second: Array) -> Array:
        """The mean of Delta_i E[m_i]^T, (n, d, d)."""
        raise NotImplementedError


class GaussianBlock(Block):
    """Gaussian clients of one covariance."""

    def __init__(self, law: GaussianLaw, batch: int | None, added: AddedCovariance) -> None:
        super().__init__(law, batch, added)
        self.noise_variance = law.noise_variance
        self.h, self.shift, self.spread = law.matrix, law.shift, law.spread
        self.crossed = len(law.weights) > 1 and law.shifted

    def pull(self, second: Array) -> Array:
        return right(second[:, :, :-1] + second[:, :, -1:] * self.shift, self.h)

    def mean_memory(self, cross: Array, shifts: Array) -> Array:
        return left(self.h, cross[:, :-1] + (shifts if self.crossed else self.shift[:, None] * cross[:, -1:]))

    def pull_shifts(self, second: Array) -> Array:
        outer = self.shift[:, None] * second[:, -1:, :-1] + second[:, -1:, -1:] * self.spread
        return right(outer, self.h)


class EmpiricalBlock(Block):
    """One client whose rows are drawn with replacement."""

    def __init__(self, law: EmpiricalLaw, batch: int | None, added: AddedCovariance) -> None:
        super().__init__(law, batch, added)
        self.gradient = law.gradients[0]

    def pull(self, second: Array) -> Array:
        return second @ self.gradient.T

    def mean_memory(self, cross: Array, shifts: Array) -> Array:
        return self.gradient @ cross


class MemoryRecursion(Recursion):
    """The core: of each block E[u h^T], the mean of Delta E[h]^T where it has one, and E[h h^T]; then U, packed."""

    def __init__(
        self,
        covariance: Covariance,
        blocks: Sequence[Block],
        alpha: float,
        rotation: Covariance | None,
        downlink: AddedCovariance | None = None,
    ) -> None:
        d = covariance.dimension
        self.blocks, self.alpha, self.rotation, self.downlink = blocks, alpha, rotation, downlink
        self.clients = sum(block.weight for block in blocks)
        self.eigenvalues = covariance.eigenvalues
        self.basis = None if rotation else covariance.rotate(np.eye(d))
        self.h = covariance.eigenvalues if rotation else covariance.dense
        sizes = [(d * (d + 1), d * d * block.crossed, packed_size(d)) for block in blocks]
        self.core = sum(map(sum, sizes)) + packed_size(d + 1)
        self.starts = np.cumsum([0, *(size for part in sizes for size in part)])
        dense = 10 * len(blocks) if self.h.ndim == 2 else 2
        fourths = sum(isinstance(block, EmpiricalBlock) for block in blocks)
        self.flops = 2.0 * dense * d**3 + 150.0 * d**2 * len(blocks) + 2.0 * fourths * packed_size(d + 1) ** 2
        self.second = self._second_moments()

    def unpacked(self, core: Array) -> tuple[Array, list[tuple[Array, Array, Array]]]:
        """U (n, d+1, d+1), and for each block E[u h^T], the mean of Delta E[h]^T, and E[h h^T]."""
        n, d = len(core), len(self.eigenvalues)
        parts = [core[:, a:b] for a, b in zip(self.starts[:-1], self.starts[1:], strict=True)]
        triples = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
        blocks = [(y.reshape(n, d + 1, d), z.reshape(n, -1, d), unpack(m, d)) for y, z, m in triples]
        return unpack(core[:, self.starts[-1] :], d + 1), blocks

    def packed(self, second: Array, blocks: Sequence[tuple[Array, Array, Array]]) -> Array:
        """The core of these moments."""
        n = len(second)
        parts = [part for y, z, m in blocks for part in (y.reshape(n, -1), z.reshape(n, -1), pack(m))]
        return np.concatenate([*parts, pack(second)], axis=1)

    def noise(self, block: Block, second: Array, moments: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        """N, E[m h^T] and E[m m^T] of a block, (n, d, d) each."""
        (mean, sampling), cross = block.moments(second), block.mean_memory(*moments[:2])
        return sampling + block.added(self.difference(mean + sampling, cross, moments[2])), cross, mean

    @staticmethod
    def difference(gradient: Array, cross: Array, memory: Array) -> Array:
        """D = E[(g - h)(g - h)^T]."""
        return gradient - cross - transposed(cross) + memory

    def sent_back(self, noise: Array, second: Array) -> Array:
        """The covariance (n, d, d) of the direction that clients get, from that of the direction at the root."""
        if self.downlink is None:
            return noise
        return noise + self.downlink(noise + right(left(self.h, second[:, :-1, :-1]), self.h))

    def core_step(self, core: Array, gamma: float) -> Array:
        second, blocks = self.unpacked(core)
        d, alpha = len(self.eigenvalues), self.alpha
        total = np.zeros_like(second[:, :d, :d])
        after = []
        for block, moments in zip(self.blocks, blocks, strict=True):
            y, z, m = moments
            noise, cross, mean = self.noise(block, second, moments)
            total += block.weight / self.clients * noise
            y = (1 - alpha) * y + alpha * block.pull(second)
            y[:, :d] -= gamma * left(self.h, y[:, :d]) + gamma * alpha / self.clients * noise
            if block.crossed:
                z = (1 - alpha) * z + alpha * block.pull_shifts(second)
            m = (1 - alpha) ** 2 * m + alpha * (1 - alpha) * (cross + transposed(cross)) + alpha**2 * (mean + noise)
            after.append((y, z, m))
        noise = self.sent_back(total / self.clients, second)
        second = second.copy()
        second[:, :d] -= gamma * left(self.h, second[:, :d])
        second[:, :, :d] -= gamma * right(second[:, :, :d], self.h)
        second[:, :d, :d] += gamma**2 * noise
        return self.packed(second, after)

    def core_of(self, mean: Array, variance: float) -> Array:
        """Of empty memories."""
        d = len(mean)
        u = np.append(self.rotation.unrotate(mean) if self.rotation else mean, 1.0)
        second = np.outer(u, u)
        second[np.arange(d), np.arange(d)] += variance
        return np.concatenate([np.zeros(self.starts[-1]), pack(second)])

    def spectrum(self, core: Array) -> Array:
        s = unpack(core[:, self.starts[-1] :], len(self.eigenvalues) + 1)[:, :-1, :-1]
        return np.diagonal(s, axis1=1, axis2=2) if self.basis is None else ((s @ self.basis) * self.basis).sum(axis=1)

    def noise_trace(self, core: Array) -> float:
        return float(np.maximum(0.0, self.noise_weights(core).sum()))

    def noise_weights(self, core: Array) -> Array:
        second, blocks = self.unpacked(core[None])
        pairs = zip(self.blocks, blocks, strict=True)
        return self.weights([self.noise(block, second, moments)[0][0] for block, moments in pairs], second)

    def _mean(self, noises: Sequence[Array]) -> Array:
        """C = N^-2 sum_i N_i."""
        parts = [block.weight / self.clients**2 * noise for block, noise in zip(self.blocks, noises, strict=True)]
        return np.sum(parts, axis=0)

    def weights(self, noises: Sequence[Array], second: Array) -> Array:
        """The eigenvalues of H^(-1/2) C H^(-1/2), from the mean N (d, d) of each block and U (1, d+1, d+1)."""
        c = self.sent_back(self._mean(noises)[None], second)[0]
        basis = np.eye(len(self.eigenvalues)) if self.basis is None else self.basis
        root = basis / np.sqrt(self.eigenvalues)
        scaled = root.T @ c @ root
        if not np.isfinite(scaled).all():
            return np.full(len(scaled), np.nan)
        return np.asarray(np.linalg.eigvalsh(scaled), dtype=np.float64)

    def noise_standard_error(self, core: Array) -> float:
        return 0.0

    def resolvent(self, gamma: float) -> MemoryResolvent | None:
        block = self.blocks[0]
        known = isinstance(block, GaussianBlock) and has_memory_resolvent(self)
        return MemoryResolvent(self, block, gamma) if known and isinstance(block, GaussianBlock) else None

    def operations_of_resolvent(self) -> float:
        d = len(self.eigenvalues)
        return 5.0 * d**4 + 1e4 * d**2 if has_memory_resolvent(self) else math.inf

    def stationary(self, gamma: float) -> Array | None:
        resolvent = self.resolvent(gamma)
        if resolvent is None:
            return super().stationary(gamma)
        proof = resolvent.settled(noise=False)
        if not np.isfinite(proof).all() or not self.is_positive(proof[self.second]):
            return None
        return resolvent.settled(noise=True)

    def _second_moments(self) -> np.ndarray:
        """Where E[eta eta^T], E[eta h^T] and E[h h^T] stand in the core."""
        d = len(self.eigenvalues)
        second, blocks = np.zeros((1, d + 1, d + 1)), []
        second[:, :d, :d] = 1.0
        for block in self.blocks:
            y = np.zeros((1, d + 1, d))
            y[:, :d] = 1.0
            blocks.append((y, np.zeros((1, d * block.crossed, d)), np.ones((1, d, d))))
        return np.flatnonzero(self.packed(second, blocks)[0])

    def _joint(self, identity: bool) -> Array:
        """A core: E[eta eta^T] = E[h h^T] = I with `identity`; else the means that a fixed step tends to, and 1."""
        d = len(self.eigenvalues)
        second, blocks = np.zeros((1, d + 1, d + 1)), []
        second[:, :d, :d], second[0, -1, -1] = identity * np.eye(d), not identity
        for block in self.blocks:
            y, z = np.zeros((1, d + 1, d)), np.zeros((1, d * block.crossed, d))
            if not identity:
                y[:, -1] = block.pull(second)[:, -1]
                z = block.pull_shifts(second) if block.crossed else z
            blocks.append((y, z, identity * np.eye(d)[None]))
        return self.packed(second, blocks)[0]

    def identity(self) -> Array:
        return self._joint(True)[self.second]

    def settled(self) -> Array:
        return self._joint(False)

    def is_positive(self, second: Array) -> bool:
        core = np.zeros(self.core)
        core[self.second] = second
        d = len(self.eigenvalues)
        u, blocks = self.unpacked(core[None])
        joints = (np.block([[u[0, :d, :d], y[0, :d]], [y[0, :d].T, m[0]]]) for y, _, m in blocks)
        return all(np.linalg.eigvalsh(joint)[0] > 0 for joint in joints)
