"""Logs in: `docs/log-format.md` as Python objects."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..text import plain

if TYPE_CHECKING:
    import h5py

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

FORMAT = "mpi-fed log"
FORMAT_VERSION = 1
COMPLETE, DIVERGED = 1, 2
"""Values of `repetition_status`."""
FLOATS = ("excess_risk", "excess_risk_averaged", "wall_seconds")
COUNTS = (
    "uplink_information_bits",
    "uplink_payload_bytes",
    "uplink_transported_bytes",
    "downlink_transported_bytes",
)
TABLES = ("study", "problem", "algorithm", "compressor", "route")
MORE = {
    "repetition_status": "R",
    "message_size": "S",
    "message_count": "RS",
    "client_uplink_payload_bytes": "RPN",
    "client_uplink_payload_bytes_total": "RN",
    "phase_seconds": "RFM",
    "optimum": "d",
    "iterate": "RPd",
    "iterate_averaged": "RPd",
    "last_iterate": "Rd",
    "last_iterate_averaged": "Rd",
}
"""Datasets that a log may lack, and their axes: those of one letter have one length."""
ATTRIBUTES: dict[str, tuple[type, ...]] = {
    "label": (str,),
    "configuration_id": (str,),
    "dataset_digest": (str,),
    "position": (int,),
    "omega": (int, float),
}
"""Attributes that a log may lack, and what they are."""


@dataclass(frozen=True, eq=False, repr=False)
class Log:
    """One configuration: R repetitions, P log points, d coordinates; what is not reached is NaN or -1."""

    path: Path
    attributes: dict[str, Any]
    """Every root attribute, as Python values."""
    configuration: dict[str, dict[str, Any]]
    """The study's tables, fully resolved."""
    round: Counts
    """(P) rounds done at the log points, 0 to K."""
    repetition: Counts
    """(R) seeds."""
    excess_risk: Floats
    """(R, P) 1/2 ||w_k - w*||^2 in the norm of H."""
    excess_risk_averaged: Floats
    """(R, P) the same at the averaged iterate w_bar_k."""
    wall_seconds: Floats
    """(R, P) seconds spent in rounds."""
    uplink_information_bits: Counts
    """(R, P) cumulative, over all clients, as are the next two."""
    uplink_payload_bytes: Counts
    uplink_transported_bytes: Counts
    downlink_transported_bytes: Counts
    repetition_status: Counts | None
    """(R) 0 not done, 1 complete, 2 diverged; None in a log that does not tell."""

    def __repr__(self) -> str:
        return f"<Log {str(self.path)!r}: {self.label}, {len(self.repetition)} repetitions, {self.status}>"

    @property
    def label(self) -> str:
        """The configuration's short name."""
        return str(self.attributes.get("label") or self.path.stem)

    @property
    def status(self) -> str:
        """running | complete | interrupted | diverged."""
        return str(self.attributes["status"])

    @property
    def rounds(self) -> int:
        """K."""
        return int(self.round[-1])

    @property
    def clients(self) -> int:
        """N."""
        return int(self.configuration["study"]["clients"])

    @cached_property
    def dimension(self) -> int | None:
        """d, or None where neither the configuration nor an array of the log tells it."""
        with open_log(self.path) as file:
            for name in ("optimum", "last_iterate_averaged", "iterate_averaged"):
                if name in file:
                    return int(file[name].shape[-1])
        return self.configuration["problem"].get("dimension")

    @cached_property
    def diverged(self) -> NDArray[np.bool_]:
        """(R) whether the repetition's iterate became infinite."""
        lost = np.isinf(self.excess_risk) | np.isinf(self.excess_risk_averaged)
        return np.any(lost, axis=1) | (self.repetition_status == DIVERGED)

    @cached_property
    def reached(self) -> Counts:
        """(R) how many log points each repetition holds: those in every dataset, for a write may be torn."""
        held = np.ones(self.excess_risk.shape, dtype=bool)
        for name in FLOATS:
            held &= ~np.isnan(getattr(self, name))
        for name in COUNTS:
            held &= getattr(self, name) >= 0
        return np.logical_and.accumulate(held, axis=1).sum(axis=1)

    @cached_property
    def complete(self) -> NDArray[np.bool_]:
        """(R) whether the repetition reached the last round with a finite iterate."""
        held = (self.reached == len(self.round)) & ~self.diverged
        return held if self.repetition_status is None else held & (self.repetition_status == COMPLETE)

    def dataset(self, name: str) -> NDArray[Any] | None:
        """Any dataset of the file as an array, or None where this log has none of that name."""
        with open_log(self.path) as file:
            return file[name][()] if name in file else None

    def final_average(self) -> Floats | None:
        """(R, d) w_bar_K, NaN where not reached, or None where the log keeps no iterates."""
        with open_log(self.path) as file:
            if "last_iterate_averaged" in file:
                return file["last_iterate_averaged"][()]
            return file["iterate_averaged"][:, -1, :] if "iterate_averaged" in file else None


@contextmanager
def open_log(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading. No lock is asked for, so that a log that is being written can be read."""
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except OSError as error:
        if not path.is_file():
            raise InputError(f"{path}: no such file") from None
        raise InputError(
            f"{path}: cannot be read as a log, it is damaged or no HDF5 file ({_brief(error)})"
        ) from None


def load(path: str | Path) -> Log:
    """The log in one file. Raises InputError, one sentence, where it is no log or a damaged one."""
    path = Path(path)
    with open_log(path) as file:
        try:
            attributes = {name: _plain(value) for name, value in file.attrs.items() if not name.startswith("_")}
            _check_format(path, attributes)
            log = Log(path, attributes, _tables(attributes), **_arrays(file))
            _check_more(file)
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError, OverflowError) as error:
            raise InputError(f"{path}: a damaged log: {_brief(error)}") from None
    return log


def load_all(paths: Iterable[str | Path]) -> list[Log]:
    """The logs of files and, recursively, of folders (*.h5), in the order of their studies' grids.

    What is no sound log is named on standard error, one sentence each, and left out.
    """
    logs = []
    for file in dict.fromkeys(file for path in paths for file in _files(Path(path))):
        try:
            logs.append(load(file))
        except InputError as error:
            _complain(str(error))
    return sorted(
        logs, key=lambda log: (log.path.parent, log.attributes.get("position", len(logs)), log.path)
    )


def _complain(sentence: str) -> None:
    print(f"mpi-fed: {plain(sentence)}", file=sys.stderr)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*.h5") if file.is_file())
    if not found:
        _complain(f"{path}: no log (*.h5) in this folder; give a folder that mpi-fed run wrote")
    return found


def _check_format(path: Path, attributes: dict[str, Any]) -> None:
    if attributes.get("format") != FORMAT:
        raise InputError(f"{path}: an HDF5 file, but no log: its root attribute format is not {FORMAT!r}")
    if attributes.get("format_version") != FORMAT_VERSION:
        version = attributes.get("format_version")
        raise InputError(f"{path}: a log of format_version {version}; this version reads {FORMAT_VERSION}")
    if "status" not in attributes:
        raise InputError(f"{path}: a damaged log: the root attribute status is missing")
    for name, kinds in ATTRIBUTES.items():
        if name in attributes and not isinstance(attributes[name], kinds):
            raise ValueError(f"the root attribute {name} is {attributes[name]!r}")
    if not re.fullmatch("[0-9]{1,9}", str(attributes.get("ranks", "0"))):
        raise ValueError(f"the root attribute ranks is {attributes['ranks']!r}, and no number")


def _tables(attributes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    if "configuration" not in attributes:
        raise ValueError("the root attribute configuration is missing")
    tables = json.loads(attributes["configuration"])
    for name in TABLES:
        if not (isinstance(tables, dict) and isinstance(tables.get(name), dict)):
            raise ValueError(f"its configuration has no table {name}")
    if not isinstance(tables.get("downlink", {}), dict):
        raise ValueError("its configuration's downlink is no table")
    if "clients" not in tables["study"]:
        raise ValueError("its configuration has no key study.clients")
    return tables


def _arrays(file: h5py.File) -> dict[str, NDArray[Any]]:
    for name in ("round", "repetition", *FLOATS, *COUNTS):
        if name not in file:
            raise ValueError(f"the dataset {name} is missing")
    arrays = {name: file[name][()] for name in ("round", "repetition", *FLOATS, *COUNTS)}
    points = arrays["round"]
    if points.ndim != 1 or not len(points) or points[0] != 0 or (np.diff(points) <= 0).any():
        raise ValueError("the dataset round does not rise from 0")
    shape = (len(arrays["repetition"]), len(points))
    for name in ("repetition", *FLOATS, *COUNTS):
        if arrays[name].dtype.kind not in "fi":
            raise ValueError(f"the dataset {name} is {arrays[name].dtype}")
        if name != "repetition" and arrays[name].shape != shape:
            raise ValueError(f"the dataset {name} has shape {arrays[name].shape}, not {shape}")
    status = file.get("repetition_status")
    return {**arrays, "repetition_status": None if status is None else status[()]}


def _check_more(file: h5py.File) -> None:
    """Raise ValueError where a dataset that not every log has is not of numbers, or not of the shape that it should be.

    Their numbers are read only where they are needed."""
    lengths = {"R": len(file["repetition"]), "P": len(file["round"])}
    for name, axes in MORE.items():
        if name in file:
            shape, kind = file[name].shape, file[name].dtype.kind
            if kind not in "fi" or len(shape) != len(axes):
                raise ValueError(f"the dataset {name} is {file[name].dtype} {shape}")
            for axis, length in zip(axes, shape, strict=True):
                if lengths.setdefault(axis, length) != length:
                    raise ValueError(f"the dataset {name} has shape {shape}, with {length} in place of {lengths[axis]}")


def _plain(value: Any) -> Any:
    """An attribute as a Python value."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def _brief(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def usable(log: Log) -> np.ndarray:
    """(R) the repetitions that the numbers rest on: those that reached the end, or none where one diverged.

    The mean over the repetitions that happened not to diverge would not be a mean.
    """
    return log.complete & ~log.diverged.any()
