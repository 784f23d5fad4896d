"""Fixtures of the tests of `mpi-fed submit`."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.submit_command import use_library

from mpi_fed.cluster import speed_estimate
from mpi_fed.cluster.speed_estimate import Speed
from mpi_fed.engine import compile_switch


@pytest.fixture
def elsewhere(alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, with Open MPI, without Slurm, and with rounds of a millisecond."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compile_switch, "compile_kernels", compile_switch.compile_kernels)
    use_library(monkeypatch, "Open MPI")
    speed = Speed(1e-3, 2, "a measurement here")
    monkeypatch.setattr(speed_estimate, "calibrate", lambda configurations, *_: {c.id: speed for c in configurations})
    return tmp_path
