"""The recursion with memories against a recursion on the whole joint moment, and against its limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.theory_cases import compressor_of, plateau_trace, stationary_core

from mpi_fed.algorithms import Steps
from mpi_fed.compressors import Compressor
from mpi_fed.problems.gaussian import Gaussian
from mpi_fed.problems.population import GaussianClient, Population
from mpi_fed.theory.limits.control_variates import control_variates_limits
from mpi_fed.theory.moments.symmetric_packing import Array
from mpi_fed.theory.recursions.base import Recursion
from mpi_fed.theory.recursions.build_control_variates import control_variates_recursion, empty_memories
from mpi_fed.theory.recursions.contour_integral import FIRST
from mpi_fed.theory.recursions.propagate import by_powers, by_resolvent, by_steps
from mpi_fed.theory.run_model import RunModel

N, D = 3, 3
SHIFTS = ["none", "optimum", "covariate", "both"]
PARAMETERS: dict[str, dict[str, Any]] = {
    "rand-h": {"h": 1},
    "bernoulli": {"p": 0.4},
    "sketch": {"h": 2},
    "partial-participation": {"p": 0.4},
}


def population_of(shift: Any) -> Population:
    problem = Gaussian(dimension=D, shift=shift, decays=(0.5, 1.0), optimum_spread=1.0, noise_variance=0.5)
    return problem.prepare(N)


def small_compressor(kind: str) -> Compressor:
    return compressor_of(kind, D, **PARAMETERS[kind])


def joint_step(
    population: Population,
    compressor: Compressor,
    batch: int | None,
    alpha: float,
    gamma: float,
    mean: Array,
    second: Array,
) -> tuple[Array, Array]:
    """Return E[z] and E[z z^T] one round later, where z = (eta, h_1 .. h_N) holds the memories of all clients."""
    n, size = len(population.clients), D * (len(population.clients) + 1)
    star, move, shift = population.optimum, np.zeros((size, size)), np.zeros(size)
    h_mean = population.covariance.dense
    move[:D, :D] = np.eye(D) - gamma * h_mean
    noise = np.zeros((size, size))
    for i, client in enumerate(population.clients):
        assert isinstance(client, GaussianClient)
        place, h, delta = slice(D * (i + 1), D * (i + 2)), client.covariance.dense, star - client.optimum
        move[place, :D], move[place, place] = alpha * h, (1 - alpha) * np.eye(D)
        shift[place] = alpha * h @ delta
        b = second[:D, :D] + np.outer(mean[:D], delta) + np.outer(delta, mean[:D]) + np.outer(delta, delta)
        outer = h @ b @ h
        sampling = (outer + (client.noise_variance + np.trace(h @ b)) * h) / batch if batch else 0 * outer
        cross = h @ (second[:D, place] + np.outer(delta, mean[place]))
        sent = outer + sampling - cross - cross.T + second[place, place]
        added = compressor.second_moment(sent) - sent
        spread = np.zeros((size, D))
        spread[:D], spread[place] = -gamma / n * np.eye(D), alpha * np.eye(D)
        noise += spread @ (sampling + added) @ spread.T
    moved = move @ mean
    drift = np.outer(moved, shift) + np.outer(shift, moved) + np.outer(shift, shift)
    return moved + shift, move @ second @ move.T + drift + noise


@pytest.mark.parametrize("kind", ["rand-h", "bernoulli", "sketch", "partial-participation"])
@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("batch", [1, None])
def test_the_recursion_on_blocks_agrees_with_the_joint_moment(kind: str, shift: str, batch: int | None) -> None:
    population, compressor, alpha, gamma = population_of(shift), small_compressor(kind), 0.2, 0.15
    recursion: Recursion = control_variates_recursion(RunModel(population, compressor, batch, alpha))
    start = -population.optimum
    core = recursion.core_of(start, 0.3)[None]
    mean = np.concatenate([start, np.zeros(D * N)])
    second = np.outer(mean, mean)
    second[:D, :D] += 0.3 * np.eye(D)
    for _ in range(40):
        core = recursion.core_step(core, gamma)
        mean, second = joint_step(population, compressor, batch, alpha, gamma, mean, second)
    expected = 0.5 * np.trace(population.covariance.dense @ second[:D, :D])
    risk = 0.5 * float(recursion.squared_errors(core)[0] @ recursion.eigenvalues)
    assert risk == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("batch", [1, 8])
def test_the_plateau_tends_to_the_limit_as_the_step_size_vanishes(shift: str, batch: int) -> None:
    """The noise of the memories increases the limit trace; ideal memories have no noise."""
    model = RunModel(population_of(shift), small_compressor("rand-h"), batch, 0.2)
    settled_weights, ideal_weights = control_variates_limits(model)
    assert settled_weights is not None
    settled, ideal = settled_weights.sum(), ideal_weights.sum()
    plateaus = [plateau_trace(control_variates_recursion(model), gamma) for gamma in (1e-3, 5e-4)]
    assert settled == pytest.approx(2 * plateaus[1] - plateaus[0], rel=1e-3)
    assert ideal < settled


def test_memories_with_too_large_a_rate_have_no_limit() -> None:
    """2 V = alpha c(Theta + V) has a solution if alpha (1 + omega) < 2."""
    population, compressor = population_of("both"), small_compressor("rand-h")  # omega = 2
    assert control_variates_limits(RunModel(population, compressor, 1, 0.6))[0] is not None
    assert control_variates_limits(RunModel(population, compressor, 1, 0.7))[0] is None


def test_with_true_gradients_memories_leave_no_noise() -> None:
    settled, ideal = control_variates_limits(RunModel(population_of("both"), small_compressor("bernoulli"), None, 0.2))
    assert settled is not None
    assert not settled.any()
    assert not ideal.any()


@pytest.mark.parametrize("batch", [1, 4, None])
@pytest.mark.parametrize("shift", ["none", "optimum"])
@pytest.mark.parametrize("clients", [1, 3])
@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("none", {}),
        ("bernoulli", {"p": 0.3}),
        ("rand-h", {"h": 2}),
        ("sketch", {"h": 2}),
        ("partial-participation", {"p": 0.4}),
        ("quantization", {"levels": 1}),
    ],
)
def test_the_resolvent_agrees_with_powers_and_with_the_linear_system(
    kind: str, parameters: dict[str, Any], clients: int, shift: Any, batch: int | None
) -> None:
    population = Gaussian(dimension=4, eigenvalue_decay=2.0, shift=shift, optimum_spread=1.0).prepare(clients)
    compressor = compressor_of(kind, 4, **parameters)
    model = RunModel(population, compressor, batch, 0.1)
    core = None if compressor.linear else empty_memories(model, -population.optimum, 0.5)
    recursion = control_variates_recursion(model, core)
    start = recursion.state(recursion.core_of(-population.optimum, 0.5))
    start = by_steps(recursion, start, Steps(0.05), 0, np.array([5]))[0]
    rounds = np.array([0, 3, FIRST, 100, 1000, 12_345, 10**6])
    powers = by_powers(recursion, start, 0.05, rounds)
    states = by_resolvent(recursion, start, Steps(0.05), 0, rounds, whole=False)
    np.testing.assert_allclose(states[:, -1], powers[:, -1], rtol=1e-9)
    if batch:  # with true gradients all noise vanishes, and the cores are NaN
        np.testing.assert_allclose(states, powers, rtol=1e-9, atol=1e-10)
    end = Recursion.stationary(recursion, 0.05)
    assert end is not None
    np.testing.assert_allclose(stationary_core(recursion, 0.05), end, rtol=1e-9, atol=1e-12)
