"""The exact recursion for gradients one round late, against simulation, known values and the recursion without delay.

The simulated cells have |z| < 5 for 4 scores in each of 18 cells. By the normal distribution a run with fresh seeds
fails by chance once in 2 10^4; the seeds are fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.recursion_cases import DIMENSION, LINEAR, K, homogeneous, ids, rows, shifted, step
from support.theory_cases import compressor_of, plateau_trace, recursion_of
from support.theory_simulation import simulate

from mpi_fed.algorithms import Steps
from mpi_fed.problems.population import Covariance, GaussianClient, Population
from mpi_fed.theory.fixed_step import stationary
from mpi_fed.theory.recursions.choose import full_recursion
from mpi_fed.theory.recursions.delayed_gradients import DelayedDiagonal, DelayedFull, undelayed
from mpi_fed.theory.run_model import RunModel
from mpi_fed.theory.trajectory import Risks, exact_evolution, expected_risks


def predicted(model: RunModel, steps: Steps, start: int = 0, rounds: Sequence[int] = (K // 2, K)) -> Risks:
    recursion = recursion_of(model)
    core = recursion.core_of(-model.population.optimum, 1.0)
    return expected_risks(recursion, exact_evolution(recursion, steps), core, start, np.array(rounds))


@pytest.mark.parametrize(("kind", "parameters"), [*LINEAR, ("quantization", {"levels": 1})], ids=ids["ids"])
@pytest.mark.parametrize("clients", [homogeneous, shifted, rows])
def test_simulation(clients: Callable[[], Population], kind: str, parameters: dict[str, Any]) -> None:
    """The average begins at round 5; w_0 is standard normal; at this step size the delay has a visible effect."""
    population, repetitions = clients(), 4000
    compressor = compressor_of(kind, DIMENSION, **parameters)
    steps = step(population, kind, parameters)
    risks = predicted(RunModel(population, compressor, 1, delayed=True), steps, 5)
    rng = np.random.default_rng([7, len(population.clients)])
    start = rng.standard_normal((repetitions, DIMENSION))
    w = simulate(population, compressor, 1, np.full(K, steps.scale), start, rng, delayed=True)
    rounds = np.array([K // 2, K])
    averaged = np.array([population.excess_risk(w[5:k].mean(axis=0)) for k in rounds])
    samples = np.concatenate([averaged, population.excess_risk(w[rounds])])
    expected = np.concatenate([risks.averaged, risks.last])
    z = (samples.mean(axis=1) - expected) / (samples.std(axis=1) / np.sqrt(repetitions))
    assert np.abs(z).max() < 5


def test_true_gradients_without_compression() -> None:
    """eta_{k+1} = eta_k - gamma_k lambda eta_{k-1} up to rounding, at a decreasing step size."""
    population = Population([GaussianClient(Covariance(np.array([1.0, 0.3])), np.array([2.0, -1.0]), 0.0)] * 2)
    model = RunModel(population, compressor_of("none", 2), None, delayed=True)
    recursion, steps = recursion_of(model), Steps(0.4, 0.5)
    assert isinstance(recursion, DelayedDiagonal)
    core = recursion.core_of(-population.optimum, 0.0)
    risks = expected_risks(recursion, exact_evolution(recursion, steps), core, 0, np.arange(1, 12))
    lam, errors = np.array([1.0, 0.3]), [-population.optimum, -population.optimum]
    for k in range(11):
        errors.append(errors[-1] - 0.4 * (k + 1) ** -0.5 * lam * errors[-2])
    eta = np.array(errors[1:])
    last = 0.5 * (eta[1:] ** 2) @ lam
    averaged = [0.5 * (eta[:k].mean(axis=0) ** 2) @ lam for k in range(1, 12)]
    np.testing.assert_allclose(risks.last, last, rtol=1e-10)
    np.testing.assert_allclose(risks.averaged, averaged, rtol=1e-10)


def test_the_diagonal_and_the_full_recursion_agree() -> None:
    population = Population([GaussianClient(Covariance(np.array([1.0, 0.5, 0.1])), np.ones(3), 0.5)] * 3)
    model = RunModel(population, compressor_of("bernoulli", 3, p=0.4), 2, delayed=True)
    plain = full_recursion(replace(model, delayed=False))
    assert plain is not None
    on_diagonal, full = recursion_of(model), DelayedFull(plain)
    assert isinstance(on_diagonal, DelayedDiagonal)
    steps, risks, plateaus = Steps(0.2), [], []
    for recursion in (on_diagonal, full):
        core = recursion.core_of(-population.optimum, 1.0)
        risks.append(expected_risks(recursion, exact_evolution(recursion, steps), core, 3, np.array([1, 5, 40, 1000])))
        plateaus.append(plateau_trace(recursion, 0.2))
    np.testing.assert_allclose(risks[0].averaged, risks[1].averaged, rtol=1e-9)
    np.testing.assert_allclose(risks[0].last, risks[1].last, rtol=1e-9)
    assert plateaus[0] == pytest.approx(plateaus[1], rel=1e-9)


def test_the_effect_of_the_delay_vanishes_with_the_step_size() -> None:
    """As gamma tends to 0, the plateau trace tends to that of the recursion without delay, and to the limit trace."""
    model = RunModel(shifted(), compressor_of("rand-h", DIMENSION, h=2), 1)
    gaps = []
    for gamma in (1e-2, 1e-3):
        plain, late = (plateau_trace(recursion_of(replace(model, delayed=late)), gamma) for late in (False, True))
        gaps.append(abs(late / plain - 1))
    assert gaps[0] < 0.05
    assert gaps[1] < gaps[0] / 5


def test_delayed_steps_are_stable_up_to_half_the_plain_step() -> None:
    """Without noise in the gradients the edge of stability is gamma lambda = 1; without delay it is 2."""
    population = Population([GaussianClient(Covariance(np.array([1.0, 0.2])), np.zeros(2), 1.0)])
    model = RunModel(population, compressor_of("none", 2), None, delayed=True)
    recursion = recursion_of(model)
    assert stationary(recursion, 0.99) is not None
    assert stationary(recursion, 1.01) is None
    plain = undelayed(recursion)
    assert plain is not None
    assert stationary(plain, 1.01) is not None
