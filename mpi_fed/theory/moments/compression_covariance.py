"""The covariance that compression adds to a client's gradient, W = E[Cov(C(g) | g)], as a linear map of U.

Exact for linear compressors (W = E[C(g)C(g)^T] - E[g g^T]) and, as g = (z^T u) x at batch size 1, for homogeneous
ones: W = E[(z^T u)^2 Cov(C(x) | x)]. Otherwise the gradient is taken for Gaussian and W's shape is frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from ...compressors import Compressor
from ...problems.population import Covariance
from .conditional_variances import FittedVariances, Pairs, Sampler
from .gradient_moments import EmpiricalLaw, GaussianLaw, Law
from .symmetric_packing import Array, pack, packed_size, products, unpack

FROZEN_SAMPLES = 1 << 13
COVARIANCE_SAMPLES = 1 << 13


class Added(Protocol):
    def __call__(self, second: Array, gradient: Array) -> Array:
        """The mean W of all clients, (n, d, d), from U (n, d+1, d+1) and their mean E[g g^T] (n, d, d)."""

    def standard_error(self, second: Array, inverse: Array) -> float:
        """Of Tr(W inverse), for one U (d+1, d+1); 0 where nothing was sampled."""


@dataclass(frozen=True, eq=False)
class LinearAdded:
    """A compressor whose second moment is a linear map of E[g g^T]."""

    compressor: Compressor

    def __call__(self, second: Array, gradient: Array) -> Array:
        return self.of(gradient)

    def of(self, gradient: Array) -> Array:
        """W (n, d, d) from E[g g^T] alone."""
        coefficients = self.compressor.moment_coefficients(gradient.shape[-1])
        if coefficients is None:
            return np.array([self.compressor.second_moment(m) for m in gradient]) - gradient
        a, b, c = coefficients
        diagonals = np.diagonal(gradient, axis1=1, axis2=2)
        return (a - 1) * gradient + diagonal_matrices(b * diagonals + c * diagonals.sum(axis=1)[:, None])

    def standard_error(self, second: Array, inverse: Array) -> float:
        return 0.0


Error = Callable[[Array, Array], float]


@dataclass(frozen=True, eq=False)
class ResponseAdded:
    """W = pack(U) @ matrix: its diagonal (d columns), or all of it packed (d (d+1)/2 columns)."""

    matrix: Array
    errors: Sequence[tuple[float, Law, Error]] = ()  # of the laws' parts, each with its share of the clients

    def __call__(self, second: Array, gradient: Array) -> Array:
        added = pack(second) @ self.matrix
        d = gradient.shape[-1]
        return diagonal_matrices(added) if added.shape[1] == d else unpack(added, d)

    def standard_error(self, second: Array, inverse: Array) -> float:
        parts = [share * error(law.augmented(second), inverse) for share, law, error in self.errors]
        return float(np.linalg.norm(parts))


def exact_added(compressor: Compressor, laws: Sequence[Law], batch: int | None) -> Added | None:
    """The exact map at this batch size (None: true gradients), or None where W is no linear map of U."""
    if compressor.linear:
        return LinearAdded(compressor)
    if batch != 1 or not compressor.homogeneous:
        return None
    clients = sum(law.weight for law in laws)
    total: Array | float = 0.0
    errors = []
    for law in laws:
        share = law.weight / clients
        if isinstance(law, EmpiricalLaw):
            total = total + share * law.response(partial(conditional_statistic, compressor))
            continue
        assert isinstance(law, GaussianLaw)
        statistic = FittedVariances if compressor.uncorrelated else SampledCovariances
        moments = statistic(compressor, law.covariance)
        total = total + share * law.adjoint(moments.response(Pairs(squares=False)))
        errors.append((share, law, moments.standard_error))
    return ResponseAdded(np.asarray(total), errors)


def frozen_added(compressor: Compressor, laws: Sequence[Law], batch: int | None, second: Array) -> ResponseAdded:
    """W's shape at U = `second` (d+1, d+1), g taken for Gaussian: W_jj / E[g_j^2] kept, or W / E||g||^2."""
    clients = sum(law.weight for law in laws)
    total: Array | float = 0.0
    for member in (member for law in laws for member in law.members()):
        squares = member.squares(batch)
        shape = _shape(compressor, member.gradient(second, batch))
        scaled = squares * shape if shape.ndim == 1 else np.outer(squares.sum(axis=1), pack(shape))
        total = total + member.weight / clients * scaled
    return ResponseAdded(np.asarray(total))


def _shape(compressor: Compressor, gradient: Array) -> Array:
    """W_jj / E[g_j^2] (d,) of an uncorrelated compressor, else W / E||g||^2 (d, d), for g ~ N(0, gradient)."""
    scale, law = np.diag(gradient), Covariance.of(gradient)
    if compressor.uncorrelated:
        means = FittedVariances(compressor, law, FROZEN_SAMPLES).means()
        return np.divide(means, scale, out=np.zeros_like(means), where=scale > 0)
    return SampledCovariances(compressor, law, FROZEN_SAMPLES // 4).mean() / max(scale.sum(), np.finfo(float).tiny)


@dataclass(frozen=True, eq=False)
class SampledCovariances:
    """Monte Carlo over Cov(C(x) | x) as a whole, for compressors that state nothing more."""

    compressor: Compressor
    covariance: Covariance
    count: int = COVARIANCE_SAMPLES

    def __iter__(self):
        for x in Sampler(self.covariance, self.count, seed=3):
            yield x, conditional_statistic(self.compressor, x)

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


def conditional_statistic(compressor: Compressor, rows: Array) -> Array:
    """Cov(C(x) | x) for each row x: its diagonal (n, d) for uncorrelated compressors, else packed."""
    if compressor.uncorrelated:
        return compressor.variances(rows)
    return np.array([pack(compressor.covariance(x)) for x in rows])


def diagonal_matrices(diagonals: Array) -> Array:
    """(n, d) to (n, d, d)."""
    n, d = diagonals.shape
    result = np.zeros((n, d, d))
    result[:, np.arange(d), np.arange(d)] = diagonals
    return result


AddedCovariance = Callable[[Array], Array]
"""W (n, d, d) from the second moment D (n, d, d) of what is compressed, in a given basis."""


def no_covariance(moments: Array) -> Array:
    """W = 0."""
    return np.zeros_like(moments)


def added_covariance(compressor: Compressor, moment: Array, rotation: Covariance | None) -> AddedCovariance:
    """W, of D and W given in the eigenbasis of `rotation` (None: as they are); its shape frozen at D = `moment`
    (d, d), what is compressed taken for Gaussian, where the compressor is not linear."""
    if compressor.linear:
        return linear_covariance(compressor, len(moment), rotation)
    return _frozen_covariance(compressor, moment, rotation)


def linear_covariance(compressor: Compressor, dimension: int, rotation: Covariance | None) -> AddedCovariance:
    """The same of a linear compressor, whatever D is."""
    coefficients = compressor.moment_coefficients(dimension)
    if coefficients is not None:
        a, b, c = coefficients
        return DiagonalCovariance(a - 1, np.full(dimension, b), c, rotation)
    return _Rotated(LinearAdded(compressor).of, _matrix(rotation))


def _frozen_covariance(compressor: Compressor, moment: Array, rotation: Covariance | None) -> AddedCovariance:
    q = _matrix(rotation)
    given = moment if q is None else q @ moment @ q.T
    shape = _shape(compressor, given)
    if shape.ndim == 1:
        if shape.max() <= compressor.omega_bound(len(shape)):
            return DiagonalCovariance(0.0, shape, 0.0, rotation)
        # a coordinate that is small beside the others has a large W_jj / D_jj, which would not stay so as it grows
        share = shape * np.diag(given) / max(np.trace(given), np.finfo(float).tiny)
        return DiagonalCovariance(0.0, np.zeros_like(share), share, rotation)
    own = shape if q is None else q.T @ shape @ q
    return lambda moments: np.trace(moments, axis1=1, axis2=2)[:, None, None] * own


def _matrix(rotation: Covariance | None) -> Array | None:
    """Q, None for the identity."""
    return None if rotation is None or rotation.basis is None else rotation.rotate(np.eye(rotation.dimension))


class DiagonalCovariance:
    """W = a D + Diag(b_j D_jj + c_j Tr(D)) in the original basis; one c for all j is a number."""

    def __init__(self, a: float, b: Array, c: Array | float, rotation: Covariance | None) -> None:
        self.a, self.b, self.c = a, b, c
        self.q = _matrix(rotation) if b.any() or np.ndim(c) else None

    def __call__(self, moments: Array) -> Array:
        traces = self.c * np.trace(moments, axis1=1, axis2=2)[:, None]
        if self.q is None:
            own = self.b * np.diagonal(moments, axis1=1, axis2=2) + traces
            return self.a * moments + diagonal_matrices(own)
        own = self.b * ((self.q @ moments) * self.q).sum(axis=2) + traces
        return self.a * moments + (self.q.T * own[:, None, :]) @ self.q


@dataclass(frozen=True, eq=False)
class _Rotated:
    added: AddedCovariance
    q: Array | None

    def __call__(self, moments: Array) -> Array:
        if self.q is None:
            return self.added(moments)
        return self.q.T @ self.added(self.q @ moments @ self.q.T) @ self.q
