"""The table, the pictures and the report of an analysis."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from support.synthetic_log import PAYLOAD, ROUNDS, N, power_law, tables, write_log

from mpi_fed.analysis import analyze, read_log, series
from mpi_fed.analysis.prediction import Forecast
from mpi_fed.errors import InputError


def test_the_table_fits_80_columns(
    study: Path, no_pictures: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert analyze([study]) == 0
    lines = capsys.readouterr().out.splitlines()[:-1]  # the last one is the report's path
    assert max(map(len, lines)) <= 80
    for text in ("1.00e-03 ±6%", "-1.00 ±0.00", "VALID", "13/16/16 kB", "6.15/5/5", "0.5/0.25", "slope"):
        assert any(text in line for line in lines), text


def test_a_wide_terminal_shows_one_table(
    study: Path, no_pictures: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "260")
    assert analyze([study]) == 0
    printed = capsys.readouterr().out
    assert printed.count("configuration") == 1
    row = next(line for line in printed.splitlines() if line.startswith("none eigenvalue_decay=2"))
    rates, spread, costs = (
        "1.00e-03 ±6% 1.00e-03 +0.0 1.00 -1.00 ±0.00 VALID",
        "-, - - - 1 reference",
        "13/16/16 kB 6.15/5/5 3.08/2.5/2.5 0.5/0.25 912 (832 to 1,000) 14.6 kB 0.00912",
    )
    assert " ".join(row.split()) == f"none eigenvalue_decay=2 {rates} {spread} {costs}"


def test_a_rank_prints_without_colours(
    study: Path, no_pictures: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("MPI_FED_TERMINAL_WIDTH", "260")
    assert analyze([study]) == 0
    printed = capsys.readouterr().out
    assert printed.count("configuration") == 1
    assert "\x1b" not in printed


def test_reasons_for_invalid_are_printed_below_the_table(
    tmp_path: Path, theory: dict[str, Forecast], no_pictures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    write_log(tmp_path / "a.h5", risk=power_law(ROUNDS, slope=-0.9), reached=[len(ROUNDS), 0, 0], label="a")
    assert analyze([tmp_path]) == 0
    assert "INVALID a: 1 of 3 repetitions reached round 1000" in " ".join(capsys.readouterr().out.split())


def test_the_report_is_complete_and_needs_no_other_file(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert analyze([study]) == 0
    pictures = {
        f"risk-{name}{suffix}" for name in ("rounds", "scaled", "bytes", "seconds") for suffix in (".png", ".pdf")
    }
    files = {path.name for path in study.iterdir() if path.suffix != ".h5"}
    assert files == pictures | {"report.html", "analysis.json", "table.txt"}
    page = (study / "report.html").read_text()
    markup = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)  # test_report.py tests the scripts
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)""", markup)
    assert markup.count("data:image/png;base64,") == 4
    assert page.count("quantization eigenvalue_decay=2") >= 2
    assert "mpi-fed run synthetic.toml" in page
    assert json.loads((study / "analysis.json").read_text())["configurations"][0]["verdict"] == "VALID"
    assert "none eigenvalue_decay=1" in (study / "table.txt").read_text()


def test_a_label_cannot_inject_markup(
    tmp_path: Path, theory: dict[str, Forecast], no_pictures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    write_log(tmp_path / "a.h5", label="<script>alert(1)</script>")
    assert analyze([tmp_path]) == 0
    assert "<script" not in (tmp_path / "report.html").read_text()


def test_out_is_the_folder_of_the_report_and_json_alone_writes_no_file(
    study: Path, no_pictures: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert analyze([study], json=True) == 0
    assert all(path.suffix == ".h5" for path in study.iterdir())
    assert analyze([study], json=True, out=tmp_path / "new" / "place") == 0
    assert (tmp_path / "new" / "place" / "report.html").is_file()
    assert all(path.suffix == ".h5" for path in study.iterdir())


def test_a_failed_report_leaves_the_previous_report(
    study: Path, no_pictures: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert analyze([study]) == 0
    before = {path: path.read_bytes() for path in study.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mpi_fed.analysis.page.write_report", full)
    with pytest.raises(InputError, match=r"cannot write the report \(No space left on device\)"):
        analyze([study], target=1.0)
    assert {path: path.read_bytes() for path in study.iterdir()} == before


def test_a_folder_that_cannot_be_written_is_reported(study: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file: cannot write the report .*; give another folder with --out DIR"):
        analyze([study], out=tmp_path / "file")


def test_logs_without_curves_still_give_a_report(
    tmp_path: Path, theory: dict[str, Forecast], capsys: pytest.CaptureFixture[str]
) -> None:
    write_log(tmp_path / "a.h5", reached=[0, 0, 0], status="running")
    assert analyze([tmp_path]) == 0
    assert "<img" not in (tmp_path / "report.html").read_text()


def test_panels_split_by_problem_and_series_by_compressor(study: Path) -> None:
    logs = [read_log(path) for path in sorted(study.glob("*.h5"))]
    shown = series.pictures(logs, [Forecast()] * 4)
    assert shown.names == ["none", "quantization"]
    assert [panel.title for panel in shown.panels] == ["eigenvalue_decay = 1", "eigenvalue_decay = 2"]
    assert [[entry.name_index for entry in panel.series] for panel in shown.panels] == [[0, 1], [0, 1]]


def test_a_curve_is_the_mean_with_the_10th_to_90th_percentile(tmp_path: Path) -> None:
    risk = np.arange(1.0, 12.0)[:, None] * power_law(ROUNDS)
    write_log(tmp_path / "a.h5", tables(study={"repetitions": list(range(11))}), risk)
    curve = series.curve(read_log(tmp_path / "a.h5"), Forecast(power_law(ROUNDS, 6), "exact", 1.0))
    assert curve.low is not None
    assert curve.high is not None
    assert curve.theory is not None
    np.testing.assert_allclose(curve.mean, 6 * power_law(ROUNDS)[1:])
    np.testing.assert_allclose(curve.low, 2 * power_law(ROUNDS)[1:])
    np.testing.assert_allclose(curve.high, 10 * power_law(ROUNDS)[1:])
    np.testing.assert_allclose(curve.bytes, ROUNDS[1:] * N * PAYLOAD)
    np.testing.assert_allclose(curve.theory, curve.mean)


def test_the_curve_of_a_running_study_ends_with_its_shortest_repetition(tmp_path: Path) -> None:
    write_log(tmp_path / "a.h5", reached=[120, 80, 0], status="running")
    assert len(series.curve(read_log(tmp_path / "a.h5"), Forecast()).mean) == 79
