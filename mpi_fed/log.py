"""The log: one HDF5 file a configuration, written by the root alone, readable after a kill at any moment.

Every dataset is laid out whole from the start, filled with NaN (-1 in counts), and no write changes the file's
structure afterwards: what a kill can lose is what was not flushed. The file appears under its name only once it is
laid out. It follows the netCDF-4 conventions; `docs/log-format.md` defines each field.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .configuration import Configuration
from .errors import InputError
from .wire import DOWNLINK, INFORMATION_BITS, PAYLOAD, PHASES, UPLINK

FORMAT, VERSION = "mpi-fed log", 1
ITERATES_LIMIT = 100_000_000
CLIENTS_LIMIT = 1000
MISSING, COMPLETE, DIVERGED = 0, 1, 2
"""Values of `repetition_status`."""

COUNTS = {
    "uplink_information_bits": ("bit", INFORMATION_BITS),
    "uplink_payload_bytes": ("byte", PAYLOAD),
    "uplink_transported_bytes": ("byte", UPLINK),
    "downlink_transported_bytes": ("byte", DOWNLINK),
}


def log_rounds(rounds: int, points_per_decade: int) -> NDArray[np.int64]:
    """The log points: 0, the integers nearest to 10^(i / points_per_decade), and K."""
    decades = np.arange(0, int(np.ceil(np.log10(max(rounds, 1)) * points_per_decade)) + 1) / points_per_decade
    points = np.rint(10.0**decades).astype(np.int64)
    return np.unique(np.concatenate([[0], points[points < rounds], [rounds]]))


@dataclass(frozen=True)
class Layout:
    """The sizes of a log's dimensions, and what it holds of the iterates."""

    rounds: NDArray[np.int64]
    dimension: int
    clients: int
    bins: int
    grain: int
    iterates: str

    @classmethod
    def of(cls, configuration: Configuration, dimension: int, bins: int, grain: int) -> Layout:
        rounds = log_rounds(configuration.rounds, configuration.log.points_per_decade)
        iterates = configuration.log.iterates
        if iterates == "auto":
            size = 16 * len(configuration.seeds) * len(rounds) * dimension
            iterates = "all" if size <= ITERATES_LIMIT else "last"
        return cls(rounds, dimension, configuration.clients, bins, grain, iterates)


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
    """A log open for writing."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path, self.layout = path, layout
        self.failed = False
        with self._writing():
            self.file = h5py.File(path, "r+")
            self.file.attrs.modify("status", _text("running"))
            self.file.flush()
        self.datasets = dict(self.file.items())  # looking one up costs as much as writing a row
        self.seeds = [int(seed) for seed in self.file["repetition"][:]]

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Raise InputError where the file cannot be written, as on a full disk; it is then not touched again."""
        try:
            with _writable(self.path):
                yield
        except InputError:
            self.failed = True
            raise

    def missing(self, wanted: Collection[int]) -> list[tuple[int, int]]:
        """(position, seed) of the wanted repetitions that have no result yet."""
        undone, chosen = np.flatnonzero(self.file["repetition_status"][:] == MISSING), set(wanted)
        return [(int(r), self.seeds[r]) for r in undone if self.seeds[r] in chosen]

    def write(self, repetition: int, block: Block) -> None:
        """Write log points; they are safe once `flush` returns."""
        part = slice(block.first, block.first + len(block.seconds))
        rows = {
            "excess_risk": block.excess_risk,
            "excess_risk_averaged": block.excess_risk_averaged,
            "wall_seconds": block.seconds,
            **{name: block.totals[:, column] for name, (_, column) in COUNTS.items()},
        }
        if self.layout.clients <= CLIENTS_LIMIT:
            rows["client_uplink_payload_bytes"] = block.client_payload
        if self.layout.iterates == "all":
            rows |= {"iterate": block.iterate, "iterate_averaged": block.iterate_averaged}
        with self._writing():
            for name, row in rows.items():
                self.datasets[name][repetition, part] = row
            if self.layout.iterates == "last" and part.stop == len(self.layout.rounds):
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
            if self.layout.clients > CLIENTS_LIMIT:
                self.datasets["client_uplink_payload_bytes_total"][repetition] = client_payload
            self.file.flush()
            self.datasets["repetition_status"][repetition] = status
            self.file.flush()

    def flush(self) -> None:
        """Hand what was written to the operating system: from here a kill cannot take it."""
        with self._writing():
            self.file.flush()

    def close(self, status: str) -> None:
        """Set the status (running | complete | interrupted | diverged) and close the file."""
        if not self.failed:
            with self._writing():
                self.file.attrs.modify("status", _text(status))
                self.file.close()


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
                if file.attrs.get("configuration_id") == configuration.id:
                    return other
    return path


def open_log(path: Path, configuration: Configuration, layout: Layout, facts: Mapping[str, Any]) -> Log:
    """The log of this configuration: a new one, or the one that is there, with room for all its repetitions.

    Raises InputError where the file there is no log of this configuration, or is in use."""
    if path.exists():
        old, status = _open(path, configuration)
        with old:
            if not set(configuration.seeds) <= set(status):
                _create(path, configuration, layout, facts, old)
    else:
        _create(path, configuration, layout, facts, None)
    return Log(path, layout)


def is_finished(path: Path, configuration: Configuration) -> bool:
    """Whether the log is there and has every repetition."""
    if not path.exists():
        return False
    file, status = _open(path, configuration)
    file.close()
    return all(status.get(seed, MISSING) != MISSING for seed in configuration.seeds)


def _open(path: Path, configuration: Configuration) -> tuple[h5py.File, dict[int, int]]:
    """The log open for reading, and the `repetition_status` of each seed."""
    try:
        file = h5py.File(path, "r")
        known = file.attrs.get("format"), file.attrs.get("configuration_id")
        status = dict(zip(file["repetition"][:].tolist(), file["repetition_status"][:].tolist(), strict=True))
    except BlockingIOError:
        raise InputError(f"{path}: is in use by another run; wait for its end, or give another --out") from None
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        reason = _reason(error)
        raise InputError(f"{path}: cannot be read as a log ({reason}); move it away or give another --out") from None
    if known != (FORMAT, configuration.id):
        raise InputError(f"{path}: is no log of this configuration; move it away or give another --out")
    return file, status


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
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with _writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        try:
            with h5py.File(part, "w", track_order=True) as file:
                for name, value in _attributes(configuration, facts).items():
                    file.attrs[name] = value
                _lay_out(file, layout, seeds, facts["optimum"])
                if old is not None:
                    _copy(old, file)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Remove what killed runs left half laid out; HDF5 holds a lock on what is being written."""
    for part in path.parent.glob(f".{path.name}.*.part"):
        with contextlib.suppress(OSError), open(part, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()


def _union(old: list[int], new: tuple[int, ...]) -> list[int]:
    known = set(old)
    return old + [seed for seed in new if seed not in known]


def _text(status: str) -> NDArray[np.bytes_]:
    """A status in room enough for each, so that changing it changes no structure of the file."""
    return np.array(status.encode(), dtype="S11")


def _attributes(configuration: Configuration, facts: Mapping[str, Any]) -> dict[str, Any]:
    fixed = {
        "Conventions": "CF-1.10",
        "format": FORMAT,
        "format_version": VERSION,
        "status": _text("running"),
        "configuration": json.dumps(configuration.tables),
        "configuration_id": configuration.id,
        "label": configuration.label,
    }
    return {**fixed, **{name: value for name, value in facts.items() if name != "optimum"}}


def _lay_out(file: h5py.File, layout: Layout, seeds: list[int], optimum: NDArray[np.float64]) -> None:
    scales = {
        "repetition": np.array(seeds, np.int64),
        "round": layout.rounds,
        "coordinate": np.arange(layout.dimension),
        "client": np.arange(layout.clients),
        "size": np.arange(layout.bins) * layout.grain,
        "phase": np.array(PHASES, h5py.string_dtype()),
        "statistic": np.array(["min", "mean", "max"], h5py.string_dtype()),
    }
    for name, values in scales.items():
        file[name] = values
        file[name].make_scale(name)
    file["message_size"] = scales["size"]
    file["message_size"].dims[0].attach_scale(file["size"])
    file["message_size"].attrs["units"] = "byte"
    file["optimum"] = optimum
    file["optimum"].dims[0].attach_scale(file["coordinate"])
    for name, dims, kind, unit in _datasets(layout):
        _dataset(file, name, dims, kind, unit)
    file["repetition_status"][:] = MISSING


def _datasets(layout: Layout) -> Iterator[tuple[str, tuple[str, ...], type, str]]:
    grid, clients = ("repetition", "round"), ("repetition", "round", "client")
    yield "repetition_status", ("repetition",), np.int64, "1"
    for name in ("excess_risk", "excess_risk_averaged"):
        yield name, grid, np.float64, "1"
    yield "wall_seconds", grid, np.float64, "s"
    for name, (unit, _) in COUNTS.items():
        yield name, grid, np.int64, unit
    if layout.clients <= CLIENTS_LIMIT:
        yield "client_uplink_payload_bytes", clients, np.int64, "byte"
    else:
        yield "client_uplink_payload_bytes_total", ("repetition", "client"), np.int64, "byte"
    yield "message_count", ("repetition", "size"), np.int64, "1"
    yield "phase_seconds", ("repetition", "phase", "statistic"), np.float64, "s"
    for name in ("iterate", "iterate_averaged"):
        if layout.iterates == "all":
            yield name, (*grid, "coordinate"), np.float64, "1"
        elif layout.iterates == "last":
            yield f"last_{name}", ("repetition", "coordinate"), np.float64, "1"


def _dataset(file: h5py.File, name: str, dims: tuple[str, ...], kind: type, unit: str) -> None:
    shape = tuple(len(file[dim]) for dim in dims)
    fill = np.nan if kind is np.float64 else -1
    dataset = file.create_dataset(name, shape, kind, data=np.full(shape, fill, kind))
    dataset.attrs["units"] = unit
    for axis, dim in enumerate(dims):
        dataset.dims[axis].attach_scale(file[dim])


def _copy(old: h5py.File, new: h5py.File) -> None:
    """Copy what an older log of the same configuration has, repetition by repetition."""
    rows = len(old["repetition"])
    for name, dataset in new.items():
        if name in old and name != "repetition" and len(dataset) > 0 and _by_repetition(dataset):
            dataset[:rows] = old[name][:]


def _by_repetition(dataset: h5py.Dataset) -> bool:
    return len(dataset.dims[0]) > 0 and dataset.dims[0].keys() == ["repetition"]
