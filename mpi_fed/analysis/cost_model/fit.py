"""Costs that are sums of what they are made of, fitted so that ratios to what was measured are near 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ITERATIONS = 50
"""Of the weights; the sum has settled by then."""
SMALLEST, LARGEST = 0.05, 1e3
"""A ratio nearer to 1 than by the one counts as if it were that far, one beyond the other as the other."""


def fit(features: Array, values: Array) -> Array:
    """c >= 0, (k,), that makes sum |log(features c / values)| small; features (n, k), values (n,) above 0.

    Half of a time is as wrong as twice the time, and a point that is far off pulls no harder than one that is near.
    By reweighted non-negative least squares.
    """
    from scipy.optimize import nnls

    scaled = features / values[:, None]
    sizes = np.abs(scaled).max(axis=0)
    sizes[sizes == 0] = 1.0
    scaled = scaled / sizes
    weights, solution = np.ones(len(values)), np.zeros(features.shape[1])
    for _ in range(ITERATIONS):
        root = np.sqrt(weights)
        solution = nnls(scaled * root[:, None], root)[0]
        ratio = np.clip(scaled @ solution, 1 / LARGEST, LARGEST)
        logs = np.maximum(np.abs(np.log(ratio)), SMALLEST)
        weights = logs / np.maximum(np.abs(ratio - 1), SMALLEST) ** 2
    return solution / sizes
