"""Statistics of the draws of C(x) at one x, on the root."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..engine.compilation import kernel
from .cases import FULL
from .channel import Batch

Array = NDArray[np.float64]
BLOCKS = 64
"""Number of blocks into which x is cut at dimensions above FULL."""


@kernel
def summarize(
    decoded: Array,
    x: Array,
    starts: NDArray[np.int64],
    energy: Array,
    along: Array,
    clients: Array,
    rounds: Array,
) -> float:
    """Compute statistics of y = C(x) - x for the rows C(x) of `decoded` (shape (n, d)), and return the largest |y_j|.

    energy (shape (n,)) <- ||y||^2.
    along (shape (n, blocks)) <- <y, x_B> for the blocks B of x that begin at `starts`.
    clients (shape (n/2,)) <- <y, y'> for the two clients of a round.
    rounds (shape (n/2,)) <- <y, y'> for two rounds of a client.
    Four messages are handled at a time: two rounds of two clients.
    """
    jump = np.float64(0.0)
    for m in range(0, len(decoded), 4):
        a, b, c, e = decoded[m], decoded[m + 1], decoded[m + 2], decoded[m + 3]
        aa = bb = cc = ee = ab = ce = ac = be = np.float64(0.0)
        for block in range(len(starts)):
            ax = bx = cx = ex = np.float64(0.0)
            for j in range(starts[block], starts[block + 1] if block + 1 < len(starts) else len(x)):
                ya, yb, yc, ye = a[j] - x[j], b[j] - x[j], c[j] - x[j], e[j] - x[j]
                jump = max(jump, max(max(abs(ya), abs(yb)), max(abs(yc), abs(ye))))  # noqa: PLW3301 (fast in compiled code)
                ax, bx, cx, ex = ax + ya * x[j], bx + yb * x[j], cx + yc * x[j], ex + ye * x[j]
                aa, bb, cc, ee = aa + ya * ya, bb + yb * yb, cc + yc * yc, ee + ye * ye
                ab, ce, ac, be = ab + ya * yb, ce + yc * ye, ac + ya * yc, be + yb * ye
            along[m, block], along[m + 1, block], along[m + 2, block], along[m + 3, block] = ax, bx, cx, ex
        energy[m], energy[m + 1], energy[m + 2], energy[m + 3] = aa, bb, cc, ee
        clients[m // 2], clients[m // 2 + 1], rounds[m // 2], rounds[m // 2 + 1] = ab, ce, ac, be
    return jump


class Draws:
    """Sums over draws of y = C(x) - x, and a few statistics of each draw. For an absent client C(x) = 0."""

    def __init__(self, x: Array) -> None:
        d = len(x)
        self.x, self.count = x, 0
        self.starts = np.unique(np.linspace(0, d, (BLOCKS if d > FULL else 1) + 1)[:-1].astype(np.int64))
        self.norms = np.add.reduceat(x * x, self.starts)
        self.full = d <= FULL
        self.sum, self.sum_magnitude = np.zeros(d), np.zeros(d)  # sums of y and of |C(x)|
        self.low, self.high = np.zeros(d), np.zeros(d)  # smallest and largest y_j, or 0
        self.products, self.squares = np.zeros((d, d) if self.full else 0), np.zeros((d, d) if self.full else 0)
        self.jump = 0.0  # the largest |y_j| of all draws
        self._rows: dict[str, list[Array]] = {}

    def add(self, batch: Batch) -> None:
        """Add the messages of an even number of rounds."""
        n = len(batch.decoded)
        energy, along = np.empty(n), np.empty((n, len(self.norms)))
        clients, rounds = np.empty(n // 2), np.empty(n // 2)
        self.count += n
        self.jump = max(self.jump, summarize(batch.decoded, self.x, self.starts, energy, along, clients, rounds))
        each = {"energy": energy, "along": along / self.norms, "clients": clients, "rounds": rounds}
        each |= {"bytes": np.abs(batch.sizes), "bits": np.where(batch.present, batch.bits, 0)}
        for name, numbers in each.items():
            self._rows.setdefault(name, []).append(numbers)
        if self.full:
            y = batch.decoded - self.x
            self.sum += y.sum(axis=0)
            self.sum_magnitude += np.abs(batch.decoded).sum(axis=0)
            self.low, self.high = np.minimum(self.low, y.min(axis=0)), np.maximum(self.high, y.max(axis=0))
            self.products += y.T @ y
            square = y * y
            self.squares += square.T @ square

    def of(self, name: str) -> Array:
        """Return a statistic of all draws, by name.

        `energy` (shape (draws,)): ||y||^2.
        `along` (shape (draws, blocks)): <y, x_B>/||x_B||^2.
        `bytes` and `bits` (shape (draws,)): the length of the message.
        `clients` and `rounds` (shape (draws/2,)): <y, y'> for the two clients of a round, or two rounds of a client.
        """
        return np.concatenate(self._rows[name]).astype(np.float64)
