"""The resolvent of the recursion with memories, for Gaussian clients with the same covariance.

It has the form of `full_moments_resolvent`, with four unknowns for each pair of coordinates in the place of one.
In this module S = E[eta eta^T], Y = E[eta h^T] and M = E[h h^T], in H's eigenbasis (eigenvalues l). The unknowns of a
pair i <= j are v = (S_ij, Y_ij, Y_ji, M_ij). A round maps v to T_ij v + g E_ij, where
g = (gamma^2/N, -gamma alpha/N, -gamma alpha/N, alpha^2), and E, the S_i of `control_variates.py`, is the noise. The
noise is E_ij = n_ij . v + L_ij. The matrix L = sum_k y_k q_k q_k^T + y_d diag(l) couples the pairs through d + 1
numbers y; q_k holds the k-th coordinates of the eigenvectors. E[eta], E[h] and the mean of Delta E[h]^T do not depend
on v. They enter as sources.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..moments.covariance_from_input import DiagonalCovariance
from ..moments.symmetric_packing import Array, multiplicity, pack, packed_size, triangle, unpack
from .contour_integral import Complex
from .control_variates_blocks import BlockMoments, CoreLayout, GaussianBlock


class Sources(NamedTuple):
    """The terms of a round that do not depend on the pairs, of shape (d, d) each except the last, a number."""

    error: Any
    """E[(eta + Delta)(eta + Delta)^T] - S."""
    cross: Any
    """E[m h^T] - diag(l) Y, where m = E[g | eta]."""
    pull: Any
    """The part of the next Y that does not depend on v."""
    noise: Any
    """sigma^2 times the constant 1 of the core."""


class ControlVariatesResolvent:
    """The resolvent. A row holds S and M, packed, then Y, E[eta], 1, E[h], the mean of Delta E[h]^T, p and q.

    All of them are in the eigenbasis.
    """

    def __init__(self, block: GaussianBlock, layout: CoreLayout, alpha: float, gamma: float) -> None:
        self.block, self.layout, self.alpha, self.gamma = block, layout, alpha, gamma
        self.eigenvalues = h = block.h
        self.noise_variance = block.noise_variance
        d, clients, compression = len(h), block.weight, block.compression
        self.sums = d + 1
        assert isinstance(compression, DiagonalCovariance)
        self.a, self.batch = compression.a, 1.0 / block.batch if block.batch else 0.0
        q = np.eye(d) if compression.q is None else compression.q
        self.rows, self.columns = triangle(d)
        self.pairs, self.diagonal = packed_size(d), np.flatnonzero(self.rows == self.columns)
        basis = np.empty((d + 1, d, d))
        basis[:d] = q[:, :, None] * q[:, None, :]
        basis[d] = np.diag(h)
        self.basis = pack(basis)  # of L
        traces = np.multiply.outer(np.broadcast_to(compression.c, d), np.eye(d))
        forms = compression.b[:, None, None] * basis[:d] + traces
        self.forms = multiplicity(d) * pack(forms)  # y_k of D
        self.trace = np.zeros(self.pairs)  # Tr(H .) of a diagonal
        self.trace[self.diagonal] = h
        self.white = forms.reshape(d, -1) @ np.diag(h).ravel()
        i, j = h[self.rows], h[self.columns]
        # input_weights gives D_ij as a product with v, and noise_weights gives E_ij - L_ij
        self.input_weights = np.stack([(1 + self.batch) * i * j, -i, -j, np.ones_like(i)], axis=1)
        self.noise_weights = self.a * self.input_weights
        self.noise_weights[:, 0] += self.batch * i * j
        self.drive = np.array([gamma**2 / clients, -gamma * alpha / clients, -gamma * alpha / clients, alpha**2])
        keep = 1 - alpha
        gap = np.zeros((self.pairs, 4, 4))  # 1 - T
        gap[:, 0, 0] = gamma * (i + j) - gamma**2 * i * j
        gap[:, 1, 1], gap[:, 2, 2] = alpha + gamma * keep * i, alpha + gamma * keep * j
        gap[:, 1, 0], gap[:, 2, 0] = -(1 - gamma * i) * alpha * j, -(1 - gamma * j) * alpha * i
        gap[:, 3, 3] = 2 * alpha - alpha**2
        gap[:, 3, 1], gap[:, 3, 2], gap[:, 3, 0] = -alpha * keep * i, -alpha * keep * j, -(alpha**2) * i * j
        self.gap = gap - self.drive[:, None] * self.noise_weights[:, None, :]

    def coordinates(self, state: Array) -> Array:
        core, d = state[None, : self.layout.size], len(self.eigenvalues)
        u, ((y, z, m),) = self.layout.error(core)[0], self.layout.blocks(core)
        parts = [pack(u[:d, :d]), pack(m[0]), y[0, :d].ravel(), u[:d, d], u[d:, d], y[0, d], z.ravel()]
        return np.concatenate([*parts, state[self.layout.size :]])

    def _parts(self, row: Any) -> list[Any]:
        d = len(self.eigenvalues)
        sizes = [self.pairs, self.pairs, d * d, d, 1, d, d * d * self.block.crossed, d]
        return np.split(row, np.cumsum(sizes), axis=-1)

    def solve(self, start: Array, x: complex) -> Complex:
        h, gamma, alpha = self.eigenvalues, self.gamma, self.alpha
        s0, m0, y0, e0, one0, h0, z0, p0, q0 = self._parts(start)
        d, shift, spread = len(h), self.block.shift, self.block.spread
        e, one = e0 / (x + gamma * h), one0[0] / x
        memory = (h0 + alpha * h * (e + shift * one)) / (x + alpha)
        crossed, z = memory * shift[:, None], z0
        if self.block.crossed:
            z = (z0.reshape(d, d) + alpha * (shift[:, None] * e + spread * one) * h) / (x + alpha)
            crossed = z
        outer = e[:, None] * shift
        error = outer + outer.T + spread * one
        pull = (1 - gamma * h)[:, None] * alpha * outer * h
        sources = Sources(error, h[:, None] * crossed, pull, self.noise_variance * one)
        s, m, y = self._pairs(x, s0, m0, y0.reshape(d, d), sources)
        spectrum = s[self.diagonal]
        p = (p0 + (1 - gamma * h) * spectrum) / (x + gamma * h)
        q = (q0 + h @ (2 * p + spectrum)) / x
        row = [s, m, y.ravel(), e, [one], memory, np.ravel(z), p, q]
        return np.asarray(np.concatenate(row), dtype=np.complex128)

    def _pairs(self, x: complex, s0: Any, m0: Any, y0: Any, sources: Sources) -> tuple[Any, Any, Any]:
        """Return S and M, packed, and Y (d, d)."""
        i, j, alpha, d = self.rows, self.columns, self.alpha, len(self.eigenvalues)
        outer = self.eigenvalues[i] * self.eigenvalues[j]
        error, both = sources.error[i, j], sources.cross[i, j] + sources.cross[j, i]
        apart = (1 + self.batch) * outer * error - both  # of D
        noise = self.batch * outer * error + self.a * apart  # of E
        right = np.empty((self.pairs, 4, 2), np.result_type(x, s0, error))
        right[:, :, 1] = self.drive
        right[:, 0, 0], right[:, 3, 0] = s0, m0 + alpha * (1 - alpha) * both + alpha**2 * outer * error
        right[:, 1, 0], right[:, 2, 0] = (y0 + sources.pull)[i, j], (y0 + sources.pull)[j, i]
        right[:, :, 0] += noise[:, None] * self.drive
        replies = np.linalg.solve(self.gap + x * np.eye(4), right)
        alone, driven = replies[:, :, 0], replies[:, :, 1]  # without L, and per unit of L
        reply = (self.input_weights * driven).sum(axis=1)
        difference = (self.input_weights * alone).sum(axis=1) + apart
        trace = sources.noise + self.trace @ (alone[:, 0] + error)
        row = _product(self.trace * driven[:, 0], self.basis)
        coupling = np.eye(d + 1, dtype=row.dtype)
        coupling[:d] -= _product(self.forms * reply, self.basis) + self.batch * np.outer(self.white, row)
        coupling[d] -= (1 + self.a) * self.batch * row
        forms = self.forms @ difference + self.batch * self.white * trace
        right_side = np.append(forms, (1 + self.a) * self.batch * trace)
        v = alone + (np.linalg.solve(coupling, right_side) @ self.basis)[:, None] * driven
        y = np.empty((d, d), v.dtype)
        y[j, i], y[i, j] = v[:, 2], v[:, 1]
        return v[:, 0], v[:, 3], y

    def states(self, rows: Array) -> Array:
        d, n = len(self.eigenvalues), len(rows)
        s, m, y, e, one, memory, z, p, q = self._parts(rows)
        u = np.zeros((n, d + 1, d + 1))
        u[:, :d, :d], u[:, d, d] = unpack(s, d), one[:, 0]
        u[:, :d, d] = u[:, d, :d] = e
        cross = np.concatenate([y.reshape(n, d, d), memory[:, None]], axis=1)
        block = BlockMoments(cross, z.reshape(n, d * self.block.crossed, d), unpack(m, d))
        return np.concatenate([self.layout.packed(u, [block]), p, q], axis=1)

    def magnitudes(self, rows: Array) -> Array:
        s, *_, p, q = self._parts(rows)
        risk = np.abs(s[:, self.diagonal]) @ self.eigenvalues
        return np.stack([risk, np.abs(p) @ self.eigenvalues, np.abs(q[:, 0])], axis=1)

    def fixed_point(self, noise: bool) -> Array:
        """Return the core X with X = round(X), where a round includes the noise at w*.

        If not `noise`, return the core X with X = round(X) + I, where a round excludes the noise at w*.
        """
        d, h = len(self.eigenvalues), self.eigenvalues
        eye, nothing = pack(np.eye(d)), np.zeros((d, d))
        u, memory, z = np.zeros((d + 1, d + 1)), np.zeros(d), np.zeros((d * self.block.crossed, d))
        if noise:
            shift, spread = self.block.shift, self.block.spread
            memory, crossed = h * shift, spread * h if self.block.crossed else np.outer(shift, h * shift)
            z = spread * h if self.block.crossed else z
            sources = Sources(spread, h[:, None] * crossed, nothing, self.noise_variance)
            s, m, y = self._pairs(0.0, 0 * eye, 0 * eye, nothing, sources)
            u[d, d] = 1.0
        else:
            s, m, y = self._pairs(0.0, eye, eye, nothing, Sources(nothing, nothing, nothing, 0.0))
        u[:d, :d] = unpack(s, d)
        cross = np.concatenate([y, memory[None]])
        core: Array = self.layout.packed(u[None], [BlockMoments(cross[None], z[None], unpack(m, d)[None])])[0]
        return core


def _product(left: Any, right: Array) -> Any:
    """Return left right^T for a real or complex `left`, by real products."""
    if not np.iscomplexobj(left):
        return left @ right.T
    return left.real @ right.T + 1j * (left.imag @ right.T)
