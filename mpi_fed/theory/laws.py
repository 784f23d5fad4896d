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

from ..problems.population import Client, Covariance, EmpiricalClient, GaussianClient, Population
from .packing import Array, multiplicity, pack, packed_size, products, unpack

CHUNK = 1 << 21
"""Numbers in a temporary array, at most (about)."""


class Law(Protocol):
    """`weight` clients of the population, described by the means over them of what enters the moments linearly."""

    @property
    def weight(self) -> int: ...

    def mean(self, second: Array) -> Array:
        """E[m m^T], m = E[g | eta], (n, d, d), for U = `second` (n, d+1, d+1)."""

    def sampling(self, second: Array) -> Array:
        """E[g g^T] - E[m m^T] for the gradient g of one sample, (n, d, d)."""

    def augmented(self, second: Array) -> Array:
        """(n, d+1, d+1): E[(z^T u)^2 | x] = z^T augmented z, with z = (x, 1) or the rows' z."""


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

    def _error(self, second: Array) -> Array:
        """B, (n, d, d)."""
        b = second[:, :-1, :-1]
        if not self.shifted:
            return b
        cross = second[:, :-1, -1, None] * self.shift
        return b + cross + cross.transpose(0, 2, 1) + second[:, -1, -1, None, None] * self.spread

    def augmented(self, second: Array) -> Array:
        result = np.zeros_like(second)
        result[:, :-1, :-1] = self._error(second)
        result[:, -1, -1] = self.noise_variance * second[:, -1, -1]
        return result

    def mean(self, second: Array) -> Array:
        h = self.covariance.dense
        return h @ self._error(second) @ h

    def sampling(self, second: Array) -> Array:
        h, b = self.covariance.dense, self._error(second)
        scale = self.noise_variance * second[:, -1, -1] + np.einsum("njk,jk->n", b, h)
        return h @ b @ h + scale[:, None, None] * h


@dataclass(frozen=True, eq=False)
class EmpiricalLaw:
    """Clients whose rows are drawn with replacement."""

    clients: Sequence[EmpiricalClient]
    weights: Array  # (k,), how many of each
    optimum: Array

    @property
    def weight(self) -> int:
        return int(self.weights.sum())

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

    def augmented(self, second: Array) -> Array:
        return second

    def mean(self, second: Array) -> Array:
        total = np.zeros((len(second), len(self.optimum), len(self.optimum)))
        for gradient, weight in zip(self.gradients, self.weights / self.weight, strict=True):
            total += weight * (gradient @ second @ gradient.T)
        return total

    def sampling(self, second: Array) -> Array:
        return unpack(pack(second) @ self.fourth, len(self.optimum)) - self.mean(second)


def laws(population: Population, merge: bool = True) -> list[Law]:
    """The population's laws. With `merge`, as few as possible: enough for maps that are linear in U.

    Gaussian clients of one covariance become one law, and so do all empirical clients."""
    optimum = population.optimum
    groups: dict[int, list[tuple[Client, int]]] = {}
    for client, count in population.laws:
        key = id(client)
        if merge:
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
