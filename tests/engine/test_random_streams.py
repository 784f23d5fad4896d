"""The random streams: the generator bit for bit, and the laws of the numbers drawn from it.

Seeds are fixed, so a test gives the same result each time. The stated rates are the probabilities that a correct
generator fails with a random seed. LEVEL is the probability below which a test of significance rejects.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from mpi_fed.compressors.rand_h import subset
from mpi_fed.engine.compilation import compiling, kernel
from mpi_fed.engine.random_streams import (
    DATA,
    EVERYONE,
    GROUP,
    INITIAL,
    ORDER,
    PARTICIPATION,
    PRIVATE,
    SEED_LIMIT,
    SHARED,
    Stream,
    dithers,
    key,
    log_unit,
    normal_pair,
    normals,
    padded,
    successes,
    threefry,
    uniforms,
    unit,
)
from mpi_fed.engine.wire_floats import CHUNK

LEVEL = 1e-9
MASK = 2**64 - 1
PURPOSES = (DATA, SHARED, PRIVATE, PARTICIPATION, ORDER, INITIAL)

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]
Indices = NDArray[np.int64]
Pair = tuple[int, int]
Fill = Callable[[Stream, np.uint64, np.uint64, int, Floats], None]


@kernel
def words(k0: np.uint64, k1: np.uint64, c0: Words, c1: Words, out: Words) -> None:
    """Write the words of Threefry for arrays of counters into out (shape (n, 2))."""
    for i in range(len(c0)):
        out[i, 0], out[i, 1] = threefry(k0, k1, c0[i], c1[i])


@kernel
def logs(u: Floats, out: Floats) -> None:
    for i in range(len(u)):
        out[i] = log_unit(u[i])


@kernel
def pairs(a: Words, b: Words, out: Floats) -> None:
    for i in range(len(a)):
        out[i, 0], out[i, 1] = normal_pair(a[i], b[i])


@kernel
def units(a: Words, out: Floats) -> None:
    for i in range(len(a)):
        out[i] = unit(a[i])


@kernel
def keyed(seed: np.uint64, purpose: np.uint64) -> np.uint64:
    return key(seed, purpose)


@kernel
def coins(seed: np.uint64, rounds: int, p: float, n: int, scratch: Floats, out: Indices, heads: Indices) -> None:
    """Write the trials of round r into row r of heads (shape (rounds, n))."""
    for r in range(rounds):
        count = successes(Stream(seed, np.uint64(0), np.uint64(r)), SHARED, p, n, scratch, out)
        for i in range(count):
            heads[r, out[i]] += 1


@kernel
def subsets(
    seed: np.uint64, rounds: int, d: int, taken: NDArray[np.uint8], draws: Floats, out: Indices, members: Indices
) -> None:
    """Write the indicator of the subset of round r into row r of members (shape (rounds, d))."""
    for r in range(rounds):
        subset(Stream(seed, np.uint64(0), np.uint64(r)), SHARED, d, taken, draws, out)
        for i in range(len(out)):
            members[r, out[i]] += 1


def reference(k: Pair, c: Pair, rounds: int) -> Pair:
    """Return the words of Threefry-2x64, computed with Python's integers (Salmon et al., 2011)."""
    schedule = [k[0], k[1], k[0] ^ k[1] ^ 0x1BD11BDAA9FC1A22]
    rotations = [16, 42, 12, 31, 16, 32, 24, 21]
    x, y = (c[0] + schedule[0]) & MASK, (c[1] + schedule[1]) & MASK
    for i in range(rounds):
        n = rotations[i % 8]
        x = (x + y) & MASK
        y = ((y << n | y >> (64 - n)) & MASK) ^ x
        if i % 4 == 3:
            s = i // 4 + 1
            x, y = (x + schedule[s % 3]) & MASK, (y + schedule[(s + 1) % 3] + s) & MASK
    return x, y


PI = ((0xA4093822299F31D0, 0x082EFA98EC4E6C89), (0x243F6A8885A308D3, 0x13198A2E03707344))
PUBLISHED: dict[int, list[tuple[Pair, Pair, Pair]]] = {  # rounds: (key, counter, words), from Random123's kat_vectors
    13: [
        ((0, 0), (0, 0), (0xF167B032C3B480BD, 0xE91F9FEE4B7A6FB5)),
        ((MASK, MASK), (MASK, MASK), (0xCCDEC5C917A874B1, 0x4DF53ABCA26CEB01)),
        (*PI, (0xC3AAC71561042993, 0x3FE7AE8801AFF316)),
    ],
    20: [
        ((0, 0), (0, 0), (0xC2B6E3A8C2C69865, 0x6F81ED42F350084D)),
        ((MASK, MASK), (MASK, MASK), (0xE02CB7C4D95D277A, 0xD06633D0893B8B68)),
        (*PI, (0x263C7D30BB0F0AF1, 0x56BE8361D3311526)),
    ],
}


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile the kernels that the tests call, while no other process does."""
    stream, scratch, whole = Stream(*np.zeros(3, np.uint64)), np.empty(CHUNK), np.zeros((1, 1), np.int64)
    with compiling():
        threefry_of((0, 0), (0, 0))
        logs(np.ones(1), np.empty(1))
        units(np.zeros(1, np.uint64), np.empty(1))
        pairs(np.zeros(1, np.uint64), np.zeros(1, np.uint64), np.empty((1, 2)))
        keyed(np.uint64(0), DATA)
        for fill in (normals, uniforms, dithers):
            fill(stream, DATA, np.uint64(0), 1, scratch)
        coins(np.uint64(0), 1, 0.5, 1, scratch[:GROUP], np.empty(1, np.int64), whole)
        subsets(np.uint64(0), 1, 1, np.zeros(1, np.uint8), scratch, np.empty(1, np.int64), whole)


def threefry_of(k: Pair, c: Pair) -> Pair:
    out = np.zeros((1, 2), np.uint64)
    with np.errstate(over="ignore"):
        words(np.uint64(k[0]), np.uint64(k[1]), np.array(c[:1], np.uint64), np.array(c[1:], np.uint64), out)
    return int(out[0, 0]), int(out[0, 1])


@pytest.mark.parametrize("rounds", [13, 20])
def test_the_reference_gives_the_published_answers(rounds: int) -> None:
    for k, c, answer in PUBLISHED[rounds]:
        assert reference(k, c, rounds) == answer


@pytest.mark.parametrize(("k", "c", "answer"), PUBLISHED[13])
def test_threefry_gives_the_published_answers(k: Pair, c: Pair, answer: Pair) -> None:
    assert threefry_of(k, c) == answer


def test_threefry_agrees_with_the_reference() -> None:
    draw = np.random.default_rng(0)
    for _ in range(300):
        k0, k1, c0, c1 = map(int, draw.integers(0, MASK, 4, np.uint64, endpoint=True))
        assert threefry_of((k0, k1), (c0, c1)) == reference((k0, k1), (c0, c1), 13)


def test_each_seed_and_purpose_has_its_own_key() -> None:
    seeds = [0, 1, 255, 256, SEED_LIMIT - 1]
    keys = {int(keyed(np.uint64(seed), purpose)) for seed in seeds for purpose in PURPOSES}
    assert len(keys) == len(seeds) * len(PURPOSES)


def test_streams_differ() -> None:
    """The first numbers of 11,520 streams differ: a collision of 52 bits has probability 1.5e-8."""
    seen = set()
    out = np.empty(2 * GROUP)
    places = itertools.product(
        (0, 1, SEED_LIMIT - 1), (0, 1, 2**32, int(EVERYONE)), (*range(158), 2**31, 2**62), PURPOSES
    )
    number = 0
    for seed, client, round, purpose in places:
        uniforms(Stream(np.uint64(seed), np.uint64(client), np.uint64(round)), purpose, np.uint64(0), 1, out)
        seen.add(out[0])
        number += 1
    assert len(seen) == number == 3 * 4 * 160 * 6


def test_words_of_a_million_counters_are_distinct_and_their_bits_fair() -> None:
    """2 million words are distinct (a collision of 64 bits: 1e-7), and neighbouring words are uncorrelated.

    Each of the 128 bits is a fair coin within 6.5 standard deviations (false alarm 1e-8).
    """
    n = 1_000_000
    out = np.zeros((n, 2), np.uint64)
    words(np.uint64(5 << 8 | 3), np.uint64(7), np.full(n, 9, np.uint64), np.arange(n, dtype=np.uint64), out)
    assert len(np.unique(out)) == 2 * n
    bits = np.unpackbits(out.view(np.uint8).reshape(n, 16), axis=1, bitorder="little")
    assert np.abs(bits.sum(axis=0) - n / 2).max() < 6.5 * np.sqrt(n) / 2
    flips = np.unpackbits((out[1:] ^ out[:-1]).view(np.uint8).reshape(n - 1, 16), axis=1)
    assert np.abs(flips.sum(axis=0) - n / 2).max() < 6.5 * np.sqrt(n) / 2


@pytest.mark.parametrize(("fill", "each"), [(normals, 2), (uniforms, 2), (dithers, 4)])
def test_numbers_depend_only_on_their_counters(fill: Fill, each: int) -> None:
    """The numbers do not depend on the number of elements or on the first block."""
    stream = Stream(np.uint64(3), np.uint64(1), np.uint64(2**40))
    n = 1_000_000
    whole, part = np.empty(padded(n)), np.empty(padded(n))
    fill(stream, DATA, np.uint64(0), n, whole)
    for block, count in ((1, 1), (77, 129), (n // each - 64, 100), (0, 63)):
        fill(stream, DATA, np.uint64(block), count, part)
        np.testing.assert_array_equal(part[:count], whole[each * block :][:count])


@pytest.mark.parametrize("count", [1, 2, 3, 63, 64, 65, 127, 128, 129, 1000])
@pytest.mark.parametrize("fill", [normals, uniforms, dithers])
def test_no_more_than_the_padding_is_written(fill: Fill, count: int) -> None:
    out = np.full(padded(count) + 8, 99.0)
    fill(Stream(np.uint64(3), np.uint64(1), np.uint64(0)), DATA, np.uint64(0), count, out)
    assert np.all(out[padded(count) :] == 99.0)
    assert np.all(out[:count] != 99.0)
    assert padded(count) % (2 * GROUP) == 0
    assert count <= padded(count) < count + 2 * GROUP


def test_the_logarithm_is_accurate() -> None:
    """Absolute and relative errors are below 1e-14 on (0, 1], with more points near both ends."""
    draw = np.random.default_rng(1)
    near_one = 1 - 2.0 ** -draw.uniform(1, 52, 200_000)
    u = np.concatenate([draw.random(500_000) + 2.0**-53, 2.0 ** -draw.uniform(0, 1000, 200_000), near_one, [1.0]])
    out = np.empty_like(u)
    logs(u, out)
    exact = np.log(u.astype(np.longdouble))
    error = np.abs(out - exact)
    assert error[np.abs(exact) <= 1].max() < 1e-14
    assert (error[exact != 0] / np.abs(exact[exact != 0])).max() < 1e-14
    assert out[-1] == 0.0


def test_box_muller_is_accurate() -> None:
    """Both normals of two words are within 1e-14 of the formula, relative to the radius, in all eight octants."""
    draw = np.random.default_rng(2)
    a, b = draw.integers(0, MASK, (2, 300_000), np.uint64, endpoint=True)
    a[:3], b[:3] = [0, MASK, 1 << 63], [MASK, 0, 7]
    out, u, v = np.empty((len(a), 2)), np.empty(len(a)), np.empty(len(a))
    pairs(a, b, out)
    units(a, u)
    units(b, v)
    wide = np.longdouble
    radius = np.sqrt(-2 * np.log1p(-u.astype(wide)))
    angle = v.astype(wide) * (np.arctan(wide(1)))
    x, y = np.cos(angle), np.sin(angle)
    swap, left, down = ((b >> np.uint64(i)) & np.uint64(1) == 1 for i in range(3))
    x, y = np.where(swap, y, x), np.where(swap, x, y)
    expected = np.stack([radius * np.where(left, -x, x), radius * np.where(down, -y, y)], axis=1)
    assert (np.abs(out - expected) / np.maximum(radius, 1e-300)[:, None]).max() < 1e-14
    assert np.isfinite(out).all()


def drawn(fill: Fill, n: int, purpose: np.uint64 = DATA, round: int = 0) -> Floats:
    out = np.empty(padded(n))
    fill(Stream(np.uint64(11), np.uint64(4), np.uint64(round)), purpose, np.uint64(0), n, out)
    return out[:n]


def test_normals_have_the_normal_law() -> None:
    """Kolmogorov-Smirnov test, five moments, tails, and correlations within a pair, of numbers and of squares.

    About 12 comparisons at 1e-9 each.
    """
    n = 1_000_000
    z = drawn(normals, n)
    assert stats.kstest(z, "norm").pvalue > LEVEL
    limit = stats.norm.isf(LEVEL / 2)
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        assert abs((z**power).mean() - mean) < limit * np.sqrt(variance / n), power
    for threshold in (3.0, 4.0, 4.5):
        expected = n * 2 * stats.norm.sf(threshold)
        beyond = np.count_nonzero(np.abs(z) > threshold)
        assert stats.poisson.cdf(beyond, expected) > LEVEL
        assert stats.poisson.sf(beyond - 1, expected) > LEVEL
    even, odd = z[::2], z[1::2]
    assert abs(np.mean(even * odd)) < limit * np.sqrt(2 / n)
    assert abs(np.mean((even**2 - 1) * (odd**2 - 1))) < limit * 2 * np.sqrt(2 / n)
    assert abs(np.mean(even[1:] * odd[:-1])) < limit * np.sqrt(2 / n)


@pytest.mark.parametrize("fill", [uniforms, dithers])
def test_uniforms_have_the_uniform_law(fill: Fill) -> None:
    """Range [0, 1), Kolmogorov-Smirnov test, correlations of neighbours up to 4 apart: 5 comparisons at 1e-9."""
    n = 1_000_000
    u = drawn(fill, n, PRIVATE)
    assert 0 <= u.min() < 1e-4
    assert 1 - 1e-4 < u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > LEVEL
    limit = stats.norm.isf(LEVEL / 2)
    for lag in (1, 2, 3, 4):
        assert abs(np.mean((u[lag:] - 0.5) * (u[:-lag] - 0.5))) < limit / 12 / np.sqrt(n - lag)


def test_dithers_of_one_word_round_independently() -> None:
    """Chi-square test, 15 degrees of freedom, at 1e-9: joint frequencies, on a grid, of two numbers from one word."""
    u = drawn(dithers, 1_000_000, PRIVATE).reshape(-1, 4)
    for first, second in ((0, 2), (1, 3)):
        cells = np.bincount((4 * u[:, first]).astype(int) * 4 + (4 * u[:, second]).astype(int), minlength=16)
        assert stats.chisquare(cells).pvalue > LEVEL


def heads_of(p: float, n: int, rounds: int) -> Indices:
    heads = np.zeros((rounds, n), np.int64)
    coins(np.uint64(8), rounds, p, n, np.empty(GROUP), np.empty(n, np.int64), heads)
    assert heads.max() <= 1
    return heads


@pytest.mark.parametrize("p", [0.05, 0.3, 0.9])
def test_successes_are_independent(p: float) -> None:
    """Chi-square test of all 2^5 patterns of five trials, 100,000 times, at 1e-9 each."""
    heads = heads_of(p, 5, 100_000)
    patterns = np.bincount(heads @ (1 << np.arange(5)), minlength=32)
    k = np.array([(i).bit_count() for i in range(32)])
    expected = len(heads) * p**k * (1 - p) ** (5 - k)
    common = expected >= 20
    seen, wanted = (
        np.append(patterns[common], patterns[~common].sum()),
        np.append(expected[common], expected[~common].sum()),
    )
    keep = wanted > 0
    assert stats.chisquare(seen[keep], wanted[keep]).pvalue > LEVEL


@pytest.mark.parametrize("p", [1e-4, 0.02, 0.5])
def test_successes_have_geometric_gaps(p: float) -> None:
    """Chi-square test of the gaps in a million trials (geometric law), and of the count (binomial law): 1e-9 each."""
    n = 1_000_000
    positions = np.flatnonzero(heads_of(p, n, 1)[0])
    assert LEVEL < stats.binom.cdf(len(positions), n, p) < 1 - LEVEL
    gaps = np.diff(positions)
    edges = np.unique(stats.geom.ppf(np.linspace(0, 1, 12)[1:-1], p))
    cells = np.bincount(np.searchsorted(edges, gaps), minlength=len(edges) + 1)
    law = np.diff(np.concatenate([[0], stats.geom.cdf(edges, p), [1]]))
    assert stats.chisquare(cells[law > 0], len(gaps) * law[law > 0]).pvalue > LEVEL


@pytest.mark.parametrize(("p", "n"), [(1.0, 7), (1e-300, 7), (0.5, 1), (1 - 1e-16, 100), (1e-12, 10**6)])
def test_successes_with_extreme_probabilities(p: float, n: int) -> None:
    heads = heads_of(p, n, 3)
    if p > 0.9:
        assert heads.all()
    if p < 1e-9:
        assert not heads.any()


def test_subset_is_uniform() -> None:
    """Chi-square test of all 20 subsets of 3 out of 6, 100,000 times, at 1e-9."""
    members, taken = np.zeros((100_000, 6), np.int64), np.zeros(6, np.uint8)
    subsets(np.uint64(2), len(members), 6, taken, np.empty(CHUNK), np.empty(3, np.int64), members)
    assert not taken.any()
    assert np.all(members.sum(axis=1) == 3)
    assert members.max() == 1
    counts = np.bincount(members @ (1 << np.arange(6)), minlength=64)
    possible = [sum(1 << i for i in chosen) for chosen in itertools.combinations(range(6), 3)]
    assert stats.chisquare(counts[possible]).pvalue > LEVEL


def test_large_subsets_are_uniform() -> None:
    """Subsets of 1,500 out of 4,000, over several chunks of draws, 400 times.

    The frequency of every coordinate is within 7 standard deviations (1e-8 over all).
    """
    d, h, rounds = 4000, 1500, 400
    members, taken = np.zeros((rounds, d), np.int64), np.zeros(d, np.uint8)
    subsets(np.uint64(3), rounds, d, taken, np.empty(CHUNK), np.empty(h, np.int64), members)
    assert members.max() == 1
    assert np.all(members.sum(axis=1) == h)
    share = h / d
    assert np.abs(members.sum(axis=0) - rounds * share).max() < 7 * np.sqrt(rounds * share * (1 - share))


def test_subsets_of_all_and_of_one_member() -> None:
    for d, h in ((1, 1), (9, 9), (9, 1)):
        members = np.zeros((50, d), np.int64)
        subsets(np.uint64(4), 50, d, np.zeros(d, np.uint8), np.empty(CHUNK), np.empty(h, np.int64), members)
        assert np.all(members.sum(axis=1) == h)
        assert members.max() == 1
