"""Gaussian sketching."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from pydantic import Field

from ..engine.compilation import kernel
from ..engine.operations.compressor import Bytes, Message
from ..engine.ordered_sums import dot
from ..engine.random_streams import SHARED, mask_stream, normals, padded
from ..engine.wire_floats import CHUNK, pack, unpack
from .base import UNSET, Array, Compressor, Mask, compressors, kept_coordinates


class SketchKernel(NamedTuple):
    """Parameters and scratch space of Gaussian sketching in compiled code."""

    value_bits: int
    common: bool  # true if all clients draw the same subspace
    phi: Array  # (h d, rounded up to whole groups of normals): the rows of Phi, one after the other
    gram: Array  # (h, h)
    values: Array  # (h,)
    dither: Array  # (CHUNK,): scratch space


@kernel
def solve(gram: Array, y: Array) -> None:
    """y <- gram^-1 y by Cholesky; gram has shape (h, h) and is symmetric positive definite, and y has shape (h,).

    Only the lower half of gram is read. Both arrays are overwritten.
    """
    h = len(y)
    for i in range(h):
        for j in range(i + 1):
            s = gram[i, j]
            for k in range(j):
                s -= gram[i, k] * gram[j, k]
            gram[i, j] = np.sqrt(s) if i == j else s / gram[j, j]
    for i in range(h):
        for k in range(i):
            y[i] -= gram[i, k] * y[k]
        y[i] /= gram[i, i]
    for i in range(h - 1, -1, -1):
        for k in range(i + 1, h):
            y[i] -= gram[k, i] * y[k]
        y[i] /= gram[i, i]


@compressors.register
class Sketch(Compressor):
    """Gaussian sketching: the projection onto a uniformly random h-dimensional subspace, scaled by d/h.

    Parameters
    ----------
    h : int
        Dimension of the subspace, at most d. Give `h` or `omega`.
    omega : float
        Variance bound that sets `h = max(1, floor(d/(1 + omega)))`. The log holds the bound that h attains.
    mask : {"own", "common"}, default: "own"
        Whether each client draws its own subspace (the default), or all clients draw the same in a round. With
        "common" messages add up (routes `reduce` and `allreduce`), but their errors do not average out.
    value_bits : {16, 32, 64}, default: 32
        Bits F of a float in the payload.

    Notes
    -----
    Formula: `C(x) = (d/h) Phi^+ Phi x` with Phi an (h, d) matrix of independent N(0, 1) entries. `Phi^+ Phi` is the
    projector onto a uniformly random subspace. Unbiased and linear.

    Variance bound: `omega = d/h - 1`, attained at every x.

    Second moment: `E[C(g) C(g)^T] = (d/h)^2 [(a - b) M + b Tr(M) I]` for `M = E[g g^T]`, `a = h (h+2) / (d (d+2))`,
    `b = h (d-h) / (d (d-1) (d+2))`.

    Payload: the h numbers `Phi x` as floats, `F h` bits. The root draws the same Phi and solves a linear system with
    the matrix `Phi Phi^T`. For h = d the projector is the identity, and x itself is sent, since a square Phi is so
    badly conditioned that rounding errors would grow.

    Examples
    --------
    >>> from mpi_fed.compressors import compressors
    >>> compressor = compressors["sketch"](h=5).resolve(20)
    >>> compressor.omega_bound(20), compressor.payload_bits(20)
    (3.0, 160.0)
    """

    kind = "sketch"
    linear = True
    Kernel = SketchKernel
    examples = ({"h": 1}, {"h": 8})

    h: int = Field(default=UNSET, ge=1)
    omega: float = Field(default=UNSET, ge=0)
    mask: Mask = None  # None stands for "own"

    def resolve(self, dimension: int, clients: int = 1) -> Sketch:
        return kept_coordinates(self, dimension)

    def omega_bound(self, dimension: int) -> float:
        return dimension / self.h - 1

    def moment_coefficients(self, dimension: int) -> tuple[float, float, float]:
        d, h = dimension, self.h
        if d == 1:
            return 1.0, 0.0, 0.0
        a = h * (h + 2) / (d * (d + 2))
        b = h * (d - h) / (d * (d - 1) * (d + 2))
        return (d / h) ** 2 * (a - b), 0.0, (d / h) ** 2 * b

    def sampled(self, x: Array, rng: np.random.Generator) -> Array:
        """Return one draw of C(x) = (d/h) P x for each row x of an array of shape (n, d).

        P x = q x + sqrt(q (1-q)) ||x|| u with q ~ Beta(h/2, (d-h)/2) and u uniform on the unit vectors orthogonal to x.
        """
        n, d = x.shape
        if self.h == d:
            return x
        q, u = rng.beta(self.h / 2, (d - self.h) / 2, (n, 1)), rng.standard_normal(x.shape)
        squares = (x * x).sum(axis=1, keepdims=True)
        u -= (u * x).sum(axis=1, keepdims=True) / np.where(squares > 0, squares, 1.0) * x
        u /= np.linalg.norm(u, axis=1, keepdims=True)
        draws: Array = d / self.h * (q * x + np.sqrt(q * (1 - q) * squares) * u)
        return draws

    def payload_bits(self, dimension: int) -> float:
        return float(self.value_bits * self.h)

    def payload_bytes_max(self, dimension: int) -> int:
        return self.value_bits // 8 * self.h

    def scratch_bytes(self, dimension: int) -> int:
        return super().scratch_bytes(dimension) + 8 * self.h * (dimension + self.h)

    def kernel(self, dimension: int) -> SketchKernel:
        h = self.h
        phi = np.empty(padded(h * dimension))
        return SketchKernel(self.value_bits, self.common, phi, np.empty((h, h)), np.empty(h), np.empty(CHUNK))

    @staticmethod
    def encode(kernel: SketchKernel, x: Array, payload: Bytes, message: Message) -> int:
        """Pack Phi x (shape (h,)), or x itself (shape (d,)) if h = d."""
        phi, y, d = kernel.phi, kernel.values, len(x)
        if len(y) == d:
            return pack(x, kernel.value_bits, payload, message.stream, kernel.dither)
        normals(mask_stream(message.stream, kernel.common), SHARED, np.uint64(0), len(y) * d, phi)
        for i in range(len(y)):
            y[i] = dot(phi[i * d : (i + 1) * d], x)
        return pack(y, kernel.value_bits, payload, message.stream, kernel.dither)

    @staticmethod
    def decode(kernel: SketchKernel, payload: Bytes, weight: float, out: Array, message: Message) -> None:
        """out += weight (d/h) Phi^T (Phi Phi^T)^-1 (Phi x); out has shape (d,)."""
        phi, gram, y, d = kernel.phi, kernel.gram, kernel.values, len(out)
        unpack(payload, kernel.value_bits, y)
        if len(y) == d:
            for j in range(d):
                out[j] += weight * y[j]
            return
        normals(mask_stream(message.stream, kernel.common), SHARED, np.uint64(0), len(y) * d, phi)
        for i in range(len(y)):
            row = phi[i * d : (i + 1) * d]
            for j in range(i + 1):
                gram[i, j] = dot(row, phi[j * d : (j + 1) * d])
        solve(gram, y)
        scale = weight * (np.float64(d) / np.float64(len(y)))
        for i in range(len(y)):
            factor, row = scale * y[i], phi[i * d : (i + 1) * d]
            for j in range(d):
                out[j] += factor * row[j]
