"""The recursion on the full second moment U, for all clients and for all compressors whose noise is linear in U."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...compressors import Compressor
from ...problems.population import Covariance
from ..moments.compression_covariance import CompressionCovariance, LinearCovariance
from ..moments.empirical_clients import EmpiricalClients
from ..moments.gaussian_clients import GaussianClients
from ..moments.gradient_moments import ClientGroup
from ..moments.matrix_products import sandwich
from ..moments.symmetric_packing import Array, inner_triangle, pack, packed_size, unpack
from .base import Recursion
from .full_moments_resolvent import FullMomentsResolvent, resolvable_group


class FullMomentsRecursion(Recursion):
    """The recursion of U = E[u u^T], where u = (eta, 1).

    A core is the upper triangle of U, (d+1)(d+2)/2 numbers. `downlink` is the linear compressor that the root applies
    to the mean of the clients' messages, or None.
    """

    def __init__(
        self,
        covariance: Covariance,
        groups: Sequence[ClientGroup],
        batch: int | None,
        compression: CompressionCovariance,
        downlink: Compressor | None = None,
    ) -> None:
        d = covariance.dimension
        self.covariance, self.groups, self.batch, self.compression = covariance, groups, batch, compression
        self.downlink = None if downlink is None else LinearCovariance(downlink)
        self.clients = sum(group.weight for group in groups)
        self.eigenvalues = covariance.eigenvalues
        self.basis = covariance.rotate(np.eye(d))
        self.core_size = packed_size(d + 1)
        self.second_places = inner_triangle(d + 1)
        empirical = sum(isinstance(group, EmpiricalClients) for group in groups) if batch else 0
        # Products of (d, d) matrices, 2 d^3 operations each: two for A U A^T, one for s, two for each group's E[m m^T].
        # Products of pack(U): with the compressor's matrix, and with the fourth moments of each empirical group.
        self.flops = (6.0 + 4 * len(groups)) * d**3 + 2.0 * self.core_size * (d + empirical * self.core_size)

    def noise_covariances(self, second: Array) -> Array:
        """Return S(U), of shape (n, d, d), for each U = `second`, of shape (n, d+1, d+1)."""
        mean = np.zeros((len(second), *self.covariance.dense.shape))
        sampling = np.zeros_like(mean)
        for group in self.groups:
            moment = group.mean_moment(second)
            mean += group.weight / self.clients * moment
            if self.batch:
                sampling += group.weight / (self.clients * self.batch) * group.sampling_covariance(second, moment)
        uplink = (sampling + self.compression(second, mean + sampling)) / self.clients
        if self.downlink is None:
            return uplink
        return uplink + self.downlink.from_input(uplink + sandwich(self.covariance.dense, second[:, :-1, :-1]))

    def unpacked(self, core: Array) -> Array:
        """Return U, of shape (..., d+1, d+1), for cores (..., core_size)."""
        return unpack(core, len(self.eigenvalues) + 1)

    def core_of(self, mean: Array, variance: float) -> Array:
        u = np.append(mean, 1.0)
        second = np.outer(u, u)
        second[np.diag_indices(len(mean))] += variance
        return pack(second)

    def squared_errors(self, core: Array) -> Array:
        s = self.unpacked(core)[:, :-1, :-1]
        diagonals: Array = ((s @ self.basis) * self.basis).sum(axis=1)
        return diagonals

    def core_step(self, core: Array, gamma: float) -> Array:
        d = len(self.eigenvalues)
        second = self.unpacked(core)
        transition = np.eye(d + 1)
        transition[:d, :d] -= gamma * self.covariance.dense
        after = sandwich(transition, second)
        after[:, :d, :d] += gamma**2 * self.noise_covariances(second)
        return pack(after)

    def noise_trace(self, core: Array) -> float:
        c = self.noise_covariance(core)
        return float(((self.basis * (c @ self.basis)).sum(axis=0) / self.eigenvalues).sum())

    def noise_weights(self, core: Array) -> Array:
        root = self.basis / np.sqrt(self.eigenvalues)
        return np.asarray(np.linalg.eigvalsh(root.T @ self.noise_covariance(core) @ root), dtype=np.float64)

    def noise_covariance(self, core: Array) -> Array:
        """Return S(U), of shape (d, d), for the U of one core."""
        covariance: Array = self.noise_covariances(self.unpacked(core[None]))[0]
        return covariance

    def noise_standard_error(self, core: Array) -> float:
        inverse = self.basis / self.eigenvalues @ self.basis.T
        if self.downlink is not None:
            inverse = self.downlink.compressor.adjoint_second_moment(inverse)
        return self.compression.standard_error(self.unpacked(core), inverse) / self.clients

    def resolvent(self, gamma: float) -> FullMomentsResolvent | None:
        group = self._resolvable_group()
        if group is None:
            return None
        return FullMomentsResolvent(group, self.batch, self.compression, self._downlink_compressor(), gamma)

    def operations_of_resolvent(self) -> float:
        return math.inf if self._resolvable_group() is None else 5.0 * len(self.eigenvalues) ** 4

    def _resolvable_group(self) -> GaussianClients | None:
        return resolvable_group(self.groups, self.compression, self._downlink_compressor())

    def _downlink_compressor(self) -> Compressor | None:
        return None if self.downlink is None else self.downlink.compressor

    def stationary(self, gamma: float) -> Array | None:
        resolvent = self.resolvent(gamma)
        if resolvent is None:
            return super().stationary(gamma)
        # a stability witness: the recursion is stable exactly if X = round(X) + I has a positive definite solution
        witness = resolvent.fixed_point(noise=False)
        if not np.isfinite(witness).all() or not self.is_positive(pack(witness)):
            return None
        core = self.stationary_means()
        core[self.second_places] = pack(resolvent.fixed_point(noise=True))
        return core

    def identity(self) -> Array:
        return pack(np.eye(len(self.eigenvalues)))

    def is_positive(self, second: Array) -> bool:
        return bool(np.linalg.eigvalsh(unpack(second, len(self.eigenvalues)))[0] > 0)
