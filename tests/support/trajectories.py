"""Digests of every bit that a world computes, for the tests of bit-identity. Run as a program it prints them."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from support.study_text import Table

CLIENTS, DIMENSION, SEED = 5, 13, 7

PROBLEMS = {
    "gaussian": "",
    "batch": "batch_size = 3",
    "diagonal": 'rotation = "diagonal"\nbatch_size = 2',
    "householder": 'rotation = "householder"',
    "covariate": 'shift = "covariate"',
    "both": 'shift = "both"\nbatch_size = 3',
    "full": 'shift = "both"\nbatch_size = "full"',
    "arrays": 'kind = "arrays"',
    "digits": 'kind = "digits"\npreprocessing = "standardize"',
    "epochs": 'kind = "digits"\npreprocessing = "pca"\nsampling = "epochs"\nbatch_size = 7',
}
"""Tables [problem] by name; the default kind is Gaussian."""

COMPRESSORS = (
    'kind = "none"\nvalue_bits = [16, 32, 64]',
    'kind = "quantization"\nlevels = [1, 3]',
    'kind = "quantization"\nlevels = 1\nbucket = 5\nvalue_bits = 16',
    'kind = "bernoulli"\np = 0.3\nindices = ["shared", "explicit"]',
    'kind = "rand-h"\nh = 3\nindices = ["shared", "explicit"]',
    'kind = "sketch"\nh = 3',
    'kind = "partial-participation"\np = 0.3',
)

SOME_COMPRESSORS = ('kind = "quantization"\nlevels = 2', 'kind = "partial-participation"\np = 0.3')

ALGORITHMS = (
    ("both", 'kind = "partial-participation"\np = 0.3', 'kind = "control-variates"'),
    ("both", 'kind = "rand-h"\nh = 3\nindices = "explicit"', 'kind = "control-variates"'),
    ("batch", 'kind = "quantization"', 'kind = "control-variates"\nlocal_steps = 3'),
    ("diagonal", 'kind = "quantization"', 'kind = "control-variates"\nlocal_steps = 3'),
    ("both", 'kind = "top-k"\nk = 3', 'kind = "error-feedback"'),
    ("epochs", 'kind = "top-k"\nk = 3', 'kind = "error-feedback"\nlocal_steps = 3'),
    ("both", 'kind = "rand-h"\nh = 3\nindices = "explicit"', 'kind = "delayed-sgd"'),
)
"""Tuples of a problem, a compressor and an [algorithm]."""

IDENTITIES = (
    'kind = "none"',
    'kind = "bernoulli"\np = 1.0\nindices = ["shared", "explicit"]',
    'kind = "rand-h"\nomega = 0.0\nindices = ["shared", "explicit"]',
    'kind = "partial-participation"\np = 1.0',
)
"""Compressors with C(x) = x."""


class Trajectory(NamedTuple):
    """Digests and counts that may not depend on the world that computed them. All but w are None except at the root."""

    w: str
    iterates: str | None
    averages: str | None
    information_bits: int | None
    payload_bytes: int | None
    client_payload: list[int] | None
    histogram: list[int] | None


def configurations(
    folder: Path,
    problem: str,
    compressors: tuple[Table, ...],
    rounds: int = 150,
    route: Table = "auto",
    algorithm: Table = "",
) -> Any:
    """Return the configurations of a study with these compressors, with its files in `folder`."""
    from support.study_text import as_mapping, loaded_study

    keys = as_mapping(PROBLEMS[problem])
    if "kind" not in keys:
        keys = {"dimension": DIMENSION} | keys
    if keys.get("kind") == "arrays":
        keys["path"] = write_arrays(folder)
    sizes = {"rounds": rounds, "clients": CLIENTS}
    algorithm = {"initial": "normal"} | as_mapping(algorithm)
    return loaded_study(folder, *compressors, problem=keys, algorithm=algorithm, route=route, **sizes).configurations


def write_arrays(folder: Path) -> Path:
    random = np.random.Generator(np.random.PCG64(5))
    roots = random.standard_normal((CLIENTS, DIMENSION, DIMENSION))
    arrays: dict[str, Any] = {
        "covariances": roots @ roots.transpose(0, 2, 1) / DIMENSION,
        "optima": random.standard_normal((CLIENTS, DIMENSION)),
        "noise_variance": random.uniform(0, 2, CLIENTS),
    }
    np.savez(folder / "arrays.npz", **arrays)
    return folder / "arrays.npz"


def trajectory(configuration: Any, comm: Any, stride: int | None = None) -> Trajectory:
    """Run one repetition, `stride` rounds a call, on all ranks of an mpi4py communicator."""
    from mpi_fed.log.log_points import log_rounds
    from mpi_fed.runner.simulation import Simulation

    rounds = configuration.rounds
    population = configuration.problem.prepare(configuration.clients)
    simulation = Simulation(configuration, population, comm, log_rounds(rounds, 8))
    simulation.compile()
    simulation.start(SEED)
    iterates, averages = hashlib.sha256(), hashlib.sha256()
    for stop in [*range(stride or rounds, rounds, stride or rounds), rounds]:
        simulation.advance(stop)
        count = simulation.snapshots.cursor[1]
        iterates.update(simulation.snapshots.iterate[:count].tobytes())
        averages.update(simulation.snapshots.average[:count].tobytes())
    w = hashlib.sha256(simulation.state.w.tobytes()).hexdigest()
    assert np.isfinite(simulation.state.w).all()
    if comm.rank != 0:
        return Trajectory(w, None, None, None, None, None, None)
    wire = simulation.wire
    counts = (*wire.totals[:2].tolist(), wire.client_payload.tolist(), wire.histogram.tolist())
    return Trajectory(w, iterates.hexdigest(), averages.hexdigest(), *counts)


def main(rounds: int) -> None:
    """Print the trajectories of every compressor, problem and algorithm in the world of this process."""
    from mpi_fed.launch.world import guard, start

    world = start()
    with guard(world), tempfile.TemporaryDirectory() as folder:
        cases = dict.fromkeys(PROBLEMS, SOME_COMPRESSORS[:1]) | {"gaussian": COMPRESSORS}
        trajectories = {
            f"{problem} {c.label}": trajectory(c, world.comm)
            for problem, compressors in cases.items()
            for c in configurations(Path(folder), problem, compressors, rounds)
        }
        trajectories |= {
            f"{problem} {c.label} {algorithm}": trajectory(c, world.comm)
            for problem, compressor, algorithm in ALGORITHMS
            for c in configurations(Path(folder), problem, (compressor,), rounds, algorithm=algorithm)
        }
        if world.is_root:
            print(json.dumps(trajectories))


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])  # the folder that contains the package support, not the package
    main(int(sys.argv[1]))
