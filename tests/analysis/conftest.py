"""Fixtures of the tests of analysis."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.synthetic_log import NOISE, ROUNDS, power_law, tables, write_log

from mpi_fed.analysis import analyze, figures
from mpi_fed.analysis import command as analysis_command
from mpi_fed.analysis.prediction import Forecast


@pytest.fixture
def theory(monkeypatch: pytest.MonkeyPatch) -> dict[str, Forecast]:
    """Predictions that the test sets, by label; other logs have no prediction."""
    predictions: dict[str, Forecast] = {}
    monkeypatch.setattr(analysis_command, "forecast", lambda log: predictions.get(log.label, Forecast()))
    return predictions


@pytest.fixture
def analysed(theory: dict[str, Forecast], capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Function that runs analyze --json on paths and returns the JSON object."""

    def run(*paths: Path, **options: Any) -> dict[str, Any]:
        assert analyze(paths, json=True, **options) == 0
        printed = capsys.readouterr().out
        document: dict[str, Any] = json.loads(printed, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
        return document

    return run


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make reports without pictures, because drawing takes seconds."""
    monkeypatch.setattr(figures, "draw", lambda pictures, folder: [])


@pytest.fixture
def study(tmp_path: Path, theory: dict[str, Forecast]) -> Path:
    """Folder of four logs: two compressors on two problems."""
    position = 0
    for decay in (1.0, 2.0):
        for kind in ("none", "quantization"):
            label = f"{kind} eigenvalue_decay={decay:g}"
            made = tables(problem={"eigenvalue_decay": decay}, compressor={"kind": kind, "value_bits": 32})
            write_log(
                tmp_path / "runs" / f"{position}.h5",
                made,
                NOISE * power_law(ROUNDS),
                label=label,
                position=position,
            )
            theory[label] = Forecast(power_law(ROUNDS), "exact", 2.0)
            position += 1
    return tmp_path / "runs"
