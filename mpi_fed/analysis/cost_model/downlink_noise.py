"""What a compression of the mean message that is not linear adds to the limit trace, at w*, where clients are alike.

The direction is t = (1/N) sum_i C(e_i x_i), e_i ~ N(0, 1) the noise of client i's sample, x_i ~ N(0, H), and what its
own compression adds is A = E sum_j Var(C_down(t)_j | t) / lambda_j. It depends on the law of t, which is no Gaussian:
where levels are few, t has few entries that are not 0. A falls about as 1/N, so that N A is told.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ...compressors import Compressor

Array = NDArray[np.float64]
NUMBERS = 5e6
"""Numbers drawn, about."""
MOST, FEWEST, FEWEST_CLIENTS = 4_000, 4, 16
"""Directions drawn; and of how many clients there are to be messages among them all."""
MOST_CLIENTS, OF_CLIENTS, LARGEST = 64, 25_000_000, 10_000_000
"""Beyond OF_CLIENTS / d clients, but 64 at least, N A is taken for that of so many: at 127 levels and d = 10,000 it is
the same for 16 clients as for 256, at 7 levels 13% less for 64. LARGEST: the most dimensions."""


def downlink_noise(up: Compressor, down: Compressor, eigenvalues: Array, clients: int) -> tuple[float, float] | None:
    """N A for H = diag(eigenvalues), and its standard error; None where C(x) cannot be drawn.

    A ratio estimate: the mean of A's sample over that of |t|^2, times E|t|^2, in which e_i has been averaged.
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
    """e, but of length sqrt(N): A is of degree 2 in it, and its length does not depend on its direction.

    Of two clients the direction is an angle, of which each draw gets its share: on it A depends most.
    """
    if clients == 2:
        return math.sqrt(2) * np.array([math.cos(share * math.pi / 2), math.sin(share * math.pi / 2)])
    drawn = rng.standard_normal(clients)
    return math.sqrt(clients) / np.linalg.norm(drawn) * drawn


def _sample(
    up: Compressor, down: Compressor, eigenvalues: Array, noise: Array, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Of one direction t: A's sample, |t|^2, and |t|^2 as expected from the x_i alone."""
    total, expected, clients = np.zeros(len(eigenvalues)), 0.0, len(noise)
    for e in noise:
        x = np.sqrt(eigenvalues) * rng.standard_normal(len(eigenvalues))
        expected += _mean_square(up, x) / clients**2
        total += e / clients * (x if up.common else up.sampled(x[None], rng)[0])
    if up.common:
        total = up.sampled(total[None], rng)[0]
    return float((down.variances(total) / eigenvalues).sum()), float(total @ total), expected


def _mean_square(up: Compressor, x: Array) -> float:
    """E|C(x)|^2."""
    coefficients = up.moment_coefficients(len(x))
    if coefficients is None:
        return float(x @ x + up.variances(x).sum())
    a, b, c = coefficients
    return float((a + b + c * len(x)) * (x @ x))
