"""The exact recursion against a plain simulation of compressed SGD, for each compressor and each kind of client.

Each test compares means over independent repetitions with the prediction, at K and halfway, for the averaged and the
last iterate: |z| < 5 each. There are 43 cells of 4 scores. By the normal distribution a run of this file with fresh
seeds fails by chance once in 10^4; the seeds are fixed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.recursion_cases import DIMENSION, LINEAR, QUANTIZED, K, homogeneous, ids, rows, shifted, step
from support.theory_cases import compressor_of, recursion_of
from support.theory_simulation import simulate

from mpi_fed.algorithms import Steps
from mpi_fed.problems.population import Population
from mpi_fed.theory.moments.symmetric_packing import Array
from mpi_fed.theory.run_model import RunModel
from mpi_fed.theory.trajectory import exact_evolution, expected_risks

Clients = Callable[[], Population]


def measured_z(
    population: Population,
    kind: str,
    parameters: dict[str, Any],
    batch: int | None,
    steps: Steps,
    seed: int = 0,
    repetitions: int = 4000,
) -> Array:
    """Return z of the averaged and the last risk after K/2 and K rounds; w_0 is standard normal."""
    compressor = compressor_of(kind, DIMENSION, **parameters)
    rounds = np.array([K // 2, K])
    recursion = recursion_of(RunModel(population, compressor, batch))
    core = recursion.core_of(-population.optimum, 1.0)
    risks = expected_risks(recursion, exact_evolution(recursion, steps), core, 0, rounds)
    rng = np.random.default_rng([seed, batch or 0])
    gammas = steps.scale * np.arange(1.0, K + 1) ** -steps.exponent
    w = simulate(population, compressor, batch, gammas, rng.standard_normal((repetitions, DIMENSION)), rng)
    averaged = np.array([population.excess_risk(w[:k].mean(axis=0)) for k in rounds])
    samples = np.concatenate([averaged, population.excess_risk(w[rounds])])
    expected = np.concatenate([risks.averaged, risks.last])
    z: Array = (samples.mean(axis=1) - expected) / (samples.std(axis=1) / np.sqrt(repetitions))
    return z


@pytest.mark.parametrize(("kind", "parameters"), [*LINEAR, *QUANTIZED], ids=ids["ids"])
@pytest.mark.parametrize("clients", [homogeneous, shifted, rows])
def test_single_samples(clients: Clients, kind: str, parameters: dict[str, Any]) -> None:
    population = clients()
    assert np.abs(measured_z(population, kind, parameters, 1, step(population, kind, parameters))).max() < 5


@pytest.mark.parametrize(("kind", "parameters"), LINEAR, ids=ids["ids"])
@pytest.mark.parametrize("batch", [3, None])
@pytest.mark.parametrize("clients", [shifted, rows])
def test_batches_and_true_gradients(clients: Clients, batch: int | None, kind: str, parameters: dict[str, Any]) -> None:
    population = clients()
    assert np.abs(measured_z(population, kind, parameters, batch, step(population, kind, parameters))).max() < 5


def test_decreasing_steps() -> None:
    population = shifted()
    steps = Steps(2 * step(population, "rand-h", {"h": 2}).scale, 0.6)
    assert np.abs(measured_z(population, "rand-h", {"h": 2}, 1, steps)).max() < 5
