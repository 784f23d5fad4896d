"""`mpi-fed model`: the fit finds the costs of a made-up machine, and predictions equal those computed by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command import run
from support.made_up_machine import FRAME, RAND, both_ways, made_up
from support.study_text import configuration, loaded_study
from support.theory_simulation import compress

from mpi_fed.analysis.cost_model.answer import Line, answer, break_even
from mpi_fed.analysis.cost_model.costs import CACHE, Scheme, fit_costs
from mpi_fed.analysis.cost_model.fit import fit
from mpi_fed.analysis.cost_model.held_out import checked, held_out_sizes
from mpi_fed.analysis.cost_model.machine import Machine, homes, linked
from mpi_fed.analysis.cost_model.points import Point, points
from mpi_fed.analysis.cost_model.recipe import Recipe, recipe_of
from mpi_fed.analysis.cost_model.rounds import Trace, bench_trace, study_traces
from mpi_fed.cli.main import main
from mpi_fed.engine import compile_switch
from mpi_fed.theory import predict

FLOAT32, FLOAT16 = (Recipe("none", json.dumps({"value_bits": bits})) for bits in (32, 16))

Saved = Callable[..., list[str]]


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Saved:
    """Function that writes documents or texts to files, and returns the names of the files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compile_switch, "compile_kernels", compile_switch.compile_kernels)

    def save(**files: Any) -> list[str]:
        for name, content in files.items():
            (tmp_path / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
        return [f"{name}.json" for name in files]

    return save


@pytest.fixture
def measured(saved: Saved) -> list[Point]:
    """Points of a shared memory and of links of 1 Gbit/s and 100 Mbit/s."""
    saved(memory=made_up(), fast=made_up(link=1e9), slow=made_up(link=1e8))
    return points(["memory.json", "fast.json@1gbit", "slow.json@100mbit"])[0]


def test_the_fit_finds_sums_and_outliers_have_little_influence() -> None:
    rng = np.random.Generator(np.random.PCG64(1))
    features = np.stack([np.ones(40), 10 ** rng.uniform(2, 6, 40)], axis=1)
    values = features @ [3e-6, 2e-9]
    np.testing.assert_allclose(fit(features, values), [3e-6, 2e-9], rtol=1e-9)
    values[::5] *= 10
    np.testing.assert_allclose(fit(features, values), [3e-6, 2e-9], rtol=0.02)
    assert (fit(features, 1 / features[:, 1]) >= 0).all(), "no cost is negative"


def test_the_fit_finds_the_costs_of_a_made_up_machine(measured: list[Point]) -> None:
    costs = fit_costs(measured)
    for recipe in (FLOAT32, FLOAT16, RAND):
        pairs: list[tuple[str, Recipe | None]] = [("gradient", None), ("update", None)]
        for phase, codec in [*pairs, ("encode", recipe), ("decode", recipe)]:
            features = np.array([1.0, 5000.0, max(0, 5000 - CACHE), recipe.message_bytes(5000) if codec else 0.0])
            assert costs.compute[phase, codec] @ features == pytest.approx(1e-6 + 2e-9 * 5000, rel=1e-6)
    assert costs.ways["shared memory", "gather"] == pytest.approx((5e-6, 0.2e-9, 0.0), rel=1e-6)
    assert costs.ways["TCP", "gather"] == pytest.approx((5e-6, 0.2e-9, 1.0), rel=1e-6)
    for bits in (32, 16):
        assert costs.ways["TCP", bits] == pytest.approx((7e-6, 0.2e-9, 1.0), rel=1e-6)


def test_held_out_sizes_rates_and_ranks_of_a_made_up_machine_are_predicted_exactly(
    measured: list[Point], saved: Saved
) -> None:
    misses = held_out_sizes(measured)
    assert len(misses) == 3 * 4 * 6
    assert sum(miss.beyond for miss in misses) == 3 * 2 * 6
    assert max(abs(miss.error) for miss in misses) < 1e-6
    saved(other=made_up((20_000,), 3e8), four=made_up((20_000,), 3e7, ranks=4))
    others = points(["other.json@300mbit", "four.json@30mbit"])[0]
    misses = checked(measured, others)
    assert len(misses) == 12
    assert max(abs(miss.error) for miss in misses) < 1e-6
    twice = points(saved(twice=made_up((20_000,), factor=2.0)))[0]
    assert {round(miss.error, 6) for miss in checked(measured, twice)} == {-0.5}


def test_results_in_memory_are_not_compared_with_those_over_links(saved: Saved) -> None:
    saved(memory=made_up(), slow=made_up(link=1e8, bits=(16,)))
    costs, machine = fit_costs(points(["memory.json", "slow.json@100mbit"])[0]), linked("here", 4, 1e7, 0.0)
    assert {row.downlink_bits for row in answer(costs, bench_trace, machine, 1_000, 1e-3)} == {16}
    alone = fit_costs(points(["memory.json"])[0])
    assert {row.downlink_bits for row in answer(alone, bench_trace, machine, 1_000, 1e-3)} == {32, 16}


def test_two_sizes_are_too_few_to_hold_one_out(saved: Saved) -> None:
    assert held_out_sizes(points(saved(two=made_up((1_000, 3_000))))[0]) == []


def test_rounds_near_the_burst_of_a_link_are_not_checked(saved: Saved, measured: list[Point]) -> None:
    document = made_up((1_000, 10_000, 30_000), 1e8)
    document["machine"]["cables"] = [{"up": 10**8, "down": 10**8, "burst": 5_000}] * 2
    cabled = points(saved(cabled=document))[0]
    assert {point.link for point in cabled} == {1e8}
    kept = {(m.point.dimension, m.point.recipe.name, m.point.bits) for m in checked(measured, cabled)}
    assert (1_000, "float32", 32) not in kept, "4 kB, near the burst of 5 kB"
    assert (30_000, "float32", 32) in kept
    free = made_up(link=math.inf)
    free["machine"]["cables"] = [{"up": None, "down": None, "burst": None}] * 2
    unlimited = points(saved(free=free))[0]
    assert {point.link for point in unlimited} == {math.inf}
    assert max(abs(miss.error) for miss in checked(measured, unlimited)) < 1e-6
    document["machine"]["cables"][0] = {"up": None, "down": 10**8, "burst": 5_000}
    assert main(["model", *saved(uneven=document)]) == 2


def test_break_even_is_where_two_lines_meet() -> None:
    plain, packed = Line(1e-3, 8e5), Line(3e-3, 1e5)
    low, high = break_even(packed, [plain]) or (math.nan, math.nan)
    assert low == 0.0
    assert high == pytest.approx(7e5 / 2e-3)
    assert break_even(plain, [packed]) == pytest.approx((7e5 / 2e-3, math.inf))
    assert break_even(Line(1e-3, 1e5), [plain]) == (0.0, math.inf), "equal fixed costs, fewer bytes"
    assert break_even(Line(5e-4, 1e5), [plain]) == (0.0, math.inf)
    assert break_even(Line(2e-3, 9e5), [plain]) is None
    assert break_even(plain, [plain]) is None
    assert break_even(Line(2e-3, 3e5), [plain, packed]) == pytest.approx((2e5 / 1e-3, 5e5 / 1e-3))
    assert break_even(Line(2.9e-3, 7e5), [plain, packed]) is None


def test_a_row_equals_the_computation_by_hand(measured: list[Point]) -> None:
    """rand-h relative to float16, with 16 hosts and 16 bits on the downlink."""
    costs, d, machine = fit_costs(measured), 10_000, linked("here", 16, 1e7, 1e-3)
    rows = {(row.compressor, row.downlink_bits): row for row in answer(costs, bench_trace, machine, d, 1e-3)}
    row, h = rows[RAND.name, 16], RAND.at(d).table()["h"]
    gain = row.float16
    assert gain is not None
    codec, wire = 1e-6 + 2e-9 * d, 0.2e-9 + 8 * FRAME / 1e7
    down = 4 * (7e-6 + 1e-3) + 15 / 8 * 2 * d * wire
    fixed = 3 * codec + 16 * codec + 15 * 5e-6 + 1e-3 + down
    assert row.round_seconds == pytest.approx(fixed + 15 * 4 * h * wire, rel=1e-6)
    half = fixed + 15 * 2 * d * wire
    assert gain.round == pytest.approx(half / row.round_seconds, rel=1e-6)
    assert gain.faster_between == "always"
    more = trace_of(RAND, d).value / d
    assert gain.to_risk == pytest.approx(half / row.round_seconds / more, rel=1e-6)
    assert row.rounds == pytest.approx(more * d / 16 / 2e-3)
    assert row.rounds is not None
    assert row.seconds_to_risk == pytest.approx(row.rounds * row.round_seconds)
    halves, floats = rows["float16", 16].float16, rows["float32", 32].float32
    assert halves is not None
    assert floats is not None
    assert halves.round == floats.round == 1


def trace_of(recipe: Recipe, dimension: int, down: Recipe | None = None, clients: int = 1) -> Trace:
    """Return the limit trace for the bench's problem, which must exist."""
    trace = bench_trace(recipe, dimension, down, clients)
    assert trace is not None
    return trace


def test_homes_do_not_forward_messages_and_clients_in_memory_take_turns(measured: list[Point]) -> None:
    costs, d, scheme = fit_costs(measured), 10_000, Scheme(FLOAT16, "gather", 16)
    phases = costs.phases(scheme, d, homes("here", 10**6, 1_000))
    busiest = 8 * FRAME * max(2 * d / 50e6, 1_000 * 2 * d / 10e9)
    assert phases["downlink"] == pytest.approx(1_000 * (7e-6 + 2 * d * 0.2e-9) + busiest + 0.02, rel=1e-6)
    assert phases["decode"] == pytest.approx(1_000 * (1e-6 + 2e-9 * d), rel=1e-6)
    alone, four = (costs.phases(scheme, d, Machine("here", clients, cores=1)) for clients in (1, 4))
    assert four["gradient"] == pytest.approx(4 * alone["gradient"])


def test_a_shared_scale_has_times_but_no_rounds_to_a_risk(measured: list[Point]) -> None:
    """A byte holds the sum of the 3 levels of 16 clients, but not of 100 clients."""
    levels = Recipe("quantization", json.dumps({"levels": 3}))
    shared = replace(levels, joint_route="reduce-levels")
    assert [shared.message_bytes(1_000, clients) for clients in (16, 100)] == [1_004, 2_004]
    assert levels.message_bytes(1_000, 100) == 4 + 3 * 125
    more = [
        replace(point, recipe=recipe, route=route, payload=recipe.message_bytes(point.dimension, 2))
        for point in measured
        if point.recipe == FLOAT32 and point.bits == 32
        for route, recipe in (("gather", levels), ("reduce-levels", shared))
    ]
    rows = answer(fit_costs([*measured, *more]), bench_trace, linked("links", 100, 1e8, 0.0), 1_000, 1e-3)
    by_route = {row.route: row for row in rows if row.compressor.startswith("quantization")}
    assert by_route.keys() == {"gather", "reduce-levels"}
    gathered, summed = (by_route[route].float32 for route in ("gather", "reduce-levels"))
    assert gathered is not None
    assert summed is not None
    assert (by_route["gather"].rounds or 0) > 0
    assert (gathered.to_risk or 0) > 0
    assert (by_route["reduce-levels"].rounds, summed.to_risk) == (None, None)
    assert summed.round > 0


def test_participants_send_floats_and_rounds_without_senders_take_no_time(measured: list[Point]) -> None:
    costs, d, machine = fit_costs(measured), 10_000, linked("here", 2, 1e7, 0.0)
    recipe = Recipe("partial-participation", '{"p": 0.1, "value_bits": 32}')
    mean = costs.seconds(Scheme(recipe, "gather", 32), d, machine)
    busy = 1 - 0.9**2
    phases = costs.phases(Scheme(FLOAT32, "gather", 32), d, machine)
    messages = 0.2 / busy
    seconds = sum(phases[name] for name in ("gradient", "encode", "update", "downlink"))
    seconds += messages / 2 * (phases["uplink"] + phases["decode"])
    assert mean == pytest.approx(busy * seconds, rel=1e-6)


@pytest.mark.parametrize(
    "table",
    [{"kind": "none"}, {"kind": "rand-h", "h": 3}, {"kind": "sketch", "h": 4}, {"kind": "quantization", "levels": 1},
     {"kind": "quantization", "levels": 3}, {"kind": "partial-participation", "p": 0.25}],
    ids=lambda table: " ".join(map(str, table.values())),
)  # fmt: skip
def test_limit_traces_equal_those_of_theory(table: dict[str, Any]) -> None:
    """Sampled traces agree within five standard errors. 1 of 10^6 seeds would fail; the seed is fixed."""
    expected = predict(configuration(table, clients=3, problem={"dimension": 30, "rotation": "diagonal"}))
    assert expected.limit_trace is not None
    trace = trace_of(recipe_of(table, 30, "here"), 30)
    slack = 5 * (trace.error + 3 * (expected.limit_trace_error or 0.0)) + 1e-9 * trace.value
    assert trace.value == pytest.approx(3 * expected.limit_trace, abs=slack)


@pytest.mark.parametrize(
    ("up", "down", "clients"),
    [("quantization levels=2", "quantization levels=1", 3), ("none", "quantization levels=3", 1),
     ("bernoulli p=0.5", "rand-h h=2", 3), ("quantization levels=2", "bernoulli p=0.4", 2),
     ("rand-h h=2", "quantization levels=1", 2), ("sketch h=2", "quantization levels=2", 4)],
)  # fmt: skip
def test_limit_traces_of_compression_both_ways_equal_a_mean_over_draws(up: str, down: str, clients: int) -> None:
    """The mean of N sum_j C_down(mean_i C(e_i x_i))_j^2 / lambda_j over 40,000 draws, other than those of the code.

    The traces agree within four standard errors. 1 of 16,000 seeds would fail; the seeds are fixed.
    """
    d, draws, rng = 6, 40_000, np.random.Generator(np.random.PCG64(3))
    uplink, downlink = (recipe_of(_table(text), d, "here") for text in (up, down))
    eigenvalues = 1 / np.arange(1.0, d + 1)
    total = np.zeros((draws, d))
    for _ in range(clients):
        x = np.sqrt(eigenvalues) * rng.standard_normal((draws, d))
        total += compress(uplink.at(d), rng.standard_normal((draws, 1)) * x, rng) / clients
    values = clients * (compress(downlink.at(d), total, rng) ** 2 / eigenvalues).sum(axis=1)
    trace = trace_of(uplink, d, downlink, clients)
    assert abs(trace.value - values.mean()) < 4 * math.hypot(trace.error, values.std() / math.sqrt(draws))
    assert trace.error < 0.03 * trace.value


def _table(text: str) -> dict[str, Any]:
    kind, *parameters = text.split()
    return {"kind": kind} | {key: json.loads(value) for key, value in (word.split("=") for word in parameters)}


@pytest.mark.parametrize(("up", "down"), [("top-k k=2", "quantization levels=1"), ("none", "top-k k=2")])
def test_unsupported_downlinks_have_no_trace(up: str, down: str) -> None:
    first, second = (recipe_of(_table(text), 6, "here") for text in (up, down))
    assert bench_trace(first, 6, second, 2) is None


def test_biased_compressors_have_no_trace() -> None:
    assert bench_trace(recipe_of({"kind": "top-k", "k": 3}, 30, "here"), 30) is None


def test_a_recipe_recognizes_omega_of_the_bench_and_other_parameters() -> None:
    fitted = recipe_of({"kind": "rand-h", "h": RAND.at(1_000).table()["h"], "value_bits": 32}, 1_000, "here")
    assert fitted == RAND
    assert fitted.at(10_000).table()["h"] == 99
    fixed = recipe_of({"kind": "rand-h", "h": 7, "value_bits": 32}, 1_000, "here")
    assert fixed.at(10_000).table()["h"] == 7
    assert (RAND.name, FLOAT16.name, fixed.name) == ("rand-h, omega = sqrt(d)", "float16", "rand-h h=7")


def test_a_machine_without_any_possible_scheme_is_left_out(saved: Saved, capsys: pytest.CaptureFixture[str]) -> None:
    """If all results have a compressed downlink, homes with partial participation have no rows."""
    (file,) = saved(both=both_ways(made_up()))
    assert main(["model", file, "--json"]) == 0
    names = [machine["name"] for machine in json.loads(capsys.readouterr().out)["machines"]]
    assert "memory" in names
    assert "homes-100" in names
    assert not {"homes-10k", "homes-1m"} & set(names)
    assert main(["model", file, "--preset", "homes-10k"]) == 2
    assert "needs all clients in every round" in capsys.readouterr().err


def test_in_memory_all_clients_decode_a_compressed_downlink_in_turns(saved: Saved) -> None:
    """16 clients on 2 cores take 8 times as long as 2 clients to decode and update."""
    costs = fit_costs(points(saved(both=both_ways(made_up())))[0])
    scheme = next(scheme for scheme in costs.schemes if scheme.down)
    few, many = (costs.phases(scheme, 3_000, Machine("memory", n, cores=2)) for n in (2, 16))
    for phase in ("update", "downlink_decode"):
        assert many[phase] == pytest.approx(8 * few[phase])
    assert many["downlink_encode"] == pytest.approx(few["downlink_encode"])


def test_rounds_are_predicted_for_the_problem_of_the_study(tmp_path: Path) -> None:
    study = loaded_study(tmp_path, clients=2, problem={"dimension": 20, "eigenvalue_decay": 0})
    traces, dimension = study_traces(study)
    assert dimension == 20
    plain, kept = (traces(recipe, 20, None, 1) for recipe in (FLOAT32, RAND))
    assert plain is not None
    assert kept is not None
    assert plain.value == pytest.approx(20)
    assert kept.value == pytest.approx(20 * 20 / RAND.at(20).table()["h"])


def test_the_command_prints_a_json_document_and_tables(saved: Saved, capsys: pytest.CaptureFixture[str]) -> None:
    files = saved(memory=made_up(), slow=made_up(link=1e8))
    words = ["model", files[0], f"{files[1]}@100mbit", "--preset", "memory", "homes-1m", "--dimension", "2000"]
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [machine["name"] for machine in document["machines"]] == ["memory", "homes-1m"]
    assert [len(machine["rows"]) for machine in document["machines"]] == [6, 6]
    assert document["held_out"]["between"]["worst"] < 1e-6
    assert {way["medium"] for way in document["fit"]["ways"]} == {"shared memory", "TCP"}
    assert document["machines"][0]["rows"][0]["float16"]["faster_between"] is None, "a memory has no link rates"
    assert main(words) == 0
    output = capsys.readouterr().out
    assert "1,000,000 clients, 1,000 a round" in output
    assert "Held-out error of a round, sizes between measured ones: median 0" in " ".join(output.split())


def test_points_do_not_depend_on_fields_that_the_model_does_not_use(saved: Saved) -> None:
    needed = ("route", "compressor", "dimension", "ranks", "repetitions", "downlink_bits", "payload_bytes", "messages")
    document = made_up((1_000,))
    results = []
    for result in document["results"]:
        phases = {name: {"min": phase["min"], "max": phase["max"]} for name, phase in result["phases"].items()}
        times = {name: result[name] for name in ("verdict", "quantiles", "launch_medians")}
        odd = {"label": 3, "clients": [], "ratio": "high", "reasons": None, "transported_bytes": 7}
        results.append(
            {name: result[name] for name in needed if name in result}
            | times
            | odd
            | {"microseconds": {"median": result["microseconds"]["median"]}, "phases": phases | {"wait": 1}}
        )
    files = saved(whole=document, part={"machine": document["machine"], "results": results, "start_time": 3})
    whole, part = (points([file])[0] for file in files)
    assert [replace(point, file="") for point in part] == [replace(point, file="") for point in whole]


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        (["nowhere.json"], ["nowhere.json: cannot read the file"]),
        (["empty.json"], ["empty.json: no VALID result"]),
        (["hosts.json"], ["hosts.json was measured on several hosts", "hosts.json@1gbit"]),
        (["ranks.json@1gbit"], ["ranks.json: over links, the model needs one rank a host"]),
        (["sums.json", "--preset", "homes-1m"], ["homes-1m: cannot run any of the measured configurations"]),
        (["good.json@fastbit"], ["good.json@fastbit: cannot read the file"]),
        (["good.json@0mbit"], ["good.json@0mbit: 0mbit is not a rate above 0"]),
        (["good.json", "--preset", "moon"], ["--preset moon: unknown machine; choose one of memory"]),
        (["good.json", "--bandwidth", "fast"], ["--bandwidth: fast is not a rate above 0; write 100mbit"]),
        (["good.json", "--bandwidth", "1gbit", "--latency", "20"], ["--latency: 20 is not a time; write 20ms"]),
        (["good.json", "--clients", "3"], ["--clients changes a machine", "--bandwidth 100mbit"]),
        (["good.json", "--preset", "memory", "--latency", "1ms"], ["--preset memory has no links"]),
        (["good.json", "--preset", "10mbit", "--participants", "99"], ["--participants 99: there are 16 clients"]),
        (["good.json", "--preset", "10mbit", "--clients", "0"], ["--clients", "not an integer of at least 1"]),
        (["good.json", "--risk", "0"], ["--risk 0: give a number above 0"]),
        (["good.json", "--dimension", "999999999"], ["--dimension 999999999: give a dimension from 1 to 100,000,000"]),
        (["good.json", "--study", "nowhere.toml"], ["nowhere.toml: cannot read the study file"]),
        (["phases.json"], ["phases.json: result 1 has a value of the key phases that no bench writes"]),
        (["list.json"], ["list.json: result 1 has a value of the key phases that no bench writes"]),
        (["names.json"], ["names.json: its machine has a value of the key hosts that no bench writes"]),
        (["cables.json"], ["cables.json: its machine has a value of the key cables that no bench writes"]),
        (["messages.json"], ["messages.json: result 1 has a value of the key messages that no bench writes"]),
        (["route.json"], ["route.json: result 1: unknown route pigeon"]),
        (["kind.json"], ["kind.json: result 1:", "not a known compressor"]),
    ],
    ids=" ".join,
)
def test_bad_input_is_refused(
    saved: Saved, capsys: pytest.CaptureFixture[str], words: list[str], sentences: list[str]
) -> None:
    def changed(**keys: Any) -> dict[str, Any]:
        document: dict[str, Any] = made_up((1_000,))
        document["results"][0] |= keys
        return document

    empty: dict[str, Any] = {"machine": {}, "results": []}
    saved(good=made_up((1_000,)), empty=empty, hosts=made_up((1_000,), link=1e9), phases=changed(phases={}))
    saved(list=changed(phases=[1]))
    sums = made_up((1_000,))
    sums["results"] = [result | {"route": "allreduce"} for result in sums["results"][::2]]
    saved(ranks=made_up((1_000,)), sums=sums)
    names, cables = made_up((1_000,)), made_up((1_000,), link=1e9)
    names["machine"]["hosts"] = None
    cables["machine"]["cables"] = [{"up": 10**6, "down": 10**6, "burst": None}] * 2
    saved(names=names, cables=cables, messages=changed(messages=10**400))
    saved(route=changed(route="pigeon"), kind=changed(compressor={"kind": "nothing"}))
    assert main(["model", *words]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1
    assert [text for text in sentences if text not in output.err] == []


@pytest.mark.slow
@pytest.mark.usefixtures("alone")
def test_from_a_bench_to_an_answer(tmp_path: Path) -> None:
    """The bench runs uncompiled, so its times are meaningless."""
    plain: dict[str, Any] = {"NUMBA_DISABLE_JIT": "1"}
    words = ("--launches=1", "--repetitions=20", "--dimension", "5", "9", "--downlink-bits", "32", "16")
    kinds = ("--compressor", "none", "quantization levels=3", "--route", "auto", "--out", "bench.json")
    run("bench", *words, *kinds, folder=tmp_path, **plain)
    results = json.loads((tmp_path / "bench.json").read_text())["results"]
    assert {result["downlink_bits"] for result in results} == {32, 16}
    assert {result["compressor"].get("levels") for result in results} == {None, 3}
    document = json.loads(run("model", "bench.json", "--preset", "memory", "--json", folder=tmp_path, **plain).stdout)
    rows = document["machines"][0]["rows"]
    assert len(rows) == 12
    assert all(row["round_seconds"] > 0 and row["float16"]["round"] > 0 for row in rows)
