"""mpi_fed.analysis on logs with known contents: reading, JSON, verdicts, table, pictures, report."""

import json
import math
import re
import subprocess
import sys

import h5py
import numpy as np
import pytest
from support.synthetic_log import BITS, PAYLOAD, RANKS, points, power_law, tables, write_log

from mpi_fed.analysis import analyze, figures, load, series, summary_table
from mpi_fed.analysis import command as analysis_command
from mpi_fed.analysis.prediction import Forecast
from mpi_fed.errors import InputError

K, D, N, R = 1000, 10, 2, 3
ROUNDS = points(K)
NOISE = np.array([0.9, 1.0, 1.1])[:, None]
"""Three repetitions around their mean: standard error 0.1/sqrt(3)."""
KEYS = {
    *("compressor", "algorithm", "problem", "route", "clients", "rounds", "repetitions"),
    *("excess_risk_averaged", "predicted_excess_risk_averaged", "prediction_kind", "z", "slope", "uplink"),
    *("downlink_bytes", "downlink_reduction_factor", "reduction_factor"),
    *("rounds_to_target", "bytes_to_target", "seconds_to_target"),
    *("heterogeneity_penalty", "bias", "decomposition", "variance_ratio", "verdict", "reasons"),
}


@pytest.fixture
def theory(monkeypatch):
    """Predictions set by the test: by label, else none."""
    known = {}
    monkeypatch.setattr(analysis_command, "forecast", lambda log: known.get(log.label, Forecast()))
    return known


@pytest.fixture
def analysed(theory, capsys):
    """analyze --json as a function that returns the object."""

    def run(*paths, **options):
        assert analyze(paths, json=True, **options) == 0
        return json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))

    return run


# --- reading ---------------------------------------------------------------------------------------------


def test_a_log_is_read_as_written(tmp_path):
    written = write_log(tmp_path / "a.h5", averages=np.ones((R, D)), label="quantization levels=1", omega=3.0)
    log = load(tmp_path / "a.h5")
    for name in ("round", "repetition", "excess_risk_averaged", "uplink_information_bits", "wall_seconds"):
        np.testing.assert_array_equal(getattr(log, name), written[name])
    assert (log.rounds, log.clients, log.dimension, log.label) == (K, N, D, "quantization levels=1")
    assert log.configuration == tables()
    assert log.attributes["omega"] == 3.0
    assert log.complete.all()
    assert not log.diverged.any()
    np.testing.assert_array_equal(log.final_average(), np.ones((R, D)))
    np.testing.assert_array_equal(log.dataset("phase_seconds"), written["phase_seconds"])
    assert log.dataset("iterate") is None


def test_the_last_average_of_a_log_with_all_iterates(tmp_path):
    write_log(tmp_path / "a.h5")
    iterates = np.random.default_rng(0).standard_normal((R, len(ROUNDS), D))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["iterate_averaged"] = iterates
    np.testing.assert_array_equal(load(tmp_path / "a.h5").final_average(), iterates[:, -1])


def test_a_torn_write_counts_what_every_dataset_has(tmp_path):
    write_log(tmp_path / "a.h5", reached=[len(ROUNDS), 100, 0])
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["uplink_payload_bytes"][1, 99] = -1
    log = load(tmp_path / "a.h5")
    assert log.reached.tolist() == [len(ROUNDS), 99, 0]
    assert log.complete.tolist() == [True, False, False]


def test_a_repetition_counts_only_once_it_is_marked_complete(tmp_path):
    write_log(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["repetition_status"][...] = [0, 1, 2]
    log = load(tmp_path / "a.h5")
    assert log.complete.tolist() == [False, True, False]
    assert log.diverged.tolist() == [False, False, True]
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["repetition_status"]
    assert load(tmp_path / "a.h5").complete.all()


def test_a_log_that_is_being_written_can_be_read(tmp_path):
    write_log(tmp_path / "a.h5", status="running")
    code = f"import h5py; f = h5py.File({str(tmp_path / 'a.h5')!r}, 'a'); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) as writer:
        writer.stdout.readline()
        assert load(tmp_path / "a.h5").status == "running"
        writer.communicate(b"\n", timeout=20)


def spoil(path, how):
    """Make the sound log at `path` unsound."""
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
        ("version", "format_version 2; this version reads 1"),
        ("missing dataset", "dataset wall_seconds is missing"),
        ("shape", r"excess_risk has shape \(2, 2\), not \(3, "),
        ("configuration", "a damaged log"),
        ("no compressor", "no table compressor"),
        ("text", "damaged or no HDF5 file"),
        ("truncated", "damaged or no HDF5 file"),
        ("absent", "no such file"),
    ],
)
def test_an_unsound_log_is_named_and_the_others_are_analysed(tmp_path, theory, capsys, how, message):
    write_log(tmp_path / "good.h5", label="good")
    write_log(tmp_path / "bad.h5")
    spoil(tmp_path / "bad.h5", how)
    assert analyze([tmp_path / "bad.h5", tmp_path / "good.h5"], json=True) == 0
    printed = capsys.readouterr()
    assert [entry["label"] for entry in json.loads(printed.out)["configurations"]] == ["good"]
    assert printed.err.count("\n") == 1
    assert str(tmp_path / "bad.h5") in printed.err
    assert re.search(message, printed.err)
    assert analyze([tmp_path / "bad.h5"], json=True) == 2
    assert capsys.readouterr().out == ""


def test_a_folder_without_logs_is_named(tmp_path, capsys):
    assert analyze([tmp_path]) == 2
    assert capsys.readouterr().err == (
        f"mpi-fed: {tmp_path}: no log (*.h5) in this folder; give a folder that mpi-fed run wrote\n"
    )


def test_folders_are_searched_and_the_order_is_that_of_the_grid(tmp_path, analysed):
    for position, name in enumerate("cab"):
        write_log(tmp_path / "study" / f"{name}.h5", label=name, position=position)
    found = analysed(tmp_path, tmp_path / "study" / "a.h5")
    assert [entry["label"] for entry in found["configurations"]] == ["c", "a", "b"]


# --- the JSON object -------------------------------------------------------------------------------------


def test_the_object_by_hand(tmp_path, theory, analysed):
    errors = np.array([[1.0], [2.0], [3.0]]) * np.eye(1, D)
    write_log(tmp_path / "a.h5", risk=NOISE * power_law(ROUNDS), averages=1 + errors, label="a")
    theory["a"] = Forecast(power_law(ROUNDS, 0.5), "exact", 1.0)
    found = analysed(tmp_path)
    entry = found["configurations"][0]
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


def test_the_default_target_is_a_tenth_above_the_worst_and_costs_are_read_off_there(tmp_path, analysed):
    compressor = {"kind": "none", "value_bits": 32}
    write_log(tmp_path / "a.h5", risk=NOISE * power_law(ROUNDS), label="a")
    write_log(
        tmp_path / "b.h5", tables(compressor=compressor), NOISE * power_law(ROUNDS, 3), payload=40, label="b"
    )
    found = analysed(tmp_path)
    target = 1.1 * 3 / K
    assert found["target_excess_risk"] == pytest.approx(target)
    for entry, scale, payload in zip(found["configurations"], (1, 3), (PAYLOAD, 40), strict=True):
        first = int(ROUNDS[scale / target <= ROUNDS][0])
        assert entry["rounds_to_target"] == first
        assert entry["bytes_to_target"] == first * N * payload
        assert entry["seconds_to_target"] == pytest.approx(first * 1e-5)
        interval = entry["rounds_to_target_interval"]
        assert interval["low"] <= first
        assert interval["high"] is None or interval["high"] >= first


def test_what_blows_up_sets_no_target(tmp_path, analysed):
    write_log(tmp_path / "a.h5", risk=power_law(ROUNDS))
    write_log(tmp_path / "b.h5", risk=power_law(ROUNDS, slope=30))
    assert analysed(tmp_path / "b.h5")["target_excess_risk"] == pytest.approx(1.1 * 1e90)
    assert analysed(tmp_path)["target_excess_risk"] == pytest.approx(1.1 / K)


def test_a_target_that_is_never_reached(tmp_path, analysed):
    write_log(tmp_path / "a.h5")
    found = analysed(tmp_path, target=1e-9)
    assert found["target_excess_risk"] == 1e-9
    entry = found["configurations"][0]
    assert [entry[f"{name}_to_target"] for name in ("rounds", "bytes", "seconds")] == [None, None, None]


@pytest.mark.parametrize("target", [0.0, -1.0, math.nan, math.inf])
def test_an_impossible_target_is_refused(tmp_path, target):
    with pytest.raises(InputError, match=r"--target .*: must be a positive number"):
        analyze([tmp_path], target=target)


def test_one_repetition_has_a_mean_and_nothing_that_needs_a_spread(tmp_path, theory, analysed):
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


def test_the_heterogeneity_penalty_is_the_ratio_to_the_homogeneous_twin(tmp_path, analysed):
    write_log(
        tmp_path / "a.h5", tables(problem={"shift": "optimum", "optimum_spread": 3.0}), power_law(ROUNDS, 6)
    )
    write_log(tmp_path / "b.h5", risk=power_law(ROUNDS, 2))
    write_log(tmp_path / "c.h5", tables(problem={"shift": "both"}, study={"clients": 3}))
    found = [entry["heterogeneity_penalty"] for entry in analysed(tmp_path)["configurations"]]
    assert found == [pytest.approx(3), None, None]


# --- verdicts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "verdict"), [("exact", "INVALID"), ("approximate", "VALID")])
def test_only_an_exact_prediction_decides_the_verdict(tmp_path, theory, analysed, kind, verdict):
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


def test_a_prediction_that_cannot_be_had_is_noted(tmp_path, theory, analysed):
    write_log(tmp_path / "a.h5", label="a")
    theory["a"] = Forecast(note="no prediction: the data are elsewhere")
    entry = analysed(tmp_path)["configurations"][0]
    assert entry["predicted_excess_risk_averaged"] is None
    assert entry["notes"] == ["no prediction: the data are elsewhere"]
    assert entry["verdict"] == "VALID"


def test_a_plugins_configuration_has_no_prediction(tmp_path):
    from mpi_fed.analysis.prediction import forecast

    write_log(tmp_path / "a.h5", tables(compressor={"kind": "of-a-plugin"}))
    assert "of-a-plugin" in forecast(load(tmp_path / "a.h5")).note


def test_a_killed_run_counts_the_repetitions_that_reached_the_end(tmp_path, analysed):
    reached = [len(ROUNDS), int(np.searchsorted(ROUNDS, 100)) + 1, 0]
    write_log(tmp_path / "a.h5", risk=NOISE * power_law(ROUNDS), reached=reached, status="running")
    entry = analysed(tmp_path)["configurations"][0]
    assert entry["repetitions"] == 1
    assert entry["excess_risk_averaged"]["mean"] == pytest.approx(0.9 / K)
    assert entry["verdict"] == "INVALID"
    assert entry["reasons"] == [
        "1 of 3 repetitions reached round 1000 (seed 1: round 100, seed 2: not started); run the study again"
    ]


def test_nothing_but_null_where_no_repetition_reached_the_end(tmp_path, analysed):
    write_log(tmp_path / "a.h5", reached=[50, 0, 0], status="interrupted")
    found = analysed(tmp_path)
    entry = found["configurations"][0]
    assert found["target_excess_risk"] is None
    assert entry["repetitions"] == 0
    assert entry["excess_risk_averaged"] == {"mean": None, "standard_error": None}
    assert entry["uplink"]["payload_bytes"] is None
    assert entry["rounds_to_target"] is None
    assert summary_table.rounds(entry) == "-"
    assert summary_table.rounds({**entry, "excess_risk_averaged": {"mean": 1.0}}) == "not reached"
    assert entry["slope"] is None


def test_a_diverged_repetition_leaves_no_mean(tmp_path, analysed):
    write_log(tmp_path / "a.h5", reached=[len(ROUNDS), 60, len(ROUNDS)], status="diverged")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["excess_risk"][1, 59] = file["excess_risk_averaged"][1, 59] = np.inf
    entry = analysed(tmp_path)["configurations"][0]
    assert entry["excess_risk_averaged"]["mean"] is None
    assert entry["reasons"] == ["1 of 3 repetitions diverged"]


@pytest.mark.parametrize(("route", "verdict"), [("tree-reduce", "VALID"), ("tree", "INVALID")])
def test_routes_that_add_up_transport_less_than_was_packed(tmp_path, analysed, route, verdict):
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
def test_contradictory_numbers_are_invalid(tmp_path, analysed, dataset, change, reason):
    write_log(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file[dataset][...] = np.where(file[dataset][()] == 0, 0, change(file[dataset][()]))
    entry = analysed(tmp_path)["configurations"][0]
    assert entry["verdict"] == "INVALID"
    assert any(text.startswith(reason) for text in entry["reasons"])


# --- table, pictures, report -----------------------------------------------------------------------------


@pytest.fixture
def no_pictures(monkeypatch):
    """Reports without pictures, which take seconds."""
    monkeypatch.setattr(figures, "draw", lambda pictures, folder: [])


@pytest.fixture
def study(tmp_path, theory):
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


def test_the_table_fits_80_columns(study, no_pictures, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert analyze([study]) == 0
    lines = capsys.readouterr().out.splitlines()[:-1]  # the last one is the report's path
    assert max(map(len, lines)) <= 80
    for text in ("1.00e-03 ±6%", "-1.00 ±0.00", "VALID", "13/16/16 kB", "6.15/5/5", "0.5/0.25", "slope"):
        assert any(text in line for line in lines), text


def test_the_table_is_one_where_there_is_room(study, no_pictures, capsys, monkeypatch):
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


def test_a_rank_prints_plainly_whatever_its_standard_output_seems_to_be(
    study, no_pictures, capsys, monkeypatch
):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("MPI_FED_TERMINAL_WIDTH", "260")
    assert analyze([study]) == 0
    printed = capsys.readouterr().out
    assert printed.count("configuration") == 1
    assert "\x1b" not in printed


def test_the_table_says_what_is_wrong(tmp_path, theory, no_pictures, capsys):
    write_log(tmp_path / "a.h5", risk=power_law(ROUNDS, slope=-0.9), reached=[len(ROUNDS), 0, 0], label="a")
    assert analyze([tmp_path]) == 0
    assert "INVALID a: 1 of 3 repetitions reached round 1000" in " ".join(capsys.readouterr().out.split())


def test_the_report_is_whole_and_needs_nothing_else(study, capsys):
    assert analyze([study]) == 0
    pictures = {
        f"risk-{name}{suffix}"
        for name in ("rounds", "scaled", "bytes", "seconds")
        for suffix in (".png", ".pdf")
    }
    files = {path.name for path in study.iterdir() if path.suffix != ".h5"}
    assert files == pictures | {"report.html", "analysis.json", "table.txt"}
    page = (study / "report.html").read_text()
    markup = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)  # tests/test_report.py looks at these
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)""", markup)
    assert markup.count("data:image/png;base64,") == 4
    assert page.count("quantization eigenvalue_decay=2") >= 2
    assert "mpi-fed run synthetic.toml" in page
    assert json.loads((study / "analysis.json").read_text())["configurations"][0]["verdict"] == "VALID"
    assert "none eigenvalue_decay=1" in (study / "table.txt").read_text()


def test_a_label_cannot_inject_markup(tmp_path, theory, no_pictures, capsys):
    write_log(tmp_path / "a.h5", label="<script>alert(1)</script>")
    assert analyze([tmp_path]) == 0
    assert "<script" not in (tmp_path / "report.html").read_text()


def test_out_takes_the_report_and_json_alone_writes_nothing(study, no_pictures, tmp_path, capsys):
    assert analyze([study], json=True) == 0
    assert all(path.suffix == ".h5" for path in study.iterdir())
    assert analyze([study], json=True, out=tmp_path / "new" / "place") == 0
    assert (tmp_path / "new" / "place" / "report.html").is_file()
    assert all(path.suffix == ".h5" for path in study.iterdir())


def test_a_report_that_fails_leaves_the_one_before(study, no_pictures, monkeypatch, capsys):
    assert analyze([study]) == 0
    before = {path: path.read_bytes() for path in study.iterdir()}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mpi_fed.analysis.page.write_report", full)
    with pytest.raises(InputError, match=r"cannot write the report \(No space left on device\)"):
        analyze([study], target=1.0)
    assert {path: path.read_bytes() for path in study.iterdir()} == before


def test_a_folder_that_cannot_be_written_is_named(study, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file: cannot write the report .*; give --out DIR"):
        analyze([study], out=tmp_path / "file")


def test_nothing_to_draw_still_gives_a_report(tmp_path, theory, capsys):
    write_log(tmp_path / "a.h5", reached=[0, 0, 0], status="running")
    assert analyze([tmp_path]) == 0
    assert "<img" not in (tmp_path / "report.html").read_text()


def test_panels_split_by_problem_and_series_by_compressor(study):
    logs = [load(path) for path in sorted(study.glob("*.h5"))]
    shown = series.pictures(logs, [Forecast()] * 4)
    assert shown.names == ["none", "quantization"]
    assert [panel.title for panel in shown.panels] == ["eigenvalue_decay = 1", "eigenvalue_decay = 2"]
    assert [[entry.name for entry in panel.series] for panel in shown.panels] == [[0, 1], [0, 1]]


def test_a_curve_is_the_mean_with_the_10th_to_90th_percentile(tmp_path):
    risk = np.arange(1.0, 12.0)[:, None] * power_law(ROUNDS)
    write_log(tmp_path / "a.h5", tables(study={"repetitions": list(range(11))}), risk)
    curve = series.curve(load(tmp_path / "a.h5"), Forecast(power_law(ROUNDS, 6), "exact", 1.0))
    np.testing.assert_allclose(curve.mean, 6 * power_law(ROUNDS)[1:])
    np.testing.assert_allclose(curve.low, 2 * power_law(ROUNDS)[1:])
    np.testing.assert_allclose(curve.high, 10 * power_law(ROUNDS)[1:])
    np.testing.assert_allclose(curve.bytes, ROUNDS[1:] * N * PAYLOAD)
    np.testing.assert_allclose(curve.theory, curve.mean)


def test_a_running_curve_ends_where_its_shortest_repetition_does(tmp_path):
    write_log(tmp_path / "a.h5", reached=[120, 80, 0], status="running")
    assert len(series.curve(load(tmp_path / "a.h5"), Forecast()).mean) == 79


# --- what it imports -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_analysis_needs_no_mpi(tmp_path):
    write_log(tmp_path / "a.h5")
    code = (
        "import sys; sys.modules['mpi4py'] = None\n"
        "from mpi_fed.analysis import analyze, report\n"
        f"assert report({str(tmp_path)!r}) == 0\n"
        f"assert analyze([{str(tmp_path)!r}], json=True) == 0\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").is_file()


def test_importing_analysis_imports_nothing_heavy():
    heavy = "mpi4py numba scipy matplotlib h5py jinja2 rich sklearn"
    code = f"import mpi_fed.analysis, sys; print([name for name in {heavy.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "[]\n", done.stderr
