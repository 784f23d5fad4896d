"""Atomic writing of files, and the cache folder for compiled code and predictions."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield the path of a part file to write to, which replaces `path` at the end of the block.

    If the block raises an exception, `path` is not changed. A killed process may leave its part file behind.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")  # random, as process ids repeat on other hosts
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def part_files(path: Path) -> Iterator[Path]:
    """Return the part files of `path`, of all processes, in use or left behind."""
    return path.parent.glob(f".{path.name}.*.part")


@contextmanager
def atomic_files(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to write to, whose files move to `folder` at the end of the block.

    `folder` is created if it does not exist. If the block raises an exception, the files in `folder` are not changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as name:
        yield Path(name)
        for path in Path(name).iterdir():
            os.replace(path, folder / path.name)


def cache_folder(kind: str) -> Path:
    """Return the folder for files of this kind, in $MPI_FED_CACHE_DIR or in the user's cache directory."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("MPI_FED_CACHE_DIR") or Path(home) / "mpi_fed") / kind


def load(kind: str, name: str) -> dict[str, Any] | None:
    """Return the fields stored under this name; None if there is no readable file."""
    try:
        fields: dict[str, Any] = json.loads((cache_folder(kind) / f"{name}.json").read_text())
    except (OSError, ValueError):
        return None
    return fields


def store(kind: str, name: str, fields: dict[str, Any]) -> None:
    """Store the fields under this name, atomically; an unwritable cache is ignored."""
    text = json.dumps(fields, allow_nan=False)
    with suppress(OSError):
        cache_folder(kind).mkdir(parents=True, exist_ok=True)
        with atomic_write(cache_folder(kind) / f"{name}.json") as part:
            part.write_text(text)
