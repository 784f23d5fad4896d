"""The covariance that compression adds to a client's gradient, W = E[Cov(C(g) | g)], as a linear map of U.

For linear compressors the map is exact: W = c(M) - M, where M = E[g g^T] and c(M) = E[C(g) C(g)^T]. It is also exact
for homogeneous compressors at batch size 1, where g = (z^T u) x: W = E[(z^T u)^2 Cov(C(x) | x)]. Otherwise the gradient
is treated as Gaussian, and the shape of W is frozen: the ratio W_jj / E[g_j^2] is computed at one U, and then held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from ...compressors import Compressor
from ...problems.population import Covariance
from .conditional_covariances import SampledCovariances, conditional_covariances
from .conditional_variances import CoordinateProducts, FittedVariances
from .empirical_clients import EmpiricalClients
from .gaussian_clients import GaussianClients
from .gradient_moments import ClientGroup
from .symmetric_packing import Array, pack, unpack

FROZEN_SAMPLES = 1 << 13
"""Number of Gaussian gradients from which a frozen shape is sampled."""


class CompressionCovariance(Protocol):
    """The map from U to the mean of W over all clients."""

    def __call__(self, second: Array, gradient: Array) -> Array:
        """Return W (n, d, d) for U of shape (n, d+1, d+1) and the clients' mean E[g g^T] (n, d, d)."""

    def standard_error(self, second: Array, inverse: Array) -> float:
        """Return the standard error of Tr(W inverse) for one U of shape (d+1, d+1); 0 if nothing was sampled."""


@dataclass(frozen=True, eq=False)
class LinearCovariance:
    """The covariance W of a linear compressor, W = c(M) - M for M = E[g g^T]."""

    compressor: Compressor

    def __call__(self, second: Array, gradient: Array) -> Array:
        return self.from_input(gradient)

    def from_input(self, moment: Array) -> Array:
        """Return W (n, d, d) for the second moment (n, d, d) of the compressor's input."""
        coefficients = self.compressor.moment_coefficients(moment.shape[-1])
        if coefficients is None:
            return np.array([self.compressor.second_moment(m) for m in moment]) - moment
        a, b, c = coefficients
        diagonals = np.diagonal(moment, axis1=1, axis2=2)
        return (a - 1) * moment + diagonal_matrices(b * diagonals + c * diagonals.sum(axis=1)[:, None])

    def standard_error(self, second: Array, inverse: Array) -> float:
        return 0.0


StandardError = Callable[[Array, Array], float]
"""(augmented (d+1, d+1), inverse (d, d)) -> standard error of Tr(W inverse)."""


@dataclass(frozen=True, eq=False)
class MatrixCovariance:
    """W = pack(U) @ matrix. The matrix has d columns, for the diagonal of W, or d (d+1)/2 columns, for W packed."""

    matrix: Array
    errors: Sequence[tuple[float, ClientGroup, StandardError]] = ()
    """For each group its share of the clients, the group, and the standard error of its part of W."""

    def __call__(self, second: Array, gradient: Array) -> Array:
        covariance, d = pack(second) @ self.matrix, gradient.shape[-1]
        return diagonal_matrices(covariance) if covariance.shape[1] == d else unpack(covariance, d)

    def standard_error(self, second: Array, inverse: Array) -> float:
        parts = [share * error(group.augmented_moment(second), inverse) for share, group, error in self.errors]
        return float(np.linalg.norm(parts))


def exact_covariance(
    compressor: Compressor, groups: Sequence[ClientGroup], batch: int | None
) -> CompressionCovariance | None:
    """Return the exact map at this batch size (None: true gradients), or None if W is not a linear map of U."""
    if compressor.linear:
        return LinearCovariance(compressor)
    if batch != 1 or not compressor.homogeneous:
        return None
    clients = sum(group.weight for group in groups)
    total: Array | float = 0.0
    errors = []
    for group in groups:
        share = group.weight / clients
        if isinstance(group, EmpiricalClients):
            total = total + share * group.response(partial(conditional_covariances, compressor))
            continue
        assert isinstance(group, GaussianClients)
        noise_of = FittedVariances if compressor.uncorrelated else SampledCovariances
        noise = noise_of(compressor, group.covariance)
        total = total + share * group.adjoint(noise.response(CoordinateProducts(squares=False)))
        errors.append((share, group, noise.standard_error))
    return MatrixCovariance(np.asarray(total), errors)


def frozen_covariance(
    compressor: Compressor, groups: Sequence[ClientGroup], batch: int | None, second: Array
) -> MatrixCovariance:
    """Return the map that keeps the shape of W at U = `second` of shape (d+1, d+1), where g is treated as Gaussian.

    The shape is W_jj / E[g_j^2] for an uncorrelated compressor, else W / E||g||^2.
    """
    clients = sum(group.weight for group in groups)
    total: Array | float = 0.0
    for single in (single for group in groups for single in group.single_clients()):
        squares = single.squares_map(batch)
        shape = noise_shape(compressor, single.gradient_moment(second, batch))
        scaled = squares * shape if shape.ndim == 1 else np.outer(squares.sum(axis=1), pack(shape))
        total = total + single.weight / clients * scaled
    return MatrixCovariance(np.asarray(total))


def noise_shape(compressor: Compressor, gradient: Array) -> Array:
    """Return W_jj / E[g_j^2] (d,) for an uncorrelated compressor, else W / E||g||^2 (d, d), at g ~ N(0, gradient)."""
    scale, covariance = np.diag(gradient), Covariance.of(gradient)
    if compressor.uncorrelated:
        means = FittedVariances(compressor, covariance, FROZEN_SAMPLES).means()
        return np.divide(means, scale, out=np.zeros_like(means), where=scale > 0)
    mean = SampledCovariances(compressor, covariance, FROZEN_SAMPLES // 4).mean()
    shape: Array = mean / max(scale.sum(), np.finfo(float).tiny)
    return shape


def diagonal_matrices(diagonals: Array) -> Array:
    """Return diagonal matrices (n, d, d) for diagonals (n, d)."""
    n, d = diagonals.shape
    result = np.zeros((n, d, d))
    result[:, np.arange(d), np.arange(d)] = diagonals
    return result
