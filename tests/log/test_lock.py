"""Only one run at a time writes a log, and a run stops if its log's folder is removed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest
from support import command
from support.study_text import write_study

from mpi_fed.errors import InputError
from mpi_fed.log import lock

HOLD = """
import sys, time
from pathlib import Path
from mpi_fed.log import lock
with lock.held(Path(sys.argv[1]), "process 1 on host"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A log, and a process that holds its lock."""
    log = tmp_path / "a.h5"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(log)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield log, process
    process.kill()
    process.communicate()


def test_a_second_holder_is_refused_and_the_first_is_reported(other: tuple[Path, subprocess.Popen[str]]) -> None:
    log, _ = other
    words = r"a\.h5: is in use by another run \(process 1 on host\); wait"
    with pytest.raises(InputError, match=words), lock.held(log, ""):
        pass
    assert lock.path_of(log).exists()


def test_a_lock_ends_with_its_process(other: tuple[Path, subprocess.Popen[str]]) -> None:
    log, process = other
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert lock.path_of(log).exists()
    assert lock.holder(log) is None
    with lock.held(log, "me"):
        assert lock.holder(log) == "another run (me)"
    assert lock.holder(log) is None
    assert not lock.path_of(log).exists()


def test_many_processes_hold_a_lock_one_at_a_time(tmp_path: Path) -> None:
    """Each holder makes and removes a folder, which would fail if another process held the lock at the same time."""
    program = """
import sys, time
from pathlib import Path
from mpi_fed.log import lock
from mpi_fed.errors import InputError
folder, done = Path(sys.argv[1]), 0
while done < 30:
    try:
        with lock.held(folder / "a.h5", "x"):
            (folder / "inside").mkdir()
            (folder / "inside").rmdir()
            done += 1
    except InputError:
        time.sleep(0.0005)
"""
    jobs = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(4)]
    assert [job.wait(timeout=60) for job in jobs] == [0, 0, 0, 0]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """An endless run, and its log."""
    write_study(tmp_path / "test.toml", rounds=10**9, clients=2)
    with command.start("run", "test.toml", "--ranks=1", "--no-analyze", folder=tmp_path) as job:
        end = time.monotonic() + command.PATIENCE
        while not (paths := list(tmp_path.glob("runs/test/*.h5"))):
            assert time.monotonic() < end
            assert job.poll() is None, job.communicate()
            time.sleep(0.01)
        yield job, paths[0]
        job.kill()


@pytest.mark.slow
def test_a_second_run_is_refused(running: tuple[subprocess.Popen[str], Path], tmp_path: Path) -> None:
    """The first run continues."""
    job, log = running
    ended = command.run("run", "test.toml", "--ranks=1", "--no-analyze", status=2, folder=tmp_path)
    assert f"{log.relative_to(tmp_path)}: is in use by another run (process " in ended.stderr
    assert job.poll() is None
    job.send_signal(signal.SIGTERM)
    _, errors = job.communicate(timeout=command.PATIENCE)
    assert job.returncode == 85, errors
    with h5py.File(log) as file:
        assert file.attrs["status"] == b"interrupted"


@pytest.mark.slow
def test_a_run_ends_with_an_error_if_its_folder_is_removed(running: tuple[subprocess.Popen[str], Path]) -> None:
    job, log = running
    shutil.rmtree(log.parent)
    _, errors = job.communicate(timeout=command.PATIENCE)
    assert job.returncode == 2
    (line,) = (line for line in errors.splitlines() if line.startswith("mpi-fed: "))
    assert f"{log.parent.name}/{log.name}: cannot be written (No such file or directory)" in line
    assert "Traceback" not in errors
