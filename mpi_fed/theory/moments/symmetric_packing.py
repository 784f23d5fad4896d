"""Symmetric matrices as vectors of their upper triangle, so that maps between them are plain matrices."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CHUNK = 1 << 21
"""Approximate largest number of elements of a temporary array."""


@lru_cache(maxsize=8)
def triangle(size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows and columns of the entries of a packed (size, size) matrix: the upper triangle, row by row."""
    return np.triu_indices(size)


def inner_triangle(size: int) -> NDArray[np.intp]:
    """Return the positions of the leading (size-1, size-1) block in the packed vector."""
    return np.flatnonzero(triangle(size)[1] < size - 1)


@lru_cache(maxsize=8)
def _positions(size: int) -> NDArray[np.intp]:
    """Return the position of each entry (j, k) in the packed vector, of shape (size, size)."""
    rows, columns = triangle(size)
    positions = np.empty((size, size), dtype=np.intp)
    positions[rows, columns] = positions[columns, rows] = np.arange(len(rows))
    return positions


def packed_size(size: int) -> int:
    """Return size (size + 1) / 2."""
    return size * (size + 1) // 2


def pack(matrices: Array) -> Array:
    """Return the upper triangles (..., size (size+1)/2) of symmetric matrices (..., size, size)."""
    rows, columns = triangle(matrices.shape[-1])
    return matrices[..., rows, columns]


def unpack(vectors: Array, size: int) -> Array:
    """Return the symmetric matrices (..., size, size) of packed vectors (..., size (size+1)/2)."""
    return vectors[..., _positions(size)]


@lru_cache(maxsize=8)
def multiplicity(size: int) -> Array:
    """Return 1 for entries on the diagonal and 2 for others: Tr(A B) = sum(multiplicity * pack(A) * pack(B))."""
    rows, columns = triangle(size)
    return np.where(rows == columns, 1.0, 2.0)


def packed_products(rows: Array) -> Array:
    """Return z z^T, packed, of shape (n, size (size+1)/2), for each row z of `rows` (n, size)."""
    first, second = triangle(rows.shape[1])
    return rows[:, first] * rows[:, second]
