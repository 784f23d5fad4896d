"""The numbers of a result, computed from samples."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from support.bench_documents import SECONDS, hand_made

from mpi_fed.benchmark import VALID
from mpi_fed.benchmark.document import Percentiles, PhaseTimes
from mpi_fed.benchmark.result import percentile, result_of, round_seconds


def test_percentiles_are_nearest_ranks() -> None:
    samples = np.array([15.0, 20.0, 35.0, 40.0, 50.0])
    expected = {0: 15, 5: 15, 30: 20, 40: 20, 50: 35, 90: 50, 99: 50, 100: 50}
    assert {percent: percentile(samples, percent) for percent in expected} == expected
    hundred = np.random.default_rng(1).permutation(np.arange(1.0, 101.0))
    assert [percentile(hundred, percent) for percent in (1, 50, 90, 99)] == [1, 50, 90, 99]


def test_a_round_is_the_slowest_rank_before_and_after_the_wait() -> None:
    """gradient + encode: 3 and 17; uplink + decode + update + downlink with its packing and unpacking: 39 and 21."""
    np.testing.assert_allclose(round_seconds(hand_made().phases), 56 * SECONDS)


def test_the_numbers_of_a_result() -> None:
    result = result_of([hand_made(), hand_made(2.0)])
    assert result.microseconds == Percentiles(min=56, median=56, p90=112, p99=112)
    assert result.launch_medians == [56, 112]
    assert result.launch_spread == 1
    assert result.phases is not None
    assert result.phases["wait"] == PhaseTimes(min=3, mean=5, max=7)
    assert result.communication_microseconds == 11
    assert result.bare_microseconds == 5
    assert result.ratio == 2.2
    assert result.goodput == pytest.approx(40 / 11e-6, rel=1e-5)
    assert result.repetitions == 40
    assert result.verdict == VALID
    assert result_of([hand_made(bare=False)]).bare_microseconds is None
    assert result_of([hand_made(), hand_made(reasons=["no"])]).reasons == ["no"]
    json.dumps(asdict(result_of([hand_made(samples=0)])), allow_nan=False)
