"""The recursion on the full second moment: any clients, any compressor whose added covariance is linear in U."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..problems.population import Covariance
from .added import Added
from .laws import GaussianLaw, Law
from .packing import Array, pack, packed_size, triangle, unpack
from .recursion import Recursion


def gradient_moments(law: Law, batch: int | None, second: Array) -> tuple[Array, Array]:
    """E[g g^T] of `batch` samples (None: true gradients), and the part of it that sampling makes, (n, d, d)."""
    mean = law.mean(second)
    sampling = law.sampling(second) / batch if batch else np.zeros_like(mean)
    return mean + sampling, sampling


@dataclass(frozen=True, eq=False)
class Noise:
    """U -> the covariance of a client's compressed gradient, averaged over eta."""

    law: Law
    batch: int | None
    added: Added

    def __call__(self, second: Array) -> Array:
        gradient, sampling = gradient_moments(self.law, self.batch, second)
        return sampling + self.added(self.law.augmented(second), gradient)


class FullRecursion(Recursion):
    """The core is U packed, (d+1)(d+2)/2 numbers."""

    def __init__(self, covariance: Covariance, noises: Sequence[Noise]) -> None:
        d = covariance.dimension
        self.covariance, self.noises = covariance, noises
        self.clients = sum(noise.law.weight for noise in noises)
        self.eigenvalues = covariance.eigenvalues
        self.basis = covariance.rotate(np.eye(d))
        self.core = packed_size(d + 1)
        rows, columns = triangle(d + 1)
        self.second = np.flatnonzero((rows < d) & (columns < d))
        self.flops = (6 + 6 * len(noises)) * d**3 + sum(
            2.0 * self.core * (d if isinstance(noise.law, GaussianLaw) else self.core) for noise in noises
        )

    def covariance_of_noise(self, second: Array) -> Array:
        """C(U), (n, d, d), of U (n, d+1, d+1)."""
        total = np.zeros((len(second), *self.covariance.dense.shape))
        for noise in self.noises:
            total += noise.law.weight / self.clients**2 * noise(second)
        return total

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
        after = transition @ second @ transition
        after[:, :d, :d] += gamma**2 * self.covariance_of_noise(second)
        return pack(after)

    def noise_trace(self, core: Array) -> float:
        c = self.covariance_of_noise(self.unpacked(core[None]))[0]
        return float(((self.basis * (c @ self.basis)).sum(axis=0) / self.eigenvalues).sum())

    def noise_standard_error(self, core: Array) -> float:
        second = self.unpacked(core[None])
        inverse = self.basis / self.eigenvalues @ self.basis.T
        errors = [n.law.weight * n.added.standard_error(n.law.augmented(second)[0], inverse) for n in self.noises]
        return float(np.linalg.norm(errors)) / self.clients**2

    def identity(self) -> Array:
        return pack(np.eye(len(self.eigenvalues)))

    def is_positive(self, second: Array) -> bool:
        return bool(np.linalg.eigvalsh(unpack(second, len(self.eigenvalues)))[0] > 0)
