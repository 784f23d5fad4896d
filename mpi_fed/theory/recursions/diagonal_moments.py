"""The recursion on the diagonal of the moments in H's eigenbasis, which is cheap at every dimension.

It closes for Gaussian clients with the same covariance in two cases. Either compression commutes with rotations, so
that c(M) = E[C(g) C(g)^T] is a combination of M and Tr(M) I. Or H is diagonal, and compression commutes with changes of
sign. Let lambda be the eigenvalues, and B the diagonal of E[(eta + Delta)(eta + Delta)^T] in the eigenbasis, averaged
over clients. A gradient of b samples has the second moments (products are elementwise)
    lambda^2 B + (lambda^2 B + (sigma^2 + <lambda, B>) lambda) / b.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...compressors import Compressor
from ..moments.conditional_variances import CoordinateProducts, FittedVariances, GaussianSamples
from ..moments.gaussian_clients import GaussianClients
from ..moments.gradient_moments import ClientGroup
from ..moments.symmetric_packing import Array
from .base import Recursion

LARGEST_RESPONSE = 2000
"""Largest dimension for which the d x d matrix from B to a compressor's added variances is computed."""


class DiagonalMomentsRecursion(Recursion):
    """The recursion of the diagonal. A core is diag E[eta eta^T], E[eta] and 1 in the eigenbasis, 2 d + 1 numbers."""

    def __init__(
        self,
        group: GaussianClients,
        batch: int | None,
        compression: EigenbasisCovariance,
        downlink: EigenbasisCovariance | None = None,
    ) -> None:
        self.group, self.batch, self.compression, self.downlink = group, batch, compression, downlink
        self.eigenvalues = group.covariance.eigenvalues
        d = len(self.eigenvalues)
        self.core_size = 2 * d + 1
        self.second_places = np.arange(d)
        deltas = group.covariance.unrotate(group.deltas.T)
        self.shift = deltas @ group.weights / group.weight
        self.spread = deltas**2 @ group.weights / group.weight
        self.flops = 150.0 * d + compression.flops

    def noise(self, core: Array) -> Array:
        """Return diag S(U), of shape (n, d)."""
        h, augmented = self.eigenvalues, self._augmented(core)
        mean = h**2 * augmented[:, :-1]
        sampling = mean + (augmented[:, :-1] @ h + augmented[:, -1])[:, None] * h
        sampling = sampling / self.batch if self.batch else np.zeros_like(mean)
        uplink = (sampling + self.compression(augmented, mean + sampling)) / self.group.weight
        if self.downlink is None:
            return uplink
        return uplink + self.downlink.from_input(uplink + h**2 * core[:, : len(h)])

    def _augmented(self, core: Array) -> Array:
        d = len(self.eigenvalues)
        one = core[:, -1:]
        b = core[:, :d] + 2 * core[:, d:-1] * self.shift + one * self.spread
        return np.concatenate([b, self.group.noise_variance * one], axis=1)

    def core_of(self, mean: Array, variance: float) -> Array:
        mean = self.group.covariance.unrotate(mean)
        return np.concatenate([mean**2 + variance, mean, [1.0]])

    def squared_errors(self, core: Array) -> Array:
        return core[:, : len(self.eigenvalues)]

    def core_step(self, core: Array, gamma: float) -> Array:
        d = len(self.eigenvalues)
        a = 1 - gamma * self.eigenvalues
        second = a**2 * core[:, :d] + gamma**2 * self.noise(core)
        return np.concatenate([second, a * core[:, d:-1], core[:, -1:]], axis=1)

    def noise_trace(self, core: Array) -> float:
        return float((self.noise(core[None])[0] / self.eigenvalues).sum())

    def noise_weights(self, core: Array) -> Array:
        weights: Array = self.noise(core[None])[0] / self.eigenvalues
        return weights

    def noise_standard_error(self, core: Array) -> float:
        augmented = self._augmented(core[None])[0]
        inverse = 1 / self.eigenvalues
        if self.downlink is not None:  # `from_input` is its own adjoint
            inverse = inverse + self.downlink.from_input(inverse[None])[0]
        return self.compression.standard_error(augmented, inverse) / self.group.weight

    def identity(self) -> Array:
        return np.ones_like(self.eigenvalues)

    def is_positive(self, second: Array) -> bool:
        return bool((second > 0).all())


class EigenbasisCovariance:
    """The map from moments to the diagonal of the covariance that compression adds, in the eigenbasis."""

    def __init__(
        self,
        dimension: int,
        coefficients: tuple[float, float, float] | None = None,
        fitted: FittedVariances | None = None,
    ) -> None:
        self.coefficients, self.fitted = coefficients, fitted
        self.matrix = fitted.response(CoordinateProducts(squares=True)) if fitted else None
        self.flops = 2.0 * dimension**2 if fitted else 4.0 * dimension

    def __call__(self, augmented: Array, gradient: Array) -> Array:
        """Return the diagonals (n, d).

        `augmented` has B and sigma^2 (n, d+1), and `gradient` is diag E[g g^T] (n, d).
        """
        return self.from_input(gradient) if self.matrix is None else augmented @ self.matrix

    def from_input(self, moment: Array) -> Array:
        """Return the diagonals (n, d) of a linear compressor; `moment` has those of its input's second moment."""
        assert self.coefficients is not None
        a, b, c = self.coefficients
        diagonals: Array = (a + b - 1) * moment + c * moment.sum(axis=1)[:, None]
        return diagonals

    def standard_error(self, augmented: Array, inverse: Array) -> float:
        """Return the standard error of <diagonal, inverse>; it is 0 if nothing was sampled.

        `augmented` has B and sigma^2 (d+1,), and `inverse` d numbers.
        """
        if self.fitted is None:
            return 0.0
        return self.fitted.standard_error(np.diag(augmented), np.diag(inverse))


def diagonal_recursion(
    groups: list[ClientGroup], compressor: Compressor, batch: int | None, downlink: Compressor | None = None
) -> DiagonalMomentsRecursion | None:
    """Return the recursion on the diagonal, or None if it does not close."""
    group = groups[0]
    if len(groups) > 1 or not isinstance(group, GaussianClients):
        return None
    down = None if downlink is None else _linear(downlink, group)
    if downlink is not None and down is None:
        return None
    compression = _linear(compressor, group) if compressor.linear else _fitted(compressor, group, batch)
    return None if compression is None else DiagonalMomentsRecursion(group, batch, compression, down)


def _linear(compressor: Compressor, group: GaussianClients) -> EigenbasisCovariance | None:
    """Return the covariance of a linear compressor, or None if the recursion does not close.

    It closes if the compressor commutes with rotations, or if H is diagonal and the compressor commutes with changes of
    sign.
    """
    d = group.covariance.dimension
    coefficients = compressor.moment_coefficients(d)
    if coefficients is None or (coefficients[1] != 0 and group.covariance.basis is not None):
        return None
    return EigenbasisCovariance(d, coefficients)


def _fitted(compressor: Compressor, group: GaussianClients, batch: int | None) -> EigenbasisCovariance | None:
    """Return the covariance of a compressor that is not linear, or None if the recursion does not close.

    It closes if H is diagonal, the batch size is 1, and the compressor is homogeneous and uncorrelated. In addition its
    variances must not depend on the signs of the coordinates.
    """
    d, axis_aligned = group.covariance.dimension, group.covariance.basis is None
    closes = axis_aligned and batch == 1 and compressor.homogeneous and compressor.uncorrelated
    if not closes or d > LARGEST_RESPONSE or not _is_even(compressor.variances, group):
        return None
    return EigenbasisCovariance(d, fitted=FittedVariances(compressor, group.covariance))


def _is_even(variances: Callable[[Array], Array], group: GaussianClients) -> bool:
    """Return True if the conditional variances do not depend on the signs of the coordinates."""
    x = next(iter(GaussianSamples(group.covariance, 16, seed=4)))
    signs = np.where(np.random.default_rng(5).random(x.shape) < 0.5, -1.0, 1.0)
    return bool(np.allclose(variances(x * signs), variances(x), rtol=1e-12))
