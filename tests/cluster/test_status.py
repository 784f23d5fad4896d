"""`mpi-fed status`: each state, from logs, locks, the submission and Slurm."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import pytest
from support.synthetic_log import points, tables, write_log

from mpi_fed.cli.main import main
from mpi_fed.cluster import status, submission
from mpi_fed.cluster.status import Row
from mpi_fed.cluster.submission import Entry, Submission

FOLDER = Path("runs/test")
ENTRY = Entry(id="0123456789ab", file_name="none-012345.h5", label="none", position=0, rounds=1000, seeds=[0, 1, 2])
LOG = FOLDER / ENTRY.file_name


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder, with a squeue that prints the file `queue`."""
    monkeypatch.chdir(tmp_path)
    Path("bin").mkdir()
    Path("bin/squeue").write_text("#!/bin/sh\ncat queue\n")
    Path("bin/squeue").chmod(0o755)
    Path("queue").touch()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")


def remember(*entries: Entry) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    submission.save(FOLDER, Submission("test", "/study.toml", list(entries)))


def log(reached: list[int] | None = None, **attributes: Any) -> None:
    write_log(LOG, reached=reached, label="none", **attributes)


def leave(text: str) -> None:
    """Write the exit file that the batch script leaves of a failed run, newer than the log."""
    path = LOG.with_name(f".{LOG.name}.exit")
    path.write_text(text)
    os.utime(path, (2e9, 2e9))


def only_row(folder: str = "runs") -> Row:
    (row,) = status.examine(Path(folder))
    return row


def test_a_submitted_configuration_without_job_and_log_is_missing() -> None:
    remember(ENTRY)
    row = only_row()
    assert (row.state, row.repetitions_done, row.repetitions, row.rounds_done, row.rounds) == ("missing", 0, 3, 0, 3000)


@pytest.mark.parametrize("submitted", [True, False])
@pytest.mark.parametrize("folder", ["runs", "runs/test", "runs/test/"])
def test_a_complete_log_is_done(submitted: bool, folder: str) -> None:
    log()
    if submitted:
        remember(ENTRY)
    row = only_row(folder)
    assert (row.state, row.repetitions_done, row.rounds_done, row.label) == ("done", 3, 3000, "none")


def test_a_diverged_log_is_done() -> None:
    log(status="diverged")
    with h5py.File(LOG, "r+") as file:
        file["repetition_status"][1] = 2
    row = only_row()
    assert (row.state, row.note, row.rounds_done) == ("done", "1 diverged", 3000)


def test_only_submitted_repetitions_count() -> None:
    log(reached=[len(points(1000)), len(points(1000)), 5])
    remember(replace(ENTRY, seeds=[0, 1]))
    assert (only_row().state, only_row().repetitions) == ("done", 2)


@pytest.mark.parametrize(
    ("state", "expected"), [("PENDING", "queued"), ("RUNNING", "running"), ("COMPLETING", "running")]
)
def test_the_state_of_a_job_comes_from_slurm(state: str, expected: str) -> None:
    remember(replace(ENTRY, job="12_3"))
    Path("queue").write_text(f"12_1|RUNNING\n12_3|{state}\n")
    assert (only_row().state, only_row().job) == (expected, "12_3")


def test_an_incomplete_configuration_with_a_waiting_job_is_queued() -> None:
    log(reached=[len(points(1000)), 7, 0], status="interrupted")
    remember(replace(ENTRY, job="12_3"))
    Path("queue").write_text("12_3|PENDING\n")
    row = only_row()
    assert (row.state, row.repetitions_done, row.rounds_done) == ("queued", 1, 1000 + points(1000)[6])


def test_a_locked_log_is_running() -> None:
    log(reached=[5, 0, 0], status="running")
    with open(FOLDER / f".{LOG.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert only_row().state == "running"
    assert only_row().state == "interrupted"


def test_an_open_log_is_running() -> None:
    log(reached=[5, 0, 0], status="running")
    hold = "import h5py, sys; file = h5py.File(sys.argv[1], 'r+'); print('held', flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", hold, str(LOG)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"held\n"
        row = only_row()
    assert (row.state, row.rounds_done) == ("running", points(1000)[4])


def test_an_interrupted_log_is_interrupted_even_if_it_had_a_job() -> None:
    log(reached=[5, 0, 0], status="interrupted")
    assert only_row().state == "interrupted"
    remember(replace(ENTRY, job="12_3"))
    assert only_row().state == "interrupted"


def test_a_killed_run_without_a_job_can_be_continued() -> None:
    log(reached=[5, 0, 0], status="running")
    assert (only_row().state, only_row().note) == ("interrupted", "killed; can be continued")


@pytest.mark.parametrize("has_log", [True, False])
def test_a_failed_job_has_its_exit_status(has_log: bool) -> None:
    remember(replace(ENTRY, job="12_3"))
    if has_log:
        log(reached=[5, 0, 0], status="running")
    leave("3 12_3 n1\n")
    row = only_row()
    assert (row.state, row.exit_status, row.host, row.job) == ("failed", 3, "n1", "12_3")
    assert row.note == ""
    (FOLDER / "jobs").mkdir()
    lines = ["mpi-fed: before", "mpi-fed: other.h5 ended with exit status 1 on n1", "mpi-fed: reason", "noise"]
    lines += [f"mpi-fed: {LOG.name} ended with exit status 3 on n1", "mpi-fed: later"]
    (FOLDER / "jobs" / "12_3.out").write_text("\n".join(lines))
    assert only_row().note == "reason"


def test_a_failure_older_than_the_log_is_ignored() -> None:
    exit_file = LOG.with_name(f".{LOG.name}.exit")
    FOLDER.mkdir(parents=True)
    exit_file.write_text("3 12_3 n1\n")
    os.utime(exit_file, (1e9, 1e9))
    log(reached=[5, 0, 0], status="interrupted")
    assert only_row().state == "interrupted"


def test_a_job_without_an_exit_status_has_failed() -> None:
    remember(replace(ENTRY, job="12_3"))
    log(reached=[5, 0, 0], status="running")
    assert (only_row().state, only_row().exit_status) == ("failed", None)
    assert "left no exit status" in only_row().note


def test_an_exit_file_cannot_name_other_files() -> None:
    remember(ENTRY)
    Path("runs/other.out").write_text(f"mpi-fed: secret\nmpi-fed: {LOG.name} ended with exit status 1 on n1")
    leave("1 ../../other n1")
    assert (only_row().state, only_row().note) == ("failed", "")


@pytest.mark.parametrize("text", ["", "x y z", "1 2"])
def test_a_damaged_exit_file_is_ignored(text: str) -> None:
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


def test_several_studies_are_listed_in_order(capsys: pytest.CaptureFixture[str]) -> None:
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


def test_json_has_all_fields(capsys: pytest.CaptureFixture[str]) -> None:
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
def test_a_folder_without_logs_is_refused(capsys: pytest.CaptureFixture[str], folder: str) -> None:
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
