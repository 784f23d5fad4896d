"""The C column of the bench: the same collectives, called from a program in C."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.bench_documents import made_up, parsed

from mpi_fed.benchmark import floor
from mpi_fed.benchmark.document import TransportedBytes
from mpi_fed.launch import launcher


def test_without_a_compiler_there_is_no_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mpiexec = launcher.find_launcher()
    if shutil.which("cc"):
        program = floor.compiled(tmp_path)
        assert program is not None
        assert program.stat().st_size > 0
    nowhere = launcher.Launcher(str(tmp_path / "mpiexec"), mpiexec.family, mpiexec.version)
    monkeypatch.setattr(launcher, "find_launcher", lambda: nowhere)
    assert floor.compiled(tmp_path) is None


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_program_gets_the_bytes_of_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A route that the program does not know is left out."""
    calls = []

    def run_programs(ranks: int, programs: list[list[str]]) -> list[int]:
        calls.append((ranks, *programs))
        return [1]

    monkeypatch.setattr(launcher, "run_programs", run_programs)
    (known,) = parsed(made_up([[1.0, 2.0]])).results
    known = replace(known, ranks=4, launches=2, repetitions=40, compressor={"value_bits": 64})
    known = replace(known, transported_bytes=TransportedBytes(uplink=80, downlink=800))
    results = [known, replace(known, route="allgather"), replace(known, route="auto")]
    assert floor.with_floors(results, tmp_path) == results, "the launch failed"
    assert [ranks for ranks, _ in calls] == [4]
    assert (tmp_path / "floor.txt").read_text() == "gather 20 64 200 20\nallgather 20 64 0 20\n"
