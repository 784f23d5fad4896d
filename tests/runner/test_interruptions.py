"""Runs that are killed, or whose disk is full, at any moment: their logs are undamaged and can be continued."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from support import command
from support.command import arrays, assert_same
from support.mpi_tests import MUST_HAVE_BOTH
from support.processes import children, family, seconds_until_gone
from support.study_text import write_study

from mpi_fed.launch import launcher
from mpi_fed.log import schema

pytestmark = pytest.mark.slow

T = TypeVar("T")
MOST = 600
"""Number of repetitions. They take seconds, so that a run is killed many times before they are done."""
STUDY: dict[str, Any] = {
    "rounds": 3000,
    "clients": 2,
    "problem": {"dimension": 20},
    "log": {"points_per_decade": 20, "iterates": "last"},
}
KILLS = 8
GONE = 2.0
"""Seconds after which no rank may run when its command was killed."""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path / "test.toml", repetitions=MOST, **STUDY)


def start(study: Path) -> subprocess.Popen[str]:
    return command.start("run", study, "--ranks=2", f"--out={study.parent / 'runs'}", "--no-analyze")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The log of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    study = write_study(folder / "test.toml", repetitions=MOST, **STUDY)
    command.run("run", study, "--ranks=2", f"--out={folder}", "--no-analyze")
    (log,) = command.logs(folder / "test").values()
    return log


def kill(job: subprocess.Popen[str]) -> None:
    """Kill all processes with -9, or only the command, after which its ranks must end."""
    everything = list(family(job.pid))
    for process in random.choice([everything, everything[:1]]):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    job.communicate()
    assert seconds_until_gone(everything) < GONE, "ranks still run after their command has ended"


def check(path: Path, status: bytes = b"running") -> dict[str, NDArray[Any]]:
    """Check a log that was left at any moment, and return its datasets."""
    with h5py.File(path, "r") as file:
        assert file.attrs["status"] == status
        assert len(file["repetition"]) == MOST
    log = arrays(path)
    done = log["repetition_status"] == schema.RepetitionStatus.COMPLETE
    for name in ("excess_risk", "excess_risk_averaged", "wall_seconds", *(count.name for count in schema.COUNTS)):
        written = np.isfinite(log[name]) if log[name].dtype == np.float64 else log[name] >= 0
        assert written[done].all(), name
        length = written.sum(axis=1)
        prefix = np.arange(written.shape[1]) < length[:, None]
        np.testing.assert_array_equal(written, prefix, err_msg=f"{name}: a gap")
        assert (log[name][~written] == -1).all() or np.isnan(log[name][~written]).all(), name
    return log


def test_a_run_that_is_killed_many_times_ends_like_an_uninterrupted_run(
    study: Path, whole: dict[str, Any], tmp_path: Path
) -> None:
    """Each kill leaves an undamaged log, and no finished repetition is run again."""
    random.seed(1)
    folder = tmp_path / "runs" / "test"
    finished: dict[int, tuple[float, ...]] = {}
    kills = 0
    while kills < KILLS:
        before = {path: path.stat().st_mtime_ns for path in folder.glob("*.h5")}
        job = start(study)
        if kills % 5 != 4:  # in the fifth case, kill during start-up
            while job.poll() is None and {p: p.stat().st_mtime_ns for p in folder.glob("*.h5")} == before:
                time.sleep(0.001)
        if kills % 5 != 3:  # in the fourth case, kill when the log appears or is opened
            time.sleep(random.uniform(0, 0.15))
        if job.poll() is not None:
            break
        kill(job)
        kills += 1
        for path in folder.glob("*.h5"):
            log = check(path)
            for r in np.flatnonzero(log["repetition_status"]):
                row = tuple(log["wall_seconds"][r])
                assert finished.setdefault(int(r), row) == row, "the repetition was run twice"
    assert kills >= 5, "the run ended before it could be killed"
    assert 0 < len(finished) < MOST
    job = start(study)
    job.communicate(timeout=command.PATIENCE)
    assert job.returncode == 0
    (path,) = folder.iterdir()  # no other file is left
    log = check(path, b"complete")
    assert_same(log, whole)
    for repetition, seconds in finished.items():
        assert tuple(log["wall_seconds"][repetition]) == seconds


def test_the_log_on_the_disk_is_undamaged_at_any_moment(study: Path, whole: dict[str, Any], tmp_path: Path) -> None:
    """A copy of the log while the root is stopped is the log that a kill at that moment would leave.

    After 100 copies the log is copied only if it has changed, up to 200 copies in all, because on a slow machine no
    repetition may have ended by then.
    """
    random.seed(2)
    job = start(study)
    folder, last = tmp_path / "runs" / "test", 0
    root: int | None = None
    copies: list[Path] = []
    while job.poll() is None:
        time.sleep(random.uniform(0, 0.02))
        for path in folder.glob("*.h5"):
            root = root or next((p for p in family(job.pid) if has_open(p, path)), None)
            if root is None or (len(copies) >= 100 and path.stat().st_mtime_ns == last) or len(copies) >= 200:
                continue
            with contextlib.suppress(ProcessLookupError):  # the job has just ended
                os.kill(root, signal.SIGSTOP)
                last = path.stat().st_mtime_ns
                copies.append(tmp_path / f"{len(copies)}.h5")
                shutil.copy(path, copies[-1])
                os.kill(root, signal.SIGCONT)
    job.communicate(timeout=command.PATIENCE)
    assert job.returncode == 0
    logs = [check(copy) for copy in copies if status(copy) == b"running"]
    assert len(logs) > 20
    progress = [int((log["repetition_status"] == 1).sum()) for log in logs]
    assert progress == sorted(progress)
    assert progress[0] < progress[-1]
    for log in logs[:: len(logs) // 10]:
        done = log["repetition_status"] == 1
        for name in ("last_iterate_averaged", "message_count", "uplink_payload_bytes"):
            np.testing.assert_array_equal(log[name][done], whole[name][done])


def has_open(process: int, path: Path) -> bool:
    with contextlib.suppress(OSError):
        return any(link.samefile(path) for link in Path(f"/proc/{process}/fd").iterdir() if link.exists())
    return False


def status(path: Path) -> bytes:
    with h5py.File(path, "r") as file:
        value: bytes = file.attrs["status"]
    return value


def test_a_killed_rank_ends_the_job_and_is_reported(mpi_python: str, tmp_path: Path) -> None:
    """The other ranks wait for it in a collective. The log is undamaged, and the next run continues."""
    study = write_study(tmp_path / "test.toml", repetitions=2, **STUDY)
    options = ["run", study, f"--out={tmp_path / 'runs'}", "--no-analyze", "--ranks=2"]
    rounds = "--set=study.rounds=1_000_000_000"
    job = command.start(*options, rounds, "--checkpoint-seconds=0.2", python=mpi_python)
    (path,) = wait_for(job, lambda: list(tmp_path.glob("runs/test/*.checkpoint")))
    log = path.with_suffix(".h5")
    ranks = [p for p in family(job.pid) if not list(children(p))]
    root = next(p for p in ranks if has_open(p, log))
    victim = next(p for p in ranks if p != root)
    os.kill(victim, signal.SIGKILL)
    begun = time.monotonic()
    output, errors = job.communicate(timeout=60)
    assert time.monotonic() - begun < 30
    assert job.returncode not in (0, 85)
    text = " ".join((output + errors).split())
    host = os.uname().nodename.split(".")[0]
    assert re.search(rf"rank 1 with PID {victim} on node {host}|PID {victim} RUNNING AT {host}", text), text
    assert f"rank 1 was process {victim}" in text
    with h5py.File(log) as file:
        assert file.attrs["status"] == b"running"
    with np.load(path, allow_pickle=False) as file:
        done = json.loads(file["meta"].tobytes())["done"]
    again = command.start(*options, rounds, "--checkpoint-seconds=0.2", python=mpi_python)
    first = path.stat().st_mtime_ns
    wait_for(again, lambda: path.stat().st_mtime_ns != first)
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=command.PATIENCE)
    assert again.returncode == 85
    with np.load(path, allow_pickle=False) as file:
        assert json.loads(file["meta"].tobytes())["done"] > done


BY_FAMILY = {"Open MPI": [signal.SIGUSR1], "MPICH": [signal.SIGUSR1, signal.SIGTERM, signal.SIGINT]}
"""Signals after which a launcher that is started directly gives its ranks time to save."""


def test_signals_to_a_launcher_save_the_run(mpi_python: str, tmp_path: Path) -> None:
    """After each signal, the next run continues."""
    write_study(tmp_path / "test.toml", repetitions=1, **STUDY)
    mpiexec = launcher.find_launcher(mpi_python)
    environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    words = [mpiexec.path, "-n", "2", mpi_python, "-m", "mpi_fed", "run", "test.toml", "--no-analyze"]
    words += ["--set=study.rounds=1_000_000_000", "--set=log.iterates='last'"]
    done = [0]
    for signum in BY_FAMILY[mpiexec.family]:
        with subprocess.Popen(
            words,
            env=environment,
            cwd=tmp_path,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        ) as job:
            wait_for(job, lambda: rounds_done(tmp_path) > done[-1])
            job.send_signal(signum)
            output, errors = job.communicate(timeout=60)
        assert job.returncode == 85, f"{signum}: {output}{errors}"
        with np.load(next(tmp_path.glob("runs/test/*.checkpoint")), allow_pickle=False) as file:
            done.append(json.loads(file["meta"].tobytes())["done"])
        assert done[-1] > done[-2]
        with h5py.File(next(tmp_path.glob("runs/test/*.h5"))) as file:
            assert file.attrs["status"] == b"interrupted"


def rounds_done(folder: Path) -> int:
    """Return the rounds of the only repetition in the log of the study, also while it is written."""
    for path in folder.glob("runs/test/*.h5"):
        with contextlib.suppress(OSError, KeyError), h5py.File(path, "r", locking=False) as file:
            points = np.isfinite(file["wall_seconds"][0]).sum()
            return int(file["round"][max(0, points - 1)])
    return 0


def test_a_read_only_disk_is_reported(mpi_python: str, small_disk: Path, study: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    options = ["--ranks=2", f"--out={small_disk}", "--no-analyze", "--set=study.repetitions=1"]
    ended = command.run("run", study, *options, python=mpi_python, status=2)
    assert str(small_disk) in sentence(ended.stderr)
    assert "Read-only file system" in sentence(ended.stderr)
    assert "Traceback" not in ended.stderr


def wait_for(job: subprocess.Popen[str], condition: Callable[[], T]) -> T:
    """Wait until the condition gives a true value, and return it. The job must not end before that."""
    end = time.monotonic() + command.PATIENCE
    while not (result := condition()):
        assert time.monotonic() < end
        assert job.poll() is None, job.communicate()
        time.sleep(0.02)
    return result


def test_a_disk_too_full_for_a_checkpoint_is_reported(mpi_python: str, small_disk: Path, study: Path) -> None:
    """The error is one sentence. The earlier checkpoint and the log do not change, and the next run continues them."""
    options = ["run", study, "--ranks=2", f"--out={small_disk}", "--no-analyze", "--set=study.repetitions=1"]
    options += ["--set=study.rounds=1_000_000_000", "--set=log.iterates='none'", "--checkpoint-seconds=0.2"]
    job = command.start(*options, python=mpi_python)
    (path,) = wait_for(job, lambda: list(small_disk.glob("test/*.checkpoint")))
    fill(small_disk)
    _, errors = job.communicate(timeout=command.PATIENCE)
    assert job.returncode == 2
    assert f"{path}: cannot be written (No space left on device)" in sentence(errors)
    assert "Traceback" not in errors
    (small_disk / "filler").unlink()
    names = {file.name for file in (small_disk / "test").iterdir()}
    assert names == {path.name, path.with_suffix(".h5").name}
    with np.load(path, allow_pickle=False) as file:
        done = json.loads(file["meta"].tobytes())["done"]
    assert done > 0
    again = command.start(*options, python=mpi_python)
    first = path.stat().st_mtime_ns
    wait_for(again, lambda: path.stat().st_mtime_ns != first)
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=command.PATIENCE)
    assert again.returncode == 85


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        reason = "only root can make a small disk, and only if mounting is allowed"
        pytest.fail(reason, pytrace=False) if MUST_HAVE_BOTH else pytest.skip(reason)
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path, leave: int = 0) -> None:
    """Fill a disk except for `leave` bytes."""
    with open(disk / "filler", "wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        file.truncate(max(0, os.fstat(file.fileno()).st_size - leave))


def sentence(errors: str) -> str:
    """Return the only line that mpi-fed itself printed."""
    (line,) = (line for line in errors.splitlines() if line.startswith("mpi-fed: "))
    return line


@pytest.mark.parametrize("leave", [0, 4096, 100_000])
def test_a_disk_too_full_for_the_log_is_reported(mpi_python: str, small_disk: Path, study: Path, leave: int) -> None:
    fill(small_disk, leave)
    options = ["--ranks=2", f"--out={small_disk}", "--no-analyze", "--set=study.repetitions=2"]
    ended = command.run("run", study, *options, python=mpi_python, status=2)
    assert f"{small_disk}/test" in sentence(ended.stderr)
    assert "No space left on device" in sentence(ended.stderr)
    assert "Traceback" not in ended.stderr
    assert not list(small_disk.glob("test/*"))
    assert not list(small_disk.glob("test/.*"))


def test_a_disk_too_full_for_the_second_log_is_reported(mpi_python: str, small_disk: Path, study: Path) -> None:
    """The log of the first configuration is complete, and the log of the second does not exist."""
    options = ["--ranks=2", f"--out={small_disk}", "--no-analyze", "--set=study.repetitions=2"]
    options += ["--set=study.rounds=[3000, 3_000_000]", "--set=log.points_per_decade=500", "--set=log.iterates='all'"]
    ended = command.run("run", study, *options, python=mpi_python, status=2)
    assert "No space left on device" in sentence(ended.stderr)
    (path,) = (small_disk / "test").iterdir()
    assert status(path) == b"complete"
    assert "rounds-3000000" in sentence(ended.stderr)


def test_a_log_that_cannot_grow_does_not_change(mpi_python: str, small_disk: Path, study: Path) -> None:
    options = ["run", study, "--ranks=2", f"--out={small_disk}", "--no-analyze"]
    command.run(*options, "--set=study.repetitions=2", python=mpi_python)
    (path,) = (small_disk / "test").iterdir()
    before = path.read_bytes()
    fill(small_disk)
    ended = command.run(*options, "--set=study.repetitions=3", python=mpi_python, status=2)
    assert "No space left on device" in sentence(ended.stderr)
    assert path.read_bytes() == before
    assert list((small_disk / "test").iterdir()) == [path]


def test_a_running_log_whose_disk_becomes_full_is_reported(mpi_python: str, small_disk: Path, study: Path) -> None:
    """A hole is punched into the log, so that writing needs free space, as overwriting does on some file systems."""
    options = ["run", study, "--ranks=2", f"--out={small_disk}", "--no-analyze", "--set=study.repetitions=1"]
    options += ["--set=study.rounds=1_000_000_000", "--set=log.points_per_decade=200", "--set=log.iterates='all'"]
    with command.start(*options, python=mpi_python) as job:
        end = time.monotonic() + command.PATIENCE
        while not (paths := list(small_disk.glob("test/*.h5"))):
            assert time.monotonic() < end
            assert job.poll() is None, job.communicate()
            time.sleep(0.01)
        time.sleep(0.5)
        with h5py.File(paths[0], "r", locking=False) as file:
            iterates = file["iterate"].id
            place = [f"--offset={iterates.get_offset()}", f"--length={iterates.get_storage_size()}"]
        subprocess.run(["fallocate", "--punch-hole", *place, str(paths[0])], check=True)
        fill(small_disk)
        try:
            _, errors = job.communicate(timeout=120)
        finally:
            job.kill()
    assert job.returncode == 2
    assert str(paths[0]) in sentence(errors)
    assert "No space left on device" in sentence(errors)
    assert "Traceback" not in errors
    with h5py.File(paths[0], "r") as file:
        assert file.attrs["status"] == b"running"
        assert file["repetition_status"][:].tolist() == [0]
