"""Verdicts of an analysis: reasons for INVALID, and notes that do not change the verdict."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from support.synthetic_log import NOISE, ROUNDS, K, power_law, tables, write_log

from mpi_fed.analysis import cells, read_log
from mpi_fed.analysis.document import Mean
from mpi_fed.analysis.prediction import Forecast
from mpi_fed.analysis.summary import summarise

Analysed = Callable[..., dict[str, Any]]
Change = Callable[[np.ndarray], np.ndarray]


@pytest.mark.parametrize(("kind", "verdict"), [("exact", "INVALID"), ("approximate", "VALID")])
def test_only_an_exact_prediction_decides_the_verdict(
    tmp_path: Path, theory: dict[str, Forecast], analysed: Analysed, kind: str, verdict: str
) -> None:
    noise = 1 + 0.1 * np.random.default_rng(0).standard_normal((20, 1))
    write_log(
        tmp_path / "a.h5",
        tables(study={"repetitions": list(range(20))}),
        noise * power_law(ROUNDS),
        label="a",
    )
    theory["a"] = Forecast(power_law(ROUNDS, 0.5), kind, 1.0)
    entry = analysed(tmp_path)["configurations"][0]
    assert entry["z"] > 10
    assert entry["p_value"] < 1e-6
    assert entry["verdict"] == verdict
    assert bool(entry["reasons"]) == (verdict == "INVALID")


def test_the_reason_for_a_missing_prediction_is_noted(
    tmp_path: Path, theory: dict[str, Forecast], analysed: Analysed
) -> None:
    write_log(tmp_path / "a.h5", label="a")
    theory["a"] = Forecast(note="no prediction: the data are elsewhere")
    entry = analysed(tmp_path)["configurations"][0]
    assert entry["predicted_excess_risk_averaged"] is None
    assert entry["notes"] == ["no prediction: the data are elsewhere"]
    assert entry["verdict"] == "VALID"


def test_a_plugins_configuration_has_no_prediction(tmp_path: Path) -> None:
    from mpi_fed.analysis.prediction import forecast

    write_log(tmp_path / "a.h5", tables(compressor={"kind": "of-a-plugin"}))
    assert "of-a-plugin" in (forecast(read_log(tmp_path / "a.h5")).note or "")


def test_a_killed_run_counts_the_repetitions_that_reached_the_end(tmp_path: Path, analysed: Analysed) -> None:
    reached = [len(ROUNDS), int(np.searchsorted(ROUNDS, 100)) + 1, 0]
    write_log(tmp_path / "a.h5", risk=NOISE * power_law(ROUNDS), reached=reached, status="running")
    entry = analysed(tmp_path)["configurations"][0]
    assert entry["repetitions"] == 1
    assert entry["excess_risk_averaged"]["mean"] == pytest.approx(0.9 / K)
    assert entry["verdict"] == "INVALID"
    assert entry["reasons"] == [
        "1 of 3 repetitions reached round 1000 (seed 1: round 100, seed 2: not started); run the study again"
    ]


def test_results_are_null_if_no_repetition_reached_the_end(tmp_path: Path, analysed: Analysed) -> None:
    write_log(tmp_path / "a.h5", reached=[50, 0, 0], status="interrupted")
    document = analysed(tmp_path)
    entry = document["configurations"][0]
    assert document["target_excess_risk"] is None
    assert entry["repetitions"] == 0
    assert entry["excess_risk_averaged"] == {"mean": None, "standard_error": None}
    assert entry["uplink"]["payload_bytes"] is None
    assert entry["rounds_to_target"] is None
    assert entry["slope"] is None
    (typed,) = summarise([read_log(tmp_path / "a.h5")], [Forecast()]).configurations
    assert cells.rounds(typed) == "-"
    assert cells.rounds(replace(typed, excess_risk_averaged=Mean(1.0, None))) == "not reached"


def test_a_diverged_repetition_leaves_no_mean(tmp_path: Path, analysed: Analysed) -> None:
    write_log(tmp_path / "a.h5", reached=[len(ROUNDS), 60, len(ROUNDS)], status="diverged")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["excess_risk"][1, 59] = file["excess_risk_averaged"][1, 59] = np.inf
    entry = analysed(tmp_path)["configurations"][0]
    assert entry["excess_risk_averaged"]["mean"] is None
    assert entry["reasons"] == ["1 of 3 repetitions diverged"]


@pytest.mark.parametrize(("route", "verdict"), [("tree-reduce", "VALID"), ("tree", "INVALID")])
def test_only_routes_that_add_up_may_transport_less_than_the_payload(
    tmp_path: Path, analysed: Analysed, route: str, verdict: str
) -> None:
    write_log(tmp_path / "a.h5", tables(route={"kind": route}))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["uplink_transported_bytes"][...] //= 2
    assert analysed(tmp_path)["configurations"][0]["verdict"] == verdict


@pytest.mark.parametrize(
    ("dataset", "change", "reason"),
    [
        ("uplink_payload_bytes", lambda a: a // 2, "fewer payload bytes than information bits / 8"),
        ("uplink_transported_bytes", lambda a: a - 1, "fewer transported bytes than payload bytes"),
        ("uplink_information_bits", lambda a: a[:, ::-1], "uplink_information_bits falls"),
        ("downlink_transported_bytes", lambda a: a[:, ::-1], "downlink_transported_bytes falls"),
        ("client_uplink_payload_bytes", lambda a: a + 1, "the clients' payload bytes do not add up"),
        ("message_count", lambda a: a + 1, "the message sizes do not add up"),
        ("excess_risk_averaged", lambda a: -a, "a negative excess risk"),
    ],
)
def test_contradictory_numbers_are_invalid(
    tmp_path: Path, analysed: Analysed, dataset: str, change: Change, reason: str
) -> None:
    write_log(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file[dataset][...] = np.where(file[dataset][()] == 0, 0, change(file[dataset][()]))
    entry = analysed(tmp_path)["configurations"][0]
    assert entry["verdict"] == "INVALID"
    assert any(text.startswith(reason) for text in entry["reasons"])
