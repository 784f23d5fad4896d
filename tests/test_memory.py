"""What a configuration takes of memory and of MPI's counts is known before a rank starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import command
import pytest

from mpi_fed import cli, memory, mode
from mpi_fed.configuration import configuration_from_tables

STUDY = """
[study]
name = "test"
rounds = 20
clients = 2
[problem]
kind = "gaussian"
dimension = 50
rotation = "diagonal"
[[compressor]]
kind = "none"
"""
LONGER = """
from mpi_fed.compressors import compressors
from mpi_fed.compressors.none import NoCompression


@compressors.register
class Longer(NoCompression):
    kind = "longer"

    def payload_bytes_max(self, dimension):
        return super().payload_bytes_max(dimension) - 4
"""
CROWDED = """
from mpi_fed.compressors import compressors
from mpi_fed.compressors.partial_participation import PartialParticipation


@compressors.register
class Crowded(PartialParticipation):
    kind = "crowded"

    def participants_max(self, clients):
        return 1
"""


def configuration(clients=10, compressor=None, algorithm="sgd", route=None, **problem):
    return configuration_from_tables(
        {
            "study": {"name": "test", "rounds": 10, "clients": clients},
            "problem": {"kind": "gaussian", "dimension": 100, "rotation": "diagonal", **problem},
            "algorithm": {"kind": algorithm},
            "compressor": compressor or {"kind": "none"},
            "route": route or {"kind": "gather"},
        }
    )


def test_the_parts_of_a_ranks_memory():
    parts = memory.of_rank(configuration(10), 4)  # the fullest rank hosts 3
    assert parts["messages"] == 400 * (3 + 4 * 3)
    assert parts["memories"] == 0
    assert parts["log points"] == 4 * 8 * 100 * 64
    assert memory.of_rank(configuration(10), 4, root=False)["messages"] == 400 * 3
    assert memory.of_rank(configuration(10, algorithm="control-variates"), 4)["memories"] == 3 * 800
    everywhere = configuration(10, route={"kind": "allgather"})
    assert memory.of_rank(everywhere, 4, root=False)["messages"] == 400 * (3 + 4 * 3)
    own = memory.of_rank(configuration(10, shift="covariate"), 4)["data"]
    assert 8 * 100**2 * (10 + 3) <= own <= 8 * 100**2 * (10 + 3) + 10**5
    assert memory.of_rank(configuration(10, dimension=10**7), 1)["log points"] == 32 * 10**7  # one at a time


def test_what_compressors_and_routes_hold_is_counted():
    sketch = {"kind": "sketch", "h": 20}
    assert memory.of_rank(configuration(10, sketch), 4)["scratch space"] == 8 * 20 * (100 + 20)
    tree = configuration(10, route={"kind": "tree"})
    assert memory.of_rank(tree, 4)["scratch space"] == 400 * 12, "what leaders pass on"
    assert memory.of_rank(tree, 4, root=False)["scratch space"] == 0
    staged = configuration(10, {"kind": "quantization", "levels": 1}, route={"kind": "reduce-levels"})
    assert memory.of_rank(staged, 4)["scratch space"] == 8 * 100 * 3
    assert memory.of_rank(configuration(10), 4)["scratch space"] == 0


def test_messages_are_counted_by_who_may_take_part():
    few = {"kind": "partial-participation", "p": 1e-4}
    many = configuration(10**6, few, route={"kind": "gatherv"}, dimension=10_000)
    room = many.compressor.participants_max(10**6)
    assert room == 240  # 100, ten standard deviations of 10, and 40
    assert memory.counts_of(many, 2)["bytes of messages"] == 240 * 40_000
    checked = configuration(10, route={"kind": "gather", "self_check": True})
    assert memory.counts_of(checked, 4)["bytes of messages"] == 12 * (400 + 16)
    assert many.compressor.participants_max(100) == 42


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mode, "compile_kernels", mode.compile_kernels)
    Path("study.toml").write_text(STUDY)
    return tmp_path


def refusal(capsys, *overrides):
    assert cli.main(["run", "study.toml", "--ranks=2", "--dry-run", *(f"--set={one}" for one in overrides)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = output.err.splitlines()
    return line


def test_a_dry_run_shows_it(capsys, study, alone):
    assert cli.main(["run", "study.toml", "--ranks=2", "--dry-run"]) == 0
    assert "  up to 350 MB  " in capsys.readouterr().out


def test_what_cannot_fit_is_refused_before_a_rank_starts(capsys, study, alone):
    said = refusal(capsys, "problem.shift='covariate'", "study.clients=100_000", "problem.dimension=2000")
    assert "study.toml: none needs 9.61 TB of memory here, data 9.61 TB of it" in said
    assert "lower problem.dimension or study.clients" in said


def test_what_mpi_cannot_count_is_refused(capsys, study, alone):
    said = refusal(capsys, "problem.dimension=10_000_000", "study.clients=64")
    assert "2,560,000,000 is more bytes of messages than an MPI call counts (2,147,483,647)" in said


@pytest.mark.parametrize(
    ("plugin", "kind", "sentence"),
    [
        (LONGER, "longer", "a message of more than the 196 bytes that the compressor's payload_bytes_max gives"),
        (CROWDED, "crowded", "more clients take part in a round than the 1 that the compressor's participants_max"),
    ],
    ids=["longer", "crowded"],
)
def test_a_compressor_that_breaks_its_word_ends_the_run(study, alone, mpi_python, plugin, kind, sentence):
    """Through the real loop, on two ranks."""
    Path("plugin.py").write_text(plugin)
    table = STUDY.replace('"none"', f'"{kind}"' + ("\np = 0.9" if kind == "crowded" else ""))
    Path("study.toml").write_text(table)
    options = ["--ranks=2", "--plugin=plugin.py", "--no-analyze"]
    plain = {"NUMBA_DISABLE_JIT": "1"}
    ended = command.run("run", "study.toml", *options, python=mpi_python, status=1, folder=study, **plain)
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_a_run_takes_no_more_than_it_says(study, alone):
    """The largest resident set of a rank alone with a million dimensions, without memories and with them."""
    program = """
import resource, sys
from mpi_fed.cli import main
main(["run", "study.toml", "--no-analyze", *sys.argv[1:]])
print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    large = {"dimension": 10**6, "clients": 16}
    Path("study.toml").write_text(STUDY.replace("clients = 2", "clients = 16").replace("= 50", "= 1_000_000"))
    inside = {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}  # a world of one, which MPI makes by itself
    taken = {}
    for algorithm in ("sgd", "control-variates"):
        said = sum(memory.of_rank(configuration(algorithm=algorithm, **large), 1).values())
        for rounds in (19, 20):  # the first may compile
            overrides = [f"--set=study.rounds={rounds}", f"--set=algorithm.kind='{algorithm}'"]
            words = [sys.executable, "-P", "-c", program, *overrides]
            ended = subprocess.run(words, env=os.environ | inside, capture_output=True, text=True, timeout=600)
            assert ended.returncode == 0, ended.stderr
            taken[algorithm] = int(ended.stdout.splitlines()[-1])
            assert 0.3 * said < taken[algorithm] < said
    memories = 16 * 8e6  # resident sets of the same run were seen to differ by 40 MB
    assert taken["control-variates"] - taken["sgd"] > memories - 50e6
