"""The state of each configuration of a study, from logs, their locks, the submission and Slurm."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from ..errors import InputError
from ..log import lock, schema
from ..log.hdf5 import decoded
from ..log.schema import RepetitionStatus, Status
from ..text import plain
from . import submission
from .submission import Entry

STATES = ("done", "running", "queued", "interrupted", "failed", "missing")
END = " ended with exit status "
"""Text that the batch script prints after the log's name when a run has failed."""
FINISHED = (RepetitionStatus.COMPLETE, RepetitionStatus.DIVERGED)
TAIL = 100_000
"""Number of bytes at the end of a job's output in which the message of the job is looked for."""


@dataclass(frozen=True)
class Progress:
    """The progress in one log. `status` is the log's root attribute."""

    id: str
    label: str
    position: int
    status: str
    length: int
    """Rounds of a repetition."""
    rounds: dict[int, int]
    """Seed -> rounds done."""
    finished: list[int]
    """Seeds of the repetitions that are complete or have diverged."""
    diverged: list[int]
    """Seeds of the repetitions that have diverged."""


@dataclass(frozen=True)
class Row:
    """The state of one configuration; each field is a key of `mpi-fed status --json`.

    Attributes
    ----------
    study : str
        Name of the study, or of its folder if the study was not submitted.
    file_name : str
        Name of the log's file.
    label : str
        Short name of the configuration, or the file's name if there is no label.
    id : str
        Digest of the configuration, `configuration_id` in the log; empty if it is not known.
    state : {"done", "running", "queued", "interrupted", "failed", "missing"}
        "done" if all repetitions are complete or have diverged; "missing" if the configuration was neither run nor
        submitted. See the table in `docs/cluster.md`.
    repetitions_done : int
        Number of repetitions that are complete or have diverged.
    repetitions : int
        Number of repetitions R.
    rounds_done : int
        Number of rounds done up to the last log point that was written, summed over repetitions.
    rounds : int
        Number of rounds of all repetitions together, K R.
    job : str or None
        Array task of Slurm, such as "12_3": the task whose run failed if there is an `exit_status`, else the last task
        that was submitted. None if there is neither.
    exit_status : int or None
        Exit status of the last run if it failed in a job, else None.
    host : str or None
        Host on which this run failed, else None.
    note : str
        The last message of the failed run, or a remark on the state; may be empty.
    """

    study: str
    file_name: str
    label: str
    id: str
    state: str
    repetitions_done: int
    repetitions: int
    rounds_done: int
    rounds: int
    job: str | None = None
    exit_status: int | None = None
    host: str | None = None
    note: str = ""


def examine(folder: Path) -> list[Row]:
    """Return the states of all configurations below a folder: that of one study, or one with folders of studies.

    Raises InputError if `folder` is not a folder, or contains neither logs nor a submission.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: is not a folder; give the folder of the logs, such as runs")
    studies = [folder] if _is_study(folder) else sorted(path for path in folder.iterdir() if _is_study(path))
    if not studies:
        raise InputError(f"{folder}: contains no logs and no submission; give the folder that you gave as --out")
    return [row for study in studies for row in _study(study)]


def _is_study(folder: Path) -> bool:
    return folder.is_dir() and ((folder / submission.NAME).exists() or any(folder.glob("*.h5")))


def _study(folder: Path) -> Iterator[Row]:
    submitted = submission.load(folder)
    name = submitted.study if submitted else folder.absolute().name
    logs = {path: read_progress(path) for path in sorted(folder.glob("*.h5"))}
    by_id = {progress.id: path for path, progress in logs.items() if progress}
    queued = submission.queue(submitted.jobs.values()) if submitted else {}
    for entry in submitted.entries if submitted else []:
        path = by_id.get(entry.id, folder / entry.file_name)
        yield _row(name, path, entry, logs.pop(path, None), queued)
    for path, progress in sorted(logs.items(), key=lambda item: (item[1].position if item[1] else -1, item[0])):
        if progress is None:
            yield _unreadable(name, path)
        else:
            yield _row(name, path, _entry(path, progress), progress, {})


def _unreadable(study: str, path: Path) -> Row:
    return Row(
        study=study,
        file_name=path.name,
        label=path.stem,
        id="",
        state="failed",
        repetitions_done=0,
        repetitions=0,
        rounds_done=0,
        rounds=0,
        note="cannot be read as a log",
    )


def _entry(path: Path, progress: Progress) -> Entry:
    """Return the entry of a configuration that was not submitted, from its log."""
    return Entry(
        id=progress.id,
        file_name=path.name,
        label=progress.label,
        position=progress.position,
        rounds=progress.length,
        seeds=list(progress.rounds),
    )


def _row(study: str, path: Path, entry: Entry, progress: Progress | None, queued: Mapping[str, str]) -> Row:
    """Return the state of one configuration, from its log, its lock, its job and its last exit status."""
    finished = set(progress.finished) & set(entry.seeds) if progress else set()
    reached = sum(progress.rounds.get(seed, 0) for seed in entry.seeds) if progress else 0
    row = Row(
        study=study,
        file_name=path.name,
        label=entry.label,
        id=entry.id,
        state="missing",
        repetitions_done=len(finished),
        repetitions=len(entry.seeds),
        rounds_done=reached,
        rounds=entry.rounds * len(entry.seeds),
        job=entry.job,
    )
    if len(finished) == len(entry.seeds):
        diverged = len(set(progress.diverged) & set(entry.seeds)) if progress else 0
        return replace(row, state="done", note=f"{diverged} diverged" if diverged else "")
    if in_progress(path):
        return replace(row, state="running")
    if entry.job and entry.job in queued:
        return replace(row, state=queued[entry.job])
    return _stopped(row, path, progress)


def _stopped(row: Row, path: Path, progress: Progress | None) -> Row:
    """Return the state of a configuration that is not done, running or queued."""
    ended = _exit(path)
    if ended:
        status, job, host = ended
        note = _said(path.parent / "jobs" / f"{job}.out", path.name) if re.fullmatch("[0-9]+_[0-9]+", job) else ""
        return replace(row, state="failed", exit_status=status, job=job, host=host, note=note)
    if progress and progress.status == Status.INTERRUPTED:
        return replace(row, state="interrupted", note="can be continued")
    if row.job:
        note = "its job left no exit status: cancelled, killed or out of time; submit again to continue"
        return replace(row, state="failed", note=note)
    if progress:
        return replace(row, state="interrupted", note="killed; can be continued")
    return row


def _said(output: Path, log: str) -> str:
    """Return a run's last message in a job's output, before the line in which the batch script reports a failure."""
    try:
        with open(output, "rb") as file:
            file.seek(max(0, output.stat().st_size - TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    # The line of the batch script may begin with an unfinished line of the launcher.
    while lines and f"mpi-fed: {log}{END}" not in lines.pop():
        pass
    for line in reversed(lines):
        if END in line:
            break
        if "mpi-fed: " in line:
            return plain(line.partition("mpi-fed: ")[2])[:300]
    return ""


def _exit(path: Path) -> tuple[int, str, str] | None:
    """Return (exit status, job, host) of the configuration's last run as the batch script noted it, if it failed.

    Return None if the log is newer than this record: then another run has continued the log.
    """
    record = path.with_name(f".{path.name}.exit")
    try:
        if path.exists() and path.stat().st_mtime_ns > record.stat().st_mtime_ns:
            return None
        status, job, host = record.read_text().split()
        return int(status), job, host
    except (OSError, ValueError):
        return None


def in_progress(path: Path) -> bool:
    """Return whether a run uses this log: it holds the lock or, on a file system without locks, has the log open."""
    if lock.holder(path) is not None:
        return True
    try:
        h5py.File(path, "r").close()
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def read_progress(path: Path) -> Progress | None:
    """Return the progress in a log, even while a run writes it; None if it cannot be read as a log."""
    try:
        with h5py.File(path, "r", locking=False) as log:
            return _progress(log)
    except (OSError, KeyError, ValueError, RuntimeError):
        return None


def _progress(log: h5py.File) -> Progress:
    entries = (schema.REPETITION, schema.REPETITION_STATUS, schema.ROUND)
    seeds, status, rounds = (log[entry.name][:].tolist() for entry in entries)
    points = np.isfinite(log[schema.WALL_SECONDS.name][:]).sum(axis=1).tolist()
    ended = [s != RepetitionStatus.MISSING for s in status]
    reached = [rounds[-1] if over else rounds[max(0, n - 1)] for over, n in zip(ended, points, strict=True)]
    label = schema.LABEL.name
    return Progress(
        id=decoded(log.attrs[schema.CONFIGURATION_ID.name]),
        label=decoded(log.attrs[label]) if label in log.attrs else os.path.basename(log.filename),
        position=int(log.attrs.get(schema.POSITION.name, 0)),
        status=decoded(log.attrs[schema.STATUS.name]),
        length=rounds[-1],
        rounds=dict(zip(seeds, reached, strict=True)),
        finished=[seed for seed, s in zip(seeds, status, strict=True) if s in FINISHED],
        diverged=[seed for seed, s in zip(seeds, status, strict=True) if s == RepetitionStatus.DIVERGED],
    )
