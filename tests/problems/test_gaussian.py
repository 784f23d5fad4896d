"""Gaussian problems: their optimum, rotations and limits."""

from __future__ import annotations

import numpy as np
import pytest

from mpi_fed.problems import problems
from mpi_fed.problems.gaussian import dct, haar


@pytest.mark.parametrize("shift", ["none", "covariate", "optimum", "both"])
@pytest.mark.parametrize("rotation", ["diagonal", "householder", "dct", "haar"])
def test_gaussian_optimum(shift, rotation) -> None:
    problem = problems["gaussian"](dimension=6, shift=shift, rotation=rotation, decays=(1.0, 2.0, 0.5))
    population = problem.prepare(4)
    best = population.optimum
    moment = sum(c.covariance.apply(best - c.optimum) for c in population.clients)
    np.testing.assert_allclose(moment, 0, atol=1e-12)
    if shift in ("none", "covariate"):
        np.testing.assert_array_equal(best, np.ones(6))
    expected = sum(c.covariance.dense for c in population.clients) / 4
    np.testing.assert_allclose(population.covariance.dense, expected, atol=1e-14)


def test_a_reflected_h_stays_cheap_at_any_dimension() -> None:
    problem = problems["gaussian"](dimension=100_000, rotation="householder", shift="optimum")
    problem.check(3)
    population = problem.prepare(3)
    mean = sum(c.optimum for c in population.clients) / 3
    np.testing.assert_allclose(population.optimum, mean, atol=1e-12)
    assert population.excess_risk(mean + 1) == pytest.approx(population.covariance.apply(np.ones(100_000)).sum() / 2)


@pytest.mark.parametrize(
    ("options", "rotation"),
    [({"rotation": "haar"}, "haar"), ({"shift": "both", "rotation": "diagonal"}, "haar")],
)
def test_dense_rotations_are_refused_at_large_dimensions(options, rotation) -> None:
    with pytest.raises(ValueError, match=f"a dense {rotation} rotation at dimension = 10001 .* at most 10000"):
        problems["gaussian"](dimension=10_001, **options).check(1)


@pytest.mark.parametrize("matrix", [dct(7), haar(7, np.random.default_rng(0))])
def test_rotations_are_orthogonal(matrix) -> None:
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(7), atol=1e-14)
