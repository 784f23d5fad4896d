"""Second moments of one client's stochastic gradient, as linear maps of the error's moments.

Everything is seen from w*: eta = w - w*, u = (eta, 1), U = E[u u^T], (d+1, d+1). A sample's gradient is
g = (z^T u) x with z = (x, -e), e = y - <x, w*>, so E[g g^T] is linear in U, whatever the law of (x, y):
    Gaussian x and noise (theory: B = E[(eta + Delta)(eta + Delta)^T], Delta = w* - w*_i)
        E[g g^T] = 2 H B H + (sigma^2 + Tr(H B)) H;
    rows drawn with replacement: the average of (z^T U z) x x^T over the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from ...problems.population import Client, Covariance, EmpiricalClient, GaussianClient, Population
from .symmetric_packing import Array, inner_triangle, multiplicity, pack, packed_size, products, triangle, unpack

CHUNK = 1 << 21
"""Numbers in a temporary array, at most (about)."""


def left(h: Array, matrices: Array) -> Array:
    """H matrices, for H (d, d) or its diagonal (d,)."""
    return h[:, None] * matrices if h.ndim == 1 else h @ matrices


def right(matrices: Array, h: Array) -> Array:
    """matrices H."""
    return matrices * h if h.ndim == 1 else matrices @ h


class Law(Protocol):
    """`weight` clients of the population, described by the means over them of what enters the moments linearly."""

    @property
    def weight(self) -> int: ...

    def members(self) -> list[Law]:
        """The same clients, each law of its own."""

    def mean(self, second: Array) -> Array:
        """E[m m^T], m = E[g | eta], (n, d, d), for U = `second` (n, d+1, d+1)."""

    def sampling(self, second: Array, mean: Array) -> Array:
        """E[g g^T] - E[m m^T] for the gradient g of one sample, (n, d, d), where E[m m^T] = `mean`."""

    def gradient(self, second: Array, batch: int | None) -> Array:
        """E[g g^T], (d, d), of `batch` samples (None: true gradients) for one U = `second` (d+1, d+1)."""

    def squares(self, batch: int | None) -> Array:
        """((d+1)(d+2)/2, d): pack(U) @ it is E[g_j^2] of `batch` samples (None: true gradients)."""

    def augmented(self, second: Array) -> Array:
        """(d+1, d+1): E[(z^T u)^2 | x] = z^T augmented z, for one U; z = (x, 1), or the row's z."""


@dataclass(frozen=True, eq=False)
class GaussianLaw:
    """Gaussian clients of one covariance."""

    covariance: Covariance
    weights: Array  # (k,), how many clients
    deltas: Array  # (k, d), w* - w*_i
    noise_variances: Array  # (k,)

    @property
    def weight(self) -> int:
        return int(self.weights.sum())

    @property
    def noise_variance(self) -> float:
        return float(self.weights @ self.noise_variances) / self.weight

    @cached_property
    def shift(self) -> Array:
        """The mean of Delta, (d,)."""
        return self.weights @ self.deltas / self.weight

    @cached_property
    def spread(self) -> Array:
        """The mean of Delta Delta^T, (d, d)."""
        return self.deltas.T @ (self.weights[:, None] * self.deltas) / self.weight

    @cached_property
    def shifted(self) -> bool:
        return bool(self.deltas.any())

    @cached_property
    def matrix(self) -> Array:
        """H, (d, d), or where it is diagonal its diagonal (d,)."""
        return self.covariance.eigenvalues if self.covariance.basis is None else self.covariance.dense

    def members(self) -> list[Law]:
        return [
            GaussianLaw(
                self.covariance, *(part[i : i + 1] for part in (self.weights, self.deltas, self.noise_variances))
            )
            for i in range(len(self.weights))
        ]

    def error(self, second: Array) -> Array:
        """B, (n, d, d)."""
        b = second[:, :-1, :-1]
        if not self.shifted:
            return b
        cross = second[:, :-1, -1, None] * self.shift
        return b + cross + cross.transpose(0, 2, 1) + second[:, -1, -1, None, None] * self.spread

    def mean(self, second: Array) -> Array:
        return right(left(self.matrix, self.error(second)), self.matrix)

    def sampling(self, second: Array, mean: Array) -> Array:
        h, b = self.covariance.dense, self.error(second)
        scale = self.noise_variance * second[:, -1, -1] + b.reshape(len(b), -1) @ h.ravel()
        return mean + scale[:, None, None] * h

    def gradient(self, second: Array, batch: int | None) -> Array:
        mean = self.mean(second[None])
        return (mean + self.sampling(second[None], mean) / batch if batch else mean)[0]

    def squares(self, batch: int | None) -> Array:
        h = self.covariance.dense
        d = len(h)
        placed = np.zeros((packed_size(d + 1), d))
        inner = inner_triangle(d + 1)
        placed[inner] = products(h).T * (1 + (1 / batch if batch else 0))
        if batch:
            placed[inner] += np.outer(pack(h), np.diag(h) / batch)
            placed[-1] = np.diag(h) / batch
        return self.adjoint(multiplicity(d + 1)[:, None] * placed)

    def augmented(self, second: Array) -> Array:
        result = np.zeros_like(second)
        result[:-1, :-1] = self.error(second[None])[0]
        result[-1, -1] = self.noise_variance * second[-1, -1]
        return result

    def adjoint(self, response: Array) -> Array:
        """The (m columns of) maps pack(augmented) @ response as maps of pack(U)."""
        result = response.copy()
        result[-1] *= self.noise_variance
        if self.shifted:
            d = len(self.shift)
            rows, columns = triangle(d + 1)
            cross = np.flatnonzero((rows < d) & (columns == d))
            plain = (response / multiplicity(d + 1)[:, None]).T
            width = max(1, CHUNK // (d + 1) ** 2)
            for start in range(0, len(plain), width):
                q = unpack(plain[start : start + width], d + 1)[:, :d, :d]
                result[cross, start : start + width] += 2 * (q @ self.shift).T
                result[-1, start : start + width] += q.reshape(len(q), -1) @ self.spread.ravel()
        return result


@dataclass(frozen=True, eq=False)
class EmpiricalLaw:
    """Clients whose rows are drawn with replacement."""

    clients: Sequence[EmpiricalClient]
    weights: Array  # (k,), how many of each
    optimum: Array

    @property
    def weight(self) -> int:
        return int(self.weights.sum())

    def members(self) -> list[Law]:
        return [EmpiricalLaw([c], self.weights[i : i + 1], self.optimum) for i, c in enumerate(self.clients)]

    def rows(self, client: EmpiricalClient) -> Array:
        """z = (x, -e) for each row held, (n, d+1)."""
        return np.column_stack([client.features, client.features @ self.optimum - client.targets])

    def sample_gradients(self, client: EmpiricalClient) -> Array:
        """Each row's gradient at w*, (n, d)."""
        rows = self.rows(client)
        return rows[:, -1:] * rows[:, :-1]

    @cached_property
    def gradients(self) -> Array:
        """(k, d, d+1): a client's mean gradient is its matrix times u."""
        return np.array([c.features.T @ self.rows(c) / len(c.targets) for c in self.clients])

    @cached_property
    def fourth(self) -> Array:
        """The mean of (z z^T) x x^T, packed, ((d+1)(d+2)/2, d (d+1)/2)."""
        return self.response(products)

    def response(self, statistic: Callable[[Array], Array]) -> Array:
        """(m,) statistic of x times z z^T, averaged over rows and clients, so that pack(U) @ it is (m,)."""
        size = packed_size(len(self.optimum) + 1)
        step = max(1, CHUNK // size)
        total: Array | float = 0.0
        for client, weight in zip(self.clients, self.weights / self.weight, strict=True):
            rows = self.rows(client)
            for part in (rows[start : start + step] for start in range(0, len(rows), step)):
                total = total + weight / len(rows) * (products(part).T @ statistic(part[:, :-1]))
        return multiplicity(len(self.optimum) + 1)[:, None] * total

    def mean(self, second: Array) -> Array:
        total = np.zeros((len(second), len(self.optimum), len(self.optimum)))
        for gradient, weight in zip(self.gradients, self.weights / self.weight, strict=True):
            total += weight * sandwich(gradient, second)
        return total

    def sampling(self, second: Array, mean: Array) -> Array:
        return unpack(pack(second) @ self.fourth, len(self.optimum)) - mean

    def gradient(self, second: Array, batch: int | None) -> Array:
        mean = self.mean(second[None])[0]
        if not batch:
            return mean
        single = np.zeros_like(mean)
        for client, weight in zip(self.clients, self.weights / self.weight, strict=True):
            rows = self.rows(client)
            square = ((rows @ second) * rows).sum(axis=1)
            single += weight / len(rows) * ((square[:, None] * client.features).T @ client.features)
        return mean + (single - mean) / batch

    def squares(self, batch: int | None) -> Array:
        mean = np.zeros((len(self.optimum), packed_size(len(self.optimum) + 1)))
        for gradient, weight in zip(self.gradients, self.weights / self.weight, strict=True):
            mean += weight * products(gradient)
        mean = (mean * multiplicity(len(self.optimum) + 1)).T
        return mean + (self.response(np.square) - mean) / batch if batch else mean

    def augmented(self, second: Array) -> Array:
        return second


def sandwich(a: Array, stack: Array) -> Array:
    """a S a^T for each symmetric S of a stack (n, k, k), with a (d, k)."""
    n, k = stack.shape[:2]
    half = (stack.reshape(n * k, k) @ a.T).reshape(n, k, len(a))  # one large product
    return (half.transpose(0, 2, 1).reshape(n * len(a), k) @ a.T).reshape(n, len(a), len(a))


def laws(population: Population) -> list[Law]:
    """The population's laws: Gaussian clients of one covariance share one, and so do all empirical clients."""
    optimum = population.optimum
    groups: dict[int, list[tuple[Client, int]]] = {}
    for client, count in population.laws:
        key = id(client.covariance) if isinstance(client, GaussianClient) else 0
        groups.setdefault(key, []).append((client, count))
    return [_law(members, optimum) for members in groups.values()]


def _law(members: list[tuple[Client, int]], optimum: Array) -> Law:
    weights = np.array([float(count) for _, count in members])
    gaussian = [client for client, _ in members if isinstance(client, GaussianClient)]
    if not gaussian:
        return EmpiricalLaw([c for c, _ in members if isinstance(c, EmpiricalClient)], weights, optimum)
    deltas = np.array([optimum - client.optimum for client in gaussian])
    noise_variances = np.array([client.noise_variance for client in gaussian])
    return GaussianLaw(gaussian[0].covariance, weights, deltas, noise_variances)
