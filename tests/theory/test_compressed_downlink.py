"""The theory of a compressed downlink: every round against plain simulation, its ways against each other, its limits.

Simulation: means over 4000 repetitions at K and halfway, of the averaged and the last iterate, |z| < 5 each. There are
16 cells of 4 scores: by the normal law all of them pass but once in 2 10^4 runs with fresh seeds (the seeds are fixed).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.study_text import loaded_study
from support.theory_simulation import compress, simulate

from mpi_fed.algorithms import Steps
from mpi_fed.compressors import compressors
from mpi_fed.problems.gaussian import Gaussian
from mpi_fed.problems.population import EmpiricalClient, Population
from mpi_fed.theory.limits.control_variates import control_variates_limits
from mpi_fed.theory.limits.limit_trace import limit_trace
from mpi_fed.theory.limits.nonlinear_downlink import added_by_downlink
from mpi_fed.theory.moments.gradient_moments import client_groups
from mpi_fed.theory.prediction import compute
from mpi_fed.theory.recursions.base import Recursion
from mpi_fed.theory.recursions.choose import exact_recursion, full_recursion
from mpi_fed.theory.recursions.contour_integral import FIRST
from mpi_fed.theory.recursions.diagonal_moments import DiagonalMomentsRecursion
from mpi_fed.theory.recursions.propagate import by_powers, by_resolvent, by_steps
from mpi_fed.theory.run_model import RunModel
from mpi_fed.theory.trajectory import exact_evolution, expected_risks

D, K = 4, 16
DOWN = [("bernoulli", {"p": 0.5}), ("rand-h", {"h": 2}), ("sketch", {"h": 2}), ("none", {})]


def made(kind, **parameters):
    return compressors[kind](**parameters).resolve(D)


def gaussian(shift="none", rotation="dct", clients=2):
    return Gaussian(dimension=D, shift=shift, optimum_spread=1.0, rotation=rotation).prepare(clients)


def rows():
    """Two clients with rows of no model."""
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
WAYS = [
    ("rand-h", {"h": 2}, 1, None, DOWN[0]),
    ("quantization", {"levels": 1}, 1, None, DOWN[1]),
    ("none", {}, None, None, DOWN[2]),
    ("bernoulli", {"p": 0.4}, 2, 0.2, DOWN[1]),
]
"""A compressor up, the batch size, the rate of the memories, a compressor down."""


@pytest.mark.parametrize("name", POPULATIONS)
@pytest.mark.parametrize(("kind", "parameters", "batch", "alpha", "back"), WAYS, ids=[way[0] for way in WAYS])
def test_every_round_is_that_of_a_simulation(name, kind, parameters, batch, alpha, back) -> None:
    population, up, down = POPULATIONS[name], made(kind, **parameters), made(back[0], **back[1])
    recursion, rounds = exact_recursion(RunModel(population, up, batch, alpha, down)), np.array([K // 2, K])
    start = recursion.core_of(-population.optimum, 1.0)
    found = expected_risks(recursion, exact_evolution(recursion, Steps(0.05)), start, 0, rounds)
    rng = np.random.default_rng([len(name), batch or 0])
    w = simulate(population, up, batch, np.full(K, 0.05), rng.standard_normal((4000, D)), rng, down, alpha or 0.0)
    averaged = np.array([population.excess_risk(w[:k].mean(axis=0)) for k in rounds])
    last = np.array([population.excess_risk(w[k]) for k in rounds])
    for values, expected in ((averaged, found.averaged), (last, found.last)):
        z = (values.mean(axis=1) - expected) / values.std(axis=1) * np.sqrt(4000)
        assert np.abs(z).max() < 5


@pytest.mark.parametrize("shift", ["none", "optimum"])
@pytest.mark.parametrize(("kind", "parameters"), DOWN[:3], ids=[kind for kind, _ in DOWN[:3]])
@pytest.mark.parametrize(
    ("up", "given", "batch"),
    [("bernoulli", {"p": 0.4}, 1), ("sketch", {"h": 1}, 4), ("quantization", {"levels": 1}, 1)],
    ids=["bernoulli", "sketch", "quantization"],
)
def test_the_resolvent_gives_the_same_states_and_the_same_end(up, given, batch, kind, parameters, shift) -> None:
    population, rounds = gaussian(shift), np.array([0, 3, FIRST, 100, 12_345, 10**6])
    model = RunModel(population, made(up, **given), batch, None, made(kind, **parameters))
    recursion = full_recursion(model)
    start = recursion.state(recursion.core_of(-population.optimum, 0.5))
    start = by_steps(recursion, start, Steps(0.02), 0, np.array([5]))[0]  # p, q not 0
    powers = by_powers(recursion, start, 0.02, rounds)
    np.testing.assert_allclose(by_resolvent(recursion, start, Steps(0.02), 0, rounds), powers, rtol=1e-9, atol=1e-11)
    ends = recursion.stationary(0.02), Recursion.stationary(recursion, 0.02)
    np.testing.assert_allclose(*ends, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("kind", "parameters"), DOWN, ids=[kind for kind, _ in DOWN])
@pytest.mark.parametrize("up", ["bernoulli", "quantization"])
def test_the_diagonal_alone_is_the_full_recursion(up, kind, parameters) -> None:
    population, compressor = gaussian(rotation="diagonal"), made(up, **({"p": 0.4} if up == "bernoulli" else {}))
    model = RunModel(population, compressor, 1, None, made(kind, **parameters))
    recursions = exact_recursion(model), full_recursion(model)
    assert isinstance(recursions[0], DiagonalMomentsRecursion)
    found = []
    for recursion in recursions:
        core, rounds = recursion.core_of(-population.optimum, 0.5), np.array([0, 3, 50, 1000])
        got = expected_risks(recursion, exact_evolution(recursion, Steps(0.05)), core, 0, rounds)
        star = recursion.core_of(np.zeros(D), 0.0)
        errors = [recursion.noise_trace(star), recursion.noise_standard_error(star)]
        found.append(np.concatenate([got.averaged, got.last, errors]))
    np.testing.assert_allclose(*found, rtol=1e-9)


def test_compressing_on_one_way_or_the_other_is_the_same_for_one_client() -> None:
    population = gaussian(clients=1)
    there = exact_recursion(RunModel(population, made("rand-h", h=1), 1))
    back = exact_recursion(RunModel(population, made("none"), 1, None, made("rand-h", h=1)))
    cores = [recursion.core_of(-population.optimum, 0.5) for recursion in (there, back)]
    np.testing.assert_allclose(back.core_step(cores[1][None], 0.1), there.core_step(cores[0][None], 0.1), rtol=1e-12)


def test_memories_with_a_downlink_tend_to_their_limit() -> None:
    population, up, down = gaussian("optimum"), made("bernoulli", p=0.4), made("rand-h", h=2)
    model = RunModel(population, up, 1, 0.2, down)
    settled, ideal = control_variates_limits(model)
    recursion = exact_recursion(model)
    plateaus = [recursion.noise_trace(recursion.stationary(gamma)) for gamma in (1e-4, 5e-5)]
    np.testing.assert_allclose(2 * plateaus[1] - plateaus[0], settled.sum(), rtol=1e-5)
    plain = control_variates_limits(replace(model, downlink=None))
    assert settled.sum() > plain[0].sum()
    assert ideal.sum() > plain[1].sum()


class Skewed(compressors["none"]):
    """C(x) = x + b A x, b = +-1: no map of projections, so that its second moment is not its own adjoint."""

    def moment_coefficients(self, dimension) -> None:
        return None

    def second_moment(self, moment):
        a = np.arange(16.0).reshape(4, 4) / 10
        return moment + a @ moment @ a.T


LINEAR = [made("sketch", h=2), made("rand-h", h=1), Skewed()]


@pytest.mark.parametrize("down", LINEAR, ids=["sketch", "rand-h", "skewed"])
def test_the_limit_without_an_exact_recursion_is_that_of_the_messages(down) -> None:
    """Quantization of batches, whose gradients are sampled: c_down of the same C, from its adjoint at H^-1."""
    population = gaussian("optimum")
    rng = np.random.default_rng(0)
    quantization, covariance = made("quantization", levels=1), population.covariance
    found = limit_trace(client_groups(population), quantization, 2, covariance, down)
    w = np.repeat(population.optimum[None], 200_000, axis=0)
    t = w - simulate(population, quantization, 2, np.ones(1), w, rng)[1]
    inverse = np.linalg.inv(covariance.dense)
    values = np.einsum("rj,jk,rk->r", t, down.adjoint_second_moment(inverse), t)
    assert np.trace(down.second_moment(t.T @ t / len(t)) @ inverse) == pytest.approx(values.mean())
    error = np.hypot(values.std() / np.sqrt(len(values)), found.standard_error)
    assert abs(values.mean() - found.value) < 4.5 * error


def predicted(tmp_path: Path, downlink, problem="", compressor="none", clients=1):
    study = loaded_study(tmp_path, compressor, downlinks=[downlink], problem=problem, rounds=100, clients=clients)
    (configuration,) = study.configurations
    return compute(configuration, configuration.problem.prepare(clients))


def test_predictions_tell_of_the_downlink(tmp_path: Path) -> None:
    """The limit of partial participation and Bernoulli on the diagonal in closed form: d/(p N) and again 1/p."""
    found = predicted(
        tmp_path, 'kind = "bernoulli"\np = 0.5', 'rotation = "diagonal"', 'kind = "partial-participation"\np = 0.25', 2
    )
    assert found.limit_trace == pytest.approx(4 / (2 * 0.25) / 0.5)
    assert (found.prediction_kind, found.downlink["kind"], found.downlink["p"]) == ("exact", "bernoulli", 0.5)
    assert (found.downlink_payload_bits, found.downlink_payload_bytes_max) == (64, 16)
    assert found.omega == pytest.approx(7)
    assert found.plateau_trace > found.limit_trace
    rounded = predicted(tmp_path, 'kind = "none"\nvalue_bits = 16')
    assert (rounded.prediction_kind, rounded.downlink_payload_bits) == ("approximate", 64)
    assert "the downlink to float16" in rounded.note


def test_quantization_on_the_downlink_has_a_limit_alone(tmp_path: Path) -> None:
    found = predicted(tmp_path, 'kind = "quantization"')
    assert (found.excess_risk_averaged, found.prediction_kind) == (None, None)
    assert "quantization on the downlink" in found.note
    assert found.limit_trace > 4
    assert 0 < found.limit_trace_error < 0.02 * found.limit_trace
    crowd = predicted(tmp_path, 'kind = "quantization"', clients=10**6)
    assert (crowd.limit_trace, crowd.limit_weights) == (None, None)


@pytest.mark.parametrize(
    ("population", "batch", "compressor"),
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
def test_the_limit_with_quantization_on_the_downlink_is_that_of_the_messages(population, batch, compressor) -> None:
    """Directions at w* by the plain simulation, 200,000 of them. A false alarm in 1 of 10^4 (6 scores, |z| < 4.3)."""
    chosen, down, rng = POPULATIONS[population], made("quantization", levels=1), np.random.default_rng(2)
    up = made(compressor[0], **compressor[1])
    w = np.repeat(chosen.optimum[None], 200_000, axis=0)
    if up.common:
        t = compress(up, w - simulate(chosen, made("none"), batch, np.ones(1), w, rng)[1], rng)
        own = limit_trace(client_groups(chosen), made("none"), batch, chosen.covariance, up).value
    else:
        t = w - simulate(chosen, up, batch, np.ones(1), w, rng)[1]
        own = limit_trace(client_groups(chosen), up, batch, chosen.covariance).value
    more = added_by_downlink(client_groups(chosen), up, batch, chosen.covariance, down)
    t = compress(down, t, rng)
    values = np.einsum("rj,jk,rk->r", t, np.linalg.inv(chosen.covariance.dense), t)
    error = np.hypot(values.std() / np.sqrt(len(values)), more.standard_error)
    assert abs(values.mean() - own - more.value) < 4.3 * error


@pytest.mark.parametrize("kind", [kind for kind in compressors if not compressors[kind].biased])
def test_draws_have_the_moments_of_the_compressor(kind) -> None:
    """E C(x) = x, and Cov C(x), over 40,000 draws (|z| < 5; 14 scores a case, at most 9 cases)."""
    rng, x = np.random.default_rng(4), np.array([1.0, -2.0, 0.0, 3.0])
    for parameters in compressors[kind].examples:
        try:
            one = made(kind, **parameters)
        except ValueError:
            continue  # not for four dimensions
        draws = one.sampled(np.repeat(x[None], 40_000, axis=0), rng)
        centred = draws - x
        assert (np.abs(centred.mean(axis=0)) <= 5 * draws.std(axis=0) / 200 + 1e-12).all()
        outer = centred[:, :, None] * centred[:, None, :]
        assert (np.abs(outer.mean(axis=0) - one.covariance(x)) <= 5 * outer.std(axis=0) / 200 + 1e-12).all()


def test_a_common_mask_and_a_downlink(tmp_path: Path) -> None:
    """c_down(c_up(v)) for the mean gradient v: here (1/p_up)(1/p_down) sigma^2 d/N on the diagonal of H."""
    compressor, problem = 'kind = "bernoulli"\np = 0.5\nmask = "common"', 'rotation = "diagonal"'
    found = predicted(tmp_path, 'kind = "bernoulli"\np = 0.25', problem, compressor, clients=2)
    assert found.limit_trace == pytest.approx(4 / 2 / 0.5 / 0.25)


def test_what_is_compressed_in_the_simulation_is_what_the_package_compresses() -> None:
    """The simulation's downlink has E C(x) = x, and the second moment that theory takes (|z| < 5 over 3 x 10)."""
    rng, x = np.random.default_rng(1), np.array([1.0, -2.0, 0.5, 3.0])
    for kind, parameters in DOWN[:3]:
        draws = compress(made(kind, **parameters), np.repeat(x[None], 40_000, axis=0), rng)
        outer = draws[:, :, None] * draws[:, None, :]
        expected = made(kind, **parameters).second_moment(np.outer(x, x))
        assert (np.abs(outer.mean(axis=0) - expected) <= 5 * outer.std(axis=0) / 200 + 1e-12).all()
