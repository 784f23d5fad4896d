"""The recursion on the full second moment: any clients, any compressor whose added covariance is linear in U."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...compressors import Compressor
from ...problems.population import Covariance
from ..moments.compression_covariance import Added, LinearAdded
from ..moments.gradient_moments import EmpiricalLaw, Law, sandwich
from ..moments.symmetric_packing import Array, inner_triangle, pack, packed_size, unpack
from .base import Recursion
from .resolvent import FullResolvent, has_resolvent


class FullRecursion(Recursion):
    """The core is U packed, (d+1)(d+2)/2 numbers. `downlink`: the linear compressor of the mean message, if any."""

    def __init__(
        self,
        covariance: Covariance,
        laws: Sequence[Law],
        batch: int | None,
        added: Added,
        downlink: Compressor | None = None,
    ) -> None:
        d = covariance.dimension
        self.covariance, self.laws, self.batch, self.added = covariance, laws, batch, added
        self.downlink = None if downlink is None else LinearAdded(downlink)
        self.clients = sum(law.weight for law in laws)
        self.eigenvalues = covariance.eigenvalues
        self.basis = covariance.rotate(np.eye(d))
        self.core = packed_size(d + 1)
        self.second = inner_triangle(d + 1)
        fourths = sum(isinstance(law, EmpiricalLaw) for law in laws) if batch else 0
        self.flops = (6.0 + 4 * len(laws)) * d**3 + 2.0 * self.core * (d + fourths * self.core)

    def covariance_of_noise(self, second: Array) -> Array:
        """C(U), (n, d, d), of U (n, d+1, d+1)."""
        mean = np.zeros((len(second), *self.covariance.dense.shape))
        sampling = np.zeros_like(mean)
        for law in self.laws:
            own = law.mean(second)
            mean += law.weight / self.clients * own
            if self.batch:
                sampling += law.weight / (self.clients * self.batch) * law.sampling(second, own)
        uplink = (sampling + self.added(second, mean + sampling)) / self.clients
        if self.downlink is None:
            return uplink
        return uplink + self.downlink.of(uplink + sandwich(self.covariance.dense, second[:, :-1, :-1]))

    def unpacked(self, core: Array) -> Array:
        return unpack(core, len(self.eigenvalues) + 1)

    def core_of(self, mean: Array, variance: float) -> Array:
        u = np.append(mean, 1.0)
        second = np.outer(u, u)
        second[np.diag_indices(len(mean))] += variance
        return pack(second)

    def spectrum(self, core: Array) -> Array:
        s = self.unpacked(core)[:, :-1, :-1]
        return ((s @ self.basis) * self.basis).sum(axis=1)

    def core_step(self, core: Array, gamma: float) -> Array:
        d = len(self.eigenvalues)
        second = self.unpacked(core)
        transition = np.eye(d + 1)
        transition[:d, :d] -= gamma * self.covariance.dense
        after = sandwich(transition, second)
        after[:, :d, :d] += gamma**2 * self.covariance_of_noise(second)
        return pack(after)

    def noise_trace(self, core: Array) -> float:
        c = self.noise_covariance(core)
        return float(((self.basis * (c @ self.basis)).sum(axis=0) / self.eigenvalues).sum())

    def noise_weights(self, core: Array) -> Array:
        root = self.basis / np.sqrt(self.eigenvalues)
        return np.asarray(np.linalg.eigvalsh(root.T @ self.noise_covariance(core) @ root), dtype=np.float64)

    def noise_covariance(self, core: Array) -> Array:
        """C(U) of one core, (d, d)."""
        return self.covariance_of_noise(self.unpacked(core[None]))[0]

    def noise_standard_error(self, core: Array) -> float:
        inverse = self.basis / self.eigenvalues @ self.basis.T
        if self.downlink is not None:
            inverse = self.downlink.compressor.adjoint_second_moment(inverse)
        return self.added.standard_error(self.unpacked(core), inverse) / self.clients

    def resolvent(self, gamma: float) -> FullResolvent | None:
        return FullResolvent(self, gamma) if has_resolvent(self) else None

    def stationary(self, gamma: float) -> Array | None:
        resolvent = self.resolvent(gamma)
        if resolvent is None:
            return super().stationary(gamma)
        proof = resolvent.settled(noise=False)
        if not np.isfinite(proof).all() or not self.is_positive(pack(proof)):
            return None
        core = self.settled()
        core[self.second] = pack(resolvent.settled(noise=True))
        return core

    def operations_of_resolvent(self) -> float:
        d = len(self.eigenvalues)
        return 5.0 * d**4 if has_resolvent(self) else math.inf

    def identity(self) -> Array:
        return pack(np.eye(len(self.eigenvalues)))

    def is_positive(self, second: Array) -> bool:
        return bool(np.linalg.eigvalsh(unpack(second, len(self.eigenvalues)))[0] > 0)
