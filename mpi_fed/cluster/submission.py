"""The submitted jobs of a study: `submission.json` next to its logs, and their states in Slurm."""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from ..errors import InputError
from ..files import atomic_write
from ..text import plain

NAME = "submission.json"
FORMAT, VERSION = "mpi-fed submission", 1
QUEUED = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD")
"""States of squeue in which a job waits. In all other states it is running or about to end."""


@dataclass(frozen=True)
class Entry:
    """A configuration of the study. `job` is its last array task, such as 12_3, or None if it was not submitted."""

    id: str
    file_name: str
    label: str
    position: int
    rounds: int
    seeds: list[int]
    job: str | None = None


@dataclass(frozen=True)
class Submission:
    """A study's configurations and jobs."""

    study: str
    path: str
    entries: list[Entry] = field(default_factory=list)

    @property
    def jobs(self) -> dict[str, str]:
        """Jobs of the submitted configurations, by the configuration's id."""
        return {entry.id: entry.job for entry in self.entries if entry.job}


def load(folder: Path) -> Submission | None:
    """Return the folder's submission, or None. Raises InputError if it cannot be read."""
    path = folder / NAME
    try:
        document = json.loads(path.read_bytes())
        if (document["format"], document["format_version"]) != (FORMAT, VERSION):
            raise ValueError(f"it is not {FORMAT} {VERSION}")
        names = [field.name for field in fields(Entry)]
        entries = [Entry(**{name: entry[name] for name in names}) for entry in document["configurations"]]
        if not all(re.fullmatch(r"[A-Za-z0-9.][A-Za-z0-9.-]*\.h5", e.file_name) for e in entries):
            raise ValueError("a file_name is not the name of a log")
        if not all(e.job is None or re.fullmatch("[0-9]+_[0-9]+", e.job) for e in entries):
            raise ValueError("a job is not an array task")
        return Submission(document["study"], document["path"], entries)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = plain(str(getattr(error, "strerror", None) or error))
        raise InputError(
            f"{path}: cannot be read ({reason}); check with squeue that no job of this study is left, then move this "
            "file away"
        ) from None


def save(folder: Path, submission: Submission) -> None:
    """Write the submission to a temporary file and rename it."""
    document = {
        "format": FORMAT,
        "format_version": VERSION,
        "study": submission.study,
        "path": submission.path,
        "configurations": [asdict(entry) for entry in submission.entries],
    }
    with _write_errors(folder), atomic_write(folder / NAME) as part:
        part.write_text(json.dumps(document, indent=1) + "\n")


@contextlib.contextmanager
def lock_submission(folder: Path) -> Iterator[None]:
    """Keep other commands from submitting this study. Raises InputError if another command is submitting it."""
    with _write_errors(folder):
        (folder / "jobs").mkdir(parents=True, exist_ok=True)
        lock = open(folder / f".{NAME}.lock", "w")  # noqa: SIM115
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder}: is being submitted by another command; wait until it ends") from None
        except OSError:
            pass  # a file system without locks
        yield


@contextlib.contextmanager
def _write_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror or error}); give another --out") from None


def queue(jobs: Iterable[str]) -> dict[str, str]:
    """Return array task -> `queued` or `running` for those tasks that Slurm still has; {} if squeue is not on PATH.

    Raises InputError if squeue fails.
    """
    arrays = sorted({job.partition("_")[0] for job in jobs})
    if not arrays or shutil.which("squeue") is None:
        return {}
    command = ["squeue", "--noheader", "--array", f"--jobs={','.join(arrays)}", "--format=%i|%T"]
    answer = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if answer.returncode and "Invalid job id" not in answer.stderr:  # squeue's error if all jobs have ended
        message = plain((answer.stderr.strip().splitlines() or ["without a message"])[-1])
        raise InputError(f"squeue failed ({message}); try again when Slurm responds")
    rows = (line.strip().partition("|") for line in answer.stdout.splitlines())
    return {job: "queued" if state in QUEUED else "running" for job, _, state in rows}
