"""Sums in eight explicit lanes: vector code with a fixed order of addition, which does not depend on the compiler."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compilation import kernel

Array = NDArray[np.float64]


@kernel
def dot(a: Array, b: Array) -> np.float64:
    """<a, b> for vectors of shape (d,)."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = np.float64(0.0)
    n = len(a) // 8 * 8
    for j in range(0, n, 8):
        s0 += a[j] * b[j]
        s1 += a[j + 1] * b[j + 1]
        s2 += a[j + 2] * b[j + 2]
        s3 += a[j + 3] * b[j + 3]
        s4 += a[j + 4] * b[j + 4]
        s5 += a[j + 5] * b[j + 5]
        s6 += a[j + 6] * b[j + 6]
        s7 += a[j + 7] * b[j + 7]
    for j in range(n, len(a)):
        s0 += a[j] * b[j]
    return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))


@kernel
def residual(x: Array, w: Array, center: Array) -> np.float64:
    """<x, w - center> for vectors of shape (d,)."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = np.float64(0.0)
    n = len(x) // 8 * 8
    for j in range(0, n, 8):
        s0 += x[j] * (w[j] - center[j])
        s1 += x[j + 1] * (w[j + 1] - center[j + 1])
        s2 += x[j + 2] * (w[j + 2] - center[j + 2])
        s3 += x[j + 3] * (w[j + 3] - center[j + 3])
        s4 += x[j + 4] * (w[j + 4] - center[j + 4])
        s5 += x[j + 5] * (w[j + 5] - center[j + 5])
        s6 += x[j + 6] * (w[j + 6] - center[j + 6])
        s7 += x[j + 7] * (w[j + 7] - center[j + 7])
    for j in range(n, len(x)):
        s0 += x[j] * (w[j] - center[j])
    return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))


@kernel
def norm(x: Array) -> np.float64:
    """||x|| for a vector of shape (d,), without overflow or underflow."""
    square = dot(x, x)
    if 1e-280 < square < 1e300:
        return np.float64(np.sqrt(square))
    largest = np.float64(0.0)
    for j in range(len(x)):
        largest = max(largest, np.abs(x[j]))
    if largest == 0.0 or not largest < np.inf:
        return largest
    total = np.float64(0.0)
    for j in range(len(x)):
        total += (x[j] / largest) * (x[j] / largest)
    return largest * np.float64(np.sqrt(total))
