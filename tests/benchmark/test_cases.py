"""Which cases `mpi-fed bench` times."""

from __future__ import annotations

from mpi_fed.benchmark.cases import cases
from mpi_fed.compressors import compressors


def test_defaults_take_every_unbiased_compressor_at_equal_omega() -> None:
    found = cases(2).configurations
    unbiased = {kind for kind, model in compressors.items() if not model.biased}
    assert {c.compressor.kind for c in found if c.problem.dimension == 100} == unbiased
    assert {c.problem.dimension for c in found} == {100, 10_000, 1_000_000}
    assert {c.problem.dimension for c in found if c.compressor.kind == "sketch"} == {100}
    assert not any(c.route.kind == "auto" for c in found)
    assert len({c.id for c in found}) == len(found)
    for configuration in found:
        if configuration.compressor.kind != "none":
            d = configuration.problem.dimension
            assert 0.9 * d**0.5 < configuration.compressor.omega_bound(d) < 1.2 * d**0.5


def test_a_compressor_that_has_no_omega_is_timed_by_its_example() -> None:
    ((one,), _) = cases(3, [64], ["top-k"], ["gather"])
    assert one.compressor.kind == "top-k"
    assert one.clients == 3


def test_downlinks_are_timed_apart_and_once_where_there_is_none() -> None:
    kinds = ["none value_bits=32", "quantization levels=3"]
    found = cases(2, [64], kinds, ["gather", "allgather"], [32, 16, 32]).configurations
    told = [(c.route.kind, c.route.downlink_bits, c.compressor.kind) for c in found]
    ways = [("gather", 32), ("gather", 16), ("allgather", None)]
    assert told == [(*way, kind) for kind in ("none", "quantization") for way in ways]
    assert found[-1].compressor.levels == 3
    assert {c.route.downlink_bits for c in cases(2, [64], ["none"]).configurations} == {None}, "64 bits"


def test_compressed_downlinks_are_timed_in_place_of_floats_or_beside_them() -> None:
    def told(*words):
        return [(c.compressor.kind, c.route.kind, c.route.downlink_bits, c.downlink and c.downlink.kind)
                for c in cases(2, [64], *words).configurations]  # fmt: skip

    kinds, ways = ["rand-h", "quantization levels=3"], ["gather", "allgather"]
    everywhere = [(kind, "allgather", None, None) for kind in ("rand-h", "quantization")]
    both = [(kind, "gather", None, kind) for kind in ("rand-h", "quantization")]
    assert sorted(told(kinds, ways, None, ["same"]), key=str) == sorted([*both, *everywhere], key=str)
    (one,) = cases(2, [64], ["quantization levels=3"], ["auto"], None, ["same"]).configurations
    assert one.downlink == one.compressor
    beside = told(["rand-h"], ["auto"], [32, 16], ["rand-h", "quantization levels=7"])
    assert [back or bits for _, _, bits, back in beside] == [32, 16, "rand-h", "quantization"]
    (one,) = cases(2, [64], ["rand-h mask=common"], ["allreduce"]).configurations
    assert (one.compressor.h, one.compressor.mask) == (7, "common"), "omega = sqrt(d) where no size is given"


def test_impossible_cases_are_left_out_and_named_if_asked_for() -> None:
    found, left_out = cases(2, [64, 100], ["none"], ["reduce"])
    assert [(c.problem.dimension, c.compressor.value_bits) for c in found] == [(64, 32), (100, 32)]
    (sentence,) = left_out
    assert sentence.startswith("--route reduce --compressor none value_bits=16: ")
    assert cases(2, [64], ["none"]).left_out == [], "every route that carries it"
    found, left_out = cases(2, [64], ["partial-participation", "rand-h"], ["auto"], None, ["same"])
    assert [c.compressor.kind for c in found] == ["rand-h"]
    assert [sentence.split(":")[0] for sentence in left_out] == ["--downlink same --compressor partial-participation"]
