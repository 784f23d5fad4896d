"""`mpi-fed bench` times rounds and finds what is wrong with them; `mpi-fed compare` tells two of its files apart."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from support.command import run
from support.trajectories import configurations

from mpi_fed.benchmark import VALID, floor
from mpi_fed.benchmark.cases import cases
from mpi_fed.benchmark.compare import CONFIDENCE, FASTER, NEITHER, SLOWER, comparison
from mpi_fed.benchmark.result import Measured, document, percentile, round_seconds, summary
from mpi_fed.cli import main, options
from mpi_fed.compressors import compressors
from mpi_fed.engine import compile_switch
from mpi_fed.engine.phase_clock import STEPS
from mpi_fed.launch import launcher
from mpi_fed.routes import routes

PLAIN = {"NUMBA_DISABLE_JIT": "1"}
"""Times mean nothing then, and nothing is compiled: no test here looks at one."""
TINY = ("--dimension=5", "--repetitions=20", "--launches=1")
SECONDS = 1e-6


# The command, on ranks of its own.


@pytest.fixture
def bench(tmp_path, alone):
    """`mpi-fed bench --json ARGUMENTS` on tiny vectors, and what it has printed."""

    def call(*arguments, status=0, **options):
        words = ("bench", "--json", *TINY, *arguments)
        return json.loads(run(*words, status=status, folder=tmp_path, **PLAIN, **options).stdout)

    return call


def test_every_route_is_timed_under_both_mpis(bench, mpi_python, tmp_path):
    words = ("--compressor", "none", "bernoulli", "quantization", "--out", "saved.json")
    told = bench(*words, python=mpi_python)
    assert json.loads((tmp_path / "saved.json").read_text()) == told
    assert told["verdict"] == VALID
    assert {"cpu", "cores", "hosts", "mpi_library", "dependency_versions"} <= set(told["machine"])
    assert told["machine"]["compiled"] is False
    by_name = {(one["label"], one["route"]): one for one in told["results"]}
    assert {("none", "gather"), ("none", "gatherv"), ("none value_bits=16", "gather")} <= set(by_name)
    assert ("bernoulli p=0.309017", "gatherv") in by_name
    assert ("bernoulli p=0.309017", "gather") not in by_name, "it cannot carry that"
    for one in told["results"]:
        assert one["verdict"] == VALID, one["reasons"]
        assert (one["ranks"], one["clients"], one["dimension"]) == (2, 2, 5)
        assert (one["repetitions"], one["launches"]) == (20, 1)
        assert set(one["phases"]) == set(STEPS)
        assert one["phases"]["downlink_encode"]["max"] == 0, "w is sent as it is"
        assert all(phase["min"] <= phase["mean"] <= phase["max"] for phase in one["phases"].values())
        times = one["microseconds"]
        assert 0 < times["min"] <= times["median"] <= times["p90"] <= times["p99"]
        assert len(one["quantiles"]) == 101
        assert one["launch_medians"] == [times["median"]]
        assert one["goodput"] > 0
        has_floor = one["route"] in floor.COLLECTIVES and shutil.which("cc")
        assert (one["floor_microseconds"] or 0) > 0 if has_floor else one["floor_microseconds"] is None
        assert one["bare_microseconds"] > 0, "every route of the package says what its bare collectives are"
        assert one["ratio"] > 0
    assert {route for _, route in by_name} == routes.keys() - {"auto"}
    none = by_name["none", "gather"]
    assert none["compressor"] == {"kind": "none", "value_bits": 32}
    assert (none["payload_bytes"], none["messages"]) == (20, 2)
    assert none["transported_bytes"] == {"uplink": 40, "downlink": 80}
    assert by_name["none value_bits=16", "gather"]["payload_bytes"] == 10
    assert 0 < by_name["bernoulli p=0.309017", "gatherv"]["payload_bytes"] < 20


def test_without_a_compiler_there_is_no_floor(tmp_path, monkeypatch):
    mpiexec = launcher.find_launcher()
    if shutil.which("cc"):
        assert floor.compiled(tmp_path).stat().st_size > 0
    nowhere = launcher.Launcher(str(tmp_path / "mpiexec"), mpiexec.family, mpiexec.version)
    monkeypatch.setattr(launcher, "find_launcher", lambda: nowhere)
    assert floor.compiled(tmp_path) is None


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_floor_is_of_the_bytes_that_the_ledger_has(tmp_path, monkeypatch):
    """What is asked of the program, and that a route it does not know is left out."""
    asked = []
    monkeypatch.setattr(launcher, "run_programs", lambda ranks, programs: asked.append((ranks, *programs)) or [1])
    known = {"route": "gather", "ranks": 4, "launches": 2, "repetitions": 40, "compressor": {"value_bits": 64}}
    known |= {"transported_bytes": {"uplink": 80, "downlink": 800}}
    everywhere = known | {"route": "allgather"}
    results = [known | {"floor_microseconds": None}, everywhere, known | {"route": "auto"}]
    floor.add_floors(results, tmp_path)
    assert results[0]["floor_microseconds"] is None  # the launch has failed
    assert [ranks for ranks, _ in asked] == [4]
    assert (tmp_path / "floor.txt").read_text() == "gather 20 64 200 20\nallgather 20 64 0 20\n"


@pytest.mark.slow
def test_ranks_that_a_launcher_started_are_timed(mpi_python, tmp_path, alone):
    """Three of them, here in a table; `--ranks 2` is refused before anything is measured."""
    words = ("bench", *TINY[:2], "--compressor=quantization", "--route=gather", "--out=three.json")
    ended = under_launcher(mpi_python, tmp_path, *words)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.rstrip().endswith(f"\n{VALID}")
    (one,) = json.loads((tmp_path / "three.json").read_text())["results"]
    assert (one["ranks"], one["messages"], one["launches"]) == (3, 3, 1)
    ended = under_launcher(mpi_python, tmp_path, *words, "--ranks=2")
    assert ended.returncode == 3
    assert "--ranks 2 was asked for, and the launcher started 3" in ended.stderr


def under_launcher(python, folder, *words):
    with launcher.prepared(3, [python, "-P", "-m", "mpi_fed", *words], python=python) as (command, surroundings):
        where = {"cwd": folder, "env": surroundings | PLAIN, "stdin": subprocess.DEVNULL}
        return subprocess.run(command, capture_output=True, text=True, timeout=300, **where)


@pytest.mark.slow
def test_launches_are_told_apart_and_silent_rounds_left_out(bench, tmp_path):
    told = bench("--compressor=partial-participation", "--route=gatherv", "--launches=2")
    (one,) = told["results"]
    assert (one["launches"], one["repetitions"], len(one["launch_medians"])) == (2, 40, 2)
    assert one["launch_spread"] >= 0
    assert 1 <= one["messages"] <= 2
    assert one["payload_bytes"] == 20
    assert told["verdict"] == VALID


@pytest.mark.slow
def test_compression_both_ways_is_timed_under_both_mpis(bench, mpi_python):
    """Over routes that gather and that add, with messages of a length of their own, and one that only the root has."""
    kinds = ("none value_bits=32", "quantization levels=7", "bernoulli", "rand-h mask=common")
    ways = ("auto", "reduce", "reduce-levels", "tree", "allreduce")
    backs = ("same", "quantization levels=3", "bernoulli indices=explicit")
    told = bench("--compressor", *kinds, "--route", *ways, "--downlink", *backs, python=mpi_python)
    assert told["verdict"] == VALID
    found = {(one["label"], one["route"], json.dumps(one["downlink"])): one for one in told["results"]}
    assert len(found) == len(told["results"]) >= 25
    for one in told["results"]:
        assert one["verdict"] == VALID, one["reasons"]
        assert one["downlink_bits"] is None
        assert (one["downlink"] is None) == (one["route"] == "allreduce")
        assert one["bare_microseconds"] > 0
        for step in ("downlink_encode", "downlink_decode"):
            assert (one["phases"][step]["max"] > 0) == (one["downlink"] is not None)
    three = [one for one in told["results"] if (one["downlink"] or {}).get("levels") == 3]
    assert {one["transported_bytes"]["downlink"] for one in three if one["route"] == "gather"} == {2 * (4 + 3)}
    same = [one for one in told["results"] if one["compressor"] == one["downlink"]]
    assert {one["compressor"]["kind"] for one in same} == {"none", "quantization", "bernoulli"}


@pytest.mark.slow
def test_silent_rounds_are_not_counted_whatever_the_length_of_what_comes_back(bench):
    told = bench("--compressor=partial-participation", "--route=gatherv", "--downlink=bernoulli")
    (one,) = told["results"]
    assert told["verdict"] == VALID
    assert 1 <= one["messages"] <= 2


WRONG = '''
from typing import NamedTuple
import numpy as np
from mpi_fed.engine.operations.compressor import decode, encode
from mpi_fed.compressors import compressors
from mpi_fed.compressors.none import NoCompression, NoneKernel
from mpi_fed.engine.operations.downlink import Broadcast
from mpi_fed.engine.operations.overlap import Blocking
from mpi_fed.engine.mpi_calls import ROOT
from mpi_fed.routes import routes
from mpi_fed.routes.gather import Gather, GatherKernel
from mpi_fed.engine.operations.route import uplink

class NoisyKernel(NamedTuple):
    downlink: Broadcast
    pending: Blocking
    gather: GatherKernel

@routes.register
class Noisy(Gather):
    """Adds to the mean in one round."""

    kind = "noisy"
    Kernel = NoisyKernel

    def kernel(self, place, compressor, dimension):
        gather = super().kernel(place, compressor, dimension)
        return NoisyKernel(gather.downlink, gather.pending, gather)

    @staticmethod
    def uplink(kernel, round, total):
        code = uplink(kernel.gather, round, total)
        if round.comm.rank == ROOT and round.number == 502:
            total[0] += 1e-9
        return code

class ShortKernel(NamedTuple):
    none: NoneKernel

@compressors.register
class Short(NoCompression):
    """Says that its messages are longer than they are."""

    kind = "short"
    Kernel = ShortKernel

    def payload_bytes_max(self, dimension):
        return 4 * dimension + 8

    def kernel(self, dimension):
        return ShortKernel(super().kernel(dimension))

    @staticmethod
    def encode(kernel, x, payload, message):
        return encode(kernel.none, x, payload, message)

    @staticmethod
    def decode(kernel, payload, weight, out, message):
        decode(kernel.none, payload[: 4 * len(out)], weight, out, message)
'''


def test_what_is_wrong_is_invalid(bench, tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)
    words = ("--plugin=wrong.py", "--compressor", "none", "short", "--route", "gather", "noisy")
    told = bench(*words, status=1)
    assert told["verdict"] == "INVALID"
    iterate = "the iterate is not, bit for bit, that of the same rounds on one rank"
    length = "a message of 20 bytes was packed, where payload_bytes_max says 28"
    booked = "the ledger has 56 bytes for a round in which 40 were packed"
    found = {(one["compressor"]["kind"], one["route"]): one for one in told["results"]}
    assert found["none", "gather"]["verdict"] == VALID
    assert found["none", "noisy"]["reasons"] == [iterate]
    for route in ("gather", "noisy"):
        assert found["short", route]["reasons"] == [length, booked, iterate]
    assert found["none", "noisy"]["bare_microseconds"] is None, "the route does not say"
    assert found["none", "noisy"]["ratio"] is None


BARE = [
    *((route, {}, 'kind = "none"') for route in routes if route not in ("auto", "reduce-levels")),
    ("reduce-levels", {}, 'kind = "quantization"'),
    *(("gather", {"downlink_bits": bits}, 'kind = "none"') for bits in (32, 16)),
    *((route, {}, 'kind = "bernoulli"\np = 0.3\nindices = "explicit"') for route in ("gatherv", "allgatherv")),
    *((route, {"downlink": {"kind": "quantization", "levels": 3}}, 'kind = "none"') for route in ("gather", "tree")),
    ("gather", {"downlink": {"kind": "bernoulli", "p": 0.7, "indices": "explicit"}}, 'kind = "none"'),
]


@pytest.mark.mpi(ranks=3)
@pytest.mark.parametrize(("kind", "options", "compressor"), BARE, ids=lambda value: str(value).split("\n")[0])
def test_bare_collectives_move_the_bytes_of_the_last_round(world, tmp_path, kind, options, compressor):
    """Up, what had arrived arrives again; down, what had gone: w in floats, its compressed direction, or nothing."""
    from mpi4py import MPI

    from mpi_fed.benchmark.measure import bare_round
    from mpi_fed.engine.compilation import compiling
    from mpi_fed.engine.mpi_calls import comm_of
    from mpi_fed.engine.operations.downlink import CompressedBroadcast, NoDownlink
    from mpi_fed.runner.simulation import Simulation
    from mpi_fed.study.validation import component

    (given,) = configurations(tmp_path, "gaussian", (compressor,), rounds=1)
    back = options.get("downlink")
    given = replace(given, downlink=back and component(compressors, back, "here").resolve(given.problem.dimension_of()))
    options = {key: value for key, value in options.items() if key != "downlink"}
    given = replace(given, route=routes[kind](**options).resolve(given.compressor))
    simulation = Simulation(given, given.problem.prepare(given.clients), world.comm, [0, 1])
    simulation.compile()
    simulation.start(0)
    simulation.advance(1)
    route, wire, jobs, w = simulation.kernels.route, simulation.wire, simulation.schedule, simulation.state.w
    with compiling():
        bare_round(route, comm_of(MPI.COMM_SELF), wire, jobs, w, w.copy(), 0, 0, np.zeros(2))
    arrived, before = wire.receive.copy(), w.copy()
    is_everywhere, is_compressed = (isinstance(route.downlink, kind) for kind in (NoDownlink, CompressedBroadcast))
    bits = None if is_everywhere or is_compressed else options.get("downlink_bits", 64)
    sent_back = w if bits in (None, 64) else route.downlink.buffer
    if is_compressed:
        sent_back = route.downlink.payload
    gone = sent_back.copy()
    for array in (wire.receive, wire.all_sizes, *([] if world.is_root else [w, sent_back])):
        array.fill(0)
    assert bare_round(route, simulation.comm, wire, jobs, w, w.copy(), 0, 1, np.zeros(2)) == 0
    assert wire.receive.tobytes() == arrived.tobytes()
    assert not (world.is_root or is_everywhere) or wire.receive.any()
    if is_compressed:
        assert len(set(world.comm.allgather(sent_back.tobytes()))) == 1
        assert sent_back.tobytes() == gone.tobytes()
        assert sent_back.any()
    else:
        assert world.is_root or w.any() == (bits == 64), "w itself is sent as float64 alone"
    if bits:
        assert sent_back.nbytes == bits // 8 * len(w)
        assert sent_back.any()
        assert len(set(world.comm.allgather(sent_back.tobytes()))) == 1
    assert not world.is_root or w.tobytes() == before.tobytes()


@pytest.mark.mpi(ranks=2)
@pytest.mark.parametrize("route", ["reduce", "tree-reduce"])
def test_sums_that_differ_by_a_rounding_may_come_back_as_neighbours(world, route):
    """Of float16, rounded at random. The seed is fixed, and two numbers have one sum: nothing is left to chance."""
    from mpi_fed.benchmark.measure import measure

    (one,) = cases(2, [100], ["none value_bits=32"], [route], [16]).configurations
    found = measure(one, 1_000, world)
    assert (found is not None) == world.is_root
    assert found is None or found.reasons == []


def test_too_few_rounds_are_invalid(bench):
    told = bench("--compressor=none", "--route=gather", "--repetitions=3", status=1)
    assert told["results"][0]["reasons"] == ["3 rounds were timed, and fewer than 20 say too little"]


# What is timed.


def test_defaults_take_every_unbiased_compressor_at_equal_omega():
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


def test_a_compressor_that_has_no_omega_is_timed_by_its_example():
    ((one,), _) = cases(3, [64], ["top-k"], ["gather"])
    assert one.compressor.kind == "top-k"
    assert one.clients == 3


def test_downlinks_are_timed_apart_and_once_where_there_is_none():
    kinds = ["none value_bits=32", "quantization levels=3"]
    found = cases(2, [64], kinds, ["gather", "allgather"], [32, 16, 32]).configurations
    told = [(c.route.kind, c.route.downlink_bits, c.compressor.kind) for c in found]
    ways = [("gather", 32), ("gather", 16), ("allgather", None)]
    assert told == [(*way, kind) for kind in ("none", "quantization") for way in ways]
    assert found[-1].compressor.levels == 3
    assert {c.route.downlink_bits for c in cases(2, [64], ["none"]).configurations} == {None}, "64 bits"


def test_compressed_downlinks_are_timed_in_place_of_floats_or_beside_them():
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


def test_what_cannot_be_is_left_out_and_named_where_it_was_asked_for():
    found, left_out = cases(2, [64, 100], ["none"], ["reduce"])
    assert [(c.problem.dimension, c.compressor.value_bits) for c in found] == [(64, 32), (100, 32)]
    (sentence,) = left_out
    assert sentence.startswith("--route reduce --compressor none value_bits=16: ")
    assert cases(2, [64], ["none"]).left_out == [], "every route that carries it"
    found, left_out = cases(2, [64], ["partial-participation", "rand-h"], ["auto"], None, ["same"])
    assert [c.compressor.kind for c in found] == ["rand-h"]
    assert [sentence.split(":")[0] for sentence in left_out] == ["--downlink same --compressor partial-participation"]


# Figures from samples.


def test_percentiles_are_nearest_ranks():
    samples = np.array([15.0, 20.0, 35.0, 40.0, 50.0])
    expected = {0: 15, 5: 15, 30: 20, 40: 20, 50: 35, 90: 50, 99: 50, 100: 50}
    assert {percent: percentile(samples, percent) for percent in expected} == expected
    hundred = np.random.default_rng(1).permutation(np.arange(1.0, 101.0))
    assert [percentile(hundred, percent) for percent in (1, 50, 90, 99)] == [1, 50, 90, 99]


def hand_made(factor=1.0, samples=20, bare=True, **changed):
    """Two ranks whose steps take 1, 2, ... 9 and 9, 8, ... 1 microseconds, the bare collectives 5."""
    own = np.arange(1.0, 10.0)
    phases = factor * SECONDS * np.tile(np.array([own, own[::-1]])[:, None, :], (1, samples, 1))
    bare_seconds = np.full((samples, 2), [2 * SECONDS, 3 * SECONDS]) if bare else None
    given = {"route": "gather", "compressor": {"kind": "none"}, "label": "none", "dimension": 5, "clients": 2}
    given |= {"downlink_bits": 64, "compressed_downlink": None}
    sizes = {"payload_bytes": 20.0, "messages": 2.0, "uplink": 40.0, "downlink": 80.0, "reasons": []}
    return Measured(phases=phases, bare=bare_seconds, **(given | sizes | changed))


def test_a_round_is_the_slowest_rank_before_and_after_the_wait():
    """gradient + encode: 3 and 17; uplink + decode + update + downlink with its packing and unpacking: 39 and 21."""
    np.testing.assert_allclose(round_seconds(hand_made().phases), 56 * SECONDS)


def test_figures_of_a_result():
    told = summary([hand_made(), hand_made(2.0)])
    assert told["microseconds"] == {"min": 56, "median": 56, "p90": 112, "p99": 112}
    assert told["launch_medians"] == [56, 112]
    assert told["launch_spread"] == 1
    assert told["phases"]["wait"] == {"min": 3, "mean": 5, "max": 7}
    assert told["communication_microseconds"] == 11
    assert told["bare_microseconds"] == 5
    assert told["ratio"] == 2.2
    assert told["goodput"] == pytest.approx(40 / 11e-6, rel=1e-5)
    assert told["repetitions"] == 40
    assert told["verdict"] == VALID
    assert summary([hand_made(bare=False)])["bare_microseconds"] is None
    assert summary([hand_made(), hand_made(reasons=["no"])])["reasons"] == ["no"]
    json.dumps(summary([hand_made(samples=0)]), allow_nan=False)


# Comparisons of made-up files.


def made_up(medians, samples=None, **machine):
    """A file whose results have these launches' medians, or one launch of these samples each."""
    results = []
    for number, own in enumerate(medians if samples is None else samples, start=1):
        quantiles = np.percentile(own, range(101), method="inverted_cdf").tolist()
        times = TEMPLATE["microseconds"] | {"median": quantiles[50]}
        told = {"dimension": number, "quantiles": quantiles, "microseconds": times, "repetitions": len(own)}
        results.append(TEMPLATE | told | {"launch_medians": [*own] if samples is None else [times["median"]]})
    return document({"cpu": ["a"]} | machine, []) | {"results": results}


TEMPLATE = summary([hand_made()])


def launches(rng, lines, factor=1.0):
    return made_up(factor * 50 * np.exp(0.1 * rng.standard_normal((lines, 5))))


def one_launch(rng, lines, factor=1.0):
    return made_up(None, factor * (20 + 5 * rng.exponential(size=(lines, 100))))


@pytest.mark.parametrize("make", [launches, one_launch])
def test_equal_distributions_are_told_apart_as_seldom_as_stated(make):
    """200 pairs of files, 8 lines each: one alarm in a whole pair has probability 5% at most.

    So more than 20 have probability 2e-3, were the seed not fixed."""
    rng = np.random.Generator(np.random.PCG64(3))
    told = [comparison(make(rng, 8), make(rng, 8), 1.0) for _ in range(200)]
    assert all(one["confidence"] == CONFIDENCE == 0.95 for one in told)
    assert sum(one[SLOWER] + one[FASTER] > 0 for one in told) <= 20


@pytest.mark.parametrize(("make", "kind"), [(launches, "between launches"), (one_launch, "within a launch")])
def test_twofold_is_found(make, kind):
    rng = np.random.Generator(np.random.PCG64(4))
    one, other = make(rng, 20), make(rng, 20, 2.0)
    slower, faster = comparison(one, other, 1.1), comparison(other, one, 1.1)
    assert (slower[SLOWER], slower[FASTER]) == (20, 0)
    assert (faster[SLOWER], faster[FASTER]) == (0, 20)
    for line in slower["lines"]:
        assert line["uncertainty"] == kind
        assert 1 < line["low"] < line["ratio"] < line["high"]
        assert line["low"] < 2 < line["high"]


def test_few_samples_of_one_launch_tell_nothing():
    told = comparison(made_up(None, [[1.0, 1.1, 1.2]]), made_up(None, [[5.0, 5.1, 5.2]]), 1.1)
    assert told["lines"][0]["verdict"] == NEITHER
    assert told["lines"][0]["low"] is told["lines"][0]["high"] is None


def test_less_than_the_threshold_is_neither():
    one, other = made_up([[100.0, 100.1, 99.9, 100.0]]), made_up([[105.0, 105.1, 104.9, 105.0]])
    assert comparison(one, other, 1.1)["lines"][0]["verdict"] == NEITHER
    assert comparison(one, other, 1.0)["lines"][0]["verdict"] == SLOWER


@pytest.fixture
def saved(tmp_path, monkeypatch, alone):
    """A file that holds this text or object."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compile_switch, "compile_kernels", compile_switch.compile_kernels)

    def write(name, content):
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return name

    return write


def test_compare_says_what_differs(saved, capsys):
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


def test_compare_holds_equal_downlinks_against_each_other(saved, capsys):
    first = made_up([[50.0, 50.5], [50.0, 50.5]])
    del first["results"][0]["downlink_bits"]
    first["results"][1] |= {"dimension": 1, "downlink_bits": 16}
    second = made_up([[50.0, 50.5]])
    assert main.main(["compare", saved("a.json", first), saved("b.json", second)]) == 0
    output = capsys.readouterr().out
    assert "only in A, not compared: none on gather, 16 bits back, d = 1, 2 ranks" in output
    assert output.endswith("0 slower, 0 faster, 1 no difference shown\n")


def test_compare_tells_what_compresses_the_way_back(saved, capsys):
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


def test_compare_says_that_a_single_launch_tells_nothing_of_launches(saved, capsys):
    file = saved("a.json", made_up(None, [np.linspace(40, 60, 100)]))
    assert main.main(["compare", file, file]) == 0
    assert "how much launches differ is unknown" in capsys.readouterr().out


# Bad input: one sentence, exit status 2, no launcher.


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        (["bench", "--route", "gahter"], ["--route gahter", 'did you mean "gather"']),
        (["bench", "--compressor", "nothing"], ["--compressor nothing", "no compressor known here"]),
        (["bench", "--compressor", "bernoulli", "--route", "gather"], ["gather --compressor bernoulli:", "vary"]),
        (["bench", "--compressor", ""], ["--compressor", 'kind is ""']),
        (
            ["bench", "--dimension", "10000000", "--compressor", "sketch", "--route", "gather"],
            ["sketch h=3161 needs", "vectors 762 GB of it", "give a smaller --dimension"],
        ),
        (["bench", "--dimension", "20000000"], ["--dimension 20000000", "1 to 10,000,000"]),
        (["bench", "--dimension", "0"], ["--dimension", "no integer of at least 1"]),
        (["bench", "--dimension=10000000", "--ranks=999", "--route=gather", "--compressor=none"], ["bytes"]),
        (["bench", "--repetitions", "many"], ["--repetitions"]),
        (["bench", "--out", "no/such/folder.json"], ["--out no/such/folder.json", "a folder that is there"]),
        (["bench", "--downlink-bits", "8"], ["--downlink-bits", "64, 32, 16"]),
        (["bench", "--compressor", "quantization levels"], ['--compressor "quantization levels"', "levels=127"]),
        (["bench", "--compressor", "quantization level=3"], ["at dimension 100", 'no key "level"', '"levels"']),
        (["bench", "--downlink", "nothing"], ["--downlink nothing", "no compressor known here"]),
        (["bench", "--downlink", "top-k"], ["--downlink top-k", "is biased"]),
        (["bench", "--downlink", "quantization levels"], ['--downlink "quantization levels"', "levels=127"]),
        (["bench", "--plugin", "nowhere.py"], ["nowhere.py: cannot read the file"]),
        (["compare", "nowhere.json", "nowhere.json"], ["nowhere.json: cannot read the file"]),
        (["compare", "a.json"], ["B.json"]),
        (["compare", "a.json", "a.json", "--threshold", "0.5"], ["--threshold", "at least 1"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_bad_input(saved, capsys, monkeypatch, words, sentences):
    monkeypatch.setattr(launcher, "run_programs", lambda *arguments: pytest.fail("the launcher was started"))
    assert main.main(words) == 2
    refused(capsys, sentences)


def refused(capsys, sentences):
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1
    assert [text for text in sentences if text not in output.err] == []


def broken(**changed):
    told = made_up([[1.0, 2.0]])
    (one,) = told["results"]
    one |= {key: value for key, value in changed.items() if value is not None}
    for key in [key for key, value in changed.items() if value is None]:
        del one[key]
    return told


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "it is not JSON"),
        ("[1]", "it is no JSON object"),
        ({"machine": {}}, "it lacks the key results"),
        ({"machine": {}, "results": 3}, "its results is none"),
        ({"machine": {}, "results": [3]}, "result 1 is no JSON object"),
        (broken(route=None), "result 1 lacks the key route"),
        (broken(quantiles=None), "result 1 lacks the key quantiles"),
        (broken(microseconds={"median": "fast"}), "result 1 has no such microseconds"),
        (broken(microseconds={"median": float("nan")}), "it is not JSON"),
        (broken() | {"machine": {"cores": float("inf")}}, "it is not JSON"),
        (json.dumps(broken() | {"machine": {"cores": 71}}).replace("71", "1e400"), "it is not JSON"),
        (broken(launch_medians=[]), "result 1 has no such launch_medians"),
        (broken(launch_medians=[0.0]), "result 1 has no such launch_medians"),
        (broken(quantiles=[1.0]), "result 1 has no such quantiles"),
        (broken(repetitions=0), "result 1 has no such repetitions"),
        (broken(downlink="floats"), "result 1 has no such downlink"),
        (broken(repetitions=10**400), "result 1 has no such repetitions"),
        (broken(dimension=0), "result 1 has no such dimension"),
        (broken(dimension=10**400), "result 1 has no such dimension"),
        (broken(ranks=-1), "result 1 has no such ranks"),
        (broken(downlink_bits=[16]), "result 1 has no such downlink_bits"),
        (broken(microseconds={"median": 10**400}), "result 1 has no such microseconds"),
        (broken() | {"results": broken()["results"] * 2}, "result 2 is there twice"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else str(value),  # the time in it is not the same for all workers
)
def test_a_file_that_is_no_bench_result_is_refused(saved, capsys, content, sentence):
    good = saved("good.json", made_up([[1.0, 2.0]]))
    assert main.main(["compare", good, saved("bad.json", content)]) == 2
    refused(capsys, ["bad.json: no bench result: ", sentence])


def test_files_with_nothing_in_common_are_refused(saved, capsys):
    file, other = saved("a.json", made_up([[1.0, 2.0]])), saved("b.json", broken(ranks=3))
    assert main.main(["compare", file, other]) == 2
    refused(capsys, ["a.json and b.json have no result in common"])


def test_launches_inside_a_launcher_are_refused():
    """And --ranks is looked at first, see above. A world of one, which MPI makes without a launcher."""
    words = [sys.executable, "-P", "-m", "mpi_fed", "bench", "--launches=2"]
    inside = {name: value for name, value in os.environ.items() if not name.startswith(("OMPI_", "PMI", "SLURM_"))}
    inside |= PLAIN | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}
    ended = subprocess.run(words, env=inside, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    assert ended.returncode == 2, ended.stderr
    assert "--launches 2: inside a launcher there is one" in ended.stderr


def test_both_commands_are_known():
    assert {"bench", "compare"} <= set(main.COMMANDS)
    assert options.parse(["bench"], main.COMMANDS).dimension is None
