"""Gradient moments of clients that draw samples from their own rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...problems.population import EmpiricalClient
from .matrix_products import sandwich
from .symmetric_packing import CHUNK, Array, multiplicity, pack, packed_products, packed_size, unpack


@dataclass(frozen=True, eq=False)
class EmpiricalClients:
    """Clients whose rows are drawn with replacement."""

    clients: Sequence[EmpiricalClient]
    weights: Array  # (k,), how many of each
    optimum: Array

    @property
    def weight(self) -> int:
        """The number of clients."""
        return int(self.weights.sum())

    def single_clients(self) -> list[EmpiricalClients]:
        """Return one group for each of `clients`."""
        return [EmpiricalClients([c], self.weights[i : i + 1], self.optimum) for i, c in enumerate(self.clients)]

    def rows(self, client: EmpiricalClient) -> Array:
        """Return z = (x, -r) for each row of a client, of shape (n, d+1), where r = y - <x, w*>."""
        return np.column_stack([client.features, client.features @ self.optimum - client.targets])

    def sample_gradients(self, client: EmpiricalClient) -> Array:
        """Return the gradient of each row at w*, of shape (n, d)."""
        rows = self.rows(client)
        return rows[:, -1:] * rows[:, :-1]

    @cached_property
    def gradients(self) -> Array:
        """The matrices (k, d, d+1) whose products with u are the mean gradients of the k clients."""
        return np.array([c.features.T @ self.rows(c) / len(c.targets) for c in self.clients])

    @cached_property
    def fourth_moment(self) -> Array:
        """The mean of z z^T times x x^T, both packed, of shape ((d+1)(d+2)/2, d (d+1)/2)."""
        return self.response(packed_products)

    def response(self, statistic: Callable[[Array], Array]) -> Array:
        """Return the mean of z z^T times statistic(x) over rows and clients, of shape ((d+1)(d+2)/2, m).

        pack(U) @ response is the mean of (z^T U z) statistic(x), m numbers. `statistic` maps rows (n, d) to (n, m).
        """
        size = packed_size(len(self.optimum) + 1)
        step = max(1, CHUNK // size)
        total: Array | float = 0.0
        for client, weight in zip(self.clients, self.weights / self.weight, strict=True):
            rows = self.rows(client)
            for part in (rows[start : start + step] for start in range(0, len(rows), step)):
                total = total + weight / len(rows) * (packed_products(part).T @ statistic(part[:, :-1]))
        return multiplicity(len(self.optimum) + 1)[:, None] * total

    def mean_moment(self, second: Array) -> Array:
        total = np.zeros((len(second), len(self.optimum), len(self.optimum)))
        for gradient, weight in zip(self.gradients, self.weights / self.weight, strict=True):
            total += weight * sandwich(gradient, second)
        return total

    def sampling_covariance(self, second: Array, mean: Array) -> Array:
        return unpack(pack(second) @ self.fourth_moment, len(self.optimum)) - mean

    def gradient_moment(self, second: Array, batch: int | None) -> Array:
        mean: Array = self.mean_moment(second[None])[0]
        if not batch:
            return mean
        single = np.zeros_like(mean)
        for client, weight in zip(self.clients, self.weights / self.weight, strict=True):
            rows = self.rows(client)
            square = ((rows @ second) * rows).sum(axis=1)
            single += weight / len(rows) * ((square[:, None] * client.features).T @ client.features)
        moment: Array = mean + (single - mean) / batch
        return moment

    def squares_map(self, batch: int | None) -> Array:
        mean = np.zeros((len(self.optimum), packed_size(len(self.optimum) + 1)))
        for gradient, weight in zip(self.gradients, self.weights / self.weight, strict=True):
            mean += weight * packed_products(gradient)
        mean = (mean * multiplicity(len(self.optimum) + 1)).T
        return mean + (self.response(np.square) - mean) / batch if batch else mean

    def augmented_moment(self, second: Array) -> Array:
        return second
