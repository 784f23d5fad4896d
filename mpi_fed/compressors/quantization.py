"""Quantization to s levels of the 2-norm."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..engine.compilation import kernel
from ..engine.operations.compressor import Bytes, Message
from ..engine.ordered_sums import norm
from ..engine.random_streams import PRIVATE, dithers
from ..engine.wire_floats import CHUNK, pack, unpack
from .base import UNSET, Array, Compressor, compressors, one_of

_LIFT = 2.0**500  # factor for vectors of tiny norm


class QuantizationKernel(NamedTuple):
    """Parameters and scratch space of quantization in compiled code."""

    levels: int
    bucket: int  # coordinates of a bucket
    planes: int  # bit planes of a message
    value_bits: int
    norms: Array  # (buckets,)
    dither: Array  # (CHUNK,): scratch space
    level: NDArray[np.int32]  # (CHUNK,)
    flags: NDArray[np.uint8]  # (CHUNK,): bytes 0 or 1, eight of which make one byte of a bit plane
    words: NDArray[np.uint64]  # (CHUNK / 8,): the memory of `flags`, eight flags in a word


@kernel
def round_levels(x: Array, length: float, levels: int, uniform: Array, level: NDArray[np.int32]) -> None:
    """level_j <- min(s, floor(s |x_j| / length + u_j)), which rounds up with probability frac(s |x_j| / length)."""
    top = np.float64(levels)
    lift = _LIFT if length < 1e-150 else np.float64(1.0)  # so that s / length stays finite
    scale = top / (length * lift) if length > 0.0 else np.float64(0.0)
    for j in range(len(x)):
        level[j] = np.int32(min(np.abs(x[j]) * lift * scale + uniform[j], top))


@kernel
def pack_flags(words: NDArray[np.uint64], plane: Bytes) -> None:
    """plane <- the flags, eight in each byte, the first in the lowest bit."""
    for q in range(len(plane)):
        plane[q] = np.uint8((words[q] * np.uint64(0x0102040810204080)) >> np.uint64(56))


@kernel
def unpack_flags(plane: Bytes, words: NDArray[np.uint64]) -> None:
    """words <- the flags that `pack_flags` wrote to plane."""
    for q in range(len(plane)):
        spread = (np.uint64(plane[q]) * np.uint64(0x0101010101010101)) & np.uint64(0x8040201008040201)
        words[q] = ((spread + np.uint64(0x7F7F7F7F7F7F7F7F)) >> np.uint64(7)) & np.uint64(0x0101010101010101)


@kernel
def add_levels(level: NDArray[np.int32], unit: float, out: Array) -> None:
    """out += unit level."""
    for j in range(len(out)):
        out[j] += unit * np.float64(level[j])


@compressors.register
class Quantization(Compressor):
    """Quantization: each coordinate is rounded at random to one of s levels of the 2-norm (QSGD).

    Parameters
    ----------
    levels : int, default: 1
        Number of levels s. Give `levels` or `omega`, or neither, which means 1 level.
    bucket : int, default: d
        Number of coordinates b that share a norm, at most d, the default. Each run of b coordinates is quantized by its
        own norm.
    omega : float
        Variance bound that sets s, the smallest number of levels with `min(b/s^2, sqrt(b)/s) <= omega`.
    value_bits : {16, 32, 64}, default: 32
        Bits F of a float in the payload.

    Notes
    -----
    Formula, with `f_j = frac(s |x_j| / ||x||)` and C(0) = 0:

        C(x)_j = ||x|| sgn(x_j) (l_j + b_j) / s,    l_j = floor(s |x_j| / ||x||),    b_j ~ Bernoulli(f_j) independent.

    Unbiased, not linear. With buckets, each bucket is quantized by itself, and x and d stand for a bucket and its
    length b.

    Variance bound: `omega = min(d/s^2, sqrt(d)/s)`. The smallest bound is `sqrt(d)/s - 1` for s = 1 and for
    `s <= sqrt(d)/2`; for other s it is not known.

    Second moment: given x, `E[C(x) C(x)^T] = x x^T + Diag(v)` with `v_j = Var C(x)_j = (||x||/s)^2 f_j (1 - f_j)`.

    Payload: the norm of each bucket as a float, and for each coordinate one bit for the sign and `ceil(log2(s + 1))`
    bits for the level: `F ceil(d/b) + (1 + ceil(log2(s + 1))) d` bits.

    References
    ----------
    D. Alistarh, D. Grubic, J. Li, R. Tomioka and M. Vojnovic, "QSGD: communication-efficient SGD via gradient
    quantization and encoding", NIPS 2017.

    Examples
    --------
    >>> from mpi_fed.compressors import compressors
    >>> compressor = compressors["quantization"](omega=1.0).resolve(100)
    >>> compressor.levels, compressor.payload_bits(100)
    (10, 532.0)
    """

    kind = "quantization"
    Kernel = QuantizationKernel
    uncorrelated = True
    examples = ({"levels": 1}, {"levels": 4}, {"levels": 4, "bucket": 24})

    levels: int = Field(default=UNSET, ge=1, le=32767)
    bucket: int | None = Field(default=UNSET, ge=1)
    omega: float = Field(default=UNSET, gt=0)

    def resolve(self, dimension: int, clients: int = 1) -> Quantization:
        if self.bucket and self.bucket > dimension:
            raise ValueError(f"bucket = {self.bucket} is more than the dimension {dimension}; give 1 to {dimension}")
        if self.omega is None:
            return self.model_copy(update={"levels": self.levels or 1})
        one_of(self, "levels", "omega")
        root = math.sqrt(self.bucket or dimension)
        levels = max(1, math.ceil(min(root / math.sqrt(self.omega), root / self.omega) * (1 - 1e-12)))
        return self.model_copy(update={"levels": levels, "omega": None})

    def omega_bound(self, dimension: int) -> float:
        d, s = self.bucket or dimension, self.levels
        return min(d / s**2, math.sqrt(d) / s)

    def omega_tight(self, dimension: int) -> float | None:
        d, s = self.bucket or dimension, self.levels
        return math.sqrt(d) / s - 1 if s == 1 or s <= math.sqrt(d) / 2 else None

    def variances(self, x: Array) -> Array:
        """Return Var C(x)_j for a fixed x, both of shape (..., d); the coordinates of C(x) are independent."""
        norm = self._norms(x)
        f = np.modf(self.levels * np.abs(x) / np.where(norm > 0, norm, 1.0))[0]
        variances: Array = (norm / self.levels) ** 2 * f * (1 - f)
        return variances

    def sampled(self, x: Array, rng: np.random.Generator) -> Array:
        norm = self._norms(x)
        level: Array = np.floor(self.levels * np.abs(x) / np.where(norm > 0, norm, 1.0) + rng.random(x.shape))
        return np.copysign(norm / self.levels * level, x)

    def _norms(self, x: Array) -> Array:
        """Return for each coordinate of x the norm of its bucket, in an array of the shape of x, (..., d)."""
        d = x.shape[-1]
        starts = np.arange(0, d, self.bucket or d)
        norm: Array = np.sqrt(np.add.reduceat(x * x, starts, axis=-1))
        return np.repeat(norm, np.diff(np.append(starts, d)), axis=-1)

    @property
    def planes(self) -> int:
        """Number of bit planes of a message: one for the signs, and one for each bit of a level in 0..s."""
        return 1 + self.levels.bit_length()

    def payload_bits(self, dimension: int) -> float:
        return float(self.value_bits * math.ceil(dimension / (self.bucket or dimension)) + self.planes * dimension)

    def payload_bytes_max(self, dimension: int) -> int:
        buckets = math.ceil(dimension / (self.bucket or dimension))
        return self.value_bits // 8 * buckets + self.planes * ((dimension + 7) // 8)

    def kernel(self, dimension: int) -> QuantizationKernel:
        bucket, flags = self.bucket or dimension, np.zeros(CHUNK, np.uint8)
        return QuantizationKernel(
            levels=self.levels,
            bucket=bucket,
            planes=self.planes,
            value_bits=self.value_bits,
            norms=np.empty(-(-dimension // bucket)),
            dither=np.empty(CHUNK),
            level=np.zeros(CHUNK, np.int32),
            flags=flags,
            words=flags.view(np.uint64),
        )

    @staticmethod
    def encode(kernel: QuantizationKernel, x: Array, payload: Bytes, message: Message) -> int:
        """Pack the norms of the buckets of x (shape (d,)), a bit plane of the signs, and bit planes of the levels."""
        d, level, flags, words = len(x), kernel.level, kernel.flags, kernel.words
        for q in range(len(kernel.norms)):
            kernel.norms[q] = norm(x[q * kernel.bucket : min(d, (q + 1) * kernel.bucket)])
        size = pack(kernel.norms, kernel.value_bits, payload, message.stream, kernel.dither)
        sign, size = (1, size) if size >= 0 else (-1, -size)
        plane, low, q = (d + 7) // 8, 0, 0
        for start in range(0, d, CHUNK):
            stop = min(start + CHUNK, d)
            part, whole, at = x[start:stop], (stop - start + 7) // 8, size + start // 8
            dithers(message.stream, PRIVATE, np.uint64(start // 4), len(part), kernel.dither)
            while low < stop:
                high = min(stop, (q + 1) * kernel.bucket)
                here = slice(low - start, high - start)
                round_levels(x[low:high], kernel.norms[q], kernel.levels, kernel.dither[here], level[here])
                low, q = high, q + 1 if high == (q + 1) * kernel.bucket else q
            for j in range(len(part), 8 * whole):
                level[j], flags[j] = 0, 0
            for j in range(len(part)):
                flags[j] = np.uint8(part[j] < 0.0)
            pack_flags(words, payload[at : at + whole])
            for b in range(kernel.planes - 1):
                at += plane
                for j in range(8 * whole):
                    flags[j] = np.uint8((level[j] >> np.int32(b)) & np.int32(1))
                pack_flags(words, payload[at : at + whole])
        return sign * (size + kernel.planes * plane)

    @staticmethod
    def decode(kernel: QuantizationKernel, payload: Bytes, weight: float, out: Array, message: Message) -> None:
        """out_j += weight ||x|| level_j / s, where x is the bucket of coordinate j; out has shape (d,)."""
        d, level, flags, words = len(out), kernel.level, kernel.flags, kernel.words
        unpack(payload, kernel.value_bits, kernel.norms)
        size = kernel.value_bits // 8 * len(kernel.norms)
        plane, low, q = (d + 7) // 8, 0, 0
        for start in range(0, d, CHUNK):
            stop = min(start + CHUNK, d)
            whole, at = (stop - start + 7) // 8, size + start // 8
            for b in range(kernel.planes - 1):
                unpack_flags(payload[at + (b + 1) * plane : at + (b + 1) * plane + whole], words)
                for j in range(8 * whole):
                    before = level[j] if b > 0 else np.int32(0)
                    level[j] = before | (np.int32(flags[j]) << np.int32(b))
            unpack_flags(payload[at : at + whole], words)
            for j in range(8 * whole):
                level[j] = -level[j] if flags[j] != 0 else level[j]
            while low < stop:
                high = min(stop, (q + 1) * kernel.bucket)
                unit = weight * (kernel.norms[q] / np.float64(kernel.levels))
                add_levels(level[low - start : high - start], unit, out[low:high])
                low, q = high, q + 1 if high == (q + 1) * kernel.bucket else q
