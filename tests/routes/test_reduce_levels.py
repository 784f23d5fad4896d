"""Route reduce-levels: quantization with a common scale adds up exactly, is unbiased, and has the stated variance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.study_text import loaded_study
from support.trajectories import CLIENTS, DIMENSION, configurations, trajectory

from mpi_fed.engine.wire import DOWNLINK_BYTES, INFORMATION_BITS, PAYLOAD_BYTES, UPLINK_BYTES
from mpi_fed.errors import InputError

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpi_fed.launch.world import World

ROUNDS = 60
STILL = 1e-12
"""A step size so small that w, and with it every gradient, does not change."""


def quantized(folder: Path, levels: int, problem: str = "gaussian", bits: int = 64, algorithm: str = "") -> Any:
    compressor = f'kind = "quantization"\nlevels = {levels}\nvalue_bits = {bits}'
    (configuration,) = configurations(folder, problem, (compressor,), ROUNDS, "reduce-levels", algorithm)
    return configuration


def simulated(configuration: Any, comm: MPI.Comm, stop: int = ROUNDS) -> Any:
    from mpi_fed.runner.simulation import Simulation

    population = configuration.problem.prepare(configuration.clients)
    simulation = Simulation(configuration, population, comm, [0, configuration.rounds])
    simulation.compile()
    simulation.start(0)
    simulation.advance(stop)
    return simulation


@pytest.mark.mpi(ranks=[1, 2, 4], slow=[4])
@pytest.mark.parametrize(("levels", "bits"), [(1, 32), (100, 64), (32767, 64)])
def test_sums_are_exact(world: World, tmp_path: Path, levels: int, bits: int) -> None:
    """With integers of 8, 16 and 32 bits, the iterates on any number of ranks have the bits of those on one rank."""
    from mpi4py import MPI

    configuration = quantized(tmp_path, levels, bits=bits)
    together, alone = trajectory(configuration, world.comm), trajectory(configuration, MPI.COMM_SELF)
    assert together == alone if world.is_root else together.w == alone.w


@pytest.mark.mpi(ranks=2)
@pytest.mark.parametrize(("levels", "width"), [(1, 1), (25, 1), (26, 2), (6553, 2), (6554, 4)])
def test_the_ledger_counts_integers_of_the_fewest_bytes(world: World, tmp_path: Path, levels: int, width: int) -> None:
    """An integer holds a sum of up to 5 s: one byte up to 127, two bytes up to 32,767, else four bytes.

    The uplink counts a norm and d integers for each rank, and the downlink the largest norm and w.
    """
    totals = simulated(quantized(tmp_path, levels, bits=32), world.comm).wire.totals
    if world.is_root:
        message = 4 + width * DIMENSION
        assert totals[INFORMATION_BITS] == ROUNDS * CLIENTS * (32 + (1 + levels.bit_length()) * DIMENSION)
        assert totals[PAYLOAD_BYTES] == ROUNDS * CLIENTS * message
        assert totals[UPLINK_BYTES] == ROUNDS * world.size * message
        assert totals[DOWNLINK_BYTES] == ROUNDS * world.size * (4 + 8 * DIMENSION)


@pytest.mark.mpi(ranks=1)
@pytest.mark.parametrize("levels", [1, 5])
def test_one_client_sends_plain_quantization(world: World, tmp_path: Path, levels: int) -> None:
    from mpi_fed.routes import routes

    shared = replace(quantized(tmp_path, levels), clients=1)
    plain = replace(shared, route=routes["gather"]())
    assert simulated(shared, world.comm).state.w.tobytes() == simulated(plain, world.comm).state.w.tobytes()


@pytest.mark.mpi(ranks=2)
@pytest.mark.parametrize("levels", [1, 3])
def test_mean_and_variance_of_decoded_messages(world: World, tmp_path: Path, levels: int) -> None:
    """At fixed gradients, over 3,000 rounds, 2 x 13 scores are below 5: a false alarm in fewer than 1 of 10,000 tests.

    The scores of the variance use the fourth moments of the law.
    """
    from mpi_fed.problems.population import gradient_at

    many = 3000
    configuration = quantized(tmp_path, levels, "full", algorithm=f"step_size = {STILL}")
    simulation = simulated(replace(configuration, rounds=many), world.comm, 0)
    gradients = np.array([gradient_at(client, simulation.state.w.copy()) for client in simulation.population.clients])
    decoded = np.empty((many, DIMENSION))
    for k in range(many):
        simulation.advance(k + 1)
        decoded[k] = simulation.state.total
    if not world.is_root:
        return
    scale = np.linalg.norm(gradients, axis=1).max()
    f = np.modf(levels * np.abs(gradients) / scale)[0]
    variance = (scale / levels) ** 2 * (f * (1 - f)).sum(axis=0) / CLIENTS**2
    if levels == 1:
        by_hand = (scale * np.abs(gradients) - gradients**2).sum(axis=0) / CLIENTS**2
        np.testing.assert_allclose(variance, by_hand)
    error = decoded - gradients.mean(axis=0)
    scores = error.mean(axis=0) / np.sqrt(variance / many)
    assert np.abs(scores).max() < 5
    each = (scale / levels) ** 4 * f * (1 - f) * (1 - 3 * f * (1 - f)) / CLIENTS**4
    own = (scale / levels) ** 2 * f * (1 - f) / CLIENTS**2
    fourth = (each - 3 * own**2).sum(axis=0) + 3 * variance**2
    scores = ((error**2).mean(axis=0) - variance) / np.sqrt((fourth - variance**2) / many)
    assert np.abs(scores).max() < 5
    plain = np.linalg.norm(gradients, axis=1)
    assert plain.min() < 0.9 * scale, "the test needs clients whose norms differ from the common scale"


def test_there_are_predictions_only_for_one_client(tmp_path: Path) -> None:
    """One client sends plain quantization, for which there is a prediction; several clients have no prediction."""
    from mpi_fed.theory.prediction import compute

    configuration = quantized(tmp_path, 1)
    several = compute(configuration, configuration.problem.prepare(CLIENTS))
    assert several.prediction_kind is None
    assert several.limit_trace is None
    assert several.note is not None
    assert "share a scale" in several.note
    one = compute(replace(configuration, clients=1), configuration.problem.prepare(1))
    assert one.limit_trace is not None
    assert one.limit_trace > 0


@pytest.mark.parametrize(
    ("compressor", "more", "words"),
    [
        ("none", {}, ["none", '"auto"']),
        ('kind = "quantization"\nlevels = 2\nbucket = 3', {}, ["buckets", '"auto"']),
        ('kind = "quantization"\nvalue_bits = 16', {}, ["16 bits", "value_bits = 32"]),
        ("quantization", {"route": 'kind = "reduce-levels"\nself_check = true'}, ["checksums", '"gather"']),
        ("quantization", {"algorithm": "control-variates"}, ["control-variates", '"sgd"', '"auto"']),
    ],
    ids=["none", "buckets", "float16", "checksums", "memories"],
)
def test_unsupported_pairings_are_refused(
    tmp_path: Path, compressor: str, more: dict[str, Any], words: list[str]
) -> None:
    tables = {"route": "reduce-levels"} | more
    with pytest.raises(InputError) as refused:
        loaded_study(tmp_path, compressor, **tables)
    for word in ("[route]", "reduce-levels", *words):
        assert word in str(refused.value)


@pytest.mark.mpi(ranks=1)
def test_sums_beyond_32_bits_are_refused(world: World, tmp_path: Path) -> None:
    configuration = quantized(tmp_path, 32767)
    with pytest.raises(InputError, match="do not fit into 32 bits; give fewer levels"):
        configuration.route.payload_bytes(configuration.compressor, DIMENSION, 65_540)
