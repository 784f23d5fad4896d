"""The test suite on a machine with one MPI: tests that need the other MPI are skipped, or fail in CI."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

TEST = "tests/runner/test_checkpoint.py::test_a_rank_whose_iterate_differs_is_reported"


@pytest.mark.slow
@pytest.mark.parametrize(("ci", "outcome"), [("", "1 passed, 1 skipped"), ("true", "1 failed, 1 passed")])
def test_a_machine_with_one_mpi(pytestconfig: pytest.Config, ci: str, outcome: str) -> None:
    """There are two workers of pytest, so reports are sent between processes."""
    removed = ("OMPI_", "PMI", "MPI_FED_", "PYTEST_")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(removed)}
    variables |= {"MPI_FED_SECOND_PYTHON": "/nowhere/python", "CI": ci}
    words = [sys.executable, "-m", "pytest", "-n2", "-q", "-p", "no:cacheprovider", "-k", TEST.rpartition("::")[2]]
    words += [TEST.partition("::")[0]]
    folder = pytestconfig.rootpath
    ended = subprocess.run(words, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert outcome in ended.stdout.splitlines()[-1], ended.stdout + ended.stderr
    assert "no second MPI: set MPI_FED_SECOND_PYTHON" in ended.stdout
