"""Gaussian problems: their optimum, rotations and limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mpi_fed.problems.gaussian import Gaussian, dct, haar
from mpi_fed.problems.population import Array, GaussianClient, Population


def gaussian_clients(population: Population) -> list[GaussianClient]:
    return [client for client in population.clients if isinstance(client, GaussianClient)]


@pytest.mark.parametrize("shift", ["none", "covariate", "optimum", "both"])
@pytest.mark.parametrize("rotation", ["diagonal", "householder", "dct", "haar"])
def test_the_gradient_vanishes_at_the_optimum(shift: Any, rotation: Any) -> None:
    problem = Gaussian(dimension=6, shift=shift, rotation=rotation, decays=(1.0, 2.0, 0.5))
    population = problem.prepare(4)
    best = population.optimum
    moment: Any = sum(c.covariance.apply(best - c.optimum) for c in gaussian_clients(population))
    np.testing.assert_allclose(moment, 0, atol=1e-12)
    if shift in ("none", "covariate"):
        np.testing.assert_array_equal(best, np.ones(6))
    expected = sum(c.covariance.dense for c in population.clients) / 4
    np.testing.assert_allclose(population.covariance.dense, expected, atol=1e-14)


def test_a_reflected_h_works_at_large_dimensions() -> None:
    problem = Gaussian(dimension=100_000, rotation="householder", shift="optimum")
    problem.check(3)
    population = problem.prepare(3)
    mean: Array = np.add.reduce([c.optimum for c in gaussian_clients(population)]) / 3
    np.testing.assert_allclose(population.optimum, mean, atol=1e-12)
    assert population.excess_risk(mean + 1) == pytest.approx(population.covariance.apply(np.ones(100_000)).sum() / 2)


@pytest.mark.parametrize(
    ("options", "rotation"),
    [({"rotation": "haar"}, "haar"), ({"shift": "both", "rotation": "diagonal"}, "haar")],
)
def test_dense_rotations_are_refused_at_large_dimensions(options: dict[str, Any], rotation: str) -> None:
    with pytest.raises(ValueError, match=f"a dense {rotation} rotation at dimension = 10001 .* at most 10000"):
        Gaussian(dimension=10_001, **options).check(1)


@pytest.mark.parametrize("matrix", [dct(7), haar(7, np.random.default_rng(0))])
def test_rotations_are_orthogonal(matrix: Array) -> None:
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(7), atol=1e-14)
