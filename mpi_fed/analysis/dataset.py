"""Load logs as an xarray Dataset, with the predicted risk next to the measured risk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..log import schema
from ..log.reader import Log, open_log, read_log, read_logs
from .prediction import forecast

if TYPE_CHECKING:
    import xarray

CONFIGURATION = "configuration"
PREDICTED = "predicted_excess_risk_averaged"
_FAMILIES = ("compressor", "downlink", "algorithm", "problem", "route")


def load(path: str | os.PathLike[str], theory: bool = True) -> xarray.Dataset:
    """Load a log, or a folder of logs, as one `xarray.Dataset` in memory.

    Parameters
    ----------
    path : str or os.PathLike
        A log (`.h5`), or a folder that is searched for logs recursively.
    theory : bool, default True
        Add `predicted_excess_risk_averaged`. Computing it takes seconds to minutes if the dimension is large; the
        result is kept in the cache.

    Returns
    -------
    xarray.Dataset
        The datasets of the log, with the names, dimensions and units of `docs/log-format.md`: R repetitions, P log
        points, d coordinates and N clients. For example, `excess_risk_averaged` has dimensions
        `(repetition, round)`. `predicted_excess_risk_averaged`, with dimension `(round,)`, is the expected excess risk
        of the averaged iterate, NaN where there is no prediction; its attribute `prediction_kind` says whether the
        prediction is exact or approximate.

        For a folder every variable has a leading dimension `configuration`, whose coordinate is the label.
        Further coordinates hold the kinds (`compressor`, `downlink`, `algorithm`, `problem`, `route`), the counts
        (`clients`, `rounds`), the `status` of the log and the `prediction_kind`. Where configurations differ in
        rounds, seeds or dimension, missing values are NaN.

    Raises
    ------
    InputError
        If `path` is a file that is not a log, or a folder without a log.

    Examples
    --------
    >>> import mpi_fed
    >>> data = mpi_fed.load("runs/quickstart")                          # doctest: +SKIP
    >>> data.excess_risk_averaged.mean("repetition").isel(round=-1)     # doctest: +SKIP
    """
    import xarray

    path = Path(path)
    if not path.is_dir():
        return _dataset(read_log(path), theory)
    logs = read_logs([path])
    if not logs:
        raise InputError(f"{path}: this folder holds no log; give a folder that mpi-fed run wrote")
    names = _names(logs)
    datasets = [_labelled(log, name, _dataset(log, theory)) for log, name in zip(logs, names, strict=True)]
    return xarray.concat(datasets, CONFIGURATION, data_vars="all", join="outer", combine_attrs="drop_conflicts")


def _names(logs: list[Log]) -> list[str]:
    """Return the labels; if two logs have the same label, every label begins with the name of its study."""
    labels = [log.label for log in logs]
    if len(set(labels)) == len(labels):
        return labels
    return [f"{log.configuration['study']['name']}: {log.label}" for log in logs]


def _dataset(log: Log, theory: bool) -> xarray.Dataset:
    """Return one log, without the dimension `configuration`."""
    import xarray

    with open_log(log.path) as file:
        coordinates = {d.name: _values(file[d.name][()]) for d in schema.DIMENSIONS if d.name in file}
        variables = {
            dataset.name: (
                tuple(d.name for d in dataset.dimensions),
                file[dataset.name][()],
                {} if dataset.units is None else {"units": dataset.units},
            )
            for dataset in schema.DATASETS
            if dataset.name in file
        }
    data = xarray.Dataset(variables, coordinates, log.attributes)
    if theory:
        prediction = forecast(log)
        curve = prediction.excess_risk_averaged
        values = np.full(len(log.round), np.nan) if curve is None else curve
        attributes = {"units": "1", "prediction_kind": prediction.kind or "none"}
        data[PREDICTED] = (schema.ROUND.name, values, attributes)
    return data


def _values(coordinate: np.ndarray) -> np.ndarray:
    """Return a coordinate; if it is text, with elements of type str."""
    return coordinate.astype(str) if coordinate.dtype.kind in "SO" else coordinate


def _labelled(log: Log, name: str, data: xarray.Dataset) -> xarray.Dataset:
    """Return the dataset of a log as one entry along `configuration`."""
    kinds = {family: log.configuration.get(family, {}).get("kind", "none") for family in _FAMILIES}
    facts = {**kinds, "clients": log.clients, "rounds": log.rounds, "status": log.status}
    if PREDICTED in data:
        facts["prediction_kind"] = data[PREDICTED].attrs.pop("prediction_kind")
    return data.expand_dims({CONFIGURATION: [name]}).assign_coords(
        {name: (CONFIGURATION, [value]) for name, value in facts.items()}
    )
