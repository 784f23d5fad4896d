"""Rows of data for tests: samples, files of every format, and the risk that the rows themselves have."""

from __future__ import annotations

import gzip

import h5py
import numpy as np

from mpi_fed.problems import problems

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


def write_rows(path, features, targets):
    """The rows in the format that the path's name calls for; numbers as text keep every bit."""
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


def sample(rows=40, columns=3, seed=1):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((rows, columns))
    return features, features @ np.arange(1.0, columns + 1) + rng.standard_normal(rows)


def file_problem(path, **options):
    return problems["file"](path=str(path), **options)


def risk(population, w):
    """F(w) from the rows themselves."""
    return np.mean([np.mean((c.features @ w - c.targets) ** 2) / 2 for c in population.clients])


def gradient(population, w):
    return np.mean([c.features.T @ (c.features @ w - c.targets) / len(c.targets) for c in population.clients], axis=0)


def one_sentence(error):
    """The message, which is to be one sentence on one line."""
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


def digest_of(problem):
    return problem.facts()["dataset_digest"]
