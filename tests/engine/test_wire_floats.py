"""Floats on the wire: every float16 pattern agrees with NumPy, rounding is unbiased, overflow is reported."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from mpi_fed.engine.compilation import compiling, kernel
from mpi_fed.engine.random_streams import Stream
from mpi_fed.engine.wire_floats import CHUNK, FLOAT16_MAX, FLOAT32_MAX, half_of, of_half, pack, unpack

STREAM = Stream(np.uint64(1), np.uint64(2), np.uint64(3))
FINITE = np.flatnonzero((np.arange(2**16) & 0x7C00) != 0x7C00).astype(np.uint16)
NUMBERS = FINITE.view(np.float16).astype(np.float64)

Floats = NDArray[np.float64]
Halves = NDArray[np.uint16]
Bytes = NDArray[np.uint8]


@kernel
def to_half(x: Floats, u: Floats, out: Halves) -> None:
    for j in range(len(x)):
        out[j] = half_of(x[j], u[j])


@kernel
def from_half(bits: Halves, out: Floats) -> None:
    for j in range(len(bits)):
        out[j] = of_half(bits[j])


def halves(numbers: ArrayLike, u: ArrayLike) -> Halves:
    """Return the float16 bits of numbers (shape (n,)), rounded with the uniforms u."""
    x = np.asarray(numbers, float)
    out = np.empty(len(x), np.uint16)
    with np.errstate(all="ignore"):
        to_half(x, np.broadcast_to(u, x.shape).astype(float), out)
    return out


def widened(bits: Halves) -> Floats:
    out = np.empty(len(bits))
    with np.errstate(all="ignore"):
        from_half(np.asarray(bits, np.uint16), out)
    return out


def packed(numbers: ArrayLike, bits: int, stream: Stream = STREAM, room: int = 0) -> tuple[int, Bytes]:
    values = np.asarray(numbers, float)
    payload = np.full(8 * len(values) + room, 0xA5, np.uint8)
    with np.errstate(all="ignore"):
        size = pack(values, bits, payload, stream, np.empty(CHUNK))
    return size, payload


def unpacked(payload: Bytes, bits: int, n: int) -> Floats:
    out = np.empty(n)
    unpack(payload, bits, out)
    return out


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile the kernels that the tests call, while no other process does."""
    with compiling():
        widened(halves([1.0], 0.0))
        unpacked(packed([1.0], 32)[1], 32, 1)


def test_every_float16_is_read_as_in_numpy() -> None:
    patterns = np.arange(2**16).astype(np.uint16)
    expected = patterns.view(np.float16).astype(np.float64)
    expected[np.isinf(expected)] = np.nan  # an overflow is read as NaN
    np.testing.assert_array_equal(widened(patterns), expected)


@pytest.mark.parametrize("u", [0.0, 0.3, 0.5, 1 - 2.0**-52])
def test_every_float16_is_written_exactly(u: float) -> None:
    signed = halves(NUMBERS, u)
    np.testing.assert_array_equal(signed, FINITE)


def between_neighbours() -> tuple[Floats, Floats, Floats]:
    """Return neighbouring float16 numbers, and a number strictly between each two, for all positive float16."""
    draw = np.random.default_rng(0)
    low = np.abs(NUMBERS[(NUMBERS >= 0) & (NUMBERS < FLOAT16_MAX)])
    high = np.nextafter(low.astype(np.float16), np.float16(np.inf)).astype(np.float64)
    fraction = np.concatenate([[0.5, 2.0**-20, 1 - 2.0**-20], draw.uniform(2.0**-20, 1 - 2.0**-20, len(low) - 3)])
    return low, high, low + fraction * (high - low)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_rounding_is_between_the_neighbours_and_unbiased(sign: float) -> None:
    """A number is rounded up if and only if the uniform u is below f, its position between the two neighbours.

    So it is rounded up with probability f, and (1 - f) low + f high = x. The test tries u on both sides of f.
    """
    low, high, x = between_neighbours()
    f = (x - low) / (high - low)
    above, below = halves(sign * x, f - 2.0**-30), halves(sign * x, f + 2.0**-30)
    np.testing.assert_array_equal(widened(below), sign * low)
    np.testing.assert_array_equal(widened(above), sign * high)
    np.testing.assert_allclose((1 - f) * low + f * high, x, rtol=1e-15)
    np.testing.assert_array_equal(widened(halves(sign * x, 0.0)), sign * high)
    np.testing.assert_array_equal(widened(halves(sign * x, 1 - 2.0**-21)), sign * low)


@given(st.floats(-FLOAT16_MAX, FLOAT16_MAX), st.floats(0, 1, exclude_max=True))
def test_any_number_is_rounded_to_a_neighbour(x: float, u: float) -> None:
    value = widened(halves([x], u))[0]
    spacing = 2.0 ** (max(np.frexp(x)[1] - 1, -14) - 10)
    assert abs(value - x) <= spacing
    assert value == 0 or np.sign(value) == np.sign(x)


@pytest.mark.parametrize("x", [65504.01, 65520.0, 1e6, 1e300, np.inf, -65505.0, -np.inf, np.nan])
def test_numbers_beyond_float16_become_nan(x: float) -> None:
    assert np.isnan(widened(halves([x], 0.0)))[0]
    size, _ = packed([1.0, x, 2.0], 16)
    assert size == -6


def test_the_largest_float16_never_overflows() -> None:
    for x in (65504.0, 65503.999, 65472.5):
        values = widened(halves(np.full(1000, x), np.linspace(0, 1 - 2.0**-40, 1000)))
        assert np.all(np.abs(values) <= FLOAT16_MAX)
    assert packed([65504.0, -65504.0], 16)[0] == 4


@pytest.mark.parametrize("x", [3.5e38, -1e300, np.inf, np.nan])
def test_numbers_beyond_float32_are_reported(x: float) -> None:
    assert packed([1.0, x], 32)[0] == -8
    assert packed([1.0, FLOAT32_MAX], 32)[0] == 8


def test_float32_is_rounded_to_nearest() -> None:
    draw = np.random.default_rng(1)
    x = np.concatenate([draw.standard_normal(3000) * 10.0 ** draw.integers(-44, 38, 3000), [0.0, 5e-324, 1e-46]])
    size, payload = packed(x, 32)
    assert size == 4 * len(x)
    np.testing.assert_array_equal(unpacked(payload, 32, len(x)), x.astype(np.float32).astype(float))


@given(st.lists(st.floats(), max_size=20))
def test_float64_is_exact(values: list[float]) -> None:
    size, payload = packed(values, 64)
    assert size == 8 * len(values)
    assert unpacked(payload, 64, len(values)).tobytes() == np.array(values, float).tobytes()


@pytest.mark.parametrize("bits", [16, 32, 64])
@pytest.mark.parametrize("n", [0, 1, 3, 127, 1023, 1024, 1025, 3000])
def test_only_the_bytes_of_the_floats_are_written_and_read(bits: int, n: int) -> None:
    """Exactly n floats are written, and no other byte is needed to read them."""
    x = np.random.default_rng(n).standard_normal(n)
    size, payload = packed(x, bits, room=100)
    assert size == bits // 8 * n
    assert np.all(payload[size:] == 0xA5)
    np.testing.assert_array_equal(unpacked(payload[:size], bits, n), unpacked(payload, bits, n))
    np.testing.assert_allclose(unpacked(payload, bits, n), x, rtol={16: 2.0**-10, 32: 2.0**-24, 64: 0}[bits], atol=6e-8)


def test_rounding_to_float16_is_unbiased_on_the_wire() -> None:
    """The mean error of each of 3,000 positions over 2,000 rounds is within 7 standard deviations (false alarm 1e-8).

    The mean correlation of the errors of neighbouring positions is within 7 standard deviations, too.
    """
    x = np.random.default_rng(2).standard_normal(3000)
    rounds, total, product = 2000, np.zeros(len(x)), 0.0
    low = np.abs(x).astype(np.float16).astype(float)
    spacing = np.spacing(low.astype(np.float16)).astype(float)
    for r in range(rounds):
        _, payload = packed(x, 16, STREAM._replace(round=np.uint64(r)))
        error = (unpacked(payload, 16, len(x)) - x) / spacing
        assert np.abs(error).max() < 2
        total += error
        product += np.mean(error[1:] * error[:-1]) / rounds
    assert np.abs(total / rounds).max() < 7 * 0.5 / np.sqrt(rounds)
    assert abs(product) < 7 * 0.25 / np.sqrt(rounds * len(x))
