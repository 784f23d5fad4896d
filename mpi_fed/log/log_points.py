"""Log points: the rounds after which the log holds results."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def log_rounds(rounds: int, points_per_decade: int) -> NDArray[np.int64]:
    """Return the log points: 0, the integers nearest to 10^(i / points_per_decade), and K = `rounds`."""
    decades = np.arange(0, int(np.ceil(np.log10(max(rounds, 1)) * points_per_decade)) + 1) / points_per_decade
    points = np.rint(10.0**decades).astype(np.int64)
    return np.unique(np.concatenate([[0], points[points < rounds], [rounds]]))
