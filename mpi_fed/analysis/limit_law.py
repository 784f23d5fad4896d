"""The law that 2K times the excess risk tends to: a sum of chi squares, each with a weight of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DRAWS = 200_000
"""Draws of the law that a sample is held against: 100 and more times as many as repetitions."""


def draw_limit_law(weights: Sequence[float], count: int = DRAWS, seed: int = 0) -> Floats:
    """(count,) draws of sum_j weights_j chi^2_1."""
    generator = np.random.Generator(np.random.PCG64(seed))
    total = np.zeros(count)
    for weight in weights:
        total += weight * generator.standard_normal(count) ** 2
    return total


def compare_with_limit_law(scaled: Floats, weights: Sequence[float]) -> tuple[float, float]:
    """The two-sample Kolmogorov-Smirnov distance between 2K x excess risk, (R,), and its limit law; its p-value.

    Under the limit law p is uniform, so p < 1e-4 happens once in 10,000 times. At finite K the law is only near
    its limit, so with many repetitions a difference will be found in the end.
    """
    from scipy import stats

    test = stats.ks_2samp(scaled, draw_limit_law(weights), method="asymp")
    return float(test.statistic), float(test.pvalue)
