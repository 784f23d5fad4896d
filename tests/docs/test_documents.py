"""Test that JSON documents are read as they were written, and that the page on the bench names every field."""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from support.bench_documents import hand_made
from support.synthetic_log import write_log

from mpi_fed.analysis.command import analysis_of
from mpi_fed.analysis.document import read_analysis
from mpi_fed.analysis.prediction import Forecast
from mpi_fed.benchmark.document import Bench
from mpi_fed.benchmark.load import load_bench
from mpi_fed.benchmark.result import bench_document
from mpi_fed.log.reader import read_log

ROOT = Path(__file__).parents[2]


def names(kind: Any) -> Iterator[str]:
    """Yield the fields of a dataclass, and those of the dataclasses in it."""
    if is_dataclass(kind):
        yield from (field.name for field in fields(kind))
        for each in get_type_hints(kind).values():
            yield from names(each)
    for each in get_args(kind):
        yield from names(each)


def test_the_page_on_the_bench_names_every_field() -> None:
    page = (ROOT / "docs" / "bench.md").read_text()
    assert [name for name in names(Bench) if not re.search(rf"\b{name}\b", page)] == []


@pytest.mark.parametrize("reasons", [[], ["no"]])
def test_a_saved_bench_is_read_as_it_was_written(tmp_path: Path, reasons: list[str]) -> None:
    document = bench_document({"cpu": ["a"], "cores": 2}, [[hand_made(reasons=reasons)], [hand_made(2.0)]])
    (tmp_path / "a.json").write_text(json.dumps(asdict(document)))
    assert load_bench(str(tmp_path / "a.json")) == document


def test_a_saved_analysis_is_read_as_it_was_written(tmp_path: Path) -> None:
    for name, label in (("a", "none"), ("b", "quantization")):
        write_log(tmp_path / f"{name}.h5", label=label)
    logs = [read_log(path) for path in sorted(tmp_path.glob("*.h5"))]
    document = analysis_of(logs, [Forecast(), Forecast()])
    (tmp_path / "analysis.json").write_text(json.dumps(asdict(document)))
    assert read_analysis(tmp_path / "analysis.json") == document
