"""The layout of a log: the schema's datasets with the sizes of one configuration, allocated in full in a new file."""

from __future__ import annotations

import errno
import json
import math
import os
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..engine.phases import PHASES
from ..study.configuration import Configuration
from . import schema
from .hdf5 import encoded
from .log_points import log_rounds
from .schema import Condition, Dataset, Dimension, Kind


@dataclass(frozen=True)
class Layout:
    """The sizes of a log's dimensions, and the iterates that the log stores (all | last | none | auto)."""

    rounds: NDArray[np.int64]
    """(P) rounds done at the log points."""
    dimension: int
    clients: int
    bins: int
    """Number of bins of the histogram of message sizes."""
    grain: int
    """Bytes of a bin."""
    iterates: str

    @classmethod
    def of(cls, configuration: Configuration, dimension: int, bins: int, grain: int) -> Layout:
        """Return the layout of a configuration's log."""
        rounds = log_rounds(configuration.rounds, configuration.log.points_per_decade)
        return cls(
            rounds=rounds,
            dimension=dimension,
            clients=configuration.clients,
            bins=bins,
            grain=grain,
            iterates=configuration.log.iterates,
        )

    def automatic(self, repetitions: int) -> str:
        """Return the iterates that `log.iterates = "auto"` stores: all, or the last if all would be too large."""
        size = 16 * repetitions * len(self.rounds) * self.dimension
        return "all" if size <= schema.ITERATES_LIMIT else "last"

    def results(self) -> list[Dataset]:
        """Return the datasets that repetitions fill, in the order of the file."""
        conditions = {
            Condition.ALWAYS: True,
            Condition.ALL_ITERATES: self.iterates == "all",
            Condition.LAST_ITERATES: self.iterates == "last",
            Condition.FEW_CLIENTS: self.clients <= schema.CLIENTS_LIMIT,
            Condition.MANY_CLIENTS: self.clients > schema.CLIENTS_LIMIT,
        }
        return [dataset for dataset in schema.RESULTS if conditions[dataset.condition]]

    def coordinates(self, seeds: list[int]) -> dict[Dimension, NDArray[Any]]:
        """Return the values along each dimension."""
        return {
            schema.REPETITION: np.array(seeds, np.int64),
            schema.ROUND: self.rounds,
            schema.COORDINATE: np.arange(self.dimension),
            schema.CLIENT: np.arange(self.clients),
            schema.SIZE: np.arange(self.bins) * self.grain,
            schema.PHASE: np.array(PHASES, h5py.string_dtype()),
            schema.STATISTIC: np.array(schema.STATISTICS, h5py.string_dtype()),
        }


def lay_out(file: h5py.File, layout: Layout, seeds: list[int], optimum: NDArray[np.float64]) -> None:
    """Write every dataset in full: results are NaN or -1 until they are computed."""
    coordinates = layout.coordinates(seeds)
    results = layout.results()
    _reserve(file, results, {dimension: len(values) for dimension, values in coordinates.items()})
    for dimension in schema.DIMENSIONS:
        file[dimension.name] = coordinates[dimension]
        file[dimension.name].make_scale(dimension.name)
    for dataset, values in ((schema.MESSAGE_SIZE, coordinates[schema.SIZE]), (schema.OPTIMUM, optimum)):
        file[dataset.name] = values
        _describe(file, dataset)
    for dataset in results:
        _fill(file, dataset)
        _describe(file, dataset)
    file[schema.REPETITION_STATUS.name][:] = schema.RepetitionStatus.MISSING
    _show_first(file)


def _show_first(file: h5py.File) -> None:
    """Let HDF5 viewers show the convergence curve first, by NeXus' conventions: links and attributes, no data."""
    signal, axes = schema.SIGNAL.name, [dimension.name for dimension in schema.SIGNAL.dimensions]
    file.attrs[schema.NX_CLASS.name] = encoded("NXroot")
    file.attrs[schema.DEFAULT.name] = encoded(schema.VIEW)
    view = file.create_group(schema.VIEW)
    for name in (signal, *axes):
        view[name] = h5py.SoftLink(f"/{name}")
    scales = {"axes_scale_types": ["linear", "log"], "signal_scale_type": "log"}
    attributes = {schema.NX_CLASS.name: "NXdata", "signal": signal, "SILX_style": json.dumps(scales)}
    for name, value in attributes.items():
        view.attrs[name] = encoded(value)
    view.attrs["axes"] = np.array(axes, "S")
    file[signal].attrs["interpretation"] = encoded("spectrum")  # one curve for each repetition
    file[signal].attrs["long_name"] = encoded("excess risk of the averaged iterate")


def _reserve(file: h5py.File, results: list[Dataset], lengths: dict[Dimension, int]) -> None:
    """Reserve the file's disk space, or raise OSError: HDF5 may crash if the disk becomes full later."""
    datasets = (schema.MESSAGE_SIZE, schema.OPTIMUM, *results)
    numbers = sum(math.prod(lengths[dimension] for dimension in dataset.dimensions) for dataset in datasets)
    numbers += sum(lengths.values())
    try:
        os.posix_fallocate(file.id.get_vfd_handle(), 0, 8 * numbers + schema.METADATA_LIMIT)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # the file system cannot reserve space
            raise


def _fill(file: h5py.File, dataset: Dataset) -> None:
    shape = tuple(len(file[dimension.name]) for dimension in dataset.dimensions)
    target = file.create_dataset(dataset.name, shape, dataset.kind.value)
    unreached: NDArray[Any] = np.full(shape[1:], np.nan if dataset.kind is Kind.FLOAT else -1, dataset.kind.value)
    for repetition in range(len(target)):  # one repetition at a time, because all of them may be large
        target[repetition] = unreached


def _describe(file: h5py.File, dataset: Dataset) -> None:
    target = file[dataset.name]
    if dataset.units is not None:
        target.attrs["units"] = encoded(dataset.units)
    for axis, dimension in enumerate(dataset.dimensions):
        target.dims[axis].attach_scale(file[dimension.name])


def copy_repetitions(old: h5py.File, new: h5py.File) -> None:
    """Copy the repetitions of an older log of the same configuration, one at a time."""
    repetitions = len(old[schema.REPETITION.name])
    for dataset in schema.RESULTS:
        if dataset.name in old and dataset.name in new:
            for repetition in range(repetitions):
                new[dataset.name][repetition] = old[dataset.name][repetition]
    for dataset, last in schema.LAST_OF.items():
        if dataset.name in old and last.name in new:
            new[last.name][:repetitions] = old[dataset.name][:, -1]
