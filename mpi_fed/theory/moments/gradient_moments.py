"""Second moments of one client's stochastic gradient, as linear maps of the error's moments.

Let eta = w - w*, u = (eta, 1) and U = E[u u^T], of shape (d+1, d+1). The gradient of a sample is g = (z^T u) x with
z = (x, -r), where r = y - <x, w*> is the residual at w*. So E[g g^T] is linear in U for every distribution of (x, y):
    Gaussian x and noise (B = E[(eta + Delta)(eta + Delta)^T], Delta = w* - w*_i)
        E[g g^T] = 2 H B H + (sigma^2 + Tr(H B)) H;
    rows drawn with replacement: the average of (z^T U z) x x^T over the rows.
The gradient of b samples has E[g g^T] = E[m m^T] + (1/b) (E[g g^T] of one sample - E[m m^T]), where m = E[g | eta].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ...problems.population import Client, EmpiricalClient, GaussianClient, Population
from .empirical_clients import EmpiricalClients
from .gaussian_clients import GaussianClients
from .symmetric_packing import Array


class ClientGroup(Protocol):
    """A group of `weight` clients, given by means over these clients of quantities that enter S(U) linearly."""

    @property
    def weight(self) -> int:
        """The number of clients."""

    def single_clients(self) -> Sequence[ClientGroup]:
        """Return one group for each distinct client."""

    def mean_moment(self, second: Array) -> Array:
        """Return E[m m^T], m = E[g | eta], of shape (n, d, d), for U = `second` of shape (n, d+1, d+1)."""

    def sampling_covariance(self, second: Array, mean: Array) -> Array:
        """Return E[g g^T] - E[m m^T] for the gradient g of one sample, of shape (n, d, d), where E[m m^T] = `mean`."""

    def gradient_moment(self, second: Array, batch: int | None) -> Array:
        """Return E[g g^T] (d, d) for one U = `second` and the gradient g of `batch` samples (None: true gradient)."""

    def squares_map(self, batch: int | None) -> Array:
        """Return the matrix A, of shape ((d+1)(d+2)/2, d), for which pack(U) @ A is the vector of E[g_j^2].

        g is the gradient of `batch` samples (None: the true gradient).
        """

    def augmented_moment(self, second: Array) -> Array:
        """Return the matrix G (d+1, d+1) with E[(z^T u)^2 | x] = z^T G z for one U.

        For Gaussian clients z = (x, 1), else it is the z of the row.
        """


def client_groups(population: Population) -> list[ClientGroup]:
    """Return the population in groups: Gaussian clients that share a covariance, and all empirical clients."""
    members: dict[int, list[tuple[Client, int]]] = {}
    for client, count in population.laws:
        key = id(client.covariance) if isinstance(client, GaussianClient) else 0
        members.setdefault(key, []).append((client, count))
    return [_group(clients, population.optimum) for clients in members.values()]


def _group(members: list[tuple[Client, int]], optimum: Array) -> ClientGroup:
    weights = np.array([float(count) for _, count in members])
    gaussian = [client for client, _ in members if isinstance(client, GaussianClient)]
    if not gaussian:
        return EmpiricalClients([c for c, _ in members if isinstance(c, EmpiricalClient)], weights, optimum)
    deltas = np.array([optimum - client.optimum for client in gaussian])
    noise_variances = np.array([client.noise_variance for client in gaussian])
    return GaussianClients(gaussian[0].covariance, weights, deltas, noise_variances)
