"""The cases that `mpi-fed bench` times."""

from __future__ import annotations

from collections.abc import Sequence

from mpi_fed.benchmark.cases import cases
from mpi_fed.compressors import compressors


def test_defaults_take_every_unbiased_compressor_at_equal_omega() -> None:
    configurations = cases(2).configurations
    unbiased = {kind for kind, model in compressors.items() if not model.biased}
    assert {c.compressor.kind for c in configurations if c.problem.dimension_of() == 100} == unbiased
    assert {c.problem.dimension_of() for c in configurations} == {100, 10_000, 1_000_000}
    assert {c.problem.dimension_of() for c in configurations if c.compressor.kind == "sketch"} == {100}
    assert not any(c.route.kind == "auto" for c in configurations)
    assert len({c.id for c in configurations}) == len(configurations)
    for configuration in configurations:
        if configuration.compressor.kind != "none":
            d = configuration.problem.dimension_of()
            assert 0.9 * d**0.5 < configuration.compressor.omega_bound(d) < 1.2 * d**0.5


def test_a_compressor_without_omega_is_timed_with_its_example() -> None:
    ((configuration,), _) = cases(3, [64], ["top-k"], ["gather"])
    assert configuration.compressor.kind == "top-k"
    assert configuration.clients == 3


def test_each_downlink_is_a_case_and_a_route_without_one_occurs_once() -> None:
    kinds = ["none value_bits=32", "quantization levels=3"]
    configurations = cases(2, [64], kinds, ["gather", "allgather"], [32, 16, 32]).configurations
    triples = [(c.route.kind, c.route.downlink_bits, c.compressor.kind) for c in configurations]
    pairs = [("gather", 32), ("gather", 16), ("allgather", None)]
    assert triples == [(*pair, kind) for kind in ("none", "quantization") for pair in pairs]
    assert configurations[-1].compressor.table()["levels"] == 3
    assert {c.route.downlink_bits for c in cases(2, [64], ["none"]).configurations} == {None}, "64 bits"


def test_compressed_downlinks_are_timed_in_place_of_floats_or_in_addition() -> None:
    def summaries(
        kinds: Sequence[str], routes: Sequence[str], bits: Sequence[int] | None, downlinks: Sequence[str]
    ) -> list[tuple[str, str, int | None, str | None]]:
        return [
            (c.compressor.kind, c.route.kind, c.route.downlink_bits, c.downlink.kind if c.downlink else None)
            for c in cases(2, [64], kinds, routes, bits, downlinks).configurations
        ]

    kinds, routes = ["rand-h", "quantization levels=3"], ["gather", "allgather"]
    everywhere = [(kind, "allgather", None, None) for kind in ("rand-h", "quantization")]
    both = [(kind, "gather", None, kind) for kind in ("rand-h", "quantization")]
    assert sorted(summaries(kinds, routes, None, ["same"]), key=str) == sorted([*both, *everywhere], key=str)
    (configuration,) = cases(2, [64], ["quantization levels=3"], ["auto"], None, ["same"]).configurations
    assert configuration.downlink == configuration.compressor
    beside = summaries(["rand-h"], ["auto"], [32, 16], ["rand-h", "quantization levels=7"])
    assert [downlink or bits for _, _, bits, downlink in beside] == [32, 16, "rand-h", "quantization"]
    (configuration,) = cases(2, [64], ["rand-h mask=common"], ["allreduce"]).configurations
    table = configuration.compressor.table()
    assert (table["h"], table["mask"]) == (7, "common"), "omega = sqrt(d) if no size is given"


def test_impossible_cases_are_left_out_and_reported_if_requested() -> None:
    configurations, left_out = cases(2, [64, 100], ["none"], ["reduce"])
    sizes = [(c.problem.dimension_of(), c.compressor.value_bits) for c in configurations]
    assert sizes == [(64, 32), (100, 32)]
    (sentence,) = left_out
    assert sentence.startswith("--route reduce --compressor none value_bits=16: ")
    assert cases(2, [64], ["none"]).left_out == [], "all routes that can carry it"
    configurations, left_out = cases(2, [64], ["partial-participation", "rand-h"], ["auto"], None, ["same"])
    assert [c.compressor.kind for c in configurations] == ["rand-h"]
    assert [sentence.split(":")[0] for sentence in left_out] == ["--downlink same --compressor partial-participation"]
