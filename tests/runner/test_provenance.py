"""The provenance of a log, and the MPI world that it describes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mpi_fed.runner import provenance

if TYPE_CHECKING:
    from mpi_fed.launch.world import World


@pytest.mark.mpi(ranks=[1, 2, 3, 4], slow=[4])
def test_world_and_its_provenance(world: World) -> None:
    assert world.comm.allreduce(world.rank) == sum(range(world.size))
    assert world.node_size == world.size
    assert world.node_rank == world.rank
    assert world.thread_level == "funneled"
    assert os.environ["OMP_NUM_THREADS"] == "1"
    facts = provenance.collect(world)
    if not world.is_root:
        assert facts == {}
        return
    assert all(isinstance(value, str) for value in facts.values())
    assert facts["ranks"] == str(world.size)
    assert json.loads(facts["host_names"]) == [world.host]
    ranks = provenance.ranges(range(world.size))
    assert list(json.loads(facts["rank_cores"])[world.host].values()) == [ranks]
    assert {"numpy", "numba", "mpi4py", "llvmlite"} <= set(json.loads(facts["dependency_versions"]))
    assert facts["mpi_library"].startswith(("Open MPI ", "MPICH "))


def test_ranges() -> None:
    assert provenance.ranges({5, 0, 2, 1, 8, 9}) == "0-2,5,8-9"
    assert provenance.ranges([]) == ""


def test_ranks_are_grouped_by_host_and_cores() -> None:
    places = [("a", "0-1"), ("a", "0-1"), ("b", "0"), ("b", "1"), ("a", "0-1")]
    assert provenance.binding(places) == {"a": {"0-1": "0-1,4"}, "b": {"0": "2", "1": "3"}}


def test_git_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    package.mkdir()
    assert provenance.git_commit(package) == ""
    source = package / "a.py"
    source.write_text("1")

    def git(*words: str) -> str:
        options = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *options, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    assert provenance.git_commit(package).startswith("unknown: ")
    git("add", "-A")
    git("commit", "-qm", "a")
    assert provenance.git_commit(package) == git("rev-parse", "HEAD")
    source.write_text("2")
    assert provenance.git_commit(package) == git("rev-parse", "HEAD") + "-dirty"
    monkeypatch.setenv("PATH", "/nowhere")
    assert provenance.git_commit(package) == "unknown: git cannot be run"
