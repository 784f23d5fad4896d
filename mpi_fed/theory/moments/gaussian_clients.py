"""Gradient moments of Gaussian clients: x ~ N(0, H), y = <x, w*_i> + eps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...problems.population import Covariance
from .matrix_products import multiply_left, multiply_right
from .symmetric_packing import (
    CHUNK,
    Array,
    inner_triangle,
    multiplicity,
    pack,
    packed_products,
    packed_size,
    triangle,
    unpack,
)


@dataclass(frozen=True, eq=False)
class GaussianClients:
    """Gaussian clients with the same covariance."""

    covariance: Covariance
    weights: Array  # (k,), how many clients
    deltas: Array  # (k, d), w* - w*_i
    noise_variances: Array  # (k,)

    @property
    def weight(self) -> int:
        """The number of clients."""
        return int(self.weights.sum())

    @property
    def noise_variance(self) -> float:
        """The mean of sigma^2."""
        return float(self.weights @ self.noise_variances) / self.weight

    @cached_property
    def shift(self) -> Array:
        """The mean of Delta, of shape (d,)."""
        return self.weights @ self.deltas / self.weight

    @cached_property
    def spread(self) -> Array:
        """The mean of Delta Delta^T, of shape (d, d)."""
        return self.deltas.T @ (self.weights[:, None] * self.deltas) / self.weight

    @cached_property
    def shifted(self) -> bool:
        """True if the optimum of some client differs from w*."""
        return bool(self.deltas.any())

    @cached_property
    def matrix(self) -> Array:
        """H (d, d), or its diagonal (d,) if H is diagonal."""
        return self.covariance.eigenvalues if self.covariance.basis is None else self.covariance.dense

    def single_clients(self) -> list[GaussianClients]:
        """Return one group for each of `weights`."""
        return [
            GaussianClients(
                self.covariance, *(part[i : i + 1] for part in (self.weights, self.deltas, self.noise_variances))
            )
            for i in range(len(self.weights))
        ]

    def shifted_moment(self, second: Array) -> Array:
        """Return B = E[(eta + Delta)(eta + Delta)^T], of shape (n, d, d), for U = `second` of shape (n, d+1, d+1)."""
        b = second[:, :-1, :-1]
        if not self.shifted:
            return b
        cross = second[:, :-1, -1, None] * self.shift
        return b + cross + cross.transpose(0, 2, 1) + second[:, -1, -1, None, None] * self.spread

    def mean_moment(self, second: Array) -> Array:
        """Return E[m m^T] = H B H, of shape (n, d, d)."""
        return multiply_right(multiply_left(self.matrix, self.shifted_moment(second)), self.matrix)

    def sampling_covariance(self, second: Array, mean: Array) -> Array:
        """Return E[g g^T] - E[m m^T] = H B H + (sigma^2 + Tr(H B)) H, of shape (n, d, d), where H B H = `mean`."""
        h, b = self.covariance.dense, self.shifted_moment(second)
        scale = self.noise_variance * second[:, -1, -1] + b.reshape(len(b), -1) @ h.ravel()
        return mean + scale[:, None, None] * h

    def gradient_moment(self, second: Array, batch: int | None) -> Array:
        mean = self.mean_moment(second[None])
        moment: Array = (mean + self.sampling_covariance(second[None], mean) / batch if batch else mean)[0]
        return moment

    def squares_map(self, batch: int | None) -> Array:
        h = self.covariance.dense
        d = len(h)
        placed = np.zeros((packed_size(d + 1), d))
        inner = inner_triangle(d + 1)
        placed[inner] = packed_products(h).T * (1 + (1 / batch if batch else 0))
        if batch:
            placed[inner] += np.outer(pack(h), np.diag(h) / batch)
            placed[-1] = np.diag(h) / batch
        return self.adjoint(multiplicity(d + 1)[:, None] * placed)

    def augmented_moment(self, second: Array) -> Array:
        result = np.zeros_like(second)
        result[:-1, :-1] = self.shifted_moment(second[None])[0]
        result[-1, -1] = self.noise_variance * second[-1, -1]
        return result

    def adjoint(self, response: Array) -> Array:
        """Return the matrix A for which pack(U) @ A = pack(augmented_moment(U)) @ response.

        `response` may have any number of columns.
        """
        result = response.copy()
        result[-1] *= self.noise_variance
        if self.shifted:
            d = len(self.shift)
            rows, columns = triangle(d + 1)
            cross = np.flatnonzero((rows < d) & (columns == d))
            plain = (response / multiplicity(d + 1)[:, None]).T
            width = max(1, CHUNK // (d + 1) ** 2)
            for start in range(0, len(plain), width):
                q = unpack(plain[start : start + width], d + 1)[:, :d, :d]
                result[cross, start : start + width] += 2 * (q @ self.shift).T
                result[-1, start : start + width] += q.reshape(len(q), -1) @ self.spread.ravel()
        return result
