"""Read logs, whose contents `docs/log-format.md` defines, as Python objects."""

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
    """The log of one configuration, with R repetitions, P log points and d coordinates.

    Values at log points that a repetition has not reached are NaN in arrays of floats and -1 in arrays of counts.
    Returned by `read_log`.

    Attributes
    ----------
    path : Path
        The file.
    attributes : dict
        The root attributes of the file, as Python values.
    configuration : dict of dict
        The study's tables with all defaults filled in.
    round : (P,) array of int64
        Number of rounds done at each log point, from 0 to K.
    repetition : (R,) array of int64
        Seed of each repetition.
    excess_risk : (R, P) array of float64
        F(w_k) - F(w*) = 1/2 (w_k - w*)^T H (w_k - w*), in the unit of y^2.
    excess_risk_averaged : (R, P) array of float64
        Excess risk of the averaged iterate w_bar_k, in the unit of y^2.
    wall_seconds : (R, P) array of float64
        Seconds spent in rounds, cumulative.
    uplink_information_bits : (R, P) array of int64
        Number of bits of all clients' messages before rounding to whole bytes, cumulative.
    uplink_payload_bytes : (R, P) array of int64
        Number of bytes of all clients' payloads, cumulative.
    uplink_transported_bytes : (R, P) array of int64
        Number of bytes that all ranks handed to MPI on the uplink, cumulative.
    downlink_transported_bytes : (R, P) array of int64
        Number of bytes that all ranks received on the downlink, cumulative.
    repetition_status : (R,) array of int64, or None
        0: not done, or not to the end; 1: complete; 2: diverged. None if the log does not have it.
    """

    path: Path
    attributes: dict[str, Any]
    configuration: dict[str, dict[str, Any]]
    round: Counts
    repetition: Counts
    excess_risk: Floats
    excess_risk_averaged: Floats
    wall_seconds: Floats
    uplink_information_bits: Counts
    uplink_payload_bytes: Counts
    uplink_transported_bytes: Counts
    downlink_transported_bytes: Counts
    repetition_status: Counts | None

    def __repr__(self) -> str:
        return f"<Log {str(self.path)!r}: {self.label}, {len(self.repetition)} repetitions, {self.status}>"

    @property
    def label(self) -> str:
        """Short name of the configuration, or the file's name if the log has no label."""
        return str(self.attributes.get(schema.LABEL.name) or self.path.stem)

    @property
    def status(self) -> str:
        """Status of the log: running, complete, interrupted or diverged."""
        return str(self.attributes[schema.STATUS.name])

    @property
    def rounds(self) -> int:
        """Number of rounds K."""
        return int(self.round[-1])

    @property
    def clients(self) -> int:
        """Number of clients N."""
        return int(self.configuration["study"]["clients"])

    @cached_property
    def dimension(self) -> int | None:
        """Dimension d, or None if neither an array of the log nor the configuration has it."""
        with open_log(self.path) as file:
            for dataset in (schema.OPTIMUM, schema.LAST_ITERATE_AVERAGED, schema.ITERATE_AVERAGED):
                if dataset.name in file:
                    return int(file[dataset.name].shape[-1])
        return self.configuration["problem"].get("dimension")

    @cached_property
    def diverged(self) -> NDArray[np.bool_]:
        """(R) True for each repetition whose iterate became infinite."""
        infinite = np.isinf(self.excess_risk) | np.isinf(self.excess_risk_averaged)
        diverged: NDArray[np.bool_] = np.any(infinite, axis=1) | (self.repetition_status == RepetitionStatus.DIVERGED)
        return diverged

    @cached_property
    def reached(self) -> Counts:
        """(R) number of log points that a repetition has in all datasets; a killed run may have written only some."""
        written = np.ones(self.excess_risk.shape, dtype=bool)
        for dataset in schema.CURVES:
            values = getattr(self, dataset.name)
            written &= ~np.isnan(values) if dataset.kind is Kind.FLOAT else values >= 0
        counts: Counts = np.logical_and.accumulate(written, axis=1).sum(axis=1)
        return counts

    @cached_property
    def complete(self) -> NDArray[np.bool_]:
        """(R) True for each repetition that reached the last round with a finite iterate."""
        complete: NDArray[np.bool_] = (self.reached == len(self.round)) & ~self.diverged
        if self.repetition_status is not None:
            complete = complete & (self.repetition_status == RepetitionStatus.COMPLETE)
        return complete

    def dataset(self, name: str) -> NDArray[Any] | None:
        """Read a dataset of the file.

        Parameters
        ----------
        name : str
            Name of the dataset, such as `"phase_seconds"`; docs/log-format.md lists names, shapes and units.

        Returns
        -------
        ndarray or None
            The dataset as an array, or None if this log does not have it.

        Raises
        ------
        InputError
            If the file does not exist any more or cannot be read.
        """
        with open_log(self.path) as file:
            return file[name][()] if name in file else None

    def final_average(self) -> Floats | None:
        """Read the averaged iterate w_bar_K of each repetition.

        Returns
        -------
        ndarray (R, d) or None
            w_bar_K, NaN for a repetition that has not reached round K; None if the log holds no iterates.

        Raises
        ------
        InputError
            If the file does not exist any more or cannot be read.
        """
        last, every = schema.LAST_ITERATE_AVERAGED.name, schema.ITERATE_AVERAGED.name
        average: Floats | None
        with open_log(self.path) as file:
            average = file[last][()] if last in file else (file[every][:, -1, :] if every in file else None)
        return average


@contextmanager
def open_log(path: Path) -> Iterator[h5py.File]:
    """Open the file for reading. It takes no lock, so that a log can be read while a run writes it.

    Raises InputError if the file does not exist or cannot be read.
    """
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except OSError as error:
        if not path.is_file():
            raise InputError(f"{path}: no such file") from None
        raise InputError(
            f"{path}: cannot be read as a log: the file is damaged or is not an HDF5 file ({_brief(error)}); "
            f"move the log away and run its study again"
        ) from None


def read_log(path: str | Path) -> Log:
    """Load the log of one configuration as NumPy arrays. `mpi_fed.load` gives an `xarray.Dataset` instead.

    Parameters
    ----------
    path : str or Path
        An HDF5 file that `mpi-fed run` wrote. A run may be writing it at the same time.

    Returns
    -------
    Log
        The curves as NumPy arrays, and the configuration. `Log.dataset` reads the other datasets when they are needed.

    Raises
    ------
    InputError
        If the file does not exist, is not a log, is damaged, or has another format version. The message is one sentence
        that names the file.

    See Also
    --------
    mpi_fed.load : Load logs as an `xarray.Dataset`, with the predicted risk.
    read_logs : Load the logs of files and folders.

    Notes
    -----
    With R repetitions and P log points, most readers need

    * `round` (shape (P)): number of rounds done at each log point
    * `excess_risk` (shape (R, P)): F(w_k) - F(w*), in the unit of y^2
    * `excess_risk_averaged` (shape (R, P)): F(w_bar_k) - F(w*), in the unit of y^2
    * `wall_seconds` (shape (R, P)): seconds spent in rounds, cumulative
    * `uplink_payload_bytes` (shape (R, P)): number of bytes of all clients' payloads, cumulative
    * `complete` and `diverged` (shape (R)): a boolean for each repetition

    A log is also a netCDF-4 file. `xarray.open_dataset(path, engine="h5netcdf")` gives an `xarray.Dataset` with the
    dimensions `repetition`, `round`, `coordinate`, `client`, `size`, `phase` and `statistic`, their coordinates, the
    units of each variable in its attribute `units`, and the root attributes in `attrs`.

    Examples
    --------
    The mean curve of the averaged iterate, against the bytes that the clients sent:

    >>> from mpi_fed.log.reader import read_log
    >>> log = read_log("tests/recorded/logs/finished/none-6d8f94.h5")
    >>> log.label, log.status, log.rounds
    ('none', 'complete', 2000)
    >>> log.excess_risk_averaged.shape  # repetitions, log points
    (2, 19)
    >>> risk = log.excess_risk_averaged[log.complete].mean(axis=0)
    >>> sent = log.uplink_payload_bytes[log.complete].mean(axis=0)
    """
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
            raise InputError(
                f"{path}: the log is damaged: {_brief(error)}; move the log away and run its study again"
            ) from None
    return log


def read_logs(paths: Iterable[str | Path]) -> list[Log]:
    """Load the logs of files and, recursively, of folders (*.h5).

    A file that cannot be loaded is left out, and the reason is printed on standard error in one sentence.

    Parameters
    ----------
    paths : iterable of str or Path
        Files, and folders that are searched for files `*.h5`.

    Returns
    -------
    list of Log
        Sorted by folder, and in a folder by the configuration's position in the study's grid.
    """
    logs = []
    for file in dict.fromkeys(file for path in paths for file in _files(Path(path))):
        try:
            logs.append(read_log(file))
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
    """Return an attribute as a Python value."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def _brief(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def usable(log: Log) -> NDArray[np.bool_]:
    """Return a mask (shape (R)) of the repetitions that statistics may use: those that reached round K.

    If a repetition diverged, no repetition may be used, because the mean over the others would be biased.
    """
    return log.complete & ~log.diverged.any()
