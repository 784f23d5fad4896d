"""`mpi-fed bench` times rounds and finds what is wrong with them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.bench_documents import PLAIN, TINY
from support.command import assert_refused

from mpi_fed.benchmark import VALID, floor
from mpi_fed.cli import main, options
from mpi_fed.engine.phases import STEPS
from mpi_fed.launch import launcher
from mpi_fed.routes import routes


def test_every_route_is_timed_under_both_mpis(bench, mpi_python, tmp_path: Path) -> None:
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


@pytest.mark.slow
def test_ranks_that_a_launcher_started_are_timed(mpi_python, tmp_path: Path, alone) -> None:
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
    with launcher.command_for(3, [python, "-P", "-m", "mpi_fed", *words], python=python) as (command, surroundings):
        where = {"cwd": folder, "env": surroundings | PLAIN, "stdin": subprocess.DEVNULL}
        return subprocess.run(command, capture_output=True, text=True, timeout=300, **where)


@pytest.mark.slow
def test_launches_are_told_apart_and_silent_rounds_left_out(bench, tmp_path: Path) -> None:
    told = bench("--compressor=partial-participation", "--route=gatherv", "--launches=2")
    (one,) = told["results"]
    assert (one["launches"], one["repetitions"], len(one["launch_medians"])) == (2, 40, 2)
    assert one["launch_spread"] >= 0
    assert 1 <= one["messages"] <= 2
    assert one["payload_bytes"] == 20
    assert told["verdict"] == VALID


@pytest.mark.slow
def test_compression_both_ways_is_timed_under_both_mpis(bench, mpi_python) -> None:
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
def test_silent_rounds_are_not_counted_whatever_the_length_of_what_comes_back(bench) -> None:
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
from mpi_fed.engine.operations.route import NOT_DEFINED, uplink

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
        downlink, pending = self.downlink(dimension), self.pending(place)
        return NoisyKernel(downlink, pending, GatherKernel(downlink, pending))

    @staticmethod
    def uplink(kernel, round, total):
        code = uplink(kernel.gather, round, total)
        if round.comm.rank == ROOT and round.number == 502:
            total[0] += 1e-9
        return code

    @staticmethod
    def bare_uplink(kernel, comm, wire, size):
        return NOT_DEFINED

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


def test_wrong_plugins_are_invalid(bench, tmp_path: Path) -> None:
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


def test_too_few_rounds_are_invalid(bench) -> None:
    told = bench("--compressor=none", "--route=gather", "--repetitions=3", status=1)
    assert told["results"][0]["reasons"] == ["3 rounds were timed, and fewer than 20 say too little"]


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        (["bench", "--route", "gahter"], ["--route gahter", 'did you mean "gather"']),
        (["bench", "--compressor", "nothing"], ["--compressor nothing", "not a known compressor"]),
        (["bench", "--compressor", "bernoulli", "--route", "gather"], ["gather --compressor bernoulli:", "vary"]),
        (["bench", "--compressor", ""], ["--compressor", 'kind is ""']),
        (
            ["bench", "--dimension", "10000000", "--compressor", "sketch", "--route", "gather"],
            ["sketch h=3161 needs", "762 GB of it for vectors", "give a smaller --dimension"],
        ),
        (["bench", "--dimension", "20000000"], ["--dimension 20000000", "1 to 10,000,000"]),
        (["bench", "--dimension", "0"], ["--dimension", "not an integer of at least 1"]),
        (["bench", "--dimension=10000000", "--ranks=999", "--route=gather", "--compressor=none"], ["bytes"]),
        (["bench", "--repetitions", "many"], ["--repetitions"]),
        (["bench", "--out", "no/such/folder.json"], ["--out no/such/folder.json", "a folder that is there"]),
        (["bench", "--downlink-bits", "8"], ["--downlink-bits", "64, 32, 16"]),
        (["bench", "--compressor", "quantization levels"], ['--compressor "quantization levels"', "levels=127"]),
        (["bench", "--compressor", "quantization level=3"], ["at dimension 100", 'no key "level"', '"levels"']),
        (["bench", "--downlink", "nothing"], ["--downlink nothing", "not a known compressor"]),
        (["bench", "--downlink", "top-k"], ["--downlink top-k", "is biased"]),
        (["bench", "--downlink", "quantization levels"], ['--downlink "quantization levels"', "levels=127"]),
        (["bench", "--plugin", "nowhere.py"], ["nowhere.py: cannot read the file"]),
        (["compare", "nowhere.json", "nowhere.json"], ["nowhere.json: cannot read the file"]),
        (["compare", "a.json"], ["B.json"]),
        (["compare", "a.json", "a.json", "--threshold", "0.5"], ["--threshold", "at least 1"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_bad_input(
    saved, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words, sentences
) -> None:
    monkeypatch.setattr(launcher, "run_programs", lambda *arguments: pytest.fail("the launcher was started"))
    assert main.main(words) == 2
    assert_refused(capsys, sentences)


def test_launches_inside_a_launcher_are_refused() -> None:
    """And --ranks is looked at first, see above. A world of one, which MPI makes without a launcher."""
    words = [sys.executable, "-P", "-m", "mpi_fed", "bench", "--launches=2"]
    inside = {name: value for name, value in os.environ.items() if not name.startswith(("OMPI_", "PMI", "SLURM_"))}
    inside |= PLAIN | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}
    ended = subprocess.run(words, env=inside, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    assert ended.returncode == 2, ended.stderr
    assert "--launches 2: inside a launcher there is one" in ended.stderr


def test_both_commands_are_known() -> None:
    assert {"bench", "compare"} <= set(main.COMMANDS)
    assert options.parse(["bench"], main.COMMANDS).dimension is None
