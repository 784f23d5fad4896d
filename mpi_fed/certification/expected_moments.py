"""Expected moments of C(x) at one fixed x, in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..compressors import Compressor
from .cases import FULL

Array = NDArray[np.float64]


class ExpectedMoments:
    """Closed forms at x (shape (d,)), for a compressor that is resolved for this dimension.

    `covariance` has shape (d, d), and is None above 64 dimensions; `variances` has shape (d,). Both are None if there
    is no closed form.
    """

    covariance: Array | None = None
    variances: Array | None = None

    def __init__(self, compressor: Compressor, x: Array) -> None:
        self.x = x
        self._coefficients = None if compressor.uncorrelated else compressor.moment_coefficients(len(x))
        try:
            if len(x) <= FULL:
                self.covariance = compressor.covariance(x)
                self.variances = np.diag(self.covariance).copy()
            elif compressor.uncorrelated:
                self.variances = compressor.variances(x)
            elif self._coefficients is not None:
                a, b, c = self._coefficients
                self.variances = (a - 1 + b) * x * x + c * (x @ x)
        except NotImplementedError:
            pass

    @property
    def trace(self) -> float | None:
        """E||C(x) - x||^2, or None without a closed form."""
        return None if self.variances is None else float(self.variances.sum())

    def variance_along(self, starts: NDArray[np.int64]) -> Array | None:
        """Return Var <C(x), x_B> (shape (blocks,)) for the blocks B of x that begin at `starts`; None if not known."""
        if self.variances is None:
            return None
        if self.covariance is not None:
            parts = np.add.reduceat(self.covariance * np.outer(self.x, self.x), starts, axis=0)
            blocks: Array = np.maximum(np.diag(np.add.reduceat(parts, starts, axis=1)), 0.0)
            return blocks
        squares = self.x * self.x
        if self._coefficients is None:
            return np.add.reduceat(self.variances * squares, starts)
        a, b, c = self._coefficients
        norms = np.add.reduceat(squares, starts)
        spread = (a - 1) * norms**2 + b * np.add.reduceat(squares**2, starts) + c * squares.sum() * norms
        along: Array = np.maximum(spread, 0.0)
        return along
