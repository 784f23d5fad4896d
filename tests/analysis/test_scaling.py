"""`mpi-fed scaling`: from logs with known times come the speed-ups that follow by hand."""

from __future__ import annotations

import io
import json
import math
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from rich.console import Console
from scipy import stats
from support import command
from support.synthetic_log import points, tables, write_log

from mpi_fed.analysis import load
from mpi_fed.analysis.scaling import table as scaling_table
from mpi_fed.analysis.scaling.command import scaling
from mpi_fed.analysis.scaling.points import cores_of, launch_of, numbers, seconds_a_round
from mpi_fed.cli.main import main
from mpi_fed.engine import compile_switch
from mpi_fed.log.schema import PHASES

STUDIES = Path(__file__).parents[2] / "studies" / "scaling"
ROUNDS = points(1000)
SEEDS = 3
CORES = {"host_names": '["a"]', "rank_cores": '{"a": {"0-7": "0-3"}}', "cpu": '["A"]', "package_version": "1"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compile_switch, "compile_kernels", compile_switch.compile_kernels)
    return tmp_path


def write(path, ranks, clients, seconds, phases=None, average=1.0, tables_of=None, **attributes):
    """A log of so many seconds a round, one number or one for each repetition; phases (7, 3) in seconds."""
    made = tables(**{**(tables_of or {}), "study": {"clients": clients, "rounds": 1000}})
    averages = None if average is None else np.full((SEEDS, 10), average)
    write_log(Path(path), made, averages=averages, ranks=str(ranks), **{**CORES, **attributes})
    with h5py.File(path, "a") as file:
        file["wall_seconds"][...] = ROUNDS * np.broadcast_to(seconds, SEEDS)[:, None]
        if phases is not None:
            file["phase_seconds"][...] = phases
    return path


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]):
    """The JSON object of `mpi-fed scaling` on these paths."""

    def run(*paths, status=0):
        assert scaling(paths, json=True) == status
        return json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]):
    """The sentence with which `mpi-fed scaling` refuses these paths."""

    def run(*paths):
        assert main(["scaling", *map(str, paths)]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        return printed.err

    return run


def column(group, *keys):
    """One figure of every number of ranks."""
    found = group["points"]
    for key in keys:
        found = [one[key] for one in found]
    return found


# --- figures ---------------------------------------------------------------------------------------------


def test_the_same_clients_on_more_ranks(told) -> None:
    for ranks, seconds in ((4, 2.5e-6), (1, 8e-6), (2, 4e-6)):
        write(f"{ranks}.h5", ranks, 8, seconds)
    found = told(".")
    (group,) = found["groups"]
    assert (group["kind"], group["name"], group["clients"]) == ("strong", "quantization levels=1", 8)
    assert column(group, "ranks") == [1, 2, 4]
    assert column(group, "seconds_a_round", "estimate") == pytest.approx([8e-6, 4e-6, 2.5e-6], rel=1e-12)
    assert column(group, "speed_up", "estimate") == pytest.approx([1, 2, 3.2], rel=1e-12)
    assert column(group, "efficiency", "estimate") == pytest.approx([1, 1, 0.8], rel=1e-12)
    assert column(group, "speed_up", "low")[1:] == pytest.approx([2, 3.2], rel=1e-9), "all repetitions are alike"
    assert group["iterates"] == {"verdict": "equal", "repetitions": 3, "difference": 0.0}
    assert found["verdict"] == "VALID"


def test_as_many_clients_on_each_rank(told) -> None:
    for ranks, seconds in ((2, 4e-6), (4, 5e-6), (16, 8e-6)):
        write(f"{ranks}.h5", ranks, 3 * ranks, seconds)
    (group,) = told(".")["groups"]
    assert (group["kind"], group["clients_a_rank"], group["iterates"]) == ("weak", 3, None)
    assert column(group, "efficiency", "estimate") == pytest.approx([1, 0.8, 0.5], rel=1e-12)
    assert column(group, "speed_up", "estimate") == pytest.approx([1, 1.6, 4], rel=1e-12)


def test_a_log_may_be_of_both_kinds_and_one_of_neither_is_named(told) -> None:
    for ranks, clients in ((1, 4), (2, 4), (2, 8), (8, 9)):
        write(f"{ranks}-{clients}.h5", ranks, clients, 1e-6)
    found = told(".")
    assert [(group["kind"], column(group, "clients")) for group in found["groups"]] == [
        ("strong", [4, 4]),
        ("weak", [4, 8]),
    ]
    assert found["left_out"] == ["8-9.h5"]


def test_the_interval_is_welchs_of_the_logarithms(told) -> None:
    one, two = np.array([8e-6, 9e-6, 8.5e-6]), np.array([4e-6, 4.4e-6, 4.1e-6])
    write("1.h5", 1, 8, one)
    write("2.h5", 2, 8, two)
    (group,) = told(".")["groups"]
    test = stats.ttest_ind(np.log(one), np.log(two), equal_var=False).confidence_interval(0.95)
    point = group["points"][1]
    assert [point["speed_up"][end] for end in ("low", "high")] == pytest.approx(np.exp(test), rel=1e-9)
    assert point["efficiency"]["low"] == pytest.approx(point["speed_up"]["low"] / 2, rel=1e-12)
    mean = stats.ttest_1samp(np.log(two), 0).confidence_interval(0.95)
    assert [point["seconds_a_round"][end] for end in ("low", "high")] == pytest.approx(np.exp(mean), rel=1e-9)
    assert set(column(group, "uncertainty")) == {"within a launch"}


def test_several_launches_count_by_their_means_and_copies_once(told) -> None:
    write("1.h5", 1, 8, 8e-6)
    write("1-again.h5", 1, 8, 9e-6)
    shutil.copy("1.h5", "copy.h5")
    write("2.h5", 2, 8, [4e-6, 5e-6, 6e-6])
    write("2-again.h5", 2, 8, 4e-6)
    (group,) = told(".")["groups"]
    assert column(group, "launches") == [2, 2]
    assert column(group, "repetitions") == [6, 6]
    means = [math.sqrt(8e-6 * 9e-6), math.sqrt(4e-6 * (4e-6 * 5e-6 * 6e-6) ** (1 / 3))]
    assert column(group, "seconds_a_round", "estimate") == pytest.approx(means, rel=1e-12)
    assert set(column(group, "uncertainty")) == {"between launches"}


def test_one_repetition_has_no_interval(told) -> None:
    for ranks in (1, 2):
        write(f"{ranks}.h5", ranks, 8, 8e-6 / ranks)
        with h5py.File(f"{ranks}.h5", "a") as file:
            file["repetition_status"][...] = [1, 0, 0]
    (group,) = told(".")["groups"]
    assert group["points"][1]["speed_up"] == {"estimate": pytest.approx(2), "low": None, "high": None}
    assert group["points"][0]["seconds_a_round"]["low"] is None
    assert group["points"][0]["phases"]["gradient"]["standard_error"] is None


def test_the_first_rounds_are_left_out(here) -> None:
    write("1.h5", 1, 8, 2e-6)
    with h5py.File("1.h5", "a") as file:
        file["wall_seconds"][:, np.flatnonzero(ROUNDS == 50)[0] :] += 1.0
    np.testing.assert_allclose(seconds_a_round(load("1.h5")), 2e-6, rtol=1e-6)


def test_phases_are_those_that_a_round_waits_for(told) -> None:
    """The root's decode and update, and its downlink, in which the others wait."""
    rows = {"gradient": (1, 2, 3), "encode": (2, 3, 4), "wait": (0, 2, 4), "uplink": (1, 2, 5)}
    rows |= {"decode": (0, 2, 8), "update": (0, 1, 4), "downlink": (3, 9, 11)}
    write("1.h5", 1, 8, 2e-5, np.array([rows[name] for name in PHASES]) * 1e-6)
    write("2.h5", 2, 8, 1e-5, np.full((7, 3), np.nan))
    (group,) = told(".")["groups"]
    found, nothing = column(group, "phases")
    assert [round(1e6 * found[name]["path"], 9) for name in PHASES] == [2, 3, 2, 5, 8, 4, 3]
    assert found["decode"] == pytest.approx({"min": 0, "mean": 2e-6, "max": 8e-6, "path": 8e-6, "standard_error": 0})
    assert nothing is None


# --- what has to be known --------------------------------------------------------------------------------


def test_machines_and_versions_are_told_apart(told, refused) -> None:
    write("1.h5", 1, 8, 8e-6)
    write("2.h5", 2, 8, 1e-6, cpu='["B"]')
    assert "1.h5 and 2.h5: differ not in ranks alone, but in cpu, too" in refused(".")
    write("1b.h5", 1, 8, 4e-6, cpu='["B"]')
    write("2a.h5", 2, 8, 4e-6)
    groups = told(".")["groups"]
    assert [group["title"] for group in groups] == ['cpu = ["A"]', 'cpu = ["B"]']
    assert [column(group, "speed_up", "estimate")[1] for group in groups] == pytest.approx([2, 4])


def test_commits_that_differ_are_named(told, capsys: pytest.CaptureFixture[str]) -> None:
    write("1.h5", 1, 8, 8e-6, git_commit="0123456789abcdef")
    write("2.h5", 2, 8, 4e-6, git_commit="fedcba9876543210-dirty")
    assert told(".")["groups"][0]["git_commits"] == ["0123456789abcdef", "fedcba9876543210-dirty"]
    scaling(["."])
    assert "none should have changed what a round does: 0123456789ab, fedcba987654-dirty" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        ('{"a": {"0-3": "0-3"}}', (4, False)),
        ('{"a": {"0-3": "0-4"}}', (4, True)),
        ('{"a": {"0": "0", "1": "1"}, "b": {"0": "2", "1": "3"}}', (4, False)),
        ('{"a": {"0": "0-1", "1-7": "2"}}', (8, True)),  # two ranks bound to one core
        ('{"a": {"0-1": "0-1", "0-3": "2-4"}}', (4, True)),  # each set has room, but not for both
        ('{"a": {"": "0-1"}}', (None, None)),
        ("{", (None, None)),
        ("[]", (None, None)),
        ("{}", (None, None)),
        (None, (None, None)),
    ],
)
def test_more_ranks_than_cores(cores, expected) -> None:
    assert cores_of(cores) == expected


def test_ranges_are_read_back() -> None:
    assert numbers("0-2,5") == {0, 1, 2, 5}
    assert numbers("") == set()


def test_ranks_without_cores_of_their_own_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    write("1.h5", 1, 8, 8e-6)
    write("2.h5", 2, 8, 4e-6, rank_cores='{"a": {"0": "0-1"}}')
    assert scaling(["."], out="report") == 0
    printed = capsys.readouterr().out
    assert "2*" in printed
    assert "More ranks than cores" in printed
    found = json.loads(Path("report/scaling.json").read_text())
    assert column(found["groups"][0], "more_ranks_than_cores") == [False, True]


def test_clients_that_do_not_divide_evenly_bound_the_efficiency(told, capsys: pytest.CaptureFixture[str]) -> None:
    for ranks in (1, 4):
        write(f"{ranks}.h5", ranks, 6, 1e-5, restarts=ranks - 1)
    (group,) = told(".")["groups"]
    assert column(group, "best_efficiency") == [1, 0.75]
    scaling(["."])
    printed = capsys.readouterr().out
    assert "the efficiency can be 75% at most" in printed
    assert "4 ranks: was taken up again" in printed
    assert "1 rank: was taken up again" not in printed


@pytest.mark.parametrize(
    ("route", "averages", "verdict"),
    [
        ("gather", (1.0, 1.0), "equal"),
        ("gather", (1.0, np.nextafter(1.0, 2.0)), "differ"),
        ("reduce-levels", (1.0, 1.5), "differ"),
        ("tree-reduce", (1.0, 1.5), "rounding"),
        ("my-own", (1.0, 1.5), "unknown"),
        ("gather", (1.0, None), "unknown"),
    ],
)
def test_iterates_of_different_ranks_are_compared(
    told, capsys: pytest.CaptureFixture[str], route, averages, verdict
) -> None:
    for ranks, average in zip((1, 2), averages, strict=True):
        write(f"{ranks}.h5", ranks, 8, 1e-6, average=average, tables_of={"route": {"kind": route}})
    wrong = verdict == "differ"
    found = told(".", status=int(wrong))
    assert found["groups"][0]["iterates"]["verdict"] == verdict
    assert found["verdict"] == ("INVALID" if wrong else "VALID")
    assert scaling(["."]) == int(wrong)
    assert ("INVALID: iterates differ" in capsys.readouterr().out) == wrong


def test_repetitions_of_other_seeds_are_not_compared(told) -> None:
    write("1.h5", 1, 8, 1e-6)
    write("2.h5", 2, 8, 1e-6, average=2.0)
    with h5py.File("2.h5", "a") as file:
        file["repetition"][...] = [7, 8, 9]
    assert told(".")["groups"][0]["iterates"]["verdict"] == "unknown"


# --- files and bad input ---------------------------------------------------------------------------------


def test_tables_and_picture_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    for ranks in (1, 2):
        write(f"runs/{ranks}/a.h5", ranks, 8, 8e-6 / ranks)
        write(f"runs/{ranks}/b.h5", ranks, 4 * ranks, 4e-6)
    assert main(["scaling", "runs"]) == 0
    printed = capsys.readouterr().out
    assert "STRONG SCALING" in printed
    assert "WEAK SCALING" in printed
    assert sorted(path.name for path in Path("runs").glob("*.*")) == [
        f"scaling.{suffix}" for suffix in ("json", "pdf", "png", "txt")
    ]
    assert Path("runs/scaling.txt").read_text() in printed
    assert main(["scaling", "runs", "--json", "--out", "elsewhere"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(Path("elsewhere/scaling.json").read_text())


def test_a_narrow_terminal_gets_the_figures_without_intervals(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for ranks in (1, 2):
        write(f"{ranks}.h5", ranks, 8, np.array([8e-6, 8.1e-6, 8.2e-6]) / ranks)
    wide = Console(width=140, file=io.StringIO())
    narrow = Console(width=90, file=io.StringIO())
    for out in (wide, narrow):
        monkeypatch.setattr(scaling_table, "console", lambda out=out: out)
        assert scaling(["."]) == 0
    shown = [out.file.getvalue() for out in (wide, narrow)]
    assert ["±" in text.split("Speed-up:")[0] for text in shown] == [True, False]
    assert ["Intervals and errors are left out" in text for text in shown] == [False, True]
    assert "…" not in shown[1]
    assert all("2.00 (1.9" in text for text in shown)


def test_json_alone_writes_nothing(told) -> None:
    for ranks in (1, 2):
        write(f"{ranks}.h5", ranks, 8, 8e-6)
    told(".")
    assert sorted(path.name for path in Path().iterdir()) == ["1.h5", "2.h5"]


def test_what_cannot_be_compared_is_refused_in_one_sentence(refused) -> None:
    assert "no log (*.h5) in this folder" in refused(".")
    write("2.h5", 2, 8, 1e-6)
    assert "all logs here are of 2 ranks; run the study on other numbers of ranks, too" in refused(".")
    write("4.h5", 4, 12, 1e-6)
    assert "no configuration is there on two numbers of ranks with as many clients" in refused(".")
    Path("file").write_text("")
    write("1.h5", 1, 8, 1e-6)
    assert main(["scaling", ".", "--out", "file"]) == 2


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("ranks", "is of 8 clients on 0 ranks, so it does not say on how many it was made"),
        ("status", "no repetition is complete"),
        ("clock", "its wall_seconds do not rise"),
        ("text", "the file is damaged or is not an HDF5 file"),
    ],
)
def test_a_log_that_tells_nothing_is_named_and_the_others_are_taken(told, refused, how, sentence) -> None:
    write("bad.h5", 1, 8, 1e-6)
    if how == "text":
        Path("bad.h5").write_text("no HDF5\n")
    else:
        with h5py.File("bad.h5", "a") as file:
            if how == "ranks":
                del file.attrs["ranks"]
            elif how == "status":
                file["repetition_status"][...] = 0
            else:
                file["wall_seconds"][...] = 1.0
    assert sentence in refused("bad.h5")
    for ranks in (1, 2):
        write(f"{ranks}.h5", ranks, 8, 8e-6)
    (group,) = told(".")["groups"]
    assert column(group, "files") == [["1.h5"], ["2.h5"]]


# --- real logs -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory):
    """The folder of real logs: both studies, small, on 1 and 2 ranks."""
    folder = tmp_path_factory.mktemp("scaling")
    studies = [STUDIES / "strong.toml", STUDIES / "weak.toml"]
    for ranks in (1, 2):
        options = ("--variant", "small", "--ranks", ranks, "--out", folder / str(ranks), "--no-analyze")
        command.run("run", *studies, *options)
    return folder


def test_the_studies_scale_strongly_and_weakly(real, told) -> None:
    logs = [load(path) for path in sorted(real.rglob("*.h5"))]
    assert sorted(launch_of(log).ranks for log in logs) == [1] * 6 + [2] * 6
    found = told(real)
    kinds = {(group["kind"], group["name"]): group for group in found["groups"]}
    names = ("none", "quantization levels=1", "rand-h h=1")
    assert set(kinds) == {(kind, name) for kind in ("strong", "weak") for name in names}
    for (kind, _), group in kinds.items():
        assert column(group, "ranks") == [1, 2]
        assert column(group, "clients") == ([4, 4] if kind == "strong" else [1, 2])
        assert column(group, "hosts") == [1, 1]
        assert None not in column(group, "cores")
        assert all(value > 0 for value in column(group, "seconds_a_round", "estimate"))
        assert all(phases["gradient"]["path"] > 0 for phases in column(group, "phases"))
        assert kind == "weak" or group["iterates"] == {"verdict": "equal", "repetitions": 2, "difference": 0.0}
    assert (found["left_out"], found["verdict"]) == ([], "VALID")


def test_the_whole_studies_have_as_many_clients_as_their_comments_say(capsys: pytest.CaptureFixture[str]) -> None:
    """Rows of --dry-run, which starts nothing."""
    paths = [str(STUDIES / name) for name in ("strong.toml", "weak.toml")]
    assert main(["run", *paths, "--ranks", "4", "--dry-run"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if "repetitions" in line]
    assert ["32 clients" in row for row in rows] == [True] * 3 + [False] * 3
    assert ["4 clients" in row for row in rows] == [False] * 3 + [True] * 3
