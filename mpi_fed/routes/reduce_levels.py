"""Route `reduce-levels`."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ..compressors import Compressor
from ..compressors.quantization import Quantization, QuantizationKernel, round_levels
from ..engine.compilation import inlined, kernel
from ..engine.ledger import enter
from ..engine.mpi_calls import ROOT, Comm, allreduce_max, reduce_sum
from ..engine.operations.compressor import Bytes, Message, encode
from ..engine.operations.downlink import Downlink
from ..engine.operations.route import Round
from ..engine.ordered_sums import norm
from ..engine.phase_clock import DECODE, ENCODE, UPLINK, mark
from ..engine.random_streams import PRIVATE, Stream, dithers
from ..engine.wire import DOWNLINK_BYTES, UPLINK_BYTES, Wire
from ..engine.wire_floats import CHUNK, pack, unpack
from ..errors import InputError
from .base import Array, Place, Route, routes


class StagedKernel(NamedTuple):
    """Kernel of quantization that keeps this rank's vectors and their norms until the common scale is known."""

    inner: QuantizationKernel
    first: int  # the first client on this rank
    size: int  # bytes of a message
    vectors: Array  # (hosted, d)
    norms: Array  # (hosted,)


@encode.implement(StagedKernel)
def _stage(kernel: StagedKernel, x: Array, payload: Bytes, message: Message) -> int:
    client = np.int64(message.stream.client) - kernel.first
    row = kernel.vectors[client]
    for j in range(len(x)):
        row[j] = x[j]
    kernel.norms[client] = norm(x)
    return kernel.size


class ReduceLevelsKernel(NamedTuple):
    """Downlink and buffers of `reduce-levels` in compiled code."""

    downlink: Downlink
    width: int  # bytes of an integer
    greatest: NDArray[np.uint8]  # the largest norm on this rank, as a float of the payload
    shared: NDArray[np.uint8]  # the largest norm on all ranks, in the same format
    scale: Array  # (1,): the same norm in float64
    sums: NDArray[np.int32]  # (d,)


@kernel
def greatest_norm(norms: Array) -> float:
    """Return the largest norm, or infinity if a norm is NaN."""
    most = np.float64(0.0)
    for i in range(len(norms)):
        if not norms[i] <= most:
            most = norms[i] if norms[i] < np.inf else np.float64(np.inf)
    return most


@kernel
def add_levels(
    quantization: QuantizationKernel, x: Array, scale: float, stream: Stream, sums: NDArray[np.int32]
) -> None:
    """sums += the signed levels of x; both have shape (d,)."""
    for start in range(0, len(x), CHUNK):
        part, target = x[start : min(start + CHUNK, len(x))], sums[start:]
        dithers(stream, PRIVATE, np.uint64(start // 4), len(part), quantization.dither)
        round_levels(part, scale, quantization.levels, quantization.dither, quantization.level)
        for j in range(len(part)):
            target[j] += -quantization.level[j] if part[j] < 0.0 else quantization.level[j]


@kernel
def narrow(sums: NDArray[np.int32], width: int, payload: Bytes) -> None:
    """payload <- the integers in `sums`, in `width` bytes each."""
    if width == 1:
        bytes_ = payload[: len(sums)].view(np.int8)
        for j in range(len(sums)):
            bytes_[j] = np.int8(sums[j])
    elif width == 2:
        shorts = payload[: 2 * len(sums)].view(np.int16)
        for j in range(len(sums)):
            shorts[j] = np.int16(sums[j])
    else:
        ints = payload[: 4 * len(sums)].view(np.int32)
        for j in range(len(sums)):
            ints[j] = sums[j]


@kernel
def add_scaled(payload: Bytes, width: int, unit: float, out: Array) -> None:
    """out += unit times the integers in payload, which have `width` bytes each."""
    if width == 1:
        bytes_ = payload[: len(out)].view(np.int8)
        for j in range(len(out)):
            out[j] += unit * np.float64(bytes_[j])
    elif width == 2:
        shorts = payload[: 2 * len(out)].view(np.int16)
        for j in range(len(out)):
            out[j] += unit * np.float64(shorts[j])
    else:
        ints = payload[: 4 * len(out)].view(np.int32)
        for j in range(len(out)):
            out[j] += unit * np.float64(ints[j])


@inlined
def agree(kernel: ReduceLevelsKernel, comm: Comm) -> int:
    """Find the common scale by MPI_Allreduce with MPI_MAX of one float; return MPI's error code."""
    kind = comm.float64 if len(kernel.greatest) == 8 else comm.float32
    return allreduce_max(comm, kernel.greatest, kernel.shared, np.int32(1), kind)


@inlined
def collect(kernel: ReduceLevelsKernel, comm: Comm, wire: Wire) -> int:
    """Add up the levels by MPI_Reduce with MPI_SUM of d integers; return MPI's error code."""
    kind = comm.int32
    if kernel.width < 4:
        kind = comm.int8 if kernel.width == 1 else comm.int16
    return reduce_sum(comm, wire.send, wire.receive, np.int32(len(kernel.sums)), kind)


@routes.register
class ReduceLevels(Route):
    """MPI_Reduce of quantization levels: they add up as integers, without rounding, as all clients use the same scale.

    Parameters
    ----------
    downlink_bits : {16, 32, 64}, default: 64
        Bits of the floats in which w is broadcast, 64 by default; 16 rounds at random.

    Notes
    -----
    Formula, with `S = max_i ||x_i||` and `f_j = frac(s |x_j| / S)`:

        C_i(x)_j = S sgn(x_j) (l_j + b_j) / s,    l_j = floor(s |x_j| / S),    b_j ~ Bernoulli(f_j) independent.

    Unbiased. With one client S = ||x||, which is plain quantization.

    Covariance: given all x_i it is diagonal, with `Var C_i(x)_j = (S/s)^2 f_j (1 - f_j)`. For s = 1 this is
    `S |x_j| - x_j^2`.

    Uplink: in each round, an MPI_Allreduce of one float for the scale, and d integers of the fewest bytes (1, 2 or 4)
    that can hold s N. Sums are exact, so iterates do not depend on the number of ranks. They differ from those of
    `gather`, since a client whose norm is below S is quantized more coarsely. The constant step does not account for
    this, and for several clients there is no prediction (`docs/theory.md`, "A shared scale").

    The compressor must be `quantization` without buckets. Checksums and floats of 16 bits are not supported. Algorithms
    with memories or error feedback, which need each message as soon as it is encoded, are refused.
    """

    kind = "reduce-levels"
    sums_in_mpi = True
    joint_messages = True
    Kernel = ReduceLevelsKernel

    def check(self, compressor: Compressor) -> None:
        super().check(compressor)
        if not isinstance(compressor, Quantization) or compressor.bucket:
            reason = "has buckets" if isinstance(compressor, Quantization) else f'is of kind = "{compressor.kind}"'
            raise ValueError(
                f'route kind = "{self.kind}" needs a compressor of kind = "quantization" without buckets, but this one '
                f'{reason}; give route kind = "auto"'
            )
        if self.self_check:
            raise ValueError(f'route kind = "{self.kind}" cannot add up messages with checksums; give kind = "gather"')
        if compressor.value_bits == 16:
            raise ValueError(f'route kind = "{self.kind}": MPI cannot compare floats of 16 bits; give value_bits = 32')

    def payload_bytes(self, compressor: Compressor, dimension: int, clients: int) -> int:
        return compressor.value_bits // 8 + self._width(compressor, clients) * dimension

    def scratch_bytes(self, message: int, dimension: int, hosted: int, received: int) -> int:
        return 8 * dimension * hosted

    def compressor_kernel(self, place: Place, compressor: Compressor, dimension: int) -> NamedTuple:
        first, last = place.hosts[place.comm.rank : place.comm.rank + 2].tolist()
        return StagedKernel(
            inner=cast(QuantizationKernel, compressor.kernel(dimension)),
            first=first,
            size=place.longest,
            vectors=np.zeros((last - first, dimension)),
            norms=np.zeros(last - first),
        )

    def kernel(self, place: Place, compressor: Compressor, dimension: int) -> NamedTuple:
        greatest, shared = np.zeros((2, compressor.value_bits // 8), np.uint8)
        return self.Kernel(
            downlink=self.downlink(dimension),
            width=self._width(compressor, int(place.hosts[-1])),
            greatest=greatest,
            shared=shared,
            scale=np.zeros(1),
            sums=np.zeros(dimension, np.int32),
        )

    def _width(self, compressor: Any, clients: int) -> int:
        most = compressor.levels * clients
        if most >= 2**31:
            raise InputError(
                f'[route] kind = "{self.kind}": sums of {compressor.levels:,} levels of {clients:,} clients do not fit '
                f"into 32 bits; give fewer levels"
            )
        return 1 if most < 2**7 else 2 if most < 2**15 else 4

    @staticmethod
    def uplink(kernel: ReduceLevelsKernel, round: Round, total: Array) -> int:
        """Agree on the scale, add up the levels, and add the mean message to total (shape (d,))."""
        comm, compressor, wire, schedule = round.comm, round.compressor, round.wire, round.schedule
        bits, number = 8 * len(kernel.greatest), np.uint64(round.number)
        kernel.scale[0] = greatest_norm(compressor.norms)
        stream = Stream(round.seed, np.uint64(0), number)
        pack(kernel.scale, bits, kernel.greatest, stream, compressor.inner.dither)
        mark(wire.clock, ENCODE)
        code = agree(kernel, comm)
        mark(wire.clock, UPLINK)
        if code != 0:
            return code
        unpack(kernel.shared, bits, kernel.scale)
        kernel.sums.fill(0)
        for i in range(len(compressor.norms)):
            stream = Stream(round.seed, np.uint64(schedule.first + i), number)
            add_levels(compressor.inner, compressor.vectors[i], kernel.scale[0], stream, kernel.sums)
        narrow(kernel.sums, kernel.width, wire.send)
        mark(wire.clock, ENCODE)
        code = collect(kernel, comm, wire)
        mark(wire.clock, UPLINK)
        if comm.rank == ROOT and code == 0:
            wire.totals[UPLINK_BYTES] += comm.size * compressor.size
            wire.totals[DOWNLINK_BYTES] += comm.size * len(kernel.shared)
            weight = 1.0 / np.float64(schedule.clients)
            unit = weight * (kernel.scale[0] / np.float64(compressor.inner.levels))
            add_scaled(wire.receive, kernel.width, unit, total)
            for client in range(schedule.clients):
                enter(wire, compressor, client, compressor.size)
            mark(wire.clock, DECODE)
        return code

    @staticmethod
    def bare_uplink(kernel: ReduceLevelsKernel, comm: Comm, wire: Wire, size: int) -> int:
        """Make only the MPI calls of `uplink`."""
        code = agree(kernel, comm)
        return collect(kernel, comm, wire) if code == 0 else code
