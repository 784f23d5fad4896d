"""Files that appear whole or not at all, and the cache folder of what is expensive: predictions, splits of data."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a file's path beside `path`, to write to: it takes the place of `path` at the end of the block.

    Where the block raises, `path` stays as it was. A killed process may leave its part file behind."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def part_files(path: Path) -> Iterator[Path]:
    """Return the files that `atomic_write` of any process has beside `path`, in use or left behind."""
    return path.parent.glob(f".{path.name}.*.part")


def folder(kind: str) -> Path:
    """Where things of this kind are kept: in the user's cache directory, or in $MPI_FED_CACHE_DIR."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("MPI_FED_CACHE_DIR") or Path(home) / "mpi_fed") / kind


def load(kind: str, name: str) -> dict[str, Any] | None:
    """What is kept under this name, None where there is nothing that can be read."""
    try:
        return json.loads((folder(kind) / f"{name}.json").read_text())
    except (OSError, ValueError):
        return None


def store(kind: str, name: str, fields: dict[str, Any]) -> None:
    """Keep it, whole or not at all; a cache that cannot be written is no fault."""
    text = json.dumps(fields, allow_nan=False)
    with suppress(OSError):
        folder(kind).mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder(kind), suffix=".part", delete=False) as file:
            try:
                file.write(text)
                file.flush()
                os.replace(file.name, folder(kind) / f"{name}.json")
            except OSError:
                os.unlink(file.name)
