"""Fit costs that are sums of terms, so that the ratios of predicted to measured times are near 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ITERATIONS = 50
"""Number of reweightings; the sum has converged by then."""
SMALLEST, LARGEST = 0.05, 1e3
"""Ratios are clipped to [1/LARGEST, LARGEST], and their distances from 1 to at least SMALLEST."""


def fit(features: Array, values: Array) -> Array:
    """Return the c >= 0 (shape (k,)) that approximately minimizes sum |log(features c / values)|.

    To predict half of a time is as wrong as to predict twice the time, and an outlier has no more influence than any
    other point. The method is iteratively reweighted non-negative least squares.

    Parameters
    ----------
    features : (n, k) array
        The terms of each time, at least 0.
    values : (n,) array
        The measured times, above 0.
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
    coefficients: Array = solution / sizes
    return coefficients
