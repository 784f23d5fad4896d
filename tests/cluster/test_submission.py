"""Submitting again: only missing configurations are submitted."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from support.submit_command import program, scripts, write_grid
from support.synthetic_log import write_log

from mpi_fed.cli.main import main
from mpi_fed.cluster import submission
from mpi_fed.study.load import load_study

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    """An sbatch that saves its scripts, and a squeue that prints the file `queue`."""
    program("sbatch", 'n=$(ls | grep -c "^submitted"); cat > submitted$n; echo "$((100 + n));cluster"')
    program("squeue", 'echo "$@" > asked; cat queue; exit "$(cat squeue-status 2> /dev/null || echo 0)"')
    Path("queue").touch()
    monkeypatch.setenv("PATH", f"{Path('bin').absolute()}:{os.environ['PATH']}")


def submitted() -> list[str]:
    return [Path(f"submitted{n}").read_text() for n in range(len(list(Path().glob("submitted*"))))]


def do_submit(*options: str) -> int:
    return main(["submit", write_grid(), "--bundle-minutes=0", *options])


def jobs_of(folder: str = "runs/test") -> list[str | None]:
    """Return the job of each configuration in the saved submission."""
    saved = submission.load(Path(folder))
    assert saved is not None
    return [entry.job for entry in saved.entries]


def test_a_submission_is_saved(slurm: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert do_submit() == 0
    (script,) = submitted()
    saved = json.loads(Path("runs/test/submission.json").read_text())
    study = load_study("study.toml")
    assert saved["study"] == "test"
    assert [entry["job"] for entry in saved["configurations"]] == ["100_0", "100_1"]
    assert [entry["id"] for entry in saved["configurations"]] == [c.id for c in study.configurations]
    assert [entry["file_name"] for entry in saved["configurations"]] == [c.file_name for c in study.configurations]
    assert saved["configurations"][0]["seeds"] == [0, 1]
    assert Path("runs/test/jobs").is_dir()
    assert "array job 100" in capsys.readouterr().out
    assert [path.name for path in Path("runs/test").glob(".*.part")] == []
    capsys.readouterr()
    assert scripts(capsys, "--bundle-minutes=0")[0] == script


def test_queued_or_running_configurations_are_not_submitted_again(
    slurm: None, capsys: pytest.CaptureFixture[str]
) -> None:
    do_submit()
    Path("queue").write_text("100_0|PENDING\n100_1|RUNNING\n")
    do_submit()
    assert len(submitted()) == 1
    assert "--jobs=100" in Path("asked").read_text()
    assert "0 done, 2 queued or running, 0 to submit" in capsys.readouterr().err
    Path("queue").write_text("100_0|RUNNING\n")
    do_submit()
    assert len(submitted()) == 2
    names = [c.file_name for c in load_study("study.toml").configurations]
    assert names[1] in submitted()[1]
    assert names[0] not in submitted()[1]
    assert jobs_of() == ["100_0", "101_0"]


def test_finished_configurations_are_not_submitted_again(slurm: None) -> None:
    done = load_study(write_grid()).configurations[0]
    write_log(Path("runs/test") / done.file_name, done.tables, configuration_id=done.id, label=done.label)
    do_submit()
    assert done.file_name not in submitted()[0]
    assert jobs_of() == [None, "100_0"]


def test_all_configurations_are_saved_if_only_some_are_submitted(slurm: None) -> None:
    do_submit("--only=dimension=20")
    assert jobs_of() == [None, "100_0"]


def test_a_complete_study_submits_no_job(slurm: None, capsys: pytest.CaptureFixture[str]) -> None:
    for c in load_study(write_grid()).configurations:
        write_log(Path("runs/test") / c.file_name, c.tables, configuration_id=c.id, label=c.label)
    assert do_submit() == 0
    assert submitted() == []
    assert "2 done, 0 queued or running, 0 to submit" in capsys.readouterr().err


def test_a_failing_squeue_stops_a_submission(slurm: None, capsys: pytest.CaptureFixture[str]) -> None:
    do_submit()
    Path("squeue-status").write_text("1")
    assert do_submit() == 2
    assert "squeue failed" in capsys.readouterr().err
    program("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")  # all jobs have ended
    assert do_submit() == 0
    assert len(submitted()) == 2


def test_the_message_of_a_failing_sbatch_is_quoted(slurm: None, capsys: pytest.CaptureFixture[str]) -> None:
    program("sbatch", "echo 'sbatch: error: invalid partition specified: x' >&2; exit 1")
    assert do_submit("--partition=x") == 2
    assert "sbatch refused the job (sbatch: error: invalid partition" in capsys.readouterr().err
    assert submission.load(Path("runs/test")) is None


def test_without_sbatch_the_error_suggests_a_dry_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert do_submit() == 2
    assert "with --dry-run" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_second_submission_at_the_same_time_is_refused(slurm: None, capsys: pytest.CaptureFixture[str]) -> None:
    with submission.lock_submission(Path("runs/test")):
        assert do_submit() == 2
    assert "is being submitted by another command" in capsys.readouterr().err
    assert submitted() == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "mpi-fed submission", "format_version": 2}'])
def test_a_damaged_submission_file_stops_a_submission(
    slurm: None, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    Path("runs/test").mkdir(parents=True)
    Path("runs/test/submission.json").write_text(text)
    assert do_submit() == 2
    assert "submission.json: cannot be read" in capsys.readouterr().err


def test_a_submission_file_that_names_other_files_is_refused(slurm: None, capsys: pytest.CaptureFixture[str]) -> None:
    do_submit()
    path = Path("runs/test/submission.json")
    path.write_text(re.sub(r'"file_name": "[^"]*"', '"file_name": "../../x.h5"', path.read_text()))
    assert do_submit() == 2
    assert "a file_name is not the name of a log" in capsys.readouterr().err
