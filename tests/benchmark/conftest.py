"""Fixtures of the tests of `mpi-fed bench` and `mpi-fed compare`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.bench_documents import PLAIN, TINY
from support.command import run

from mpi_fed.engine import compile_switch


@pytest.fixture
def bench(tmp_path: Path, alone: None) -> Callable[..., Any]:
    """Run `mpi-fed bench --json ARGUMENTS` on tiny vectors, and return the document that it prints."""

    def call(*arguments: str, status: int = 0, **options: str) -> Any:
        words = ("bench", "--json", *TINY, *arguments)
        return json.loads(run(*words, status=status, folder=tmp_path, **PLAIN, **options).stdout)

    return call


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: None) -> Callable[[str, Any], str]:
    """Write a text or a JSON object to a file, and return the file's name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compile_switch, "compile_kernels", compile_switch.compile_kernels)

    def write(name: str, content: Any) -> str:
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return name

    return write
