"""What theory and evaluation know of the clients: their data's law, H, w* and R^2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DENSE_LIMIT = 10_000
"""Above this dimension no d x d array is ever made."""


@dataclass(frozen=True, eq=False)
class Covariance:
    """H = Q diag(eigenvalues) Q^T; Q is the identity, the reflection I - (2/d) 1 1^T, or a dense matrix."""

    eigenvalues: Array
    basis: Array | str | None = None  # None, "householder", or (d, d) with the eigenvectors as columns

    @property
    def dimension(self) -> int:
        return len(self.eigenvalues)

    @property
    def trace(self) -> float:
        return float(np.sum(self.eigenvalues))

    def rotate(self, v: Array) -> Array:
        """Q v, for v of shape (d,) or (d, m)."""
        if self.basis is None:
            return v
        if isinstance(self.basis, str):
            return v - (2.0 / self.dimension) * v.sum(axis=0)
        return self.basis @ v

    def unrotate(self, v: Array) -> Array:
        """Q^T v."""
        return self.basis.T @ v if isinstance(self.basis, np.ndarray) else self.rotate(v)

    def apply(self, v: Array) -> Array:
        """H v, for v of shape (d,) or (d, m)."""
        scale = self.eigenvalues if v.ndim == 1 else self.eigenvalues[:, None]
        return self.rotate(scale * self.unrotate(v))

    @cached_property
    def dense(self) -> Array:
        """H as a (d, d) array."""
        dense = self.apply(np.eye(self.dimension))
        return (dense + dense.T) / 2

    @classmethod
    def of(cls, matrix: Array) -> Covariance:
        """The covariance of a given symmetric positive semidefinite (d, d) matrix."""
        eigenvalues, basis = np.linalg.eigh((matrix + matrix.T) / 2)
        return cls(np.maximum(eigenvalues[::-1], 0.0), np.ascontiguousarray(basis[:, ::-1]))


@dataclass(frozen=True, eq=False)
class GaussianClient:
    """x ~ N(0, H_i), y = <x, w*_i> + eps, eps ~ N(0, noise_variance) independent of x."""

    covariance: Covariance
    optimum: Array
    noise_variance: float


@dataclass(frozen=True, eq=False)
class EmpiricalClient:
    """(x, y) drawn from the rows held, (n, d) and (n,), with replacement."""

    features: Array
    targets: Array

    @cached_property
    def factor(self) -> Array:
        """R, upper triangular, with R^T R = [X y]^T [X y] / n: H_i, the target moment and E[y^2] in one."""
        return triangular(self.features, self.targets) / np.sqrt(len(self.targets))

    @cached_property
    def covariance(self) -> Covariance:
        """H_i = X^T X / n, its eigenvalues from the singular values of R."""
        d = self.features.shape[1]
        _, singular, basis = np.linalg.svd(self.factor[:, :d])
        eigenvalues = np.zeros(d)
        eigenvalues[: len(singular)] = singular**2
        return Covariance(eigenvalues, np.ascontiguousarray(basis.T))


Client = GaussianClient | EmpiricalClient


def gradient_at(client: Client, w: Array) -> Array:
    """E g_i(w), (d,)."""
    if isinstance(client, GaussianClient):
        return client.covariance.apply(w - client.optimum)
    return client.features.T @ (client.features @ w - client.targets) / len(client.targets)


@dataclass(frozen=True, eq=False)
class Population:
    """All N clients, of one type. Clients of one law are one object, repeated: work is done once for them."""

    clients: Sequence[Client]

    @property
    def dimension(self) -> int:
        return self.clients[0].covariance.dimension

    @cached_property
    def laws(self) -> list[tuple[Client, int]]:
        """The distinct clients, each with how many there are of it."""
        counts: dict[int, int] = {}
        first: dict[int, Client] = {}
        for client in self.clients:
            counts[id(client)] = counts.get(id(client), 0) + 1
            first.setdefault(id(client), client)
        return [(first[key], count) for key, count in counts.items()]

    @cached_property
    def covariance(self) -> Covariance:
        """H, the mean of the clients' H_i."""
        if self._has_one_covariance:
            return self.clients[0].covariance
        dense = np.zeros((self.dimension, self.dimension))
        for client, count in self.laws:
            dense += count / len(self.clients) * client.covariance.dense
        return Covariance.of(dense)

    @cached_property
    def optimum(self) -> Array:
        """w* = H^-1 mean_i E_i[y x]: the minimiser of the mean risk."""
        gaussian = [(c, n / len(self.clients)) for c, n in self.laws if isinstance(c, GaussianClient)]
        if not gaussian:
            empirical = [(c, n / len(self.clients)) for c, n in self.laws if isinstance(c, EmpiricalClient)]
            return _least_squares([(c.factor, weight) for c, weight in empirical])
        base = gaussian[0][0].optimum  # taken off first, so that w* is exact where all optima are one
        if self._has_one_covariance:
            return base + sum((weight * (c.optimum - base) for c, weight in gaussian), np.zeros_like(base))
        moment = sum((weight * c.covariance.apply(c.optimum - base) for c, weight in gaussian), np.zeros_like(base))
        return base + np.linalg.lstsq(self.covariance.dense, moment, rcond=None)[0]

    @property
    def _has_one_covariance(self) -> bool:
        return all(c.covariance is self.clients[0].covariance for c, _ in self.laws)

    @property
    def trace(self) -> float:
        """R^2, the mean of Tr H_i."""
        return sum(n * c.covariance.trace for c, n in self.laws) / len(self.clients)

    def excess_risk(self, w: Array) -> Array:
        """1/2 ||w - w*||^2 in the norm of H, for w of shape (..., d).

        One by one, since the bits of a product of matrices depend on how many columns there are.
        """
        errors = (w - self.optimum).reshape(-1, self.dimension)
        h = self.covariance
        risks = [0.5 * np.sum(h.eigenvalues * h.unrotate(error) ** 2) for error in errors]
        return np.array(risks).reshape(w.shape[:-1])


CHUNK = 8192
"""Rows that are factorised at once, so that the data are never copied whole."""


def triangular(*columns: Array) -> Array:
    """R, upper triangular, with R^T R = A^T A for A the given arrays of n rows side by side.

    By QR of blocks of rows, so that nothing is squared.
    """
    r = np.column_stack([c[:0] for c in columns])
    for start in range(0, len(columns[0]), CHUNK):
        block = np.column_stack([c[start : start + CHUNK] for c in columns])
        r = np.asarray(np.linalg.qr(np.concatenate([r, block]), mode="r"))
    return r


def scaled(matrix: Array) -> tuple[Array, Array]:
    """The matrix with its columns at unit norm (but null ones), and what they were divided by."""
    norms = np.linalg.norm(matrix, axis=0)
    norms[norms == 0] = 1.0
    return matrix / norms, norms


def _least_squares(factors: list[tuple[Array, float]]) -> Array:
    """The w that minimises the weighted sum of |R_x w - R_y|^2 over factors R = [R_x R_y], by SVD."""
    joint = triangular(np.concatenate([np.sqrt(weight) * factor for factor, weight in factors]))
    columns, norms = scaled(joint[:, :-1])
    return np.asarray(np.linalg.lstsq(columns, joint[:, -1], rcond=None)[0] / norms, dtype=np.float64)
