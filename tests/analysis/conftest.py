"""Fixtures of the tests of analysis."""

import json
from pathlib import Path

import pytest
from support.synthetic_log import NOISE, ROUNDS, power_law, tables, write_log

from mpi_fed.analysis import analyze, figures
from mpi_fed.analysis import command as analysis_command
from mpi_fed.analysis.prediction import Forecast


@pytest.fixture
def theory(monkeypatch: pytest.MonkeyPatch):
    """Predictions set by the test: by label, else none."""
    known = {}
    monkeypatch.setattr(analysis_command, "forecast", lambda log: known.get(log.label, Forecast()))
    return known


@pytest.fixture
def analysed(theory, capsys: pytest.CaptureFixture[str]):
    """analyze --json as a function that returns the object."""

    def run(*paths, **options):
        assert analyze(paths, json=True, **options) == 0
        return json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))

    return run


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without pictures, which take seconds."""
    monkeypatch.setattr(figures, "draw", lambda pictures, folder: [])


@pytest.fixture
def study(tmp_path: Path, theory):
    """A folder with two compressors on two problems."""
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
