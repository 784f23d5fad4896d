"""E[||x_b|| |x_j|] and E[||x_b|| |x_j| x x^T] for Gaussian x, as 1-D integrals, for 1-quantization with buckets.

x_b are the coordinates of the bucket that contains j, and ||x_b|| is their norm. Every r >= 0 is the integral
    r = pi^(-1/2) int_0^inf (1 - exp(-tau^2 r^2)) / tau^2 dtau.
So both expectations are pi^(-1/2) int (J_j(0) - J_j(tau)) / tau^2 dtau. Here J_j(tau) is the expectation of |x_j|
exp(-tau^2 ||x_b||^2), or of |x_j| exp(-tau^2 ||x_b||^2) x x^T. The factor exp(-tau^2 ||x_b||^2) turns the measure
N(0, H) into det(I + 2 tau^2 H_bb)^(-1/2) N(0, S) with S = H_tau = (H^-1 + 2 tau^2 P_b)^-1, where P_b keeps the
coordinates of the bucket. Under N(0, S)
    E|x_j| = sqrt(2/pi) sqrt(S_jj),   E[|x_j| x x^T] = sqrt(2/pi) sqrt(S_jj) (S + S_j S_j^T / S_jj).
With tau = sinh(v) / sqrt(2 lambda_max) the integrand is analytic in the strip |Im v| < pi/2. So the trapezoidal rule
with spacing h errs by about exp(-pi^2 / h), which is 5e-15 at h = 0.3.
"""

from __future__ import annotations

import numpy as np

from .symmetric_packing import Array, pack, packed_size

_STEP = 0.3
_NODES = _STEP * (np.arange(126) + 0.5)  # the midpoint rule leaves out v = 0, where the integrand is 0/0


def _quadrature(largest: float) -> tuple[Array, Array]:
    """Return nodes tau and weights for pi^(-1/2) int f(tau) / tau^2 dtau.

    `largest` is the largest eigenvalue of the bucket's covariance.
    """
    scale = 1 / np.sqrt(2 * largest)
    tau = scale * np.sinh(_NODES)
    return tau, _STEP * scale * np.cosh(_NODES) / tau**2 / np.sqrt(np.pi)


def buckets(dimension: int, bucket: int | None) -> list[slice]:
    """Return the buckets, slices of consecutive coordinates that share a norm."""
    width = bucket or dimension
    return [slice(start, min(start + width, dimension)) for start in range(0, dimension, width)]


def mean_norm_products(covariance: Array, bucket: int | None = None) -> Array:
    """Return q_j = E[||x_b|| |x_j|], of shape (d,), for x ~ N(0, covariance) (d, d)."""
    parts = []
    for b in buckets(len(covariance), bucket):
        block = covariance[b, b]
        eigenvalues, basis = np.linalg.eigh(block)
        eigenvalues = np.maximum(eigenvalues, 0.0)
        if eigenvalues[-1] == 0:
            parts.append(np.zeros(len(block)))
            continue
        tau, weight = _quadrature(eigenvalues[-1])
        shrink = 1 / (1 + 2 * np.outer(tau**2, eigenvalues))
        g = np.sqrt(shrink.prod(axis=1))[:, None] * np.sqrt((shrink * eigenvalues) @ basis.T**2)
        parts.append(np.sqrt(2 / np.pi) * weight @ (np.sqrt(np.diag(block)) - g))
    return np.concatenate(parts)


def norm_product_tensor(covariance: Array, bucket: int | None = None) -> Array:
    """Return G_j = E[||x_b|| |x_j| x x^T], packed, of shape (d, d (d+1)/2), for x ~ N(0, covariance) (d, d)."""
    d = len(covariance)
    tensor = np.zeros((d, packed_size(d)))
    for b in buckets(d, bucket):
        if np.diag(covariance)[b].any():
            tensor[b] = _bucket_tensor(covariance, b)
    return tensor


def _bucket_tensor(covariance: Array, b: slice) -> Array:
    eigenvalues, basis = np.linalg.eigh(covariance[b, b])
    eigenvalues = np.maximum(eigenvalues, 0.0)
    tau, weight = _quadrature(eigenvalues[-1])
    shrink = 1 / (1 + 2 * np.outer(tau**2, eigenvalues))  # (nodes, bucket)
    root = np.sqrt(shrink.prod(axis=1))
    loading = covariance[:, b] @ basis  # S = H - 2 tau^2 loading shrink loading^T, S_:b = loading shrink basis^T
    deviation = np.sqrt((shrink * eigenvalues) @ basis.T**2)  # sqrt(S_jj), (nodes, bucket)
    start = np.sqrt(np.diag(covariance)[b])
    removed = pack((loading * (2 * tau[:, None] ** 2 * shrink)[:, None, :]) @ loading.T)
    factor = weight[:, None] * root[:, None] * deviation
    tensor = np.outer(weight.sum() * start - factor.sum(axis=0), pack(covariance)) + factor.T @ removed
    for k in np.flatnonzero(start):  # S_j S_j^T / sqrt(S_jj)
        column = covariance[:, b][:, k]
        columns = (shrink * basis[k]) @ loading.T  # S_j at each node, (nodes, d)
        inside = columns.T @ ((weight * root / deviation[:, k])[:, None] * columns)
        tensor[k] += pack(np.outer(column, column) * (weight.sum() / start[k]) - inside)
    scaled: Array = np.sqrt(2 / np.pi) * tensor
    return scaled


def norm_product_diagonals(eigenvalues: Array, bucket: int | None = None) -> Array:
    """Return E[||x_b|| |x_j| x_a^2], of shape (d, d) with rows j and columns a.

    The x_a ~ N(0, eigenvalues_a) are independent, and all eigenvalues are positive.
    """
    d = len(eigenvalues)
    result = np.empty((d, d))
    for b in buckets(d, bucket):
        inside = eigenvalues[b]
        tau, weight = _quadrature(inside.max())
        shrink = np.ones((len(tau), d))
        shrink[:, b] = 1 / (1 + 2 * np.outer(tau**2, inside))
        root = np.sqrt(shrink.prod(axis=1))
        deviation = root[:, None] * np.sqrt(shrink[:, b] * inside)
        at_zero = np.sqrt(inside)
        difference = weight.sum() * np.outer(at_zero, eigenvalues)
        difference -= (weight[:, None] * deviation).T @ (shrink * eigenvalues)
        diagonal = weight @ (at_zero**3 - deviation * shrink[:, b] * inside)
        difference[np.arange(len(inside)), np.arange(b.start, b.stop)] += diagonal
        result[b] = np.sqrt(2 / np.pi) * difference
    return result
