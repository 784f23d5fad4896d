"""The command `mpi-fed analyze`: JSON object, target, unreadable logs, and imports."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from support.synthetic_log import BITS, NOISE, PAYLOAD, RANKS, ROUNDS, D, K, N, R, power_law, tables, write_log

from mpi_fed.analysis import analyze
from mpi_fed.analysis.prediction import Forecast
from mpi_fed.errors import InputError

Analysed = Callable[..., dict[str, Any]]
KEYS = {
    *("compressor", "algorithm", "problem", "route", "clients", "rounds", "repetitions"),
    *("excess_risk_averaged", "predicted_excess_risk_averaged", "prediction_kind", "z", "slope", "uplink"),
    *("downlink_bytes", "downlink_reduction_factor", "reduction_factor"),
    *("rounds_to_target", "bytes_to_target", "seconds_to_target"),
    *("heterogeneity_penalty", "bias", "decomposition", "variance_ratio", "verdict", "reasons"),
}


def damage(path: Path, how: str) -> None:
    """Make the log at `path` unreadable."""
    with h5py.File(path, "a") as file:
        if how == "foreign":
            file.attrs["format"] = "something else"
        elif how == "version":
            file.attrs["format_version"] = 2
        elif how == "missing dataset":
            del file["wall_seconds"]
        elif how == "shape":
            del file["excess_risk"]
            file["excess_risk"] = np.ones((2, 2))
        elif how == "configuration":
            file.attrs["configuration"] = "{"
        elif how == "no compressor":
            file.attrs["configuration"] = json.dumps({**tables(), "compressor": []})
    if how == "text":
        path.write_text("no HDF5\n")
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:3000])
    elif how == "absent":
        path.unlink()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("foreign", "format is not 'mpi-fed log'"),
        ("version", "format_version 2, but this mpi-fed reads 1"),
        ("missing dataset", "dataset wall_seconds is missing"),
        ("shape", r"excess_risk has shape \(2, 2\), but must have shape \(3, "),
        ("configuration", "the log is damaged"),
        ("no compressor", r"no table \[compressor\]"),
        ("text", "the file is damaged or is not an HDF5 file"),
        ("truncated", "the file is damaged or is not an HDF5 file"),
        ("absent", "no such file"),
    ],
)
def test_an_unreadable_log_is_reported_and_the_others_are_analysed(
    tmp_path: Path, theory: dict[str, Forecast], capsys: pytest.CaptureFixture[str], how: str, message: str
) -> None:
    write_log(tmp_path / "good.h5", label="good")
    write_log(tmp_path / "bad.h5")
    damage(tmp_path / "bad.h5", how)
    assert analyze([tmp_path / "bad.h5", tmp_path / "good.h5"], json=True) == 0
    printed = capsys.readouterr()
    assert [entry["label"] for entry in json.loads(printed.out)["configurations"]] == ["good"]
    assert printed.err.count("\n") == 1
    assert str(tmp_path / "bad.h5") in printed.err
    assert re.search(message, printed.err)
    assert analyze([tmp_path / "bad.h5"], json=True) == 2
    assert capsys.readouterr().out == ""


def test_a_folder_without_logs_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert analyze([tmp_path]) == 2
    assert capsys.readouterr().err == (
        f"mpi-fed: {tmp_path}: no log (*.h5) in this folder; give a folder that mpi-fed run wrote\n"
    )


def test_folders_are_searched_and_logs_come_in_the_order_of_the_grid(tmp_path: Path, analysed: Analysed) -> None:
    for position, name in enumerate("cab"):
        write_log(tmp_path / "study" / f"{name}.h5", label=name, position=position)
    document = analysed(tmp_path, tmp_path / "study" / "a.h5")
    assert [entry["label"] for entry in document["configurations"]] == ["c", "a", "b"]


def test_the_json_object_has_the_values_computed_by_hand(
    tmp_path: Path, theory: dict[str, Forecast], analysed: Analysed
) -> None:
    errors = np.array([[1.0], [2.0], [3.0]]) * np.eye(1, D)
    write_log(tmp_path / "a.h5", risk=NOISE * power_law(ROUNDS), averages=1 + errors, label="a")
    theory["a"] = Forecast(power_law(ROUNDS, 0.5), "exact", 1.0)
    document = analysed(tmp_path)
    entry = document["configurations"][0]
    assert entry.keys() >= KEYS
    assert {name: entry[name] for name in ("compressor", "algorithm", "problem", "route")} == {
        name: tables()[name] for name in ("compressor", "algorithm", "problem", "route")
    }
    assert (entry["clients"], entry["rounds"], entry["repetitions"]) == (N, K, R)
    error = 0.1 / math.sqrt(3) / K
    assert entry["excess_risk_averaged"] == pytest.approx({"mean": 1 / K, "standard_error": error})
    assert entry["predicted_excess_risk_averaged"] == pytest.approx(0.5 / K)
    assert entry["prediction_kind"] == "exact"
    assert entry["z"] == pytest.approx(0.5 / K / error)
    assert entry["variance_ratio"] == pytest.approx(2)
    slope = {"estimate": -1, "low": -1, "high": -1, "confidence": 0.95, "first_round": 100, "last_round": K}
    assert entry["slope"] == pytest.approx({**slope, "predicted": -1})
    messages = N * K
    assert entry["uplink"] == {
        "information_bits": messages * BITS,
        "payload_bytes": messages * PAYLOAD,
        "transported_bytes": messages * PAYLOAD,
    }
    assert entry["downlink_bytes"] == K * D * 8 * RANKS
    assert entry["downlink_reduction_factor"] == {"float32": 0.5, "float16": 0.25}
    assert entry["reduction_factor"] == {
        "float32": pytest.approx({"information": 40 / 6.5, "payload": 5, "transported": 5}),
        "float16": pytest.approx({"information": 20 / 6.5, "payload": 2.5, "transported": 2.5}),
    }
    # errors 1, 2, 3 along one axis: mean 2, mean square 14/3; inner products 2, 3, 6
    assert entry["bias"] == pytest.approx({"norm_ratio": 2 / math.sqrt(14 / 3), "z": 11 / 7})
    assert (entry["heterogeneity_reference"], entry["heterogeneity_penalty"]) == (True, None)
    assert entry["reduction_factor_relative_error"] == 0


def test_the_default_target_is_a_tenth_above_the_worst_mean_and_gives_the_costs(
    tmp_path: Path, analysed: Analysed
) -> None:
    compressor = {"kind": "none", "value_bits": 32}
    write_log(tmp_path / "a.h5", risk=NOISE * power_law(ROUNDS), label="a")
    write_log(tmp_path / "b.h5", tables(compressor=compressor), NOISE * power_law(ROUNDS, 3), payload=40, label="b")
    document = analysed(tmp_path)
    target = 1.1 * 3 / K
    assert document["target_excess_risk"] == pytest.approx(target)
    for entry, scale, payload in zip(document["configurations"], (1, 3), (PAYLOAD, 40), strict=True):
        first = int(ROUNDS[scale / target <= ROUNDS][0])
        assert entry["rounds_to_target"] == first
        assert entry["bytes_to_target"] == first * N * payload
        assert entry["seconds_to_target"] == pytest.approx(first * 1e-5)
        interval = entry["rounds_to_target_interval"]
        assert interval["low"] <= first
        assert interval["high"] is None or interval["high"] >= first


def test_a_growing_risk_does_not_set_the_target(tmp_path: Path, analysed: Analysed) -> None:
    write_log(tmp_path / "a.h5", risk=power_law(ROUNDS))
    write_log(tmp_path / "b.h5", risk=power_law(ROUNDS, slope=30))
    assert analysed(tmp_path / "b.h5")["target_excess_risk"] == pytest.approx(1.1 * 1e90)
    assert analysed(tmp_path)["target_excess_risk"] == pytest.approx(1.1 / K)


def test_costs_are_null_if_the_target_is_never_reached(tmp_path: Path, analysed: Analysed) -> None:
    write_log(tmp_path / "a.h5")
    document = analysed(tmp_path, target=1e-9)
    assert document["target_excess_risk"] == 1e-9
    entry = document["configurations"][0]
    assert [entry[f"{name}_to_target"] for name in ("rounds", "bytes", "seconds")] == [None, None, None]


@pytest.mark.parametrize("target", [0.0, -1.0, math.nan, math.inf])
def test_an_impossible_target_is_refused(tmp_path: Path, target: float) -> None:
    with pytest.raises(InputError, match=r"--target .*: must be a positive number"):
        analyze([tmp_path], target=target)


def test_one_repetition_has_a_mean_but_no_standard_error(
    tmp_path: Path, theory: dict[str, Forecast], analysed: Analysed
) -> None:
    write_log(tmp_path / "a.h5", tables(study={"repetitions": [7]}), averages=np.ones((1, D)), label="a")
    theory["a"] = Forecast(power_law(ROUNDS, 9), "exact", 1.0)
    entry = analysed(tmp_path)["configurations"][0]
    assert entry["excess_risk_averaged"] == {"mean": pytest.approx(1 / K), "standard_error": None}
    assert (entry["z"], entry["p_value"], entry["slope"]["low"], entry["verdict"]) == (
        None,
        None,
        None,
        "VALID",
    )
    assert entry["bias"] == {"norm_ratio": None, "z": None}


def test_the_heterogeneity_penalty_is_the_ratio_to_the_homogeneous_reference(
    tmp_path: Path, analysed: Analysed
) -> None:
    write_log(tmp_path / "a.h5", tables(problem={"shift": "optimum", "optimum_spread": 3.0}), power_law(ROUNDS, 6))
    write_log(tmp_path / "b.h5", risk=power_law(ROUNDS, 2))
    write_log(tmp_path / "c.h5", tables(problem={"shift": "both"}, study={"clients": 3}))
    penalties = [entry["heterogeneity_penalty"] for entry in analysed(tmp_path)["configurations"]]
    assert penalties == [pytest.approx(3), None, None]


@pytest.mark.slow
def test_analysis_needs_no_mpi(tmp_path: Path) -> None:
    write_log(tmp_path / "a.h5")
    code = (
        "import sys; sys.modules['mpi4py'] = None\n"
        "from mpi_fed.analysis import analyze, report\n"
        f"assert report({str(tmp_path)!r}) == 0\n"
        f"assert analyze([{str(tmp_path)!r}], json=True) == 0\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").is_file()


def test_importing_analysis_imports_nothing_heavy() -> None:
    heavy = "mpi4py numba scipy matplotlib h5py jinja2 rich sklearn"
    code = f"import mpi_fed.analysis, sys; print([name for name in {heavy.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "[]\n", done.stderr
