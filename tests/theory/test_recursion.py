"""The exact recursion against a plain simulation of compressed SGD, for each compressor and each kind of client.

Each test compares means over independent repetitions with the prediction, at K and halfway, for the averaged and the
last iterate: |z| < 5 each. There are 43 cells of 4 scores: by the normal law all of them pass but once in 10^4 runs of
this file with fresh seeds (the seeds are fixed).
"""

from __future__ import annotations

import numpy as np
import pytest
from support.recursion_cases import DIMENSION, LINEAR, QUANTIZED, K, homogeneous, ids, rows, shifted, step
from support.theory_simulation import simulate

from mpi_fed.algorithms import Steps
from mpi_fed.compressors import compressors
from mpi_fed.theory.recursions.choose import exact_recursion
from mpi_fed.theory.run_model import RunModel
from mpi_fed.theory.trajectory import exact_evolution, expected_risks


def measured_z(population, kind, parameters, batch, steps, predict=None, seed=0, repetitions=4000):
    """z of the averaged and the last risk after K/2 and K rounds; w_0 standard normal."""
    compressor = compressors[kind](**parameters).resolve(DIMENSION)
    model = RunModel(population, compressor, batch)
    rounds = np.array([K // 2, K])
    recursion = exact_recursion(model)
    core = recursion.core_of(-population.optimum, 1.0)
    found = expected_risks(recursion, exact_evolution(recursion, steps), core, 0, rounds)
    rng = np.random.default_rng([seed, batch or 0])
    gammas = steps.scale * np.arange(1.0, K + 1) ** -steps.exponent
    w = simulate(population, compressor, batch, gammas, rng.standard_normal((repetitions, DIMENSION)), rng)
    averaged = np.array([population.excess_risk(w[:k].mean(axis=0)) for k in rounds])
    samples = np.concatenate([averaged, population.excess_risk(w[rounds])])
    expected = np.concatenate([found.averaged, found.last])
    return (samples.mean(axis=1) - expected) / (samples.std(axis=1) / np.sqrt(repetitions))


@pytest.mark.parametrize(("kind", "parameters"), LINEAR + QUANTIZED, **ids)
@pytest.mark.parametrize("clients", [homogeneous, shifted, rows])
def test_single_samples(clients, kind, parameters) -> None:
    population = clients()
    assert np.abs(measured_z(population, kind, parameters, 1, step(population, kind, parameters))).max() < 5


@pytest.mark.parametrize(("kind", "parameters"), LINEAR, **ids)
@pytest.mark.parametrize("batch", [3, None])
@pytest.mark.parametrize("clients", [shifted, rows])
def test_batches_and_true_gradients(clients, batch, kind, parameters) -> None:
    population = clients()
    assert np.abs(measured_z(population, kind, parameters, batch, step(population, kind, parameters))).max() < 5


def test_decreasing_steps() -> None:
    population = shifted()
    steps = Steps(2 * step(population, "rand-h", {"h": 2}).scale, 0.6)
    assert np.abs(measured_z(population, "rand-h", {"h": 2}, 1, steps)).max() < 5
