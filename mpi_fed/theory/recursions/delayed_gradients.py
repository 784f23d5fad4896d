"""The recursion for gradients that are one round late: the moments of two successive errors, and their joint moments.

A round is w_{k+1} = w_k - gamma (1/N) sum_i C_i(g_i(w_{k-1})), with w_{-1} = w_0. With eta_k = w_k - w*, and H and S(U)
of the recursion without delay (`base.py`),
    X_k = E[eta_k eta_{k-1}^T],
    E[eta_{k+1} eta_{k+1}^T] = E[eta_k eta_k^T] - gamma (H X_k^T + X_k H)
                               + gamma^2 (H E[eta_{k-1} eta_{k-1}^T] H + S(U_{k-1})),
    X_{k+1} = E[eta_k eta_k^T] - gamma H X_k^T,      E[eta_{k+1}] = E[eta_k] - gamma H E[eta_{k-1}].
For the sums Sigma_k = sum_{l<k} eta_l, in H's eigenbasis and with x_k = diag X_k (products of vectors are elementwise),
    p_k = diag E[Sigma_k eta_k^T]:      p_{k+1} = p_k + s_k - gamma lambda (r_k + x_k),
    r_k = diag E[Sigma_k eta_{k-1}^T]:  r_{k+1} = p_k + s_k,
    q_k = E||Sigma_k||_H^2:             q_{k+1} = q_k + <lambda, 2 p_k + s_k>.
The recursion is linear in (U_{k-1}, X_k, U_k, p_k, r_k, q_k). A round is a positive map of the joint second moments of
the two errors, as a round without delay is of the second moments of one error.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from ..moments.symmetric_packing import Array, pack, unpack
from .base import Recursion
from .diagonal_moments import DiagonalMomentsRecursion
from .full_moments import FullMomentsRecursion


class DelayedRecursion(Recursion):
    """The recursion with a delay, built from the recursion `plain` without delay.

    A core has three parts: the core of `plain` one round ago without its constant 1, X (`cross_size` elements), and the
    core of `plain` now.
    """

    def __init__(self, plain: Recursion, cross_size: int) -> None:
        self.plain, self.cross_size = plain, cross_size
        self.eigenvalues = plain.eigenvalues
        self.core_size = 2 * plain.core_size - 1 + cross_size
        places, before = plain.second_places, plain.core_size - 1
        self.second_places = np.concatenate([places, before + np.arange(cross_size), before + cross_size + places])
        self.flops = 2.0 * plain.flops

    @property
    def size(self) -> int:
        return self.core_size + 2 * len(self.eigenvalues) + 1

    @abstractmethod
    def cross_diagonal(self, cross: Array) -> Array:
        """Return diag X in the eigenbasis, of shape (n, d)."""

    def parts(self, core: Array) -> tuple[Array, Array, Array]:
        """Return the cores of `plain` one round ago, the stored elements of X, and the cores of `plain` now."""
        start = self.plain.core_size - 1
        before = np.concatenate([core[:, :start], core[:, -1:]], axis=1)
        return before, core[:, start : start + self.cross_size], core[:, start + self.cross_size :]

    def joined(self, before: Array, cross: Array, now: Array) -> Array:
        """Return the cores made of these parts."""
        return np.concatenate([before[:, :-1], cross, now], axis=1)

    def step(self, states: Array, gamma: float) -> Array:
        core, sums, q = self._split(states)
        h, d = self.eigenvalues, len(self.eigenvalues)
        _, cross, now = self.parts(core)
        s, x, p, r = self.plain.squared_errors(now), self.cross_diagonal(cross), sums[:, :d], sums[:, d:]
        after = p + s - gamma * h * (r + x)
        return np.column_stack([self.core_step(core, gamma), after, p + s, q + (2 * p + s) @ h])

    def squared_errors(self, core: Array) -> Array:
        return self.plain.squared_errors(self.parts(core)[2])

    def before(self, core: Array) -> Array:
        """Return the core of `plain` one round ago, on which the noise depends, for one core."""
        before: Array = self.parts(core[None])[0][0]
        return before

    def noise_trace(self, core: Array) -> float:
        return self.plain.noise_trace(self.before(core))

    def noise_weights(self, core: Array) -> Array:
        return self.plain.noise_weights(self.before(core))

    def noise_standard_error(self, core: Array) -> float:
        return self.plain.noise_standard_error(self.before(core))

    def identity(self) -> Array:
        plain = self.plain.identity()
        return np.concatenate([plain, np.zeros(self.cross_size), plain])

    def _second_moments(self, second: Array) -> tuple[Array, Array, Array]:
        """Return the second moments one round ago, the stored elements of X, and the second moments now."""
        size = len(self.plain.second_places)
        return second[:size], second[size:-size], second[-size:]


class DelayedDiagonal(DelayedRecursion):
    """The delayed recursion on the diagonal in H's eigenbasis, where only diag X is stored."""

    plain: DiagonalMomentsRecursion

    def __init__(self, plain: DiagonalMomentsRecursion) -> None:
        super().__init__(plain, len(plain.eigenvalues))

    def cross_diagonal(self, cross: Array) -> Array:
        return cross

    def core_of(self, mean: Array, variance: float) -> Array:
        now = self.plain.core_of(mean, variance)[None]
        core: Array = self.joined(now, self.plain.squared_errors(now), now)[0]
        return core

    def core_step(self, core: Array, gamma: float) -> Array:
        before, x, now = self.parts(core)
        h, d = self.eigenvalues, len(self.eigenvalues)
        second = now[:, :d] - 2 * gamma * h * x + gamma**2 * (h**2 * before[:, :d] + self.plain.noise(before))
        mean = now[:, d:-1] - gamma * h * before[:, d:-1]
        return self.joined(now, now[:, :d] - gamma * h * x, np.concatenate([second, mean, now[:, -1:]], axis=1))

    def is_positive(self, second: Array) -> bool:
        before, x, now = self._second_moments(second)
        return bool((before > 0).all() and (before * now > x**2).all())


class DelayedFull(DelayedRecursion):
    """The delayed recursion on full moments, where X is a matrix of d^2 numbers."""

    plain: FullMomentsRecursion

    def __init__(self, plain: FullMomentsRecursion) -> None:
        super().__init__(plain, len(plain.eigenvalues) ** 2)

    def cross_diagonal(self, cross: Array) -> Array:
        diagonals: Array = ((self._matrix_of(cross) @ self.plain.basis) * self.plain.basis).sum(axis=1)
        return diagonals

    def _matrix_of(self, cross: Array) -> Array:
        d = len(self.eigenvalues)
        return cross.reshape(len(cross), d, d)

    def core_of(self, mean: Array, variance: float) -> Array:
        now = self.plain.core_of(mean, variance)[None]
        second = self.plain.unpacked(now)[:, :-1, :-1]
        core: Array = self.joined(now, second.reshape(1, -1), now)[0]
        return core

    def core_step(self, core: Array, gamma: float) -> Array:
        before, cross, now = self.parts(core)
        h, d = self.plain.covariance.dense, len(self.eigenvalues)
        a, x, b = self.plain.unpacked(before), self._matrix_of(cross), self.plain.unpacked(now)
        pulled = gamma * (h @ x.transpose(0, 2, 1))
        after = b.copy()
        after[:, :d, :d] += gamma**2 * (h @ a[:, :d, :d] @ h + self.plain.noise_covariances(a))
        after[:, :d, :d] -= pulled + pulled.transpose(0, 2, 1)
        after[:, :d, d] -= gamma * a[:, :d, d] @ h
        after[:, d, :d] = after[:, :d, d]
        return self.joined(now, (b[:, :d, :d] - pulled).reshape(len(core), -1), pack(after))

    def is_positive(self, second: Array) -> bool:
        d = len(self.eigenvalues)
        before, cross, now = self._second_moments(second)
        x = cross.reshape(d, d)
        joint = np.block([[unpack(now, d), x], [x.T, unpack(before, d)]])
        return bool(np.linalg.eigvalsh(joint)[0] > 0)


def delayed(plain: Recursion) -> DelayedRecursion:
    """Return the recursion for gradients that are one round late, from the recursion without delay."""
    if isinstance(plain, DiagonalMomentsRecursion):
        return DelayedDiagonal(plain)
    assert isinstance(plain, FullMomentsRecursion)
    return DelayedFull(plain)


def undelayed(recursion: Recursion | None) -> Recursion | None:
    """Return the recursion without delay. An argument that is None or has no delay is returned unchanged."""
    return recursion.plain if isinstance(recursion, DelayedRecursion) else recursion
