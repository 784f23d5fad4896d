"""A trajectory has the same bits for every number of ranks, both MPI libraries, both routes, compiled or not.

The reference is the same simulation on one rank: MPI.COMM_SELF on each rank.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from support import trajectories
from support.trajectories import (
    ALGORITHMS,
    COMPRESSORS,
    IDENTITIES,
    PROBLEMS,
    SOME_COMPRESSORS,
    configurations,
    trajectory,
)

from mpi_fed.launch import launcher
from mpi_fed.launch.world import World
from mpi_fed.runner.simulation import Simulation
from mpi_fed.study.configuration import Configuration

PATIENCE = 600


def one_line(text: str) -> str:
    return text.replace("\n", ", ")


@pytest.mark.mpi(ranks=[1, 2, 3, 4], slow=[1, 2, 4])
@pytest.mark.parametrize("compressor", COMPRESSORS, ids=one_line)
def test_compressors_on_any_number_of_ranks(world: World, tmp_path: Path, compressor: str) -> None:
    assert_same_as_on_one_rank(world, configurations(tmp_path, "gaussian", (compressor,)))


@pytest.mark.mpi(ranks=[1, 2, 3, 4], slow=[1, 2, 4])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_problems_on_any_number_of_ranks(world: World, tmp_path: Path, problem: str) -> None:
    assert_same_as_on_one_rank(world, configurations(tmp_path, problem, SOME_COMPRESSORS))


@pytest.mark.mpi(ranks=[1, 2, 3, 4], slow=[1, 2, 4])
@pytest.mark.parametrize(("problem", "compressor", "algorithm"), ALGORITHMS, ids=one_line)
def test_algorithms_on_any_number_of_ranks(
    world: World, tmp_path: Path, problem: str, compressor: str, algorithm: str
) -> None:
    assert_same_as_on_one_rank(world, configurations(tmp_path, problem, (compressor,), algorithm=algorithm))


@pytest.mark.mpi(ranks=[1, 3])
@pytest.mark.parametrize(
    ("problem", "compressor", "algorithm"),
    [("gaussian", SOME_COMPRESSORS[1], ""), *ALGORITHMS],
    ids=one_line,
)
def test_a_repetition_does_not_depend_on_earlier_ones(
    world: World, tmp_path: Path, problem: str, compressor: str, algorithm: str
) -> None:
    """No memories or samples drawn ahead remain from a repetition; it has few rounds, so that samples are left over."""
    for configuration in configurations(tmp_path, problem, (compressor,), rounds=20, algorithm=algorithm):
        population = configuration.problem.prepare(configuration.clients)
        reused, fresh = (Simulation(configuration, population, world.comm, [0, 20]) for _ in range(2))
        reused.compile()
        for seed in (1, 2, 3):
            reused.start(seed)
            reused.advance(20)
        fresh.start(3)
        fresh.advance(20)
        assert reused.state.w.tobytes() == fresh.state.w.tobytes()


def assert_same_as_on_one_rank(world: World, cases: Iterable[Configuration]) -> None:
    from mpi4py import MPI

    for configuration in cases:
        together, alone = trajectory(configuration, world.comm), trajectory(configuration, MPI.COMM_SELF)
        assert together.w == alone.w
        assert not world.is_root or together == alone


@pytest.mark.mpi(ranks=[1, 3], slow=[1])
@pytest.mark.parametrize("compressor", [c for c in COMPRESSORS if "bernoulli" not in c and "partial" not in c])
def test_gather_and_gatherv_give_the_same_trajectory(world: World, tmp_path: Path, compressor: str) -> None:
    pairs = zip(
        configurations(tmp_path, "gaussian", (compressor,), route="gather"),
        configurations(tmp_path, "gaussian", (compressor,), route="gatherv"),
        strict=True,
    )
    for gather, gatherv in pairs:
        assert trajectory(gather, world.comm) == trajectory(gatherv, world.comm)


@pytest.mark.mpi(ranks=3)
@pytest.mark.parametrize("problem", ["batch", "covariate", "digits", "epochs"])
def test_the_number_of_rounds_in_a_call_changes_nothing(world: World, tmp_path: Path, problem: str) -> None:
    """Samples are drawn, and rounds are planned, beyond the end of a call."""
    for configuration in configurations(tmp_path, problem, SOME_COMPRESSORS):
        assert trajectory(configuration, world.comm, stride=7) == trajectory(configuration, world.comm)


@pytest.mark.mpi(ranks=3)
def test_compressors_see_the_same_data(world: World, tmp_path: Path) -> None:
    """All compressors with C(x) = x give the same trajectory: their random numbers do not change the samples."""
    digests = [trajectory(c, world.comm)[:3] for c in configurations(tmp_path, "gaussian", IDENTITIES)]
    assert len(digests) == 6
    assert len(set(digests)) == 1


@pytest.mark.mpi(ranks=3)
def test_another_seed_gives_another_trajectory(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Different trajectories have different digests, so the other tests can fail."""
    (configuration,) = configurations(tmp_path, "gaussian", ('kind = "none"',))
    before = trajectory(configuration, world.comm)
    monkeypatch.setattr(trajectories, "SEED", 8)
    after = trajectory(configuration, world.comm)
    assert before.w != after.w
    assert not world.is_root or before.iterates != after.iterates


@pytest.mark.slow
def test_both_mpis_compiled_or_not_give_the_same_bits(mpi_pythons: list[str]) -> None:
    """There are few rounds, because plain Python is a thousand times slower."""
    first, second = mpi_pythons
    worlds = [(first, 2, "0"), (second, 3, "0"), (first, 1, "1"), (second, 2, "1")]
    results = [run(*world, rounds=5) for world in worlds]
    assert len(results[0]) >= len(COMPRESSORS) + len(PROBLEMS) + len(ALGORITHMS)
    for other, world in zip(results[1:], worlds[1:], strict=True):
        assert other == results[0], world


def run(python: str, ranks: int, disable_jit: str, rounds: int) -> dict[str, Any]:
    """Return the trajectories that a new MPI program prints."""
    program = [python, trajectories.__file__, str(rounds)]
    with launcher.command_for(ranks, program, python=python) as (command, variables):
        variables["NUMBA_DISABLE_JIT"] = disable_jit
        options = ["-x", "NUMBA_DISABLE_JIT"] if "--oversubscribe" in command else []
        command[1:1] = options
        ended = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 0, ended.stderr
    digests: dict[str, Any] = json.loads(ended.stdout)
    return digests
