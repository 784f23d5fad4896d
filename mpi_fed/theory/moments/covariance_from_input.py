"""The covariance that compression adds, W = E[Cov(C(x) | x)], as a function of only D = E[x x^T].

x is the input of the compressor. With control variates it is the difference of a gradient and a memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...compressors import Compressor
from ...problems.population import Covariance
from .compression_covariance import LinearCovariance, diagonal_matrices, noise_shape
from .symmetric_packing import Array

CovarianceFromInput = Callable[[Array], Array]
"""D (n, d, d) -> W (n, d, d), both in the same basis."""


def no_covariance(moments: Array) -> Array:
    """Return W = 0, of shape (n, d, d)."""
    return np.zeros_like(moments)


def covariance_from_input(compressor: Compressor, moment: Array, rotation: Covariance | None) -> CovarianceFromInput:
    """Return the map D -> W, both in the eigenbasis of `rotation` (None: in the original basis).

    If the compressor is not linear, its input is treated as Gaussian, and the shape of W is frozen at D = `moment`
    (d, d).
    """
    if compressor.linear:
        return linear_covariance_from_input(compressor, len(moment), rotation)
    return _frozen_covariance(compressor, moment, rotation)


def linear_covariance_from_input(
    compressor: Compressor, dimension: int, rotation: Covariance | None
) -> CovarianceFromInput:
    """Return the map D -> W of a linear compressor, exact for every D."""
    coefficients = compressor.moment_coefficients(dimension)
    if coefficients is not None:
        a, b, c = coefficients
        return DiagonalCovariance(a - 1, np.full(dimension, b), c, rotation)
    return _Rotated(LinearCovariance(compressor).from_input, _matrix(rotation))


def _frozen_covariance(compressor: Compressor, moment: Array, rotation: Covariance | None) -> CovarianceFromInput:
    q = _matrix(rotation)
    original = moment if q is None else q @ moment @ q.T
    shape = noise_shape(compressor, original)
    if shape.ndim == 1:
        if shape.max() <= compressor.omega_bound(len(shape)):
            return DiagonalCovariance(0.0, shape, 0.0, rotation)
        # A coordinate much smaller than the others has a large ratio W_jj / D_jj. The true ratio would decrease as the
        # coordinate grows; a fixed ratio would let the memories grow without bound.
        share = shape * np.diag(original) / max(np.trace(original), np.finfo(float).tiny)
        return DiagonalCovariance(0.0, np.zeros_like(share), share, rotation)
    rotated = shape if q is None else q.T @ shape @ q
    return lambda moments: np.trace(moments, axis1=1, axis2=2)[:, None, None] * rotated


def _matrix(rotation: Covariance | None) -> Array | None:
    """Return Q (d, d), or None for the identity."""
    return None if rotation is None or rotation.basis is None else rotation.rotate(np.eye(rotation.dimension))


class DiagonalCovariance:
    """W = a D + Diag(b_j D_jj + c_j Tr(D)) in the original basis; c is a number if all c_j are equal."""

    def __init__(self, a: float, b: Array, c: Array | float, rotation: Covariance | None) -> None:
        self.a, self.b, self.c = a, b, c
        self.q = _matrix(rotation) if b.any() or np.ndim(c) else None

    def __call__(self, moments: Array) -> Array:
        traces = self.c * np.trace(moments, axis1=1, axis2=2)[:, None]
        if self.q is None:
            diagonals = self.b * np.diagonal(moments, axis1=1, axis2=2) + traces
            return self.a * moments + diagonal_matrices(diagonals)
        diagonals = self.b * ((self.q @ moments) * self.q).sum(axis=2) + traces
        covariances: Array = self.a * moments + (self.q.T * diagonals[:, None, :]) @ self.q
        return covariances


@dataclass(frozen=True, eq=False)
class _Rotated:
    """A covariance map of the original basis, for D and W in the basis Q."""

    covariance: CovarianceFromInput
    q: Array | None

    def __call__(self, moments: Array) -> Array:
        if self.q is None:
            return self.covariance(moments)
        return self.q.T @ self.covariance(self.q @ moments @ self.q.T) @ self.q
