"""Laws of the clients' data, with H, w* and R^2, for predictions and evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DENSE_LIMIT = 10_000
"""Largest dimension at which d x d arrays are made."""


@dataclass(frozen=True, eq=False)
class Covariance:
    """Covariance matrix H = Q diag(eigenvalues) Q^T, positive semidefinite.

    Parameters
    ----------
    eigenvalues : array, (d,)
        Eigenvalues, at least 0.
    basis : None, "householder" or array, (d, d)
        Q: the identity, the reflection I - (2/d) 1 1^T, or a dense matrix with the eigenvectors as columns.
    """

    eigenvalues: Array
    basis: Array | str | None = None

    @property
    def dimension(self) -> int:
        """d."""
        return len(self.eigenvalues)

    @property
    def trace(self) -> float:
        """Tr H."""
        return float(np.sum(self.eigenvalues))

    def rotate(self, v: Array) -> Array:
        """Return Q v, for v of shape (d,) or (d, m)."""
        if self.basis is None:
            return v
        if isinstance(self.basis, str):
            reflected: Array = v - (2.0 / self.dimension) * v.sum(axis=0)
            return reflected
        return self.basis @ v

    def unrotate(self, v: Array) -> Array:
        """Return Q^T v, for v of shape (d,) or (d, m)."""
        return self.basis.T @ v if isinstance(self.basis, np.ndarray) else self.rotate(v)

    def apply(self, v: Array) -> Array:
        """Return H v, for v of shape (d,) or (d, m)."""
        scale = self.eigenvalues if v.ndim == 1 else self.eigenvalues[:, None]
        return self.rotate(scale * self.unrotate(v))

    @cached_property
    def dense(self) -> Array:
        """H as a (d, d) array."""
        dense = self.apply(np.eye(self.dimension))
        symmetric: Array = (dense + dense.T) / 2
        return symmetric

    @classmethod
    def of(cls, matrix: Array) -> Covariance:
        """Return the covariance that equals a symmetric positive semidefinite matrix of shape (d, d)."""
        eigenvalues, basis = np.linalg.eigh((matrix + matrix.T) / 2)
        return cls(np.maximum(eigenvalues[::-1], 0.0), np.ascontiguousarray(basis[:, ::-1]))


@dataclass(frozen=True, eq=False)
class GaussianClient:
    """Client with x ~ N(0, H_i), y = <x, w*_i> + eps, and eps ~ N(0, noise_variance) independent of x."""

    covariance: Covariance  # H_i
    optimum: Array  # w*_i, (d,)
    noise_variance: float


@dataclass(frozen=True, eq=False)
class EmpiricalClient:
    """Client whose (x, y) are drawn from the rows that it holds, with replacement."""

    features: Array  # (n, d)
    targets: Array  # (n,)

    @cached_property
    def factor(self) -> Array:
        """Upper triangular R (shape (d+1, d+1)) with R^T R = [X y]^T [X y] / n, a matrix of H_i, E[y x] and E[y^2]."""
        factor: Array = triangular(self.features, self.targets) / np.sqrt(len(self.targets))
        return factor

    @cached_property
    def covariance(self) -> Covariance:
        """H_i = X^T X / n, with eigenvalues from the singular values of R."""
        d = self.features.shape[1]
        _, singular, basis = np.linalg.svd(self.factor[:, :d])
        eigenvalues = np.zeros(d)
        eigenvalues[: len(singular)] = singular**2
        return Covariance(eigenvalues, np.ascontiguousarray(basis.T))


Client = GaussianClient | EmpiricalClient


def gradient_at(client: Client, w: Array) -> Array:
    """Return the client's true gradient E g_i(w); the gradient and w have shape (d,)."""
    if isinstance(client, GaussianClient):
        return client.covariance.apply(w - client.optimum)
    gradient: Array = client.features.T @ (client.features @ w - client.targets) / len(client.targets)
    return gradient


@dataclass(frozen=True, eq=False)
class Population:
    """All N clients, either all Gaussian or all empirical.

    Clients with the same law are the same object, so that computations are done only once for each law.

    Parameters
    ----------
    clients : sequence of GaussianClient or of EmpiricalClient
        The N clients.
    """

    clients: Sequence[Client]

    @property
    def dimension(self) -> int:
        """d."""
        return self.clients[0].covariance.dimension

    @cached_property
    def laws(self) -> list[tuple[Client, int]]:
        """Distinct clients, each with the number of its copies."""
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
        """w* = H^-1 mean_i E_i[y x], the minimizer of the mean risk, of shape (d,)."""
        gaussian = [(c, n / len(self.clients)) for c, n in self.laws if isinstance(c, GaussianClient)]
        if not gaussian:
            empirical = [(c, n / len(self.clients)) for c, n in self.laws if isinstance(c, EmpiricalClient)]
            return _least_squares([(c.factor, weight) for c, weight in empirical])
        base = gaussian[0][0].optimum  # subtracted first, so that w* is exact if all optima are equal
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
        """Return the excess risk `(1/2) (w - w*)^T H (w - w*)`.

        The risk is computed for one w at a time, since the bits of a product of matrices depend on the number of
        columns.

        Parameters
        ----------
        w : array, (..., d)
            Iterates.

        Returns
        -------
        array, (...)
            Excess risk of each iterate.
        """
        errors = (w - self.optimum).reshape(-1, self.dimension)
        h = self.covariance
        risks = [0.5 * np.sum(h.eigenvalues * h.unrotate(error) ** 2) for error in errors]
        return np.array(risks).reshape(w.shape[:-1])


CHUNK = 8192
"""Number of rows that are factorized at once, so that the data are never copied as a whole."""


def triangular(*columns: Array) -> Array:
    """Return upper triangular R with R^T R = A^T A, where A consists of the given arrays, of n rows each, side by side.

    R is computed by QR of blocks of rows, so that no number is squared.
    """
    r = np.column_stack([c[:0] for c in columns])
    for start in range(0, len(columns[0]), CHUNK):
        block = np.column_stack([c[start : start + CHUNK] for c in columns])
        r = np.asarray(np.linalg.qr(np.concatenate([r, block]), mode="r"))
    return r


def scaled(matrix: Array) -> tuple[Array, Array]:
    """Return the matrix with each column divided by its norm, and the norms; a zero column counts as one of norm 1."""
    norms = np.linalg.norm(matrix, axis=0)
    norms[norms == 0] = 1.0
    return matrix / norms, norms


def _least_squares(factors: list[tuple[Array, float]]) -> Array:
    """Return the w (shape (d,)) that minimizes the weighted sum of |R_x w - R_y|^2 over R = [R_x R_y], by SVD."""
    joint = triangular(np.concatenate([np.sqrt(weight) * factor for factor, weight in factors]))
    columns, norms = scaled(joint[:, :-1])
    return np.asarray(np.linalg.lstsq(columns, joint[:, -1], rcond=None)[0] / norms, dtype=np.float64)
