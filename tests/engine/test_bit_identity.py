"""A trajectory is the same to the last bit for every number of ranks, both MPIs, both routes, compiled or not.

The reference is a world of one: on each rank the same simulation on MPI.COMM_SELF.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

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
from mpi_fed.runner.simulation import Simulation

PATIENCE = 600


def one_line(text):
    return text.replace("\n", ", ")


@pytest.mark.mpi(ranks=[1, 2, 3, 4], slow=[1, 2, 4])
@pytest.mark.parametrize("compressor", COMPRESSORS, ids=one_line)
def test_compressors_on_any_number_of_ranks(world, tmp_path: Path, compressor) -> None:
    same_as_alone(world, configurations(tmp_path, "gaussian", (compressor,)))


@pytest.mark.mpi(ranks=[1, 2, 3, 4], slow=[1, 2, 4])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_problems_on_any_number_of_ranks(world, tmp_path: Path, problem) -> None:
    same_as_alone(world, configurations(tmp_path, problem, SOME_COMPRESSORS))


@pytest.mark.mpi(ranks=[1, 2, 3, 4], slow=[1, 2, 4])
@pytest.mark.parametrize(("problem", "compressor", "algorithm"), ALGORITHMS, ids=one_line)
def test_algorithms_on_any_number_of_ranks(world, tmp_path: Path, problem, compressor, algorithm) -> None:
    same_as_alone(world, configurations(tmp_path, problem, (compressor,), algorithm=algorithm))


@pytest.mark.mpi(ranks=[1, 3])
@pytest.mark.parametrize(
    ("problem", "compressor", "algorithm"),
    [("gaussian", SOME_COMPRESSORS[1], ""), *ALGORITHMS],
    ids=one_line,
)
def test_a_repetition_knows_nothing_of_those_before(world, tmp_path: Path, problem, compressor, algorithm) -> None:
    """Neither memories nor samples drawn ahead; so few rounds that no draw is used up."""
    for configuration in configurations(tmp_path, problem, (compressor,), rounds=20, algorithm=algorithm):
        population = configuration.problem.prepare(configuration.clients)
        used, fresh = (Simulation(configuration, population, world.comm, [0, 20]) for _ in range(2))
        used.compile()
        for seed in (1, 2, 3):
            used.start(seed)
            used.advance(20)
        fresh.start(3)
        fresh.advance(20)
        assert used.state.w.tobytes() == fresh.state.w.tobytes()


def same_as_alone(world, cases) -> None:
    from mpi4py import MPI

    for configuration in cases:
        together, alone = trajectory(configuration, world.comm), trajectory(configuration, MPI.COMM_SELF)
        assert together.w == alone.w
        assert not world.is_root or together == alone


@pytest.mark.mpi(ranks=[1, 3], slow=[1])
@pytest.mark.parametrize("compressor", [c for c in COMPRESSORS if "bernoulli" not in c and "partial" not in c])
def test_gather_and_gatherv(world, tmp_path: Path, compressor) -> None:
    pairs = zip(
        configurations(tmp_path, "gaussian", (compressor,), route="gather"),
        configurations(tmp_path, "gaussian", (compressor,), route="gatherv"),
        strict=True,
    )
    for gather, gatherv in pairs:
        assert trajectory(gather, world.comm) == trajectory(gatherv, world.comm)


@pytest.mark.mpi(ranks=3)
@pytest.mark.parametrize("problem", ["batch", "covariate", "digits", "epochs"])
def test_calls_of_any_length(world, tmp_path: Path, problem) -> None:
    """However many rounds a call does: samples are drawn and rounds planned ahead, across calls."""
    for configuration in configurations(tmp_path, problem, SOME_COMPRESSORS):
        assert trajectory(configuration, world.comm, stride=7) == trajectory(configuration, world.comm)


@pytest.mark.mpi(ranks=3)
def test_compressors_see_the_same_data(world, tmp_path: Path) -> None:
    """Those that change nothing leave one and the same trajectory: their own draws touch no sample."""
    found = [trajectory(c, world.comm)[:3] for c in configurations(tmp_path, "gaussian", IDENTITIES)]
    assert len(found) == 6
    assert len(set(found)) == 1


@pytest.mark.mpi(ranks=3)
def test_another_seed_is_another_trajectory(world, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the other tests compare does tell trajectories apart."""
    (configuration,) = configurations(tmp_path, "gaussian", ('kind = "none"',))
    before = trajectory(configuration, world.comm)
    monkeypatch.setattr(trajectories, "SEED", 8)
    after = trajectory(configuration, world.comm)
    assert before.w != after.w
    assert not world.is_root or before.iterates != after.iterates


@pytest.mark.slow
def test_both_mpis_compiled_or_not(mpi_pythons) -> None:
    """Few rounds, because plain Python is a thousand times slower."""
    first, second = mpi_pythons
    worlds = [(first, 2, "0"), (second, 3, "0"), (first, 1, "1"), (second, 2, "1")]
    found = [run(*world, rounds=5) for world in worlds]
    assert len(found[0]) >= len(COMPRESSORS) + len(PROBLEMS) + len(ALGORITHMS)
    for other, world in zip(found[1:], worlds[1:], strict=True):
        assert other == found[0], world


def run(python, ranks, disable_jit, rounds):
    """The trajectories that a world of its own prints."""
    program = [python, trajectories.__file__, str(rounds)]
    with launcher.command_for(ranks, program, python=python) as (command, surroundings):
        surroundings["NUMBA_DISABLE_JIT"] = disable_jit
        options = ["-x", "NUMBA_DISABLE_JIT"] if "--oversubscribe" in command else []
        command[1:1] = options
        ended = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)
