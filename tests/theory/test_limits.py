"""Closed forms and integrals of the limit against known values and Monte Carlo."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.study_text import configuration
from support.theory_cases import compressor_of, recursion_of

from mpi_fed.algorithms import Steps
from mpi_fed.compressors import Compressor
from mpi_fed.problems.gaussian import Gaussian
from mpi_fed.problems.population import Client, Covariance, EmpiricalClient, GaussianClient, Population
from mpi_fed.theory import limit_covariance, predict
from mpi_fed.theory.fixed_step import fixed_step
from mpi_fed.theory.limits.limit_trace import limit_trace
from mpi_fed.theory.moments.conditional_variances import SAMPLES
from mpi_fed.theory.moments.gradient_moments import client_groups
from mpi_fed.theory.moments.norm_moments import buckets, mean_norm_products, norm_product_diagonals, norm_product_tensor
from mpi_fed.theory.moments.symmetric_packing import unpack
from mpi_fed.theory.run_model import RunModel

COLUMNS: list[tuple[str, dict[str, Any]]] = [
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


def star_trace(population: Population, compressor: Compressor, batch: int | None = 1) -> float:
    """Return the limit trace by the exact recursion, as the noise trace at w*."""
    recursion = recursion_of(RunModel(population, compressor, batch))
    return recursion.noise_trace(recursion.core_of(np.zeros(population.dimension), 0.0))


@pytest.mark.parametrize(("decay", "rotation"), TRACES)
def test_limit_traces(decay: int, rotation: Any) -> None:
    population = Gaussian(dimension=4, eigenvalue_decay=float(decay), rotation=rotation).prepare(1)
    chosen = [compressor_of(kind, 4, **parameters) for kind, parameters in COLUMNS]
    expected = TRACES[decay, rotation]
    assert [star_trace(population, c) for c in chosen] == pytest.approx(expected, rel=6e-5)
    groups = client_groups(population)
    direct = [limit_trace(groups, c, 1, population.covariance).value for c in chosen]
    assert direct == pytest.approx(expected, rel=6e-5)


@pytest.mark.parametrize(
    ("kind", "parameters", "plateau"),
    [("none", {}, 6.158), ("bernoulli", {"p": 1 / 3}, 22.883), ("rand-h", {"h": 1}, 32.540)],
)
def test_plateaus(kind: str, parameters: dict[str, Any], plateau: float) -> None:
    population = Gaussian(dimension=4).prepare(1)
    compressor = compressor_of(kind, 4, **parameters)
    steps = Steps(1 / (2 * (compressor.omega_bound(4) + 1) * population.trace))
    end = fixed_step(recursion_of(RunModel(population, compressor, 1)), steps)
    assert end.stable
    assert end.plateau_trace == pytest.approx(plateau, rel=3e-5)


def test_limit_scales_with_clients_noise_and_batch() -> None:
    """For homogeneous compressors C_ania is sigma^2/(N b) times the C_ania of one sample, one client and sigma = 1."""
    one = Gaussian(dimension=5).prepare(1)
    many = Gaussian(dimension=5, noise_variance=3.0).prepare(6)
    for kind, parameters in COLUMNS:
        compressor = compressor_of(kind, 5, **parameters)
        single, _ = limit_trace(client_groups(one), compressor, 1, one.covariance)
        several, _ = limit_trace(client_groups(many), compressor, 2, many.covariance)
        assert several == pytest.approx(single * 3.0 / 12, rel=1e-12)


def test_participation_is_immune_to_covariate_shift() -> None:
    """The limit trace is sigma^2 d/(p N) for all covariances of the clients."""
    population = Gaussian(dimension=6, shift="covariate").prepare(3)
    compressor = compressor_of("partial-participation", 6, p=0.25)
    assert star_trace(population, compressor) == pytest.approx(6 / (0.25 * 3), rel=1e-6)


@pytest.mark.parametrize("bucket", [None, 1, 2, 3])
def test_norm_products_against_monte_carlo(bucket: int | None) -> None:
    """Each of 44 means is within 5 standard errors. The test fails by chance for one in 4 * 10^4 seeds."""
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
def test_diagonal_norm_products_agree_with_the_tensor(bucket: int | None) -> None:
    eigenvalues = np.array([1.0, 0.3, 0.01, 2.0, 0.5])
    tensor = unpack(norm_product_tensor(np.diag(eigenvalues), bucket), 5)
    expected = np.diagonal(tensor, axis1=1, axis2=2)
    np.testing.assert_allclose(norm_product_diagonals(eigenvalues, bucket), expected, rtol=1e-12)


def test_norm_products_at_a_large_condition_number() -> None:
    """x = (a, b) with a tiny b: E[||x|| |b|] = E|a| E|b|, E[||x|| |b| a^2] = E|a|^3 E|b|."""
    h = np.diag([1.0, 1e-16])
    assert mean_norm_products(h)[1] == pytest.approx(2 / np.pi * 1e-8, rel=1e-12)
    assert norm_product_tensor(h)[1, 0] == pytest.approx(4 / np.pi * 1e-8, rel=1e-12)


def test_the_control_variates_for_more_levels_reduce_the_sampling_error() -> None:
    """At s = 3 a part is sampled. |z| < 5 against plain Monte Carlo, and the standard error is smaller."""
    population = Gaussian(dimension=4).prepare(1)
    compressor = compressor_of("quantization", 4, levels=3)
    recursion = recursion_of(RunModel(population, compressor, 1))
    star = recursion.core_of(np.zeros(4), 0.0)
    rng = np.random.default_rng(1)
    h = population.covariance.dense
    x = rng.standard_normal((400_000, 4)) @ np.linalg.cholesky(h).T
    samples = compressor.variances(x) @ np.diag(np.linalg.inv(h))
    controlled, plain = recursion.noise_standard_error(star), samples.std() / np.sqrt(len(x))
    assert 0 < controlled < 0.5 * samples.std() / np.sqrt(SAMPLES)
    assert recursion.noise_trace(star) == pytest.approx(4 + samples.mean(), abs=5 * np.hypot(controlled, plain))


@pytest.mark.parametrize("empirical", [False, True])
def test_the_sampled_limit_agrees_with_the_exact_one(empirical: bool) -> None:
    """At batch size 1 there are two methods: samples of g at w*, and the closed form of the recursion. |z| < 5."""
    rng = np.random.default_rng(2)
    clients: list[Client]
    if empirical:
        features = rng.exponential(size=(2, 40, 3))
        clients = [EmpiricalClient(x, rng.standard_normal(40)) for x in features]
    else:
        shared = Covariance.of(np.array([[1.0, 0.3, 0.1], [0.3, 0.5, 0.0], [0.1, 0.0, 0.2]]))
        clients = [GaussianClient(shared, rng.standard_normal(3), 0.5) for _ in range(2)]
    population = Population(clients)
    compressor = compressor_of("quantization", 3, levels=1)
    exact = star_trace(population, compressor)
    value, error = limit_trace(client_groups(population), compressor, 1, population.covariance)
    assert value == pytest.approx(exact, abs=5 * error, rel=1e-12)
    assert (error == 0) is empirical


@pytest.mark.parametrize("empirical", [False, True])
def test_the_limit_with_batches_agrees_with_samples(empirical: bool) -> None:
    """Clients with different optima, b = 3 and 1-quantization, against plain samples of batches. |z| < 5."""
    rng = np.random.default_rng(3)
    clients: list[Client]
    if empirical:
        clients = [EmpiricalClient(rng.exponential(size=(20, 3)), rng.standard_normal(20)) for _ in range(2)]
    else:
        clients = [
            GaussianClient(Covariance.of(np.diag(diagonal)), rng.standard_normal(3), 0.5)
            for diagonal in ([1.0, 0.5, 0.2], [0.3, 1.0, 0.1])
        ]
    population = Population(clients)
    compressor = compressor_of("quantization", 3, levels=1)
    value, error = limit_trace(client_groups(population), compressor, 3, population.covariance)
    inverse = np.linalg.inv(population.covariance.dense)
    total, variance, count = 0.0, error**2, 100_000
    for client in clients:
        if isinstance(client, EmpiricalClient):
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
def test_the_limit_distribution_with_optima_off_the_eigenvectors(rotation: str) -> None:
    """Without compression a client's gradient has Cov = H D D^T H + (sigma^2 + D^T H D) H at w*, D = w* - w*_i."""
    shifted = configuration(clients=3, problem={"dimension": 3, "rotation": rotation, "shift": "optimum"})
    population = shifted.problem.prepare(3)
    h, total = population.covariance.dense, np.zeros((3, 3))
    for client in population.clients:
        assert isinstance(client, GaussianClient)
        delta = population.optimum - client.optimum
        total += h @ np.outer(delta, delta) @ h + (client.noise_variance + delta @ h @ delta) * h
    covariance, weights = limit_covariance(shifted), predict(shifted).limit_weights
    assert covariance is not None
    assert weights is not None
    np.testing.assert_allclose(covariance, total / 9, rtol=1e-12)
    expected = np.sort(np.linalg.eigvals(np.linalg.inv(h) @ total / 9).real)[::-1]
    np.testing.assert_allclose(weights, expected, rtol=1e-10)
