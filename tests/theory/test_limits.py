"""Closed forms and integrals of the limit against known values and Monte Carlo."""

from __future__ import annotations

import numpy as np
import pytest
from support.study_text import configuration

from mpi_fed.algorithms import Steps
from mpi_fed.compressors import compressors
from mpi_fed.problems.gaussian import Gaussian
from mpi_fed.problems.population import Covariance, EmpiricalClient, GaussianClient, Population
from mpi_fed.theory import limit_covariance, predict
from mpi_fed.theory.fixed_step import fixed_step
from mpi_fed.theory.limits.limit_trace import limit_trace
from mpi_fed.theory.moments.conditional_variances import SAMPLES
from mpi_fed.theory.moments.gradient_moments import client_groups
from mpi_fed.theory.moments.norm_moments import buckets, mean_norm_products, norm_product_diagonals, norm_product_tensor
from mpi_fed.theory.moments.symmetric_packing import unpack
from mpi_fed.theory.recursions.choose import exact_recursion
from mpi_fed.theory.run_model import RunModel

COLUMNS = [
    ("none", {}),
    ("quantization", {"levels": 1}),
    ("bernoulli", {"p": 1 / 3}),
    ("bernoulli", {"p": 1 / 4}),
    ("rand-h", {"h": 1}),
    ("sketch", {"h": 1}),
    ("partial-participation", {"p": 1 / 3}),
    ("quantization", {"levels": 1, "bucket": 2}),
]
TRACES = {  # Tr(C_ania H^-1) at d = 4, sigma = 1, one client, in the order of COLUMNS
    (1, "diagonal"): [4, 7.3452, 12, 16, 16, 19.222, 12, 5.1775],
    (1, "householder"): [4, 7.7895, 14.417, 19.625, 20.833, 19.222, 12, 5.5533],
    (1, "dct"): [4, 7.7865, 14.292, 19.438, 20.583, 19.222, 12, 5.5394],
    (4, "diagonal"): [4, 21.447, 12, 16, 16, 259.92, 12, 6.661],
    (4, "householder"): [4, 93.644, 194.94, 290.41, 381.88, 259.92, 12, 42.603],
    (4, "dct"): [4, 94.757, 191.42, 285.14, 374.85, 259.92, 12, 42.614],
}


def star_trace(population, compressor, batch=1):
    recursion = exact_recursion(RunModel(population, compressor, batch))
    return recursion.noise_trace(recursion.core_of(np.zeros(population.dimension), 0.0))


@pytest.mark.parametrize(("decay", "rotation"), TRACES)
def test_limit_traces(decay, rotation) -> None:
    population = Gaussian(dimension=4, eigenvalue_decay=float(decay), rotation=rotation).prepare(1)
    chosen = [compressors[kind](**parameters).resolve(4) for kind, parameters in COLUMNS]
    expected = TRACES[decay, rotation]
    assert [star_trace(population, c) for c in chosen] == pytest.approx(expected, rel=6e-5)
    groups = client_groups(population)
    direct = [limit_trace(groups, c, 1, population.covariance).value for c in chosen]
    assert direct == pytest.approx(expected, rel=6e-5)


@pytest.mark.parametrize(
    ("kind", "parameters", "plateau"),
    [("none", {}, 6.158), ("bernoulli", {"p": 1 / 3}, 22.883), ("rand-h", {"h": 1}, 32.540)],
)
def test_plateaus(kind, parameters, plateau) -> None:
    population = Gaussian(dimension=4).prepare(1)
    compressor = compressors[kind](**parameters).resolve(4)
    steps = Steps(1 / (2 * (compressor.omega_bound(4) + 1) * population.trace))
    found = fixed_step(exact_recursion(RunModel(population, compressor, 1)), steps)
    assert found.stable
    assert found.plateau_trace == pytest.approx(plateau, rel=3e-5)


def test_limit_scales_with_clients_noise_and_batch() -> None:
    """C_ania = sigma^2/(N b) times that of one sample and client, for every homogeneous compressor."""
    one = Gaussian(dimension=5).prepare(1)
    many = Gaussian(dimension=5, noise_variance=3.0).prepare(6)
    for kind, parameters in COLUMNS:
        compressor = compressors[kind](**parameters).resolve(5)
        single, _ = limit_trace(client_groups(one), compressor, 1, one.covariance)
        several, _ = limit_trace(client_groups(many), compressor, 2, many.covariance)
        assert several == pytest.approx(single * 3.0 / 12, rel=1e-12)


def test_participation_is_immune_to_covariate_shift() -> None:
    """sigma^2 d/(p N), whatever the clients' covariances."""
    population = Gaussian(dimension=6, shift="covariate").prepare(3)
    compressor = compressors["partial-participation"](p=0.25)
    assert star_trace(population, compressor) == pytest.approx(6 / (0.25 * 3), rel=1e-6)


@pytest.mark.parametrize("bucket", [None, 1, 2, 3])
def test_norm_products_against_monte_carlo(bucket) -> None:
    """Each of 44 means within 5 standard errors: wrong once in 4 * 10^4 seeds."""
    h = Gaussian(dimension=4, eigenvalue_decay=2.0).prepare(1).covariance.dense
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400_000, 4)) @ np.linalg.cholesky(h).T
    norms = np.concatenate(
        [np.repeat(np.linalg.norm(x[:, b], axis=1)[:, None], b.stop - b.start, axis=1) for b in buckets(4, bucket)],
        axis=1,
    )
    values = norms * np.abs(x)
    rows, columns = np.triu_indices(4)
    samples = np.concatenate([values[:, :, None], values[:, :, None] * (x[:, rows] * x[:, columns])[:, None]], axis=2)
    exact = np.column_stack([mean_norm_products(h, bucket), norm_product_tensor(h, bucket)])
    z = (samples.mean(axis=0) - exact) / (samples.std(axis=0) / np.sqrt(len(x)))
    assert np.abs(z).max() < 5


@pytest.mark.parametrize("bucket", [None, 2])
def test_diagonal_norm_products_are_those_of_the_tensor(bucket) -> None:
    eigenvalues = np.array([1.0, 0.3, 0.01, 2.0, 0.5])
    tensor = unpack(norm_product_tensor(np.diag(eigenvalues), bucket), 5)
    expected = np.diagonal(tensor, axis1=1, axis2=2)
    np.testing.assert_allclose(norm_product_diagonals(eigenvalues, bucket), expected, rtol=1e-12)


def test_norm_products_of_large_condition() -> None:
    """x = (a, b) with b tiny: E[||x|| |b|] = E|a| E|b|, E[||x|| |b| a^2] = E|a|^3 E|b|."""
    h = np.diag([1.0, 1e-16])
    assert mean_norm_products(h)[1] == pytest.approx(2 / np.pi * 1e-8, rel=1e-12)
    assert norm_product_tensor(h)[1, 0] == pytest.approx(4 / np.pi * 1e-8, rel=1e-12)


def test_more_levels_by_control_variates() -> None:
    """s = 3, where a part is sampled: against plain Monte Carlo, |z| < 5; the controls leave a smaller error."""
    population = Gaussian(dimension=4).prepare(1)
    compressor = compressors["quantization"](levels=3).resolve(4)
    recursion = exact_recursion(RunModel(population, compressor, 1))
    star = recursion.core_of(np.zeros(4), 0.0)
    rng = np.random.default_rng(1)
    h = population.covariance.dense
    x = rng.standard_normal((400_000, 4)) @ np.linalg.cholesky(h).T
    samples = compressor.variances(x) @ np.diag(np.linalg.inv(h))
    own, error = recursion.noise_standard_error(star), samples.std() / np.sqrt(len(x))
    assert 0 < own < 0.5 * samples.std() / np.sqrt(SAMPLES)
    assert recursion.noise_trace(star) == pytest.approx(4 + samples.mean(), abs=5 * np.hypot(own, error))


@pytest.mark.parametrize("empirical", [False, True])
def test_sampled_limit_is_the_exact_one(empirical) -> None:
    """Batch 1 has both: the law of g at w* sampled, and the recursion's closed form. |z| < 5."""
    rng = np.random.default_rng(2)
    if empirical:
        features = rng.exponential(size=(2, 40, 3))
        clients = [EmpiricalClient(x, rng.standard_normal(40)) for x in features]
    else:
        shared = Covariance.of(np.array([[1.0, 0.3, 0.1], [0.3, 0.5, 0.0], [0.1, 0.0, 0.2]]))
        clients = [GaussianClient(shared, rng.standard_normal(3), 0.5) for _ in range(2)]
    population = Population(clients)
    compressor = compressors["quantization"](levels=1).resolve(3)
    exact = star_trace(population, compressor)
    value, error = limit_trace(client_groups(population), compressor, 1, population.covariance)
    assert value == pytest.approx(exact, abs=5 * error, rel=1e-12)
    assert (error == 0) is empirical


@pytest.mark.parametrize("empirical", [False, True])
def test_limit_of_batches_against_samples(empirical) -> None:
    """Shifted clients, b = 3, 1-quantization: batches drawn plainly. |z| < 5."""
    rng = np.random.default_rng(3)
    if empirical:
        clients = [EmpiricalClient(rng.exponential(size=(20, 3)), rng.standard_normal(20)) for _ in range(2)]
    else:
        clients = [
            GaussianClient(Covariance.of(np.diag(diagonal)), rng.standard_normal(3), 0.5)
            for diagonal in ([1.0, 0.5, 0.2], [0.3, 1.0, 0.1])
        ]
    population = Population(clients)
    compressor = compressors["quantization"](levels=1).resolve(3)
    value, error = limit_trace(client_groups(population), compressor, 3, population.covariance)
    inverse = np.linalg.inv(population.covariance.dense)
    total, variance, count = 0.0, error**2, 100_000
    for client in clients:
        if empirical:
            rows = rng.integers(20, size=(count, 3))
            x, noise = client.features[rows], client.targets[rows] - client.features[rows] @ population.optimum
        else:
            x = rng.standard_normal((count, 3, 3)) * np.sqrt(np.diag(client.covariance.dense))
            noise = np.sqrt(0.5) * rng.standard_normal((count, 3)) + x @ (client.optimum - population.optimum)
        g = -np.einsum("nb,nbd->nd", noise, x) / 3
        samples = np.einsum("nj,jk,nk->n", g - g.mean(axis=0), inverse, g - g.mean(axis=0))
        samples += compressor.variances(g) @ np.diag(inverse)
        total += samples.mean() / 4
        variance += samples.var() / count / 16
    assert abs(value - total) < 5 * np.sqrt(variance)


@pytest.mark.parametrize("rotation", ["diagonal", "dct", "householder"])
def test_the_limit_law_knows_that_optima_lie_off_the_eigenvectors(rotation) -> None:
    """Without compression a client's gradient has Cov = H D D^T H + (sigma^2 + D^T H D) H at w*, D = w* - w*_i."""
    given = configuration(clients=3, problem={"dimension": 3, "rotation": rotation, "shift": "optimum"})
    population = given.problem.prepare(3)
    h, total = population.covariance.dense, np.zeros((3, 3))
    for client in population.clients:
        delta = population.optimum - client.optimum
        total += h @ np.outer(delta, delta) @ h + (client.noise_variance + delta @ h @ delta) * h
    np.testing.assert_allclose(limit_covariance(given), total / 9, rtol=1e-12)
    expected = np.sort(np.linalg.eigvals(np.linalg.inv(h) @ total / 9).real)[::-1]
    np.testing.assert_allclose(predict(given).limit_weights, expected, rtol=1e-10)
