"""Problem `gaussian`."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from .base import Problem, problems
from .gaussian_kernel import gaussian_kernel
from .population import DENSE_LIMIT, Array, Covariance, GaussianClient, Population


@problems.register
class Gaussian(Problem):
    """Gaussian features with a given spectrum, and fresh samples in every round.

    Parameters
    ----------
    dimension : int
        Dimension d, at most 10,000 if a rotation is dense: "dct", "haar", and those of covariate shift.
    eigenvalue_decay : float, default: 1.0
        Exponent P of the eigenvalues of H, which are 1, 2^-P, ..., d^-P.
    rotation : {"diagonal", "householder", "dct", "haar"}, default: "dct"
        Eigenvectors Q of H. "diagonal" is the identity, "householder" is `I - (2/d) 1 1^T`, and "dct" is
        `Q[j,k] = c_k cos(pi (2j+1) k / (2d))`. "haar" is drawn uniformly from the orthogonal group.
    noise_variance : float, default: 1.0
        Variance sigma^2 of the noise in y.
    optimum : {"ones", "normal"}, default: "ones"
        Optimum `w*` that clients share: all coordinates 1, or a draw of N(0, I).
    shift : {"none", "covariate", "optimum", "both"}, default: "none"
        Differences between clients. "covariate" gives client i the decay `decays[i mod len]` and its own Haar rotation.
        "optimum" draws `w*_i ~ N(0, optimum_spread^2 I)`, and "both" does both.
    decays : list of float, default: [3.0, 4.0, 5.0, 6.0]
        Exponents P of the clients under covariate shift, each at least 0.
    optimum_spread : float, default: 10.0
        Standard deviation of the coordinates of `w*_i` under optimum shift.
    seed : int, default: 0
        Seed of rotation, optimum and shift, which all repetitions and compressors share.
    batch_size : int or "full", default: 1
        Number of samples in a stochastic gradient; "full" gives the client's true gradient.

    Notes
    -----
    Formula: `x ~ N(0, H_i)`, `y = <x, w*_i> + eps`, `eps ~ N(0, sigma^2)`, and without covariate shift
    `H_i = H = Q diag(1, 2^-P, ..., d^-P) Q^T`.

    Examples
    --------
    >>> from mpi_fed.problems import problems
    >>> problems["gaussian"](dimension=4, rotation="diagonal").prepare(1).covariance.eigenvalues.round(2)
    array([1.  , 0.5 , 0.33, 0.25])
    """

    kind = "gaussian"
    lists = frozenset({"decays"})

    dimension: int = Field(ge=1)
    eigenvalue_decay: float = Field(default=1.0, ge=0)
    rotation: Literal["diagonal", "householder", "dct", "haar"] = "dct"
    noise_variance: float = Field(default=1.0, ge=0)
    optimum: Literal["ones", "normal"] = "ones"
    shift: Literal["none", "covariate", "optimum", "both"] = "none"
    decays: tuple[Annotated[float, Field(ge=0)], ...] = Field(default=(3.0, 4.0, 5.0, 6.0), min_length=1)
    optimum_spread: float = Field(default=10.0, ge=0)
    seed: int = Field(default=0, ge=0)

    def dimension_of(self) -> int:
        return self.dimension

    def check(self, clients: int) -> None:
        rotation = "haar" if self.shift in ("covariate", "both") else self.rotation
        if rotation in ("dct", "haar") and self.dimension > DENSE_LIMIT:
            raise ValueError(
                f"a dense {rotation} rotation at dimension = {self.dimension} needs d^2 numbers; give at most "
                f'{DENSE_LIMIT}, or rotation = "householder" or "diagonal" without covariate shift'
            )

    def prepare(self, clients: int) -> Population:
        self.check(clients)
        rng = np.random.Generator(np.random.PCG64([self.seed, 0]))
        d = self.dimension
        shared = _covariance(d, self.eigenvalue_decay, self.rotation, rng)
        center = np.ones(d) if self.optimum == "ones" else rng.standard_normal(d)
        if self.shift == "none":
            return Population([GaussianClient(shared, center, self.noise_variance)] * clients)
        members = []
        for i in range(clients):
            client_rng = np.random.Generator(np.random.PCG64([self.seed, 1, i]))
            covariance, optimum = shared, center
            if self.shift in ("covariate", "both"):
                covariance = _covariance(d, self.decays[i % len(self.decays)], "haar", client_rng)
            if self.shift in ("optimum", "both"):
                optimum = self.optimum_spread * client_rng.standard_normal(d)
            members.append(GaussianClient(covariance, optimum, self.noise_variance))
        return Population(members)

    def bytes_of(self, clients: int, hosted: int) -> int:
        d = self.dimension
        dense = 8 * d * d if self.rotation in ("dct", "haar") else 0
        if self.shift in ("covariate", "both"):  # one rotation for each client, and one factor for each hosted client
            return 8 * d * d * (clients + hosted) + 16 * d * clients
        return 2 * dense + (16 * d * clients if self.shift == "optimum" else 0)

    def kernel(self, population: Population, first: int, last: int) -> NamedTuple:
        return gaussian_kernel(population.clients[first:last], first, self.batch_size)


def _covariance(d: int, decay: float, rotation: str, rng: np.random.Generator) -> Covariance:
    eigenvalues = np.arange(1, d + 1, dtype=np.float64) ** -decay
    if rotation == "diagonal":
        return Covariance(eigenvalues)
    if rotation == "householder":
        return Covariance(eigenvalues, "householder")
    return Covariance(eigenvalues, dct(d) if rotation == "dct" else haar(d, rng))


def dct(d: int) -> Array:
    """Q[j,k] = c_k cos(pi (2j+1) k / (2d)), the orthonormal DCT matrix, (d, d); c_0 = sqrt(1/d), else sqrt(2/d)."""
    j, k = np.arange(d)[:, None], np.arange(d)[None, :]
    scale = np.full(d, np.sqrt(2 / d))
    scale[0] = np.sqrt(1 / d)
    matrix: Array = scale * np.cos(np.pi * (2 * j + 1) * k / (2 * d))
    return matrix


def haar(d: int, rng: np.random.Generator) -> Array:
    """Return a uniformly random orthogonal matrix of shape (d, d).

    It is the Q of a QR factorization of a Gaussian matrix, with the signs fixed (Mezzadri, 2007).
    """
    q, r = np.linalg.qr(rng.standard_normal((d, d)))
    matrix: Array = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    return matrix
