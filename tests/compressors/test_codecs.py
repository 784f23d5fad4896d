"""Properties of every codec, for all dimensions, parameters and numbers, tested in this process with compiled code.

Only `test_explicit_indices_have_the_law_of_shared_indices` is statistical; certification tests the other distributions.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from mpi_fed.certification.channel import CLIENTS, SEED, Array, Batch, Bytes, batch_of, decode_messages, encode_messages
from mpi_fed.certification.inputs import representable
from mpi_fed.compressors import Compressor, compressors
from mpi_fed.compressors.base import index_bits
from mpi_fed.compressors.quantization import Quantization
from mpi_fed.compressors.sparse import _pack_indices, _unpack_indices
from mpi_fed.engine.compilation import compiling
from mpi_fed.engine.operations.compressor import UNKNOWN

UNIT = {16: 2.0**-10, 32: 2.0**-24, 64: 0.0}
Bits = Literal[16, 32, 64]
few = settings(max_examples=60)


def poison(kernel: Any) -> Any:
    """Fill the scratch space of a kernel with garbage, except the array that must be zero between messages."""
    for name, field in zip(kernel._fields, kernel, strict=True):
        if isinstance(field, tuple):
            poison(field)
        elif isinstance(field, np.ndarray) and name != "taken":
            field.fill(np.nan if field.dtype.kind == "f" else 0x55)
    return kernel


class Codec:
    """A compressor at a dimension. Its encoder and its decoder share only the payload and the seed."""

    def __init__(self, compressor: Compressor, dimension: int) -> None:
        self.compressor, self.d = compressor.resolve(dimension), dimension
        self.longest = self.compressor.payload_bytes_max(dimension)

    def parameter(self, name: str) -> Any:
        """Return a parameter that compressors of some kinds have."""
        return getattr(self.compressor, name)

    def encode(self, x: Array, rounds: range = range(4), fill: int = 0xA5) -> tuple[Bytes, Batch]:
        """Return the bytes of all messages, and the batch with their sizes. Garbage follows the messages in memory."""
        batch = batch_of(rounds, 0)
        payload = np.full(self.longest * len(batch.sizes) + 64, fill, np.uint8)
        with np.errstate(all="ignore"):
            total = encode_messages(poison(self.compressor.kernel(self.d)), SEED, x, batch, payload)
        assert total == np.abs(batch.sizes).sum()
        assert np.all(payload[total:] == fill), "bytes after the message were changed"
        return payload[:total].copy(), batch

    def decode(
        self,
        payload: Bytes,
        sizes: NDArray[np.int32],
        rounds: range = range(4),
        weight: float = 1.0,
        start: float = 0.0,
        fill: int = 0x5A,
    ) -> Batch:
        batch = batch_of(rounds, self.d, start)
        batch.sizes[:] = sizes
        behind = np.concatenate([payload, np.full(64, fill, np.uint8)])
        with np.errstate(all="ignore"):
            decode_messages(poison(self.compressor.kernel(self.d)), SEED, weight, behind, batch)
        return batch

    def __call__(self, x: Array, rounds: range = range(4)) -> Array:
        """Return C(x) for each message, of shape (messages, d)."""
        payload, batch = self.encode(x, rounds)
        return self.decode(payload, batch.sizes, rounds).decoded


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile the code that the tests call, while no other process does."""
    with compiling():
        for kind in compressors.values():
            compressor = kind(**kind.examples[0]).resolve(5)
            Codec(compressor, 5)(np.ones(5))
        pack_indices([1], 3)


DIMENSIONS = st.one_of(st.integers(1, 70), st.sampled_from([1023, 1024, 1025, 1500, 2049]))
PROBABILITIES = st.sampled_from([0.03, 0.25, 0.5, 0.9, 1.0])


@st.composite
def codecs(draw: st.DrawFn, kinds: Sequence[str] = tuple(compressors), bits: Sequence[int] = (16, 32, 64)) -> Codec:
    """Draw any compressor at any dimension."""
    kind, d = draw(st.sampled_from(kinds)), draw(DIMENSIONS)
    parameters: dict[str, Any] = {"value_bits": draw(st.sampled_from(bits))}
    if kind == "quantization":
        parameters["levels"] = draw(st.sampled_from([1, 2, 3, 4, 7, 8, 255, 32767]))
        parameters["bucket"] = draw(st.one_of(st.none(), st.integers(1, d)))
    if kind in ("bernoulli", "partial-participation"):
        parameters["p"] = draw(PROBABILITIES)
    if kind == "rand-h":
        parameters["h"] = draw(st.integers(1, d))
    if kind == "top-k":
        parameters["k"] = draw(st.integers(1, d))
    if kind == "sketch":
        parameters["h"] = draw(st.sampled_from([h for h in (1, 2, 5) if h < d] + ([d] if d < 70 else [])))
    if kind in ("bernoulli", "rand-h"):
        parameters["indices"] = draw(st.sampled_from(["shared", "explicit"]))
    return Codec(compressors[kind](**parameters), d)


def numbers(d: int, seed: int) -> Array:
    """Return a vector (shape (d,)) of numbers of several magnitudes, with zeros among them."""
    draw = np.random.default_rng(seed)
    x = draw.standard_normal(d) * 10.0 ** draw.integers(-3, 3)
    x[draw.random(d) < 0.2] = 0.0
    return x


SEEDS = st.integers(0, 2**32 - 1)
linear = tuple(kind for kind, cls in compressors.items() if cls.linear)


@few
@given(codecs(), SEEDS)
def test_payload_length(codec: Codec, seed: int) -> None:
    """A message is as long as the compressor states, and as long as `length` returns if the length is known."""
    payload, batch = codec.encode(numbers(codec.d, seed))
    decoded = codec.decode(payload, batch.sizes)
    sizes = batch.sizes[decoded.present]
    assert np.all(sizes >= 0)
    assert np.all(batch.sizes[~decoded.present] == 0)
    if codec.compressor.fixed_length:
        assert np.all(sizes == codec.longest)
        assert codec.compressor.payload_bits(codec.d) <= 8 * codec.longest
    else:
        assert np.all(sizes <= codec.longest)
        lengths = decoded.lengths[decoded.present]
        assert np.all((lengths == sizes) | (lengths == UNKNOWN))
        padding = 8 * sizes - decoded.bits[decoded.present]
        assert np.all((padding >= 0) & (padding < 8))


@few
@given(codecs(), SEEDS)
def test_decoding_depends_on_the_payload_only(codec: Codec, seed: int) -> None:
    """Bytes after the payload and in the scratch space do not change the decoded numbers."""
    payload, batch = codec.encode(numbers(codec.d, seed))
    one = codec.decode(payload, batch.sizes, fill=0x00).decoded
    other = codec.decode(payload, batch.sizes, fill=0xFF).decoded
    assert one.tobytes() == other.tobytes()
    assert np.isfinite(one).all()


@few
@given(codecs(), SEEDS)
def test_encoding_is_a_function_of_x_and_the_stream(codec: Codec, seed: int) -> None:
    x = numbers(codec.d, seed)
    first, second = codec.encode(x, fill=0x00), codec.encode(x.copy(), fill=0xFF)
    assert first[0].tobytes() == second[0].tobytes()
    np.testing.assert_array_equal(first[1].sizes, second[1].sizes)


@few
@given(codecs(), SEEDS)
def test_messages_do_not_depend_on_earlier_ones(codec: Codec, seed: int) -> None:
    x = numbers(codec.d, seed)
    together = codec(x, range(4))
    np.testing.assert_array_equal(together[2 * CLIENTS :], codec(x, range(2, 4)))


@few
@given(codecs(), SEEDS)
def test_decoding_adds_with_a_weight(codec: Codec, seed: int) -> None:
    payload, batch = codec.encode(numbers(codec.d, seed))
    plain = codec.decode(payload, batch.sizes).decoded
    added = codec.decode(payload, batch.sizes, weight=-0.5, start=2.0).decoded
    np.testing.assert_allclose(added, 2.0 - 0.5 * plain, rtol=1e-12, atol=1e-12 * (1 + np.abs(plain).max()))


@few
@given(codecs(kinds=linear, bits=(64,)), SEEDS)
def test_linear_codecs_are_linear(codec: Codec, seed: int) -> None:
    x, y = numbers(codec.d, seed), numbers(codec.d, seed + 1)
    sum_of_both, apart = codec(x - 3 * y), codec(x) - 3 * codec(y)
    scale = np.abs(codec(x)).max() + 3 * np.abs(codec(y)).max()
    np.testing.assert_allclose(sum_of_both, apart, rtol=0, atol=1e-9 * scale + 1e-300)


@few
@given(codecs(), SEEDS, st.sampled_from([2.0, 0.125, 1024.0]))
def test_codecs_are_odd_and_homogeneous(codec: Codec, seed: int, factor: float) -> None:
    """C(-x) = -C(x) and C(2^k x) = 2^k C(x) with the same random numbers, bit for bit, within the formats' range."""
    x = representable(codec.d)
    x[np.random.default_rng(seed).random(codec.d) < 0.2] = 0.0
    plain = codec(x)
    np.testing.assert_array_equal(codec(-x), -plain)
    if codec.compressor.value_bits > 16:
        np.testing.assert_array_equal(codec(factor * x), factor * plain)


@few
@given(codecs())
def test_zero_is_sent_as_zero(codec: Codec) -> None:
    assert not codec(np.zeros(codec.d)).any()


@few
@given(codecs(bits=(32, 64)), st.sampled_from([5e-324, 1e-310, 1e-160, 1e-45]))
def test_tiny_numbers_stay_finite(codec: Codec, size: float) -> None:
    x = size * np.where(np.arange(codec.d) % 3 == 1, 1.0, -1.0)
    decoded = codec(x)
    assert np.isfinite(decoded).all()
    if codec.compressor.value_bits == 32 and size < 1e-46:
        assert not decoded.any()


IDENTITIES: list[tuple[str, dict[str, Any]]] = [
    ("none", {}),
    ("bernoulli", {"p": 1.0}),
    ("partial-participation", {"p": 1.0}),
    ("rand-h", {"omega": 0.0}),
    ("rand-h", {"omega": 0.0, "indices": "explicit"}),
    ("sketch", {"omega": 0.0}),
]


@pytest.mark.parametrize("bits", [16, 32, 64])
@pytest.mark.parametrize(("kind", "parameters"), IDENTITIES)
@pytest.mark.parametrize("d", [1, 2, 13, 64, 1025])
def test_without_compression_x_arrives(kind: str, parameters: dict[str, Any], d: int, bits: Bits) -> None:
    """With omega = 0 every number arrives rounded to its float format, and exactly if the format holds the number."""
    codec = Codec(compressors[kind](value_bits=bits, **parameters), d)
    assert codec.compressor.omega_bound(d) == 0
    x = representable(d)
    assert np.all(codec(x) == x)
    x = np.random.default_rng(d).standard_normal(d)
    decoded = codec(x)
    assert np.all(np.abs(decoded - x) <= UNIT[bits] * np.maximum(np.abs(x), 2.0**-14))
    if bits == 32:
        np.testing.assert_array_equal(decoded, np.broadcast_to(x.astype(np.float32).astype(float), decoded.shape))


@few
@given(codecs(kinds=("bernoulli", "rand-h", "partial-participation")), SEEDS)
def test_kept_coordinates_arrive_exactly(codec: Codec, seed: int) -> None:
    """C(x)_j is 0 or (1 + omega) x_j; rand-h keeps exactly h coordinates."""
    x = np.random.default_rng(seed).permutation(representable(codec.d))
    decoded, scale = codec(x), 1 + codec.compressor.omega_bound(codec.d)
    kept = decoded != 0
    np.testing.assert_allclose(decoded[kept], np.broadcast_to(scale * x, decoded.shape)[kept], rtol=1e-15)
    if codec.compressor.kind == "rand-h":
        assert np.all(kept.sum(axis=1) == codec.parameter("h"))
    if codec.compressor.kind == "partial-participation":
        assert np.all((kept.sum(axis=1) == 0) | (kept.sum(axis=1) == codec.d))


@few
@given(codecs(kinds=("quantization",), bits=(64,)), SEEDS)
def test_quantization_rounds_to_a_neighbouring_level(codec: Codec, seed: int) -> None:
    """s C(x)_j/||x|| is an integer within 1 of s x_j/||x|| in every bucket, including the last, shorter bucket."""
    x, s = numbers(codec.d, seed), codec.parameter("levels")
    bucket = codec.parameter("bucket") or codec.d
    norms = np.concatenate(
        [np.full(len(x[i : i + bucket]), np.linalg.norm(x[i : i + bucket])) for i in range(0, codec.d, bucket)]
    )
    ratio = np.divide(s, norms, out=np.zeros(codec.d), where=norms > 0)
    level, exact = codec(x) * ratio, x * ratio
    np.testing.assert_allclose(level, np.round(level), rtol=0, atol=1e-8)
    assert np.all(np.abs(level - exact) < 1 + 1e-8)
    assert np.all(np.abs(level) <= s + 1e-8)
    assert np.all(level * x >= 0)
    assert not codec(x)[:, x == 0].any()


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 7, 8, 127, 128, 32767])
def test_every_level_fits_its_bits(levels: int) -> None:
    """A single nonzero coordinate is sent as level s; there is one plane for each bit of s, and one for the signs."""
    codec = Codec(Quantization(levels=levels), 9)
    x = np.zeros(9)
    x[4] = -2.0
    assert np.all(codec(x) == x)
    assert codec.parameter("planes") == 1 + int(np.ceil(np.log2(levels + 1)))


@few
@given(codecs(kinds=("sketch",), bits=(64,)), SEEDS)
def test_the_sketch_is_a_scaled_projection(codec: Codec, seed: int) -> None:
    """P = (h/d) C is an orthogonal projector: ||P x||^2 = <P x, x>, and P P = P."""
    x, share = numbers(codec.d, seed), codec.parameter("h") / codec.d
    once = share * codec(x, range(1))
    for client in range(CLIENTS):
        projected = once[client]
        np.testing.assert_allclose(projected @ projected, projected @ x, rtol=1e-8, atol=1e-12)
        again = share * codec(projected, range(1))[client]
        np.testing.assert_allclose(again, projected, rtol=0, atol=1e-9 * (1 + np.abs(x).max()))


@pytest.mark.parametrize("kind", ["none", "quantization", "rand-h", "bernoulli"])
@pytest.mark.parametrize(("bits", "size"), [(16, 7e4), (16, np.inf), (32, 1e39), (32, np.nan)])
def test_overflow_is_reported(kind: str, bits: Bits, size: float) -> None:
    """The size of each message with a number beyond the format is negative; its absolute value does not change."""
    sending_all: dict[str, dict[str, Any]] = {"rand-h": {"h": 12}, "bernoulli": {"p": 1.0}}
    parameters = sending_all.get(kind, {})
    codec = Codec(compressors[kind](value_bits=bits, **parameters), 12)
    x = np.ones(12)
    x[5] = size
    _, batch = codec.encode(x)
    assert np.all(batch.sizes == -codec.encode(np.ones(12))[1].sizes)
    assert np.all(batch.sizes < 0)


def pack_indices(indices: list[int], bits: int) -> tuple[int, list[int]]:
    """Pack and unpack indices; return the number of packed bytes and the unpacked indices."""
    payload = np.full(len(indices) * 4 + 8, 0xA5, np.uint8)
    size = _pack_indices(np.array(indices, np.int64), bits, payload)
    assert np.all(payload[size:] == 0xA5)
    back = np.empty(len(indices), np.int64)
    _unpack_indices(payload[:size].copy(), bits, back)
    return size, list(back)


@given(st.data(), st.sampled_from([2, 3, 5, 7, 8, 9, 100, 255, 256, 257, 1000, 65536, 65537, 10**6, 2**31]))
def test_indices_are_packed_without_gaps(data: st.DataObject, d: int) -> None:
    indices = data.draw(st.lists(st.integers(0, d - 1), max_size=40))
    bits = index_bits(d)
    assert 2 ** (bits - 1) < d <= 2**bits
    size, back = pack_indices(indices, bits)
    assert back == indices
    assert size == (bits * len(indices) + 7) // 8


@pytest.mark.parametrize(
    ("kind", "parameters"), [("rand-h", {"h": 2}), ("bernoulli", {"p": 0.4}), ("bernoulli", {"p": 0.9})]
)
@pytest.mark.parametrize("indices", ["shared", "explicit"])
def test_explicit_indices_have_the_law_of_shared_indices(kind: str, parameters: dict[str, Any], indices: str) -> None:
    """The frequencies of all 2^5 sets of kept coordinates in 40,000 messages follow their law: chi-square at 1e-9."""
    codec = Codec(compressors[kind](**parameters | {"indices": indices}), 5)
    kept = codec(np.ones(5), range(20_000)) != 0
    seen = np.bincount(kept @ (1 << np.arange(5)), minlength=32)
    size = np.array([(i).bit_count() for i in range(32)])
    p = parameters.get("p", 0.0)
    law = (size == 2) / 10 if kind == "rand-h" else p**size * (1 - p) ** (5 - size)
    assert seen[law == 0].sum() == 0
    rare = (law * len(kept) < 10) & (law > 0)
    cells, expected = seen[(law > 0) & ~rare], law[(law > 0) & ~rare] * len(kept)
    if rare.any():
        cells, expected = np.append(cells, seen[rare].sum()), np.append(expected, law[rare].sum() * len(kept))
    assert stats.chisquare(cells, expected).pvalue > 1e-9


@few
@given(codecs())
def test_resolved_parameters_build_the_same_codec(codec: Codec) -> None:
    """Resolving a resolved compressor changes nothing, and its table builds the same compressor again."""
    again = type(codec.compressor)(**{k: v for k, v in codec.compressor.table().items() if k != "kind"})
    assert again.resolve(codec.d) == codec.compressor


@pytest.mark.slow
def test_the_uncompiled_codecs_give_the_same_bits() -> None:
    """For every example at two dimensions, the source run as plain Python gives the same bytes and numbers."""
    digests = []
    for disabled in ("0", "1"):
        environment = os.environ | {"NUMBA_DISABLE_JIT": disabled}
        run = subprocess.run([sys.executable, __file__], capture_output=True, text=True, env=environment, check=True)
        digests.append(run.stdout.splitlines())
    assert len(digests[0]) > 40
    assert digests[0] == digests[1]


def main() -> None:
    """Print a digest of the sent bytes and decoded numbers of every example."""
    for kind in compressors.values():
        for example in kind.examples:
            for bits in (16, 32, 64):
                for d in (13, 1100):
                    codec = Codec(kind(**example, value_bits=bits), d) if example.get("bucket", 0) <= d else None
                    codec = None if example.get("h", 0) > d else codec
                    if codec is not None:
                        x = np.random.default_rng(d).standard_normal(d)
                        payload, batch = codec.encode(x, range(2))
                        decoded = codec.decode(payload, batch.sizes, range(2)).decoded
                        text = hashlib.sha256(payload.tobytes() + decoded.tobytes()).hexdigest()
                        print(kind.kind, example, bits, d, text)


if __name__ == "__main__":
    main()
