"""Studies give the bits that version 0.1.0 gave, and logs that it left are read and gone on with (see README.md)."""

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
def test_digests(tmp_path: Path, study) -> None:
    """Iterates and counts are those recorded, bit for bit, and the log's layout is, too."""
    compare_with_digests(record.run(tmp_path, study, compiled=False), study)


@pytest.mark.slow
@pytest.mark.parametrize("study", ["compressors", "memories", "routes"])
def test_digests_of_compiled_code(tmp_path: Path, study) -> None:
    """The same; that all other code gives the same bits compiled or not, tests/engine/test_bit_identity.py says."""
    compare_with_digests(record.run(tmp_path, study, compiled=True), study)


def compare_with_digests(digests, study) -> None:
    expected = DIGESTS["logs"][study]
    assert digests.keys() == expected.keys()
    for label, entry in digests.items():
        assert entry.pop("layout") == DIGESTS["layout"], label
        assert entry == expected[label], label


@pytest.mark.parametrize("study", record.KEPT)
def test_analyze(tmp_path: Path, study) -> None:
    """Kept logs give the numbers and the verdicts that they gave."""
    record.copy(tmp_path)
    assert differences(record.analyzed(tmp_path, study), EXPECTED["analyze"][study]) == []


@pytest.mark.parametrize("study", ["diverged", "finished"])
def test_finished(tmp_path: Path, study) -> None:
    """Logs of studies that are through are left as they are."""
    logs = record.copy(tmp_path)
    files = {path: path.read_bytes() for path in logs.glob(f"{study}/*")}
    said = record.go_on(tmp_path, study).splitlines()
    assert len(said) == len(files) - 1
    assert all(line.endswith(": complete already") for line in said)
    assert {path: path.read_bytes() for path in logs.glob(f"{study}/*")} == files


@pytest.mark.skipif(version("mpi-fed") != WRITTEN_BY, reason="a checkpoint is for the version that wrote it")
@both_ways
def test_interrupted(tmp_path: Path, compiled) -> None:
    """A kept log goes on in the middle of its second repetition, and ends with the bits recorded."""
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

    said = record.go_on(tmp_path, "interrupted", compiled)
    assert said.splitlines()[-1].endswith(": complete")
    assert not checkpoint.exists()
    with h5py.File(path) as file:
        assert file.attrs["restarts"] == 1
        after = file["wall_seconds"][:]
    assert after[done].tobytes() == before[done].tobytes(), "what was done has been done again"
    assert np.isfinite(after).all()
    assert record.log(path) == EXPECTED["interrupted"]


def differences(actual: Any, expected: Any, place: str = "") -> list[str]:
    """Where two JSON documents differ: keys, their order in a list, or numbers by more than rounding."""
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
