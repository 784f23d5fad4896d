"""A plugin for the tests of certification: a correct compressor, and others that are each wrong in one respect."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpi_fed.compressors.base import Array, Compressor, compressors
from mpi_fed.compressors.bernoulli import Bernoulli
from mpi_fed.compressors.dense import add_dense
from mpi_fed.compressors.none import NoCompression, NoneKernel
from mpi_fed.compressors.rand_h import RandH
from mpi_fed.compressors.sparse import SparseWire, add_kept, send_kept, sparse_wire
from mpi_fed.engine.compilation import kernel as compiled
from mpi_fed.engine.operations.compressor import Bytes, Message, Vector
from mpi_fed.engine.random_streams import EVERYONE, PRIVATE, SHARED, Stream, dithers, uniforms
from mpi_fed.engine.wire_floats import CHUNK, pack


class WithReplacementKernel(NamedTuple):
    h: int
    wire: SparseWire
    draws: Array
    held: Array


@compiled
def draw(kernel: WithReplacementKernel, stream: Stream, d: int) -> None:
    """Draw h indices with replacement into kernel.wire.kept."""
    uniforms(stream, SHARED, np.uint64(0), kernel.h, kernel.draws)
    for i in range(kernel.h):
        kernel.wire.kept[i] = np.int64(kernel.draws[i] * np.float64(d))


@compressors.register
class WithReplacement(RandH):
    """Rand-h whose h indices may repeat: E C(x) = kappa x with kappa = (1-(1-1/d)^h) d/h < 1."""

    kind = "with-replacement"
    Kernel: ClassVar[Any] = WithReplacementKernel
    examples: ClassVar[Any] = ({"h": 9},)

    def kernel(self, dimension: int) -> Any:
        wire = sparse_wire(self.h, self.value_bits, 0)
        return WithReplacementKernel(self.h, wire, np.empty(CHUNK), np.empty(dimension))

    @staticmethod
    def encode(kernel: Any, x: Vector, payload: Bytes, message: Message) -> int:
        draw(kernel, message.stream, len(x))
        return send_kept(kernel.wire, kernel.h, x, payload, message.stream)

    @staticmethod
    def decode(kernel: Any, payload: Bytes, weight: float, out: Vector, message: Message) -> None:
        draw(kernel, message.stream, len(out))
        kept = kernel.wire.kept
        scale = weight * np.float64(len(out)) / np.float64(kernel.h)
        held = kernel.held
        for j in range(len(out)):
            held[j] = out[j]
        add_kept(kernel.wire, kernel.h, payload, scale, out)
        for i in range(kernel.h):
            for j in range(i):
                if kept[i] == kept[j]:
                    out[kept[i]] = held[kept[i]] + scale * kernel.wire.values[i]


class ScaledKernel(NamedTuple):
    none: NoneKernel


@compressors.register
class Scaled(NoCompression):
    """A compressor that decodes every coordinate 0.1 per cent too large, and overwrites `out`."""

    kind = "scaled"
    Kernel: ClassVar[Any] = ScaledKernel

    def kernel(self, dimension: int) -> Any:
        return ScaledKernel(super().kernel(dimension))

    @staticmethod
    def encode(kernel: Any, x: Vector, payload: Bytes, message: Message) -> int:
        return pack(x, kernel.none.value_bits, payload, message.stream, kernel.none.dither)

    @staticmethod
    def decode(kernel: Any, payload: Bytes, weight: float, out: Vector, message: Message) -> None:
        out.fill(0.0)
        add_dense(payload, kernel.none.value_bits, 1.001 * weight, out, kernel.none.chunk)


@compressors.register
class WrongTheory(RandH):
    """A correct rand-h that states the covariance of independent coins, and one bit too few for each value."""

    kind = "wrong-theory"

    def moment_coefficients(self, dimension: int) -> tuple[float, float, float]:
        return 1.0, dimension / self.h - 1, 0.0

    def payload_bits(self, dimension: int) -> float:
        return 31.0 * self.h


@compressors.register
class WrongProbability(Bernoulli):
    """A compressor that keeps each coordinate with probability 1.1 p, but states p."""

    kind = "wrong-probability"

    def kernel(self, dimension: int) -> Any:
        return super().kernel(dimension)._replace(p=1.1 * self.p)


class NaturalKernel(NamedTuple):
    common: bool
    dither: NDArray[np.float64]


class Exponents(Compressor):
    """Natural compression (Horvath et al., 2022): |x_j| is rounded at random to a neighbouring power of two.

    A coordinate takes 16 bits, for a sign and an exponent; omega = 1/8. No closed form is stated.
    """

    value_bits: Literal[32] = 32
    homogeneous = False
    Kernel = NaturalKernel
    common: ClassVar[bool] = False

    def omega_bound(self, dimension: int) -> float:
        return 1 / 8

    def payload_bits(self, dimension: int) -> float:
        return 16.0 * dimension

    def payload_bytes_max(self, dimension: int) -> int:
        return 2 * dimension

    def kernel(self, dimension: int) -> NaturalKernel:
        return NaturalKernel(self.common, np.empty(CHUNK))

    @staticmethod
    def encode(kernel: NaturalKernel, x: Vector, payload: Bytes, message: Message) -> int:
        stream = message.stream
        if kernel.common:
            stream = Stream(stream.seed, EVERYONE, stream.round)
        codes = payload[: 2 * len(x)].view(np.int16)
        for start in range(0, len(x), CHUNK):
            part = x[start : min(start + CHUNK, len(x))]
            dithers(stream, PRIVATE, np.uint64(start // 4), len(part), kernel.dither)
            for j in range(len(part)):
                size = np.abs(part[j])
                code = 0
                if size > 0.0:
                    exponent = int(np.floor(np.log2(size)))
                    ratio = size * 2.0**-exponent if exponent > -1000 else size * 2.0**500 * 2.0 ** -(exponent + 500)
                    code = exponent + 1100 + (1 if kernel.dither[j] < ratio - 1.0 else 0)
                codes[start + j] = -code if part[j] < 0.0 else code
        return 2 * len(x)

    @staticmethod
    def decode(kernel: NaturalKernel, payload: Bytes, weight: float, out: Vector, message: Message) -> None:
        codes = payload[: 2 * len(out)].view(np.int16)
        for j in range(len(out)):
            code = np.int64(codes[j])
            if code != 0:
                half = 2.0 ** ((np.abs(code) - 1100) // 2)
                size = half * 2.0 ** (np.abs(code) - 1100 - (np.abs(code) - 1100) // 2)
                out[j] += weight * (-size if code < 0 else size)


@compressors.register
class Natural(Exponents):
    """A correct compressor that states only its bound omega."""

    kind = "natural"
    encode: ClassVar[Any] = staticmethod(Exponents.encode)
    decode: ClassVar[Any] = staticmethod(Exponents.decode)


@compressors.register
class CommonDither(Exponents):
    """A compressor that draws the same rounding for all clients."""

    kind = "common-dither"
    common = True
