"""Base class of problems on real data: preprocessing, the split over clients, and the sampling of rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from . import splits
from .base import Problem
from .csv_table import Target
from .data_kernel import data_kernel
from .datafile import Stamp, digest, stamp
from .population import Array, EmpiricalClient, Population, scaled, triangular
from .readers import read

RANK_TOLERANCE = 1e-6
"""Relative singular value below which a direction counts as a direction without data.

Columns are scaled to equal norms first, so that their units do not matter.
"""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Preprocessed contents of a file, with the rows in the order in which clients get them."""

    features: Array  # (n, d)
    targets: Array  # (n,)
    digest: str
    notes: tuple[str, ...]


class Data(Problem):
    """Least squares on real data, whose rows are distributed over the clients.

    This is the base class of problems on real data.

    Parameters
    ----------
    preprocessing : {"raw", "standardize", "pca"}, default: "raw"
        Transformation of the columns. "raw" takes x and y as they are, but for constant columns, which are always
        dropped. "standardize" brings each column to mean 0 and variance 1 over all rows, and y to mean 0, which has the
        effect of an intercept. "pca" also rotates the standardized columns onto their principal axes, so that H is
        diagonal (with the same eigenvalues, since nothing is whitened), and drops the axes that carry no data.
    split : {"iid", "cluster", "dirichlet"}, default: "iid"
        Assignment of rows to clients. "iid" gives all clients equal shares, up to one row. "cluster" gives a client
        rows that lie close to each other. "dirichlet" gives client i the share p_i of each class of targets, with p
        drawn from `Dirichlet(concentration, ..., concentration)`; if there are more than 20 distinct targets, the
        classes are tenths of the rows.
    clusters : int, default: one for each client
        Number of clusters, by default one for each client. If there are more, whole clusters are distributed evenly. If
        there are fewer, several clients share a cluster.
    embedding : {"pca", "t-sne"}, default: "pca"
        Plane in which clusters are found: the first two principal components of the standardized columns, or t-SNE,
        which takes longer. The clusters are computed once and kept in the cache folder.
    clustering : {"k-means", "gaussian-mixture"}, default: "k-means"
        Method that finds the clusters.
    concentration : float, default: 0.5
        Parameter of the Dirichlet distribution. The smaller it is, the more the clients differ.
    sampling : {"with-replacement", "epochs"}, default: "with-replacement"
        Draw of samples. "with-replacement" draws each sample uniformly from the client's rows; theory is exact for it.
        "epochs" passes through the rows, in a new order in each pass.
    seed : int, default: 0
        Seed of the shuffle of the rows before the split.
    batch_size : int or "full", default: 1
        Number of samples in a stochastic gradient; "full" gives the client's true gradient.

    Notes
    -----
    The risk is `F(w) = mean_i mean_{rows of i} (<x, w> - y)^2 / 2`, in which all clients have the same weight,
    whatever their number of rows. Constant columns are dropped, and no intercept is added.
    """

    preprocessing: Literal["raw", "standardize", "pca"] = "raw"
    split: Literal["iid", "cluster", "dirichlet"] = "iid"
    clusters: int | None = Field(default=None, ge=1)
    embedding: Literal["pca", "t-sne"] = "pca"
    clustering: Literal["k-means", "gaussian-mixture"] = "k-means"
    concentration: float = Field(default=0.5, gt=0)
    sampling: Literal["with-replacement", "epochs"] = "with-replacement"
    seed: int = Field(default=0, ge=0)

    def location(self) -> tuple[str, Target]:
        """Return the path of the file and, for a .csv file, the target's column."""
        raise NotImplementedError

    @property
    def dataset(self) -> Dataset:
        """The preprocessed data. Consecutive problems of a process with the same data read the file only once."""
        path, target = self.location()
        return _load(path, target, self.preprocessing, self.seed, stamp(path))

    @property
    def notes(self) -> tuple[str, ...]:
        """Changes that preprocessing made to the data, one sentence each."""
        return self.dataset.notes

    def facts(self) -> dict[str, Any]:
        """Return the SHA-256 of the file's features and targets, and the changes that preprocessing made to them."""
        return {"dataset_digest": self.dataset.digest, "dataset_notes": "; ".join(self.notes)}

    def dimension_of(self) -> int:
        return int(self.dataset.features.shape[1])

    def check(self, clients: int) -> None:
        rows = len(self.dataset.targets)
        if clients > rows:
            raise ValueError(f"clients = {clients} is more than the {rows} rows of data; give at most {rows}")
        if self.split == "cluster" and (self.clusters or clients) > rows:
            raise ValueError(f"clusters = {self.clusters} is more than the {rows} rows of data; give at most {rows}")
        share = min(map(len, self.shares(clients)))
        if self.sampling == "epochs" and self.batch_size != "full" and self.batch_size > share:
            raise ValueError(
                f"batch_size = {self.batch_size} is more than the {share} rows of a client; with "
                f'sampling = "epochs" give at most {share}, or batch_size = "full"'
            )

    def prepare(self, clients: int) -> Population:
        self.check(clients)
        data, shares = self.dataset, self.shares(clients)
        features, targets = data.features, data.targets
        if self.split != "iid":  # one copy, in which each client's rows are contiguous
            order = np.concatenate(shares)
            features, targets = features[order], targets[order]
        bounds = np.cumsum([0, *map(len, shares)])
        return Population(
            [EmpiricalClient(features[first:last], targets[first:last]) for first, last in pairwise(bounds)]
        )

    def shares(self, clients: int) -> list[splits.Rows]:
        """Return the indices of the rows that each client holds."""
        data = self.dataset
        if self.split == "cluster":
            clusters = self.clusters or clients
            return splits.by_cluster(data.features, clients, clusters, self.embedding, self.clustering, self.seed)
        if self.split == "dirichlet":
            return splits.by_dirichlet(data.targets, clients, self.concentration, self.seed)
        return splits.iid(len(data.targets), clients)

    def kernel(self, population: Population, first: int, last: int) -> NamedTuple:
        return data_kernel(population.clients[first:last], first, self.batch_size, self.sampling == "epochs")


@lru_cache(maxsize=1)  # only one data set, since several may not fit into memory
def _load(path: str, target: Target, preprocessing: str, seed: int, when: Stamp) -> Dataset:
    features, targets = read(path, target)
    origin = digest(features, targets)
    order = np.random.Generator(np.random.PCG64([seed, 2])).permutation(len(targets))
    features, targets = features[order], targets[order]
    features, notes = _varying(path, features)
    if preprocessing != "raw":
        _standardize(features)
        targets -= targets.mean()
    if preprocessing == "pca":
        features, dropped = _rotated(features)
        if dropped:
            notes += (f"principal axes without data, dropped: {dropped} of {dropped + features.shape[1]}",)
    _check_rank(path, features)
    return Dataset(np.ascontiguousarray(features), targets, origin, notes)  # so that each row is contiguous


def _varying(path: str, features: Array) -> tuple[Array, tuple[str, ...]]:
    """Return the columns that are not constant, and a note if there are constant columns."""
    varies = features.min(axis=0) < features.max(axis=0)
    kept, columns = int(varies.sum()), len(varies)
    if kept == columns:
        return features, ()
    if not kept:
        raise ValueError(f"path = {path!r}: each feature column is constant; at least one must vary")
    return features[:, varies], (f"constant columns, dropped: {columns - kept} of {columns}",)


def _standardize(features: Array) -> None:
    """Bring columns to mean zero and mean square one, in place, since the data may be large."""
    features -= features.mean(axis=0)
    features /= np.maximum(features.max(axis=0), -features.min(axis=0))  # so that no square over- or underflows
    features /= np.sqrt(np.einsum("ij,ij->j", features, features) / len(features))


def _rotated(features: Array) -> tuple[Array, int]:
    """Return the rows in the basis of H's eigenvectors, largest eigenvalue first, and the number of dropped axes."""
    _, singular, axes = np.linalg.svd(triangular(features), full_matrices=False)
    axes = axes[singular > RANK_TOLERANCE * singular[0]]
    leading = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    axes *= np.sign(leading)  # so that the signs do not depend on the LAPACK in use
    return features @ axes.T, features.shape[1] - len(axes)


def _check_rank(path: str, features: Array) -> None:
    columns, _ = scaled(triangular(features))
    singular = np.linalg.svd(columns, compute_uv=False)
    rank = int(np.sum(singular > RANK_TOLERANCE * singular[0]))
    if rank < features.shape[1]:
        raise ValueError(
            f"path = {path!r}: H is rank-deficient without the constant columns ({features.shape[1]} "
            f'columns, rank {rank}); give preprocessing = "pca", which keeps the {rank} axes that carry data'
        )
