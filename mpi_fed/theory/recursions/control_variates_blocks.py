"""Blocks of clients with control variates: the moments of their memories, and their positions in a core."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..moments.covariance_from_input import CovarianceFromInput
from ..moments.empirical_clients import EmpiricalClients
from ..moments.gaussian_clients import GaussianClients
from ..moments.gradient_moments import ClientGroup
from ..moments.matrix_products import multiply_left, multiply_right
from ..moments.symmetric_packing import Array, pack, packed_size, unpack


class BlockMoments(NamedTuple):
    """Moments of the memories h of a block, as means over the clients of the block."""

    error_memory: Array
    """E[u h^T], of shape (n, d+1, d), where u = (eta, 1)."""
    shift_memory: Array
    """The mean of Delta E[h]^T, of shape (n, d, d); empty, of shape (n, 0, d), if the block does not need it."""
    memory: Array
    """E[h h^T], of shape (n, d, d)."""


class Block(ABC):
    """A block: clients of whose memories the recursion needs only the mean moments."""

    crossed = False
    """True if the mean of Delta_i E[h_i]^T is an additional moment of the block."""

    def __init__(self, group: ClientGroup, batch: int | None, compression: CovarianceFromInput) -> None:
        self.group, self.batch, self.compression, self.weight = group, batch, compression, group.weight

    def gradient_moments(self, second: Array) -> tuple[Array, Array]:
        """Return E[m m^T], where m = E[g | eta], and E Cov(g | eta), of shape (n, d, d) each."""
        mean = self.group.mean_moment(second)
        return mean, self.group.sampling_covariance(second, mean) / self.batch if self.batch else np.zeros_like(mean)

    @abstractmethod
    def error_gradient(self, second: Array) -> Array:
        """Return E[u m^T], of shape (n, d+1, d)."""

    @abstractmethod
    def gradient_memory(self, moments: BlockMoments) -> Array:
        """Return E[m h^T], of shape (n, d, d)."""

    def shift_gradient(self, second: Array) -> Array:
        """Return the mean of Delta_i E[m_i]^T, of shape (n, d, d)."""
        raise NotImplementedError


class GaussianBlock(Block):
    """Gaussian clients with the same covariance."""

    def __init__(self, group: GaussianClients, batch: int | None, compression: CovarianceFromInput) -> None:
        super().__init__(group, batch, compression)
        self.noise_variance = group.noise_variance
        self.h, self.shift, self.spread = group.matrix, group.shift, group.spread
        self.crossed = len(group.weights) > 1 and group.shifted

    def error_gradient(self, second: Array) -> Array:
        return multiply_right(second[:, :, :-1] + second[:, :, -1:] * self.shift, self.h)

    def gradient_memory(self, moments: BlockMoments) -> Array:
        cross = moments.error_memory
        shifts = moments.shift_memory if self.crossed else self.shift[:, None] * cross[:, -1:]
        return multiply_left(self.h, cross[:, :-1] + shifts)

    def shift_gradient(self, second: Array) -> Array:
        outer = self.shift[:, None] * second[:, -1:, :-1] + second[:, -1:, -1:] * self.spread
        return multiply_right(outer, self.h)


class EmpiricalBlock(Block):
    """One client whose rows are drawn with replacement."""

    def __init__(self, group: EmpiricalClients, batch: int | None, compression: CovarianceFromInput) -> None:
        super().__init__(group, batch, compression)
        self.gradient = group.gradients[0]

    def error_gradient(self, second: Array) -> Array:
        cross: Array = second @ self.gradient.T
        return cross

    def gradient_memory(self, moments: BlockMoments) -> Array:
        cross: Array = self.gradient @ moments.error_memory
        return cross


class CoreLayout:
    """The layout of a core. U, packed, is at its end.

    Before U there are, for each block, E[u h^T], the mean of Delta E[h]^T if the block needs it, and E[h h^T].
    """

    def __init__(self, dimension: int, blocks: Sequence[Block]) -> None:
        d = self.dimension = dimension
        sizes = [(d * (d + 1), d * d * block.crossed, packed_size(d)) for block in blocks]
        self.starts = np.cumsum([0, *(size for part in sizes for size in part)])
        self.size = sum(map(sum, sizes)) + packed_size(d + 1)

    def error(self, core: Array) -> Array:
        """Return U, of shape (n, d+1, d+1)."""
        return unpack(core[:, self.starts[-1] :], self.dimension + 1)

    def blocks(self, core: Array) -> list[BlockMoments]:
        """Return the moments of each block's memories."""
        n, d = len(core), self.dimension
        parts = [core[:, a:b] for a, b in zip(self.starts[:-1], self.starts[1:], strict=True)]
        triples = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
        return [BlockMoments(y.reshape(n, d + 1, d), z.reshape(n, -1, d), unpack(m, d)) for y, z, m in triples]

    def packed(self, second: Array, blocks: Sequence[BlockMoments]) -> Array:
        """Return the cores (n, size) of U = `second` of shape (n, d+1, d+1) and these moments."""
        n = len(second)
        parts = [part for y, z, m in blocks for part in (y.reshape(n, -1), z.reshape(n, -1), pack(m))]
        return np.concatenate([*parts, pack(second)], axis=1)
