"""Second moments of one client's stochastic gradient, as linear maps of the error's moments.

The origin is w*: eta = w - w*, u = (eta, 1), U = E[u u^T], (d+1, d+1). The gradient of a sample is g = (z^T u) x with
z = (x, -e), e = y - <x, w*>, so that E[g g^T] is linear in U for every distribution of (x, y):
    Gaussian x and noise (B = E[(eta + Delta)(eta + Delta)^T], Delta = w* - w*_i)
        E[g g^T] = 2 H B H + (sigma^2 + Tr(H B)) H;
    rows drawn with replacement: the average of (z^T U z) x x^T over the rows.
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
    """A group of `weight` clients; its moments are means over them of quantities that enter linearly."""

    @property
    def weight(self) -> int:
        """The number of clients."""

    def single_clients(self) -> Sequence[ClientGroup]:
        """Return one group for each distinct client."""

    def mean_moment(self, second: Array) -> Array:
        """Return E[m m^T], m = E[g | eta], (n, d, d), for U = `second` (n, d+1, d+1)."""

    def sampling_covariance(self, second: Array, mean: Array) -> Array:
        """Return E[g g^T] - E[m m^T] for the gradient g of one sample, (n, d, d), where E[m m^T] = `mean`."""

    def gradient_moment(self, second: Array, batch: int | None) -> Array:
        """Return E[g g^T] (d, d) of `batch` samples (None: true gradients) for one U = `second` (d+1, d+1)."""

    def squares_map(self, batch: int | None) -> Array:
        """Return the matrix A, ((d+1)(d+2)/2, d), with pack(U) @ A = E[g_j^2] of `batch` samples (None: true)."""

    def augmented_moment(self, second: Array) -> Array:
        """Return the matrix (d+1, d+1) with E[(z^T u)^2 | x] = z^T augmented z for one U; z = (x, 1) or the row's z."""


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
