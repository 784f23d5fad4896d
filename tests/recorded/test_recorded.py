"""Studies give the same bits as version 0.1.0, and its logs are read and continued (see README.md)."""

from __future__ import annotations

import json
import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from recorded import record

pytestmark = pytest.mark.usefixtures("alone")

DIGESTS = json.loads((record.HERE / "digests.json").read_text())
EXPECTED = json.loads((record.HERE / "logs" / "expected.json").read_text())
WRITTEN_BY = "0.1.0"

both_ways = pytest.mark.parametrize(
    "compiled", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["plain", "compiled"]
)


def test_every_study_is_recorded() -> None:
    assert list(DIGESTS["logs"]) == record.STUDIES
    assert list(EXPECTED["analyze"]) == record.KEPT


@pytest.mark.parametrize("study", record.STUDIES)
def test_iterates_and_counts_are_those_recorded(tmp_path: Path, study: str) -> None:
    """They agree bit for bit, and the layout of the log is the same."""
    compare_with_digests(record.run(tmp_path, study, compiled=False), study)


@pytest.mark.slow
@pytest.mark.parametrize("study", ["compressors", "memories", "routes"])
def test_compiled_code_gives_the_recorded_bits(tmp_path: Path, study: str) -> None:
    """For other studies tests/engine/test_bit_identity.py checks that compiled code gives the same bits as Python."""
    compare_with_digests(record.run(tmp_path, study, compiled=True), study)


def compare_with_digests(digests: dict[str, Any], study: str) -> None:
    expected = DIGESTS["logs"][study]
    assert digests.keys() == expected.keys()
    for label, entry in digests.items():
        assert entry.pop("layout") == DIGESTS["layout"], label
        assert entry == expected[label], label


@pytest.mark.parametrize("study", record.KEPT)
def test_kept_logs_give_the_recorded_analysis(tmp_path: Path, study: str) -> None:
    record.copy(tmp_path)
    assert differences(record.analyzed(tmp_path, study), EXPECTED["analyze"][study]) == []


@pytest.mark.parametrize("study", ["diverged", "finished"])
def test_logs_of_complete_studies_are_not_changed(tmp_path: Path, study: str) -> None:
    logs = record.copy(tmp_path)
    files = {path: path.read_bytes() for path in logs.glob(f"{study}/*")}
    lines = record.go_on(tmp_path, study).splitlines()
    assert len(lines) == len(files) - 1
    assert all(line.endswith(": complete already") for line in lines)
    assert {path: path.read_bytes() for path in logs.glob(f"{study}/*")} == files


@pytest.mark.skipif(version("mpi-fed") != WRITTEN_BY, reason="a checkpoint is for the version that wrote it")
@both_ways
def test_an_interrupted_log_is_continued_to_the_recorded_bits(tmp_path: Path, compiled: bool) -> None:
    """It was interrupted in the middle of its second repetition."""
    logs = record.copy(tmp_path)
    (path,) = logs.glob("interrupted/*.h5")
    (checkpoint,) = logs.glob("interrupted/*.checkpoint")
    with h5py.File(path) as file:
        before = file["wall_seconds"][:]
        assert file.attrs["status"] == b"interrupted"
        assert file["repetition_status"][:].tolist() == [1, 0]
    done = np.isfinite(before)
    assert done[0].all()
    assert 1 < done[1].sum() < done[1].size - 1

    messages = record.go_on(tmp_path, "interrupted", compiled)
    assert messages.splitlines()[-1].endswith(": complete")
    assert not checkpoint.exists()
    with h5py.File(path) as file:
        assert file.attrs["restarts"] == 1
        after = file["wall_seconds"][:]
    assert after[done].tobytes() == before[done].tobytes(), "finished rounds were run again"
    assert np.isfinite(after).all()
    assert record.log(path) == EXPECTED["interrupted"]


def differences(actual: Any, expected: Any, place: str = "") -> list[str]:
    """Return the differences of two JSON documents; numbers may differ by rounding."""
    if isinstance(expected, dict) and isinstance(actual, dict) and actual.keys() == expected.keys():
        return [line for key in expected for line in differences(actual[key], expected[key], f"{place}.{key}")]
    if isinstance(expected, list) and isinstance(actual, list) and len(actual) == len(expected):
        pairs = enumerate(zip(actual, expected, strict=True))
        return [line for i, items in pairs for line in differences(*items, f"{place}[{i}]")]
    if isinstance(expected, float) and isinstance(actual, float):
        same = math.isclose(actual, expected, rel_tol=1e-12) or (math.isnan(actual) and math.isnan(expected))
    else:
        same = type(actual) is type(expected) and actual == expected
    return [] if same else [f"{place}: {actual!r}, not {expected!r}"]
