"""Methods for a recursion agree: single steps, powers of two, the resolvent, the diagonal; and so do its limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.theory_cases import compressor_of, plateau_trace, recursion_of, stationary_core

from mpi_fed.algorithms import Steps
from mpi_fed.compressors import Compressor
from mpi_fed.problems.gaussian import Gaussian
from mpi_fed.problems.population import GaussianClient, Population
from mpi_fed.theory.document import FixedStep
from mpi_fed.theory.fixed_step import fixed_step
from mpi_fed.theory.moments.compression_covariance import (
    LinearCovariance,
    MatrixCovariance,
    exact_covariance,
    frozen_covariance,
)
from mpi_fed.theory.moments.gradient_moments import client_groups
from mpi_fed.theory.moments.symmetric_packing import Array
from mpi_fed.theory.recursions import propagate as methods
from mpi_fed.theory.recursions.base import Recursion
from mpi_fed.theory.recursions.contour_integral import FIRST, ContourError, by_contour
from mpi_fed.theory.recursions.diagonal_moments import diagonal_recursion
from mpi_fed.theory.recursions.full_moments import FullMomentsRecursion
from mpi_fed.theory.recursions.propagate import (
    OutOfReachError,
    by_powers,
    by_resolvent,
    by_steps,
    contour_seconds,
    doubling_seconds,
    propagate,
)
from mpi_fed.theory.run_model import RunModel
from mpi_fed.theory.trajectory import exact_evolution, expected_risks

ROUNDS = np.array([0, 1, 2, 3, 7, 100, 777, 1024])


def full_recursion(population: Population, compressor: Compressor, batch: int | None) -> FullMomentsRecursion:
    groups = client_groups(population)
    compression = exact_covariance(compressor, groups, batch)
    assert compression is not None
    return FullMomentsRecursion(population.covariance, groups, batch, compression)


def start_of(recursion: Recursion, population: Population) -> Array:
    return recursion.state(recursion.core_of(-population.optimum, 0.5))


@pytest.mark.parametrize("shift", ["none", "both"])
@pytest.mark.parametrize(
    ("kind", "parameters"), [("rand-h", {"h": 2}), ("quantization", {"levels": 1}), ("sketch", {"h": 2})]
)
def test_powers_of_two_agree_with_single_steps(kind: str, parameters: dict[str, Any], shift: Any) -> None:
    population = Gaussian(dimension=5, eigenvalue_decay=2.0, shift=shift).prepare(3)
    recursion = full_recursion(population, compressor_of(kind, 5, **parameters), 1)
    start = start_of(recursion, population)
    single = by_steps(recursion, start, Steps(0.1), 0, ROUNDS)
    np.testing.assert_allclose(by_powers(recursion, start, 0.1, ROUNDS), single, rtol=1e-10, atol=1e-12)


LATE = np.array([0, 3, FIRST, 100, 1000, 12_345, 10**6])


@pytest.mark.parametrize("batch", [1, 4, None])
@pytest.mark.parametrize("shift", ["none", "optimum"])
@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("bernoulli", {"p": 0.3}),
        ("rand-h", {"h": 2}),
        ("sketch", {"h": 2}),
        ("partial-participation", {"p": 0.4}),
        ("quantization", {"levels": 1}),
    ],
)
def test_the_resolvent_agrees_with_powers_and_with_the_linear_system(
    kind: str, parameters: dict[str, Any], shift: Any, batch: int | None
) -> None:
    population = Gaussian(dimension=6, eigenvalue_decay=2.0, shift=shift, optimum_spread=1.0).prepare(3)
    compressor = compressor_of(kind, 6, **parameters)
    groups, u = client_groups(population), np.append(-population.optimum, 1.0)
    exact = exact_covariance(compressor, groups, batch)
    added = exact or frozen_covariance(compressor, groups, batch, np.outer(u, u))
    recursion = FullMomentsRecursion(population.covariance, groups, batch, added)
    start = by_steps(recursion, start_of(recursion, population), Steps(0.02), 0, np.array([5]))[0]  # p, q not 0
    powers = by_powers(recursion, start, 0.02, LATE)
    states = by_resolvent(recursion, start, Steps(0.02), 0, LATE, whole=False)
    noise_vanishes = batch is None and shift == "none"
    assert np.isnan(states).any() == noise_vanishes
    np.testing.assert_allclose(states[:, -1], powers[:, -1], rtol=1e-10)  # q, which gives the averaged risk
    if not noise_vanishes:
        np.testing.assert_allclose(states, powers, rtol=1e-10, atol=1e-11)
    end = Recursion.stationary(recursion, 0.02)
    assert end is not None
    np.testing.assert_allclose(stationary_core(recursion, 0.02), end, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("averaging_start", [0, 700])
def test_risks_by_the_contour_agree_with_risks_by_powers(averaging_start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    population = Gaussian(dimension=6, eigenvalue_decay=2.0, shift="optimum", optimum_spread=1.0).prepare(3)
    recursion = full_recursion(population, compressor_of("rand-h", 6, h=2), 1)
    core, rounds = recursion.core_of(-population.optimum, 0.5), np.array([0, 30, 64, 700, 764, 5_000, 200_000])
    expected = expected_risks(recursion, exact_evolution(recursion, Steps(0.02)), core, averaging_start, rounds)
    calls = []

    def counted(*arguments: Any) -> Array:
        calls.append(arguments)
        return by_resolvent(*arguments)

    monkeypatch.setattr(methods, "by_resolvent", counted)
    monkeypatch.setattr(methods, "contour_seconds", lambda *_: 0.0)
    risks = expected_risks(recursion, exact_evolution(recursion, Steps(0.02)), core, averaging_start, rounds)
    assert len(calls) == (2 if averaging_start else 1)
    np.testing.assert_allclose(risks.averaged, expected.averaged, rtol=1e-9)
    np.testing.assert_allclose(risks.last, expected.last, rtol=1e-9)
    np.testing.assert_allclose(risks.core, expected.core, rtol=1e-9, atol=1e-12)


def test_another_method_is_used_if_the_contour_fails() -> None:
    population = Gaussian(dimension=6, eigenvalue_decay=2.0).prepare(3)
    recursion = full_recursion(population, compressor_of("rand-h", 6, h=1), 1)
    start, unstable = start_of(recursion, population), Steps(0.6)
    assert recursion.stationary(0.6) is None
    near = by_steps(recursion, start, unstable, 0, np.array([FIRST]))[0]
    resolvent = recursion.resolvent(0.6)
    assert resolvent is not None
    with np.errstate(all="ignore"), pytest.raises(ContourError):
        by_contour(resolvent, start, near, np.array([100]))
    grown = propagate(recursion, start, unstable, 0, np.array([100, 300]))
    single = by_steps(recursion, start, unstable, 0, np.array([100, 300]))
    np.testing.assert_allclose(grown, single, rtol=1e-9, atol=1e-12)


def test_the_error_names_the_failed_contour_if_no_other_method_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    population = Gaussian(dimension=6, eigenvalue_decay=2.0).prepare(3)
    recursion = full_recursion(population, compressor_of("rand-h", 6, h=1), 1)
    monkeypatch.setattr(methods, "stepping_seconds", lambda *_: np.inf)
    monkeypatch.setattr(methods, "doubling_seconds", lambda *_: np.inf)
    monkeypatch.setattr(methods, "contour_seconds", lambda *_: 0.0)
    with np.errstate(all="ignore"), pytest.raises(OutOfReachError, match=r"300 rounds .* contour, which fails"):
        propagate(recursion, start_of(recursion, population), Steps(0.6), 0, np.array([300]))


def test_the_contour_is_not_used_for_step_sizes_above_one_over_the_largest_eigenvalue() -> None:
    population = Gaussian(dimension=6).prepare(1)
    recursion = full_recursion(population, compressor_of("rand-h", 6, h=3), 1)
    assert np.isfinite(contour_seconds(recursion, 0.5, 10**6))
    assert contour_seconds(recursion, 1.01 / recursion.eigenvalues.max(), 10**6) == np.inf


def test_at_dimension_100_the_resolvent_is_fastest_and_agrees_with_single_steps() -> None:
    population = Gaussian(dimension=100, eigenvalue_decay=4.0).prepare(1)
    recursion = full_recursion(population, compressor_of("bernoulli", 100, p=1 / 11), 1)
    start, step, rounds = start_of(recursion, population), Steps(0.02), np.array([64, 500, 1500])
    assert contour_seconds(recursion, 0.02, 10**6) < doubling_seconds(recursion, 10**6) / 10
    single = by_steps(recursion, start, step, 0, rounds)
    states = by_resolvent(recursion, start, step, 0, rounds)
    counts = rounds.astype(float)
    np.testing.assert_allclose(recursion.last_risk(states), recursion.last_risk(single), rtol=1e-9)
    np.testing.assert_allclose(recursion.mean_risk(states, counts), recursion.mean_risk(single, counts), rtol=1e-9)


@pytest.mark.parametrize(
    ("kind", "parameters", "rotation", "shift"),
    [
        ("none", {}, "haar", "none"),
        ("partial-participation", {"p": 0.3}, "dct", "optimum"),
        ("sketch", {"h": 2}, "householder", "optimum"),
        ("bernoulli", {"p": 0.3}, "diagonal", "optimum"),
        ("rand-h", {"h": 2}, "diagonal", "none"),
        ("quantization", {"levels": 1}, "diagonal", "none"),
        ("quantization", {"levels": 1, "bucket": 3}, "diagonal", "optimum"),
        ("quantization", {"levels": 2}, "diagonal", "none"),
    ],
)
@pytest.mark.parametrize("batch", [1, 4, None])
def test_the_recursion_on_the_diagonal_agrees_with_the_full_one(
    kind: str, parameters: dict[str, Any], rotation: Any, shift: Any, batch: int | None
) -> None:
    population = Gaussian(dimension=5, rotation=rotation, shift=shift, optimum_spread=1.0).prepare(2)
    compressor = compressor_of(kind, 5, **parameters)
    diagonal = diagonal_recursion(client_groups(population), compressor, batch)
    if kind == "quantization" and batch != 1:
        assert diagonal is None
        return
    assert diagonal is not None
    full = full_recursion(population, compressor, batch)
    steps, tolerance = Steps(0.05, 0.3), 1e-9 if parameters.get("levels") != 2 else 2e-3
    start = -population.optimum, 0.5
    recursions: list[Recursion] = [diagonal, full]
    risks = [expected_risks(r, exact_evolution(r, steps), r.core_of(*start), 0, ROUNDS) for r in recursions]
    np.testing.assert_allclose(risks[0].averaged, risks[1].averaged, rtol=tolerance)
    np.testing.assert_allclose(risks[0].last, risks[1].last, rtol=tolerance)
    fixed = [fixed_step(r, Steps(0.05)) for r in recursions]
    assert fixed[0].stable == fixed[1].stable
    assert fixed[0].plateau_trace == pytest.approx(fixed[1].plateau_trace, rel=tolerance)


def test_coordinatewise_compressors_do_not_close_on_the_diagonal_of_a_rotated_covariance() -> None:
    groups = client_groups(Gaussian(dimension=5, rotation="dct").prepare(1))
    chosen = [compressor_of("bernoulli", 5, p=0.3), compressor_of("rand-h", 5, h=2), compressor_of("quantization", 5)]
    for compressor in chosen:
        assert diagonal_recursion(groups, compressor, 1) is None


@pytest.mark.parametrize("kind", ["none", "bernoulli", "quantization"])
def test_the_scaled_risk_tends_to_the_plateau_and_the_plateau_to_the_limit(kind: str) -> None:
    population = Gaussian(dimension=4).prepare(1)
    compressor = compressor_of("bernoulli", 4, p=0.3) if kind == "bernoulli" else compressor_of(kind, 4)
    recursion = recursion_of(RunModel(population, compressor, 1))
    core = recursion.core_of(-population.optimum, 0.0)
    limit = recursion.noise_trace(recursion.core_of(np.zeros(4), 0.0))
    rounds = np.array([10**13])
    traces = []
    for gamma in (1e-2, 1e-4):
        risks = expected_risks(recursion, exact_evolution(recursion, Steps(gamma)), core, 0, rounds)
        plateau = plateau_trace(recursion, gamma)
        assert 2 * rounds[0] * risks.averaged[0] == pytest.approx(plateau, rel=1e-3)
        traces.append(plateau)
    assert traces[0] > traces[1] == pytest.approx(limit, rel=1e-3)


def test_the_bound_of_the_theorem_holds() -> None:
    """E F(mean) - F* <= (B + sqrt(T) + sqrt(3 V T)/sigma)^2 / (2K) for linear C and gamma (omega+1) R^2 <= 1."""
    population = Gaussian(dimension=6).prepare(1)
    trace = population.trace + 2 * population.covariance.eigenvalues[0]
    compressor = compressor_of("rand-h", 6, h=2)
    recursion = recursion_of(RunModel(population, compressor, 1))
    core = recursion.core_of(-population.optimum, 0.0)
    gamma = 1 / ((compressor.omega_bound(6) + 1) * trace)
    rounds = np.array([10, 100, 1000, 10_000])
    risks = expected_risks(recursion, exact_evolution(recursion, Steps(gamma)), core, 0, rounds)
    norm, limit = population.optimum @ population.optimum, recursion.noise_trace(recursion.core_of(np.zeros(6), 0.0))
    v = norm / (gamma * rounds) + gamma * (compressor.omega_bound(6) + 1) * population.trace
    bias = np.sqrt(norm / gamma)
    assert (risks.averaged <= (bias + np.sqrt(limit) + np.sqrt(3 * v * limit)) ** 2 / (2 * rounds)).all()


def test_step_sizes_too_large_are_unstable() -> None:
    """For Gaussian data without compression the moments stay bounded exactly if sum_j g l_j / (2 (1 - g l_j)) < 1."""
    population = Gaussian(dimension=5, rotation="haar").prepare(1)
    eigenvalues = population.covariance.eigenvalues
    gammas = np.linspace(0.01, 0.99, 2000)
    bounded = np.array([(g * eigenvalues / (2 * (1 - g * eigenvalues))).sum() < 1 for g in gammas])
    edge = gammas[bounded.argmin()]
    compressor = compressor_of("none", 5)
    recursions: list[Recursion] = [
        full_recursion(population, compressor, 1),
        recursion_of(RunModel(population, compressor, 1)),
    ]
    for recursion in recursions:
        assert fixed_step(recursion, Steps(edge * 0.998)).stable
        assert fixed_step(recursion, Steps(edge * 1.002)) == FixedStep(stable=False)


def test_tail_averages_start_late() -> None:
    """The expected values are the mean of w_3 .. w_{k-1} of a linear system without noise."""
    population = Gaussian(dimension=3, noise_variance=0.0, batch_size="full").prepare(1)
    recursion = recursion_of(RunModel(population, compressor_of("none", 3), None))
    rounds = np.array([0, 2, 3, 4, 8])
    risks = expected_risks(
        recursion, exact_evolution(recursion, Steps(0.3)), recursion.core_of(-population.optimum, 0.0), 3, rounds
    )
    h, w = population.covariance.dense, [np.zeros(3)]
    for _ in range(8):
        w.append(w[-1] - 0.3 * h @ (w[-1] - population.optimum))
    expected = [w[0], w[2], w[3], w[3], np.mean(w[3:8], axis=0)]
    np.testing.assert_allclose(risks.averaged, population.excess_risk(np.array(expected)), rtol=1e-12)
    np.testing.assert_allclose(risks.last, population.excess_risk(np.array(w)[rounds]), rtol=1e-12)


class Mirrored(Compressor):
    """A plugin that defines only its second moment, a linear map of general form."""

    kind = "mirrored"
    linear = True

    def second_moment(self, moment: Array) -> Array:
        result: Array = moment + 0.5 * np.trace(moment) * np.eye(len(moment)) + 0.25 * moment[::-1, ::-1]
        return result


class Reflected(Compressor):
    """A plugin that defines only its covariance: C(x) = x + s |x| u, s = +-1, u a fixed unit vector."""

    kind = "reflected"

    def covariance(self, x: Array) -> Array:
        result: Array = x @ x * np.outer(direction, direction)
        return result


direction = np.array([0.6, 0.0, 0.8])


def test_plugins_that_define_only_a_second_moment() -> None:
    population = Gaussian(dimension=3, shift="both").prepare(2)
    recursion = recursion_of(RunModel(population, Mirrored(), 2))
    assert isinstance(recursion, FullMomentsRecursion)
    assert isinstance(recursion.compression, LinearCovariance)
    star = recursion.core_of(np.zeros(3), 0.0)
    expected = 0.0
    for client in population.clients:
        assert isinstance(client, GaussianClient)
        h, delta = client.covariance.dense, population.optimum - client.optimum
        m = h @ delta
        gradient = ((1 + delta @ h @ delta) * h + np.outer(m, m)) / 2 + np.outer(m, m)
        noise = Mirrored().second_moment(gradient) - np.outer(m, m)
        expected += np.trace(noise @ np.linalg.inv(population.covariance.dense)) / 4
    assert recursion.noise_trace(star) == pytest.approx(expected, rel=1e-12)


def test_plugins_that_define_only_a_covariance() -> None:
    """The exact covariance is known. The prediction from 8,192 samples is within 5 standard errors of it."""
    population = Gaussian(dimension=3, rotation="haar").prepare(1)
    recursion = recursion_of(RunModel(population, Reflected(), 1))
    assert isinstance(recursion, FullMomentsRecursion)
    assert isinstance(recursion.compression, MatrixCovariance)
    h, core = population.covariance.dense, recursion.core_of(-population.optimum, 0.0)
    b = np.outer(population.optimum, population.optimum)
    square = 2 * np.trace(h @ b @ h) + np.trace(h @ b) * np.trace(h) + np.trace(h)
    gradient = h @ b @ h + (np.trace(h @ b) + 1) * h
    expected = np.trace(gradient @ np.linalg.inv(h)) + square * direction @ np.linalg.solve(h, direction)
    error = recursion.noise_standard_error(core)
    assert 0 < error < 0.05 * expected
    assert recursion.noise_trace(core) == pytest.approx(expected, abs=5 * error)
