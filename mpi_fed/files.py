"""Files that processes share because they are expensive to make: compiled code, predictions, splits of data."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any


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
        with tempfile.NamedTemporaryFile("w", dir=cache_folder(kind), suffix=".part", delete=False) as file:
            try:
                file.write(text)
                file.flush()
                os.replace(file.name, cache_folder(kind) / f"{name}.json")
            except OSError:
                os.unlink(file.name)
