"""analysis/read_a_log.py: it finds the rates of logs whose rates are known, and draws a picture."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from support.synthetic_log import points, power_law, tables, write_log

from analysis import read_a_log

ROUNDS = points(10_000)
SEEDS = 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of two logs: one falls as k^-1 until round 1,000, then as k^-0.5; the other falls as k^-1.2."""
    bent = np.maximum(power_law(ROUNDS), power_law(ROUNDS, 1000**-0.5, slope=-0.5))
    noise = np.exp(0.1 * np.random.default_rng(0).standard_normal((SEEDS, 1)))
    for position, (label, risk) in enumerate((("bent", bent), ("straight", power_law(ROUNDS, slope=-1.2)))):
        configuration = tables(study={"rounds": 10_000, "repetitions": list(range(SEEDS))})
        write_log(tmp_path / "runs" / f"{label}.h5", configuration, noise * risk, label=label, position=position)
    return tmp_path / "runs"


def run(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["read_a_log", *map(str, words)])
    read_a_log.main()


def test_rates_are_found_over_the_given_window(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, folder, "--out", tmp_path / "rates.png")
    assert capsys.readouterr().out.splitlines()[:2] == [
        "bent: -0.50 (-0.50 to -0.50) over rounds 1,000 to 10,000",
        "straight: -1.20 (-1.20 to -1.20) over rounds 1,000 to 10,000",
    ]
    assert (tmp_path / "rates.png").read_bytes()[:4] == b"\x89PNG"
    run(monkeypatch, folder / "straight.h5", "--first", "10", "--out", tmp_path / "rates.png")
    assert capsys.readouterr().out.startswith("straight: -1.20 (-1.20 to -1.20) over rounds 10 to 10,000\n")


def test_a_log_without_a_complete_repetition_has_no_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_log(tmp_path / "a.h5", reached=[5, 0, 0], status="running")
    with pytest.raises(SystemExit, match="no log has a complete repetition"):
        run(monkeypatch, tmp_path)
