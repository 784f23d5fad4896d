"""Routes: all give the iterates of the gather route, and the ledger holds the bytes that MPI carried."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.study_text import loaded_study
from support.trajectories import ALGORITHMS, CLIENTS, COMPRESSORS, DIMENSION, configurations, trajectory

from mpi_fed.engine.checksums import TRAILER
from mpi_fed.engine.wire import DOWNLINK_BYTES, PAYLOAD_BYTES, UPLINK_BYTES

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpi_fed.launch.world import World

ROUNDS = 60
NONE = ('kind = "none"\nvalue_bits = 64',)
SUMS: tuple[tuple[str, dict[str, Any]], ...] = (("reduce", {}), ("allreduce", {}), ("tree-reduce", {"group_size": 2}))
MEMORIES = next(case for case in ALGORITHMS if "control-variates" in case[2])


def routed(configuration: Any, kind: str, **fields: Any) -> Any:
    """Return the configuration on another route."""
    from mpi_fed.routes import routes

    return replace(configuration, route=routes[kind](**fields).resolve(configuration.compressor))


def simulated(configuration: Any, comm: MPI.Comm, stop: int = ROUNDS) -> Any:
    from mpi_fed.runner.simulation import Simulation

    population = configuration.problem.prepare(configuration.clients)
    simulation = Simulation(configuration, population, comm, [0, ROUNDS])
    simulation.compile()
    simulation.start(0)
    simulation.advance(stop)
    return simulation


def same_everywhere(world: World, array: NDArray[np.float64]) -> bool:
    return len(set(world.comm.allgather(array.tobytes()))) == 1


@pytest.mark.mpi(ranks=[1, 3], slow=[1])
@pytest.mark.parametrize("compressor", COMPRESSORS, ids=lambda text: text.replace("\n", ", "))
def test_ranks_that_decode_compute_the_iterates_of_the_root(world: World, tmp_path: Path, compressor: str) -> None:
    """All ranks have the same iterates, bit for bit, and the same messages in the ledger."""
    for configuration in configurations(tmp_path, "gaussian", (compressor,), rounds=ROUNDS):
        fixed = configuration.compressor.fixed_length
        kinds = ("gather", "allgather", "allgatherv") if fixed else ("gatherv", "allgatherv")
        root, *others = (trajectory(routed(configuration, kind), world.comm) for kind in kinds)
        for other in others:
            assert other == root


@pytest.mark.mpi(ranks=3)
def test_memories_are_equal_on_all_ranks(world: World, tmp_path: Path) -> None:
    problem, compressor, algorithm = MEMORIES
    for configuration in configurations(tmp_path, problem, (compressor,), rounds=ROUNDS, algorithm=algorithm):
        assert trajectory(routed(configuration, "allgatherv"), world.comm) == trajectory(configuration, world.comm)


TREES = (
    'kind = "quantization"\nlevels = 3',
    'kind = "bernoulli"\np = 0.3\nindices = ["shared", "explicit"]',
)
"""Compressors with equal lengths, with lengths computed from the shared seed, with lengths that only senders know."""


@pytest.mark.mpi(ranks=[3, 4], slow=[4])
@pytest.mark.parametrize("compressor", TREES, ids=["fixed", "varying"])
def test_a_tree_changes_no_bit(world: World, tmp_path: Path, compressor: str) -> None:
    """A group has two ranks (a third rank is a group of its own), all ranks, or ranks that are not consecutive."""
    from mpi_fed.routes.tree import TreeRoute

    class InTurn(TreeRoute):
        def split(self, comm: MPI.Comm) -> MPI.Comm:
            return comm.Split((comm.rank + 1) // 2 % 2, comm.rank)

    for configuration in configurations(tmp_path, "gaussian", (compressor,), rounds=ROUNDS):
        expected = trajectory(configuration, world.comm)
        for route in (TreeRoute(group_size=2), TreeRoute(), InTurn()):
            assert trajectory(replace(configuration, route=route), world.comm) == expected


@pytest.mark.mpi(ranks=[3, 4], slow=[4])
def test_the_ledger_counts_both_levels_of_a_tree(world: World, tmp_path: Path) -> None:
    """Messages go to leaders and then to the root; w goes to two leaders and then to all ranks."""
    groups = 2
    d, n, ranks = 8 * DIMENSION, CLIENTS, world.size
    (configuration,) = configurations(tmp_path, "gaussian", NONE, rounds=ROUNDS)
    for kind, up in (("tree", 2 * n * d), ("tree-reduce", (ranks + groups) * d)):
        totals = simulated(routed(configuration, kind, group_size=2), world.comm).wire.totals
        if world.is_root:
            expected = [ROUNDS * n * d, ROUNDS * up, ROUNDS * (ranks + groups) * d]
            assert totals[[PAYLOAD_BYTES, UPLINK_BYTES, DOWNLINK_BYTES]].tolist() == expected, kind
    _, explicit = configurations(tmp_path, "gaussian", (TREES[1],), rounds=ROUNDS)
    totals = simulated(routed(explicit, "tree", group_size=2), world.comm).wire.totals
    if world.is_root:
        counts = 4 * 2 * ranks  # one int32 for each client of a rank, at most two
        assert totals[UPLINK_BYTES] == 2 * (totals[PAYLOAD_BYTES] + ROUNDS * counts)


@pytest.mark.mpi(ranks=3)
def test_a_tree_carries_checksums(world: World, tmp_path: Path) -> None:
    (configuration,) = configurations(tmp_path, "gaussian", (TREES[0],), rounds=ROUNDS)
    plain, checked = (
        simulated(routed(configuration, "tree", group_size=2, self_check=check), world.comm) for check in (None, True)
    )
    assert checked.wrong_message() is None
    assert checked.state.w.tobytes() == plain.state.w.tobytes()
    if world.is_root:
        assert (checked.wire.totals - plain.wire.totals).tolist() == [0, 0, 2 * ROUNDS * CLIENTS * TRAILER, 0]


@pytest.mark.mpi(ranks=3)
def test_one_rank_continues_the_checkpoint_of_a_tree(world: World, tmp_path: Path) -> None:
    """One rank, the root, continues a run of three ranks. Closing a simulation frees the tree's communicators."""
    from mpi4py import MPI

    from mpi_fed.engine import mpi_calls
    from mpi_fed.runner import checkpoint

    (configuration,) = configurations(tmp_path, "gaussian", (TREES[0],), rounds=ROUNDS)
    configuration = routed(configuration, "tree", group_size=2)
    before = len(mpi_calls._communicators)
    whole, first = (simulated(configuration, world.comm, stop) for stop in (ROUNDS, 25))
    log = Path(world.comm.bcast(str(tmp_path))) / "a.h5"
    checkpoint.save(world, log, first)
    assert len(mpi_calls._communicators) > before
    whole.close()
    first.close()
    assert len(mpi_calls._communicators) == before
    if world.is_root:
        alone = replace(world, comm=MPI.COMM_SELF, node=MPI.COMM_SELF, rank=0, size=1)
        second = simulated(configuration, MPI.COMM_SELF, 3)
        checkpoint.restore(alone, checkpoint.load(log, configuration), second)
        second.advance(ROUNDS)
        assert second.state.w.tobytes() == whole.state.w.tobytes()


@pytest.mark.mpi(ranks=[1, 3])
@pytest.mark.parametrize(("bits", "tolerance"), [(64, 1e-13), (32, 1e-5)])
def test_sums_equal_those_of_the_root(world: World, tmp_path: Path, bits: int, tolerance: float) -> None:
    """The sums are equal up to rounding: each rank first adds up its clients' messages, and MPI orders the ranks."""
    (configuration,) = configurations(tmp_path, "gaussian", (f'kind = "none"\nvalue_bits = {bits}',), rounds=ROUNDS)
    expected = simulated(configuration, world.comm).state.w
    for kind, options in SUMS:
        summed = simulated(routed(configuration, kind, **options), world.comm)
        np.testing.assert_allclose(summed.state.w, expected, rtol=tolerance, atol=tolerance)
        assert same_everywhere(world, summed.state.model)
        if world.is_root and world.size > 1 and bits == 32:
            assert summed.state.w.tobytes() != expected.tobytes(), "several clients of a rank are added up first"


COMMON = [
    f"{keys}\nvalue_bits = 64"
    for keys in (
        'kind = "rand-h"\nh = 4\nmask = "common"',
        'kind = "bernoulli"\np = 0.3\nmask = "common"',
        'kind = "sketch"\nh = 3\nmask = "common"',
    )
]


@pytest.mark.mpi(ranks=[1, 3], slow=[1])
@pytest.mark.parametrize("compressor", COMMON, ids=["rand-h", "bernoulli", "sketch"])
def test_messages_of_a_common_mask_add_up(world: World, tmp_path: Path, compressor: str) -> None:
    """The sum of the messages decodes to the sum of the decoded messages, with the same messages in the ledger."""
    (configuration,) = configurations(tmp_path, "gaussian", (compressor,), rounds=ROUNDS)
    expected = simulated(configuration, world.comm)
    for kind in ("reduce", "allreduce"):
        summed = simulated(routed(configuration, kind), world.comm)
        np.testing.assert_allclose(summed.state.w, expected.state.w, rtol=1e-11, atol=1e-11)
        if world.is_root:
            assert summed.wire.totals[PAYLOAD_BYTES] == expected.wire.totals[PAYLOAD_BYTES] > 0
            assert CLIENTS * summed.wire.totals[UPLINK_BYTES] == world.size * summed.wire.totals[PAYLOAD_BYTES]


@pytest.mark.mpi(ranks=2)
@pytest.mark.parametrize("compressor", COMMON, ids=["rand-h", "bernoulli", "sketch"])
def test_a_common_mask_is_drawn_independently_of_own_masks(world: World, tmp_path: Path, compressor: str) -> None:
    (common,) = configurations(tmp_path, "gaussian", (compressor,), rounds=ROUNDS)
    (own,) = configurations(tmp_path, "gaussian", (compressor.replace("common", "own"),), rounds=ROUNDS)
    assert own.compressor.mask is None
    one, other = simulated(common, world.comm), simulated(own, world.comm)
    assert (one.state.w != other.state.w).all()


@pytest.mark.mpi(ranks=3)
def test_the_ledger_counts_the_bytes_of_each_route(world: World, tmp_path: Path) -> None:
    """The uplink counts the send buffers of all ranks, and the downlink the bytes that all ranks receive."""
    (configuration,) = configurations(tmp_path, "gaussian", NONE, rounds=ROUNDS)
    d, n, ranks = 8 * DIMENSION, CLIENTS, world.size
    slots = -(-n // ranks)
    expected = {
        "gather": (ranks * slots * d, ranks * d),
        "gatherv": (n * d, ranks * d),
        "allgather": (ranks * slots * d, ranks * ranks * slots * d),
        "allgatherv": (n * d, ranks * n * d),
        "reduce": (ranks * d, ranks * d),
        "allreduce": (ranks * d, ranks * d),
        "tree": (2 * n * d, (ranks + 1) * d),  # one group, whose leader is the root
        "tree-reduce": ((ranks + 1) * d, (ranks + 1) * d),
    }
    from mpi_fed.routes import routes

    assert expected.keys() == routes.keys() - {"auto", "reduce-levels"}  # see test_reduce_levels.py
    for kind, (up, down) in expected.items():
        totals = simulated(routed(configuration, kind), world.comm).wire.totals
        if world.is_root:
            counted = totals[[PAYLOAD_BYTES, UPLINK_BYTES, DOWNLINK_BYTES]].tolist()
            assert counted == [ROUNDS * n * d, ROUNDS * up, ROUNDS * down], kind


@pytest.mark.mpi(ranks=[1, 3])
@pytest.mark.parametrize("bits", [32, 16])
@pytest.mark.parametrize("kind", ["gather", "reduce", "tree"])
def test_a_downlink_of_fewer_bits(world: World, tmp_path: Path, kind: str, bits: int) -> None:
    """All ranks compute with the same rounded w of the root, for every number of ranks."""
    from mpi4py import MPI

    (configuration,) = configurations(tmp_path, "gaussian", NONE, rounds=ROUNDS)
    configuration = routed(configuration, kind, downlink_bits=bits)
    rounded = simulated(configuration, world.comm)
    model = rounded.state.model
    assert same_everywhere(world, model)
    floats: Any = {32: np.float32, 16: np.float16}[bits]
    assert (model.astype(floats) == model).all()
    if world.is_root:
        w = rounded.state.w
        assert (w != model).any()
        if bits == 32:
            np.testing.assert_array_equal(model, w.astype(np.float32))
        else:
            lower = np.abs(w) * (1 - 2.0**-10) - 2.0**-24
            assert ((np.abs(model) >= lower) & (np.abs(model) <= np.abs(w) * (1 + 2.0**-10) + 2.0**-24)).all()
        receipts = world.size + (kind == "tree")
        assert rounded.wire.totals[DOWNLINK_BYTES] == ROUNDS * bits // 8 * DIMENSION * receipts
    if kind != "reduce":
        alone = simulated(configuration, MPI.COMM_SELF)
        assert alone.state.model.tobytes() == model.tobytes()


@pytest.mark.mpi(ranks=2)
def test_a_checkpoint_holds_the_rounded_model(world: World, tmp_path: Path) -> None:
    from mpi_fed.runner import checkpoint

    (configuration,) = configurations(tmp_path, "gaussian", NONE, rounds=ROUNDS)
    configuration = routed(configuration, "gather", downlink_bits=16)
    whole = simulated(configuration, world.comm)
    first = simulated(configuration, world.comm, 25)
    log = Path(world.comm.bcast(str(tmp_path))) / "a.h5"
    checkpoint.save(world, log, first)
    second = simulated(configuration, world.comm, 3)
    checkpoint.restore(world, checkpoint.load(log, configuration) if world.is_root else None, second)
    second.advance(ROUNDS)
    assert second.state.model.tobytes() == whole.state.model.tobytes()
    assert not world.is_root or second.state.w.tobytes() == whole.state.w.tobytes()


@pytest.mark.mpi(ranks=2)
def test_the_first_client_whose_number_overflows_is_reported(world: World, tmp_path: Path) -> None:
    """The error reports neither the root, whose w is NaN after the overflow, nor the first rank."""
    from mpi_fed.engine.random_streams import THE_ROOT
    from mpi_fed.errors import InputError
    from mpi_fed.runner.repetitions import _check_overflow

    assert world.size == 2
    (configuration,) = configurations(tmp_path, "gaussian", ('kind = "none"\nvalue_bits = 16',), rounds=ROUNDS)
    simulation = simulated(routed(configuration, "gather", downlink_bits=32), world.comm, 3)
    _check_overflow(world, simulation, None)
    cases: tuple[tuple[tuple[int | np.int64, int], str], ...] = (
        ((np.int64(THE_ROOT), 7), "in round 7 client 3 had to send"),
        ((0, 8), "in round 7 client 3 had to send"),
        ((np.int64(THE_ROOT), 6), "in round 6 the root had to send"),
    )
    for root, message in cases:
        simulation.state.overflow[:] = root if world.is_root else (3, 7)
        wider = "the route downlink_bits = 32" if "root" in message else "this compressor value_bits = 32"
        with pytest.raises(InputError, match=f"{message}.* give {wider}"):
            _check_overflow(world, simulation, None)


@pytest.mark.parametrize(
    ("route", "compressor", "words"),
    [
        ('kind = "allgather"', 'kind = "bernoulli"\np = 0.5', ["[route]", "allgather", "bernoulli", '"allgatherv"']),
        ('kind = "reduce"', 'kind = "quantization"\nlevels = 1', ["[route]", "reduce", "quantization", '"auto"']),
        ('kind = "allreduce"', 'kind = "none"\nvalue_bits = 16', ["[route]", "allreduce", "16 bits", "32"]),
        ('kind = "reduce"\nself_check = true', 'kind = "none"', ["[route]", "reduce", "checksums", '"gather"']),
        ('kind = "allreduce"\ndownlink_bits = 32', 'kind = "none"', ["[route]", "allreduce", "downlink_bits"]),
        ('kind = "reduce"', 'kind = "rand-h"\nh = 2', ["[route]", "reduce", "rand-h", 'mask = "common"']),
        ('kind = "tree-reduce"\nself_check = true', 'kind = "none"', ["[route]", "tree-reduce", "checksums", "gather"]),
        ('kind = "tree-reduce"', 'kind = "quantization"\nlevels = 1', ["[route]", "tree-reduce", "quantization"]),
        ('kind = "tree"\ngroup_size = 0', 'kind = "none"', ["[route]", "group_size", "at least 1"]),
        ('kind = "auto"', 'kind = "rand-h"\nh = 2\nmask = "common"\nindices = "explicit"', ["mask", "indices"]),
        ('kind = "auto"\ndownlink_bits = 8', 'kind = "none"', ["[route]", "downlink_bits", "8"]),
    ],
)
def test_unsupported_pairings_are_refused(tmp_path: Path, route: str, compressor: str, words: list[str]) -> None:
    from mpi_fed.errors import InputError

    with pytest.raises(InputError) as refused:
        loaded_study(tmp_path, compressor, route=route)
    for word in words:
        assert word in str(refused.value)


MASKED = ['kind = "rand-h"\nh = 2', 'kind = "bernoulli"\np = 0.4', 'kind = "sketch"\nh = 2']


@pytest.mark.mpi(ranks=1)
@pytest.mark.parametrize("compressor", MASKED, ids=["r", "b", "s"])
@pytest.mark.parametrize("mask", ["common", "own"])
def test_the_noise_at_the_optimum_of_a_common_mask(world: World, tmp_path: Path, compressor: str, mask: str) -> None:
    """The trace over rounds with steps too small to leave w* equals its prediction.

    A false alarm has probability 6e-5.
    """
    from mpi_fed.runner.simulation import Simulation
    from mpi_fed.theory.prediction import compute

    problem = {"batch_size": 2, "shift": "both", "noise_variance": 0.5}
    tables: dict[str, Any] = {"rounds": 20_000, "clients": 3, "problem": problem, "algorithm": "step_size = 1e-6"}
    (configuration,) = loaded_study(tmp_path, f'{compressor}\nmask = "{mask}"', **tables).configurations
    population = configuration.problem.prepare(3)
    simulation = Simulation(configuration, population, world.comm, [0, 20_000])
    simulation.compile()
    simulation.start(0)
    simulation.state.w[:] = population.optimum
    iterates = [population.optimum.copy()]
    for stop in range(1, 20_001):
        simulation.advance(stop)
        iterates.append(simulation.state.w.copy())
    messages = np.diff(iterates, axis=0) / -1e-6
    inverse = np.linalg.inv(population.covariance.dense)
    traces = np.einsum("kj,jl,kl->k", messages, inverse, messages)
    expected = compute(configuration, population).limit_trace
    assert expected is not None
    assert abs(traces.mean() - expected) < 4 * traces.std() / np.sqrt(len(traces))
