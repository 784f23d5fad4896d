"""`mpi-fed bench`: it times rounds and reports faults in them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.bench_documents import PLAIN, TINY
from support.command import assert_refused

from mpi_fed.benchmark import VALID, floor
from mpi_fed.cli import main, options
from mpi_fed.engine.phases import STEPS
from mpi_fed.launch import launcher
from mpi_fed.routes import routes


def test_every_route_is_timed_under_both_mpis(bench: Callable[..., Any], mpi_python: str, tmp_path: Path) -> None:
    words = ("--compressor", "none", "bernoulli", "quantization", "--out", "saved.json")
    document = bench(*words, python=mpi_python)
    assert json.loads((tmp_path / "saved.json").read_text()) == document
    assert document["verdict"] == VALID
    assert {"cpu", "cores", "hosts", "mpi_library", "dependency_versions"} <= set(document["machine"])
    assert document["machine"]["compiled"] is False
    by_name = {(result["label"], result["route"]): result for result in document["results"]}
    assert {("none", "gather"), ("none", "gatherv"), ("none value_bits=16", "gather")} <= set(by_name)
    assert ("bernoulli p=0.309017", "gatherv") in by_name
    assert ("bernoulli p=0.309017", "gather") not in by_name, "gather cannot carry messages of varying length"
    for result in document["results"]:
        assert result["verdict"] == VALID, result["reasons"]
        assert (result["ranks"], result["clients"], result["dimension"]) == (2, 2, 5)
        assert (result["repetitions"], result["launches"]) == (20, 1)
        assert set(result["phases"]) == set(STEPS)
        assert result["phases"]["downlink_encode"]["max"] == 0, "w is sent uncompressed"
        assert all(phase["min"] <= phase["mean"] <= phase["max"] for phase in result["phases"].values())
        times = result["microseconds"]
        assert 0 < times["min"] <= times["median"] <= times["p90"] <= times["p99"]
        assert len(result["quantiles"]) == 101
        assert result["launch_medians"] == [times["median"]]
        assert result["goodput"] > 0
        has_floor = result["route"] in floor.COLLECTIVES and shutil.which("cc")
        assert (result["floor_microseconds"] or 0) > 0 if has_floor else result["floor_microseconds"] is None
        assert result["bare_microseconds"] > 0, "every route of the package defines its bare collectives"
        assert result["ratio"] > 0
    assert {route for _, route in by_name} == routes.keys() - {"auto"}
    none = by_name["none", "gather"]
    assert none["compressor"] == {"kind": "none", "value_bits": 32}
    assert (none["payload_bytes"], none["messages"]) == (20, 2)
    assert none["transported_bytes"] == {"uplink": 40, "downlink": 80}
    assert by_name["none value_bits=16", "gather"]["payload_bytes"] == 10
    assert 0 < by_name["bernoulli p=0.309017", "gatherv"]["payload_bytes"] < 20


@pytest.mark.slow
def test_ranks_that_a_launcher_started_are_timed(mpi_python: str, tmp_path: Path, alone: None) -> None:
    """Three ranks print a table; `--ranks 2` is refused before anything is measured."""
    words = ("bench", *TINY[:2], "--compressor=quantization", "--route=gather", "--out=three.json")
    completed = under_launcher(mpi_python, tmp_path, *words)
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.rstrip().endswith(f"\n{VALID}")
    (result,) = json.loads((tmp_path / "three.json").read_text())["results"]
    assert (result["ranks"], result["messages"], result["launches"]) == (3, 3, 1)
    completed = under_launcher(mpi_python, tmp_path, *words, "--ranks=2")
    assert completed.returncode == 3
    assert "--ranks 2: the launcher started 3 ranks" in completed.stderr


def under_launcher(python: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    with launcher.command_for(3, [python, "-P", "-m", "mpi_fed", *words], python=python) as (command, environment):
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            cwd=folder,
            env=environment | PLAIN,
            stdin=subprocess.DEVNULL,
        )


@pytest.mark.slow
def test_launches_are_counted_separately_and_rounds_without_senders_left_out(bench: Callable[..., Any]) -> None:
    document = bench("--compressor=partial-participation", "--route=gatherv", "--launches=2")
    (result,) = document["results"]
    assert (result["launches"], result["repetitions"], len(result["launch_medians"])) == (2, 40, 2)
    assert result["launch_spread"] >= 0
    assert 1 <= result["messages"] <= 2
    assert result["payload_bytes"] == 20
    assert document["verdict"] == VALID


@pytest.mark.slow
def test_compression_both_ways_is_timed_under_both_mpis(bench: Callable[..., Any], mpi_python: str) -> None:
    """Routes that gather and routes that add, with messages of fixed and varying length."""
    kinds = ("none value_bits=32", "quantization levels=7", "bernoulli", "rand-h mask=common")
    kinds_of_routes = ("auto", "reduce", "reduce-levels", "tree", "allreduce")
    downlinks = ("same", "quantization levels=3", "bernoulli indices=explicit")
    words = ("--compressor", *kinds, "--route", *kinds_of_routes, "--downlink", *downlinks)
    document = bench(*words, python=mpi_python)
    assert document["verdict"] == VALID
    keys = {(result["label"], result["route"], json.dumps(result["downlink"])) for result in document["results"]}
    assert len(keys) == len(document["results"]) >= 25
    for result in document["results"]:
        assert result["verdict"] == VALID, result["reasons"]
        assert result["downlink_bits"] is None
        assert (result["downlink"] is None) == (result["route"] == "allreduce")
        assert result["bare_microseconds"] > 0
        for step in ("downlink_encode", "downlink_decode"):
            assert (result["phases"][step]["max"] > 0) == (result["downlink"] is not None)
    three = [result for result in document["results"] if (result["downlink"] or {}).get("levels") == 3]
    assert {result["transported_bytes"]["downlink"] for result in three if result["route"] == "gather"} == {2 * (4 + 3)}
    same = [result for result in document["results"] if result["compressor"] == result["downlink"]]
    assert {result["compressor"]["kind"] for result in same} == {"none", "quantization", "bernoulli"}


@pytest.mark.slow
def test_rounds_without_senders_are_not_counted_with_a_downlink_of_varying_length(bench: Callable[..., Any]) -> None:
    document = bench("--compressor=partial-participation", "--route=gatherv", "--downlink=bernoulli")
    (result,) = document["results"]
    assert document["verdict"] == VALID
    assert 1 <= result["messages"] <= 2


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
    """Add to the mean in one round."""

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
    """Declare more bytes for a message than it has."""

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


def test_wrong_plugins_are_invalid(bench: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(WRONG)
    words = ("--plugin=wrong.py", "--compressor", "none", "short", "--route", "gather", "noisy")
    document = bench(*words, status=1)
    assert document["verdict"] == "INVALID"
    iterate = "the iterate differs from the iterate of the same rounds on one rank"
    length = "a message has 20 bytes, but payload_bytes_max is 28"
    booked = "the ledger counts 56 bytes in a round, but 40 were packed"
    results = {(result["compressor"]["kind"], result["route"]): result for result in document["results"]}
    assert results["none", "gather"]["verdict"] == VALID
    assert results["none", "noisy"]["reasons"] == [iterate]
    for route in ("gather", "noisy"):
        assert results["short", route]["reasons"] == [length, booked, iterate]
    assert results["none", "noisy"]["bare_microseconds"] is None, "the route does not define its bare collectives"
    assert results["none", "noisy"]["ratio"] is None


def test_too_few_rounds_are_invalid(bench: Callable[..., Any]) -> None:
    document = bench("--compressor=none", "--route=gather", "--repetitions=3", status=1)
    assert document["results"][0]["reasons"] == ["3 rounds were timed; at least 20 are needed"]


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        (["bench", "--route", "gahter"], ["--route gahter", 'did you mean "gather"']),
        (["bench", "--compressor", "nothing"], ["--compressor nothing", "not a known compressor"]),
        (
            ["bench", "--compressor", "bernoulli", "--route", "gather"],
            ["gather --compressor bernoulli:", "length varies"],
        ),
        (["bench", "--compressor", ""], ["--compressor", 'kind is ""']),
        (
            ["bench", "--dimension", "10000000", "--compressor", "sketch", "--route", "gather"],
            ["sketch h=3161 needs", "762 GB of it for vectors", "give a smaller --dimension"],
        ),
        (["bench", "--dimension", "20000000"], ["--dimension 20000000", "1 to 10,000,000"]),
        (["bench", "--dimension", "0"], ["--dimension", "not an integer of at least 1"]),
        (["bench", "--dimension=10000000", "--ranks=999", "--route=gather", "--compressor=none"], ["bytes"]),
        (["bench", "--repetitions", "many"], ["--repetitions"]),
        (["bench", "--out", "no/such/folder.json"], ["--out no/such/folder.json", "in an existing folder"]),
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
    ids=" ".join,
)
@pytest.mark.usefixtures("saved")
def test_bad_input_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], sentences: list[str]
) -> None:
    def started(*arguments: object) -> None:
        pytest.fail("the launcher was started")

    monkeypatch.setattr(launcher, "run_programs", started)
    assert main.main(words) == 2
    assert_refused(capsys, sentences)


def test_launches_inside_a_launcher_are_refused() -> None:
    """The world has one rank, which MPI creates without a launcher. --ranks is checked first, as tested above."""
    words = [sys.executable, "-P", "-m", "mpi_fed", "bench", "--launches=2"]
    inside = {name: value for name, value in os.environ.items() if not name.startswith(("OMPI_", "PMI", "SLURM_"))}
    inside |= PLAIN | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}
    completed = subprocess.run(
        words, env=inside, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL
    )
    assert completed.returncode == 2, completed.stderr
    assert "--launches 2: under a launcher there is one launch" in completed.stderr


def test_both_commands_are_known() -> None:
    assert {"bench", "compare"} <= set(main.COMMANDS)
    assert options.parse(["bench"], main.COMMANDS).dimension is None
