"""Logs as an xarray Dataset, with the prediction of theory beside the measured risk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..log import schema
from ..log.reader import Log, load_all, open_log
from ..log.reader import load as load_log
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
        Add `predicted_excess_risk_averaged`. It is computed once and then kept in the cache, which takes seconds to
        minutes where the dimension is large.

    Returns
    -------
    xarray.Dataset
        The datasets of the log, by the names, dimensions and units of `docs/log-format.md`: R repetitions, P log
        points, d coordinates and N clients. For example, `excess_risk_averaged` has dimensions
        `(repetition, round)`. `predicted_excess_risk_averaged`, with dimension `(round,)`, is the expected excess risk
        of the averaged iterate, NaN where theory gives none; its attribute `prediction_kind` says whether it is exact
        or approximate.

        For a folder every variable has a leading dimension `configuration`, whose coordinate is the label.
        The further coordinates `compressor`, `downlink`, `algorithm`, `problem` and `route` hold each kind, `clients` and
        `rounds` the two counts, `status` the state of the log and `prediction_kind` that of the prediction. Where
        configurations differ in rounds, seeds or dimension, what one of them lacks is NaN.

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
        return _dataset(load_log(path), theory)
    logs = load_all([path])
    if not logs:
        raise InputError(f"{path}: this folder holds no log; give a folder that mpi-fed run wrote")
    datasets = [_labelled(log, _dataset(log, theory)) for log in logs]
    joined = xarray.concat(datasets, CONFIGURATION, data_vars="all", join="outer", combine_attrs="drop_conflicts")
    return joined.assign_attrs(schema_attributes(logs))


def schema_attributes(logs: list[Log]) -> dict[str, Any]:
    """Return the root attributes that all logs share."""
    first, *others = (log.attributes for log in logs)
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}


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
    """Return a coordinate with text as str."""
    return coordinate.astype(str) if coordinate.dtype.kind in "SO" else coordinate


def _labelled(log: Log, data: xarray.Dataset) -> xarray.Dataset:
    """Return the dataset of a log as one entry along `configuration`."""
    kinds = {family: log.configuration.get(family, {}).get("kind", "none") for family in _FAMILIES}
    facts = {**kinds, "clients": log.clients, "rounds": log.rounds, "status": log.status}
    if PREDICTED in data:
        facts["prediction_kind"] = data[PREDICTED].attrs.pop("prediction_kind")
    return data.expand_dims({CONFIGURATION: [log.label]}).assign_coords(
        {name: (CONFIGURATION, [value]) for name, value in facts.items()}
    )
