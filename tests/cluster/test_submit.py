"""`mpi-fed submit --dry-run`: arrays, tasks, ranks and times in the script. No Slurm is needed."""

from __future__ import annotations

import pytest
from support.submit_command import directives, refusal, scripts, use_library, write_grid

from mpi_fed.cluster import missing_work
from mpi_fed.study.load import load_study

pytestmark = pytest.mark.usefixtures("elsewhere")


def test_an_array_has_a_task_for_each_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    script, messages = scripts(capsys, "--bundle-minutes=0", "--array-limit=7", "--time=30", "--mem=2G")
    assert {"--array=0-1%7", "--time=30", "--mem=2G", "--requeue", "--open-mode=append"} <= set(directives(script))
    assert {"--nodes=1", "--ntasks-per-node=2", "--signal=B:USR1@120", "--job-name=test"} <= set(directives(script))
    study = load_study("study.toml")
    for number, configuration in enumerate(study.configurations):
        assert f"\n    {number}) logs=({configuration.file_name}) ;;" in script
    assert "2 to submit" in messages
    assert "core-hours" in messages


def test_a_study_of_one_configuration_is_also_an_array(capsys: pytest.CaptureFixture[str]) -> None:
    script, _ = scripts(capsys, "--set=problem.dimension=10")
    assert "--array=0-0" in directives(script)


def test_short_configurations_share_a_task(capsys: pytest.CaptureFixture[str]) -> None:
    script, _ = scripts(capsys)  # each 30 s of start-up and 2 s of rounds
    assert "--array=0-0" in directives(script)
    script, _ = scripts(capsys, "--bundle-minutes=1")
    assert "--array=0-1" in directives(script)


def test_a_task_has_consecutive_configurations_up_to_its_longest_time() -> None:
    configurations = load_study(write_grid(dimensions=(1, 2, 3, 4, 5, 6))).configurations
    seconds = {c.id: s for c, s in zip(configurations, [30.0, 30.0, 100.0, 10.0, 60.0], strict=False)}
    tasks = missing_work.bundles(configurations, seconds, 60)
    assert [[c.position for c in task] for task in tasks] == [[0, 1], [2], [3], [4], [5]]
    assert [len(task) for task in missing_work.bundles(configurations, {}, 600)] == [1] * 6


def test_a_long_array_is_split(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing_work, "LONGEST_ARRAY", 2)
    script, _ = scripts(capsys, "--bundle-minutes=0", study=write_grid(dimensions=(1, 2, 3)))
    assert [line for line in script.splitlines() if "--array" in line] == ["#SBATCH --array=0-1", "#SBATCH --array=0-0"]
    assert script.count("#!/bin/bash") == 2


@pytest.mark.parametrize(
    ("vendor", "nodes", "words"),
    [
        ("Open MPI", 1, "/mpi/bin/mpiexec -n 2"),
        ("MPICH", 1, "srun -K1 --mpi=pmi2"),
        ("MPICH", 2, "/mpi/bin/mpiexec -n 2"),
        ("Intel MPI", 2, "srun -K1 --mpi=pmi2"),
    ],
)
def test_the_launcher_depends_on_the_mpi(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, vendor: str, nodes: int, words: str
) -> None:
    use_library(monkeypatch, vendor)
    script, _ = scripts(capsys, f"--nodes={nodes}")
    assert f"\nlaunch=({words})\n" in script


@pytest.mark.parametrize(
    ("clients", "options", "nodes", "tasks"),
    [
        (2, [], 1, 2),
        (100, [], 1, 8),
        (100, ["--nodes=3"], 3, 8),
        (6, ["--nodes=3"], 3, 2),
        (100, ["--tasks-per-node=20"], 1, 20),
        (None, [], 1, 4),
        (None, ["--nodes=2", "--tasks-per-node=3"], 2, 3),
    ],
)
def test_ranks_depend_on_clients_and_options(
    capsys: pytest.CaptureFixture[str], clients: int | None, options: list[str], nodes: int, tasks: int
) -> None:
    if clients is None:
        write_grid(dimensions=[10], clients=None)
    else:
        options = [*options, f"--set=study.clients={clients}"]
        write_grid()
    script, _ = scripts(capsys, *options, study="study.toml")
    assert {f"--nodes={nodes}", f"--ntasks-per-node={tasks}"} <= set(directives(script))
    assert f"export MPI_FED_RANKS={nodes * tasks} " in script


def test_more_ranks_than_clients_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "clients is 2, fewer than the 4 ranks" in refusal(capsys, "--tasks-per-node=4")


def test_a_short_job_is_warned_a_quarter_of_its_time_before_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    script, _ = scripts(capsys, "--time=2")
    assert "--signal=B:USR1@30" in directives(script)


def test_without_a_time_limit_the_limit_comes_from_the_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    script, messages = scripts(capsys)
    assert "--time=14" in directives(script)  # ten minutes and three times 2 (30 s + 2 s)
    assert "no --time is given: 0:14:00" in messages
    script, messages = scripts(capsys, "--no-estimate")
    assert not [line for line in directives(script) if line.startswith("--time")]
    assert "no estimate: 2 configurations" in messages
