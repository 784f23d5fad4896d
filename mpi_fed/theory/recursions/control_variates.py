"""The recursion with control variates: the error's moments together with those of the clients' memories.

Client i sends C(g_i - h_i), and h_i <- h_i + alpha C(g_i - h_i). Let u = (eta, 1), U = E[u u^T], m_i = E[g_i | eta],
A = I - gamma H, and A_1 = diag(A, 1). As without memories E[eta_{k+1} | past] = A eta_k; only the noise differs:
    S_i = E Cov(g_i | eta) + W_i,   W_i = c(D_i) - D_i,   D_i = E[(g_i - h_i)(g_i - h_i)^T],
    U <- A_1 U A_1 + (gamma^2/N^2) sum_i S_i,   where the sum is added only to E[eta eta^T],
    E[u h_i^T] <- A_1 ((1-alpha) E[u h_i^T] + alpha E[u m_i^T]) - (gamma alpha/N) S_i,
                  where the last term is added only to E[eta h_i^T],
    E[h_i h_i^T] <- (1-alpha)^2 E[h_i h_i^T] + alpha (1-alpha) (E[m_i h_i^T] + E[h_i m_i^T])
                    + alpha^2 (E[m_i m_i^T] + S_i).
No joint moment of the memories of two clients enters. The noise that a linear compressor of the downlink adds is
uncorrelated with the messages, so that it enters only U. For Gaussian clients with the same covariance all of this is
linear in means over clients, so that these clients share one block of moments. If there are no other clients, the
recursion runs in H's eigenbasis, where H is stored as its diagonal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...problems.population import Covariance
from ..moments.covariance_from_input import CovarianceFromInput, DiagonalCovariance
from ..moments.matrix_products import multiply_left, multiply_right, transposed
from ..moments.symmetric_packing import Array, pack, packed_size
from .base import Recursion
from .control_variates_blocks import Block, BlockMoments, CoreLayout, EmpiricalBlock, GaussianBlock
from .control_variates_resolvent import ControlVariatesResolvent


class BlockNoise(NamedTuple):
    """The terms that a round adds to the moments of a block, of shape (n, d, d) each."""

    noise: Array
    """The mean of S_i over the clients of the block."""
    gradient_memory: Array
    """E[m h^T], where m = E[g | eta]."""
    gradient: Array
    """E[m m^T]."""


class ControlVariatesRecursion(Recursion):
    """The recursion with memories. `CoreLayout` is the layout of its core.

    Unless `rotation` is None, all moments are in the eigenbasis of `rotation`.
    """

    def __init__(
        self,
        covariance: Covariance,
        blocks: Sequence[Block],
        alpha: float,
        rotation: Covariance | None,
        downlink: CovarianceFromInput | None = None,
    ) -> None:
        d = covariance.dimension
        self.blocks, self.alpha, self.rotation, self.downlink = blocks, alpha, rotation, downlink
        self.clients = sum(block.weight for block in blocks)
        self.eigenvalues = covariance.eigenvalues
        self.basis = None if rotation else covariance.rotate(np.eye(d))
        self.h = covariance.eigenvalues if rotation else covariance.dense
        self.layout = CoreLayout(d, blocks)
        self.core_size = self.layout.size
        dense = 10 * len(blocks) if self.h.ndim == 2 else 2
        empirical = sum(isinstance(block, EmpiricalBlock) for block in blocks)
        # about ten products of (d, d) matrices for each block (in the eigenbasis: two in all), 150 operations for each
        # entry of a block, and the product of pack(U) with the fourth moments of each empirical block
        self.flops = 2.0 * dense * d**3 + 150.0 * d**2 * len(blocks) + 2.0 * empirical * packed_size(d + 1) ** 2
        self.second_places = self._second_moment_places()

    def noise(self, block: Block, second: Array, moments: BlockMoments) -> BlockNoise:
        """Return the noise of a block at U = `second` of shape (n, d+1, d+1)."""
        (mean, sampling), cross = block.gradient_moments(second), block.gradient_memory(moments)
        added = block.compression(self.difference(mean + sampling, cross, moments.memory))
        return BlockNoise(sampling + added, cross, mean)

    @staticmethod
    def difference(gradient: Array, cross: Array, memory: Array) -> Array:
        """Return D = E[(g - h)(g - h)^T], of shape (n, d, d)."""
        return gradient - cross - transposed(cross) + memory

    def sent_back(self, noise: Array, second: Array) -> Array:
        """Return the covariance (n, d, d) of the direction that clients receive.

        `noise` is its covariance before the downlink compresses it.
        """
        if self.downlink is None:
            return noise
        return noise + self.downlink(noise + multiply_right(multiply_left(self.h, second[:, :-1, :-1]), self.h))

    def core_step(self, core: Array, gamma: float) -> Array:
        second = self.layout.error(core)
        d, alpha = len(self.eigenvalues), self.alpha
        total = np.zeros_like(second[:, :d, :d])
        after = []
        for block, moments in zip(self.blocks, self.layout.blocks(core), strict=True):
            y, z, m = moments
            noise, cross, mean = self.noise(block, second, moments)
            total += block.weight / self.clients * noise
            y = (1 - alpha) * y + alpha * block.error_gradient(second)
            y[:, :d] -= gamma * multiply_left(self.h, y[:, :d]) + gamma * alpha / self.clients * noise
            if block.crossed:
                z = (1 - alpha) * z + alpha * block.shift_gradient(second)
            m = (1 - alpha) ** 2 * m + alpha * (1 - alpha) * (cross + transposed(cross)) + alpha**2 * (mean + noise)
            after.append(BlockMoments(y, z, m))
        noise = self.sent_back(total / self.clients, second)
        second = second.copy()
        second[:, :d] -= gamma * multiply_left(self.h, second[:, :d])
        second[:, :, :d] -= gamma * multiply_right(second[:, :, :d], self.h)
        second[:, :d, :d] += gamma**2 * noise
        return self.layout.packed(second, after)

    def core_of(self, mean: Array, variance: float) -> Array:
        """Return the core of memories equal to 0 and of an eta with mean `mean` (d,) and covariance `variance` I."""
        d = len(mean)
        u = np.append(self.rotation.unrotate(mean) if self.rotation else mean, 1.0)
        second = np.outer(u, u)
        second[np.arange(d), np.arange(d)] += variance
        return np.concatenate([np.zeros(self.layout.starts[-1]), pack(second)])

    def squared_errors(self, core: Array) -> Array:
        s = self.layout.error(core)[:, :-1, :-1]
        return np.diagonal(s, axis1=1, axis2=2) if self.basis is None else ((s @ self.basis) * self.basis).sum(axis=1)

    def noise_trace(self, core: Array) -> float:
        return float(np.maximum(0.0, self.noise_weights(core).sum()))

    def noise_weights(self, core: Array) -> Array:
        second = self.layout.error(core[None])
        pairs = zip(self.blocks, self.layout.blocks(core[None]), strict=True)
        return self.weights([self.noise(block, second, moments).noise[0] for block, moments in pairs], second)

    def _mean(self, noises: Sequence[Array]) -> Array:
        """Return S = N^-2 sum_i S_i, of shape (d, d)."""
        parts = [block.weight / self.clients**2 * noise for block, noise in zip(self.blocks, noises, strict=True)]
        mean: Array = np.sum(parts, axis=0)
        return mean

    def weights(self, noises: Sequence[Array], second: Array) -> Array:
        """Return the eigenvalues (d,) of H^(-1/2) S H^(-1/2).

        `noises` has the mean of S_i over each block (d, d), and `second` is U, of shape (1, d+1, d+1).
        """
        c = self.sent_back(self._mean(noises)[None], second)[0]
        basis = np.eye(len(self.eigenvalues)) if self.basis is None else self.basis
        root = basis / np.sqrt(self.eigenvalues)
        scaled = root.T @ c @ root
        if not np.isfinite(scaled).all():
            return np.full(len(scaled), np.nan)
        return np.asarray(np.linalg.eigvalsh(scaled), dtype=np.float64)

    def noise_standard_error(self, core: Array) -> float:
        return 0.0

    def resolvent(self, gamma: float) -> ControlVariatesResolvent | None:
        block = self._resolvable_block()
        return None if block is None else ControlVariatesResolvent(block, self.layout, self.alpha, gamma)

    def operations_of_resolvent(self) -> float:
        d = len(self.eigenvalues)
        return math.inf if self._resolvable_block() is None else 5.0 * d**4 + 1e4 * d**2

    def _resolvable_block(self) -> GaussianBlock | None:
        """Return the only block, or None if the recursion does not have the form of `ControlVariatesResolvent`."""
        block = self.blocks[0]
        if self.downlink is not None or self.rotation is None or not isinstance(block, GaussianBlock):
            return None
        return block if isinstance(block.compression, DiagonalCovariance) else None

    def stationary(self, gamma: float) -> Array | None:
        resolvent = self.resolvent(gamma)
        if resolvent is None:
            return super().stationary(gamma)
        # a stability witness: the recursion is stable exactly if X = round(X) + I has a positive definite solution
        witness = resolvent.fixed_point(noise=False)
        if not np.isfinite(witness).all() or not self.is_positive(witness[self.second_places]):
            return None
        return resolvent.fixed_point(noise=True)

    def _second_moment_places(self) -> NDArray[np.intp]:
        """Return the positions of E[eta eta^T], E[eta h^T] and E[h h^T] in the core."""
        d = len(self.eigenvalues)
        second, blocks = np.zeros((1, d + 1, d + 1)), []
        second[:, :d, :d] = 1.0
        for block in self.blocks:
            y = np.zeros((1, d + 1, d))
            y[:, :d] = 1.0
            blocks.append(BlockMoments(y, np.zeros((1, d * block.crossed, d)), np.ones((1, d, d))))
        return np.flatnonzero(self.layout.packed(second, blocks)[0])

    def _reference_core(self, identity: bool) -> Array:
        """Return the core with E[eta eta^T] = E[h h^T] = I if `identity`, else that of the stationary means."""
        d = len(self.eigenvalues)
        second, blocks = np.zeros((1, d + 1, d + 1)), []
        second[:, :d, :d], second[0, -1, -1] = identity * np.eye(d), not identity
        for block in self.blocks:
            y, z = np.zeros((1, d + 1, d)), np.zeros((1, d * block.crossed, d))
            if not identity:
                y[:, -1] = block.error_gradient(second)[:, -1]
                z = block.shift_gradient(second) if block.crossed else z
            blocks.append(BlockMoments(y, z, identity * np.eye(d)[None]))
        core: Array = self.layout.packed(second, blocks)[0]
        return core

    def identity(self) -> Array:
        second: Array = self._reference_core(True)[self.second_places]
        return second

    def stationary_means(self) -> Array:
        return self._reference_core(False)

    def is_positive(self, second: Array) -> bool:
        core = np.zeros(self.core_size)
        core[self.second_places] = second
        d = len(self.eigenvalues)
        u, blocks = self.layout.error(core[None])[0], self.layout.blocks(core[None])
        joints = (np.block([[u[:d, :d], y[0, :d]], [y[0, :d].T, m[0]]]) for y, _, m in blocks)
        return all(np.linalg.eigvalsh(joint)[0] > 0 for joint in joints)
