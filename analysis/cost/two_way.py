"""What quantization of the mean message adds to the limit trace, sampled at w*, where clients are alike.

The direction is t = (1/N) sum_i C(e_i x_i), e_i ~ N(0, 1) the noise of client i's sample, x_i ~ N(0, H), and what its
own compression adds is A = E sum_j Var(C_down(t)_j | t) / lambda_j. It depends on the law of t, which is no Gaussian:
where levels are few, t has few entries that are not 0. A falls about as 1/N, so that N A is told.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ...compressors import Compressor
from ...compressors.none import NoCompression
from ...compressors.quantization import Quantization

Array = NDArray[np.float64]
NUMBERS = 5e6
"""Numbers drawn, about."""
MOST, FEWEST, FEWEST_CLIENTS = 4_000, 4, 16
"""Directions drawn; and of how many clients there are to be messages among them all."""
MOST_CLIENTS, OF_CLIENTS, LARGEST = 64, 25_000_000, 10_000_000
"""Beyond OF_CLIENTS / d clients, but 64 at least, N A is taken for that of so many: at 127 levels and d = 10,000 it is
the same for 16 clients as for 256, at 7 levels 13% less for 64. LARGEST: the most dimensions."""


def added_below(up: Compressor, down: Compressor, eigenvalues: Array, clients: int) -> tuple[float, float] | None:
    """N A for H = diag(eigenvalues), and its standard error; None where `up` is none that is drawn here.

    A ratio estimate: the mean of A's sample over that of |t|^2, times E|t|^2, in which e_i has been averaged."""
    d = len(eigenvalues)
    if d > LARGEST or not (_is_drawn(up) and down.uncorrelated and down.homogeneous):
        return None
    clients, rng = min(clients, max(MOST_CLIENTS, OF_CLIENTS // d)), np.random.Generator(np.random.PCG64(12))
    count = max(FEWEST, math.ceil(FEWEST_CLIENTS / clients), int(min(MOST, NUMBERS / (d * clients))))
    samples = np.array([_sample(up, down, eigenvalues, clients, rng) for _ in range(count)])
    (added, square, expected), size = samples.mean(axis=0), math.sqrt(count)
    ratio = added / square
    residuals = (samples[:, 0] - ratio * samples[:, 1]) * expected / square + ratio * (samples[:, 2] - expected)
    return float(clients * ratio * expected), float(clients * residuals.std() / size)


def _is_drawn(up: Compressor) -> bool:
    return isinstance(up, NoCompression) or (isinstance(up, Quantization) and not up.bucket)


def _sample(
    up: Compressor, down: Compressor, eigenvalues: Array, clients: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Of one direction t: A's sample, |t|^2, and |t|^2 as expected from the x_i alone."""
    total, expected = np.zeros(len(eigenvalues)), 0.0
    for _ in range(clients):
        x = np.sqrt(eigenvalues) * rng.standard_normal(len(eigenvalues))
        expected += float(x @ x) / clients**2
        if isinstance(up, Quantization):
            expected += float(up.variances(x).sum()) / clients**2
            x = _quantized(up, x, rng)
        total += rng.standard_normal() / clients * x
    return float((down.variances(total) / eigenvalues).sum()), float(total @ total), expected


def _quantized(up: Quantization, x: Array, rng: np.random.Generator) -> Array:
    """A draw of C(x)."""
    unit = float(np.linalg.norm(x)) / up.levels
    return unit * np.sign(x) * np.floor(np.abs(x) / unit + rng.random(len(x)))
