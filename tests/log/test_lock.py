"""One run at a time on a log; and what becomes of a log whose place is taken from it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
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
def other(tmp_path: Path):
    """A process that holds the lock of a log."""
    log = tmp_path / "a.h5"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(log)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield log, process
    process.kill()
    process.communicate()


def test_a_second_holder_is_refused_and_the_first_is_named(other) -> None:
    log, _ = other
    words = r"a\.h5: is in use by another run \(process 1 on host\); wait"
    with pytest.raises(InputError, match=words), lock.held(log, ""):
        pass
    assert lock.path_of(log).exists()


def test_a_lock_ends_with_its_process(other) -> None:
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
    """Each holds it, and says so in a file that it alone may change then."""
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
def running(tmp_path: Path):
    """A run without end, and its log."""
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
def test_a_second_run_is_refused(running, tmp_path: Path) -> None:
    """And the first goes on as if nothing had been."""
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
def test_a_folder_that_disappears(running) -> None:
    job, log = running
    shutil.rmtree(log.parent)
    _, errors = job.communicate(timeout=command.PATIENCE)
    assert job.returncode == 2
    (line,) = (line for line in errors.splitlines() if line.startswith("mpi-fed: "))
    assert f"{log.parent.name}/{log.name}: cannot be written (No such file or directory)" in line
    assert "Traceback" not in errors
