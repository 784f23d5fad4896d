"""Test the paper's conclusions on compressors, as inequalities between limit traces Tr(C_ania H^-1)."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.study_text import configuration

from mpi_fed.theory.prediction import compute

D = 8
ROTATIONS = ["householder", "dct", "haar"]


Table = dict[str, Any]
"""A table of a study file."""


def trace(
    compressor: Table,
    problem: Table | None = None,
    algorithm: Table | str = "",
    clients: int = 1,
    field: str = "limit_trace",
) -> float:
    problem = problem or {}
    dimension = {} if "kind" in problem else {"dimension": D}
    resolved = configuration(compressor, clients=clients, problem=dimension | problem, algorithm=algorithm)
    return float(getattr(compute(resolved, resolved.problem.prepare(clients), [1]), field))


def trace_of_rows(file: Path, features: NDArray[np.float64], noise: list[float], compressor: Table) -> float:
    """Return the limit trace on rows x, (n, d), each with the targets <x, 1> + e for every e in `noise`."""
    every = np.repeat(features, len(noise), axis=0)
    targets = every.sum(axis=1) + np.tile(noise, len(features))
    np.savez(file, features=every, targets=targets)
    return trace(compressor, {"kind": "file", "path": str(file)})


def kind(name: str, **parameters: Any) -> Table:
    return {"kind": name, **parameters}


MASKS = [kind("partial-participation", p=0.25), kind("bernoulli", p=0.25), kind("rand-h", h=2)]


@pytest.mark.parametrize("decay", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("rotation", ["diagonal", *ROTATIONS])
def test_participation_costs_1_over_p_for_every_covariance(decay: float, rotation: str) -> None:
    problem: Table = {"eigenvalue_decay": decay, "rotation": rotation}
    assert trace(MASKS[0], problem) == pytest.approx(D / 0.25, rel=1e-9)
    shifted = {"shift": "covariate", "decays": [0.0, decay]}
    assert trace(MASKS[0], shifted, clients=2) == pytest.approx(D / 0.25 / 2, rel=1e-9)


@pytest.mark.parametrize("decay", [1.0, 4.0])
@pytest.mark.parametrize("rotation", ROTATIONS)
def test_masks_are_ordered_and_equal_on_the_diagonal(decay: float, rotation: str) -> None:
    rotated = [trace(mask, {"eigenvalue_decay": decay, "rotation": rotation}) for mask in MASKS]
    assert rotated[0] < 0.99 * rotated[1]
    assert rotated[1] < 0.99 * rotated[2]
    diagonal = [trace(mask, {"eigenvalue_decay": decay, "rotation": "diagonal"}) for mask in MASKS]
    assert diagonal == pytest.approx([D / 0.25] * 3, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_on_standardized_features_quantization_beats_bernoulli(tmp_path: Path, seed: int) -> None:
    """T_quantization <= d + (sqrt d - 1) Tr M^-1 = T of Bernoulli at p = 1/sqrt(d), for any M with unit diagonal."""
    rows = np.random.default_rng(seed).standard_normal((2 * D, D))
    moment = rows.T @ rows
    scale = np.sqrt(np.diag(moment))
    moment /= np.outer(scale, scale)
    np.savez(tmp_path / "a.npz", covariances=moment[None], optima=np.ones((1, D)), noise_variance=1.0)
    problem = {"kind": "arrays", "path": str(tmp_path / "a.npz")}
    bound = D + (np.sqrt(D) - 1) * np.trace(np.linalg.inv(moment))
    assert trace(kind("bernoulli", p=D**-0.5), problem) == pytest.approx(bound, rel=1e-9)
    assert trace(kind("quantization", levels=1), problem) <= bound
    assert bound < trace(kind("bernoulli", p=1 / (D**0.5 + 1)), problem)


def test_on_a_diagonal_quantization_loses_to_masks_only_where_h_is_ill_conditioned() -> None:
    quantization, mask = kind("quantization", levels=1), kind("bernoulli", p=1 / (D**0.5 + 1))
    mild, wild = ({"eigenvalue_decay": decay, "rotation": "diagonal"} for decay in (1.0, 4.0))
    assert trace(quantization, mild) < trace(mask, mild)
    assert trace(quantization, wild) > trace(mask, wild)


@pytest.mark.parametrize("decay", [0.0, 1.0, 4.0])
def test_on_independent_signs_quantization_loses_to_masks_whenever_scales_differ(tmp_path: Path, decay: float) -> None:
    """x_j = +- sqrt(l_j): sqrt(Tr H) sum_j l_j^(-1/2) >= d^(3/2), Bernoulli's and participation's at p = 1/sqrt(d)."""
    d = 4
    eigenvalues = np.arange(1, d + 1.0) ** -decay
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=d)))
    features = signs * np.sqrt(eigenvalues)
    traces = {
        name: trace_of_rows(tmp_path / f"{name}.npz", features, [-1.0, 1.0], kind(name, **parameters))
        for name, parameters in [
            ("quantization", {"levels": 1}),
            ("bernoulli", {"p": d**-0.5}),
            ("partial-participation", {"p": d**-0.5}),
        ]
    }
    expected = np.sqrt(eigenvalues.sum()) * (eigenvalues**-0.5).sum()
    assert traces["quantization"] == pytest.approx(expected, rel=1e-9)
    assert traces["bernoulli"] == pytest.approx(d**1.5, rel=1e-9)
    assert traces["partial-participation"] == pytest.approx(d**1.5, rel=1e-9)
    assert expected == pytest.approx(d**1.5) if decay == 0 else expected > 1.05 * d**1.5


def test_with_a_rotation_all_but_participation_are_of_one_order() -> None:
    problem: Table = {"eigenvalue_decay": 4.0, "rotation": "haar"}
    similar = [kind("sketch", h=2), kind("rand-h", h=2), kind("bernoulli", p=0.25), kind("quantization", levels=1)]
    traces = [trace(compressor, problem) for compressor in similar]
    assert max(traces) < 10 * min(traces)
    assert min(traces) > 10 * trace(kind("partial-participation", p=0.25), problem)


def test_equal_omega_does_not_mean_equal_rates() -> None:
    """Noise in all directions comes near the worst case (1 + omega) Tr(H)/l_min; participation costs (1 + omega) d."""
    problem: Table = {"eigenvalue_decay": 4.0, "rotation": "diagonal"}
    omega, eigenvalues = 3.0, np.arange(1, D + 1.0) ** -4
    worst = (1 + omega) * eigenvalues.sum() / eigenvalues.min()
    sketch, participation = (
        trace(compressor, problem) for compressor in (kind("sketch", h=2), kind("partial-participation", p=0.25))
    )
    assert worst / 20 < sketch < worst
    assert participation == pytest.approx((1 + omega) * D, rel=1e-9)
    assert sketch > 100 * participation


def test_a_sketch_does_not_depend_on_the_rotation_and_loses_on_the_diagonal() -> None:
    sketch, rand = kind("sketch", h=2), kind("rand-h", h=2)
    traces = [trace(sketch, {"eigenvalue_decay": 4.0, "rotation": rotation}) for rotation in ("diagonal", *ROTATIONS)]
    assert traces == pytest.approx([traces[0]] * 4, rel=1e-7)
    assert traces[0] > 10 * trace(rand, {"eigenvalue_decay": 4.0, "rotation": "diagonal"})
    rotated = {"eigenvalue_decay": 4.0, "rotation": "haar"}
    assert 0.2 < traces[0] / trace(rand, rotated) < 5


@pytest.mark.parametrize("decay", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("rotation", ["diagonal", "haar"])
@pytest.mark.parametrize(
    "compressor", [*MASKS, kind("sketch", h=2), kind("quantization", levels=1)], ids=lambda c: c["kind"]
)
def test_no_trace_exceeds_the_worst_case_of_omega(compressor: Table, rotation: str, decay: float) -> None:
    problem: Table = {"eigenvalue_decay": decay, "rotation": rotation}
    omega = trace(compressor, problem, {"omega": "tight"}, field="omega")
    eigenvalues = np.arange(1, D + 1.0) ** -decay
    worst = (1 + omega) * eigenvalues.sum() / eigenvalues.min()
    assert trace(compressor, problem) <= worst * (1 + 1e-9)
    if decay == 0 and compressor["kind"] != "quantization":  # isotropic: all directions alike
        assert trace(compressor, problem) == pytest.approx(worst, rel=1e-9)


def test_buckets_adapt_to_the_scale() -> None:
    problem: Table = {"eigenvalue_decay": 4.0, "rotation": "diagonal"}
    whole, parts = (trace(kind("quantization", levels=1, **keys), problem) for keys in ({}, {"bucket": 2}))
    assert parts < whole / 3


@pytest.mark.parametrize("compressor", [*MASKS, kind("sketch", h=2)], ids=lambda c: c["kind"])
def test_ideal_memories_are_better_than_those_at_a_constant_rate(compressor: Table) -> None:
    problem: Table = {"shift": "optimum", "optimum_spread": 1.0, "rotation": "haar", "batch_size": 8}
    without = trace(compressor, problem, clients=4)
    settled, ideal = (
        trace(compressor, problem, {"kind": "control-variates"}, clients=4, field=field)
        for field in ("limit_trace", "limit_trace_ideal_memory")
    )
    assert ideal <= without
    assert ideal < settled
    assert settled < without, "at batch size 8 memories help"
    problem["batch_size"] = 1
    assert trace(compressor, problem, {"kind": "control-variates"}, clients=4) > trace(compressor, problem, clients=4)
