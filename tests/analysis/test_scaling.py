"""`mpi-fed scaling`: speed-ups of logs with known times equal those computed by hand."""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import ArrayLike
from rich.console import Console
from scipy import stats
from support import command
from support.synthetic_log import points, tables, write_log

from mpi_fed.analysis import read_log
from mpi_fed.analysis.scaling import table as scaling_table
from mpi_fed.analysis.scaling.command import scaling
from mpi_fed.analysis.scaling.points import cores_of, launch_of, numbers, seconds_a_round
from mpi_fed.cli.main import main
from mpi_fed.engine import compile_switch
from mpi_fed.engine.phases import PHASES

STUDIES = Path(__file__).parents[2] / "studies" / "scaling"
ROUNDS = points(1000)
SEEDS = 3
CORES = {"host_names": '["a"]', "rank_cores": '{"a": {"0-7": "0-3"}}', "cpu": '["A"]', "package_version": "1"}


Document = Callable[..., Any]
Refused = Callable[..., str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compile_switch, "compile_kernels", compile_switch.compile_kernels)


def write(
    path: str | Path,
    ranks: int,
    clients: int,
    seconds: ArrayLike,
    phases: ArrayLike | None = None,
    average: float | None = 1.0,
    tables_of: dict[str, Any] | None = None,
    **attributes: Any,
) -> None:
    """Write a log with these seconds a round, one number or (SEEDS,), and seconds of phases, (7, 3)."""
    configuration = tables(**{**(tables_of or {}), "study": {"clients": clients, "rounds": 1000}})
    averages = None if average is None else np.full((SEEDS, 10), average)
    write_log(Path(path), configuration, averages=averages, ranks=str(ranks), **{**CORES, **attributes})
    with h5py.File(path, "a") as file:
        file["wall_seconds"][...] = ROUNDS * np.broadcast_to(seconds, SEEDS)[:, None]
        if phases is not None:
            file["phase_seconds"][...] = phases


@pytest.fixture
def document_of(capsys: pytest.CaptureFixture[str]) -> Document:
    """Run `mpi-fed scaling` on paths, and return the JSON object that it prints."""

    def run(*paths: str | Path, status: int = 0) -> Any:
        assert scaling(paths, json=True) == status
        return json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run `mpi-fed scaling` on paths that it must refuse, and return the error message."""

    def run(*paths: str | Path) -> str:
        assert main(["scaling", *map(str, paths)]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        return printed.err

    return run


def column(group: dict[str, Any], *keys: str) -> list[Any]:
    """Return a number, such as ("speed_up", "estimate"), for every number of ranks."""
    values: list[Any] = group["points"]
    for key in keys:
        values = [value[key] for value in values]
    return values


# --- results ---------------------------------------------------------------------------------------------


def test_the_same_clients_on_more_ranks(document_of: Document) -> None:
    for ranks, seconds in ((4, 2.5e-6), (1, 8e-6), (2, 4e-6)):
        write(f"{ranks}.h5", ranks, 8, seconds)
    document = document_of(".")
    (group,) = document["groups"]
    assert (group["kind"], group["name"], group["clients"]) == ("strong", "quantization levels=1", 8)
    assert column(group, "ranks") == [1, 2, 4]
    assert column(group, "seconds_a_round", "estimate") == pytest.approx([8e-6, 4e-6, 2.5e-6], rel=1e-12)
    assert column(group, "speed_up", "estimate") == pytest.approx([1, 2, 3.2], rel=1e-12)
    assert column(group, "efficiency", "estimate") == pytest.approx([1, 1, 0.8], rel=1e-12)
    assert column(group, "speed_up", "low")[1:] == pytest.approx([2, 3.2], rel=1e-9), "all repetitions are equal"
    assert group["iterates"] == {"verdict": "equal", "repetitions": 3, "difference": 0.0}
    assert document["verdict"] == "VALID"


def test_as_many_clients_on_each_rank(document_of: Document) -> None:
    for ranks, seconds in ((2, 4e-6), (4, 5e-6), (16, 8e-6)):
        write(f"{ranks}.h5", ranks, 3 * ranks, seconds)
    (group,) = document_of(".")["groups"]
    assert (group["kind"], group["clients_a_rank"], group["iterates"]) == ("weak", 3, None)
    assert column(group, "efficiency", "estimate") == pytest.approx([1, 0.8, 0.5], rel=1e-12)
    assert column(group, "speed_up", "estimate") == pytest.approx([1, 1.6, 4], rel=1e-12)


def test_a_log_may_be_in_both_kinds_of_groups_and_a_log_in_no_group_is_reported(document_of: Document) -> None:
    for ranks, clients in ((1, 4), (2, 4), (2, 8), (8, 9)):
        write(f"{ranks}-{clients}.h5", ranks, clients, 1e-6)
    document = document_of(".")
    assert [(group["kind"], column(group, "clients")) for group in document["groups"]] == [
        ("strong", [4, 4]),
        ("weak", [4, 8]),
    ]
    assert document["left_out"] == ["8-9.h5"]


def test_intervals_are_those_of_welch_and_student_for_logarithms(document_of: Document) -> None:
    one, two = np.array([8e-6, 9e-6, 8.5e-6]), np.array([4e-6, 4.4e-6, 4.1e-6])
    write("1.h5", 1, 8, one)
    write("2.h5", 2, 8, two)
    (group,) = document_of(".")["groups"]
    test = stats.ttest_ind(np.log(one), np.log(two), equal_var=False).confidence_interval(0.95)
    point = group["points"][1]
    assert [point["speed_up"][end] for end in ("low", "high")] == pytest.approx(np.exp(test), rel=1e-9)
    assert point["efficiency"]["low"] == pytest.approx(point["speed_up"]["low"] / 2, rel=1e-12)
    mean = stats.ttest_1samp(np.log(two), 0).confidence_interval(0.95)
    assert [point["seconds_a_round"][end] for end in ("low", "high")] == pytest.approx(np.exp(mean), rel=1e-9)
    assert set(column(group, "uncertainty")) == {"within a launch"}


def test_several_launches_count_by_their_means_and_copies_count_once(document_of: Document) -> None:
    write("1.h5", 1, 8, 8e-6)
    write("1-again.h5", 1, 8, 9e-6)
    shutil.copy("1.h5", "copy.h5")
    write("2.h5", 2, 8, [4e-6, 5e-6, 6e-6])
    write("2-again.h5", 2, 8, 4e-6)
    (group,) = document_of(".")["groups"]
    assert column(group, "launches") == [2, 2]
    assert column(group, "repetitions") == [6, 6]
    means = [math.sqrt(8e-6 * 9e-6), math.sqrt(4e-6 * (4e-6 * 5e-6 * 6e-6) ** (1 / 3))]
    assert column(group, "seconds_a_round", "estimate") == pytest.approx(means, rel=1e-12)
    assert set(column(group, "uncertainty")) == {"between launches"}


def test_one_repetition_has_no_interval(document_of: Document) -> None:
    for ranks in (1, 2):
        write(f"{ranks}.h5", ranks, 8, 8e-6 / ranks)
        with h5py.File(f"{ranks}.h5", "a") as file:
            file["repetition_status"][...] = [1, 0, 0]
    (group,) = document_of(".")["groups"]
    assert group["points"][1]["speed_up"] == {"estimate": pytest.approx(2), "low": None, "high": None}
    assert group["points"][0]["seconds_a_round"]["low"] is None
    assert group["points"][0]["phases"]["gradient"]["standard_error"] is None


def test_the_first_rounds_are_left_out() -> None:
    write("1.h5", 1, 8, 2e-6)
    with h5py.File("1.h5", "a") as file:
        file["wall_seconds"][:, np.flatnonzero(ROUNDS == 50)[0] :] += 1.0
    np.testing.assert_allclose(seconds_a_round(read_log("1.h5")), 2e-6, rtol=1e-6)


def test_phases_are_those_that_a_round_waits_for(document_of: Document) -> None:
    """Decode, update and downlink are the root's times, because the other ranks wait in their downlink."""
    rows = {"gradient": (1, 2, 3), "encode": (2, 3, 4), "wait": (0, 2, 4), "uplink": (1, 2, 5)}
    rows |= {"decode": (0, 2, 8), "update": (0, 1, 4), "downlink": (3, 9, 11)}
    write("1.h5", 1, 8, 2e-5, np.array([rows[name] for name in PHASES]) * 1e-6)
    write("2.h5", 2, 8, 1e-5, np.full((7, 3), np.nan))
    (group,) = document_of(".")["groups"]
    phases, absent = column(group, "phases")
    assert [round(1e6 * phases[name]["path"], 9) for name in PHASES] == [2, 3, 2, 5, 8, 4, 3]
    assert phases["decode"] == pytest.approx({"min": 0, "mean": 2e-6, "max": 8e-6, "path": 8e-6, "standard_error": 0})
    assert absent is None


# --- warnings --------------------------------------------------------------------------------------------


def test_logs_of_different_machines_are_not_compared(document_of: Document, refused: Refused) -> None:
    write("1.h5", 1, 8, 8e-6)
    write("2.h5", 2, 8, 1e-6, cpu='["B"]')
    assert "1.h5 and 2.h5: the runs differ not only in ranks but also in cpu" in refused(".")
    write("1b.h5", 1, 8, 4e-6, cpu='["B"]')
    write("2a.h5", 2, 8, 4e-6)
    groups = document_of(".")["groups"]
    assert [group["title"] for group in groups] == ['cpu = ["A"]', 'cpu = ["B"]']
    assert [column(group, "speed_up", "estimate")[1] for group in groups] == pytest.approx([2, 4])


def test_commits_that_differ_are_reported(document_of: Document, capsys: pytest.CaptureFixture[str]) -> None:
    write("1.h5", 1, 8, 8e-6, git_commit="0123456789abcdef")
    write("2.h5", 2, 8, 4e-6, git_commit="fedcba9876543210-dirty")
    assert document_of(".")["groups"][0]["git_commits"] == ["0123456789abcdef", "fedcba9876543210-dirty"]
    scaling(["."])
    assert (
        "check that none of them changed the work of a round: 0123456789ab, fedcba987654-dirty"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        ('{"a": {"0-3": "0-3"}}', (4, False)),
        ('{"a": {"0-3": "0-4"}}', (4, True)),
        ('{"a": {"0": "0", "1": "1"}, "b": {"0": "2", "1": "3"}}', (4, False)),
        ('{"a": {"0": "0-1", "1-7": "2"}}', (8, True)),  # two ranks bound to one core
        (
            '{"a": {"0-1": "0-1", "0-3": "2-4"}}',
            (4, True),
        ),  # each set of cores suffices for its ranks, but not their union
        ('{"a": {"": "0-1"}}', (None, None)),
        ("{", (None, None)),
        ("[]", (None, None)),
        ("{}", (None, None)),
        (None, (None, None)),
    ],
)
def test_more_ranks_than_cores_are_detected(cores: str | None, expected: tuple[int | None, bool | None]) -> None:
    assert cores_of(cores) == expected


def test_ranges_of_cores_are_parsed() -> None:
    assert numbers("0-2,5") == {0, 1, 2, 5}
    assert numbers("") == set()


def test_a_number_of_ranks_above_that_of_cores_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    write("1.h5", 1, 8, 8e-6)
    write("2.h5", 2, 8, 4e-6, rank_cores='{"a": {"0": "0-1"}}')
    assert scaling(["."], out="report") == 0
    printed = capsys.readouterr().out
    assert "2*" in printed
    assert "More ranks than cores" in printed
    document = json.loads(Path("report/scaling.json").read_text())
    assert column(document["groups"][0], "more_ranks_than_cores") == [False, True]


def test_clients_that_do_not_divide_evenly_limit_the_efficiency(
    document_of: Document, capsys: pytest.CaptureFixture[str]
) -> None:
    for ranks in (1, 4):
        write(f"{ranks}.h5", ranks, 6, 1e-5, restarts=ranks - 1)
    (group,) = document_of(".")["groups"]
    assert column(group, "best_efficiency") == [1, 0.75]
    scaling(["."])
    printed = capsys.readouterr().out
    assert "the efficiency is at most 75%" in printed
    assert "4 ranks: the run was resumed" in printed
    assert "1 rank: the run was resumed" not in printed


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
    document_of: Document,
    capsys: pytest.CaptureFixture[str],
    route: str,
    averages: tuple[float, float | None],
    verdict: str,
) -> None:
    for ranks, average in zip((1, 2), averages, strict=True):
        write(f"{ranks}.h5", ranks, 8, 1e-6, average=average, tables_of={"route": {"kind": route}})
    is_wrong = verdict == "differ"
    document = document_of(".", status=int(is_wrong))
    assert document["groups"][0]["iterates"]["verdict"] == verdict
    assert document["verdict"] == ("INVALID" if is_wrong else "VALID")
    assert scaling(["."]) == int(is_wrong)
    assert ("INVALID: iterates differ" in capsys.readouterr().out) == is_wrong


def test_repetitions_of_other_seeds_are_not_compared(document_of: Document) -> None:
    write("1.h5", 1, 8, 1e-6)
    write("2.h5", 2, 8, 1e-6, average=2.0)
    with h5py.File("2.h5", "a") as file:
        file["repetition"][...] = [7, 8, 9]
    assert document_of(".")["groups"][0]["iterates"]["verdict"] == "unknown"


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


def test_a_narrow_terminal_gets_the_results_without_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    for ranks in (1, 2):
        write(f"{ranks}.h5", ranks, 8, np.array([8e-6, 8.1e-6, 8.2e-6]) / ranks)
    files = io.StringIO(), io.StringIO()
    for width, file in zip((140, 90), files, strict=True):
        monkeypatch.setattr(scaling_table, "console", partial(Console, width=width, file=file))
        assert scaling(["."]) == 0
    shown = [file.getvalue() for file in files]
    assert ["±" in text.split("Speed-up:")[0] for text in shown] == [True, False]
    assert ["Intervals and errors are left out" in text for text in shown] == [False, True]
    assert "…" not in shown[1]
    assert all("2.00 (1.9" in text for text in shown)


def test_json_without_out_writes_no_file(document_of: Document) -> None:
    for ranks in (1, 2):
        write(f"{ranks}.h5", ranks, 8, 8e-6)
    document_of(".")
    assert sorted(path.name for path in Path().iterdir()) == ["1.h5", "2.h5"]


def test_logs_that_cannot_be_compared_are_refused_in_one_sentence(refused: Refused) -> None:
    assert "no log (*.h5) in this folder" in refused(".")
    write("2.h5", 2, 8, 1e-6)
    assert "all these logs are of runs on 2 ranks; also run the study on other numbers of ranks" in refused(".")
    write("4.h5", 4, 12, 1e-6)
    assert "no two logs of the same configuration differ in ranks and have the same number of clients" in refused(".")
    Path("file").write_text("")
    write("1.h5", 1, 8, 1e-6)
    assert main(["scaling", ".", "--out", "file"]) == 2


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("ranks", "has 8 clients on 0 ranks, so its number of ranks is wrong or missing"),
        ("status", "no repetition is complete"),
        ("clock", "its wall_seconds do not increase"),
        ("text", "the file is damaged or is not an HDF5 file"),
    ],
)
def test_an_unusable_log_is_reported_and_left_out(
    document_of: Document, refused: Refused, fault: str, sentence: str
) -> None:
    write("bad.h5", 1, 8, 1e-6)
    if fault == "text":
        Path("bad.h5").write_text("not HDF5\n")
    else:
        with h5py.File("bad.h5", "a") as file:
            if fault == "ranks":
                del file.attrs["ranks"]
            elif fault == "status":
                file["repetition_status"][...] = 0
            else:
                file["wall_seconds"][...] = 1.0
    assert sentence in refused("bad.h5")
    for ranks in (1, 2):
        write(f"{ranks}.h5", ranks, 8, 8e-6)
    (group,) = document_of(".")["groups"]
    assert column(group, "files") == [["1.h5"], ["2.h5"]]


# --- real logs -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of real logs: the small variants of both studies on 1 and 2 ranks."""
    folder = tmp_path_factory.mktemp("scaling")
    studies = [STUDIES / "strong.toml", STUDIES / "weak.toml"]
    for ranks in (1, 2):
        options = ("--variant", "small", "--ranks", ranks, "--out", folder / str(ranks), "--no-analyze")
        command.run("run", *studies, *options)
    return folder


def test_the_studies_give_strong_and_weak_groups(real: Path, document_of: Document) -> None:
    logs = [read_log(path) for path in sorted(real.rglob("*.h5"))]
    assert sorted(launch_of(log).ranks for log in logs) == [1] * 6 + [2] * 6
    document = document_of(real)
    kinds = {(group["kind"], group["name"]): group for group in document["groups"]}
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
    assert (document["left_out"], document["verdict"]) == ([], "VALID")


def test_the_full_studies_have_the_clients_that_their_comments_state(capsys: pytest.CaptureFixture[str]) -> None:
    """`--dry-run` lists the configurations and runs none."""
    paths = [str(STUDIES / name) for name in ("strong.toml", "weak.toml")]
    assert main(["run", *paths, "--ranks", "4", "--dry-run"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if "repetitions" in line]
    assert ["32 clients" in row for row in rows] == [True] * 3 + [False] * 3
    assert ["4 clients" in row for row in rows] == [False] * 3 + [True] * 3
