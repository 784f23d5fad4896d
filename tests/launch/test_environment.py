"""The environment before MPI starts: the launcher's variables are read, and others are set."""

from __future__ import annotations

import os
from typing import Any

import pytest

from mpi_fed.launch import environment, launcher
from mpi_fed.terminal.width import TERMINAL_WIDTH


@pytest.mark.parametrize(
    ("variables", "size", "rank"),
    [
        ({}, None, 0),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"}, 4, 3),
        ({"PMI_SIZE": "6", "PMI_RANK": "1", "SLURM_STEP_NUM_TASKS": "2"}, 6, 1),
        ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5"}, 8, 5),
        ({"SLURM_NTASKS": "8"}, None, 0),
    ],
)
def test_size_and_rank_come_from_the_launchers_variables(
    variables: dict[str, str], size: int | None, rank: int
) -> None:
    assert environment.launched_size(variables) == size
    assert environment.launched_rank(variables) == rank


@pytest.mark.parametrize(
    ("variables", "crowded"),
    [
        ({}, False),
        ({"PMI_SIZE": "4", "MPI_LOCALNRANKS": "4"}, False),
        ({"PMI_SIZE": "5", "MPI_LOCALNRANKS": "5"}, True),
        ({"PMI_SIZE": "8", "MPI_LOCALNRANKS": "5"}, False),  # the ranks of the other nodes are not known
        ({"SLURM_STEP_TASKS_PER_NODE": "3(x2),1", "SLURM_JOB_CPUS_PER_NODE": "3(x3)"}, False),
        ({"SLURM_STEP_TASKS_PER_NODE": "1,3(x2)", "SLURM_JOB_CPUS_PER_NODE": "2(x3)"}, True),
    ],
)
def test_all_ranks_agree_whether_nodes_are_crowded(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], crowded: bool
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", None)
    assert environment.is_crowded(variables) is crowded


@pytest.mark.parametrize(
    ("variables", "asked", "is_rank"),
    [
        ({}, 4, False),
        ({"PMI_SIZE": "4"}, None, True),
        ({"PMI_SIZE": "4"}, 2, True),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_JOB_ID": "7"}, None, True),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_JOB_ID": "7"}, 4, False),
        ({"PMI_SIZE": "1", "SLURM_JOB_ID": "7"}, 4, False),
        ({"PMI_SIZE": "1", "SLURM_JOB_ID": "7", environment.RANKS: "1"}, 4, True),
        ({"OMPI_COMM_WORLD_SIZE": "1"}, 4, True),
    ],
)
def test_interactive_slurm_step_is_a_prompt(variables: dict[str, str], asked: int | None, is_rank: bool) -> None:
    assert environment.is_rank(variables, asked) is is_rank


def test_there_is_one_thread_unless_the_user_chose_a_number() -> None:
    chosen = {"OMP_NUM_THREADS": "3"}
    environment.limit_threads(chosen)
    assert chosen == {"OMP_NUM_THREADS": "3"}
    blas = {"OPENBLAS_NUM_THREADS": "2"}
    environment.limit_threads(blas)
    assert blas["OPENBLAS_NUM_THREADS"] == "2"
    assert blas["OMP_NUM_THREADS"] == blas["MKL_NUM_THREADS"] == "1"


def test_libraries_yield_the_processor_only_if_it_is_crowded() -> None:
    yielding = {"MPIR_CVAR_DEVICE_COLLECTIVES": "none", "OMPI_MCA_mpi_yield_when_idle": "1"}
    fits: dict[str, str] = {}
    environment.tune_mpi(fits, crowded=False)
    assert not yielding.keys() & fits.keys()
    crowded: dict[str, str] = {}
    environment.tune_mpi(crowded, crowded=True)
    assert yielding.items() <= crowded.items()
    chosen = {"MPIR_CVAR_DEVICE_COLLECTIVES": "all", "OMPI_MCA_mpi_yield_when_idle": "0", "OMPI_MCA_btl": "self,sm"}
    environment.tune_mpi(chosen, crowded=True)
    assert chosen == {
        "MPIR_CVAR_DEVICE_COLLECTIVES": "all",
        "OMPI_MCA_mpi_yield_when_idle": "0",
        "OMPI_MCA_btl": "self,sm",
    }


def test_the_variables_of_ranks_are_set(alone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "MPIR_CVAR_DEVICE_COLLECTIVES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PMI_RANK", "3")
    monkeypatch.setenv(TERMINAL_WIDTH, "80")
    monkeypatch.setattr(launcher, "cores", lambda: 4)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with launcher.command_for(2, ["program", "x"]) as (command, variables):
        pass
    assert command[-4:] == ["-n", "2", "program", "x"]
    assert variables[environment.RANKS] == "2"
    assert variables["OMP_NUM_THREADS"] == "1"
    assert variables["OMPI_ALLOW_RUN_AS_ROOT"] == variables["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] == "1"
    assert "PMI_RANK" not in variables
    assert TERMINAL_WIDTH not in variables, "standard error is not a terminal here"
    assert "MPIR_CVAR_DEVICE_COLLECTIVES" not in variables
    with launcher.command_for(2, ["x"], side_by_side=3) as (_, variables):
        assert variables["MPIR_CVAR_DEVICE_COLLECTIVES"] == "none"


def test_open_mpi_neither_binds_nor_counts_cores(alone: Any) -> None:
    with launcher.command_for(2, ["program"]) as (command, _):
        pass
    if launcher.find_launcher().family == "Open MPI":
        assert {"--oversubscribe", "--bind-to", "none"} <= set(command)
        assert command[command.index("-x") + 1] == environment.RANKS
    else:
        assert command[1:] == ["-n", "2", "program"]


def test_only_root_is_allowed_to_run_as_root(alone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with launcher.command_for(2, ["x"]) as (_, variables):
        assert "OMPI_ALLOW_RUN_AS_ROOT" not in variables
