"""Splits of rows over clients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpi_fed.problems import splits
from mpi_fed.problems.digits import Digits
from mpi_fed.problems.population import EmpiricalClient, Population


def rows_of(population: Population) -> list[EmpiricalClient]:
    return [client for client in population.clients if isinstance(client, EmpiricalClient)]


@pytest.mark.parametrize("clients", [1, 2, 7, 1797])
def test_iid_split_is_a_near_equal_partition(clients: int) -> None:
    problem = Digits()
    members = rows_of(problem.prepare(clients))
    sizes = [len(c.targets) for c in members]
    assert len(sizes) == clients
    assert max(sizes) - min(sizes) <= 1
    for name in ("features", "targets"):
        parts, whole = [getattr(c, name) for c in members], getattr(problem.dataset, name)
        np.testing.assert_array_equal(np.concatenate(parts), whole)
        assert all(np.shares_memory(part, whole) and part.flags.c_contiguous for part in parts)


def test_the_seed_determines_the_split() -> None:
    first, again, other = (rows_of(Digits(seed=s).prepare(4))[0].targets.copy() for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert abs(first.mean() - 4.5) < 0.6  # shuffled: 4.3 standard errors of a mean of 449 digits


@pytest.mark.parametrize("clustering", ["k-means", "gaussian-mixture"])
@pytest.mark.parametrize(("clients", "clusters"), [(5, None), (5, 12), (5, 2), (1, 3)])
def test_clusters_are_assigned_as_a_whole(clients: int, clusters: int | None, clustering: str) -> None:
    """No client gets only a part of a heap (twelve are far apart), unless there are fewer clusters than clients.

    A mixture with fewer components than heaps may cut a heap, since the ellipses of its components are large.
    """
    generator = np.random.default_rng(1)
    heap = np.repeat(np.arange(12), 20)
    points = 100 * np.stack([heap % 4, heap // 4], axis=1) + generator.standard_normal((240, 2))
    shares = splits.by_cluster(points, clients, clusters or clients, "pca", clustering, seed=0)
    np.testing.assert_array_equal(np.sort(np.concatenate(shares)), np.arange(240))
    assert len(shares) == clients
    if clusters == 12 or (clustering == "k-means" and clusters != 2):
        assert all(len(np.unique(heap[share])) * 20 == len(share) for share in shares)
    if clusters == 12:
        assert {len(share) for share in shares} == {40, 60}


@pytest.mark.parametrize("split", [{"split": "cluster"}, {"split": "dirichlet", "concentration": 0.1}])
def test_a_split_makes_clients_differ_and_keeps_the_rows(split: dict[str, Any]) -> None:
    iid, shifted = Digits(preprocessing="standardize"), Digits(preprocessing="standardize", **split)
    spread = [np.std([c.targets.mean() for c in rows_of(problem.prepare(6))]) for problem in (iid, shifted)]
    assert spread[1] > 4 * spread[0]
    rows = np.concatenate([c.features for c in rows_of(shifted.prepare(6))])
    np.testing.assert_array_equal(np.sort(rows.sum(axis=1)), np.sort(shifted.dataset.features.sum(axis=1)))
    assert all(c.features.flags.c_contiguous for c in rows_of(shifted.prepare(6)))


def test_the_risk_gives_clients_the_same_weight() -> None:
    """Clients, not rows, have the same weight in w* and H. The test computes both from the clients' moments."""
    population = Digits(preprocessing="standardize", split="dirichlet", concentration=0.3).prepare(4)
    clients = rows_of(population)
    assert len({len(c.targets) for c in clients}) == 4
    h = np.mean([c.features.T @ c.features / len(c.targets) for c in clients], axis=0)
    moment = np.mean([c.features.T @ c.targets / len(c.targets) for c in clients], axis=0)
    np.testing.assert_allclose(population.optimum, np.linalg.solve(h, moment), rtol=1e-6)
    risk = np.mean([np.mean(c.targets**2) / 2 for c in clients])
    best = np.mean([np.mean((c.features @ population.optimum - c.targets) ** 2) / 2 for c in clients])
    np.testing.assert_allclose(population.excess_risk(np.zeros(len(h))), risk - best, rtol=1e-9)


def test_t_sne_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPI_FED_CACHE_DIR", str(tmp_path))
    features = np.random.default_rng(2).standard_normal((60, 4))
    computed = splits.by_cluster(features, 3, 3, "t-sne", "gaussian-mixture", seed=0)
    assert len(list((tmp_path / "splits").iterdir())) == 1
    monkeypatch.setattr(splits, "_plane", None)
    cached = splits.by_cluster(features, 3, 3, "t-sne", "gaussian-mixture", seed=0)
    for one, other in zip(computed, cached, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_dirichlet_split_with_empty_clients_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"concentration = 0\.001 left some of 50 clients .* give a larger concentration"
    ):
        Digits(split="dirichlet", concentration=0.001).check(50)


def test_classes_are_values_or_bins() -> None:
    assert len(np.unique(splits._classes(np.arange(8.0).repeat(3)))) == 8
    assert np.bincount(splits._classes(np.random.default_rng(0).standard_normal(1000))).tolist() == [100] * 10
