"""Text in HDF5 attributes, and HDF5's errors as messages of one sentence."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import InputError
from . import lock
from .schema import TEXT_LIMIT


def encoded(text: str) -> Any:
    """Return the value that stores a text: of fixed length, because HDF5 may hang on a damaged variable-length text."""
    data = text.encode()
    if len(data) > TEXT_LIMIT:
        return text
    return np.array(data, h5py.string_dtype("utf-8", max(1, len(data))))


def decoded(value: Any) -> str:
    """Return the text of an attribute of fixed or variable length."""
    return value.decode() if isinstance(value, bytes) else str(value)


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Replace h5py's errors for a damaged file, or a file that is not a log, by an InputError with one sentence."""
    try:
        yield
    except BlockingIOError:
        raise lock.in_use(path) from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        reason = _reason(error)
        raise InputError(f"{path}: cannot be read as a log ({reason}); move it away or give another --out") from None


@contextlib.contextmanager
def writable(path: Path) -> Iterator[None]:
    """Replace h5py's errors for a file that cannot be written by an InputError with one sentence."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{path}: cannot be written ({_reason(error)}); free disk space, or give another --out"
        ) from None


def _reason(error: Exception) -> str:
    """Return the operating system's message from HDF5's long error message."""
    message = re.search(r"error message = '([^']*)'", str(error))
    return message[1] if message else getattr(error, "strerror", None) or str(error.args[0])
