"""Populations, compressors and step sizes for which the exact recursions are compared with simulation."""

from __future__ import annotations

from typing import Any

import numpy as np

from mpi_fed.algorithms import Steps
from mpi_fed.compressors import compressors
from mpi_fed.problems.population import Covariance, EmpiricalClient, GaussianClient, Population

K = 24
DIMENSION = 4
LINEAR = [
    ("none", {}),
    ("bernoulli", {"p": 0.4}),
    ("rand-h", {"h": 2}),
    ("sketch", {"h": 2}),
    ("partial-participation", {"p": 0.4}),
]
QUANTIZED = [
    ("quantization", {"levels": 1}),
    ("quantization", {"levels": 1, "bucket": 3}),
    ("quantization", {"levels": 2}),
]
ids = {"ids": lambda value: value if isinstance(value, str) else None}


def covariance(rng: np.random.Generator, decay: float = 1.0) -> Covariance:
    basis = np.linalg.qr(rng.standard_normal((DIMENSION, DIMENSION)))[0]
    return Covariance(np.arange(1.0, DIMENSION + 1) ** -decay, basis)


def homogeneous(clients: int = 1) -> Population:
    return Population([GaussianClient(covariance(np.random.default_rng(1)), np.ones(DIMENSION), 0.5)] * clients)


def shifted() -> Population:
    """Return three clients, each with its own covariance, optimum and noise."""
    rng = np.random.default_rng(2)
    return Population(
        [
            GaussianClient(covariance(rng, decay), rng.standard_normal(DIMENSION), noise)
            for decay, noise in [(0.5, 0.3), (1.0, 1.0), (2.0, 0.0)]
        ]
    )


def rows() -> Population:
    """Return two clients whose rows follow no linear model: skewed features, nonlinear targets."""
    rng = np.random.default_rng(3)
    features = rng.exponential(size=(2, 11, DIMENSION)) - 0.3
    targets = np.sin(3 * features[:, :, 0]) + features[:, :, 1] ** 2
    return Population([EmpiricalClient(x, y) for x, y in zip(features, targets, strict=True)])


def step(population: Population, kind: str, parameters: dict[str, Any]) -> Steps:
    """Return a step size large enough for the multiplicative noise to matter."""
    omega = compressors[kind](**parameters).resolve(DIMENSION).omega_bound(DIMENSION)
    return Steps(1 / (2 * (omega + 1) * population.trace))
