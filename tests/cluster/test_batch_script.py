"""Batch scripts: running them, and keeping hostile texts out of them. No Slurm is needed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from support.submit_command import (
    PATIENCE,
    calls,
    directives,
    program,
    recording_launcher,
    requeued,
    run_script,
    scripts,
    start_script,
    write_grid,
)

from mpi_fed.cluster import batch_script
from mpi_fed.study.load import load_study

pytestmark = pytest.mark.usefixtures("elsewhere")

HOSTILE = [
    "a b",
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    "&& touch pwned #",
    "é %A_%a",
    "-rf",
    "${IFS}touch${IFS}pwned",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_quoted(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str) -> None:
    """The script passes on the names of folder, study and plugin, and an override, and executes none of them."""
    Path(text).mkdir()
    study = write_grid(f"./{text}/{text}.toml")
    plugin = f"./{text}/plugin.py"
    Path(plugin).touch()
    options = [f"--out=./{text}/runs", f"--set=problem.seed={len(text)}", f"--plugin={plugin}"]
    run_script(scripts(capsys, *options, *recording_launcher(), study=study)[0])
    (call, _) = calls()
    assert call["argv"][4:7] == ["run", str(tmp_path / text / f"{text}.toml"), f"--out={tmp_path / text / 'runs'}"]
    assert f"--plugin={tmp_path / text / 'plugin.py'}" in call["argv"]
    assert call["ranks"] == "2"
    assert not list(Path().rglob("pwned"))


def test_a_line_break_in_a_name_starts_no_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    study = write_grid("study\n#SBATCH --job-name=pwned\ntouch pwned\n.toml")
    script, _ = scripts(capsys, *recording_launcher(), study=study)
    assert not [line for line in directives(script) if "pwned" in line]
    run_script(script)
    assert calls()[0]["argv"][5] == str(tmp_path / study)
    assert not Path("pwned").exists()


def test_the_output_path_is_quoted_for_slurm(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    script, _ = scripts(capsys, "--out=./a b%A '$(x)")
    assert f'--output="{tmp_path}/a b%%A \'$(x)/test/jobs/%A_%a.out"' in directives(script)


def test_words_of_a_profile_are_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    Path("site.toml").write_text(
        """
        launcher = "mpirun; touch pwned $(touch pwned)"
        python = "/a b/$(touch pwned)"
        modules = ["openmpi/4.1"]
        environment = { A = "$(touch pwned)`touch pwned`'" }
        """
    )
    script, _ = scripts(capsys, "--profile=site.toml")
    assert "launch=('mpirun;' touch pwned '$(touch' 'pwned)')" in script
    assert "run=('/a b/$(touch pwned)' -P -m mpi_fed run " in script
    Path("bin").mkdir()
    Path("bin/module").write_text("#!/bin/sh\n")
    Path("bin/module").chmod(0o755)
    run_script(script.replace("launch=(", "launch=(true "))
    assert not Path("pwned").exists()


def test_a_task_runs_its_configurations_one_after_another(capsys: pytest.CaptureFixture[str]) -> None:
    run_script(scripts(capsys, *recording_launcher())[0])
    names = [c.file_name for c in load_study("study.toml").configurations]
    assert [call["argv"][-1] for call in calls()] == [f"--only={name}" for name in names]
    assert requeued() == []


def test_a_task_that_saved_is_requeued_by_its_number(capsys: pytest.CaptureFixture[str]) -> None:
    Path("statuses").write_text("85")
    run_script(scripts(capsys, *recording_launcher())[0])
    assert requeued() == ["requeue 12_0"]
    assert len(calls()) == 1


@pytest.mark.parametrize(
    ("restarts", "words"), [(batch_script.MOST_RESTARTS, "the limit"), (batch_script.IDLE_RESTARTS, "nothing was done")]
)
def test_a_task_without_progress_is_not_requeued(capsys: pytest.CaptureFixture[str], restarts: int, words: str) -> None:
    Path("statuses").write_text("85")
    errors = run_script(scripts(capsys, *recording_launcher())[0], status=85, SLURM_RESTART_COUNT=str(restarts))
    assert words in errors
    assert requeued() == []


def test_a_task_with_progress_is_requeued_more_often(capsys: pytest.CaptureFixture[str]) -> None:
    options = recording_launcher()
    name = load_study(write_grid()).configurations[0].file_name
    path = Path("launcher")
    save = f"open('runs/test/{name[:-3]}.checkpoint', 'w').write('x')"
    path.write_text(path.read_text().replace("import json", f"{save}\nimport json"))
    Path("runs/test").mkdir(parents=True)
    Path("statuses").write_text("85")
    run_script(scripts(capsys, *options)[0], SLURM_RESTART_COUNT=str(batch_script.IDLE_RESTARTS + 1))
    assert requeued() == ["requeue 12_0"]


def test_a_failure_is_noted_and_the_other_configurations_run(capsys: pytest.CaptureFixture[str]) -> None:
    Path("statuses").write_text("3")
    errors = run_script(scripts(capsys, *recording_launcher())[0], status=3)
    first = load_study("study.toml").configurations[0].file_name
    assert Path(f"runs/test/.{first}.exit").read_text() == "3 12_0 n1\n"
    assert f"mpi-fed: {first} ended with exit status 3 on n1" in errors
    assert len(calls()) == 2
    Path("calls").unlink()
    Path("statuses").unlink()
    run_script(Path("script").read_text())
    assert not Path(f"runs/test/.{first}.exit").exists()


def test_a_setup_that_fails_is_noted_for_each_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    recording_launcher()
    with open("launcher.toml", "a") as profile:
        profile.write('modules = ["missing"]\n')
    program("module", "exit 7")
    errors = run_script(scripts(capsys, "--profile=launcher.toml")[0], status=7)
    assert errors.count("exit status 7") == 2
    assert len(list(Path("runs/test").glob(".*.exit"))) == 2
    assert not Path("calls").exists()


@pytest.mark.parametrize(("signum", "requests"), [(signal.SIGUSR1, ["requeue 12_0"]), (signal.SIGTERM, [])])
def test_a_warned_job_is_requeued_and_a_cancelled_job_is_not(
    capsys: pytest.CaptureFixture[str], signum: signal.Signals, requests: list[str]
) -> None:
    """The warning is passed on to the launcher."""
    Path("listen").touch()
    with start_script(scripts(capsys, *recording_launcher())[0]) as process:
        end = time.monotonic() + PATIENCE
        while not (Path("calls").exists() and Path("calls").read_text()):
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signum)
        if signum == signal.SIGTERM:  # Slurm also sends it to the launcher
            for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                os.kill(int(child), signal.SIGUSR1)
        process.communicate(timeout=PATIENCE)
    assert requeued() == requests
    assert process.returncode == (0 if requests else 85)


def test_an_unknown_task_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    script, _ = scripts(capsys)
    with start_script(script, task=9) as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "this array has no task 9" in errors
