"""The resolvent of the recursion on full moments, for Gaussian clients with the same covariance.

In H's eigenbasis (eigenvalues l, a = 1 - gamma l) a round maps S = E[eta eta^T] to
    a_i a_j S_ij + gamma^2 E_ij B_ij + gamma^2 sum_k y_k (q_k q_k^T)_ij + gamma^2 y_d l_i 1{i=j},
where B = E[(eta + Delta)(eta + Delta)^T], and q_k holds the k-th coordinates of the eigenvectors. Different S_ij are
coupled only through the d + 1 numbers y, which are linear in the state. The first d come from the diagonal of the
covariance that compression adds, and y_d from the Tr(H B) of the samples. So (z - T)^-1 is a division by
z - a_i a_j - gamma^2 E_ij and a system of d + 1 equations: d^4 operations instead of d^6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...compressors import Compressor
from ..moments.compression_covariance import CompressionCovariance, LinearCovariance, MatrixCovariance
from ..moments.gaussian_clients import GaussianClients
from ..moments.gradient_moments import ClientGroup
from ..moments.symmetric_packing import Array, multiplicity, pack, packed_size, triangle, unpack
from .contour_integral import Complex


class FullMomentsResolvent:
    """The resolvent. A row holds S, packed, then E[eta], 1, p and q, all in the eigenbasis."""

    def __init__(
        self,
        group: GaussianClients,
        batch: int | None,
        compression: CompressionCovariance,
        downlink: Compressor | None,
        gamma: float,
    ) -> None:
        self.gamma, self.eigenvalues = gamma, group.covariance.eigenvalues
        d = len(self.eigenvalues)
        self.basis = group.covariance.rotate(np.eye(d))
        self.pairs, self.sums = packed_size(d), d + 1
        self.shift, self.spread = group.shift @ self.basis, self.basis.T @ group.spread @ self.basis
        inverse_batch = 1.0 / batch if batch else 0.0
        clients, outer = float(group.weight), np.outer(self.eigenvalues, self.eigenvalues)
        coefficients = None
        if isinstance(compression, LinearCovariance):
            coefficients = compression.compressor.moment_coefficients(d)
        a, b, c = coefficients or (1.0, 0.0, 0.0)
        self.elementwise = gamma**2 / clients * outer * (inverse_batch + (a - 1) * (1 + inverse_batch))
        columns = np.empty((d + 1, d, d))
        columns[:d] = self.basis[:, :, None] * self.basis[:, None, :]
        columns[d] = np.diag(self.eigenvalues)
        self.columns = gamma**2 * pack(columns)
        # y is the sum of the products forms with S and means with E[eta], and of constant
        forms, self.means, self.constant = np.zeros((d + 1, d, d)), np.zeros((d + 1, d)), np.zeros(d + 1)
        forms[d] = a * inverse_batch * np.diag(self.eigenvalues)
        noise = np.zeros(d + 1)
        noise[d] = a * inverse_batch
        if coefficients:
            forms[:d] = b * (1 + inverse_batch) * outer * columns[:d]
            forms[:d] += c * (1 + inverse_batch) * np.diag(self.eigenvalues**2)
            noise[:d] = inverse_batch * (b * (self.basis**2 @ self.eigenvalues) + c * self.eigenvalues.sum())
            forms[:d] += noise[:d, None, None] * np.diag(self.eigenvalues)
        self.means = 2 * forms @ self.shift
        self.constant = forms.reshape(d + 1, -1) @ self.spread.ravel() + noise * group.noise_variance
        if isinstance(compression, MatrixCovariance):
            self._respond(compression.matrix, forms)
        forms, self.means, self.constant = forms / clients, self.means / clients, self.constant / clients
        decay = gamma * self.eigenvalues
        gap = decay[:, None] + decay - np.outer(decay, decay)  # 1 - a_i a_j
        down = None if downlink is None else downlink.moment_coefficients(d)
        if down is not None:
            gap -= (down[0] - 1) * np.outer(decay, decay)
            self._send_back(down, forms, columns)
        self.forms = multiplicity(d) * pack(forms)
        self.diagonal = np.flatnonzero(np.equal(*triangle(d)))
        self.gap = pack(gap - self.elementwise)

    def _respond(self, matrix: Array, forms: Array) -> None:
        """Set `forms`, `means` and `constant` for compression noise whose covariance has the diagonal pack(U) @ matrix.

        `matrix` has shape ((d+1)(d+2)/2, d) and includes the clients' shifts and noise.
        """
        d = forms.shape[1]
        whole = unpack((matrix / multiplicity(d + 1)[:, None]).T, d + 1)
        forms[:d] = self.basis.T @ whole[:, :d, :d] @ self.basis
        self.means[:d] = 2 * whole[:, :d, d] @ self.basis
        self.constant[:d] = whole[:, d, d]

    def _send_back(self, coefficients: tuple[float, float, float], forms: Array, columns: Array) -> None:
        """Apply the downlink: the noise X = E o B + sum_k y_k columns_k becomes c_down(M) - l l^T o S.

        Here o is the elementwise product, and M = X + l l^T o S is the second moment of the input of the downlink's
        compressor. c_down(M) = a M + b Diag(M) + c Tr(M) I, where Diag is taken in the original basis.
        """
        a, b, c = coefficients
        d = len(self.eigenvalues)
        weights = b * columns[:d] + c * np.eye(d)
        elementwise = weights * (self.elementwise / self.gamma**2)
        coupling = weights.reshape(d, -1) @ columns.reshape(d + 1, -1).T
        added = elementwise + weights * np.outer(self.eigenvalues, self.eigenvalues) + np.tensordot(coupling, forms, 1)
        means, constant = coupling @ self.means, coupling @ self.constant
        for part in (forms, self.means, self.constant, self.elementwise):
            np.multiply(part, a, out=part)
        forms[:d] += added
        self.means[:d] += means + 2 * elementwise @ self.shift
        self.constant[:d] += constant + elementwise.reshape(d, -1) @ self.spread.ravel()

    def coordinates(self, state: Array) -> Array:
        d = len(self.eigenvalues)
        core_size = packed_size(d + 1)
        u = unpack(state[None, :core_size], d + 1)[0]
        s = self.basis.T @ u[:d, :d] @ self.basis
        return np.concatenate([pack(s), u[:d, d] @ self.basis, u[d:, d], state[core_size:]])

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

    def fixed_point(self, noise: bool) -> Array:
        """Return X (d, d) with X = round(X), where a round includes the noise at w*.

        If not `noise`, return X with X = round(X) + I, where a round excludes the noise at w*.
        """
        d = len(self.eigenvalues)
        inverse = 1.0 / self.gap
        source, constant = np.eye(d), np.zeros(d + 1)
        if noise:
            source, constant = self.elementwise * self.spread, self.constant
        coupling = np.eye(d + 1) - (self.forms * inverse) @ self.columns.T
        y = np.linalg.solve(coupling, self.forms @ (inverse * pack(source)) + constant)
        return self.basis @ unpack(inverse * (pack(source) + y @ self.columns), d) @ self.basis.T

    def _couple(self, inverse: Any, right: Any) -> Any:
        """Return (I - forms inverse columns)^-1 right."""
        real, imaginary = ((self.forms * part) @ self.columns.T for part in (inverse.real, inverse.imag))
        return np.linalg.solve(np.eye(len(right)) - real - 1j * imaginary, right)

    def states(self, rows: Array) -> Array:
        d = len(self.eigenvalues)
        u = np.zeros((len(rows), d + 1, d + 1))
        u[:, :d, :d] = self.basis @ unpack(rows[:, : self.pairs], d) @ self.basis.T
        u[:, :d, d] = u[:, d, :d] = rows[:, self.pairs : self.pairs + d] @ self.basis.T
        u[:, d, d] = rows[:, self.pairs + d]
        return np.concatenate([pack(u), rows[:, self.pairs + d + 1 :]], axis=1)

    def magnitudes(self, rows: Array) -> Array:
        d = len(self.eigenvalues)
        spectrum = np.abs(rows[:, : self.pairs][:, self.diagonal]) @ self.eigenvalues
        p = np.abs(rows[:, -d - 1 : -1]) @ self.eigenvalues
        return np.stack([spectrum, p, np.abs(rows[:, -1])], axis=1)


def resolvable_group(
    groups: Sequence[ClientGroup], compression: CompressionCovariance, downlink: Compressor | None
) -> GaussianClients | None:
    """Return the only group of clients, or None if the recursion does not have the form of `FullMomentsResolvent`."""
    group = groups[0]
    if len(groups) > 1 or not isinstance(group, GaussianClients):
        return None
    d = group.covariance.dimension
    if downlink is not None and downlink.moment_coefficients(d) is None:
        return None
    if isinstance(compression, LinearCovariance):
        return None if compression.compressor.moment_coefficients(d) is None else group
    diagonal = isinstance(compression, MatrixCovariance) and compression.matrix.shape[1] == d
    return group if diagonal else None
