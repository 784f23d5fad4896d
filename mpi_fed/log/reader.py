"""Read logs: what `docs/log-format.md` defines, as Python objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..terminal.console import say
from . import schema
from .schema import Kind, RepetitionStatus
from .validation import arrays_of, check_attributes, check_optional_datasets, tables_of

if TYPE_CHECKING:
    import h5py

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


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
    """(R) 0 not done, 1 complete, 2 diverged; None in a log without it."""

    def __repr__(self) -> str:
        return f"<Log {str(self.path)!r}: {self.label}, {len(self.repetition)} repetitions, {self.status}>"

    @property
    def label(self) -> str:
        """The configuration's short name."""
        return str(self.attributes.get(schema.LABEL.name) or self.path.stem)

    @property
    def status(self) -> str:
        """running | complete | interrupted | diverged."""
        return str(self.attributes[schema.STATUS.name])

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
        """d, or None where neither an array of the log nor the configuration has it."""
        with open_log(self.path) as file:
            for dataset in (schema.OPTIMUM, schema.LAST_ITERATE_AVERAGED, schema.ITERATE_AVERAGED):
                if dataset.name in file:
                    return int(file[dataset.name].shape[-1])
        return self.configuration["problem"].get("dimension")

    @cached_property
    def diverged(self) -> NDArray[np.bool_]:
        """(R) whether the repetition's iterate became infinite."""
        infinite = np.isinf(self.excess_risk) | np.isinf(self.excess_risk_averaged)
        return np.any(infinite, axis=1) | (self.repetition_status == RepetitionStatus.DIVERGED)

    @cached_property
    def reached(self) -> Counts:
        """(R) log points that each repetition has in every dataset: a write may be torn."""
        written = np.ones(self.excess_risk.shape, dtype=bool)
        for dataset in schema.CURVES:
            values = getattr(self, dataset.name)
            written &= ~np.isnan(values) if dataset.kind is Kind.FLOAT else values >= 0
        return np.logical_and.accumulate(written, axis=1).sum(axis=1)

    @cached_property
    def complete(self) -> NDArray[np.bool_]:
        """(R) whether the repetition reached the last round with a finite iterate."""
        complete = (self.reached == len(self.round)) & ~self.diverged
        if self.repetition_status is None:
            return complete
        return complete & (self.repetition_status == RepetitionStatus.COMPLETE)

    def dataset(self, name: str) -> NDArray[Any] | None:
        """Any dataset of the file as an array, or None where this log has none of that name."""
        with open_log(self.path) as file:
            return file[name][()] if name in file else None

    def final_average(self) -> Floats | None:
        """(R, d) w_bar_K, NaN where not reached, or None where the log keeps no iterates."""
        last, every = schema.LAST_ITERATE_AVERAGED.name, schema.ITERATE_AVERAGED.name
        with open_log(self.path) as file:
            if last in file:
                return file[last][()]
            return file[every][:, -1, :] if every in file else None


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
        raise InputError(f"{path}: cannot be read as a log, it is damaged or no HDF5 file ({_brief(error)})") from None


def load(path: str | Path) -> Log:
    """The log in one file. Raises InputError, one sentence, where it is no log or a damaged one."""
    path = Path(path)
    with open_log(path) as file:
        try:
            attributes = {name: _plain(value) for name, value in file.attrs.items() if not name.startswith("_")}
            check_attributes(path, attributes)
            tables, arrays = tables_of(attributes), arrays_of(file)
            status = file.get(schema.REPETITION_STATUS.name)
            log = Log(path, attributes, tables, **arrays, repetition_status=None if status is None else status[()])
            check_optional_datasets(file)
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError, OverflowError) as error:
            raise InputError(f"{path}: a damaged log: {_brief(error)}") from None
    return log


def load_all(paths: Iterable[str | Path]) -> list[Log]:
    """The logs of files and, recursively, of folders (*.h5), in the order of their studies' grids.

    A file that is no sound log is named on standard error, in one sentence, and left out.
    """
    logs = []
    for file in dict.fromkeys(file for path in paths for file in _files(Path(path))):
        try:
            logs.append(load(file))
        except InputError as error:
            say(str(error))
    return sorted(
        logs, key=lambda log: (log.path.parent, log.attributes.get(schema.POSITION.name, len(logs)), log.path)
    )


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob("*.h5") if file.is_file())
    if not files:
        say(f"{path}: no log (*.h5) in this folder; give a folder that mpi-fed run wrote")
    return files


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
