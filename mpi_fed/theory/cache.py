"""Predictions on disk: an expensive one is computed once."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .. import plugins
from ..configuration import Configuration
from ..problems.population import Covariance, EmpiricalClient, Population


def folder() -> Path:
    """Where predictions are kept: in the user's cache directory."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("MPI_FED_CACHE_DIR") or Path(home) / "mpi_fed") / "theory"


def key(configuration: Configuration, population: Population, log_rounds: Sequence[int] | None) -> str:
    """A digest of all that a prediction depends on: the configuration, the clients' laws, the sources."""
    parts = hashlib.sha256(_sources().encode())
    tables = {**configuration.tables, "label": configuration.label, "log_rounds": log_rounds}
    parts.update(json.dumps(tables, sort_keys=True).encode())
    parts.update(_plugins().encode())
    start = configuration.algorithm.start_vector(population.dimension)  # perhaps from a file
    for array in (*_arrays(population), np.empty(0) if start is None else start):
        parts.update(f"{array.dtype}{array.shape}".encode())
        parts.update(np.ascontiguousarray(array).data)
    return parts.hexdigest()[:32]


def load(name: str) -> dict[str, Any] | None:
    """The prediction kept under this key, None where there is none that can be read."""
    try:
        return json.loads((folder() / f"{name}.json").read_text())
    except (OSError, ValueError):
        return None


def store(name: str, fields: dict[str, Any]) -> None:
    """Keep a prediction, whole or not at all; a cache that cannot be written is no fault."""
    text = json.dumps(fields, allow_nan=False)
    with suppress(OSError):
        folder().mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder(), suffix=".part", delete=False) as file:
            file.write(text)
        os.replace(file.name, folder() / f"{name}.json")


@cache
def _sources() -> str:
    """A digest of the sources that a prediction depends on."""
    package = Path(__file__).parents[1]
    parts = hashlib.sha256(np.__version__.encode())
    for name in ("theory", "compressors", "problems", "algorithms"):
        for source in sorted((package / name).rglob("*.py")):
            parts.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return parts.hexdigest()


def _plugins() -> str:
    return " ".join(sorted(plugins.loaded))  # a plugin's module name holds a digest of its content


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
