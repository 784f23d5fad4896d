"""Fixtures of the tests of `mpi-fed bench` and `mpi-fed compare`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.bench_documents import PLAIN, TINY
from support.command import run

from mpi_fed.engine import compile_switch


@pytest.fixture
def bench(tmp_path: Path, alone):
    """`mpi-fed bench --json ARGUMENTS` on tiny vectors, and what it has printed."""

    def call(*arguments, status=0, **options):
        words = ("bench", "--json", *TINY, *arguments)
        return json.loads(run(*words, status=status, folder=tmp_path, **PLAIN, **options).stdout)

    return call


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone):
    """A file that holds this text or object."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compile_switch, "compile_kernels", compile_switch.compile_kernels)

    def write(name, content):
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return name

    return write
