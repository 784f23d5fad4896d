"""`mpi-fed compare`: how two results of the bench differ, and which files it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.bench_documents import made_up, parsed, spoilt
from support.command import assert_refused

from mpi_fed.benchmark.compare import CONFIDENCE, FASTER, NEITHER, SLOWER, compare_benches
from mpi_fed.cli import main


def launches(rng, lines, factor=1.0):
    return parsed(made_up(factor * 50 * np.exp(0.1 * rng.standard_normal((lines, 5)))))


def one_launch(rng, lines, factor=1.0):
    return parsed(made_up(None, factor * (20 + 5 * rng.exponential(size=(lines, 100)))))


@pytest.mark.parametrize("make", [launches, one_launch])
def test_equal_distributions_are_told_apart_as_seldom_as_stated(make) -> None:
    """200 pairs of files, 8 lines each: one alarm in a whole pair has probability 5% at most.

    So more than 20 have probability 2e-3, were the seed not fixed.
    """
    rng = np.random.Generator(np.random.PCG64(3))
    told = [compare_benches(make(rng, 8), make(rng, 8), 1.0) for _ in range(200)]
    assert all(one.confidence == CONFIDENCE == 0.95 for one in told)
    assert sum(one.slower + one.faster > 0 for one in told) <= 20


@pytest.mark.parametrize(("make", "kind"), [(launches, "between launches"), (one_launch, "within a launch")])
def test_a_twofold_difference_is_found(make, kind) -> None:
    rng = np.random.Generator(np.random.PCG64(4))
    one, other = make(rng, 20), make(rng, 20, 2.0)
    slower, faster = compare_benches(one, other, 1.1), compare_benches(other, one, 1.1)
    assert (slower.slower, slower.faster) == (20, 0)
    assert (faster.slower, faster.faster) == (0, 20)
    for line in slower.lines:
        assert line.uncertainty == kind
        assert 1 < line.low < line.ratio < line.high
        assert line.low < 2 < line.high


def test_few_samples_of_one_launch_tell_nothing() -> None:
    told = compare_benches(parsed(made_up(None, [[1.0, 1.1, 1.2]])), parsed(made_up(None, [[5.0, 5.1, 5.2]])), 1.1)
    assert told.lines[0].verdict == NEITHER
    assert told.lines[0].low is told.lines[0].high is None


def test_less_than_the_threshold_is_neither_slower_nor_faster() -> None:
    files = made_up([[100.0, 100.1, 99.9, 100.0]]), made_up([[105.0, 105.1, 104.9, 105.0]])
    one, other = map(parsed, files)
    assert compare_benches(one, other, 1.1).lines[0].verdict == NEITHER
    assert compare_benches(one, other, 1.0).lines[0].verdict == SLOWER


def test_compare_says_what_differs(saved, capsys: pytest.CaptureFixture[str]) -> None:
    steady = [50.0, 50.5, 49.5, 50.2]
    first = saved("a.json", made_up([steady, steady, steady]))
    second = made_up([steady, [2 * median for median in steady], steady, steady], cpu=["b"])
    second["results"][2] |= {"verdict": "INVALID"}
    second = saved("b.json", second)
    assert main.main(["compare", first, second]) == 1
    output = capsys.readouterr().out
    assert 'machine differs, cpu: ["a"] in A, ["b"] in B' in output
    assert "only in B, not compared: none on gather, d = 4, 2 ranks" in output
    assert "INVALID, not compared: none on gather, d = 3, 2 ranks" in output
    assert "All 2 intervals hold together with 95%" in " ".join(output.split())
    assert output.endswith("1 slower, 0 faster, 1 no difference shown\n")
    assert main.main(["compare", second, first, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [line["verdict"] for line in told["lines"]] == [NEITHER, FASTER]
    assert told["only_in_first"] == ["none on gather, d = 4, 2 ranks"]


def test_compare_pairs_results_of_equal_downlinks(saved, capsys: pytest.CaptureFixture[str]) -> None:
    first = made_up([[50.0, 50.5], [50.0, 50.5]])
    del first["results"][0]["downlink_bits"]
    first["results"][1] |= {"dimension": 1, "downlink_bits": 16}
    second = made_up([[50.0, 50.5]])
    assert main.main(["compare", saved("a.json", first), saved("b.json", second)]) == 0
    output = capsys.readouterr().out
    assert "only in A, not compared: none on gather, 16 bits back, d = 1, 2 ranks" in output
    assert output.endswith("0 slower, 0 faster, 1 no difference shown\n")


def test_compare_names_the_compressor_of_the_downlink(saved, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = made_up([[50.0, 50.5], [50.0, 50.5], [50.0, 50.5]]), made_up([[50.0, 50.5]])
    for levels in (3, 7):
        back = {"downlink_bits": None, "downlink": {"kind": "quantization", "levels": levels, "value_bits": 32}}
        first["results"][1 if levels == 3 else 2] |= {"dimension": 1} | back
    second["results"].append(first["results"][2])
    assert main.main(["compare", saved("a.json", first), saved("b.json", second)]) == 0
    output = capsys.readouterr().out
    assert "only in A, not compared: none on gather, quantization levels=3 back, d = 1, 2 ranks" in output
    assert "gather, quantization levels=7 back" in output
    assert output.endswith("0 slower, 0 faster, 2 no difference shown\n")


def test_compare_says_that_a_single_launch_tells_nothing_of_launches(saved, capsys: pytest.CaptureFixture[str]) -> None:
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
def test_compare_takes_a_file_with_any_values_where_it_does_not_look(
    saved, capsys: pytest.CaptureFixture[str], changes
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
        ("[1]", "it is no JSON object"),
        ({"machine": {}}, "it lacks the key results"),
        ({"machine": {}, "results": 3}, "its results is none"),
        ({"machine": {}, "results": [3]}, "result 1 is no JSON object"),
        (spoilt(route=None), "result 1 lacks the key route"),
        (spoilt(quantiles=None), "result 1 lacks the key quantiles"),
        (spoilt(microseconds={"median": "fast"}), "result 1 has no such microseconds"),
        (spoilt(microseconds={"median": float("nan")}), "it is not JSON"),
        (spoilt() | {"machine": {"cores": float("inf")}}, "it is not JSON"),
        (json.dumps(spoilt() | {"machine": {"cores": 71}}).replace("71", "1e400"), "it is not JSON"),
        (spoilt(launch_medians=[]), "result 1 has no such launch_medians"),
        (spoilt(launch_medians=[0.0]), "result 1 has no such launch_medians"),
        (spoilt(launch_medians=[True]), "result 1 has no such launch_medians"),
        (spoilt(microseconds=3), "result 1 has no such microseconds"),
        (spoilt(microseconds={}), "result 1 has no such microseconds"),
        (spoilt(microseconds=None), "result 1 lacks the key microseconds"),
        (spoilt(verdict=None), "result 1 lacks the key verdict"),
        (spoilt(verdict=True), "result 1 has no such verdict"),
        (spoilt(ranks=True), "result 1 has no such ranks"),
        (spoilt(dimension=3.0), "result 1 has no such dimension"),
        (spoilt(compressor="none", verdict="INVALID"), "result 1 has no such compressor"),
        ({"machine": 3, "results": []}, "its machine is none"),
        (spoilt(quantiles=[1.0]), "result 1 has no such quantiles"),
        (spoilt(repetitions=0), "result 1 has no such repetitions"),
        (spoilt(downlink="floats"), "result 1 has no such downlink"),
        (spoilt(repetitions=10**400), "result 1 has no such repetitions"),
        (spoilt(dimension=0), "result 1 has no such dimension"),
        (spoilt(dimension=10**400), "result 1 has no such dimension"),
        (spoilt(ranks=-1), "result 1 has no such ranks"),
        (spoilt(downlink_bits=[16]), "result 1 has no such downlink_bits"),
        (spoilt(microseconds={"median": 10**400}), "result 1 has no such microseconds"),
        (spoilt() | {"results": spoilt()["results"] * 2}, "result 2 is there twice"),
    ],
    ids=lambda value: str(value) if len(str(value)) < 100 else "",  # files hold the time, which workers see differ
)
def test_a_file_that_is_not_a_bench_result_is_refused(
    saved, capsys: pytest.CaptureFixture[str], content, sentence
) -> None:
    good = saved("good.json", made_up([[1.0, 2.0]]))
    assert main.main(["compare", good, saved("bad.json", content)]) == 2
    assert_refused(capsys, ["bad.json: no bench result: ", sentence])


def test_files_with_nothing_in_common_are_refused(saved, capsys: pytest.CaptureFixture[str]) -> None:
    file, other = saved("a.json", made_up([[1.0, 2.0]])), saved("b.json", spoilt(ranks=3))
    assert main.main(["compare", file, other]) == 2
    assert_refused(capsys, ["a.json and b.json have no result in common"])
