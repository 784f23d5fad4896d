"""The recursion with memories against a recursion on the whole joint moment, and against its own limits."""

from __future__ import annotations

import numpy as np
import pytest

from mpi_fed.algorithms import Steps
from mpi_fed.compressors import compressors
from mpi_fed.problems import problems
from mpi_fed.problems.gaussian import Gaussian
from mpi_fed.theory.fixed_step import fixed_step
from mpi_fed.theory.limits.control_variates import control_variates_limits
from mpi_fed.theory.recursions.base import Recursion
from mpi_fed.theory.recursions.build_control_variates import control_variates_recursion, empty_memories
from mpi_fed.theory.recursions.contour_integral import FIRST
from mpi_fed.theory.recursions.propagate import by_powers, by_resolvent, by_steps
from mpi_fed.theory.run_model import RunModel

N, D = 3, 3
SHIFTS = ["none", "optimum", "covariate", "both"]


def population_of(shift: str):
    table = {"dimension": D, "shift": shift, "decays": (0.5, 1.0), "optimum_spread": 1.0, "noise_variance": 0.5}
    return problems["gaussian"](**table).prepare(N)


def compressor_of(kind: str):
    given = {"rand-h": {"h": 1}, "bernoulli": {"p": 0.4}, "sketch": {"h": 2}, "partial-participation": {"p": 0.4}}
    return compressors[kind](**given[kind]).resolve(D)


def joint_step(population, compressor, batch, alpha, gamma, mean, second):
    """One round of E[z] and E[z z^T], z = (eta, h_1 .. h_N), written out for all clients at once."""
    n, size = len(population.clients), D * (len(population.clients) + 1)
    star, move, shift = population.optimum, np.zeros((size, size)), np.zeros(size)
    h_mean = population.covariance.dense
    move[:D, :D] = np.eye(D) - gamma * h_mean
    noise = np.zeros((size, size))
    for i, client in enumerate(population.clients):
        own, h, delta = slice(D * (i + 1), D * (i + 2)), client.covariance.dense, star - client.optimum
        move[own, :D], move[own, own] = alpha * h, (1 - alpha) * np.eye(D)
        shift[own] = alpha * h @ delta
        b = second[:D, :D] + np.outer(mean[:D], delta) + np.outer(delta, mean[:D]) + np.outer(delta, delta)
        outer = h @ b @ h
        sampling = (outer + (client.noise_variance + np.trace(h @ b)) * h) / batch if batch else 0 * outer
        cross = h @ (second[:D, own] + np.outer(delta, mean[own]))
        sent = outer + sampling - cross - cross.T + second[own, own]
        added = compressor.second_moment(sent) - sent
        spread = np.zeros((size, D))
        spread[:D], spread[own] = -gamma / n * np.eye(D), alpha * np.eye(D)
        noise += spread @ (sampling + added) @ spread.T
    moved = move @ mean
    drift = np.outer(moved, shift) + np.outer(shift, moved) + np.outer(shift, shift)
    return moved + shift, move @ second @ move.T + drift + noise


@pytest.mark.parametrize("kind", ["rand-h", "bernoulli", "sketch", "partial-participation"])
@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("batch", [1, None])
def test_blocks_are_the_joint_moment(kind, shift, batch) -> None:
    population, compressor, alpha, gamma = population_of(shift), compressor_of(kind), 0.2, 0.15
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
def test_the_plateau_tends_to_the_limit(shift, batch) -> None:
    """As the step vanishes; and memories that are still noisy cost, ideal ones do not."""
    model = RunModel(population_of(shift), compressor_of("rand-h"), batch, 0.2)
    settled, ideal = (weights.sum() for weights in control_variates_limits(model))
    plateaus = [fixed_step(control_variates_recursion(model), Steps(gamma)).plateau_trace for gamma in (1e-3, 5e-4)]
    assert settled == pytest.approx(2 * plateaus[1] - plateaus[0], rel=1e-3)
    assert ideal < settled


def test_memories_that_learn_too_fast_have_no_limit() -> None:
    """2 V = alpha c(Theta + V) has a solution as long as alpha (1 + omega) < 2."""
    population, compressor = population_of("both"), compressor_of("rand-h")  # omega = 2
    assert control_variates_limits(RunModel(population, compressor, 1, 0.6))[0] is not None
    assert control_variates_limits(RunModel(population, compressor, 1, 0.7))[0] is None


def test_with_true_gradients_memories_leave_no_noise() -> None:
    settled, ideal = control_variates_limits(RunModel(population_of("both"), compressor_of("bernoulli"), None, 0.2))
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
def test_the_resolvent_gives_the_same_states_and_the_same_end(kind, parameters, clients, shift, batch) -> None:
    population = Gaussian(dimension=4, eigenvalue_decay=2.0, shift=shift, optimum_spread=1.0).prepare(clients)
    compressor = compressors[kind](**parameters).resolve(4)
    model = RunModel(population, compressor, batch, 0.1)
    core = None if compressor.linear else empty_memories(model, -population.optimum, 0.5)
    recursion = control_variates_recursion(model, core)
    start = recursion.state(recursion.core_of(-population.optimum, 0.5))
    start = by_steps(recursion, start, Steps(0.05), 0, np.array([5]))[0]
    rounds = np.array([0, 3, FIRST, 100, 1000, 12_345, 10**6])
    powers = by_powers(recursion, start, 0.05, rounds)
    found = by_resolvent(recursion, start, Steps(0.05), 0, rounds, whole=False)
    np.testing.assert_allclose(found[:, -1], powers[:, -1], rtol=1e-9)
    if batch:  # else all noise fades, and with it what counts single iterates
        np.testing.assert_allclose(found, powers, rtol=1e-9, atol=1e-10)
    ends = recursion.stationary(0.05), Recursion.stationary(recursion, 0.05)
    np.testing.assert_allclose(*ends, rtol=1e-9, atol=1e-12)
