"""Splits of real data: the rows that each client holds, which determine how much clients differ."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import files
from .population import Array

Rows = NDArray[np.int64]

CLASSES = 20
"""Largest number of distinct targets that count as classes."""
BINS = 10
"""Number of bins, of equally many rows, into which targets with more distinct values are cut."""
ATTEMPTS = 100
"""Number of draws of a Dirichlet split. If each draw leaves a client without rows, the split is refused."""


def iid(rows: int, clients: int) -> list[Rows]:
    """Return shares whose sizes differ by at most one row. The rows were shuffled before."""
    bounds = [rows * i // clients for i in range(clients + 1)]
    return [np.arange(first, last) for first, last in pairwise(bounds)]


def by_cluster(features: Array, clients: int, clusters: int, embedding: str, clustering: str, seed: int) -> list[Rows]:
    """Return for each client rows that lie close to each other in an embedding into the plane.

    With as many clusters as clients, each client gets one cluster. If there are more clusters than clients, whole
    clusters are assigned, the largest first, each to the client with the fewest rows. If there are fewer clusters than
    clients, each cluster is divided evenly among some clients, a larger cluster among more clients.
    """
    labels = _labels(features, clusters, embedding, clustering, seed)
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    groups.sort(key=len, reverse=True)
    if len(groups) >= clients:
        shares: list[list[Rows]] = [[] for _ in range(clients)]
        for group in groups:
            min(shares, key=lambda share: sum(map(len, share))).append(group)
        return [np.sort(np.concatenate(share)) for share in shares]
    counts = [1] * len(groups)
    while sum(counts) < clients:
        fullest = max(range(len(groups)), key=lambda i: len(groups[i]) / counts[i])
        counts[fullest] += 1
    return [part for group, count in zip(groups, counts, strict=True) for part in np.array_split(group, count)]


def by_dirichlet(targets: Array, clients: int, concentration: float, seed: int) -> list[Rows]:
    """Return rows for each client: client i gets the share p_i of each class of targets, p ~ Dirichlet(c, ..., c).

    The smaller the concentration c, the more the clients differ. Source: Yurochkin et al., "Bayesian nonparametric
    federated learning of neural networks" (2019). Raises ValueError if every draw leaves some client without rows.
    """
    generator = np.random.Generator(np.random.PCG64([seed, 5]))
    classes = _classes(targets)
    for _ in range(ATTEMPTS):
        owner = np.empty(len(targets), dtype=np.int64)
        for label in np.unique(classes):
            rows = np.flatnonzero(classes == label)
            shares = generator.dirichlet(np.full(clients, concentration))
            ends = np.rint(np.cumsum(shares) * len(rows)).astype(np.int64)
            owner[rows] = np.minimum(np.searchsorted(ends, np.arange(len(rows)), side="right"), clients - 1)
        if len(np.unique(owner)) == clients:
            return [np.flatnonzero(owner == client) for client in range(clients)]
    raise ValueError(
        f"concentration = {concentration:g} left some of {clients} clients without rows in each of {ATTEMPTS} "
        "draws; give a larger concentration, or fewer clients"
    )


def _classes(targets: Array) -> NDArray[np.int64]:
    """Return the class of each row (shape (n,)): the number of its target's value, or of the value's bin."""
    values, classes = np.unique(targets, return_inverse=True)
    if len(values) <= CLASSES:
        return classes
    return np.searchsorted(np.quantile(targets, np.arange(1, BINS) / BINS), targets)


def _labels(features: Array, clusters: int, embedding: str, clustering: str, seed: int) -> NDArray[np.int64]:
    """Return the cluster of each row, of shape (n,).

    The clusters are cached on disk, since every rank needs them and t-SNE may take minutes.
    """
    import importlib.metadata

    facts = [clusters, embedding, clustering, seed, importlib.metadata.version("scikit-learn"), features.shape]
    name = hashlib.sha256(json.dumps(facts).encode() + np.ascontiguousarray(features).data).hexdigest()[:32]
    cached = files.load("splits", name)
    if cached is None:
        labels = _cluster(_plane(features, embedding, seed), clusters, clustering, seed)
        cached = {"labels": labels.tolist()}
        files.store("splits", name, cached)
    return np.array(cached["labels"], dtype=np.int64)


def _plane(features: Array, embedding: str, seed: int) -> Array:
    """Return the first two principal components, or t-SNE, of the standardized columns, of shape (n, 2)."""
    centred = features - features.mean(axis=0)
    scale = np.abs(centred).max(axis=0)
    centred /= np.where(scale > 0, scale, 1.0)
    deviations = centred.std(axis=0)
    centred /= np.where(deviations > 0, deviations, 1.0)
    if embedding == "pca":
        _, axes = np.linalg.eigh(centred.T @ centred)
        plane: Array = centred @ axes[:, ::-1][:, :2]
        return plane
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(features) - 1) / 3)
    embed = TSNE(2, init="pca", perplexity=perplexity, random_state=seed, n_jobs=1).fit_transform
    embedded: Array = _one_thread(embed, centred)
    return embedded


def _cluster(points: Array, clusters: int, clustering: str, seed: int) -> NDArray[np.int64]:
    if clustering == "k-means":
        from sklearn.cluster import KMeans

        model: Any = KMeans(clusters, n_init=10, random_state=seed)
    else:
        from sklearn.mixture import GaussianMixture

        model = GaussianMixture(clusters, n_init=3, random_state=seed)
    labels: NDArray[np.int64] = _one_thread(model.fit_predict, points)
    return labels


def _one_thread(work: Any, points: Array) -> Any:
    """Return work(points), computed by one thread, so that sums are computed in a fixed order."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return work(points)
