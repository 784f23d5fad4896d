"""Properties that must hold with certainty: round trips, zeros, extreme numbers, linearity."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compressors import Compressor
from ..engine.operations.compressor import UNKNOWN
from . import inputs
from .channel import SEED, Batch, Bytes, Channel, batch_of, decode_messages
from .scores import Findings
from .statistics import HALF_UNIT

Array = NDArray[np.float64]
UNIT = HALF_UNIT | {16: 2.0**-10}
"""Largest relative error of a sent number, by bits of a float."""
AMPLIFIED = 16
"""Factor by which decoding may amplify the relative error of sent numbers, as the linear system of `sketch` does."""


class Sender:
    """A compressor at a dimension, with the kernel of this rank."""

    def __init__(self, channel: Channel, compressor: Compressor, dimension: int, findings: Findings) -> None:
        self.channel, self.compressor, self.findings = channel, compressor, findings
        self.longest = compressor.payload_bytes_max(dimension)
        self.kernel = compressor.kernel(dimension)
        channel.prepare(self.kernel)

    def send(self, x: Array, rounds: range, **decoding: float) -> tuple[Batch, Bytes]:
        """Send x (shape (d,)) in each round; the root checks the length of every message."""
        batch, payload = self.channel.send(self.kernel, self.longest, x, rounds, **decoding)
        if self.channel.is_root:
            self._check_lengths(batch)
        return batch, payload

    def _check_lengths(self, batch: Batch) -> None:
        sizes, lengths = np.abs(batch.sizes[batch.present]), batch.lengths[batch.present]
        require = self.findings.require
        require(not batch.sizes[~batch.present].any(), "an absent client sends a message")
        longest = self.longest
        if self.compressor.fixed_length:
            require(bool(np.all(sizes == longest)), f"a message is not payload_bytes_max = {longest} bytes long")
            return
        require(bool(np.all(sizes <= longest)), f"a message is longer than payload_bytes_max = {longest} bytes")
        require(
            bool(np.all((lengths == UNKNOWN) | (lengths == sizes))),
            "a message does not have the length that `length` returns",
        )
        padding = 8 * sizes - batch.bits[batch.present]
        require(
            bool(np.all((padding >= 0) & (padding < 8))),
            "the result of `information_bits`, rounded up to bytes, is not the length of the message",
        )


def check_exact_properties(sender: Sender, dimension: int, twin: Sender) -> bool:
    """Check the properties that must hold exactly, enter the findings, and return whether the round trip is exact.

    `twin` sends by the same compressor in float64, and is `sender` itself if the compressor does not support float64.
    """
    x = next(iter(inputs.statistical_vectors(dimension).values()))
    rounds = range(2 if dimension > 1000 else 8)
    before = len(sender.findings.reasons)
    decoded = _check_repeatability(sender, x, rounds)
    _check_weighting(sender, x, rounds, decoded)
    _check_float_formats(sender, twin, dimension, rounds)
    exact = len(sender.findings.reasons) == before
    _check_extreme_numbers(sender, dimension, rounds)
    if sender.compressor.linear:
        _check_linearity(twin, dimension, rounds)
    return exact


def check_expectation(sender: Sender, x: Array, findings: Findings) -> float | None:
    """Check that the decoded messages of a biased compressor equal its stated expectation.

    Returns ||C(x) - x||^2/(omega ||x||^2), or None if omega is 0.
    """
    batch, _ = sender.send(x, range(2))
    if not sender.channel.is_root:
        return None
    stated, unit = sender.compressor.expectation(x), UNIT[sender.compressor.value_bits]
    close = bool(np.all(np.abs(batch.decoded - stated) <= unit * np.abs(stated)))
    findings.require(close, "C(x) is not the stated expectation")
    error, omega = float(((batch.decoded - x) ** 2).sum(axis=1).max()), sender.compressor.omega_bound(len(x))
    bound = omega * float(x @ x)
    findings.require(error <= bound + unit * float(x @ x), "||C(x)-x||^2 is above omega ||x||^2")
    return error / bound if omega > 0 else None


def _check_repeatability(sender: Sender, x: Array, rounds: range) -> Array:
    """Check that sending x twice gives the same bytes and decoded numbers, and that the sender decodes them, too.

    Returns the decoded numbers.
    """
    first, payload = sender.send(x, rounds)
    earlier = payload.copy()
    second, payload = sender.send(x, rounds)
    channel, require = sender.channel, sender.findings.require
    if not channel.is_root:
        local = batch_of(rounds, len(x))
        local.sizes[:] = first.sizes
        with np.errstate(all="ignore"):
            decode_messages(sender.kernel, SEED, 1.0, payload, local)
        same = _same(earlier, payload)
        channel.mpi.send((same, _digest(local.decoded)), dest=0)
        return local.decoded
    same, digest = channel.mpi.recv(source=1)
    require(same, "encoding the same x twice gives different bytes")
    require(_same(first.decoded, second.decoded), "decoding the same bytes twice gives different numbers")
    require(digest == _digest(first.decoded), "the root and the sender decode different numbers from the same bytes")
    if sender.compressor.omega_bound(len(x)) == 0:
        unit = AMPLIFIED * UNIT[sender.compressor.value_bits]
        require(bool(np.all(np.abs(first.decoded - x) <= unit * np.abs(x))), "omega is 0, but C(x) is not x")
    return first.decoded


def _check_weighting(sender: Sender, x: Array, rounds: range, decoded: Array) -> None:
    """Check that decode adds weight C(x) to the contents of `out`."""
    batch, _ = sender.send(x, rounds, weight=0.25, start=1.0)
    if sender.channel.is_root:
        error = np.abs(batch.decoded - (1.0 + 0.25 * decoded)).max()
        close = bool(error <= 1e-10 * (1 + np.abs(decoded).max()))
        sender.findings.require(close, "decode does not add weight C(x) to the contents of `out`")


def _check_float_formats(sender: Sender, twin: Sender, dimension: int, rounds: range) -> None:
    """Check the decoding of numbers that every float format holds.

    If a message consists of coordinates of x, they must be decoded exactly; otherwise the decoded numbers must be close
    to the numbers decoded from float64.
    """
    x = inputs.representable(dimension)
    decoded, reference = sender.send(x, rounds)[0].decoded, twin.send(x, rounds)[0].decoded
    if not sender.channel.is_root:
        return
    certain = sender.compressor.omega_bound(dimension) == 0
    unit = AMPLIFIED * UNIT[sender.compressor.value_bits]
    close = bool(np.abs(decoded - reference).max() <= unit * np.sqrt((reference * reference).sum(axis=1)).max())
    sender.findings.require(
        close, "decoded numbers differ from the numbers decoded from float64 by more than rounding explains"
    )
    for row in range(len(reference)):
        kept = np.flatnonzero(reference[row])
        scales = reference[row, kept] / x[kept]
        if len(kept) > 1 and np.all(scales == scales[0]):
            exact = _same(decoded[row], reference[row]) and (scales[0] == 1 or not certain)
            sender.findings.require(exact, "a number that the float format holds is not decoded exactly")


def _check_extreme_numbers(sender: Sender, dimension: int, rounds: range) -> None:
    """Check that zeros stay zero, the smallest and largest numbers stay finite, and overflows are reported."""
    bits, require = sender.compressor.value_bits, sender.findings.require
    zero, _ = sender.send(np.zeros(dimension), rounds)
    require(not zero.decoded.any(), "C(0) is not 0")
    large = inputs.huge(dimension, bits)
    for name, x in (("subnormal numbers", inputs.subnormal(dimension)), ("the largest numbers of the format", large)):
        batch, _ = sender.send(x, rounds)
        finite = bool(np.isfinite(batch.decoded).all() and (batch.sizes >= 0).all())
        require(finite, f"{name} are not decoded as finite numbers, or are reported as an overflow")
    if bits < 64:
        batch, _ = sender.send(large * 2.0**12, rounds)
        reported = np.isfinite(batch.decoded).all(axis=1) | (batch.sizes < 0) if len(batch.decoded.T) else True
        require(bool(np.all(reported)), "a number beyond the range of the format is not reported as an overflow")


def _check_linearity(sender: Sender, dimension: int, rounds: range) -> None:
    """Check that C(x + 2 y) = C(x) + 2 C(y) with the same random numbers."""
    x, y = inputs.representable(dimension), np.cos(np.arange(dimension))
    parts = [sender.send(vector, rounds)[0].decoded for vector in (x, y, x + 2 * y)]
    if sender.channel.is_root:
        error = np.abs(parts[0] + 2 * parts[1] - parts[2]).max()
        unit = AMPLIFIED * UNIT[sender.compressor.value_bits] + 1e-10
        linear = bool(error <= unit * (1 + max(np.abs(part).max() for part in parts)))
        sender.findings.require(linear, "the class states that it is linear, but C(x + 2 y) is not C(x) + 2 C(y)")


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.shape == b.shape and bool(np.all(a.view(np.uint8) == b.view(np.uint8)))


def _digest(array: Array) -> str:
    return hashlib.sha256(array.data).hexdigest()
