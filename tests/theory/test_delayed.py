"""Gradients one round late: the exact recursion against simulation, a known law, and the recursion without delay.

Simulated cells: |z| < 5 for 4 scores each of 18 cells; by the normal law all of them pass but once in 2 10^4 runs with
fresh seeds (the seeds are fixed).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.recursion_cases import DIMENSION, LINEAR, K, homogeneous, ids, rows, shifted, step
from support.theory_simulation import simulate

from mpi_fed.algorithms import Steps
from mpi_fed.compressors import compressors
from mpi_fed.problems.population import Covariance, GaussianClient, Population
from mpi_fed.theory.fixed_step import fixed_step, stationary
from mpi_fed.theory.recursions.choose import exact_recursion, full_recursion
from mpi_fed.theory.recursions.delayed_gradients import DelayedDiagonal, DelayedFull, undelayed
from mpi_fed.theory.run_model import RunModel
from mpi_fed.theory.trajectory import exact_evolution, expected_risks


def predicted(model, steps, start=0, rounds=(K // 2, K)):
    recursion = exact_recursion(model)
    core = recursion.core_of(-model.population.optimum, 1.0)
    return expected_risks(recursion, exact_evolution(recursion, steps), core, start, np.array(rounds))


@pytest.mark.parametrize(("kind", "parameters"), [*LINEAR, ("quantization", {"levels": 1})], **ids)
@pytest.mark.parametrize("clients", [homogeneous, shifted, rows])
def test_simulation(clients, kind, parameters) -> None:
    """The average begins at round 5; w_0 is standard normal; steps at which the delay is seen."""
    population, repetitions = clients(), 4000
    compressor = compressors[kind](**parameters).resolve(DIMENSION)
    steps = step(population, kind, parameters)
    found = predicted(RunModel(population, compressor, 1, delayed=True), steps, 5)
    rng = np.random.default_rng([7, len(population.clients)])
    start = rng.standard_normal((repetitions, DIMENSION))
    w = simulate(population, compressor, 1, np.full(K, steps.scale), start, rng, delayed=True)
    rounds = np.array([K // 2, K])
    averaged = np.array([population.excess_risk(w[5:k].mean(axis=0)) for k in rounds])
    samples = np.concatenate([averaged, population.excess_risk(w[rounds])])
    expected = np.concatenate([found.averaged, found.last])
    z = (samples.mean(axis=1) - expected) / (samples.std(axis=1) / np.sqrt(repetitions))
    assert np.abs(z).max() < 5


def test_true_gradients_without_compression() -> None:
    """eta_{k+1} = eta_k - gamma lambda eta_{k-1}, to the last bits, at a decreasing step."""
    population = Population([GaussianClient(Covariance(np.array([1.0, 0.3])), np.array([2.0, -1.0]), 0.0)] * 2)
    model = RunModel(population, compressors["none"](), None, delayed=True)
    recursion, steps = exact_recursion(model), Steps(0.4, 0.5)
    assert isinstance(recursion, DelayedDiagonal)
    core = recursion.core_of(-population.optimum, 0.0)
    found = expected_risks(recursion, exact_evolution(recursion, steps), core, 0, np.arange(1, 12))
    lam, eta = np.array([1.0, 0.3]), [-population.optimum, -population.optimum]
    for k in range(11):
        eta.append(eta[-1] - 0.4 * (k + 1) ** -0.5 * lam * eta[-2])
    eta = np.array(eta[1:])
    last = 0.5 * (eta[1:] ** 2) @ lam
    averaged = [0.5 * (eta[:k].mean(axis=0) ** 2) @ lam for k in range(1, 12)]
    np.testing.assert_allclose(found.last, last, rtol=1e-10)
    np.testing.assert_allclose(found.averaged, averaged, rtol=1e-10)


def test_the_diagonal_and_the_full_recursion_agree() -> None:
    population = Population([GaussianClient(Covariance(np.array([1.0, 0.5, 0.1])), np.ones(3), 0.5)] * 3)
    model = RunModel(population, compressors["bernoulli"](p=0.4).resolve(3), 2, delayed=True)
    on_diagonal, whole = exact_recursion(model), DelayedFull(full_recursion(replace(model, delayed=False)))
    assert isinstance(on_diagonal, DelayedDiagonal)
    steps, found, plateaus = Steps(0.2), [], []
    for recursion in (on_diagonal, whole):
        core = recursion.core_of(-population.optimum, 1.0)
        found.append(expected_risks(recursion, exact_evolution(recursion, steps), core, 3, np.array([1, 5, 40, 1000])))
        plateaus.append(fixed_step(recursion, steps).plateau_trace)
    np.testing.assert_allclose(found[0].averaged, found[1].averaged, rtol=1e-9)
    np.testing.assert_allclose(found[0].last, found[1].last, rtol=1e-9)
    assert plateaus[0] == pytest.approx(plateaus[1], rel=1e-9)


def test_small_steps_make_the_delay_vanish() -> None:
    """The noise that a fixed step settles at tends to the plain recursion's, and to the limit trace, as gamma does."""
    model = RunModel(shifted(), compressors["rand-h"](h=2), 1)
    gaps = []
    for gamma in (1e-2, 1e-3):
        plain, late = (
            fixed_step(exact_recursion(replace(model, delayed=late)), Steps(gamma)).plateau_trace
            for late in (False, True)
        )
        gaps.append(abs(late / plain - 1))
    assert gaps[0] < 0.05
    assert gaps[1] < gaps[0] / 5


def test_delayed_steps_are_stable_up_to_half_the_plain_step() -> None:
    """Without noise in the gradients the edge is gamma lambda = 1, where that of plain steps is 2."""
    population = Population([GaussianClient(Covariance(np.array([1.0, 0.2])), np.zeros(2), 1.0)])
    model = RunModel(population, compressors["none"](), None, delayed=True)
    recursion = exact_recursion(model)
    assert stationary(recursion, 0.99) is not None
    assert stationary(recursion, 1.01) is None
    assert stationary(undelayed(recursion), 1.01) is not None
