"""Estimate how much a nonlinear compression of the mean message adds to the limit trace, at w*, for equal clients.

The direction is t = (1/N) sum_i C(e_i x_i), with the noise e_i ~ N(0, 1) of client i's sample and x_i ~ N(0, H).
Its compression adds A = E sum_j Var(C_down(t)_j | t) / lambda_j to the trace. A depends on the distribution of t, which
is not Gaussian: with few levels, most entries of t are 0. A falls about as 1/N, so `downlink_noise` returns N A.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ...compressors import Compressor

Array = NDArray[np.float64]
NUMBERS = 5e6
"""Approximate number of normals to draw."""
MOST, FEWEST, FEWEST_CLIENTS = 4_000, 4, 16
"""Largest and smallest number of directions to draw, and the smallest number of clients' messages in all of them."""
MOST_CLIENTS, OF_CLIENTS, LARGEST = 64, 25_000_000, 10_000_000
"""Largest number of clients to draw: max(MOST_CLIENTS, OF_CLIENTS / d). For more clients, N A is computed with this
number.

At 127 levels and d = 10,000, N A is the same for 16 clients as for 256; at 7 levels it is 13% less for 64. LARGEST is
the largest dimension."""


def downlink_noise(up: Compressor, down: Compressor, eigenvalues: Array, clients: int) -> tuple[float, float] | None:
    """Return N A and its standard error for H = diag(eigenvalues), d of them; None if C(x) cannot be drawn.

    N A is a ratio estimate: the mean of A's samples over the mean of |t|^2, times the mean of E(|t|^2 | x_1, ..., x_N).
    """
    d = len(eigenvalues)
    known = up.uncorrelated or up.moment_coefficients(d) is not None
    if d > LARGEST or up.biased or not (known and up.homogeneous and down.uncorrelated and down.homogeneous):
        return None
    clients, rng = min(clients, max(MOST_CLIENTS, OF_CLIENTS // d)), np.random.Generator(np.random.PCG64(12))
    count = max(FEWEST, math.ceil(FEWEST_CLIENTS / clients), int(min(MOST, NUMBERS / (d * clients))))
    noises = (_noise(clients, (k + rng.random()) / count, rng) for k in range(count))
    try:
        samples = np.array([_sample(up, down, eigenvalues, noise, rng) for noise in noises])
    except NotImplementedError:
        return None
    (added, square, expected), size = samples.mean(axis=0), math.sqrt(count)
    ratio = added / square
    residuals = (samples[:, 0] - ratio * samples[:, 1]) * expected / square + ratio * (samples[:, 2] - expected)
    return float(clients * ratio * expected), float(clients * residuals.std() / size)


def _noise(clients: int, share: float, rng: np.random.Generator) -> Array:
    """Return the noise e (shape (N,)), scaled to length sqrt(N).

    A is homogeneous of degree 2 in e, and the length of e is independent of its direction. For two clients, the
    direction is an angle, on which A depends most. The draws are stratified over this angle by `share`, in [0, 1).
    """
    if clients == 2:
        return math.sqrt(2) * np.array([math.cos(share * math.pi / 2), math.sin(share * math.pi / 2)])
    drawn = rng.standard_normal(clients)
    return math.sqrt(clients) / np.linalg.norm(drawn) * drawn


def _sample(
    up: Compressor, down: Compressor, eigenvalues: Array, noise: Array, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Draw one direction t, and return A's sample, |t|^2, and the expectation of |t|^2 given the x_i."""
    total, expected, clients = np.zeros(len(eigenvalues)), 0.0, len(noise)
    for e in noise:
        x = np.sqrt(eigenvalues) * rng.standard_normal(len(eigenvalues))
        expected += _mean_square(up, x) / clients**2
        total += e / clients * (x if up.common else up.sampled(x[None], rng)[0])
    if up.common:
        total = up.sampled(total[None], rng)[0]
    return float((down.variances(total) / eigenvalues).sum()), float(total @ total), expected


def _mean_square(up: Compressor, x: Array) -> float:
    """Return E|C(x)|^2 for x of shape (d,)."""
    coefficients = up.moment_coefficients(len(x))
    if coefficients is None:
        return float(x @ x + up.variances(x).sum())
    a, b, c = coefficients
    return float((a + b + c * len(x)) * (x @ x))
