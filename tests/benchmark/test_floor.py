"""The floor of the bench: the same collectives, called from C."""

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
        assert floor.compiled(tmp_path).stat().st_size > 0
    nowhere = launcher.Launcher(str(tmp_path / "mpiexec"), mpiexec.family, mpiexec.version)
    monkeypatch.setattr(launcher, "find_launcher", lambda: nowhere)
    assert floor.compiled(tmp_path) is None


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_floor_is_of_the_bytes_that_the_ledger_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of the program, and that a route it does not know is left out."""
    asked = []
    monkeypatch.setattr(launcher, "run_programs", lambda ranks, programs: asked.append((ranks, *programs)) or [1])
    (known,) = parsed(made_up([[1.0, 2.0]])).results
    known = replace(known, ranks=4, launches=2, repetitions=40, compressor={"value_bits": 64})
    known = replace(known, transported_bytes=TransportedBytes(uplink=80, downlink=800))
    results = [known, replace(known, route="allgather"), replace(known, route="auto")]
    assert floor.with_floors(results, tmp_path) == results, "the launch has failed"
    assert [ranks for ranks, _ in asked] == [4]
    assert (tmp_path / "floor.txt").read_text() == "gather 20 64 200 20\nallgather 20 64 0 20\n"
