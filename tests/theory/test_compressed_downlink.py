"""Predictions with a compressed downlink against simulation, their methods against each other, and their limits.

Simulation: means over 4000 repetitions at K and halfway, for the averaged and the last iterate, |z| < 5 each. There are
16 cells of 4 scores. By the normal distribution a run with fresh seeds fails by chance once in 2 10^4; the seeds are
fixed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.study_text import Table, loaded_study
from support.theory_cases import compressor_of, recursion_of, stationary_core
from support.theory_simulation import compress, simulate

from mpi_fed.algorithms import Steps
from mpi_fed.compressors import Compressor, compressors
from mpi_fed.problems.gaussian import Gaussian
from mpi_fed.problems.population import EmpiricalClient, Population
from mpi_fed.theory import Prediction
from mpi_fed.theory.limits.control_variates import control_variates_limits
from mpi_fed.theory.limits.limit_trace import limit_trace
from mpi_fed.theory.limits.nonlinear_downlink import added_by_downlink
from mpi_fed.theory.moments.gradient_moments import client_groups
from mpi_fed.theory.moments.symmetric_packing import Array
from mpi_fed.theory.prediction import compute
from mpi_fed.theory.recursions.base import Recursion
from mpi_fed.theory.recursions.choose import full_recursion
from mpi_fed.theory.recursions.contour_integral import FIRST
from mpi_fed.theory.recursions.diagonal_moments import DiagonalMomentsRecursion
from mpi_fed.theory.recursions.propagate import by_powers, by_resolvent, by_steps
from mpi_fed.theory.run_model import RunModel
from mpi_fed.theory.trajectory import exact_evolution, expected_risks

D, K = 4, 16
Choice = tuple[str, dict[str, Any]]
"""A kind of compressor and its parameters."""
DOWN: list[Choice] = [("bernoulli", {"p": 0.5}), ("rand-h", {"h": 2}), ("sketch", {"h": 2}), ("none", {})]


def small(kind: str, **parameters: Any) -> Compressor:
    """Return a compressor of D dimensions."""
    return compressor_of(kind, D, **parameters)


def gaussian(shift: Any = "none", rotation: Any = "dct", clients: int = 2) -> Population:
    return Gaussian(dimension=D, shift=shift, optimum_spread=1.0, rotation=rotation).prepare(clients)


def rows() -> Population:
    """Return two clients whose rows follow no linear model."""
    rng = np.random.default_rng(3)
    features = rng.exponential(size=(2, 11, D)) - 0.3
    targets = np.sin(3 * features[:, :, 0]) + features[:, :, 1] ** 2
    return Population([EmpiricalClient(x, y) for x, y in zip(features, targets, strict=True)])


POPULATIONS = {
    "alike": gaussian(),
    "diagonal": gaussian(rotation="diagonal"),
    "both": gaussian("both"),
    "rows": rows(),
}
SETTINGS: list[tuple[str, dict[str, Any], int | None, float | None, Choice]] = [
    ("rand-h", {"h": 2}, 1, None, DOWN[0]),
    ("quantization", {"levels": 1}, 1, None, DOWN[1]),
    ("none", {}, None, None, DOWN[2]),
    ("bernoulli", {"p": 0.4}, 2, 0.2, DOWN[1]),
]
"""Compressor of the uplink and its parameters, batch size, rate of the memories, compressor of the downlink."""


@pytest.mark.parametrize("name", POPULATIONS)
@pytest.mark.parametrize(("kind", "parameters", "batch", "alpha", "downlink"), SETTINGS, ids=[s[0] for s in SETTINGS])
def test_every_round_agrees_with_a_simulation(
    name: str, kind: str, parameters: dict[str, Any], batch: int | None, alpha: float | None, downlink: Choice
) -> None:
    population, up, down = POPULATIONS[name], small(kind, **parameters), small(downlink[0], **downlink[1])
    recursion, rounds = recursion_of(RunModel(population, up, batch, alpha, down)), np.array([K // 2, K])
    start = recursion.core_of(-population.optimum, 1.0)
    risks = expected_risks(recursion, exact_evolution(recursion, Steps(0.05)), start, 0, rounds)
    rng = np.random.default_rng([len(name), batch or 0])
    w = simulate(population, up, batch, np.full(K, 0.05), rng.standard_normal((4000, D)), rng, down, alpha or 0.0)
    averaged = np.array([population.excess_risk(w[:k].mean(axis=0)) for k in rounds])
    last = np.array([population.excess_risk(w[k]) for k in rounds])
    for values, expected in ((averaged, risks.averaged), (last, risks.last)):
        z = (values.mean(axis=1) - expected) / values.std(axis=1) * np.sqrt(4000)
        assert np.abs(z).max() < 5


@pytest.mark.parametrize("shift", ["none", "optimum"])
@pytest.mark.parametrize(("kind", "parameters"), DOWN[:3], ids=[kind for kind, _ in DOWN[:3]])
@pytest.mark.parametrize(
    ("up", "uplink_parameters", "batch"),
    [("bernoulli", {"p": 0.4}, 1), ("sketch", {"h": 1}, 4), ("quantization", {"levels": 1}, 1)],
    ids=["bernoulli", "sketch", "quantization"],
)
def test_the_resolvent_agrees_with_powers_and_with_the_linear_system(
    up: str, uplink_parameters: dict[str, Any], batch: int, kind: str, parameters: dict[str, Any], shift: str
) -> None:
    population, rounds = gaussian(shift), np.array([0, 3, FIRST, 100, 12_345, 10**6])
    model = RunModel(population, small(up, **uplink_parameters), batch, None, small(kind, **parameters))
    recursion = full_recursion(model)
    assert recursion is not None
    start = recursion.state(recursion.core_of(-population.optimum, 0.5))
    start = by_steps(recursion, start, Steps(0.02), 0, np.array([5]))[0]  # p, q not 0
    powers = by_powers(recursion, start, 0.02, rounds)
    np.testing.assert_allclose(by_resolvent(recursion, start, Steps(0.02), 0, rounds), powers, rtol=1e-9, atol=1e-11)
    end = Recursion.stationary(recursion, 0.02)
    assert end is not None
    np.testing.assert_allclose(stationary_core(recursion, 0.02), end, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("kind", "parameters"), DOWN, ids=[kind for kind, _ in DOWN])
@pytest.mark.parametrize("up", ["bernoulli", "quantization"])
def test_the_recursion_on_the_diagonal_agrees_with_the_full_one(up: str, kind: str, parameters: dict[str, Any]) -> None:
    population, compressor = gaussian(rotation="diagonal"), small(up, **({"p": 0.4} if up == "bernoulli" else {}))
    model = RunModel(population, compressor, 1, None, small(kind, **parameters))
    diagonal, full = recursion_of(model), full_recursion(model)
    assert isinstance(diagonal, DiagonalMomentsRecursion)
    assert full is not None
    results = []
    for recursion in (diagonal, full):
        core, rounds = recursion.core_of(-population.optimum, 0.5), np.array([0, 3, 50, 1000])
        risks = expected_risks(recursion, exact_evolution(recursion, Steps(0.05)), core, 0, rounds)
        star = recursion.core_of(np.zeros(D), 0.0)
        errors = [recursion.noise_trace(star), recursion.noise_standard_error(star)]
        results.append(np.concatenate([risks.averaged, risks.last, np.array(errors)]))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-9)


def test_for_one_client_a_compressor_has_the_same_effect_on_uplink_and_downlink() -> None:
    population = gaussian(clients=1)
    up = recursion_of(RunModel(population, small("rand-h", h=1), 1))
    down = recursion_of(RunModel(population, small("none"), 1, None, small("rand-h", h=1)))
    cores = [recursion.core_of(-population.optimum, 0.5) for recursion in (up, down)]
    np.testing.assert_allclose(down.core_step(cores[1][None], 0.1), up.core_step(cores[0][None], 0.1), rtol=1e-12)


def test_memories_with_a_downlink_tend_to_their_limit() -> None:
    population, up, down = gaussian("optimum"), small("bernoulli", p=0.4), small("rand-h", h=2)
    model = RunModel(population, up, 1, 0.2, down)
    settled, ideal = control_variates_limits(model)
    assert settled is not None
    recursion = recursion_of(model)
    plateaus = [recursion.noise_trace(stationary_core(recursion, gamma)) for gamma in (1e-4, 5e-5)]
    np.testing.assert_allclose(2 * plateaus[1] - plateaus[0], settled.sum(), rtol=1e-5)
    plain_settled, plain_ideal = control_variates_limits(replace(model, downlink=None))
    assert plain_settled is not None
    assert settled.sum() > plain_settled.sum()
    assert ideal.sum() > plain_ideal.sum()


class Skewed(Compressor):
    """C(x) = x + b A x, b = +-1, with a matrix A that is not symmetric, so that c is not its own adjoint."""

    kind = "skewed"
    linear = True

    def second_moment(self, moment: Array) -> Array:
        a = np.arange(16.0).reshape(4, 4) / 10
        result: Array = moment + a @ moment @ a.T
        return result


LINEAR = [small("sketch", h=2), small("rand-h", h=1), Skewed()]


@pytest.mark.parametrize("down", LINEAR, ids=["sketch", "rand-h", "skewed"])
def test_the_limit_without_an_exact_recursion_agrees_with_simulated_messages(down: Compressor) -> None:
    """Quantization of batches, with sampled gradients: c_down of the same S_up, by the adjoint of c_down at H^-1."""
    population = gaussian("optimum")
    rng = np.random.default_rng(0)
    quantization, covariance = small("quantization", levels=1), population.covariance
    limit = limit_trace(client_groups(population), quantization, 2, covariance, down)
    w = np.repeat(population.optimum[None], 200_000, axis=0)
    t = w - simulate(population, quantization, 2, np.ones(1), w, rng)[1]
    inverse = np.asarray(np.linalg.inv(covariance.dense), dtype=np.float64)
    values = np.einsum("rj,jk,rk->r", t, down.adjoint_second_moment(inverse), t)
    assert np.trace(down.second_moment(t.T @ t / len(t)) @ inverse) == pytest.approx(values.mean())
    error = np.hypot(values.std() / np.sqrt(len(values)), limit.standard_error)
    assert abs(values.mean() - limit.value) < 4.5 * error


def predicted(
    tmp_path: Path, downlink: Table, problem: Table = "", compressor: Table = "none", clients: int = 1
) -> Prediction:
    study = loaded_study(tmp_path, compressor, downlinks=[downlink], problem=problem, rounds=100, clients=clients)
    (configuration,) = study.configurations
    return compute(configuration, configuration.problem.prepare(clients))


def test_predictions_include_the_downlink(tmp_path: Path) -> None:
    """On a diagonal H the limit trace has a closed form: d/(p N) for partial participation, times 1/p for Bernoulli."""
    prediction = predicted(
        tmp_path, 'kind = "bernoulli"\np = 0.5', 'rotation = "diagonal"', 'kind = "partial-participation"\np = 0.25', 2
    )
    assert prediction.limit_trace == pytest.approx(4 / (2 * 0.25) / 0.5)
    assert prediction.prediction_kind == "exact"
    assert prediction.downlink is not None
    assert (prediction.downlink["kind"], prediction.downlink["p"]) == ("bernoulli", 0.5)
    assert (prediction.downlink_payload_bits, prediction.downlink_payload_bytes_max) == (64, 16)
    assert prediction.omega == pytest.approx(7)
    assert prediction.plateau_trace is not None
    assert prediction.limit_trace is not None
    assert prediction.plateau_trace > prediction.limit_trace
    rounded = predicted(tmp_path, 'kind = "none"\nvalue_bits = 16')
    assert (rounded.prediction_kind, rounded.downlink_payload_bits) == ("approximate", 64)
    assert rounded.note is not None
    assert "the downlink to float16" in rounded.note


def test_quantization_on_the_downlink_has_only_a_limit(tmp_path: Path) -> None:
    prediction = predicted(tmp_path, 'kind = "quantization"')
    assert (prediction.excess_risk_averaged, prediction.prediction_kind) == (None, None)
    assert prediction.note is not None
    assert "quantization on the downlink" in prediction.note
    trace, error = prediction.limit_trace, prediction.limit_trace_error
    assert trace is not None
    assert error is not None
    assert trace > 4
    assert 0 < error < 0.02 * trace
    crowd = predicted(tmp_path, 'kind = "quantization"', clients=10**6)
    assert (crowd.limit_trace, crowd.limit_weights) == (None, None)


@pytest.mark.parametrize(
    ("name", "batch", "compressor"),
    [
        ("both", 2, ("quantization", {"levels": 2, "bucket": 3})),
        ("both", None, ("sketch", {"h": 2})),
        ("rows", 3, ("partial-participation", {"p": 0.4})),
        ("alike", 1, ("rand-h", {"h": 2})),
        ("alike", 1, ("bernoulli", {"p": 0.4, "mask": "common"})),
        ("rows", 1, ("sketch", {"h": 2, "mask": "common"})),
    ],
    ids=str,
)
def test_the_limit_with_quantization_on_the_downlink_agrees_with_simulated_messages(
    name: str, batch: int | None, compressor: Choice
) -> None:
    """200,000 directions at w* are simulated. 6 scores, |z| < 4.3: the test fails by chance once in 10^4."""
    population, down, rng = POPULATIONS[name], small("quantization", levels=1), np.random.default_rng(2)
    up = small(compressor[0], **compressor[1])
    w = np.repeat(population.optimum[None], 200_000, axis=0)
    if up.common:
        t = compress(up, w - simulate(population, small("none"), batch, np.ones(1), w, rng)[1], rng)
        uplink = limit_trace(client_groups(population), small("none"), batch, population.covariance, up).value
    else:
        t = w - simulate(population, up, batch, np.ones(1), w, rng)[1]
        uplink = limit_trace(client_groups(population), up, batch, population.covariance).value
    added = added_by_downlink(client_groups(population), up, batch, population.covariance, down)
    assert added is not None
    t = compress(down, t, rng)
    values = np.einsum("rj,jk,rk->r", t, np.linalg.inv(population.covariance.dense), t)
    error = np.hypot(values.std() / np.sqrt(len(values)), added.standard_error)
    assert abs(values.mean() - uplink - added.value) < 4.3 * error


@pytest.mark.parametrize("kind", [kind for kind in compressors if not compressors[kind].biased])
def test_draws_have_the_moments_of_the_compressor(kind: str) -> None:
    """E C(x) = x, and Cov C(x), over 40,000 draws (|z| < 5; 14 scores a case, at most 9 cases)."""
    rng, x = np.random.default_rng(4), np.array([1.0, -2.0, 0.0, 3.0])
    for parameters in compressors[kind].examples:
        try:
            compressor = small(kind, **parameters)
        except ValueError:
            continue  # these parameters do not allow four dimensions
        draws = compressor.sampled(np.repeat(x[None], 40_000, axis=0), rng)
        centred = draws - x
        assert (np.abs(centred.mean(axis=0)) <= 5 * draws.std(axis=0) / 200 + 1e-12).all()
        outer = centred[:, :, None] * centred[:, None, :]
        assert (np.abs(outer.mean(axis=0) - compressor.covariance(x)) <= 5 * outer.std(axis=0) / 200 + 1e-12).all()


def test_a_common_mask_and_a_downlink(tmp_path: Path) -> None:
    """For a diagonal H the limit trace is (1/p_up) (1/p_down) sigma^2 d/N."""
    compressor, problem = 'kind = "bernoulli"\np = 0.5\nmask = "common"', 'rotation = "diagonal"'
    prediction = predicted(tmp_path, 'kind = "bernoulli"\np = 0.25', problem, compressor, clients=2)
    assert prediction.limit_trace == pytest.approx(4 / 2 / 0.5 / 0.25)


def test_compression_in_the_simulation_has_the_second_moments_of_the_package() -> None:
    """The compressors in the simulation have the second moments that the package states (|z| < 5, 3 x 10 scores)."""
    rng, x = np.random.default_rng(1), np.array([1.0, -2.0, 0.5, 3.0])
    for kind, parameters in DOWN[:3]:
        draws = compress(small(kind, **parameters), np.repeat(x[None], 40_000, axis=0), rng)
        outer = draws[:, :, None] * draws[:, None, :]
        expected = small(kind, **parameters).second_moment(np.outer(x, x))
        assert (np.abs(outer.mean(axis=0) - expected) <= 5 * outer.std(axis=0) / 200 + 1e-12).all()
