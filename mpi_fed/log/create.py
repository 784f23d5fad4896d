"""Create a log: a new file with all datasets, and the repetitions of an older log if there is one.

The file is renamed to its final name only after all datasets have been laid out.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..files import atomic_write, part_files
from ..study.configuration import Configuration
from . import schema
from .hdf5 import encoded, writable
from .layout import Layout, copy_repetitions, lay_out
from .schema import Status


def create(
    path: Path,
    configuration: Configuration,
    layout: Layout,
    optimum: NDArray[np.float64],
    attributes: Mapping[str, Any],
    old: h5py.File | None,
) -> None:
    """Lay out a log in a temporary file, copy the repetitions of an older log, and rename the file to `path`."""
    old_seeds = [] if old is None else old[schema.REPETITION.name][:].tolist()
    seeds = list(dict.fromkeys([*old_seeds, *configuration.seeds]))
    if layout.iterates == "auto":
        layout = replace(layout, iterates=_iterates(layout, len(seeds), old))
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        with atomic_write(path) as part, h5py.File(part, "w", track_order=True) as file:
            for name, value in {**_identity(configuration), **attributes}.items():
                file.attrs[name] = encoded(value) if isinstance(value, str) else value
            if old is not None and schema.RESTARTS.name in old.attrs:
                file.attrs[schema.RESTARTS.name] = old.attrs[schema.RESTARTS.name]
            lay_out(file, layout, seeds, optimum)
            if old is not None:
                copy_repetitions(old, file)


def _iterates(layout: Layout, repetitions: int, old: h5py.File | None) -> str:
    """Return the iterates that "auto" stores for this number of repetitions: no more than the older log has."""
    if old is not None and schema.ITERATE.name not in old:
        return "last"
    return layout.automatic(repetitions)


def _remove_leftovers(path: Path) -> None:
    """Remove unfinished files of killed runs; files that are being written are locked by HDF5 and stay."""
    for part in part_files(path):
        with contextlib.suppress(OSError), open(part, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()


def _identity(configuration: Configuration) -> dict[str, Any]:
    return {
        schema.CONVENTIONS.name: "CF-1.10",
        schema.FORMAT.name: schema.LOG_FORMAT,
        schema.FORMAT_VERSION.name: schema.LOG_FORMAT_VERSION,
        schema.STATUS.name: status_value(Status.RUNNING),
        schema.RESTARTS.name: np.int64(0),
        schema.CONFIGURATION.name: json.dumps(configuration.tables),
        schema.CONFIGURATION_ID.name: configuration.id,
        schema.LABEL.name: configuration.label,
    }


def status_value(status: Status) -> NDArray[np.bytes_]:
    """Return a status padded to the longest one, so that changing it does not change the file's structure."""
    return np.array(status.encode(), dtype="S11")
