"""E[v_j(x) (x x^T, 1)] for Gaussian x and the conditional variances v_j(x) = Var(C(x)_j | x) of a compressor.

v_j is fitted by a combination of three control variates, ||x_b|| |x_j|, x_j^2 and ||x_b||^2, where x_b are the
coordinates of the bucket that contains j. The moments of the control variates are closed forms or one-dimensional
integrals, so that only the residual needs Monte Carlo. For 1-quantization, with or without buckets,
v_j = ||x_b|| |x_j| - x_j^2 exactly. Then the residual is 0, and no sample is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ...compressors import Compressor
from ...problems.population import Covariance
from .norm_moments import buckets, mean_norm_products, norm_product_diagonals, norm_product_tensor
from .symmetric_packing import CHUNK, Array, multiplicity, packed_products, packed_size

PILOT = 4096
SAMPLES = 1 << 15
WORK = 2e11
"""Largest number of floating-point operations for the samples. It limits the number of samples."""


@dataclass(frozen=True)
class CoordinateProducts:
    """The products of coordinates that are kept: all of them, packed, or only the squares.

    The squares suffice if the expectations of all other products are 0.
    """

    squares: bool

    def of(self, rows: Array) -> Array:
        """Return the products of each row, of shape (n, count(size)), for rows (n, size)."""
        return rows**2 if self.squares else packed_products(rows)

    def count(self, size: int) -> int:
        """Return the number of products of `size` coordinates."""
        return size if self.squares else packed_size(size)

    def multiplicity(self, size: int) -> Array:
        """Return the number of times that each product occurs in z z^T, for a z of `size` coordinates."""
        return np.ones(size) if self.squares else multiplicity(size)

    def place(self, moments: Array, means: Array) -> Array:
        """Return E[v z z^T], z = (x, 1), of shape (count(d+1), m), from E[v x x^T] (count(d), m) and E[v] (m,).

        E[v x] = 0 because v is even.
        """
        d = self._size(len(moments))
        placed = np.zeros((self.count(d + 1), moments.shape[1]))
        if self.squares:
            placed[:d] = moments
        else:
            rows, columns = np.triu_indices(d + 1)
            placed[(rows < d) & (columns < d)] = moments
        placed[-1] = means
        return placed

    def _size(self, count: int) -> int:
        return count if self.squares else int((np.sqrt(8 * count + 1) - 1) / 2)


def _control_values(x: Array, bucket: int | None) -> Array:
    """Return the control variates (3, n, d) at x (n, d)."""
    square = np.empty_like(x)
    for b in buckets(x.shape[1], bucket):
        square[:, b] = (x[:, b] ** 2).sum(axis=1, keepdims=True)
    return np.stack([np.sqrt(square) * np.abs(x), x**2, square])


def _control_moments(covariance: Covariance, bucket: int | None, pairs: CoordinateProducts) -> Iterator[Array]:
    """Yield the exact moments (count(d+1), d) of each control variate, in the order of `_control_values`."""
    if pairs.squares:
        return _square_moments(covariance.eigenvalues, bucket, pairs)
    return _product_moments(covariance.dense, bucket, pairs)


def _product_moments(h: Array, bucket: int | None, pairs: CoordinateProducts) -> Iterator[Array]:
    d = len(h)
    rows, columns = np.triu_indices(d)
    packed = h[rows, columns][:, None]
    yield pairs.place(norm_product_tensor(h, bucket).T, mean_norm_products(h, bucket))
    yield pairs.place(2 * h[rows] * h[columns] + packed * np.diag(h), np.diag(h))
    moments, means = np.empty((len(rows), d)), np.empty(d)
    for b in buckets(d, bucket):
        means[b] = np.trace(h[b, b])
        inner = 2 * h[:, b] @ h[b]
        moments[:, b] = inner[rows, columns][:, None] + packed * means[b]
    yield pairs.place(moments, means)


def _square_moments(eigenvalues: Array, bucket: int | None, pairs: CoordinateProducts) -> Iterator[Array]:
    means = np.empty_like(eigenvalues)
    member = np.zeros((len(eigenvalues), len(eigenvalues)))
    for b in buckets(len(eigenvalues), bucket):
        means[b] = eigenvalues[b].sum()
        member[b, b] = 1.0
    yield pairs.place(norm_product_diagonals(eigenvalues, bucket).T, mean_norm_products(np.diag(eigenvalues), bucket))
    yield pairs.place(np.outer(eigenvalues, eigenvalues) + 2 * np.diag(eigenvalues**2), eigenvalues)
    yield pairs.place(np.outer(eigenvalues, means) + 2 * eigenvalues[:, None] ** 2 * member, means)


class GaussianSamples:
    """Chunks (n, d) of samples of N(0, covariance); every pass yields the same samples."""

    def __init__(self, covariance: Covariance, count: int, seed: int) -> None:
        self.covariance, self.count, self.seed = covariance, count, seed

    def __iter__(self) -> Iterator[Array]:
        rng = np.random.Generator(np.random.PCG64(self.seed))
        d = self.covariance.dimension
        root = np.sqrt(self.covariance.eigenvalues)[:, None]
        width = max(16, CHUNK // packed_size(d + 1))
        for start in range(0, self.count, width):
            normals = rng.standard_normal((d, min(width, self.count - start)))
            yield self.covariance.rotate(root * normals).T


class FittedVariances:
    """v = coefficients . controls + residual for an uncorrelated, homogeneous compressor at x ~ N(0, covariance)."""

    def __init__(self, compressor: Compressor, covariance: Covariance, samples: int = SAMPLES) -> None:
        self.variances: Callable[[Array], Array] = compressor.variances
        self.bucket = getattr(compressor, "bucket", None)
        self.covariance = covariance
        self.coefficients, exact = self._fit(np.concatenate(list(GaussianSamples(covariance, PILOT, seed=1))))
        d = covariance.dimension
        affordable = int(WORK / (2 * d * packed_size(d + 1)))
        self.samples = GaussianSamples(covariance, 0 if exact else max(PILOT, min(samples, affordable)), seed=2)

    def _fit(self, x: Array) -> tuple[Array, bool]:
        """Return the least-squares coefficients (3, d), and True if the residual is 0."""
        controls, v = _control_values(x, self.bucket), self.variances(x)
        coefficients = np.stack(
            [np.linalg.lstsq(controls[:, :, j].T, v[:, j], rcond=1e-10)[0] for j in range(x.shape[1])], axis=1
        )
        left = np.abs(v - np.einsum("cnj,cj->nj", controls, coefficients)).max()
        return coefficients, bool(left <= 1e-11 * controls.max())

    def residual(self, x: Array) -> Array:
        """Return v minus its fit, of shape (n, d), at x of shape (n, d)."""
        fit = np.einsum("cnj,cj->nj", _control_values(x, self.bucket), self.coefficients)
        residual: Array = self.variances(x) - fit
        return residual

    def means(self) -> Array:
        """Return E[v_j(x)], of shape (d,)."""
        h = self.covariance.dense
        traces = np.empty(len(h))
        for b in buckets(len(h), self.bucket):
            traces[b] = np.trace(h[b, b])
        total = (self.coefficients * [mean_norm_products(h, self.bucket), np.diag(h), traces]).sum(axis=0)
        means: Array = total + sum(self.residual(x).sum(axis=0) for x in self.samples) / max(1, self.samples.count)
        return means

    def response(self, pairs: CoordinateProducts) -> Array:
        """Return E[v_j(x) z z^T] times the multiplicity of each pair, of shape (count(d+1), d), where z = (x, 1)."""
        size = self.covariance.dimension + 1
        total = np.zeros((pairs.count(size), size - 1))
        exact = _control_moments(self.covariance, self.bucket, pairs)
        for moments, coefficient in zip(exact, self.coefficients, strict=True):
            total += moments * coefficient
        for x in self.samples:
            rows = np.column_stack([x, np.ones(len(x))])
            total += pairs.of(rows).T @ self.residual(x) / self.samples.count
        return pairs.multiplicity(size)[:, None] * total

    def standard_error(self, augmented: Array, inverse: Array) -> float:
        """Return the standard error of sum_j inverse_jj E[v_j(x) z^T augmented z].

        `augmented` has shape (d+1, d+1), and `inverse` has shape (d, d).
        """
        values = [
            (self.residual(x) @ np.diag(inverse))
            * (np.einsum("na,ab,nb->n", x, augmented[:-1, :-1], x, optimize=True) + augmented[-1, -1])
            for x in self.samples
        ]
        return float(np.std(np.concatenate(values)) / np.sqrt(self.samples.count)) if values else 0.0
