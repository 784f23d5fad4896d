"""The estimated cost of a study: the budget, earlier logs, a calibration."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.submit_command import refusal, scripts, write_grid
from support.synthetic_log import write_log

from mpi_fed.cluster import speed_estimate
from mpi_fed.cluster.speed_estimate import Speed
from mpi_fed.errors import InputError
from mpi_fed.launch import launcher
from mpi_fed.study.load import load_study

pytestmark = pytest.mark.usefixtures("elsewhere")

LIBRARY, LAUNCHER_OF, CALIBRATE = launcher.find_library, launcher.find_launcher, speed_estimate.calibrate


def test_an_estimate_above_the_budget_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "the estimate is 0.0356 core-hours; raise the limit" in refusal(capsys, "--max-core-hours=0.01")
    scripts(capsys, "--max-core-hours=0.04")
    assert "submit without --no-estimate" in refusal(capsys, "--max-core-hours=1000", "--no-estimate")


def test_the_estimate_counts_all_cores_of_all_repetitions(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--cpus-per-task=3", "--tasks-per-node=4", "--nodes=2"]
    options += ["--set=study.repetitions=4", "--set=study.clients=8", "--set=study.rounds=1_000_000"]
    _, messages = scripts(capsys, *options)
    # 2 configurations of 30 s + 4 times 1000 s, on 24 cores; 8 ranks instead of 2 may be 4 times as fast
    assert f"{2 * 1030 * 24 / 3600:.3g} to {2 * 4030 * 24 / 3600:.3g} core-hours on 24 cores for each task" in messages


def test_earlier_logs_give_the_time_of_a_round(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(speed_estimate, "calibrate", lambda configurations, *_: {})
    study = load_study(write_grid())
    shorter = json.loads(json.dumps(study.configurations[0].tables))
    shorter["study"]["rounds"] = 100
    log = write_log(Path("runs/test/earlier.h5"), shorter)
    speeds = speed_estimate.speeds(study.configurations, Path("runs/test"), 2, [])
    (speed,) = speeds.values()
    assert speed == Speed(speed.seconds, 2, "earlier logs")
    assert speed.seconds == pytest.approx(log["wall_seconds"][0, -1] / 100)
    assert list(speeds) == [study.configurations[0].id]


def test_a_file_that_is_not_a_log_is_skipped() -> None:
    Path("runs/test").mkdir(parents=True)
    Path("runs/test/x.h5").write_text("no log")
    configurations = load_study(write_grid()).configurations
    assert speed_estimate.speeds(configurations, Path("runs/test"), 2, [], measure=False) == {}


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The MPI of this environment, and uncompiled rounds that are really measured."""
    with monkeypatch.context() as patch:
        patch.setattr(launcher, "find_library", LIBRARY)
        patch.setattr(launcher, "find_launcher", LAUNCHER_OF)
        patch.setenv("NUMBA_DISABLE_JIT", "1")
        yield


@pytest.mark.slow
def test_a_calibration_measures_each_configuration(real: None) -> None:
    configurations = load_study(write_grid()).configurations
    speeds = CALIBRATE(configurations, 2, [])
    assert list(speeds) == [c.id for c in configurations]
    assert all(0 < speed.seconds < 1 and speed.ranks == min(2, launcher.cores()) for speed in speeds.values())


@pytest.mark.slow
def test_a_calibration_that_fails_gives_the_reason(real: None) -> None:
    configurations = load_study(write_grid()).configurations
    with pytest.raises(InputError, match=r"rounds cannot be measured here: exit status 2: .*--no-estimate"):
        CALIBRATE(configurations, 1, ["nowhere.py"])
