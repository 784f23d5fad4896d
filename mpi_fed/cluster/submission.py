"""What was submitted of a study: `submission.json` beside its logs, and what Slurm says of its jobs."""

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
        held = json.loads(path.read_bytes())
        if (held["format"], held["format_version"]) != (FORMAT, VERSION):
            raise ValueError("of another format")
        names = {one.name for one in fields(Entry)}
        entries = [Entry(**{name: entry[name] for name in names}) for entry in held["configurations"]]
        if not all(re.fullmatch(r"[A-Za-z0-9.][A-Za-z0-9.-]*\.h5", e.file_name) for e in entries):
            raise ValueError("a file_name is none of a log")
        if not all(e.job is None or re.fullmatch("[0-9]+_[0-9]+", e.job) for e in entries):
            raise ValueError("a job is none of an array")
        return Submission(held["study"], held["path"], entries)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = plain(str(getattr(error, "strerror", None) or error))
        raise InputError(f"{path}: cannot be read ({reason}); move it away, and look at squeue before") from None


def save(folder: Path, submission: Submission) -> None:
    """Write the submission aside and put it in place."""
    held = {
        "format": FORMAT,
        "format_version": VERSION,
        "study": submission.study,
        "path": submission.path,
        "configurations": [asdict(entry) for entry in submission.entries],
    }
    with _written(folder), atomic_write(folder / NAME) as part:
        part.write_text(json.dumps(held, indent=1) + "\n")


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Within, no other submission of this study goes on. Raises InputError where one does."""
    with _written(folder):
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
def _written(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror or error}); give another --out") from None


def queue(jobs: Iterable[str]) -> dict[str, str]:
    """Of these array tasks those that Slurm still has: `queued` or `running`. Without squeue here, none.

    Raises InputError where squeue cannot say.
    """
    arrays = sorted({job.partition("_")[0] for job in jobs})
    if not arrays or shutil.which("squeue") is None:
        return {}
    command = ["squeue", "--noheader", "--array", f"--jobs={','.join(arrays)}", "--format=%i|%T"]
    answer = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if answer.returncode and "Invalid job id" not in answer.stderr:  # which it says where all of them are over
        said = plain((answer.stderr.strip().splitlines() or ["nothing"])[-1])
        raise InputError(f"squeue cannot tell which jobs are there ({said}); try again when Slurm answers")
    rows = (line.strip().partition("|") for line in answer.stdout.splitlines())
    return {job: "queued" if state in QUEUED else "running" for job, _, state in rows}
