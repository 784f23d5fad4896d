"""The limit law of 2K times the excess risk: a weighted sum of independent chi squares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DRAWS = 200_000
"""Number of draws of the law to compare a sample with: at least 100 times the number of repetitions."""


def draw_limit_law(weights: Sequence[float], count: int = DRAWS, seed: int = 0) -> Floats:
    """Draw from the limit law, sum_j weights_j chi^2_1 with independent chi squares.

    Parameters
    ----------
    weights : sequence of float, shape (d)
        Weights of the chi squares.
    count : int, default 200000
        Number of draws.
    seed : int, default 0
        Seed of the generator.

    Returns
    -------
    array of float, shape (count)
        The draws.

    Examples
    --------
    >>> from mpi_fed.analysis.limit_law import draw_limit_law
    >>> float(draw_limit_law([3.0, 1.0]).mean().round(1))
    4.0
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    total = np.zeros(count)
    for weight in weights:
        total += weight * generator.standard_normal(count) ** 2
    return total


def compare_with_limit_law(scaled: Floats, weights: Sequence[float]) -> tuple[float, float]:
    """Test a sample against the limit law by the two-sample Kolmogorov-Smirnov test.

    Parameters
    ----------
    scaled : array of float, shape (R)
        2K times the excess risks of R repetitions.
    weights : sequence of float, shape (d)
        Weights of the limit law's chi squares.

    Returns
    -------
    distance : float
        Kolmogorov-Smirnov distance.
    p_value : float
        Its p-value. Under the limit law it is uniform, so p < 1e-4 happens once in 10,000 times.

    Notes
    -----
    At finite K the distribution is only close to the limit law, so the test finds a difference if R is large enough.
    """
    from scipy import stats

    test = stats.ks_2samp(scaled, draw_limit_law(weights), method="asymp")
    return float(test.statistic), float(test.pvalue)
