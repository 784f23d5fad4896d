"""Files that appear whole or not at all, and the cache folder of what is expensive: compiled code, predictions."""

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
    """Yield a file's path beside `path`, to write to: it takes the place of `path` at the end of the block.

    Where the block raises, `path` stays as it was. A killed process may leave its part file behind.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")  # another host may have a process of this number
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def part_files(path: Path) -> Iterator[Path]:
    """Return the files that `atomic_write` of any process has beside `path`, in use or left behind."""
    return path.parent.glob(f".{path.name}.*.part")


@contextmanager
def atomic_files(folder: Path) -> Iterator[Path]:
    """Yield an empty folder within `folder`, made if need be: what is written to it moves to `folder` at the end.

    Where the block raises, the files of `folder` stay as they were.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as name:
        yield Path(name)
        for path in Path(name).iterdir():
            os.replace(path, folder / path.name)


def cache_folder(kind: str) -> Path:
    """The folder for files of this kind: in the user's cache directory, or in $MPI_FED_CACHE_DIR."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("MPI_FED_CACHE_DIR") or Path(home) / "mpi_fed") / kind


def load(kind: str, name: str) -> dict[str, Any] | None:
    """The fields stored under this name; None where nothing is there that can be read."""
    try:
        return json.loads((cache_folder(kind) / f"{name}.json").read_text())
    except (OSError, ValueError):
        return None


def store(kind: str, name: str, fields: dict[str, Any]) -> None:
    """Store atomically; an unwritable cache is ignored."""
    text = json.dumps(fields, allow_nan=False)
    with suppress(OSError):
        cache_folder(kind).mkdir(parents=True, exist_ok=True)
        with atomic_write(cache_folder(kind) / f"{name}.json") as part:
            part.write_text(text)
