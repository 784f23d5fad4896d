"""Rows of data for tests: samples, files of every format, and the risk computed from the rows."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from mpi_fed.problems.base import Problem
from mpi_fed.problems.file import File
from mpi_fed.problems.population import EmpiricalClient, Population

Array = NDArray[np.float64]

FORMATS = [
    ".npz",
    ".npz.gz",
    ".csv",
    ".csv.gz",
    ".CSV",
    ".svm",
    ".svm.gz",
    ".libsvm",
    ".libsvm.gz",
    ".h5",
]


def write_rows(path: Path, features: Array, targets: Array) -> str:
    """Write the rows in the format that the suffix of the path names, and return the path.

    Numbers written as text keep every bit.
    """
    name = path.name.lower()
    inner = path.with_name(name.removesuffix(".gz"))
    rows = [[*map(repr, map(float, x)), repr(float(y))] for x, y in zip(features, targets, strict=True)]
    if ".npz" in name:
        np.savez(inner, features=features, targets=targets)
    elif ".h5" in name:
        with h5py.File(inner, "w") as file:
            file["features"], file["targets"] = features, targets
    elif ".csv" in name:
        inner.write_text("\n".join(",".join(row) for row in rows))
    else:
        inner.write_text("\n".join(" ".join([r[-1], *(f"{j + 1}:{v}" for j, v in enumerate(r[:-1]))]) for r in rows))
    content = inner.read_bytes()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return str(path)


def sample(rows: int = 40, columns: int = 3, seed: int = 1) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((rows, columns))
    return features, features @ np.arange(1.0, columns + 1) + rng.standard_normal(rows)


def file_problem(path: Path | str, **options: Any) -> File:
    return File(path=str(path), **options)


def rows_of(population: Population) -> list[EmpiricalClient]:
    """Return the clients of a population that is made of rows."""
    return cast(list[EmpiricalClient], population.clients)


def risk(population: Population, w: Array) -> np.float64:
    """Return F(w), computed from the rows."""
    value: np.float64 = np.mean([np.mean((c.features @ w - c.targets) ** 2) / 2 for c in rows_of(population)])
    return value


def gradient(population: Population, w: Array) -> Array:
    """Return the gradient of F at w, (d,), computed from the rows."""
    gradients = [c.features.T @ (c.features @ w - c.targets) / len(c.targets) for c in rows_of(population)]
    return np.array(np.mean(gradients, axis=0))


def one_sentence(error: pytest.ExceptionInfo[BaseException]) -> str:
    """Return the message of an exception, and check that it is one line of less than 500 characters."""
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


def digest_of(problem: Problem) -> str:
    digest: str = problem.facts()["dataset_digest"]
    return digest
