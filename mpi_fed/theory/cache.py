"""The key under which a prediction is stored: a digest of everything that it depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from .. import plugins
from ..problems.population import Covariance, EmpiricalClient, Population
from ..study.configuration import Configuration

SOURCES = ("algorithms", "compressors", "problems", "routes", "study", "theory")
"""The packages whose code determines predictions. A test compares them with the imports of `theory`."""
WITHOUT_INFLUENCE = ("component", "engine", "errors", "files", "plugins", "text")
"""Modules that the packages in SOURCES import, but that do not affect predictions: compiled operations, messages,
storage."""


def key(configuration: Configuration, population: Population, log_rounds: Sequence[int] | None) -> str:
    """Return a digest of the configuration, clients, start vector, `log_rounds`, plugins and sources."""
    parts = hashlib.sha256(_sources().encode())
    tables = {**configuration.tables, "label": configuration.label, "log_rounds": log_rounds}
    parts.update(json.dumps(tables, sort_keys=True).encode())
    parts.update(_plugins().encode())
    start = configuration.algorithm.start_vector(population.dimension)  # perhaps from a file
    for array in (*_arrays(population), np.empty(0) if start is None else start):
        parts.update(f"{array.dtype}{array.shape}".encode())
        parts.update(np.ascontiguousarray(array).data)
    return parts.hexdigest()[:32]


@cache
def _sources() -> str:
    """Return a digest of the source files that a prediction depends on."""
    package = Path(__file__).parents[1]
    parts = hashlib.sha256(np.__version__.encode())
    for folder in SOURCES:
        for source in sorted((package / folder).rglob("*.py")):
            name = source.relative_to(package).as_posix().encode()
            parts.update(name + b"\0" + source.read_bytes() + b"\0")
    return parts.hexdigest()


def _plugins() -> str:
    parts = hashlib.sha256(" ".join(sorted(plugins.loaded)).encode())
    for source in plugins.sources():
        parts.update(source.read_bytes())
    return parts.hexdigest()


def _arrays(population: Population) -> Iterator[np.ndarray]:
    for client, count in population.laws:
        yield np.array([count])
        if isinstance(client, EmpiricalClient):
            yield client.features
            yield client.targets
            continue
        yield client.optimum
        yield np.array([client.noise_variance])
        yield from _covariance_arrays(client.covariance)


def _covariance_arrays(covariance: Covariance) -> Iterator[np.ndarray]:
    yield covariance.eigenvalues
    if isinstance(covariance.basis, np.ndarray):
        yield covariance.basis
    else:
        yield np.array([len(covariance.basis or "")])
