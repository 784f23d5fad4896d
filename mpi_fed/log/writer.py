"""Write a log: one HDF5 file for each configuration, written only by the root and readable after any kill.

Every dataset is allocated in full at the start, filled with NaN (-1 in counts), and no later write changes the file's
structure. So a kill loses only the writes that were not flushed. The file follows the netCDF-4 conventions;
`docs/log-format.md` defines each field.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..engine.wire import DOWNLINK_BYTES, INFORMATION_BITS, PAYLOAD_BYTES, UPLINK_BYTES
from ..errors import InputError
from ..study.configuration import Configuration
from . import schema
from .create import create, status_value
from .hdf5 import decoded, readable, writable
from .layout import Layout
from .origin import check_origin, origin_of
from .schema import Condition, RepetitionStatus, Status

LEDGER_COLUMNS = {
    schema.UPLINK_INFORMATION_BITS: INFORMATION_BITS,
    schema.UPLINK_PAYLOAD_BYTES: PAYLOAD_BYTES,
    schema.UPLINK_TRANSPORTED_BYTES: UPLINK_BYTES,
    schema.DOWNLINK_TRANSPORTED_BYTES: DOWNLINK_BYTES,
}
"""Column of the engine's ledger from which each count is taken."""


@dataclass
class Block:
    """The results of n consecutive log points of one repetition."""

    first: int  # index of the first log point
    excess_risk: NDArray[np.float64]
    """(n) F(w_k) - F(w*)."""
    excess_risk_averaged: NDArray[np.float64]
    """(n) F(w_bar_k) - F(w*)."""
    iterate: NDArray[np.float64]
    """(n, d) w_k."""
    iterate_averaged: NDArray[np.float64]
    """(n, d) w_bar_k."""
    totals: NDArray[np.int64]
    """(n, 4) the engine's ledger."""
    client_payload: NDArray[np.int64]
    """(n, N) payload bytes of each client, or (n, 0) if the log does not store them."""
    seconds: NDArray[np.float64]
    """(n) seconds spent in rounds, cumulative."""

    def rows(self) -> dict[schema.Dataset, NDArray[Any]]:
        """Return the rows of each dataset of log points, including datasets that this log may not have."""
        return {
            schema.EXCESS_RISK: self.excess_risk,
            schema.EXCESS_RISK_AVERAGED: self.excess_risk_averaged,
            schema.WALL_SECONDS: self.seconds,
            **{count: self.totals[:, column] for count, column in LEDGER_COLUMNS.items()},
            schema.CLIENT_UPLINK_PAYLOAD_BYTES: self.client_payload,
            schema.ITERATE: self.iterate,
            schema.ITERATE_AVERAGED: self.iterate_averaged,
        }


class LogWriter:
    """A log open for writing. `restart` is True if an earlier run created the log and this run continues it."""

    def __init__(self, path: Path, restart: bool = False) -> None:
        self.path = path
        self.failed = False
        with writable(path):
            self.file = h5py.File(path, "r+")
        with self._writing():
            self._set_status(Status.RUNNING)
            if restart and schema.RESTARTS.name in self.file.attrs:
                restarts = np.int64(self.file.attrs[schema.RESTARTS.name] + 1)
                self.file.attrs.modify(schema.RESTARTS.name, restarts)
            self.file.flush()
        with readable(path):
            # looking up a dataset by name takes as long as writing a row
            self.datasets = {entry: self.file[entry.name] for entry in schema.DATASETS if entry.name in self.file}
            self.seeds = [int(seed) for seed in self.file[schema.REPETITION.name][:]]
            self.points = len(self.file[schema.ROUND.name])

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Raise InputError if the file cannot be written, as on a full disk, and close it."""
        try:
            with writable(self.path):
                yield
        except InputError:
            self.failed = True
            # HDF5 tries to write again when it closes the file, and may crash: let it write to /dev/null
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, self.file.id.get_vfd_handle())
            os.close(nowhere)
            self.file.close()
            raise

    def missing(self, seeds: Collection[int]) -> list[tuple[int, int]]:
        """Return (position, seed) of each repetition that has no result yet and whose seed is in `seeds`."""
        undone, wanted = np.flatnonzero(self._status() == RepetitionStatus.MISSING), set(seeds)
        return [(int(r), self.seeds[r]) for r in undone if self.seeds[r] in wanted]

    def write(self, repetition: int, block: Block) -> None:
        """Write log points; `flush` makes them safe against a kill."""
        rows = {
            entry: row
            for entry, row in block.rows().items()
            if entry.condition is Condition.ALWAYS or entry in self.datasets
        }
        is_last = block.first + len(block.seconds) == self.points
        with self._writing():
            for entry, row in rows.items():
                _write_rows(self.datasets[entry], repetition, block.first, row)
            if schema.LAST_ITERATE in self.datasets and is_last:
                self.datasets[schema.LAST_ITERATE][repetition] = block.iterate[-1]
                self.datasets[schema.LAST_ITERATE_AVERAGED][repetition] = block.iterate_averaged[-1]

    def finish(
        self,
        repetition: int,
        status: RepetitionStatus,
        histogram: NDArray[np.int64],
        client_payload: NDArray[np.int64],
        phase_seconds: NDArray[np.float64],
    ) -> None:
        """End a repetition: write its message sizes, clients' totals and phases, and then its status."""
        with self._writing():
            self.datasets[schema.MESSAGE_COUNT][repetition] = histogram
            self.datasets[schema.PHASE_SECONDS][repetition] = phase_seconds
            if schema.CLIENT_UPLINK_PAYLOAD_BYTES_TOTAL in self.datasets:
                self.datasets[schema.CLIENT_UPLINK_PAYLOAD_BYTES_TOTAL][repetition] = client_payload
            self.file.flush()
            self.datasets[schema.REPETITION_STATUS][repetition] = status
            self.file.flush()
            self._check_place()

    def has_points(self, repetition: int, points: int) -> bool:
        """Return whether the log has the first `points` log points of a repetition."""
        return bool(np.isfinite(self.datasets[schema.WALL_SECONDS][repetition, :points]).all())

    def flush(self, to_disk: bool = False) -> None:
        """Hand all writes to the operating system, so that a kill cannot lose them, or with `to_disk` to the disk.

        Raises InputError if the log has been removed or replaced by another file.
        """
        with self._writing():
            self.file.flush()
            if to_disk:
                os.fsync(self.file.id.get_vfd_handle())
            self._check_place()

    def _check_place(self) -> None:
        if not os.path.samestat(os.stat(self.path), os.fstat(self.file.id.get_vfd_handle())):
            raise OSError(errno.ENOENT, "another file has taken its place")

    def final_status(self) -> Status:
        """Return interrupted if a repetition is missing, else diverged if a repetition diverged, else complete."""
        status = self._status()
        if (status == RepetitionStatus.MISSING).any():
            return Status.INTERRUPTED
        return Status.DIVERGED if (status == RepetitionStatus.DIVERGED).any() else Status.COMPLETE

    def close(self, status: Status) -> None:
        """Set the status and close the file."""
        with self._writing():
            self._set_status(status)
            self.file.flush()
        self.file.close()

    def _status(self) -> NDArray[np.int64]:
        status: NDArray[np.int64] = self.datasets[schema.REPETITION_STATUS][:]
        return status

    def _set_status(self, status: Status) -> None:
        self.file.attrs.modify(schema.STATUS.name, status_value(status))


def _write_rows(dataset: h5py.Dataset, repetition: int, first: int, rows: NDArray[Any]) -> None:
    """dataset[repetition, first : first + len(rows)] <- rows, six times as fast as h5py's indexing."""
    space = dataset.id.get_space()
    space.select_hyperslab((repetition, first, *(0,) * (rows.ndim - 1)), (1, *rows.shape))
    dataset.id.write(h5py.h5s.create_simple(rows.shape), space, np.ascontiguousarray(rows))


def log_path(folder: Path, configuration: Configuration) -> Path:
    """Return the path of this configuration's log: an existing log, even under another label, or else a new path.

    The label, and so the file's name, depends on the study's other configurations; the end of the name does not.
    """
    path = folder / configuration.file_name
    if not path.exists():
        for other in sorted(folder.glob(f"*{path.stem.rpartition('-')[2]}.h5")):
            with contextlib.suppress(OSError), h5py.File(other, "r") as file:
                if decoded(file.attrs.get(schema.CONFIGURATION_ID.name)) == configuration.id:
                    return other
    return path


def is_finished(path: Path, configuration: Configuration) -> bool:
    """Return whether the log exists and has every repetition.

    Raises InputError if the log's repetitions used other data, another start or other code of a plugin.
    """
    if not path.exists():
        return False
    file, status = _open(path, configuration)
    with file:
        check_origin(path, file, origin_of(configuration))
    missing = RepetitionStatus.MISSING
    return all(status.get(seed, missing) != missing for seed in configuration.seeds)


def open_writer(
    path: Path,
    configuration: Configuration,
    layout: Layout,
    optimum: NDArray[np.float64],
    attributes: Mapping[str, Any],
) -> LogWriter:
    """Open the log of this configuration for writing: a new log, or the existing one, extended by new repetitions.

    Raises InputError if the existing file is not a log of this configuration, or is in use.
    """
    exists = path.exists()
    if exists:
        old, status = _open(path, configuration)
        with old:
            check_origin(path, old, attributes)
            if not set(configuration.seeds) <= set(status):
                create(path, configuration, layout, optimum, attributes, old)
    else:
        create(path, configuration, layout, optimum, attributes, None)
    return LogWriter(path, restart=exists)


def _open(path: Path, configuration: Configuration) -> tuple[h5py.File, dict[int, int]]:
    """Open the log for reading; return it and the `repetition_status` of each seed."""
    with readable(path):
        file = h5py.File(path, "r")
        identity = tuple(decoded(file.attrs.get(name.name)) for name in (schema.FORMAT, schema.CONFIGURATION_ID))
        seeds, status = (file[name.name][:].tolist() for name in (schema.REPETITION, schema.REPETITION_STATUS))
        by_seed = dict(zip(seeds, status, strict=True))
    if identity != (schema.LOG_FORMAT, configuration.id):
        raise InputError(f"{path}: is not a log of this configuration; move it away or give another --out")
    return file, by_seed
