"""The memory and the MPI counts that a configuration needs are known before a rank starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support import command
from support.study_text import configuration, write_study

from mpi_fed.cli.main import main
from mpi_fed.compressors import compressors
from mpi_fed.engine import compile_switch
from mpi_fed.launch import launcher
from mpi_fed.study import memory_estimate

if TYPE_CHECKING:
    from support.study_text import Table

    from mpi_fed.launch.world import World
    from mpi_fed.study.configuration import Configuration

STUDY: dict[str, Any] = {"rounds": 20, "clients": 2, "problem": {"dimension": 50, "rotation": "diagonal"}}
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


def configuration_of(
    clients: int = 10,
    compressor: Table = "none",
    algorithm: Table = "sgd",
    route: Table = "gather",
    downlink: Table | None = None,
    **problem: Any,
) -> Configuration:
    problem = {"dimension": 100, "rotation": "diagonal"} | problem
    return configuration(
        compressor, downlink=downlink, clients=clients, problem=problem, algorithm=algorithm, route=route
    )


def test_the_memory_of_a_rank_is_the_sum_of_known_parts() -> None:
    parts = memory_estimate.of_rank(configuration_of(10), 4)  # the fullest rank hosts 3
    assert parts["messages"] == 400 * (3 + 4 * 3)
    assert parts["memories"] == 0
    assert parts["log points"] == 4 * 8 * 100 * 64
    assert memory_estimate.of_rank(configuration_of(10), 4, root=False)["messages"] == 400 * 3
    assert memory_estimate.of_rank(configuration_of(10, algorithm="control-variates"), 4)["memories"] == 3 * 800
    everywhere = configuration_of(10, route={"kind": "allgather"})
    assert memory_estimate.of_rank(everywhere, 4, root=False)["messages"] == 400 * (3 + 4 * 3)
    data = memory_estimate.of_rank(configuration_of(10, shift="covariate"), 4)["data"]
    assert 8 * 100**2 * (10 + 3) <= data <= 8 * 100**2 * (10 + 3) + 10**5
    large = configuration_of(10, dimension=10**7)
    assert memory_estimate.of_rank(large, 1)["log points"] == 32 * 10**7  # one at a time


DOWNLINKS: tuple[dict[str, Any], ...] = (
    {"kind": "none", "value_bits": 64},
    {"kind": "quantization", "levels": 3},
    {"kind": "bernoulli", "p": 0.5, "indices": "explicit"},
    {"kind": "rand-h", "h": 30},
    {"kind": "sketch", "h": 30},
)


def bytes_of(value: object) -> int:
    """Return the bytes of all arrays in a tuple, to any depth."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    return sum(map(bytes_of, value)) if isinstance(value, tuple) else 0


@pytest.mark.mpi(ranks=2)
@pytest.mark.parametrize("self_check", [False, True], ids=["plain", "checked"])
@pytest.mark.parametrize("downlink", DOWNLINKS, ids=lambda table: table["kind"])
def test_the_memory_of_a_downlink_is_estimated(world: World, downlink: dict[str, Any], self_check: bool) -> None:
    """Every rank holds the root's message and the arrays that decode it."""
    from mpi_fed.runner.simulation import Simulation

    assert world.size == 2
    compressed = configuration_of(
        2, downlink=downlink, route={"kind": "gather", "self_check": self_check}, dimension=10_000
    )
    simulation = Simulation(compressed, compressed.problem.prepare(2), world.comm, [0, 10])
    held = bytes_of(simulation.kernels.route.downlink)
    message = len(simulation.kernels.route.downlink.payload)
    assert message <= held <= memory_estimate.of_rank(compressed, 2, root=world.is_root)["the downlink"]
    assert memory_estimate.counts_of(compressed, 2)["the downlink's bytes"] == message


def test_a_study_without_a_compressed_downlink_needs_no_memory_for_it() -> None:
    assert memory_estimate.of_rank(configuration_of(), 4)["the downlink"] == 0
    assert memory_estimate.counts_of(configuration_of(), 4)["the downlink's numbers"] == 100
    narrow = configuration_of(route={"kind": "gather", "downlink_bits": 16})
    assert memory_estimate.counts_of(narrow, 4)["the downlink's bytes"] == 200


@pytest.mark.parametrize("kind", compressors)
def test_the_arrays_of_a_compressor_are_estimated(kind: str) -> None:
    for table in compressors[kind].examples:
        compressor = compressors[kind](**table).resolve(10_000)
        assert bytes_of(compressor.kernel(10_000)) <= compressor.scratch_bytes(10_000)


GROUPS = {
    "v1": ("4:memory:/job/step", "memory/", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache")),
    "v2": ("0::/job/step", "", ("memory.max", "memory.current", "file")),
}
"""A line of /proc/self/cgroup, the folder of its hierarchy, and the files or keys of limit, use and page cache."""


@pytest.mark.parametrize(("line", "top", "names"), GROUPS.values(), ids=GROUPS)
def test_limits_of_control_groups_are_read(tmp_path: Path, line: str, top: str, names: tuple[str, str, str]) -> None:
    """The limits of the job's group and of all groups above it count, in both versions of control groups."""
    limit, used, cached = names
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"9:cpu:/other\n{line}\n")
    assert list(memory_estimate._left_by_groups(tmp_path)) == []
    for group, most in (("job/step", "max"), ("job", "7000"), ("", "9223372036854771712")):
        folder = tmp_path / "sys/fs/cgroup" / top / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / limit).write_text(f"{most}\n")
        (folder / used).write_text("1000\n")
        (folder / "memory.stat").write_text(f"anon 5\n{cached} 300\n")
    assert list(memory_estimate._left_by_groups(tmp_path)) == [6300, 9223372036854771712 - 700]


def test_bench_refuses_a_dimension_that_does_not_fit_before_a_rank_starts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, alone: None
) -> None:
    monkeypatch.setattr(memory_estimate, "available", lambda: 5 * 10**9)
    monkeypatch.setattr(launcher, "run_programs", lambda *_: pytest.fail("ranks were started"))
    assert main(["bench", "--dimension", "100", "10000000", "--compressor", "none", "--ranks=4"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mpi-fed: --dimension 10000000: route gather: none needs 8.")
    assert "but 5 GB are free; give a smaller --dimension or fewer --ranks, or run it on more machines" in line


def test_the_memory_of_routes_is_counted() -> None:
    tree = configuration_of(10, route={"kind": "tree"})
    assert memory_estimate.of_rank(tree, 4)["the route"] == 400 * 12, "messages that the leaders forward"
    assert memory_estimate.of_rank(tree, 4, root=False)["the route"] == 0
    staged = configuration_of(10, {"kind": "quantization", "levels": 1}, route={"kind": "reduce-levels"})
    assert memory_estimate.of_rank(staged, 4)["the route"] == 8 * 100 * 3
    assert memory_estimate.of_rank(configuration_of(10), 4)["the route"] == 0


def test_the_memory_of_overlapped_messages_is_counted_twice() -> None:
    sequential = configuration_of(10, algorithm="delayed-sgd", route={"kind": "gather", "overlap": False})
    overlapped = configuration_of(10, algorithm="delayed-sgd", route={"kind": "gather"})
    messages = [memory_estimate.of_rank(each, 4)["messages"] for each in (sequential, overlapped)]
    assert messages[1] - messages[0] == 400 * 3


def test_messages_are_counted_for_the_clients_that_may_take_part() -> None:
    few = {"kind": "partial-participation", "p": 1e-4}
    many = configuration_of(10**6, few, route={"kind": "gatherv"}, dimension=10_000)
    room = many.compressor.participants_max(10**6)
    assert room == 240  # 100, ten standard deviations of 10, and 40
    assert memory_estimate.counts_of(many, 2)["bytes of messages"] == 240 * 40_000
    checked = configuration_of(10, route={"kind": "gather", "self_check": True})
    assert memory_estimate.counts_of(checked, 4)["bytes of messages"] == 12 * (400 + 16)
    assert many.compressor.participants_max(100) == 42
    added = configuration_of(10**6, route={"kind": "reduce"}, dimension=10_000)
    assert memory_estimate.counts_of(added, 4)["bytes of messages"] == 40_000
    assert memory_estimate.of_rank(added, 4)["messages"] == 40_000 * (250_000 + 1)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, which holds `study.toml`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compile_switch, "compile_kernels", compile_switch.compile_kernels)
    write_study("study.toml", **STUDY)
    return tmp_path


def refusal(capsys: pytest.CaptureFixture[str], *overrides: str) -> str:
    """Return the sentence with which `mpi-fed run` refuses the study."""
    assert main(["run", "study.toml", "--ranks=2", "--dry-run", *(f"--set={text}" for text in overrides)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = output.err.splitlines()
    return line


def test_a_dry_run_prints_the_estimate(capsys: pytest.CaptureFixture[str], study: Path, alone: None) -> None:
    assert main(["run", "study.toml", "--ranks=2", "--dry-run"]) == 0
    assert "  up to 350 MB  " in capsys.readouterr().out


def test_a_study_that_does_not_fit_is_refused_before_a_rank_starts(
    capsys: pytest.CaptureFixture[str], study: Path, alone: None
) -> None:
    sentence = refusal(capsys, "problem.shift='covariate'", "study.clients=100_000", "problem.dimension=2000")
    assert "study.toml: none needs 9.61 TB of memory on this machine (9.61 TB of it for data)" in sentence
    assert "lower problem.dimension or study.clients" in sentence


def test_a_count_beyond_the_limit_of_mpi_is_refused(
    capsys: pytest.CaptureFixture[str], study: Path, alone: None
) -> None:
    sentence = refusal(capsys, "problem.dimension=10_000_000", "study.clients=64")
    expected = "an MPI call would have to count 2,560,000,000 (bytes of messages), but its limit is 2,147,483,647"
    assert expected in sentence


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plugin", "kind", "sentence"),
    [
        (LONGER, "longer", "a message is longer than the 196 bytes that the compressor's payload_bytes_max"),
        (CROWDED, "crowded", "more clients take part in a round than the 1 that the compressor's participants_max"),
    ],
    ids=["longer", "crowded"],
)
def test_a_message_beyond_the_compressors_bound_ends_the_run(
    study: Path, alone: None, mpi_python: str, plugin: str, kind: str, sentence: str
) -> None:
    """A run on two ranks stops at the message."""
    Path("plugin.py").write_text(plugin)
    parameters: dict[str, Any] = {"p": 0.9} if kind == "crowded" else {}
    write_study("study.toml", {"kind": kind} | parameters, **STUDY)
    options = ["--ranks=2", "--plugin=plugin.py", "--no-analyze"]
    uncompiled = {"NUMBA_DISABLE_JIT": "1"}
    ended = command.run("run", "study.toml", *options, python=mpi_python, status=1, folder=study, **uncompiled)
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_a_run_needs_no_more_memory_than_its_estimate(study: Path, alone: None) -> None:
    """The largest resident set of a single rank in a million dimensions, also with memories and a downlink."""
    program = """
import resource, sys
from mpi_fed.cli.main import main
main(["run", "study.toml", "--no-analyze", *sys.argv[1:]])
print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    large: dict[str, Any] = {"dimension": 10**6, "clients": 16}
    inside = {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}  # a world of one rank, which MPI makes by itself
    inside["NUMPY_MADVISE_HUGEPAGE"] = "0"  # huge pages count memory as resident that no array element uses
    sizes_of: dict[str, list[int]] = {}
    bernoulli = {"kind": "bernoulli", "p": 0.5}
    for algorithm, downlink in (("sgd", None), ("control-variates", bernoulli)):
        estimated = configuration_of(algorithm=algorithm, downlink=downlink, **large)
        estimate = sum(memory_estimate.of_rank(estimated, 1).values())
        problem = {"dimension": 10**6, "rotation": "diagonal"}
        write_study("study.toml", downlinks=[downlink] if downlink else (), rounds=20, clients=16, problem=problem)
        sizes = []
        for rounds in (19, 20, 21):  # a run that compiles needs more: the first, perhaps a later one
            overrides = [f"--set=study.rounds={rounds}", f"--set=algorithm.kind='{algorithm}'"]
            words = [sys.executable, "-P", "-c", program, *overrides]
            ended = subprocess.run(
                words, env=os.environ | inside, capture_output=True, text=True, timeout=600, check=False
            )
            assert ended.returncode == 0, ended.stderr
            sizes.append(int(ended.stdout.splitlines()[-1]))
            assert 0.3 * estimate < sizes[-1] < estimate
        sizes_of[algorithm] = sizes
    memories = 16 * 8e6  # resident sets of equal runs differed by up to 40 MB
    assert min(sizes_of["control-variates"]) - min(sizes_of["sgd"]) > memories - 50e6, sizes_of
