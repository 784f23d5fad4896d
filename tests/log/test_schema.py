"""The schema of a log agrees with docs/log-format.md and with the layout of a new file."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from mpi_fed.log import schema
from mpi_fed.log.layout import Layout
from mpi_fed.log.schema import Condition, Kind, RepetitionStatus, Status
from mpi_fed.log.writer import open_writer
from mpi_fed.study.configuration import configuration_from_tables

PAGE = (Path(__file__).parents[2] / "docs" / "log-format.md").read_text()
TABLES = {
    "study": {"name": "test", "rounds": 10, "repetitions": 2, "clients": 3},
    "problem": {"kind": "gaussian", "dimension": 4},
    "algorithm": {"kind": "sgd"},
    "compressor": {"kind": "none"},
    "route": {"kind": "gather"},
}


def rows_of(*sections: str) -> list[list[str]]:
    """Return the rows of the tables in sections of the page, one row for each name in the first cell."""
    rows = []
    for section in sections:
        text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
        for line in text.splitlines():
            if line.startswith("| `"):
                names, *cells = (cell.strip() for cell in line.strip("|").split("|"))
                rows += [[name, *cells] for name in re.findall(r"`(\w+)`", names)]
    return rows


def test_the_page_has_the_dimensions() -> None:
    rows = [(name, length.partition(",")[0]) for name, length in rows_of("Axes")]
    assert rows == [(dimension.name, dimension.length) for dimension in schema.DIMENSIONS]


def test_the_page_has_the_datasets() -> None:
    entries = [(d.name, f"({d.length})", "", d.meaning, Condition.ALWAYS) for d in schema.DIMENSIONS]
    for d in schema.DATASETS:
        lengths = ", ".join(dimension.length for dimension in d.dimensions)
        entries.append((d.name, f"({lengths})", d.units or "", d.meaning, d.condition))
    rows = rows_of("Coordinates", "Risk and iterates", "Bytes", "Time")
    assert sorted(row[:3] for row in rows) == sorted([*entry[:3]] for entry in entries)
    definitions = {name: definition for name, _, _, definition in rows}
    for name, _, _, meaning, condition in entries:
        assert definitions[name].startswith(meaning), name
        assert definitions[name].endswith(condition), name
        assert condition or not any(other in definitions[name] for other in Condition if other), name


def test_the_page_has_the_attributes() -> None:
    rows = rows_of("Root attributes")
    assert sorted(row[:2] for row in rows) == sorted([a.name, a.kind] for a in schema.ATTRIBUTES)
    definitions = {name: definition for name, _, definition in rows}
    for attribute in schema.ATTRIBUTES:
        assert definitions[attribute.name].startswith(attribute.meaning), attribute.name
    assert all(f"`{status}`" in definitions[schema.STATUS.name] for status in Status)


def test_the_page_has_limits_and_statuses() -> None:
    assert f"at most {schema.ITERATES_LIMIT // 10**6} MB" in PAGE
    assert f"above {schema.TEXT_LIMIT:,} bytes" in PAGE
    assert f"**format_version {schema.LOG_FORMAT_VERSION}**" in PAGE
    (definition,) = (row[3] for row in rows_of("Coordinates") if row[0] == schema.REPETITION_STATUS.name)
    assert [int(value) for value in re.findall(r"(\d):", definition)] == [*RepetitionStatus]


def test_names_are_unique() -> None:
    datasets = [entry.name for entry in (*schema.DIMENSIONS, *schema.DATASETS)]
    attributes = [entry.name for entry in schema.ATTRIBUTES]
    assert len(set(datasets)) == len(datasets)
    assert len(set(attributes)) == len(attributes)


@pytest.mark.parametrize("iterates", ["all", "last", "none"])
@pytest.mark.parametrize("clients", [3, schema.CLIENTS_LIMIT + 1])
def test_a_new_log_is_laid_out_by_the_schema(tmp_path: Path, iterates: str, clients: int) -> None:
    configuration, path = configuration_from_tables(TABLES), tmp_path / "log.h5"
    layout = replace(Layout.of(configuration, 4, 5, 1), iterates=iterates, clients=clients)
    open_writer(path, configuration, layout, np.ones(4), {}).close(Status.INTERRUPTED)
    absent = {
        Condition.ALL_ITERATES: iterates != "all",
        Condition.LAST_ITERATES: iterates != "last",
        Condition.FEW_CLIENTS: clients > 3,
        Condition.MANY_CLIENTS: clients == 3,
    }
    datasets = [dataset for dataset in schema.DATASETS if not absent.get(dataset.condition)]
    with h5py.File(path) as file:
        dimension_names = [dimension.name for dimension in schema.DIMENSIONS]
        assert list(file) == [*dimension_names, *(dataset.name for dataset in datasets), schema.VIEW]
        for dimension in schema.DIMENSIONS:
            assert file[dimension.name].is_scale
            assert dimension.kind == (Kind.TEXT if file[dimension.name].dtype == object else file[dimension.name].dtype)
            assert not dimension.length.isdigit() or len(file[dimension.name]) == int(dimension.length)
        for dataset in datasets:
            array = file[dataset.name]
            assert [axis.keys() for axis in array.dims] == [[dimension.name] for dimension in dataset.dimensions]
            assert array.shape == tuple(len(file[dimension.name]) for dimension in dataset.dimensions)
            assert array.dtype == dataset.kind
            assert array.attrs.get("units") == (dataset.units.encode() if dataset.units else None)
            assert array.chunks is None, "the dataset is not contiguous"
            if dataset in schema.RESULTS and dataset is not schema.REPETITION_STATUS:
                assert (np.isnan(array[:]) if dataset.kind is Kind.FLOAT else array[:] == -1).all()
        assert (file[schema.REPETITION_STATUS.name][:] == RepetitionStatus.MISSING).all()
