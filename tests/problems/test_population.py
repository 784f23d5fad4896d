"""The optimum w*, the covariance H and the excess risk of a population of clients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.data_files import gradient, risk, sample

from mpi_fed.problems.digits import Digits
from mpi_fed.problems.gaussian import haar
from mpi_fed.problems.population import Covariance, EmpiricalClient, Population


@pytest.mark.parametrize("preprocessing", ["raw", "standardize", "pca"])
@pytest.mark.parametrize("clients", [1, 7])
def test_the_optimum_and_the_excess_risk_agree_with_the_rows(preprocessing: Any, clients: int) -> None:
    population = Digits(preprocessing=preprocessing).prepare(clients)
    best = population.optimum
    assert np.abs(gradient(population, best)).max() < 1e-10
    points = best + np.random.default_rng(2).standard_normal((5, 4, population.dimension))
    excess = population.excess_risk(points)
    assert excess.shape == (5, 4)
    rows = [risk(population, w) - risk(population, best) for w in points.reshape(20, -1)]
    np.testing.assert_allclose(excess.ravel(), rows, rtol=1e-10)
    assert population.excess_risk(best) == 0


def test_clients_with_different_numbers_of_rows_have_the_same_weight() -> None:
    features, targets = sample(rows=60)
    clients = [EmpiricalClient(features[:10], targets[:10]), EmpiricalClient(features[10:], targets[10:] + 3)]
    population = Population([*clients, clients[0]])  # the first law twice
    assert np.abs(gradient(population, population.optimum)).max() < 1e-13
    expected = (2 * features[:10].T @ features[:10] / 10 + features[10:].T @ features[10:] / 50) / 3
    np.testing.assert_allclose(population.covariance.dense, expected, atol=1e-13)
    assert population.trace == pytest.approx(np.trace(expected))


def test_optimum_of_ill_conditioned_rows() -> None:
    """Singular values 1 to 1e-7, so that X^T X has condition 1e14, and an exact fit."""
    rng = np.random.default_rng(3)
    features = haar(200, rng)[:, :8] * np.logspace(0, -7, 8) @ haar(8, rng)
    truth = rng.standard_normal(8)
    population = Population([EmpiricalClient(features, features @ truth)])
    np.testing.assert_allclose(population.optimum, truth, atol=1e-7)
    normal_equations = np.linalg.solve(features.T @ features, features.T @ (features @ truth))
    assert np.abs(normal_equations - truth).max() > 1e-5  # the error that the factorization avoids
    np.testing.assert_allclose(np.sqrt(population.covariance.eigenvalues * 200), np.logspace(0, -7, 8), rtol=1e-6)


def test_a_client_with_fewer_rows_than_columns() -> None:
    features, targets = sample(rows=2, columns=5)
    client = EmpiricalClient(features, targets)
    np.testing.assert_allclose(client.covariance.dense, features.T @ features / 2, atol=1e-14)


def test_covariance_of_a_matrix_acts_like_the_matrix() -> None:
    matrix = np.cov(np.random.default_rng(0).standard_normal((5, 20)))
    covariance = Covariance.of(matrix)
    v = np.arange(10.0).reshape(5, 2)
    np.testing.assert_allclose(covariance.apply(v), matrix @ v, atol=1e-13)
    np.testing.assert_allclose(covariance.unrotate(covariance.rotate(v)), v, atol=1e-13)
    assert covariance.trace == pytest.approx(np.trace(matrix))
