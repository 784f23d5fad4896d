"""Delayed SGD: its iterates follow its definition, with and without overlap."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.trajectories import CLIENTS, configurations, trajectory

from mpi_fed.errors import InputError

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpi_fed.launch.world import World

ROUNDS = 60
DELAYED = 'kind = "delayed-sgd"'
ROUTES = (
    ("gather", 'kind = "quantization"\nlevels = 3'),
    ("gatherv", 'kind = "bernoulli"\np = 0.3'),
    ("gatherv", 'kind = "rand-h"\nh = 3\nindices = "explicit"'),
    ("gatherv", 'kind = "partial-participation"\np = 0.1'),
    ("allgather", 'kind = "quantization"\nlevels = 3'),
    ("allgatherv", 'kind = "rand-h"\nh = 3\nindices = "explicit"'),
    ("reduce", 'kind = "none"\nvalue_bits = 64'),
    ("allreduce", 'kind = "bernoulli"\np = 0.3\nmask = "common"\nvalue_bits = 64'),
)
"""Routes and compressors: messages whose lengths are fixed, computed from the seed, or sent; rounds without messages;
sums of messages."""


def on_route(configuration: Any, kind: str, **fields: Any) -> Any:
    """Return the configuration on another route."""
    from mpi_fed.routes import routes

    return replace(configuration, route=routes[kind](**fields).resolve(configuration.compressor))


def names(case: object) -> str | None:
    return case.replace("\n", ", ") if isinstance(case, str) else None


@pytest.mark.mpi(ranks=[1, 2, 3], slow=[1, 2])
@pytest.mark.parametrize(("kind", "compressor"), ROUTES, ids=names)
def test_overlap_does_not_change_messages(world: World, tmp_path: Path, kind: str, compressor: str) -> None:
    """Iterates are equal bit for bit, or up to rounding if MPI adds floats, in one call of the loop or in many."""
    assert world.size in (1, 2, 3)
    (configuration,) = configurations(tmp_path, "both", (compressor,), rounds=ROUNDS, algorithm=DELAYED)
    blocking, overlapping = (on_route(configuration, kind, overlap=overlap) for overlap in (False, None))
    if blocking.route.sums_in_mpi:
        ends = [simulated(case, world.comm) for case in (blocking, overlapping)]
        np.testing.assert_allclose(ends[1].state.w, ends[0].state.w, rtol=1e-11, atol=1e-13)
        assert ends[1].wire.totals.tolist() == ends[0].wire.totals.tolist()
        return
    expected = trajectory(blocking, world.comm)
    assert trajectory(overlapping, world.comm) == expected
    assert trajectory(overlapping, world.comm, stride=7) == expected


def simulated(configuration: Any, comm: MPI.Comm, rounds: int = ROUNDS) -> Any:
    from mpi_fed.runner.simulation import Simulation

    population = configuration.problem.prepare(configuration.clients)
    simulation = Simulation(configuration, population, comm, [0, rounds])
    simulation.compile()
    simulation.start(0)
    simulation.advance(rounds)
    return simulation


@pytest.mark.mpi(ranks=2)
def test_the_iterates_follow_the_definition(world: World, tmp_path: Path) -> None:
    """The iterates follow w_{k+1} = w_k - gamma H (w_{k-1} - w*), for true gradients of identical clients."""
    assert world.size == 2
    (configuration,) = configurations(
        tmp_path,
        "gaussian",
        ('kind = "none"\nvalue_bits = 64',),
        rounds=ROUNDS,
        algorithm=DELAYED + "\nstep_size = 0.2",
    )
    problem = configuration.problem.model_copy(update={"batch_size": "full"})
    simulation = simulated(replace(configuration, problem=problem), world.comm)
    population = simulation.population
    from mpi_fed.runner.simulation import Simulation

    begun = Simulation(replace(configuration, problem=problem), population, world.comm, [0, ROUNDS])
    begun.start(0)
    before, w, total = begun.state.w.copy(), begun.state.w.copy(), np.zeros_like(begun.state.w)
    for _ in range(ROUNDS):
        total += w
        before, w = w, w - 0.2 * population.covariance.dense @ (before - population.optimum)
    np.testing.assert_allclose(simulation.state.w, w, rtol=1e-12)
    if world.is_root:
        np.testing.assert_allclose(simulation.state.iterate_sum, total, rtol=1e-12)


@pytest.mark.mpi(ranks=2)
def test_more_clients_than_are_planned_ahead(world: World, tmp_path: Path) -> None:
    """A plan then holds two rounds, since the messages of the first round are still in transit."""
    assert world.size == 2
    (configuration,) = configurations(
        tmp_path, "diagonal", ('kind = "bernoulli"\np = 0.3',), rounds=9, algorithm=DELAYED
    )
    many = replace(configuration, clients=1301)
    assert many.clients > 512
    blocking, overlapping = (on_route(many, "gatherv", overlap=overlap) for overlap in (False, None))
    assert trajectory(overlapping, world.comm) == trajectory(blocking, world.comm)


@pytest.mark.mpi(ranks=2)
def test_compressed_and_rounded_downlinks_overlap(world: World, tmp_path: Path) -> None:
    assert world.size == 2
    (configuration,) = configurations(
        tmp_path, "both", ('kind = "quantization"\nlevels = 3',), rounds=ROUNDS, algorithm=DELAYED
    )
    down = configuration.compressor.model_copy(update={"levels": 5})
    for case in (replace(configuration, downlink=down), on_route(configuration, "gather", downlink_bits=16)):
        bits = case.route.downlink_bits
        blocking = on_route(case, "gather", overlap=False, downlink_bits=bits)
        assert trajectory(on_route(case, "gather", downlink_bits=bits), world.comm) == trajectory(blocking, world.comm)


def test_unsupported_pairings_are_refused(tmp_path: Path) -> None:
    cases: tuple[tuple[Any, str, str], ...] = (
        ("tree", DELAYED, "delayed-sgd is one round late"),
        ("reduce-levels", DELAYED, "delayed-sgd is one round late"),
        ({"kind": "gather", "overlap": True}, "sgd", "overlap is for algorithms that are one round late"),
        ({"kind": "gather", "overlap": False}, "sgd", "overlap is for algorithms that are one round late"),
    )
    for route, algorithm, words in cases:
        with pytest.raises(InputError, match=words):
            configurations(tmp_path, "gaussian", ("quantization",), route=route, algorithm=algorithm)
    blocking = {"kind": "tree", "overlap": False}
    (accepted,) = configurations(tmp_path, "gaussian", ("quantization",), route=blocking, algorithm=DELAYED)
    assert not accepted.route.overlapping(accepted.algorithm)
    assert accepted.clients == CLIENTS
