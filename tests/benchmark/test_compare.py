"""`mpi-fed compare`: it compares two files of the bench, and refuses other files."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.bench_documents import made_up, parsed, spoilt
from support.command import assert_refused

from mpi_fed.benchmark.compare import CONFIDENCE, FASTER, NEITHER, SLOWER, compare_benches
from mpi_fed.benchmark.document import Bench
from mpi_fed.cli import main

Saved = Callable[[str, Any], str]


def launches(rng: np.random.Generator, lines: int, factor: float = 1.0) -> Bench:
    return parsed(made_up(factor * 50 * np.exp(0.1 * rng.standard_normal((lines, 5)))))


def one_launch(rng: np.random.Generator, lines: int, factor: float = 1.0) -> Bench:
    return parsed(made_up(None, factor * (20 + 5 * rng.exponential(size=(lines, 100)))))


@pytest.mark.parametrize("make", [launches, one_launch])
def test_equal_distributions_rarely_give_a_difference(make: Callable[..., Bench]) -> None:
    """200 pairs of files of 8 lines: the probability of a false alarm in a pair is at most 5%.

    So more than 20 alarms have probability 2e-3 for a random seed; the seed is fixed.
    """
    rng = np.random.Generator(np.random.PCG64(3))
    comparisons = [compare_benches(make(rng, 8), make(rng, 8), 1.0) for _ in range(200)]
    assert all(comparison.confidence == CONFIDENCE == 0.95 for comparison in comparisons)
    assert sum(comparison.slower + comparison.faster > 0 for comparison in comparisons) <= 20


@pytest.mark.parametrize(("make", "kind"), [(launches, "between launches"), (one_launch, "within a launch")])
def test_a_twofold_difference_is_found(make: Callable[..., Bench], kind: str) -> None:
    rng = np.random.Generator(np.random.PCG64(4))
    before, after = make(rng, 20), make(rng, 20, 2.0)
    slower, faster = compare_benches(before, after, 1.1), compare_benches(after, before, 1.1)
    assert (slower.slower, slower.faster) == (20, 0)
    assert (faster.slower, faster.faster) == (0, 20)
    for line in slower.lines:
        assert line.uncertainty == kind
        assert line.low is not None
        assert line.high is not None
        assert 1 < line.low < line.ratio < line.high
        assert line.low < 2 < line.high


def test_few_samples_of_one_launch_show_no_difference() -> None:
    before, after = parsed(made_up(None, [[1.0, 1.1, 1.2]])), parsed(made_up(None, [[5.0, 5.1, 5.2]]))
    (line,) = compare_benches(before, after, 1.1).lines
    assert line.verdict == NEITHER
    assert line.low is line.high is None


def test_less_than_the_threshold_is_neither_slower_nor_faster() -> None:
    files = made_up([[100.0, 100.1, 99.9, 100.0]]), made_up([[105.0, 105.1, 104.9, 105.0]])
    before, after = map(parsed, files)
    assert compare_benches(before, after, 1.1).lines[0].verdict == NEITHER
    assert compare_benches(before, after, 1.0).lines[0].verdict == SLOWER


def test_compare_reports_all_differences(saved: Saved, capsys: pytest.CaptureFixture[str]) -> None:
    steady = [50.0, 50.5, 49.5, 50.2]
    first = saved("a.json", made_up([steady, steady, steady]))
    document = made_up([steady, [2 * median for median in steady], steady, steady], cpu=["b"])
    document["results"][2] |= {"verdict": "INVALID"}
    second = saved("b.json", document)
    assert main.main(["compare", first, second]) == 1
    output = capsys.readouterr().out
    assert 'machine differs, cpu: ["a"] in A, ["b"] in B' in output
    assert "only in B, not compared: none on gather, d = 4, 2 ranks" in output
    assert "INVALID, not compared: none on gather, d = 3, 2 ranks" in output
    assert "All 2 intervals hold jointly with 95% confidence" in " ".join(output.split())
    assert output.endswith("1 slower, 0 faster, 1 no difference shown\n")
    assert main.main(["compare", second, first, "--json"]) == 0
    comparison = json.loads(capsys.readouterr().out)
    assert [line["verdict"] for line in comparison["lines"]] == [NEITHER, FASTER]
    assert comparison["only_in_first"] == ["none on gather, d = 4, 2 ranks"]


def test_compare_pairs_results_of_equal_downlinks(saved: Saved, capsys: pytest.CaptureFixture[str]) -> None:
    first = made_up([[50.0, 50.5], [50.0, 50.5]])
    del first["results"][0]["downlink_bits"]
    first["results"][1] |= {"dimension": 1, "downlink_bits": 16}
    second = made_up([[50.0, 50.5]])
    assert main.main(["compare", saved("a.json", first), saved("b.json", second)]) == 0
    output = capsys.readouterr().out
    assert "only in A, not compared: none on gather, 16 bits back, d = 1, 2 ranks" in output
    assert output.endswith("0 slower, 0 faster, 1 no difference shown\n")


def test_compare_shows_the_compressor_of_the_downlink(saved: Saved, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = made_up([[50.0, 50.5], [50.0, 50.5], [50.0, 50.5]]), made_up([[50.0, 50.5]])
    for levels in (3, 7):
        downlink = {"kind": "quantization", "levels": levels, "value_bits": 32}
        changes = {"dimension": 1, "downlink_bits": None, "downlink": downlink}
        first["results"][1 if levels == 3 else 2] |= changes
    second["results"].append(first["results"][2])
    assert main.main(["compare", saved("a.json", first), saved("b.json", second)]) == 0
    output = capsys.readouterr().out
    assert "only in A, not compared: none on gather, quantization levels=3 back, d = 1, 2 ranks" in output
    assert "gather, quantization levels=7 back" in output
    assert output.endswith("0 slower, 0 faster, 2 no difference shown\n")


def test_compare_warns_that_differences_of_launches_are_unknown(
    saved: Saved, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved("a.json", made_up(None, [np.linspace(40, 60, 100)]))
    assert main.main(["compare", file, file]) == 0
    assert "how much launches differ is unknown" in capsys.readouterr().out


@pytest.mark.parametrize(
    "changes",
    [
        {"microseconds": {"median": 1}},
        {"verdict": "INVALID", "microseconds": None, "launch_medians": None, "quantiles": None},
        {"verdict": "INVALID", "microseconds": 3, "launch_medians": "none", "quantiles": [0], "repetitions": 0},
        {"label": None, "clients": None, "phases": None, "reasons": None, "downlink_bits": None},
        {"label": 3, "clients": "2", "phases": [1], "reasons": {}, "launches": "5", "ratio": True, "news": 1},
        {"phases": {"wait": 1}, "transported_bytes": {"uplink": 1}, "floor_microseconds": "fast"},
        {"downlink_bits": 64.0, "downlink": None},
    ],
    ids=str,
)
def test_compare_accepts_any_values_of_fields_that_it_does_not_use(
    saved: Saved, capsys: pytest.CaptureFixture[str], changes: dict[str, Any]
) -> None:
    document = spoilt(**changes) | {"start_time": 3, "verdict": None, "format_version": "new", "conventions": []}
    assert main.main(["compare", saved("good.json", spoilt()), saved("odd.json", document)]) == 0
    assert capsys.readouterr().out.endswith(
        "0 slower, 0 faster, "
        + ("0 no difference shown\n" if changes.get("verdict") == "INVALID" else "1 no difference shown\n")
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "it is not JSON"),
        ("[1]", "it is not a JSON object"),
        ({"machine": {}}, "it lacks the key results"),
        ({"machine": {}, "results": 3}, "the value of its key results is not a list"),
        ({"machine": {}, "results": [3]}, "result 1 is not a JSON object"),
        (spoilt(route=None), "result 1 lacks the key route"),
        (spoilt(quantiles=None), "result 1 lacks the key quantiles"),
        (spoilt(microseconds={"median": "fast"}), "result 1 has a value of the key microseconds that no bench writes"),
        (spoilt(microseconds={"median": float("nan")}), "it is not JSON"),
        (spoilt() | {"machine": {"cores": float("inf")}}, "it is not JSON"),
        (json.dumps(spoilt() | {"machine": {"cores": 71}}).replace("71", "1e400"), "it is not JSON"),
        (spoilt(launch_medians=[]), "result 1 has a value of the key launch_medians that no bench writes"),
        (spoilt(launch_medians=[0.0]), "result 1 has a value of the key launch_medians that no bench writes"),
        (spoilt(launch_medians=[True]), "result 1 has a value of the key launch_medians that no bench writes"),
        (spoilt(microseconds=3), "result 1 has a value of the key microseconds that no bench writes"),
        (spoilt(microseconds={}), "result 1 has a value of the key microseconds that no bench writes"),
        (spoilt(microseconds=None), "result 1 lacks the key microseconds"),
        (spoilt(verdict=None), "result 1 lacks the key verdict"),
        (spoilt(verdict=True), "result 1 has a value of the key verdict that no bench writes"),
        (spoilt(ranks=True), "result 1 has a value of the key ranks that no bench writes"),
        (spoilt(dimension=3.0), "result 1 has a value of the key dimension that no bench writes"),
        (
            spoilt(compressor="none", verdict="INVALID"),
            "result 1 has a value of the key compressor that no bench writes",
        ),
        ({"machine": 3, "results": []}, "the value of its key machine is not an object"),
        (spoilt(quantiles=[1.0]), "result 1 has a value of the key quantiles that no bench writes"),
        (spoilt(repetitions=0), "result 1 has a value of the key repetitions that no bench writes"),
        (spoilt(downlink="floats"), "result 1 has a value of the key downlink that no bench writes"),
        (spoilt(repetitions=10**400), "result 1 has a value of the key repetitions that no bench writes"),
        (spoilt(dimension=0), "result 1 has a value of the key dimension that no bench writes"),
        (spoilt(dimension=10**400), "result 1 has a value of the key dimension that no bench writes"),
        (spoilt(ranks=-1), "result 1 has a value of the key ranks that no bench writes"),
        (spoilt(downlink_bits=[16]), "result 1 has a value of the key downlink_bits that no bench writes"),
        (spoilt(microseconds={"median": 10**400}), "result 1 has a value of the key microseconds that no bench writes"),
        (spoilt() | {"results": spoilt()["results"] * 2}, "result 2 repeats an earlier one"),
    ],
    ids=lambda value: str(value) if len(str(value)) < 100 else "",  # files contain the time, which differs by worker
)
def test_a_file_that_is_not_a_bench_result_is_refused(
    saved: Saved, capsys: pytest.CaptureFixture[str], content: Any, sentence: str
) -> None:
    good = saved("good.json", made_up([[1.0, 2.0]]))
    assert main.main(["compare", good, saved("bad.json", content)]) == 2
    assert_refused(capsys, ["bad.json: not a bench result: ", sentence])


def test_files_with_nothing_in_common_are_refused(saved: Saved, capsys: pytest.CaptureFixture[str]) -> None:
    file, other = saved("a.json", made_up([[1.0, 2.0]])), saved("b.json", spoilt(ranks=3))
    assert main.main(["compare", file, other]) == 2
    assert_refused(capsys, ["a.json and b.json have no result in common"])
