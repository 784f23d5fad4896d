"""Opening and checking of data files, for all their readers."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .population import DENSE_LIMIT, Array

Stamp = tuple[int, int] | None
"""Time of modification in nanoseconds and size in bytes of a file; None if there is no file."""

LARGEST = 1e150
"""Largest magnitude allowed in data: the squares of larger numbers, added up, may overflow float64."""


def is_packed(path: str) -> bool:
    """Return whether the file's name ends in .gz."""
    return path.lower().endswith(".gz")


def stamp(path: str) -> Stamp:
    """Return a stamp that changes when the file changes, or None if the file is missing, which its reader reports."""
    try:
        status = os.stat(os.path.expanduser(path))
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


@contextmanager
def stream(path: str) -> Iterator[BinaryIO]:
    """Open the file as a stream of bytes, unpacked if its name ends in .gz.

    Raises ValueError, with one sentence, if it cannot be read.
    """
    opener: Callable[..., Any] = gzip.open if is_packed(path) else open
    try:
        with opener(os.path.expanduser(path), "rb") as file:
            yield file
    except FileNotFoundError:
        raise ValueError(
            f"path = {path!r} does not exist (the current folder is {os.getcwd()}); correct the path"
        ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise ValueError(f"path = {path!r} is not a complete gzip file; compress it again") from None
    except OSError as error:
        raise ValueError(f"path = {path!r} cannot be read: {error.strerror or error}") from None


def check_rows(path: str, rows: int) -> None:
    """Raise ValueError for fewer than two rows."""
    if rows < 2:
        plural = "" if rows == 1 else "s"
        raise ValueError(f"path = {path!r} holds {rows} row{plural} of data; at least 2 are needed")


def check_columns(path: str, columns: int) -> None:
    """Raise ValueError for a number of features outside 1 .. DENSE_LIMIT."""
    if not 1 <= columns <= DENSE_LIMIT:
        raise ValueError(
            f"path = {path!r} holds {columns} features besides the target; 1 to {DENSE_LIMIT} are possible"
        )


def numbers(path: str, name: str, array: NDArray[Any]) -> Array:
    """Return the array as float64.

    Raises ValueError if the array holds anything but real numbers whose magnitude is below LARGEST.
    """
    if array.dtype.kind not in "biuf":
        raise ValueError(f"path = {path!r}: {name} is of type {array.dtype}; real numbers are needed")
    array = np.asarray(array, dtype=np.float64)
    if array.size and not (array.min() > -LARGEST and array.max() < LARGEST):  # not (...): NaN compares false
        place = np.unravel_index(int(np.argmax(~(np.abs(array) < LARGEST))), array.shape)
        axes = ("matrix", "row", "column")[-array.ndim :] if array.ndim > 1 else ("row",)
        where = ", ".join(f"{axis} {i + 1}" for axis, i in zip(axes, place, strict=False))
        raise ValueError(
            f"path = {path!r}: found {array[place]:g} in {name}{where and f' ({where}, counted from 1)'}; "
            f"remove or replace every value that is NaN, infinite or above {LARGEST:g}"
        )
    return array


def digest(*arrays: NDArray[Any]) -> str:
    """Return the SHA-256, in hex, of the arrays' shapes and float64 values, which identifies a data set."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(repr(array.shape).encode())
        sha.update(np.ascontiguousarray(array, dtype="<f8").data)
    return sha.hexdigest()
