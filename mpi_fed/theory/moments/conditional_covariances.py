"""E[Cov(C(x) | x) (x x^T, 1)] for Gaussian x by Monte Carlo, for compressors that define only `covariance`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...compressors import Compressor
from ...problems.population import Covariance
from .conditional_variances import CoordinateProducts, GaussianSamples
from .symmetric_packing import Array, pack, packed_products, packed_size, unpack

SAMPLES = 1 << 13


@dataclass(frozen=True, eq=False)
class SampledCovariances:
    """Monte Carlo averages of the matrix Cov(C(x) | x) over x ~ N(0, covariance)."""

    compressor: Compressor
    covariance: Covariance
    count: int = SAMPLES

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        for x in GaussianSamples(self.covariance, self.count, seed=3):
            yield x, conditional_covariances(self.compressor, x)

    def mean(self) -> Array:
        """Return E Cov(C(x) | x), of shape (d, d)."""
        return unpack(sum(v.sum(axis=0) for _, v in self) / self.count, self.covariance.dimension)

    def response(self, pairs: CoordinateProducts) -> Array:
        """Return E[Cov(C(x) | x) z z^T] times the multiplicity of each pair, z = (x, 1), with both factors packed."""
        size = self.covariance.dimension + 1
        total = np.zeros((packed_size(size), packed_size(size - 1)))
        for x, values in self:
            total += packed_products(np.column_stack([x, np.ones(len(x))])).T @ values / self.count
        return pairs.multiplicity(size)[:, None] * total

    def standard_error(self, augmented: Array, inverse: Array) -> float:
        """Return the standard error of Tr(E[Cov(C(x) | x) z^T augmented z] inverse).

        `augmented` has shape (d+1, d+1), and `inverse` has shape (d, d).
        """
        values = [
            np.einsum("njk,jk->n", unpack(v, len(inverse)), inverse)
            * (np.einsum("na,ab,nb->n", x, augmented[:-1, :-1], x, optimize=True) + augmented[-1, -1])
            for x, v in self
        ]
        return float(np.std(np.concatenate(values)) / np.sqrt(self.count))


def conditional_covariances(compressor: Compressor, rows: Array) -> Array:
    """Return Cov(C(x) | x) for each row x: the diagonals (n, d) for uncorrelated compressors, else packed matrices."""
    if compressor.uncorrelated:
        return compressor.variances(rows)
    return np.array([pack(compressor.covariance(x)) for x in rows])
