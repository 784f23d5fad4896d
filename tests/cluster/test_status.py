"""`mpi-fed status`: each state, from logs, locks, what was submitted, and what Slurm says."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import pytest
from support.synthetic_log import points, tables, write_log

from mpi_fed.cli.main import main
from mpi_fed.cluster import status, submission
from mpi_fed.cluster.submission import Entry, Submission

FOLDER = Path("runs/test")
ENTRY = Entry(id="0123456789ab", file_name="none-012345.h5", label="none", position=0, rounds=1000, seeds=[0, 1, 2])
LOG = FOLDER / ENTRY.file_name


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder, with a squeue that shows what is written into `queue`."""
    monkeypatch.chdir(tmp_path)
    Path("bin").mkdir()
    Path("bin/squeue").write_text("#!/bin/sh\ncat queue\n")
    Path("bin/squeue").chmod(0o755)
    Path("queue").touch()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")


def remember(*entries: Entry) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    submission.save(FOLDER, Submission("test", "/study.toml", list(entries)))


def log(reached: list[int] | None = None, **attributes: object) -> None:
    write_log(LOG, reached=reached, label="none", **attributes)


def leave(text: str) -> None:
    """What the batch script leaves of a run that failed, after it."""
    path = LOG.with_name(f".{LOG.name}.exit")
    path.write_text(text)
    os.utime(path, (2e9, 2e9))


def only_row(folder: str = "runs") -> Row:
    (row,) = status.examine(Path(folder))
    return row


def test_missing() -> None:
    remember(ENTRY)
    row = only_row()
    assert (row.state, row.repetitions_done, row.repetitions, row.rounds_done, row.rounds) == ("missing", 0, 3, 0, 3000)


@pytest.mark.parametrize("submitted", [True, False])
@pytest.mark.parametrize("folder", ["runs", "runs/test", "runs/test/"])
def test_done(submitted: bool, folder: str) -> None:
    log()
    if submitted:
        remember(ENTRY)
    row = only_row(folder)
    assert (row.state, row.repetitions_done, row.rounds_done, row.label) == ("done", 3, 3000, "none")


def test_diverged_is_done() -> None:
    log(status="diverged")
    with h5py.File(LOG, "r+") as file:
        file["repetition_status"][1] = 2
    row = only_row()
    assert (row.state, row.note, row.rounds_done) == ("done", "1 diverged", 3000)


def test_a_repetition_that_was_not_submitted_is_not_wanted() -> None:
    log(reached=[len(points(1000)), len(points(1000)), 5])
    remember(replace(ENTRY, seeds=[0, 1]))
    assert (only_row().state, only_row().repetitions) == ("done", 2)


@pytest.mark.parametrize(
    ("state", "expected"), [("PENDING", "queued"), ("RUNNING", "running"), ("COMPLETING", "running")]
)
def test_in_the_queue(state: str, expected: str) -> None:
    remember(replace(ENTRY, job="12_3"))
    Path("queue").write_text(f"12_1|RUNNING\n12_3|{state}\n")
    assert (only_row().state, only_row().job) == (expected, "12_3")


def test_partly_done_and_in_the_queue_again() -> None:
    log(reached=[len(points(1000)), 7, 0], status="interrupted")
    remember(replace(ENTRY, job="12_3"))
    Path("queue").write_text("12_3|PENDING\n")
    row = only_row()
    assert (row.state, row.repetitions_done, row.rounds_done) == ("queued", 1, 1000 + points(1000)[6])


def test_running_by_its_lock() -> None:
    log(reached=[5, 0, 0], status="running")
    with open(FOLDER / f".{LOG.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert only_row().state == "running"
    assert only_row().state == "interrupted"


def test_running_by_the_open_log() -> None:
    log(reached=[5, 0, 0], status="running")
    hold = "import h5py, sys; file = h5py.File(sys.argv[1], 'r+'); print('held', flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", hold, str(LOG)], **pipes) as writer:
        assert writer.stdout.readline() == b"held\n"
        row = only_row()
    assert (row.state, row.rounds_done) == ("running", points(1000)[4])


def test_interrupted() -> None:
    log(reached=[5, 0, 0], status="interrupted")
    assert only_row().state == "interrupted"
    remember(replace(ENTRY, job="12_3"))
    assert only_row().state == "interrupted"


def test_killed_without_a_job_can_be_continued() -> None:
    log(reached=[5, 0, 0], status="running")
    assert (only_row().state, only_row().note) == ("interrupted", "killed; can be continued")


@pytest.mark.parametrize("has_log", [True, False])
def test_failed_with_its_exit_status(has_log: bool) -> None:
    remember(replace(ENTRY, job="12_3"))
    if has_log:
        log(reached=[5, 0, 0], status="running")
    leave("3 12_3 n1\n")
    row = only_row()
    assert (row.state, row.exit_status, row.host, row.job) == ("failed", 3, "n1", "12_3")
    assert row.note == ""
    (FOLDER / "jobs").mkdir()
    said = ["mpi-fed: before", "mpi-fed: other.h5 ended with exit status 1 on n1", "mpi-fed: why", "noise"]
    said += [f"mpi-fed: {LOG.name} ended with exit status 3 on n1", "mpi-fed: later"]
    (FOLDER / "jobs" / "12_3.out").write_text("\n".join(said))
    assert only_row().note == "why"


def test_a_failure_before_the_log_was_worked_on_again_is_past() -> None:
    leave_first = LOG.with_name(f".{LOG.name}.exit")
    FOLDER.mkdir(parents=True)
    leave_first.write_text("3 12_3 n1\n")
    os.utime(leave_first, (1e9, 1e9))
    log(reached=[5, 0, 0], status="interrupted")
    assert only_row().state == "interrupted"


def test_failed_without_a_word() -> None:
    remember(replace(ENTRY, job="12_3"))
    log(reached=[5, 0, 0], status="running")
    assert (only_row().state, only_row().exit_status) == ("failed", None)
    assert "without a word" in only_row().note


def test_an_exit_file_cannot_name_other_files() -> None:
    remember(ENTRY)
    Path("runs/other.out").write_text(f"mpi-fed: secret\nmpi-fed: {LOG.name} ended with exit status 1 on n1")
    leave("1 ../../other n1")
    assert (only_row().state, only_row().note) == ("failed", "")


@pytest.mark.parametrize("text", ["", "x y z", "1 2"])
def test_a_torn_exit_file_is_ignored(text: str) -> None:
    log(reached=[5, 0, 0], status="interrupted")
    leave(text)
    assert only_row().state == "interrupted"


def test_a_file_that_is_not_a_log_counts_as_failed() -> None:
    FOLDER.mkdir(parents=True)
    LOG.write_text("no log")
    assert (only_row().state, only_row().note) == ("failed", "cannot be read as a log")


def test_a_log_under_an_older_name_is_found() -> None:
    log()
    LOG.rename(FOLDER / "older-012345.h5")
    remember(ENTRY)
    assert (only_row().state, only_row().file_name) == ("done", "older-012345.h5")


def test_several_studies_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    log()
    other = tables(study={"name": "other"})
    write_log(Path("runs/other/b.h5"), other, label="b", position=1)
    write_log(Path("runs/other/a.h5"), other, label="a", position=2, reached=[5, 5, 5], status="interrupted")
    assert main(["status", "runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "other: 1 done, 1 interrupted"
    assert [line.split()[:2] for line in lines[1:3]] == [["done", "b"], ["interrupted", "a"]]
    assert lines[3] == "test: 1 done"
    assert "3 of 3 repetitions, 3,000 of 3,000 rounds" in lines[4]


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    remember(replace(ENTRY, job="12_3"))
    leave("1 12_3 n2")
    assert main(["status", "runs", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row == {
        "study": "test",
        "file_name": ENTRY.file_name,
        "label": "none",
        "id": ENTRY.id,
        "state": "failed",
        "repetitions_done": 0,
        "repetitions": 3,
        "rounds_done": 0,
        "rounds": 3000,
        "job": "12_3",
        "exit_status": 1,
        "host": "n2",
        "note": "",
    }


@pytest.mark.parametrize("folder", ["nowhere", ".", "file"])
def test_a_folder_without_anything_is_refused(capsys: pytest.CaptureFixture[str], folder: str) -> None:
    Path("file").touch()
    assert main(["status", folder]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1


def test_nothing_is_written() -> None:
    log(reached=[5, 0, 0], status="running")
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    with contextlib.suppress(Exception):
        status.examine(Path("runs"))
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before
