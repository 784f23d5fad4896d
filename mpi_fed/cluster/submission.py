"""The submitted jobs of a study: `submission.json` beside its logs, and their states in Slurm."""

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
"""States in which a job of squeue's waits; in every other one it runs, or is about to end."""


@dataclass(frozen=True)
class Entry:
    """A configuration of the study. `job` is the array task that had it last, as 12_3, if it was submitted."""

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
        """By id, the job of each configuration that has one."""
        return {entry.id: entry.job for entry in self.entries if entry.job}


def load(folder: Path) -> Submission | None:
    """The folder's submission, if there is one. Raises InputError where it cannot be read."""
    path = folder / NAME
    try:
        document = json.loads(path.read_bytes())
        if (document["format"], document["format_version"]) != (FORMAT, VERSION):
            raise ValueError("of another format")
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
        raise InputError(f"{path}: cannot be read ({reason}); move it away, and look at squeue before") from None


def save(folder: Path, submission: Submission) -> None:
    """Write the submission aside and put it in place."""
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
    """Within it, no other command submits this study. Raises InputError where one does already."""
    with _write_errors(folder):
        (folder / "jobs").mkdir(parents=True, exist_ok=True)
        lock = open(folder / f".{NAME}.lock", "w")  # noqa: SIM115
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder}: is being submitted by another command; wait for its end") from None
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
    """The state, `queued` or `running`, of each of these array tasks that Slurm still has. Without squeue, none.

    Raises InputError where squeue cannot say.
    """
    arrays = sorted({job.partition("_")[0] for job in jobs})
    if not arrays or shutil.which("squeue") is None:
        return {}
    command = ["squeue", "--noheader", "--array", f"--jobs={','.join(arrays)}", "--format=%i|%T"]
    answer = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if answer.returncode and "Invalid job id" not in answer.stderr:  # which it says where all of them are over
        message = plain((answer.stderr.strip().splitlines() or ["nothing"])[-1])
        raise InputError(f"squeue cannot tell which jobs are there ({message}); try again when Slurm answers")
    rows = (line.strip().partition("|") for line in answer.stdout.splitlines())
    return {job: "queued" if state in QUEUED else "running" for job, _, state in rows}
