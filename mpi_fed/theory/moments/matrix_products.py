"""Products of a matrix with stacks of matrices."""

from __future__ import annotations

from .symmetric_packing import Array


def multiply_left(h: Array, matrices: Array) -> Array:
    """Return H @ matrices for H (d, d) or its diagonal (d,)."""
    return h[:, None] * matrices if h.ndim == 1 else h @ matrices


def multiply_right(matrices: Array, h: Array) -> Array:
    """Return matrices @ H for H (d, d) or its diagonal (d,)."""
    return matrices * h if h.ndim == 1 else matrices @ h


def transposed(matrices: Array) -> Array:
    """Return the transposes of matrices (n, d, d)."""
    return matrices.transpose(0, 2, 1)


def sandwich(a: Array, stack: Array) -> Array:
    """Return a S a^T for each symmetric S of a stack (n, k, k), with a (d, k)."""
    n, k = stack.shape[:2]
    half = (stack.reshape(n * k, k) @ a.T).reshape(n, k, len(a))  # one large product
    return (half.transpose(0, 2, 1).reshape(n * len(a), k) @ a.T).reshape(n, len(a), len(a))
