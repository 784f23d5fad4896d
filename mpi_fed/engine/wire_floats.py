"""Floats on the wire: float64, float32 (rounded to nearest) or float16 (rounded at random, and so unbiased).

float16 is computed in integers: some CPUs have no conversion to it, and rounding at random needs the bits anyway.
For every |x| <= 65504, subnormals included, the expectation of the float16 is x. A larger |x| is an overflow, which is
an error.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compilation import bits_of, float_of, inlined, kernel
from .random_streams import PRIVATE, Stream, dithers

CHUNK = 1024
"""Number of floats that are processed together, so that scratch space stays in the first cache."""

FLOAT32_MAX = 3.4028234663852886e38
FLOAT16_MAX = 65504.0
_ROUNDING_BLOCK = np.uint64(1 << 62)  # first counter, above the counters that compressors use themselves
Array = NDArray[np.float64]


@inlined
def half_of(x: float, u: float) -> np.uint16:
    """Return the float16 bits of x, rounded at random so that the expectation is x, or of NaN if |x| > 65504.

    With e = max(floor(log2 |x|), -14), the spacing of float16 is 2^(e-10). |x| 2^(10-e) is rounded up if its fractional
    part is above u, which is uniform in [0, 1).
    """
    word = bits_of(np.float64(x))
    exponent = max(np.int32((word >> np.uint64(52)) & np.uint64(0x7FF)) - np.int32(1023), np.int32(-14))
    scale = float_of(np.uint64(np.int64(1033) - np.int64(exponent)) << np.uint64(52))
    position = np.abs(x) * scale
    steps = np.int32(position)
    steps += np.int32(1) if u < position - np.float64(steps) else np.int32(0)
    sign = np.int32(word >> np.uint64(63)) << np.int32(15)
    half = sign | ((exponent + np.int32(14)) << np.int32(10)) + steps
    return np.uint16(half) if np.abs(x) <= FLOAT16_MAX else np.uint16(0x7E00)


@inlined
def of_half(half: np.uint16) -> float:
    """Return the float64 value of float16 bits; NaN for an overflow."""
    bits = np.int32(half)
    exponent = (bits >> np.int32(10)) & np.int32(31)
    mantissa = (bits & np.int32(1023)) + (np.int32(1024) if exponent > np.int32(0) else np.int32(0))
    scale = float_of(np.uint64(np.int64(998) + np.int64(max(exponent, np.int32(1)))) << np.uint64(52))
    value: float = np.float64(mantissa) * scale
    value = np.nan if exponent == np.int32(31) else value
    return -value if (bits & np.int32(0x8000)) != np.int32(0) else value


@kernel
def pack(values: Array, bits: int, payload: NDArray[np.uint8], stream: Stream, dither: Array) -> int:
    """Write numbers as floats at the start of the payload.

    Parameters
    ----------
    values : (n,) array of float64
        The numbers. Not changed.
    bits : int
        The number of bits of a float: 16, 32 or 64.
    payload : array of uint8
        The buffer, of at least n bits/8 bytes.
    stream : Stream
        The stream of the message. Rounding to 16 bits depends on it and on the position in `values`, so call `pack` at
        most once for each message.
    dither : (CHUNK,) array of float64
        Scratch space.

    Returns
    -------
    int
        The number of bytes written, negative if a number is beyond the range of these floats. Such a number is written
        as NaN or infinity.
    """
    n = len(values)
    if bits == 64:
        wide = payload[: 8 * n].view(np.float64)
        for j in range(n):
            wide[j] = values[j]
        return 8 * n
    limit = FLOAT32_MAX if bits == 32 else FLOAT16_MAX
    excess = 0
    for j in range(n):
        excess += 0 if np.abs(values[j]) <= limit else 1
    sign = -1 if excess > 0 else 1
    if bits == 32:
        single = payload[: 4 * n].view(np.float32)
        for j in range(n):
            single[j] = np.float32(values[j])
        return sign * 4 * n
    half = payload[: 2 * n].view(np.uint16)
    for start in range(0, n, CHUNK):
        part, target = values[start : min(start + CHUNK, n)], half[start:]
        dithers(stream, PRIVATE, _ROUNDING_BLOCK + np.uint64(start // 4), len(part), dither)
        for j in range(len(part)):
            target[j] = half_of(part[j], dither[j])
    return sign * 2 * n


@kernel
def unpack(payload: NDArray[np.uint8], bits: int, out: Array) -> None:
    """Read floats from the start of the payload.

    Parameters
    ----------
    payload : array of uint8
        The bytes that `pack` wrote.
    bits : int
        The number of bits of a float: 16, 32 or 64.
    out : (n,) array of float64
        The array that receives the n numbers.
    """
    n = len(out)
    if bits == 64:
        wide = payload[: 8 * n].view(np.float64)
        for j in range(n):
            out[j] = wide[j]
    elif bits == 32:
        single = payload[: 4 * n].view(np.float32)
        for j in range(n):
            out[j] = np.float64(single[j])
    else:
        half = payload[: 2 * n].view(np.uint16)
        for j in range(n):
            out[j] = of_half(half[j])
