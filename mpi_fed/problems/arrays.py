"""Problem `arrays`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .base import Problem, problems
from .datafile import Stamp, digest, numbers, stamp
from .gaussian_kernel import gaussian_kernel
from .population import Array, Covariance, GaussianClient, Population
from .readers import read_npz

NAMES = ("covariances", "optima", "noise_variance")
"""Arrays that the file must hold."""


@problems.register
class Arrays(Problem):
    """Gaussian clients whose covariances, optima and noise variances are given as arrays in an .npz file.

    Parameters
    ----------
    path : str
        Path of an .npz file with the arrays `covariances` (N, d, d), `optima` (N, d) and `noise_variance` (N,) or a
        scalar. N must be the number of clients of the study.
    batch_size : int or "full", default: 1
        Number of samples in a stochastic gradient; "full" gives the client's true gradient.

    Notes
    -----
    Formula: `x ~ N(0, H_i)`, `y = <x, w*_i> + eps`, `eps ~ N(0, noise_variance_i)`, with fresh samples in every round.
    The mean of the covariances must be positive definite.
    """

    kind = "arrays"

    path: str

    def dimension_of(self) -> int:
        return int(self._arrays()[0].shape[1])

    def check(self, clients: int) -> None:
        stored = len(self._arrays()[0])
        if stored != clients:
            raise ValueError(
                f"path = {self.path!r} holds {stored} clients, but the study has clients = {clients}; "
                f"give clients = {stored}"
            )

    def prepare(self, clients: int) -> Population:
        self.check(clients)
        members = zip(*self._arrays(), strict=True)
        return Population([GaussianClient(Covariance.of(h), w, float(s)) for h, w, s in members])

    def facts(self) -> dict[str, Any]:
        """Return the SHA-256 of the arrays."""
        return {"dataset_digest": digest(*self._arrays())}

    def kernel(self, population: Population, first: int, last: int) -> NamedTuple:
        return gaussian_kernel(population.clients[first:last], first, self.batch_size)

    def _arrays(self) -> tuple[Array, Array, Array]:
        return _load(self.path, stamp(self.path))


@lru_cache(maxsize=1)
def _load(path: str, when: Stamp) -> tuple[Array, Array, Array]:
    """Return the checked covariances, optima and noise variances, of shapes (N, d, d), (N, d) and (N,)."""
    arrays = read_npz(path)
    for name in NAMES:
        if name not in arrays:
            raise ValueError(f"path = {path!r} lacks the array {name!r}; store {', '.join(NAMES)} in the file")
    covariances, optima, noise = (numbers(path, name, arrays[name]) for name in NAMES)
    _check_shapes(path, covariances, optima, noise)
    _check_values(path, covariances, noise)
    return covariances, optima, np.broadcast_to(noise, len(covariances))


def _check_shapes(path: str, covariances: Array, optima: Array, noise: Array) -> None:
    shape = covariances.shape
    if len(shape) != 3 or shape[1] != shape[2] or 0 in shape:
        raise ValueError(f"path = {path!r}: covariances has shape {shape}; it must be (N, d, d)")
    if optima.shape != shape[:2]:
        raise ValueError(f"path = {path!r}: optima has shape {optima.shape}; it must be {shape[:2]}")
    if noise.shape not in ((), shape[:1]):
        raise ValueError(f"path = {path!r}: noise_variance has shape {noise.shape}; it must be () or {shape[:1]}")


def _check_values(path: str, covariances: Array, noise: Array) -> None:
    if (noise < 0).any():
        raise ValueError(f"path = {path!r}: noise_variance holds {noise.min():g}; give numbers >= 0")
    size = np.abs(covariances).max()
    if not np.allclose(covariances, covariances.transpose(0, 2, 1), rtol=1e-8, atol=1e-12 * size):
        raise ValueError(f"path = {path!r}: a covariance is not symmetric; give symmetric matrices")
    smallest = np.linalg.eigvalsh(covariances)[:, 0]
    if (smallest < -1e-10 * size).any():
        raise ValueError(
            f"path = {path!r}: covariance {int(smallest.argmin()) + 1} has the negative eigenvalue "
            f"{smallest.min():g}; give positive semidefinite matrices"
        )
    mean = np.linalg.eigvalsh(covariances.mean(axis=0))
    if mean[0] <= len(mean) * np.finfo(float).eps * mean[-1]:
        raise ValueError(
            f"path = {path!r}: the mean of the covariances is singular, so the optimum is not unique; give covariances "
            "whose mean is positive definite"
        )
