"""The creation of a log: a new file with every dataset in it, and the repetitions of an older one where there is one.

The file appears under its name only once it is laid out.
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
    """Lay out a log beside its place, copy the repetitions of an older one, and put it in place."""
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
    """Return what "auto" means for so many repetitions: never more than what the older log can give."""
    if old is not None and schema.ITERATE.name not in old:
        return "last"
    return layout.automatic(repetitions)


def _remove_leftovers(path: Path) -> None:
    """Remove what killed runs left half laid out; HDF5 holds a lock on what is being written."""
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
    """Return a status with room for each other one, so that changing it changes no structure of the file."""
    return np.array(status.encode(), dtype="S11")
