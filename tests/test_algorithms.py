"""Memories, error feedback and local steps: what they must keep, and what they are for."""

from __future__ import annotations

import command
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

CLIENTS, DIMENSION = 5, 8
SHIFTED = {"kind": "gaussian", "dimension": DIMENSION, "shift": "both", "optimum_spread": 1.0, "decays": [0.5, 1]}
EXACT = {"batch_size": "full"}


def simulation_of(comm, compressor, algorithm, rounds=200, **problem):
    from mpi_fed.simulation import Simulation
    from mpi_fed.study import configuration_from_tables

    tables = {
        "study": {"name": "algorithms", "rounds": rounds, "clients": CLIENTS},
        "problem": SHIFTED | problem,
        "algorithm": algorithm,
        "compressor": compressor,
        "route": {"kind": "gatherv"},
    }
    configuration = configuration_from_tables(tables)
    population = configuration.problem.prepare(CLIENTS)
    return Simulation(configuration, population, comm, [0, rounds]), population


def gradients(population, w):
    return np.array([c.covariance.dense @ (w - c.optimum) for c in population.clients])


COMPRESSORS = [
    {"kind": "quantization", "levels": 1},
    {"kind": "partial-participation", "p": 0.3},
    {"kind": "bernoulli", "p": 0.4, "indices": "explicit"},
]


@pytest.mark.mpi(ranks=[1, 2, 3], slow=[2])
@pytest.mark.parametrize("compressor", COMPRESSORS, ids=lambda table: table["kind"])
def test_the_root_knows_the_mean_of_the_memories(world, compressor):
    simulation, _ = simulation_of(world.comm, compressor, {"kind": "control-variates"})
    simulation.start(3)
    simulation.advance(150)
    kernel = simulation.kernels[2]
    memories = world.comm.gather(kernel.memory)
    if world.is_root:
        together = np.concatenate(memories)
        assert together.shape == (CLIENTS, DIMENSION)
        assert (np.abs(together).max(axis=1) > 1e-3).all()
        np.testing.assert_allclose(kernel.mean, together.mean(axis=0), rtol=1e-12, atol=1e-13)


@pytest.mark.mpi(ranks=2)
def test_control_variates_are_what_they_are_said_to_be(world):
    """Against a replay in NumPy, where nothing is compressed."""
    algorithm = {"kind": "control-variates", "step_size": 0.1, "alpha": 0.3}
    simulation, population = simulation_of(world.comm, {"kind": "none", "value_bits": 64}, algorithm, **EXACT)
    simulation.start(0)
    simulation.advance(60)
    w, memory = np.zeros(DIMENSION), np.zeros((CLIENTS, DIMENSION))
    for _ in range(60):
        messages = gradients(population, w) - memory
        w = w - 0.1 * (memory + messages).mean(axis=0)
        memory += 0.3 * messages
    np.testing.assert_allclose(simulation.state.w, w, atol=1e-11)


@pytest.mark.mpi(ranks=2)
@pytest.mark.parametrize("step", [{"step_size": 0.05}, {"step_size": "decreasing", "step_scale": 0.1}])
def test_error_feedback_loses_nothing(world, step):
    """w_k - mean_i e_i moves by plain gradient steps, whatever is sent."""
    algorithm = {"kind": "error-feedback", **step}
    simulation, population = simulation_of(world.comm, {"kind": "top-k", "k": 2, "value_bits": 64}, algorithm, **EXACT)
    simulation.start(0)
    plain = np.zeros(DIMENSION)
    for k in range(40):
        gamma = 0.05 if step["step_size"] == 0.05 else 0.1 * (k + 1) ** -0.5
        plain -= gamma * gradients(population, simulation.state.w).mean(axis=0)
        simulation.advance(k + 1)
    errors = np.concatenate(world.comm.allgather(simulation.kernels[2].errors))
    assert np.abs(errors).max() > 1e-3
    np.testing.assert_allclose(simulation.state.w - errors.mean(axis=0), plain, atol=1e-11)


@pytest.mark.mpi(ranks=2)
def test_local_steps_are_local_sgd(world):
    algorithm = {"kind": "sgd", "step_size": 0.1, "local_steps": 4}
    simulation, population = simulation_of(world.comm, {"kind": "none", "value_bits": 64}, algorithm, **EXACT)
    simulation.start(0)
    simulation.advance(30)
    w = np.zeros(DIMENSION)
    for _ in range(30):
        local = np.repeat(w[None], CLIENTS, axis=0)
        for _ in range(4):
            parts = zip(local, population.clients, strict=True)
            local = local - 0.1 * np.array([c.covariance.dense @ (v - c.optimum) for v, c in parts])
        w = local.mean(axis=0)
    np.testing.assert_allclose(simulation.state.w, w, atol=1e-11)


@pytest.mark.mpi(ranks=2)
def test_local_steps_draw_fresh_samples(world):
    """With a step of nearly nothing, the sum of 3 gradients of 2 samples is 3 times that of a batch of 6."""
    moved = []
    for steps, batch in ((3, 2), (1, 6)):
        algorithm = {"kind": "sgd", "step_size": 1e-9, "local_steps": steps}
        simulation, _ = simulation_of(world.comm, {"kind": "none", "value_bits": 64}, algorithm, batch_size=batch)
        simulation.start(4)
        simulation.advance(1)
        moved.append(simulation.state.w / steps)
    np.testing.assert_allclose(moved[0], moved[1], rtol=1e-6)


@pytest.mark.mpi(ranks=2)
def test_what_memories_and_error_feedback_are_for(world):
    """True gradients, heterogeneous clients: the last risk, with memory and without, of top-k with feedback and not."""
    last = {}
    cases = [("sgd", "rand-h"), ("control-variates", "rand-h"), ("sgd", "top-k"), ("error-feedback", "top-k")]
    for algorithm, kind in cases:
        compressor = {"kind": kind, "h": 2} if kind == "rand-h" else {"kind": kind, "k": 1}
        table = {"kind": algorithm, "step_size": 0.05}
        simulation, population = simulation_of(world.comm, compressor, table, rounds=8000, **EXACT)
        simulation.start(0)
        simulation.advance(8000)
        last[algorithm, kind] = float(population.excess_risk(simulation.state.w))
    assert last["control-variates", "rand-h"] < 1e-20
    assert last["sgd", "rand-h"] > 1e-6
    assert last["error-feedback", "top-k"] < 0.05 * last["sgd", "top-k"]


NUMBERS = st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, 1.0, -1.0])


@given(arrays(np.float64, st.integers(1, 40), elements=NUMBERS), st.data())
def test_the_largest_coordinates(x, data):
    """Those of a stable sort, ties and all."""
    from mpi_fed.compressors.top_k import largest
    from mpi_fed.jit import compiling

    k = data.draw(st.integers(1, len(x)))
    found = np.empty(k, np.int64)
    with compiling():
        largest(x, k, np.empty(len(x)), found)
    assert found.tolist() == sorted(np.argsort(-np.abs(x), kind="stable")[:k].tolist())


STUDY = """
[study]
name = "test"
rounds = 10
[problem]
kind = "gaussian"
dimension = 4
[[compressor]]
kind = "none"
"""


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["algorithm.local_steps=2", "algorithm.ridge=0.1"], "ridge with local_steps > 1"),
        (["algorithm.kind='error-feedback'", "compressor.kind='quantization'"], "omega < 1"),
        (["compressor.kind='top-k'", "compressor.k=5"], "k = 5 is more than the dimension 4"),
        (["algorithm.kind='control-variates'", "algorithm.alpha=0"], "alpha"),
        (["algorithm.local_steps=0"], "local_steps"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, settings, words):
    (tmp_path / "test.toml").write_text(STUDY)
    overrides = [f"--set={setting}" for setting in settings]
    ended = command.run("run", "test.toml", "--dry-run", *overrides, status=2, folder=tmp_path)
    (line,) = ended.stderr.splitlines()
    assert words in line
