"""Memories, error feedback and local steps: their definitions, and their effect on the risk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from support import command
from support.study_text import configuration, write_study

from mpi_fed.algorithms.local_steps import local_steps_kernel
from mpi_fed.compressors.top_k import TopK, kth_largest, largest
from mpi_fed.engine.compilation import compiling
from mpi_fed.engine.operations.compressor import Message, decode, encode
from mpi_fed.engine.random_streams import Stream
from mpi_fed.errors import InputError
from mpi_fed.problems.population import Array, Population
from mpi_fed.runner.simulation import Simulation

if TYPE_CHECKING:
    from mpi4py import MPI

    from mpi_fed.launch.world import World

CLIENTS, DIMENSION = 5, 8
SHIFTED: dict[str, Any] = {
    "kind": "gaussian",
    "dimension": DIMENSION,
    "shift": "both",
    "optimum_spread": 1.0,
    "decays": [0.5, 1],
}
EXACT: dict[str, Any] = {"batch_size": "full"}
NONE: dict[str, Any] = {"kind": "none", "value_bits": 64}
SOME_CLIENTS: dict[str, Any] = {"kind": "partial-participation", "p": 0.3, "value_bits": 64}


def simulation_of(
    comm: MPI.Comm,
    compressor: Mapping[str, Any],
    algorithm: dict[str, Any],
    rounds: int = 200,
    clients: int = CLIENTS,
    problem: dict[str, Any] = SHIFTED,
    **keys: Any,
) -> tuple[Any, Population]:
    setting = configuration(compressor, problem=problem | keys, algorithm=algorithm, rounds=rounds, clients=clients)
    population = setting.problem.prepare(clients)
    simulation = Simulation(setting, population, comm, [0, rounds])
    simulation.compile()
    return simulation, population


def end(simulation: Any, seed: int, rounds: int) -> Array:
    """Return the iterate after `rounds` rounds."""
    simulation.start(seed)
    simulation.advance(rounds)
    w: Array = simulation.state.w.copy()
    return w


def gradients(population: Population, w: Array) -> Array:
    """Return the clients' true gradients, (N, d), at w, (d,) or (N, d)."""
    clients: Any = population.clients
    at = np.broadcast_to(w, (len(clients), len(clients[0].optimum)))
    return np.array([c.covariance.dense @ (v - c.optimum) for c, v in zip(clients, at, strict=True)])


COMPRESSORS: list[dict[str, Any]] = [
    {"kind": "quantization", "levels": 1},
    SOME_CLIENTS,
    {"kind": "bernoulli", "p": 0.4, "indices": "explicit"},
]


@pytest.mark.mpi(ranks=[1, 2, 3], slow=[2])
@pytest.mark.parametrize("compressor", COMPRESSORS, ids=lambda table: table["kind"])
def test_the_root_keeps_the_mean_of_the_memories(world: World, compressor: dict[str, Any]) -> None:
    simulation, _ = simulation_of(world.comm, compressor, {"kind": "control-variates"}, **EXACT)
    simulation.start(3)
    for stop in (1, 2, 40, 150):
        simulation.advance(stop)
        memories = np.concatenate(world.comm.allgather(simulation.kernels.algorithm.memory))
        assert memories.shape == (CLIENTS, DIMENSION)
        if world.is_root:
            np.testing.assert_allclose(simulation.kernels.algorithm.mean, memories.mean(axis=0), rtol=1e-12, atol=1e-13)
    assert (np.abs(memories).max(axis=1) > 1e-3).all()


@pytest.mark.mpi(ranks=2)
@pytest.mark.parametrize("compressor", [NONE, SOME_CLIENTS], ids=lambda table: table["kind"])
def test_control_variates_follow_their_definition(world: World, compressor: dict[str, Any]) -> None:
    """The iterates equal a replay in NumPy, which only reads the list of senders; w moves even without senders."""
    algorithm = {"kind": "control-variates", "step_size": 0.1, "alpha": 0.3}
    simulation, population = simulation_of(world.comm, compressor, algorithm, **EXACT)
    simulation.start(0)
    w, memory, silent = np.zeros(DIMENSION), np.zeros((CLIENTS, DIMENSION)), 0
    for k in range(60):
        before = simulation.wire.client_payload.copy()
        simulation.advance(k + 1)
        senders = world.comm.bcast(simulation.wire.client_payload > before)
        silent += not senders.any()
        messages = senders[:, None] * (gradients(population, w) - memory) / compressor.get("p", 1.0)
        w = w - 0.1 * (memory + messages).mean(axis=0)
        memory += 0.3 * messages
    assert (silent > 0) == (compressor is SOME_CLIENTS)
    np.testing.assert_allclose(simulation.state.w, w, atol=1e-11)
    memories = np.concatenate(world.comm.allgather(simulation.kernels.algorithm.memory))
    np.testing.assert_allclose(memories, memory, atol=1e-11)


@pytest.mark.mpi(ranks=2)
def test_empty_memories_change_nothing(world: World) -> None:
    """The first step equals that of sgd, bit for bit; the second one does not."""
    sgd, memory = (
        simulation_of(world.comm, {"kind": "rand-h", "h": 2}, {"kind": kind, "initial": "normal"}, **EXACT)[0]
        for kind in ("sgd", "control-variates")
    )
    assert end(sgd, 1, 1).tobytes() == end(memory, 1, 1).tobytes()
    assert end(sgd, 1, 2).tobytes() != end(memory, 1, 2).tobytes()


@pytest.mark.mpi(ranks=2)
@pytest.mark.parametrize(
    ("kind", "compressor"),
    [("control-variates", {"kind": "rand-h", "h": 2}), ("error-feedback", {"kind": "top-k", "k": 2})],
)
def test_memories_are_reset_for_a_repetition(world: World, kind: str, compressor: dict[str, Any]) -> None:
    algorithm = {"kind": kind, "initial": "normal"}
    used, fresh = (simulation_of(world.comm, compressor, algorithm, **EXACT)[0] for _ in range(2))
    end(used, 1, 30)
    assert end(used, 2, 30).tobytes() == end(fresh, 2, 30).tobytes()


@pytest.mark.mpi(ranks=2)
@pytest.mark.parametrize("step", [{"step_size": 0.05}, {"step_size": "decreasing", "step_scale": 0.1}])
def test_error_feedback_keeps_what_messages_lack(world: World, step: dict[str, Any]) -> None:
    """w_k - mean_i e_i moves by plain gradient steps, for any messages."""
    algorithm = {"kind": "error-feedback", **step}
    simulation, population = simulation_of(world.comm, {"kind": "top-k", "k": 2, "value_bits": 64}, algorithm, **EXACT)
    simulation.start(0)
    plain = np.zeros(DIMENSION)
    for k in range(40):
        gamma = 0.05 if step["step_size"] == 0.05 else 0.1 * (k + 1) ** -0.5
        plain -= gamma * gradients(population, simulation.state.w).mean(axis=0)
        simulation.advance(k + 1)
    errors = np.concatenate(world.comm.allgather(simulation.kernels.algorithm.errors))
    assert np.abs(errors).max() > 1e-3
    np.testing.assert_allclose(simulation.state.w - errors.mean(axis=0), plain, atol=1e-11)


@pytest.mark.mpi(ranks=2)
def test_local_steps_are_local_sgd(world: World) -> None:
    algorithm = {"kind": "sgd", "step_size": 0.1, "local_steps": 4}
    simulation, population = simulation_of(world.comm, NONE, algorithm, **EXACT)
    w = np.zeros(DIMENSION)
    for _ in range(30):
        local = np.repeat(w[None], CLIENTS, axis=0)
        for _ in range(4):
            local = local - 0.1 * gradients(population, local)
        w = local.mean(axis=0)
    np.testing.assert_allclose(end(simulation, 0, 30), w, atol=1e-11)


@pytest.mark.mpi(ranks=2)
def test_local_steps_draw_fresh_samples(world: World) -> None:
    """With a tiny step, the sum of 3 gradients of 2 samples is 3 times the gradient of a batch of 6."""
    moved = []
    for steps, batch in ((3, 2), (1, 6)):
        algorithm = {"kind": "sgd", "step_size": 1e-9, "local_steps": steps}
        simulation, _ = simulation_of(world.comm, NONE, algorithm, batch_size=batch)
        moved.append(end(simulation, 4, 1) / steps)
    np.testing.assert_allclose(moved[0], moved[1], rtol=1e-6)


@pytest.mark.mpi(ranks=2)
def test_local_steps_go_through_the_rows(world: World) -> None:
    """With epochs, 599 rounds of 3 steps, each on one of 599 rows, are 3 passes; each adds up to the true gradient."""
    algorithm = {"kind": "sgd", "step_size": 1e-12, "local_steps": 3}
    digits = {"kind": "digits", "preprocessing": "standardize", "sampling": "epochs"}
    simulation, population = simulation_of(world.comm, NONE, algorithm, rounds=599, clients=3, problem=digits)
    rows: Any = population.clients
    assert [len(c.targets) for c in rows] == [599] * 3
    passes = 1e-12 * 3 * sum(c.features.T @ c.targets for c in rows) / 3
    np.testing.assert_allclose(end(simulation, 5, 599), passes, rtol=0, atol=1e-6 * np.abs(passes).max())


@pytest.mark.mpi(ranks=1)
def test_more_local_steps_than_memory_holds_are_refused(world: World) -> None:
    """The error is raised before memory is allocated for the steps."""
    with pytest.raises(
        InputError, match=r"local_steps = 1,000,000 for 11 clients on one rank makes more than 10,000,000"
    ):
        simulation_of(world.comm, NONE, {"kind": "sgd", "local_steps": 10**6}, clients=11)


@pytest.mark.mpi(ranks=2)
def test_one_local_step_is_plain_sgd(world: World) -> None:
    """With one local step, the code of local steps gives the bits of plain SGD."""
    plain, wrapped = (simulation_of(world.comm, NONE, {"kind": "sgd"}, batch_size=6)[0] for _ in range(2))
    problem = local_steps_kernel(wrapped.kernels.problem, wrapped.steps, DIMENSION)
    wrapped.kernels = wrapped.kernels._replace(problem=problem)
    wrapped.compile()
    assert end(plain, 4, 50).tobytes() == end(wrapped, 4, 50).tobytes()


@pytest.mark.mpi(ranks=2)
def test_memories_and_error_feedback_lower_the_risk(world: World) -> None:
    """For true gradients of heterogeneous clients, memories help rand-h and error feedback helps top-k."""
    last: dict[tuple[str, str], float] = {}
    hard: dict[str, Any] = {"dimension": 20, "decays": [1, 2]}
    cases = [("sgd", "rand-h"), ("control-variates", "rand-h"), ("sgd", "top-k"), ("error-feedback", "top-k")]
    for algorithm, kind in cases:
        compressor: dict[str, Any] = {"kind": kind, "h": 5} if kind == "rand-h" else {"kind": kind, "k": 2}
        table: dict[str, Any] = {"kind": algorithm, "step_size": 0.1}
        simulation, population = simulation_of(world.comm, compressor, table, 8000, 4, **hard, **EXACT)
        last[algorithm, kind] = float(population.excess_risk(end(simulation, 0, 8000)))
    assert last["control-variates", "rand-h"] < 1e-20  # 6e-29
    assert last["sgd", "rand-h"] > 1e-5  # 1e-3
    assert last["sgd", "top-k"] > 0.1  # 0.29
    assert last["error-feedback", "top-k"] < last["sgd", "top-k"] / 50  # 2e-4


NUMBERS = st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan])
VECTORS = arrays(np.float64, st.integers(1, 40), elements=NUMBERS)
SOME_OR_ALL = st.sampled_from([0.0, 1.0]) | st.floats(0, 1)


def share(x: Array, part: float) -> int:
    """Return a number from 1 to d, for part from 0 to 1."""
    return 1 + round(part * (len(x) - 1))


def expected(x: Array, k: int) -> NDArray[np.int64]:
    """Return the k indices (shape (k,)) that a stable sort by magnitude puts first; NaN is as large as infinity."""
    magnitudes = np.where(np.isnan(x), np.inf, np.abs(x))
    return np.sort(np.argsort(-magnitudes, kind="stable")[:k])


@given(arrays(np.float64, st.integers(1, 40), elements=NUMBERS.filter(lambda x: x == x)), SOME_OR_ALL)
def test_kth_largest_agrees_with_sorting(values: Array, part: float) -> None:
    k, reordered = share(values, part), values.copy()
    with compiling():
        assert kth_largest(reordered, k) == np.sort(values)[-k]
    assert np.array_equal(np.sort(reordered), np.sort(values))


@given(VECTORS, SOME_OR_ALL)
@example(np.array([np.nan]), 1.0)
def test_largest_coordinates_agree_with_a_stable_sort(x: Array, part: float) -> None:
    k = share(x, part)
    indices = np.empty(k, np.int64)
    with compiling():
        largest(x, k, np.empty(len(x)), indices)
    assert indices.tolist() == expected(x, k).tolist()


@given(VECTORS, SOME_OR_ALL, st.sampled_from([32, 64]))
@example(np.array([-3.0]), 1.0, 32)
def test_the_largest_coordinates_arrive(x: Array, part: float, bits: Literal[32, 64]) -> None:
    """The receiver decodes them with a kernel of its own; the other coordinates of the output do not change."""
    compressor, d = TopK(k=share(x, part), value_bits=bits), len(x)
    payload = np.zeros(compressor.payload_bytes_max(d), np.uint8)
    message, out = Message(Stream(np.uint64(0), np.uint64(0), np.uint64(0)), 1, 0), np.full(d, 7.0)
    with compiling(), np.errstate(invalid="ignore"):
        written = encode(compressor.kernel(d), x, payload, message)
        decode(compressor.kernel(d), payload, 2.0, out, message)
    kept = expected(x, compressor.k)
    assert written == len(payload) * (1 if bits == 64 or np.isfinite(x[kept]).all() else -1)
    sent = np.full(d, 7.0)
    sent[kept] += 2 * x[kept]
    np.testing.assert_array_equal(out, sent)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["algorithm.local_steps=2", "algorithm.ridge=0.1"], "ridge with local_steps > 1"),
        (["algorithm.kind='error-feedback'", "compressor.kind='quantization'"], "omega < 1"),
        (
            ["algorithm.kind='error-feedback'", "compressor.kind='partial-participation'", "compressor.p=0.9"],
            "partial-participation leaves some clients out",
        ),
        (["compressor.kind='top-k'", "compressor.k=5"], "k = 5 is more than the dimension 4"),
        (["algorithm.kind='control-variates'", "algorithm.alpha=0"], "alpha is 0, but must be"),
        (["algorithm.local_steps=0"], "local_steps is 0, but must be an integer, at least 1"),
    ],
)
def test_impossible_settings_are_refused(tmp_path: Path, settings: list[str], words: str) -> None:
    write_study(tmp_path / "test.toml")
    overrides = [f"--set={setting}" for setting in settings]
    ended = command.run("run", "test.toml", "--dry-run", *overrides, status=2, folder=tmp_path)
    (line,) = ended.stderr.splitlines()
    assert words in line
