"""The resolvent of the recursion on full moments, for Gaussian clients of one covariance.

In H's eigenbasis (eigenvalues l, a = 1 - gamma l) a round takes S = E[eta eta^T] to
    a_i a_j S_ij + gamma^2 E_ij B_ij + gamma^2 sum_k y_k (q_k q_k^T)_ij + gamma^2 y_d l_i 1{i=j},
B = S and what the clients' shifts add, q_k the eigenbasis' k-th coordinates: all that couples one S_ij to another goes
through the d + 1 numbers y, linear in the state (the compressors' diagonal covariances, and Tr(H B) of the samples). So
(z - T)^-1 is a division by z - a_i a_j - gamma^2 E_ij and a system of d + 1 equations: d^4 operations in place of d^6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..moments.compression_covariance import LinearAdded, ResponseAdded
from ..moments.gradient_moments import GaussianLaw
from ..moments.symmetric_packing import Array, multiplicity, pack, packed_size, triangle, unpack
from .contour import Complex

if TYPE_CHECKING:
    from .full import FullRecursion


class FullResolvent:
    """Rows are S packed, E[eta], 1, p and q, all in the eigenbasis."""

    def __init__(self, recursion: FullRecursion, gamma: float) -> None:
        self.recursion, self.gamma = recursion, gamma
        self.basis, self.eigenvalues = recursion.basis, recursion.eigenvalues
        law = recursion.laws[0]
        assert isinstance(law, GaussianLaw)
        d = len(self.eigenvalues)
        self.pairs, self.sums = packed_size(d), d + 1
        self.shift, self.spread = law.shift @ self.basis, self.basis.T @ law.spread @ self.basis
        batch = 1.0 / recursion.batch if recursion.batch else 0.0
        clients, outer = float(recursion.clients), np.outer(self.eigenvalues, self.eigenvalues)
        added = recursion.added
        coefficients = added.compressor.moment_coefficients(d) if isinstance(added, LinearAdded) else None
        a, b, c = coefficients or (1.0, 0.0, 0.0)
        self.elementwise = gamma**2 / clients * outer * (batch + (a - 1) * (1 + batch))
        columns = np.empty((d + 1, d, d))
        columns[:d] = self.basis[:, :, None] * self.basis[:, None, :]
        columns[d] = np.diag(self.eigenvalues)
        self.columns = gamma**2 * pack(columns)
        # y = forms on S, means on E[eta], and constant
        forms, self.means, self.constant = np.zeros((d + 1, d, d)), np.zeros((d + 1, d)), np.zeros(d + 1)
        forms[d] = a * batch * np.diag(self.eigenvalues)
        noise = np.zeros(d + 1)
        noise[d] = a * batch
        if coefficients:
            forms[:d] = b * (1 + batch) * outer * columns[:d]
            forms[:d] += c * (1 + batch) * np.diag(self.eigenvalues**2)
            noise[:d] = batch * (b * (self.basis**2 @ self.eigenvalues) + c * self.eigenvalues.sum())
            forms[:d] += noise[:d, None, None] * np.diag(self.eigenvalues)
        self.means = 2 * forms @ self.shift
        self.constant = forms.reshape(d + 1, -1) @ self.spread.ravel() + noise * law.noise_variance
        if isinstance(added, ResponseAdded):
            self._respond(added.matrix, forms)
        forms, self.means, self.constant = forms / clients, self.means / clients, self.constant / clients
        decay = gamma * self.eigenvalues
        gap = decay[:, None] + decay - np.outer(decay, decay)  # 1 - a_i a_j
        down = None if recursion.downlink is None else recursion.downlink.compressor.moment_coefficients(d)
        if down is not None:
            gap -= (down[0] - 1) * np.outer(decay, decay)
            self._send_back(down, forms, columns)
        self.forms = multiplicity(d) * pack(forms)
        rows, columns_ = triangle(d)
        self.diagonal = np.flatnonzero(rows == columns_)
        self.gap = pack(gap - self.elementwise)

    def _respond(self, matrix: Array, forms: Array) -> None:
        """The compressor's diagonal as pack(U) @ matrix, of which `matrix` (., d) knows the shifts and the noise."""
        d = forms.shape[1]
        whole = unpack((matrix / multiplicity(d + 1)[:, None]).T, d + 1)
        forms[:d] = self.basis.T @ whole[:, :d, :d] @ self.basis
        self.means[:d] = 2 * whole[:, :d, d] @ self.basis
        self.constant[:d] = whole[:, d, d]

    def _send_back(self, coefficients: tuple[float, float, float], forms: Array, columns: Array) -> None:
        """The noise N = E o B + sum_k y_k columns_k becomes a N + (a-1) l l^T o S + b Diag(M) + c Tr(M) I.

        M = N + l l^T o S, the second moment of what the downlink compresses; Diag in the original basis."""
        a, b, c = coefficients
        d = len(self.eigenvalues)
        weights = b * columns[:d] + c * np.eye(d)
        own = weights * (self.elementwise / self.gamma**2)
        coupling = weights.reshape(d, -1) @ columns.reshape(d + 1, -1).T
        added = own + weights * np.outer(self.eigenvalues, self.eigenvalues) + np.tensordot(coupling, forms, 1)
        means, constant = coupling @ self.means, coupling @ self.constant
        for part in (forms, self.means, self.constant, self.elementwise):
            part *= a
        forms[:d] += added
        self.means[:d] += means + 2 * own @ self.shift
        self.constant[:d] += constant + own.reshape(d, -1) @ self.spread.ravel()

    def start(self, state: Array) -> Array:
        d = len(self.eigenvalues)
        u = self.recursion.unpacked(state[None, : self.recursion.core])[0]
        s = self.basis.T @ u[:d, :d] @ self.basis
        return np.concatenate([pack(s), u[:d, d] @ self.basis, u[d:, d], state[self.recursion.core :]])

    def solve(self, start: Array, x: complex) -> Complex:
        d, gamma = len(self.eigenvalues), self.gamma
        s0, m0, one, p0, q0 = np.split(start, np.cumsum([self.pairs, d, 1, d]))
        mean, one = m0 / (x + gamma * self.eigenvalues), one[0] / x
        crossed = mean[:, None] * self.shift
        source = s0 + pack(self.elementwise * (crossed + crossed.T + self.spread * one))
        inverse = 1.0 / (x + self.gap)
        y = self._couple(inverse, self.forms @ (inverse * source) + self.means @ mean + self.constant * one)
        s = inverse * (source + y @ self.columns)
        spectrum = s[self.diagonal]
        p = (p0 + (1 - gamma * self.eigenvalues) * spectrum) / (x + gamma * self.eigenvalues)
        q = (q0 + self.eigenvalues @ (2 * p + spectrum)) / x
        return np.asarray(np.concatenate([s, mean, [one], p, q]), dtype=np.complex128)

    def settled(self, noise: bool) -> Array:
        """X, (d, d), with X = what a round takes it to, plus the noise at w* or, without `noise`, the identity."""
        d = len(self.eigenvalues)
        inverse = 1.0 / self.gap
        own, constant = np.eye(d), np.zeros(d + 1)
        if noise:
            own, constant = self.elementwise * self.spread, self.constant
        coupling = np.eye(d + 1) - (self.forms * inverse) @ self.columns.T
        y = np.linalg.solve(coupling, self.forms @ (inverse * pack(own)) + constant)
        return self.basis @ unpack(inverse * (pack(own) + y @ self.columns), d) @ self.basis.T

    def _couple(self, inverse: Any, right: Any) -> Any:
        """(I - forms inverse columns)^-1 right."""
        real, imaginary = ((self.forms * part) @ self.columns.T for part in (inverse.real, inverse.imag))
        return np.linalg.solve(np.eye(len(right)) - real - 1j * imaginary, right)

    def states(self, found: Array) -> Array:
        d = len(self.eigenvalues)
        u = np.zeros((len(found), d + 1, d + 1))
        u[:, :d, :d] = self.basis @ unpack(found[:, : self.pairs], d) @ self.basis.T
        u[:, :d, d] = u[:, d, :d] = found[:, self.pairs : self.pairs + d] @ self.basis.T
        u[:, d, d] = found[:, self.pairs + d]
        return np.concatenate([pack(u), found[:, self.pairs + d + 1 :]], axis=1)

    def scales(self, found: Array) -> Array:
        d = len(self.eigenvalues)
        spectrum = np.abs(found[:, : self.pairs][:, self.diagonal]) @ self.eigenvalues
        p = np.abs(found[:, -d - 1 : -1]) @ self.eigenvalues
        return np.stack([spectrum, p, np.abs(found[:, -1])], axis=1)


def has_resolvent(recursion: FullRecursion) -> bool:
    """Whether the recursion has this structure."""
    added = recursion.added
    if len(recursion.laws) > 1 or not isinstance(recursion.laws[0], GaussianLaw):
        return False
    if recursion.downlink is not None and not _has_coefficients(recursion.downlink, len(recursion.eigenvalues)):
        return False
    if isinstance(added, LinearAdded):
        return _has_coefficients(added, len(recursion.eigenvalues))
    return isinstance(added, ResponseAdded) and added.matrix.shape[1] == len(recursion.eigenvalues)


def _has_coefficients(added: LinearAdded, dimension: int) -> bool:
    return added.compressor.moment_coefficients(dimension) is not None
