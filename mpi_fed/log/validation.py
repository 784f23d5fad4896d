"""Check that a file is an undamaged log. Each check raises an error that says what is wrong and what is expected."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from . import schema
from .schema import AttributeKind

if TYPE_CHECKING:
    import h5py

TABLES = ("study", "problem", "algorithm", "compressor", "route")
"""Tables of the configuration that every log must have."""
TYPED = (schema.LABEL, schema.CONFIGURATION_ID, schema.DATASET_DIGEST, schema.POSITION, schema.OMEGA)
"""Optional attributes whose values must have the schema's type."""
PYTHON_TYPES: dict[AttributeKind, tuple[type, ...]] = {
    AttributeKind.TEXT: (str,),
    AttributeKind.JSON: (str,),
    AttributeKind.INTEGER: (int,),
    AttributeKind.FLOAT: (int, float),
}
EXPECTED = {
    AttributeKind.TEXT: "text",
    AttributeKind.JSON: "JSON text",
    AttributeKind.INTEGER: "an integer",
    AttributeKind.FLOAT: "a number",
}
"""Words for the expected value of an attribute, by its kind."""
REQUIRED = (schema.ROUND, schema.REPETITION, *schema.CURVES)
"""Datasets that every log must have."""


def check_attributes(path: Path, attributes: dict[str, Any]) -> None:
    """Check the root attributes of a log.

    Raises InputError if the file is not a log, has another format version or lacks the status; ValueError if another
    attribute has a wrong type or value.
    """
    if attributes.get(schema.FORMAT.name) != schema.LOG_FORMAT:
        expected = f"its root attribute {schema.FORMAT.name} is not {schema.LOG_FORMAT!r}"
        raise InputError(f"{path}: an HDF5 file, but not a log: {expected}; give a file that mpi-fed run wrote")
    if (version := attributes.get(schema.FORMAT_VERSION.name)) != schema.LOG_FORMAT_VERSION:
        raise InputError(
            f"{path}: a log of {schema.FORMAT_VERSION.name} {version}, but this mpi-fed reads "
            f"{schema.LOG_FORMAT_VERSION}; use the version of mpi-fed that wrote it"
        )
    if schema.STATUS.name not in attributes:
        raise InputError(
            f"{path}: the log is damaged: the root attribute {schema.STATUS.name} is missing; "
            f"move the log away and run its study again"
        )
    for attribute in TYPED:
        name = attribute.name
        if name in attributes and not isinstance(attributes[name], PYTHON_TYPES[attribute.kind]):
            expected = EXPECTED[attribute.kind]
            raise ValueError(f"the root attribute {name} is {attributes[name]!r}, but must be {expected}")
    if not re.fullmatch("[0-9]{1,9}", str(ranks := attributes.get(schema.RANKS.name, "0"))):
        raise ValueError(f"the root attribute {schema.RANKS.name} is {ranks!r}, but must have only digits")


def tables_of(attributes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the tables of the configuration. Raises ValueError if a required table or key is missing."""
    if schema.CONFIGURATION.name not in attributes:
        raise ValueError(f"the root attribute {schema.CONFIGURATION.name} is missing")
    tables: dict[str, dict[str, Any]] = json.loads(attributes[schema.CONFIGURATION.name])
    for name in TABLES:
        if not (isinstance(tables, dict) and isinstance(tables.get(name), dict)):
            raise ValueError(f"the log's configuration has no table [{name}]")
    if not isinstance(tables.get("downlink", {}), dict):
        raise ValueError("in the log's configuration, downlink must be a table")
    if "clients" not in tables["study"]:
        raise ValueError("in the log's configuration, the table [study] has no key 'clients'")
    return tables


def arrays_of(file: h5py.File) -> dict[str, NDArray[Any]]:
    """Return the arrays of the required datasets. Raises ValueError if a dataset is missing or damaged."""
    for entry in REQUIRED:
        if entry.name not in file:
            raise ValueError(f"the dataset {entry.name} is missing")
    arrays = {entry.name: file[entry.name][()] for entry in REQUIRED}
    points, seeds = arrays[schema.ROUND.name], arrays[schema.REPETITION.name]
    if points.ndim != 1 or not len(points) or points[0] != 0 or (np.diff(points) <= 0).any():
        raise ValueError(f"the dataset {schema.ROUND.name} must be a list of numbers that begins with 0 and increases")
    shape = (len(seeds), len(points))
    for entry in (schema.REPETITION, *schema.CURVES):
        array = arrays[entry.name]
        if array.dtype.kind not in "fi":
            raise ValueError(f"the dataset {entry.name} has type {array.dtype}, but must hold integers or floats")
        if entry is not schema.REPETITION and array.shape != shape:
            raise ValueError(f"the dataset {entry.name} has shape {array.shape}, but must have shape {shape}")
    return arrays


def check_optional_datasets(file: h5py.File) -> None:
    """Raise ValueError if an optional dataset does not hold numbers or has a wrong shape.

    Only the types and the shapes are read here; the numbers are read when they are needed.
    """
    lengths = {axis: len(file[axis.name]) for axis in (schema.REPETITION, schema.ROUND)}
    for dataset in schema.DATASETS:
        name = dataset.name
        if dataset in schema.CURVES or name not in file:
            continue
        shape, kind = file[name].shape, file[name].dtype.kind
        if kind not in "fi" or len(shape) != len(dataset.dimensions):
            axes = ", ".join(axis.name for axis in dataset.dimensions)
            raise ValueError(
                f"the dataset {name} has type {file[name].dtype} and shape {shape}, but must hold numbers with the "
                f"dimensions ({axes})"
            )
        for axis, length in zip(dataset.dimensions, shape, strict=True):
            if lengths.setdefault(axis, length) != length:
                raise ValueError(
                    f"the dataset {name} has shape {shape}, but its dimension {axis.name} must have length "
                    f"{lengths[axis]}"
                )
