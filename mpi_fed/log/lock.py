"""One run at a time on a configuration: a lock that ends with the process that holds it, however that ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError

_UNKNOWN = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
"""What a file system says that has no locks; HDF5's own, if there are any, then have to do."""


def path_of(log: Path) -> Path:
    """The lock's file, which tells who holds it; one that nobody holds means nothing."""
    return log.with_name(f".{log.name}.lock")


@contextlib.contextmanager
def held(log: Path, owner: str) -> Iterator[None]:
    """Hold the lock of a log; `owner` says who does. Raises InputError where another run has it."""
    file = _acquire(log)
    try:
        with contextlib.suppress(OSError):  # a full disk; the lock holds all the same, and whose it is need not be told
            os.ftruncate(file, 0)
            os.write(file, owner.encode())
        yield
    finally:
        path_of(log).unlink(missing_ok=True)  # while it is held: who opened it meanwhile finds it gone, and tries again
        os.close(file)


def holder(log: Path) -> str | None:
    """Who holds the lock of a log; None where nobody does."""
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
    """What to raise where another run has the log."""
    return InputError(f"{log}: is in use by {holder(log) or 'another run'}; wait for its end, or give another --out")


def _acquire(log: Path) -> int:
    path = path_of(log)
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise InputError(
                f"{path.parent}: cannot be written ({error.strerror}); make room, or give another --out"
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
