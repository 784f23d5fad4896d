"""The log: one HDF5 file a configuration, written by the root alone, readable after a kill at any moment.

Every dataset is laid out whole from the start, filled with NaN (-1 in counts), and no write changes the file's
structure afterwards: what a kill can lose is what was not flushed. The file appears under its name only once it is
laid out. It follows the netCDF-4 conventions; `docs/log-format.md` defines each field.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .. import plugins
from ..errors import InputError
from ..study.configuration import Configuration
from . import lock
from .schema import COUNTS, DIVERGED, MISSING, Layout, copy, decoded, lay_out, text

FORMAT, VERSION = "mpi-fed log", 1
ORIGIN = {
    "dataset_digest": "other data",
    "initial_digest": "another start",
    "plugin_modules": "another version of a plugin",
}
"""Attributes that tell what the configuration names but does not hold, and what it means where they differ."""


@dataclass
class Block:
    """Consecutive log points of one repetition, evaluated."""

    first: int  # index of the first log point
    excess_risk: NDArray[np.float64]
    excess_risk_averaged: NDArray[np.float64]
    iterate: NDArray[np.float64]
    iterate_averaged: NDArray[np.float64]
    totals: NDArray[np.int64]
    client_payload: NDArray[np.int64]
    seconds: NDArray[np.float64]


class Log:
    """A log open for writing, `again` if it is not new."""

    def __init__(self, path: Path, again: bool = False) -> None:
        self.path = path
        self.failed = False
        with _writable(path):
            self.file = h5py.File(path, "r+")
        with self._writing():
            self.file.attrs.modify("status", _status("running"))
            if again and "restarts" in self.file.attrs:
                self.file.attrs.modify("restarts", np.int64(self.file.attrs["restarts"] + 1))
            self.file.flush()
        with _readable(path):
            # looking one up costs as much as writing a row
            self.datasets = {name: item for name, item in self.file.items() if isinstance(item, h5py.Dataset)}
            self.seeds = [int(seed) for seed in self.file["repetition"][:]]

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Raise InputError where the file cannot be written, as on a full disk, and be done with it."""
        try:
            with _writable(self.path):
                yield
        except InputError:
            self.failed = True
            # HDF5 tries again whatever is closed, and may crash; what it still holds goes nowhere
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, self.file.id.get_vfd_handle())
            os.close(nowhere)
            self.file.close()
            raise

    def missing(self, wanted: Collection[int]) -> list[tuple[int, int]]:
        """(position, seed) of the wanted repetitions that have no result yet."""
        undone, chosen = np.flatnonzero(self.file["repetition_status"][:] == MISSING), set(wanted)
        return [(int(r), self.seeds[r]) for r in undone if self.seeds[r] in chosen]

    def write(self, repetition: int, block: Block) -> None:
        """Write log points; they are safe once `flush` returns."""
        rows = {
            "excess_risk": block.excess_risk,
            "excess_risk_averaged": block.excess_risk_averaged,
            "wall_seconds": block.seconds,
            **{name: block.totals[:, column] for name, (_, column) in COUNTS.items()},
        }
        if "client_uplink_payload_bytes" in self.datasets:
            rows["client_uplink_payload_bytes"] = block.client_payload
        if "iterate" in self.datasets:
            rows |= {"iterate": block.iterate, "iterate_averaged": block.iterate_averaged}
        with self._writing():
            for name, row in rows.items():
                _write_rows(self.datasets[name], repetition, block.first, row)
            if "last_iterate" in self.datasets and block.first + len(block.seconds) == len(self.datasets["round"]):
                self.datasets["last_iterate"][repetition] = block.iterate[-1]
                self.datasets["last_iterate_averaged"][repetition] = block.iterate_averaged[-1]

    def finish(
        self,
        repetition: int,
        status: int,
        histogram: NDArray[np.int64],
        client_payload: NDArray[np.int64],
        phase_seconds: NDArray[np.float64],
    ) -> None:
        """End a repetition: its message sizes, clients' totals and phases, and then that it is done."""
        with self._writing():
            self.datasets["message_count"][repetition] = histogram
            self.datasets["phase_seconds"][repetition] = phase_seconds
            if "client_uplink_payload_bytes_total" in self.datasets:
                self.datasets["client_uplink_payload_bytes_total"][repetition] = client_payload
            self.file.flush()
            self.datasets["repetition_status"][repetition] = status
            self.file.flush()
            self._check_place()

    def holds(self, repetition: int, points: int) -> bool:
        """Whether the first so many log points of a repetition are there."""
        return bool(np.isfinite(self.file["wall_seconds"][repetition, :points]).all())

    def flush(self, to_disk: bool = False) -> None:
        """Hand what was written to the operating system: from here a kill cannot take it. On the disk nothing can.

        Raises InputError where the file is not in its place any more."""
        with self._writing():
            self.file.flush()
            if to_disk:
                os.fsync(self.file.id.get_vfd_handle())
            self._check_place()

    def _check_place(self) -> None:
        if not os.path.samestat(os.stat(self.path), os.fstat(self.file.id.get_vfd_handle())):
            raise OSError(errno.ENOENT, "another file has taken its place")

    def close(self, status: str) -> None:
        """Set the status (running | complete | interrupted | diverged) and close the file."""
        with self._writing():
            self.file.attrs.modify("status", _status(status))
            self.file.flush()
        self.file.close()


def _write_rows(dataset: h5py.Dataset, repetition: int, first: int, rows: NDArray[Any]) -> None:
    """dataset[repetition, first : first + len(rows)] = rows, in a sixth of the time of h5py's indexing."""
    space = dataset.id.get_space()
    space.select_hyperslab((repetition, first, *(0,) * (rows.ndim - 1)), (1, *rows.shape))
    dataset.id.write(h5py.h5s.create_simple(rows.shape), space, np.ascontiguousarray(rows))


def final_status(log: Log) -> str:
    """complete, diverged if any repetition did, or interrupted if any is missing."""
    done = log.file["repetition_status"][:]
    if (done == MISSING).any():
        return "interrupted"
    return "diverged" if (done == DIVERGED).any() else "complete"


def locate(folder: Path, configuration: Configuration) -> Path:
    """Where this configuration's log is, whatever label it had when it was written; else where it shall be.

    The label, and so the file's name, depends on what else its study varies; the end of the name does not."""
    path = folder / configuration.file_name
    if not path.exists():
        for other in sorted(folder.glob(f"*{path.stem.rpartition('-')[2]}.h5")):
            with contextlib.suppress(OSError), h5py.File(other, "r") as file:
                if decoded(file.attrs.get("configuration_id")) == configuration.id:
                    return other
    return path


def open_log(path: Path, configuration: Configuration, layout: Layout, facts: Mapping[str, Any]) -> Log:
    """The log of this configuration: a new one, or the one that is there, with room for all its repetitions.

    Raises InputError where the file there is no log of this configuration, or is in use."""
    again = path.exists()
    if again:
        old, status = _open(path, configuration)
        with old:
            _check_origin(path, old, facts)
            if not set(configuration.seeds) <= set(status):
                _create(path, configuration, layout, facts, old)
    else:
        _create(path, configuration, layout, facts, None)
    return Log(path, again)


def is_finished(path: Path, configuration: Configuration) -> bool:
    """Whether the log is there and has every repetition, of the data that the configuration's paths lead to."""
    if not path.exists():
        return False
    file, status = _open(path, configuration)
    with file:
        _check_origin(path, file, origin(configuration))
    return all(status.get(seed, MISSING) != MISSING for seed in configuration.seeds)


def origin(configuration: Configuration) -> dict[str, Any]:
    """What the configuration's tables name but do not hold, as digests: data, a start, the code of plugins."""
    facts = dict(configuration.problem.facts())
    parts = (configuration.problem, configuration.algorithm, configuration.compressor, configuration.route)
    modules = {type(part).__module__ for part in (*parts, configuration.downlink)}
    if own := sorted(modules & plugins.loaded.keys()):
        facts["plugin_modules"] = " ".join(own)  # a module's name holds a digest of its source
    start = getattr(configuration.algorithm, "initial", None)
    if isinstance(start, str) and os.path.isfile(start):
        facts["initial_digest"] = hashlib.sha256(Path(start).read_bytes()).hexdigest()
    return facts


def _check_origin(path: Path, log: h5py.File, facts: Mapping[str, Any]) -> None:
    """Refuse to mix repetitions of other data, of another start or by other code into a log."""
    for name, what in ORIGIN.items():
        if name in log.attrs and decoded(log.attrs[name]) != facts.get(name):
            raise InputError(f"{path}: its repetitions are of {what} than now; move it away or give another --out")


def _open(path: Path, configuration: Configuration) -> tuple[h5py.File, dict[int, int]]:
    """The log open for reading, and the `repetition_status` of each seed."""
    with _readable(path):
        file = h5py.File(path, "r")
        known = decoded(file.attrs.get("format")), decoded(file.attrs.get("configuration_id"))
        status = dict(zip(file["repetition"][:].tolist(), file["repetition_status"][:].tolist(), strict=True))
    if known != (FORMAT, configuration.id):
        raise InputError(f"{path}: is no log of this configuration; move it away or give another --out")
    return file, status


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise InputError, one sentence, for what h5py raises where a file is damaged or no log."""
    try:
        yield
    except BlockingIOError:
        raise lock.in_use(path) from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        reason = _reason(error)
        raise InputError(f"{path}: cannot be read as a log ({reason}); move it away or give another --out") from None


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[None]:
    """Raise InputError, one sentence, for what h5py raises where a file cannot be written."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be written ({_reason(error)}); make room, or give another --out") from None


def _reason(error: Exception) -> str:
    """What the system said, of all that HDF5 says."""
    said = re.search(r"error message = '([^']*)'", str(error))
    return said[1] if said else getattr(error, "strerror", None) or str(error.args[0])


def _create(
    path: Path, configuration: Configuration, layout: Layout, facts: Mapping[str, Any], old: h5py.File | None
) -> None:
    """Lay out a log beside its place, copy the repetitions of an older one, and put it in place."""
    seeds = list(configuration.seeds) if old is None else _union(old["repetition"][:].tolist(), configuration.seeds)
    if configuration.log.iterates == "auto":
        layout = replace(layout, iterates=_iterates(layout, len(seeds), old))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with _writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        try:
            with h5py.File(part, "w", track_order=True) as file:
                for name, value in _attributes(configuration, facts).items():
                    file.attrs[name] = text(value) if isinstance(value, str) else value
                if old is not None and "restarts" in old.attrs:
                    file.attrs["restarts"] = old.attrs["restarts"]
                lay_out(file, layout, seeds, facts["optimum"])
                if old is not None:
                    copy(old, file)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def _iterates(layout: Layout, repetitions: int, old: h5py.File | None) -> str:
    """What "auto" comes to for so many repetitions: never more than what the older log can give."""
    if old is not None and "iterate" not in old:
        return "last"
    return layout.automatic(repetitions)


def _sweep(path: Path) -> None:
    """Remove what killed runs left half laid out; HDF5 holds a lock on what is being written."""
    for part in path.parent.glob(f".{path.name}.*.part"):
        with contextlib.suppress(OSError), open(part, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()


def _union(old: list[int], new: tuple[int, ...]) -> list[int]:
    known = set(old)
    return old + [seed for seed in new if seed not in known]


def _status(status: str) -> NDArray[np.bytes_]:
    """A status in room enough for each, so that changing it changes no structure of the file."""
    return np.array(status.encode(), dtype="S11")


def _attributes(configuration: Configuration, facts: Mapping[str, Any]) -> dict[str, Any]:
    fixed = {
        "Conventions": "CF-1.10",
        "format": FORMAT,
        "format_version": VERSION,
        "status": _status("running"),
        "restarts": np.int64(0),
        "configuration": json.dumps(configuration.tables),
        "configuration_id": configuration.id,
        "label": configuration.label,
    }
    return {**fixed, **{name: value for name, value in facts.items() if name != "optimum"}}
