"""A compressed downlink in the compiled loop: the messages to the ranks, the ledger, and the law of the direction."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.study_text import Table, as_mapping, loaded_study
from support.trajectories import DIMENSION, configurations, trajectory

from mpi_fed.compressors import compressors
from mpi_fed.engine.wire import DOWNLINK_BYTES
from mpi_fed.errors import InputError
from mpi_fed.problems.population import Array
from mpi_fed.study.configuration import configuration_from_tables
from mpi_fed.study.labels import file_name
from mpi_fed.study.load import load_study

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpi_fed.launch.world import World

ROUNDS = 60
UP = 'kind = "bernoulli"\np = 0.5'
MEMORIES = 'kind = "control-variates"\n'
IDENTITIES: list[tuple[str, str, dict[str, Any]]] = [("", "none", {}), (MEMORIES, "bernoulli", {"p": 1.0})]


def two_way(configuration: Any, kind: str, **parameters: Any) -> Any:
    """Return the configuration with a compressed downlink."""
    return replace(configuration, downlink=compressors[kind](**parameters).resolve(DIMENSION))


def simulated(configuration: Any, comm: MPI.Comm, rounds: int = ROUNDS) -> Any:
    from mpi_fed.runner.simulation import Simulation

    population = configuration.problem.prepare(configuration.clients)
    simulation = Simulation(configuration, population, comm, [0, rounds])
    simulation.compile()
    return simulation


@pytest.mark.mpi(ranks=3)
@pytest.mark.parametrize(("algorithm", "kind", "parameters"), IDENTITIES, ids=["sgd", "control-variates"])
def test_an_exact_downlink_changes_nothing(
    world: World, tmp_path: Path, algorithm: str, kind: str, parameters: dict[str, Any]
) -> None:
    """The iterates, and w on every rank, equal those of the plain route, bit for bit."""
    assert world.size == 3
    (plain,) = configurations(tmp_path, "both", (UP,), rounds=ROUNDS, algorithm=algorithm)
    downlink = two_way(plain, kind, value_bits=64, **parameters)
    assert trajectory(downlink, world.comm, 7) == trajectory(plain, world.comm)


@pytest.mark.mpi(ranks=3)
@pytest.mark.parametrize(
    ("kind", "parameters", "self_check"),
    [
        ("quantization", {"levels": 2}, False),
        ("bernoulli", {"p": 0.3}, False),
        ("bernoulli", {"p": 0.3, "indices": "explicit"}, False),
        ("bernoulli", {"p": 0.3, "indices": "explicit"}, True),
    ],
    ids=["quantization", "shared", "explicit", "checked"],
)
def test_every_rank_decodes_the_same_bytes(
    world: World, tmp_path: Path, kind: str, parameters: dict[str, Any], self_check: bool
) -> None:
    """Iterates do not depend on the number of ranks, and the ledger counts the bytes once for each rank."""
    from mpi4py import MPI

    from mpi_fed.engine.random_streams import PRIVATE, SHARED, THE_ROOT, Stream, successes

    assert world.size == 3
    (plain,) = configurations(tmp_path, "both", (UP,), rounds=ROUNDS)
    configuration = two_way(plain, kind, **parameters)
    configuration = replace(configuration, route=configuration.route.model_copy(update={"self_check": self_check}))
    simulation, alone = (simulated(configuration, comm) for comm in (world.comm, MPI.COMM_SELF))
    for started in (simulation, alone):
        started.start(0)
        started.advance(ROUNDS)
    assert simulation.state.w.tobytes() == alone.state.w.tobytes()
    assert simulation.wrong_message() is None
    explicit, trailer = "indices" in parameters, 16 * self_check
    if kind == "quantization":
        sizes = np.full(ROUNDS, 4 + 3 * 2)  # a float, and for 13 coordinates the bits of signs and of levels 0 .. 2
    else:
        kept, gaps = np.empty(DIMENSION, np.int64), np.empty(32)
        purpose, bits = (PRIVATE, 36) if explicit else (SHARED, 32)
        streams = (Stream(np.uint64(0), THE_ROOT, np.uint64(k)) for k in range(ROUNDS))
        counts = [successes(stream, purpose, 0.3, DIMENSION, gaps, kept) for stream in streams]
        sizes = np.array([(bits * count + 7) // 8 + 4 * explicit for count in counts])
        assert 0.2 < np.mean(counts) / DIMENSION < 0.4
    if world.is_root:
        assert simulation.wire.totals[DOWNLINK_BYTES] == 3 * (sizes + trailer).sum()
        assert alone.wire.totals[DOWNLINK_BYTES] == (sizes + trailer).sum()


@pytest.mark.mpi(ranks=2)
def test_a_wrong_message_of_the_root_is_reported(world: World, tmp_path: Path) -> None:
    """The test changes the mask that the kernel of rank 1 expects."""
    assert world.size == 2
    (plain,) = configurations(tmp_path, "both", (UP,), rounds=ROUNDS)
    configuration = two_way(plain, "bernoulli", p=0.3)
    configuration = replace(configuration, route=configuration.route.model_copy(update={"self_check": True}))
    simulation = simulated(configuration, world.comm)
    simulation.start(0)
    route = simulation.kernels.route
    if world.rank == 1:
        checked = route.downlink.compressor
        inner = checked.inner._replace(p=0.31)
        route = route._replace(downlink=route.downlink._replace(compressor=checked._replace(inner=inner)))
        simulation.kernels = simulation.kernels._replace(route=route)
    simulation.advance(3)
    reports = world.comm.allgather(simulation.wrong_message())
    assert reports[0] is None
    assert reports[1].startswith("in round ")
    assert "the message of the root is wrong: it decodes to another vector" in reports[1]


def directions(configuration: Any, comm: MPI.Comm, start: Array, rounds: int) -> Array:
    """Return the directions of the steps (shape (rounds, d)) at `start` (shape (d,)); steps of 1e-6 stay close."""
    simulation = simulated(configuration, comm, rounds)
    simulation.start(0)
    simulation.state.w[:] = start
    iterates = [start.copy()]
    for stop in range(1, rounds + 1):
        simulation.advance(stop)
        iterates.append(simulation.state.w.copy())
    return np.diff(iterates, axis=0) / -1e-6


def both_ways(
    tmp_path: Path, *downlinks: Table, problem: Table = "", rounds: int = 10_000, clients: int = 1, **tables: Any
) -> Any:
    """Return the configurations of a study with these downlinks in 5 dimensions and an uplink in float64."""
    problem = {"dimension": 5} | as_mapping(problem)
    up = as_mapping(UP) | {"value_bits": 64}
    study = loaded_study(tmp_path, up, downlinks=downlinks, problem=problem, rounds=rounds, clients=clients, **tables)
    return study.configurations


@pytest.mark.mpi(ranks=1)
def test_both_compressions_are_unbiased_with_the_omega_of_the_step(world: World, tmp_path: Path) -> None:
    """E t = g and, for these compressors, E||t||^2 = (omega+1) ||g||^2 with equality.

    The second equation would be wrong if the root drew the client's random numbers. The test has 6 scores, each with
    |z| < 4.5: a false alarm once in 2 10^4 tests.
    """
    assert world.size == 1
    tables: dict[str, Any] = {"problem": 'batch_size = "full"', "algorithm": "step_size = 1e-6"}
    (configuration,) = both_ways(tmp_path, 'kind = "bernoulli"\np = 0.5\nvalue_bits = 64', **tables)
    population = configuration.problem.prepare(1)
    away = np.array([3.0, -1.0, 0.5, 2.0, 0.2])
    g = population.covariance.dense @ away
    t = directions(configuration, world.comm, population.optimum + away, 10_000)
    z = (t.mean(axis=0) - g) / t.std(axis=0) * 100
    assert np.abs(z).max() < 4.5
    omega = configuration.algorithm.step_omega(configuration.compressor, configuration.downlink, 5)
    assert omega == pytest.approx(3)
    squares = (t**2).sum(axis=1)
    assert abs(squares.mean() - (omega + 1) * g @ g) < 4.5 * squares.std() / 100


@pytest.mark.mpi(ranks=1)
@pytest.mark.parametrize("downlink", ['kind = "bernoulli"\np = 0.4', 'kind = "quantization"\nlevels = 1'])
def test_the_noise_at_the_optimum(world: World, tmp_path: Path, downlink: str) -> None:
    """Tr(C H^-1) of the directions at w* equals the predicted limit trace. A false alarm has probability 6e-5."""
    from mpi_fed.theory.prediction import compute

    assert world.size == 1
    tables: dict[str, Any] = {"problem": 'batch_size = 2\nshift = "both"', "algorithm": "step_size = 1e-6"}
    (configuration,) = both_ways(tmp_path, downlink, clients=3, **tables)
    population = configuration.problem.prepare(3)
    t = directions(configuration, world.comm, population.optimum, 10_000)
    traces = np.einsum("kj,jl,kl->k", t, np.linalg.inv(population.covariance.dense), t)
    expected = compute(configuration, population)
    assert expected.limit_trace is not None
    assert expected.limit_trace_error is not None
    error = np.hypot(traces.std() / 100, expected.limit_trace_error)
    assert abs(traces.mean() - expected.limit_trace) < 4 * error


@pytest.mark.mpi(ranks=1)
@pytest.mark.parametrize("algorithm", ["", MEMORIES], ids=["sgd", "control-variates"])
def test_runs_have_the_predicted_risk(world: World, tmp_path: Path, algorithm: str) -> None:
    """2000 repetitions of 30 rounds test the last and the averaged iterate. A false alarm has probability 1.3e-4."""
    from mpi_fed.theory.prediction import compute

    assert world.size == 1
    rounds, repetitions = 30, 2000
    tables: dict[str, Any] = {"problem": 'shift = "optimum"\noptimum_spread = 1.0', "algorithm": algorithm}
    (configuration,) = both_ways(tmp_path, 'kind = "bernoulli"\np = 0.4', clients=2, rounds=rounds, **tables)
    population = configuration.problem.prepare(2)
    expected = compute(configuration, population, [rounds])
    assert expected.prediction_kind == "exact"
    simulation, risks = simulated(configuration, world.comm, rounds), []
    for seed in range(repetitions):
        simulation.start(seed)
        simulation.advance(rounds)
        state = simulation.state
        risks.append([population.excess_risk(state.iterate_sum / rounds), population.excess_risk(state.w)])
    assert expected.excess_risk_averaged is not None
    assert expected.excess_risk_last is not None
    predicted: Any = [expected.excess_risk_averaged[0], expected.excess_risk_last[0]]
    z = (np.mean(risks, axis=0) - predicted) / np.std(risks, axis=0) * np.sqrt(repetitions)
    assert np.abs(z).max() < 4


def test_downlinks_of_a_study_file(tmp_path: Path) -> None:
    """Tables and lists make grids with distinct labels and file names.

    The tables of a log build the same configuration again.
    """
    grid = both_ways(tmp_path, 'kind = "quantization"\nlevels = [1, 2]', 'kind = "rand-h"\nomega = 1.5')
    assert [c.label for c in grid] == [
        f"bernoulli value_bits=64 p=0.5 downlink={rest}"
        for rest in ("quantization levels=1", "quantization levels=2", "rand-h h=2")
    ]
    assert len({c.id for c in grid}) == len({file_name(c.label, c.id) for c in grid}) == 3
    again = configuration_from_tables(json.loads(json.dumps(grid[2].tables)))
    assert (again.id, again.downlink, again.label) == (grid[2].id, grid[2].downlink, grid[2].label)
    assert "downlink" not in replace(grid[0], downlink=None).tables
    wider = load_study(tmp_path / "study.toml", ["downlink.value_bits=64"]).configurations
    assert [c.downlink and c.downlink.value_bits for c in wider] == [64, 64, 64]


@pytest.mark.parametrize(
    ("downlink", "more", "words"),
    [
        ('kind = "top-k"\nk = 2', {}, ["[[downlink]] 1", "biased"]),
        ('kind = "partial-participation"\np = 0.5', {}, ["[[downlink]] 1", "partial-participation", "the root"]),
        ('kind = "rand-h"\nh = 2\nmask = "common"', {}, ["[[downlink]] 1", 'mask = "common"']),
        ('kind = "rand-h"\nh = 9', {}, ["[[downlink]] 1", "h = 9"]),
        ('kind = "rand-g"', {}, ["[[downlink]] 1", "rand-h"]),
        ('kind = "none"', {"route": 'kind = "allgatherv"'}, ["[[downlink]] 1", "allgatherv"]),
        ('kind = "none"', {"route": "downlink_bits = 32"}, ["[[downlink]] 1", "downlink_bits"]),
    ],
)
def test_impossible_downlinks_are_refused(
    tmp_path: Path, downlink: str, more: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(InputError) as refused:
        both_ways(tmp_path, downlink, **more)
    for word in words:
        assert word in str(refused.value)


def test_error_feedback_has_no_compressed_downlink(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\[\[downlink\]\] 1 cannot be used with algorithm kind = \"error-feedback\""):
        loaded_study(tmp_path, 'kind = "top-k"\nk = 2', downlinks=["none"], algorithm="error-feedback")


def test_the_rate_of_memories_depends_on_the_uplink_only(tmp_path: Path) -> None:
    """alpha is 1/(2 (omega_up+1)); the step size depends on both compressions."""
    from mpi_fed.theory.prediction import compute
    from mpi_fed.theory.run_model import run_model

    (configuration,) = both_ways(tmp_path, 'kind = "bernoulli"\np = 0.25', algorithm=MEMORIES)
    population = configuration.problem.prepare(1)
    assert run_model(configuration, population).alpha == pytest.approx(1 / 4)
    prediction = compute(configuration, population, [1])
    assert prediction.omega == pytest.approx(7)
    assert prediction.step_size == pytest.approx(1 / (16 * population.trace))
