"""The root's statistics of the draws of C(x) at one x."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .cases import FULL
from .channel import CLIENTS, Batch

Array = NDArray[np.float64]
BLOCKS = 64


class Draws:
    """Sums over draws of y = C(x) - x, and a few numbers of each draw. Of a client that is absent, C(x) = 0."""

    def __init__(self, x: Array) -> None:
        d = len(x)
        self.x, self.count = x, 0
        self.starts = np.unique(np.linspace(0, d, (BLOCKS if d > FULL else 1) + 1)[:-1].astype(np.int64))
        self.norms = np.add.reduceat(x * x, self.starts)
        self.full = d <= FULL
        self.sum, self.sum_magnitude = np.zeros(d), np.zeros(d)  # of y and of |C(x)|
        self.low, self.high = np.zeros(d), np.zeros(d)  # of y
        self.products, self.squares = np.zeros((d, d) if self.full else 0), np.zeros((d, d) if self.full else 0)
        self.largest = 0.0  # |C(x)_j| of all
        self.jump = 0.0  # |y_j| of all
        self._rows: dict[str, list[Array]] = {}

    def add(self, batch: Batch) -> None:
        """Take in the messages of an even number of rounds."""
        y = batch.decoded - self.x
        self.count += len(y)
        self.largest = max(self.largest, float(np.abs(batch.decoded).max()))
        self.jump = max(self.jump, float(np.abs(y).max()))
        self._hold("energy", np.einsum("ij,ij->i", y, y))
        self._hold("along", np.add.reduceat(y * self.x, self.starts, axis=1) / self.norms)
        rounds = y.reshape(-1, CLIENTS, y.shape[1])
        self._hold("clients", np.einsum("ij,ij->i", rounds[:, 0], rounds[:, 1]))
        self._hold("rounds", np.einsum("kij,kij->ki", rounds[::2], rounds[1::2]).ravel())
        self._hold("bytes", np.abs(batch.sizes))
        self._hold("bits", np.where(batch.present, batch.bits, 0))
        if self.full:
            self.sum += y.sum(axis=0)
            self.sum_magnitude += np.abs(batch.decoded).sum(axis=0)
            self.low, self.high = np.minimum(self.low, y.min(axis=0)), np.maximum(self.high, y.max(axis=0))
            self.products += y.T @ y
            square = y * y
            self.squares += square.T @ square

    def _hold(self, name: str, numbers: Array) -> None:
        self._rows.setdefault(name, []).append(numbers)

    def of(self, name: str) -> Array:
        """A statistic of each draw: `energy` ||y||^2, `along` <y, x_B>/||x_B||^2, `bytes`, `bits`; or of each pair of
        draws: `clients` in one round, one client's in two `rounds`, <y, y'>."""
        return np.concatenate(self._rows[name]).astype(np.float64)
