"""Counter-based random numbers: every draw is a pure function of (seed, purpose, client, round, index).

There is no state, so resuming a run, placing clients on other ranks and batching rows change no bit. The generator is
Threefry-2x64 with 13 rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
Its key is (seed, purpose) and the client, its counter (round, index). Normal numbers are made by the Box-Muller
transform, with polynomials for log, sin and cos (errors below 1e-14), since the functions of a library would give other
bits in plain Python than in compiled code.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .compilation import bits_of, float_of, inlined, kernel

DATA, SHARED, PRIVATE, PARTICIPATION, ORDER, INITIAL = (np.uint64(i) for i in range(1, 7))
"""Purposes: samples; draws that both client and root make (masks, sketches); draws that only a client makes (rounding);
the clients that take part; the order of passes over data; the initial iterate."""

EVERYONE = np.uint64(0xFFFFFFFFFFFFFFFF)
"""Client number of draws that are the same for all clients."""

THE_ROOT = np.uint64(0xFFFFFFFFFFFFFFFE)
"""Client number of the root's compressor, so that its draws are independent of those of clients."""

SEED_LIMIT = 2**56
"""Seeds must be smaller than this number."""

_ONE = np.uint64(0x3FF0000000000000)
_SQRT_HALF = np.uint64(0x3FE6A09E667F3BCD)
_EXPONENT = np.uint64(0xFFF0000000000000)
_PARITY = np.uint64(0x1BD11BDAA9FC1A22)
GROUP = 64
"""Number of random numbers that are drawn together (twice as many for dithers), so that inner loops are vector code
without a remainder."""
FEW = 32
"""Number of gaps that are drawn together. It is small, since often a few gaps are enough."""

Array = NDArray[np.float64]


class Stream(NamedTuple):
    """The random numbers of one client in one round.

    Attributes
    ----------
    seed : uint64
        The seed of the repetition, below SEED_LIMIT.
    client : uint64
        The number of the client, or EVERYONE, or THE_ROOT.
    round : uint64
        k, the number of the round; for draws of purpose ORDER, the number of the pass over the data.
    """

    seed: np.uint64
    client: np.uint64
    round: np.uint64


@inlined
def mask_stream(stream: Stream, common: bool) -> Stream:
    """Return the stream of a mask: the client's own stream, or the stream of EVERYONE if the mask is common."""
    return Stream(stream.seed, EVERYONE if common else stream.client, stream.round)


@inlined
def key(seed: np.uint64, purpose: np.uint64) -> np.uint64:
    """Return the first key word: the seed above eight bits of purpose."""
    return (seed << np.uint64(8)) | purpose


@inlined
def _mix(x0: np.uint64, x1: np.uint64, rotation: int) -> tuple[np.uint64, np.uint64]:
    x0 = x0 + x1
    x1 = ((x1 << np.uint64(rotation)) | (x1 >> np.uint64(64 - rotation))) ^ x0
    return x0, x1


@inlined
def threefry(k0: np.uint64, k1: np.uint64, c0: np.uint64, c1: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Return the two words of Threefry-2x64-13 for the counter (c0, c1) and the key (k0, k1)."""
    k2 = k0 ^ k1 ^ _PARITY
    x0, x1 = _mix(c0 + k0, c1 + k1, 16)
    x0, x1 = _mix(x0, x1, 42)
    x0, x1 = _mix(x0, x1, 12)
    x0, x1 = _mix(x0, x1, 31)
    x0, x1 = _mix(x0 + k1, x1 + k2 + np.uint64(1), 16)
    x0, x1 = _mix(x0, x1, 32)
    x0, x1 = _mix(x0, x1, 24)
    x0, x1 = _mix(x0, x1, 21)
    x0, x1 = _mix(x0 + k2, x1 + k0 + np.uint64(2), 16)
    x0, x1 = _mix(x0, x1, 42)
    x0, x1 = _mix(x0, x1, 12)
    x0, x1 = _mix(x0, x1, 31)
    return _mix(x0 + k0, x1 + k1 + np.uint64(3), 16)


@inlined
def unit(word: np.uint64) -> np.float64:
    """Return a float64 in [0, 1) made of the upper 52 bits of a word."""
    return float_of((word >> np.uint64(12)) | _ONE) - np.float64(1.0)


@inlined
def log_unit(u: np.float64) -> np.float64:
    """log u for a normal float64 u in (0, 1], by a series in (m-1)/(m+1), where u = m 2^e, m in [sqrt .5, sqrt 2)."""
    word = bits_of(u)
    offset = word - _SQRT_HALF
    exponent = np.float64(np.int32(np.int64(offset) >> np.int64(52)))
    m = float_of(word - (offset & _EXPONENT))
    s = (m - 1.0) / (m + 1.0)
    q = s * s
    p = q * 0.16819827781168717 + 0.18123642075211174
    p = p * q + 0.22223371698531136
    p = p * q + 0.2857141712957846
    p = p * q + 0.40000000052274975
    p = p * q + 0.666666666665872
    return exponent * 0.6931471805599453 + (2.0 * s + s * q * p)


@inlined
def normal_pair(a: np.uint64, b: np.uint64) -> tuple[np.float64, np.float64]:
    """Return two independent N(0,1) numbers made of two uniform words (Box-Muller transform).

    The angle is uniform in [0, pi/4), and the three low bits of b reflect it to the whole circle.
    """
    radius = np.sqrt(-2.0 * log_unit(np.float64(1.0) - unit(a)))
    angle = unit(b) * 0.7853981633974483
    z = angle * angle
    s = -2.5050747762857807e-08 + z * 1.5896230157654656e-10
    s = 2.7557313621385722e-06 + z * s
    s = -0.00019841269829589539 + z * s
    s = 0.008333333333322118 + z * s
    s = -0.16666666666666632 + z * s
    sine = angle * (1.0 + z * s)
    c = -2.755529633104594e-07 + z * 2.0633587660001573e-09
    c = 2.4801579016248696e-05 + z * c
    c = -0.0013888888871726622 + z * c
    c = 0.041666666666503205 + z * c
    c = -0.49999999999999484 + z * c
    cosine = 1.0 + z * c
    swap = (b & np.uint64(1)) != np.uint64(0)
    x = sine if swap else cosine
    y = cosine if swap else sine
    x = float_of(bits_of(x) ^ ((b & np.uint64(2)) << np.uint64(62)))
    y = float_of(bits_of(y) ^ ((b & np.uint64(4)) << np.uint64(61)))
    return radius * x, radius * y


@inlined
def padded(count: int) -> int:
    """Return `count` rounded up to a multiple of 2 GROUP, the size of a group of dithers."""
    return (count + 2 * GROUP - 1) // (2 * GROUP) * (2 * GROUP)


@kernel
def normals(stream: Stream, purpose: np.uint64, block: np.uint64, count: int, out: Array) -> None:
    """Fill an array with independent N(0,1) numbers.

    Parameters
    ----------
    stream : Stream
        The stream.
    purpose : uint64
        The purpose, such as SHARED.
    block : uint64
        The first index: elements 2m and 2m+1 come from index block + m.
    count : int
        The number of elements needed. Numbers are drawn in groups of GROUP = 64, so up to 63 more are written.
    out : (m,) array of float64
        The array to fill; m is at least `count` rounded up to a multiple of 64.
    """
    word = key(stream.seed, purpose)
    for first in range(0, (count + 1) // 2, GROUP // 2):
        part, start = out[2 * first :], block + np.uint64(first)
        for m in range(GROUP // 2):
            a, b = threefry(word, stream.client, stream.round, start + np.uint64(m))
            part[2 * m], part[2 * m + 1] = normal_pair(a, b)


@kernel
def dithers(stream: Stream, purpose: np.uint64, block: np.uint64, count: int, out: Array) -> None:
    """Fill an array with uniforms in [0, 1) for rounding at random.

    Parameters
    ----------
    stream : Stream
        The stream.
    purpose : uint64
        The purpose, such as PRIVATE.
    block : uint64
        The first index: elements 4m .. 4m+3 come from index block + m.
    count : int
        The number of elements needed. Numbers are drawn in groups of 2 GROUP = 128, so up to 127 more are written.
    out : (m,) array of float64
        The array to fill; m is at least `padded(count)`, that is `count` rounded up to a multiple of 128.

    Notes
    -----
    Each word is used twice, the second time with its halves swapped. Every number is exactly uniform on its 52 bits,
    and two numbers from the same word are dependent only through bits below the 32nd.
    """
    word = key(stream.seed, purpose)
    for first in range(0, (count + 3) // 4, GROUP // 2):
        part, start = out[4 * first :], block + np.uint64(first)
        for m in range(GROUP // 2):
            a, b = threefry(word, stream.client, stream.round, start + np.uint64(m))
            part[4 * m] = unit(a)
            part[4 * m + 1] = unit(b)
            part[4 * m + 2] = unit((a << np.uint64(32)) | (a >> np.uint64(32)))
            part[4 * m + 3] = unit((b << np.uint64(32)) | (b >> np.uint64(32)))


@kernel
def uniforms(stream: Stream, purpose: np.uint64, block: np.uint64, count: int, out: Array) -> None:
    """Fill an array with independent uniforms in [0, 1).

    Parameters
    ----------
    stream : Stream
        The stream.
    purpose : uint64
        The purpose, such as SHARED.
    block : uint64
        The first index: elements 2m and 2m+1 come from index block + m.
    count : int
        The number of elements needed. Numbers are drawn in groups of GROUP = 64, so up to 63 more are written.
    out : (m,) array of float64
        The array to fill; m is at least `count` rounded up to a multiple of 64.
    """
    word = key(stream.seed, purpose)
    for first in range(0, (count + 1) // 2, GROUP // 2):
        part, start = out[2 * first :], block + np.uint64(first)
        for m in range(GROUP // 2):
            a, b = threefry(word, stream.client, stream.round, start + np.uint64(m))
            part[2 * m] = unit(a)
            part[2 * m + 1] = unit(b)


@kernel
def successes(stream: Stream, purpose: np.uint64, p: float, n: int, scratch: Array, out: NDArray[np.int64]) -> int:
    """Draw n independent Bernoulli(p) trials, and write the indices of the successes.

    Parameters
    ----------
    stream : Stream
        The stream.
    purpose : uint64
        The purpose, such as SHARED.
    p : float
        The probability of a success, 0 < p <= 1.
    n : int
        The number of trials.
    scratch : (FEW,) array of float64
        Scratch space.
    out : (n,) array of int64
        The buffer for the indices, ascending.

    Returns
    -------
    int
        The number of successes.

    Notes
    -----
    The gaps between successes are geometric, floor(log(u)/log(1-p)) with u uniform, so the time is proportional to the
    number of successes.
    """
    if p >= 1.0:
        for j in range(n):
            out[j] = j
        return n
    word, scale = key(stream.seed, purpose), 1.0 / np.log1p(-p)
    count, position = 0, np.int64(-1)
    block, gaps = np.uint64(0), scratch[:FEW]
    while True:
        for m in range(FEW // 2):
            a, b = threefry(word, stream.client, stream.round, block + np.uint64(m))
            gaps[2 * m] = log_unit(1.0 - unit(a)) * scale
            gaps[2 * m + 1] = log_unit(1.0 - unit(b)) * scale
        block += np.uint64(FEW // 2)
        for i in range(FEW):
            if gaps[i] >= np.float64(n):
                return count
            position += 1 + np.int64(gaps[i])
            if position >= n:
                return count
            out[count] = position
            count += 1
