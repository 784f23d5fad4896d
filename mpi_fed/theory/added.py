"""The covariance that compression adds to a client's gradient, W = E[Cov(C(g) | g)], as a linear map of U.

Exact for linear compressors (W = E[C(g)C(g)^T] - E[g g^T]) and, as g = (z^T u) x at batch size 1, for homogeneous
ones: W = E[(z^T u)^2 Cov(C(x) | x)]. Otherwise the gradient is taken for Gaussian and W's shape is frozen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..compressors import Compressor
from ..problems.population import Covariance
from .controls import FittedVariances, Pairs, Sampler
from .laws import EmpiricalLaw, GaussianLaw, Law
from .packing import Array, pack, packed_size, products, unpack

FROZEN_SAMPLES = 1 << 13
COVARIANCE_SAMPLES = 1 << 13


class Added(Protocol):
    def __call__(self, augmented: Array, gradient: Array) -> Array:
        """W (n, d, d), from the law's `augmented` U (n, d+1, d+1) and E[g g^T] (n, d, d)."""

    def standard_error(self, augmented: Array, inverse: Array) -> float:
        """Of Tr(W inverse), for one augmented U (d+1, d+1); 0 where nothing was sampled."""


@dataclass(frozen=True, eq=False)
class LinearAdded:
    """A compressor whose second moment is a linear map of E[g g^T]."""

    compressor: Compressor

    def __call__(self, augmented: Array, gradient: Array) -> Array:
        coefficients = self.compressor.moment_coefficients(gradient.shape[-1])
        if coefficients is None:
            return np.array([self.compressor.second_moment(m) for m in gradient]) - gradient
        a, b, c = coefficients
        diagonals = np.diagonal(gradient, axis1=1, axis2=2)
        return (a - 1) * gradient + diagonal_matrices(b * diagonals + c * diagonals.sum(axis=1)[:, None])

    def standard_error(self, augmented: Array, inverse: Array) -> float:
        return 0.0


@dataclass(frozen=True, eq=False)
class ResponseAdded:
    """W = pack(augmented) @ matrix: its diagonal (d columns), or all of it packed (d (d+1)/2 columns)."""

    matrix: Array
    error: Callable[[Array, Array], float] | None = None

    def __call__(self, augmented: Array, gradient: Array) -> Array:
        added = pack(augmented) @ self.matrix
        d = gradient.shape[-1]
        return diagonal_matrices(added) if added.shape[1] == d else unpack(added, d)

    def standard_error(self, augmented: Array, inverse: Array) -> float:
        return self.error(augmented, inverse) if self.error else 0.0


@dataclass(frozen=True, eq=False)
class FrozenAdded:
    """W at a reference law of g, scaled: W_jj by E[g_j^2] for uncorrelated compressors, else all by E||g||^2."""

    shape: Array  # (d,) or (d, d)

    def __call__(self, augmented: Array, gradient: Array) -> Array:
        diagonals = np.diagonal(gradient, axis1=1, axis2=2)
        if self.shape.ndim == 1:
            return diagonal_matrices(self.shape * diagonals)
        return diagonals.sum(axis=1)[:, None, None] * self.shape

    def standard_error(self, augmented: Array, inverse: Array) -> float:
        return 0.0

    @classmethod
    def at(cls, compressor: Compressor, gradient: Array) -> FrozenAdded:
        """The reference g ~ N(0, gradient), (d, d)."""
        scale = np.diag(gradient)
        if not scale.any():
            return cls(np.zeros_like(scale))
        law = Covariance.of(gradient)
        if compressor.uncorrelated:
            means = FittedVariances(compressor, law, FROZEN_SAMPLES).means()
            return cls(np.divide(means, scale, out=np.zeros_like(means), where=scale > 0))
        return cls(SampledCovariances(compressor, law, FROZEN_SAMPLES // 4).mean() / scale.sum())


@dataclass(frozen=True, eq=False)
class SampledCovariances:
    """Monte Carlo over Cov(C(x) | x) as a whole, for compressors that state nothing more."""

    compressor: Compressor
    covariance: Covariance
    count: int = COVARIANCE_SAMPLES

    def __iter__(self):
        for x in Sampler(self.covariance, self.count, seed=3):
            yield x, conditional_covariances(self.compressor, x)

    def mean(self) -> Array:
        return unpack(sum(v.sum(axis=0) for _, v in self) / self.count, self.covariance.dimension)

    def response(self, pairs: Pairs) -> Array:
        size = self.covariance.dimension + 1
        total = np.zeros((packed_size(size), packed_size(size - 1)))
        for x, values in self:
            total += products(np.column_stack([x, np.ones(len(x))])).T @ values / self.count
        return pairs.multiplicity(size)[:, None] * total

    def standard_error(self, augmented: Array, inverse: Array) -> float:
        values = [
            np.einsum("njk,jk->n", unpack(v, len(inverse)), inverse)
            * (np.einsum("na,ab,nb->n", x, augmented[:-1, :-1], x, optimize=True) + augmented[-1, -1])
            for x, v in self
        ]
        return float(np.std(np.concatenate(values)) / np.sqrt(self.count))


def diagonal_matrices(diagonals: Array) -> Array:
    """(n, d) to (n, d, d)."""
    n, d = diagonals.shape
    result = np.zeros((n, d, d))
    result[:, np.arange(d), np.arange(d)] = diagonals
    return result


def conditional_covariances(compressor: Compressor, rows: Array) -> Array:
    """Cov(C(x) | x) packed, (n, d (d+1)/2), for each row x."""
    return np.array([pack(compressor.covariance(x)) for x in rows])


def exact_added(compressor: Compressor, law: Law, batch: int | None) -> Added | None:
    """The exact map for a client law at this batch size (None: true gradients), or None where there is none."""
    if compressor.linear:
        return LinearAdded(compressor)
    if batch != 1 or not compressor.homogeneous:
        return None
    if isinstance(law, EmpiricalLaw):
        if compressor.uncorrelated:
            return ResponseAdded(law.response(compressor.variances))
        return ResponseAdded(law.response(lambda rows: conditional_covariances(compressor, rows)))
    assert isinstance(law, GaussianLaw)
    statistic = FittedVariances if compressor.uncorrelated else SampledCovariances
    moments = statistic(compressor, law.covariance)
    return ResponseAdded(moments.response(Pairs(squares=False)), moments.standard_error)
