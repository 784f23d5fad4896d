"""A lock that lets one run at a time write a log. The kernel releases it when the process ends or is killed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError

_UNKNOWN = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
"""Errors of a file system without locks. There, only HDF5's own locks, if any, prevent that two runs write a log."""


def path_of(log: Path) -> Path:
    """Return the path of the lock file, which holds the name of the run that uses the log.

    A lock file that no process has locked has no effect.
    """
    return log.with_name(f".{log.name}.lock")


@contextlib.contextmanager
def held(log: Path, owner: str) -> Iterator[None]:
    """Hold the lock of a log; `owner` is the text that names this run. Raises InputError if another run holds it."""
    file = _acquire(log)
    try:
        with contextlib.suppress(OSError):  # on a full disk the lock works, only without its owner's name
            os.ftruncate(file, 0)
            os.write(file, owner.encode())
        yield
    finally:
        path_of(log).unlink(missing_ok=True)  # before unlocking: a process that has opened it sees this and tries again
        os.close(file)


def holder(log: Path) -> str | None:
    """Return the name of the run that holds the lock of a log; None if it is not locked."""
    try:
        file = os.open(path_of(log), os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(file, 1000).decode(errors="replace")
        return f"another run ({owner})" if owner else "another run"
    except OSError:
        return None
    finally:
        os.close(file)
    return None


def in_use(log: Path) -> InputError:
    """Return the error to raise if another run uses the log."""
    return InputError(f"{log}: is in use by {holder(log) or 'another run'}; wait until it ends, or give another --out")


def _acquire(log: Path) -> int:
    path = path_of(log)
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise InputError(
                f"{path.parent}: cannot be written ({error.strerror}); free disk space, or give another --out"
            ) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise in_use(log) from None
        except OSError as error:
            if error.errno not in _UNKNOWN:
                raise
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(path), os.fstat(file)):
                return file
        os.close(file)
