"""What a log is made of: its log points, its datasets with their dimensions and units, and the space they take."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..engine.phase_clock import PHASES
from ..engine.wire import DOWNLINK_BYTES, INFORMATION_BITS, PAYLOAD_BYTES, UPLINK_BYTES
from ..study.configuration import Configuration

ITERATES_LIMIT = 100_000_000
"""Bytes of iterates up to which `log.iterates = "auto"` keeps them all."""

CLIENTS_LIMIT = 1000
"""Clients up to which each has a count of bytes at each log point."""

METADATA_LIMIT = 2**18
"""More than the bytes of a log beside its datasets."""

VIEW, CURVE = "convergence", "excess_risk_averaged"
"""The group that viewers open first, and the dataset that they show."""

MISSING, COMPLETE, DIVERGED = 0, 1, 2
"""Values of `repetition_status`."""

COUNTS = {
    "uplink_information_bits": ("bit", INFORMATION_BITS),
    "uplink_payload_bytes": ("byte", PAYLOAD_BYTES),
    "uplink_transported_bytes": ("byte", UPLINK_BYTES),
    "downlink_transported_bytes": ("byte", DOWNLINK_BYTES),
}


LONGEST_TEXT = 60_000
"""Bytes of text that an attribute can hold by itself."""


def text(value: str) -> Any:
    """What to set an attribute to: of a fixed length, as HDF5's reader may hang on a damaged heap of other texts."""
    data = value.encode()
    if len(data) > LONGEST_TEXT:
        return value
    return np.array(data, h5py.string_dtype("utf-8", max(1, len(data))))


def decoded(value: Any) -> str:
    """The text of an attribute, of whichever kind."""
    return value.decode() if isinstance(value, bytes) else str(value)


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
        return cls(rounds, dimension, configuration.clients, bins, grain, configuration.log.iterates)

    def automatic(self, repetitions: int) -> str:
        """Which iterates are held where the study leaves it to the size of the log."""
        return "all" if 16 * repetitions * len(self.rounds) * self.dimension <= ITERATES_LIMIT else "last"


def lay_out(file: h5py.File, layout: Layout, seeds: list[int], optimum: NDArray[np.float64]) -> None:
    """Write every dataset whole: NaN or -1 where results are to come."""
    scales = {
        "repetition": np.array(seeds, np.int64),
        "round": layout.rounds,
        "coordinate": np.arange(layout.dimension),
        "client": np.arange(layout.clients),
        "size": np.arange(layout.bins) * layout.grain,
        "phase": np.array(PHASES, h5py.string_dtype()),
        "statistic": np.array(["min", "mean", "max"], h5py.string_dtype()),
    }
    _reserve(file, layout, {name: len(values) for name, values in scales.items()})
    for name, values in scales.items():
        file[name] = values
        file[name].make_scale(name)
    file["message_size"] = scales["size"]
    file["message_size"].dims[0].attach_scale(file["size"])
    file["message_size"].attrs["units"] = text("byte")
    file["optimum"] = optimum
    file["optimum"].dims[0].attach_scale(file["coordinate"])
    for name, dims, kind, unit in _datasets(layout):
        _dataset(file, name, dims, kind, unit)
    file["repetition_status"][:] = MISSING
    _show_first(file)


def _show_first(file: h5py.File) -> None:
    """Have HDF5 viewers open the file on its convergence curve, as NeXus says how: links and attributes, no data."""
    file.attrs["NX_class"], file.attrs["default"] = text("NXroot"), text(VIEW)
    view = file.create_group(VIEW)
    for name in (CURVE, "repetition", "round"):
        view[name] = h5py.SoftLink(f"/{name}")
    scales = {"axes_scale_types": ["linear", "log"], "signal_scale_type": "log"}
    attributes = {"NX_class": "NXdata", "signal": CURVE, "SILX_style": json.dumps(scales)}
    for name, value in attributes.items():
        view.attrs[name] = text(value)
    view.attrs["axes"] = np.array(["repetition", "round"], "S")
    file[CURVE].attrs["interpretation"] = text("spectrum")  # one curve a repetition
    file[CURVE].attrs["long_name"] = text("excess risk of the averaged iterate")


def _reserve(file: h5py.File, layout: Layout, lengths: dict[str, int]) -> None:
    """Have the file system set aside what the file needs, or raise OSError: HDF5 crashes on a disk that fills up."""
    numbers = sum(math.prod(lengths[dim] for dim in dims) for _, dims, _, _ in _datasets(layout))
    numbers += sum(lengths.values()) + lengths["size"] + lengths["coordinate"]
    try:
        os.posix_fallocate(file.id.get_vfd_handle(), 0, 8 * numbers + METADATA_LIMIT)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # what a file system that cannot do it says
            raise


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
    dataset = file.create_dataset(name, shape, kind)
    nothing: NDArray[Any] = np.full(shape[1:], np.nan if kind is np.float64 else -1, kind)
    for repetition in range(len(dataset)):  # one by one: the whole may be large
        dataset[repetition] = nothing
    dataset.attrs["units"] = text(unit)
    for axis, dim in enumerate(dims):
        dataset.dims[axis].attach_scale(file[dim])


def copy(old: h5py.File, new: h5py.File) -> None:
    """Copy what an older log of the same configuration has, repetition by repetition."""
    rows = len(old["repetition"])
    datasets = {name: item for name, item in new.items() if isinstance(item, h5py.Dataset) and name in old}
    for name, dataset in datasets.items():
        if name != "repetition" and len(dataset) > 0 and _by_repetition(dataset):
            for repetition in range(rows):
                dataset[repetition] = old[name][repetition]
    for name in ("iterate", "iterate_averaged"):
        if name in old and f"last_{name}" in new:
            new[f"last_{name}"][:rows] = old[name][:, -1]


def _by_repetition(dataset: h5py.Dataset) -> bool:
    return len(dataset.dims[0]) > 0 and dataset.dims[0].keys() == ["repetition"]
