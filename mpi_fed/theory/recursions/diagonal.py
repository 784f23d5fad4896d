"""The recursion on the diagonal in H's eigenbasis, where it closes there: cheap at any dimension.

It closes for Gaussian clients of one covariance when compression commutes with rotations (E[C C^T] a combination of
M and Tr(M) I), or with changes of sign while H is diagonal. Then, in the eigenbasis (eigenvalues l, B = diag of
E[(eta + Delta)(eta + Delta)^T] averaged over clients), a gradient of b samples has second moments
    l^2 B + (l^2 B + (sigma^2 + l . B) l) / b.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...compressors import Compressor
from ..moments.conditional_variances import FittedVariances, Pairs, Sampler
from ..moments.gradient_moments import GaussianLaw, Law
from ..moments.symmetric_packing import Array
from .base import Recursion

LARGEST_RESPONSE = 2000
"""Above this dimension no d x d response of a compressor is made."""


class DiagonalRecursion(Recursion):
    """The core is diag E[eta eta^T] and E[eta] in the eigenbasis, and 1: 2 d + 1 numbers."""

    def __init__(
        self, law: GaussianLaw, batch: int | None, added: DiagonalAdded, downlink: DiagonalAdded | None = None
    ) -> None:
        self.law, self.batch, self.added, self.downlink = law, batch, added, downlink
        self.eigenvalues = law.covariance.eigenvalues
        d = len(self.eigenvalues)
        self.core = 2 * d + 1
        self.second = np.arange(d)
        deltas = law.covariance.unrotate(law.deltas.T)
        self.shift = deltas @ law.weights / law.weight
        self.spread = deltas**2 @ law.weights / law.weight
        self.flops = 150.0 * d + added.flops

    def noise(self, core: Array) -> Array:
        """diag C(U), (n, d)."""
        h, augmented = self.eigenvalues, self._augmented(core)
        mean = h**2 * augmented[:, :-1]
        sampling = mean + (augmented[:, :-1] @ h + augmented[:, -1])[:, None] * h
        sampling = sampling / self.batch if self.batch else np.zeros_like(mean)
        uplink = (sampling + self.added(augmented, mean + sampling)) / self.law.weight
        if self.downlink is None:
            return uplink
        return uplink + self.downlink.of(uplink + h**2 * core[:, : len(h)])

    def _augmented(self, core: Array) -> Array:
        d = len(self.eigenvalues)
        one = core[:, -1:]
        b = core[:, :d] + 2 * core[:, d:-1] * self.shift + one * self.spread
        return np.concatenate([b, self.law.noise_variance * one], axis=1)

    def core_of(self, mean: Array, variance: float) -> Array:
        mean = self.law.covariance.unrotate(mean)
        return np.concatenate([mean**2 + variance, mean, [1.0]])

    def spectrum(self, core: Array) -> Array:
        return core[:, : len(self.eigenvalues)]

    def core_step(self, core: Array, gamma: float) -> Array:
        d = len(self.eigenvalues)
        a = 1 - gamma * self.eigenvalues
        second = a**2 * core[:, :d] + gamma**2 * self.noise(core)
        return np.concatenate([second, a * core[:, d:-1], core[:, -1:]], axis=1)

    def noise_trace(self, core: Array) -> float:
        return float((self.noise(core[None])[0] / self.eigenvalues).sum())

    def noise_weights(self, core: Array) -> Array:
        return self.noise(core[None])[0] / self.eigenvalues

    def noise_standard_error(self, core: Array) -> float:
        augmented = self._augmented(core[None])[0]
        inverse = 1 / self.eigenvalues
        if self.downlink is not None:  # `of` is its own adjoint
            inverse = inverse + self.downlink.of(inverse[None])[0]
        return self.added.standard_error(augmented, inverse) / self.law.weight

    def identity(self) -> Array:
        return np.ones_like(self.eigenvalues)

    def is_positive(self, second: Array) -> bool:
        return bool((second > 0).all())


class DiagonalAdded:
    """The diagonal of the compressor's added covariance, from `augmented` = (B, sigma^2) and diag E[g g^T]."""

    def __init__(self, dimension: int, coefficients=None, fitted: FittedVariances | None = None) -> None:
        self.coefficients, self.fitted = coefficients, fitted
        self.matrix = fitted.response(Pairs(squares=True)) if fitted else None
        self.flops = 2.0 * dimension**2 if fitted else 4.0 * dimension

    def __call__(self, augmented: Array, gradient: Array) -> Array:
        return self.of(gradient) if self.matrix is None else augmented @ self.matrix

    def of(self, gradient: Array) -> Array:
        """Of a linear compressor, from diag E[g g^T] alone, (n, d)."""
        a, b, c = self.coefficients
        return (a + b - 1) * gradient + c * gradient.sum(axis=1)[:, None]

    def standard_error(self, augmented: Array, inverse: Array) -> float:
        if self.fitted is None:
            return 0.0
        return self.fitted.standard_error(np.diag(augmented), np.diag(inverse))


def diagonal_recursion(
    laws: list[Law], compressor: Compressor, batch: int | None, downlink: Compressor | None = None
) -> DiagonalRecursion | None:
    """The recursion on the diagonal, or None where it does not close there."""
    law = laws[0]
    if len(laws) > 1 or not isinstance(law, GaussianLaw):
        return None
    down = None if downlink is None else _linear(downlink, law)
    if downlink is not None and down is None:
        return None
    added = _linear(compressor, law) if compressor.linear else _fitted(compressor, law, batch)
    return None if added is None else DiagonalRecursion(law, batch, added, down)


def _linear(compressor: Compressor, law: GaussianLaw) -> DiagonalAdded | None:
    """Where it commutes with rotations, or with changes of sign while H is diagonal."""
    d = law.covariance.dimension
    coefficients = compressor.moment_coefficients(d)
    if coefficients is None or (coefficients[1] != 0 and law.covariance.basis is not None):
        return None
    return DiagonalAdded(d, coefficients)


def _fitted(compressor: Compressor, law: GaussianLaw, batch: int | None) -> DiagonalAdded | None:
    d, axis_aligned = law.covariance.dimension, law.covariance.basis is None
    closes = axis_aligned and batch == 1 and compressor.homogeneous and compressor.uncorrelated
    if not closes or d > LARGEST_RESPONSE or not _even(compressor.variances, law):
        return None
    return DiagonalAdded(d, fitted=FittedVariances(compressor, law.covariance))


def _even(variances: Callable[[Array], Array], law: GaussianLaw) -> bool:
    """Whether the conditional variances ignore the signs of the coordinates."""
    x = next(iter(Sampler(law.covariance, 16, seed=4)))
    signs = np.where(np.random.default_rng(5).random(x.shape) < 0.5, -1.0, 1.0)
    return bool(np.allclose(variances(x * signs), variances(x), rtol=1e-12))
