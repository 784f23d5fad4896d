"""A repetition that is interrupted and continued ends with the same bits as an uninterrupted repetition."""

from __future__ import annotations

import io
import json
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from support import command
from support.command import assert_same
from support.study_text import Table, write_study
from support.trajectories import ALGORITHMS, SOME_COMPRESSORS, configurations

from mpi_fed.errors import InputError, RunError
from mpi_fed.launch.launcher import CHECKPOINTED
from mpi_fed.runner import checkpoint
from mpi_fed.runner.simulation import Simulation
from mpi_fed.study.configuration import Configuration

if TYPE_CHECKING:
    from mpi_fed.launch.world import World

ROUNDS, SAVED_AT = 120, 47
"""Rounds of a repetition, and the round after which it is saved."""
CASES = [("epochs", SOME_COMPRESSORS[1], 'averaging = "tail"'), *(ALGORITHMS[i] for i in (0, 2, 5, 6))]


def one_line(text: str) -> str:
    return text.replace("\n", ", ")


def new_simulation(world: World, configuration: Configuration) -> Simulation:
    population = configuration.problem.prepare(configuration.clients)
    simulation = Simulation(configuration, population, world.comm, np.arange(0, configuration.rounds + 1, 10))
    simulation.compile()
    return simulation


def arrays_of(simulation: Simulation) -> dict[str, NDArray[Any]]:
    """Return copies of all arrays of a repetition in progress, by name, except for times."""
    arrays = simulation.roots_arrays() | simulation.clients_arrays()
    return {name: array.copy() for name, array in arrays.items() if name != "seconds"}


def alone(world: World) -> World:
    """Return a world that contains only this rank."""
    from mpi4py import MPI

    return replace(world, comm=MPI.COMM_SELF, node=MPI.COMM_SELF, rank=0, size=1)


@pytest.mark.mpi(ranks=[2, 3], slow=[2])
@pytest.mark.parametrize(("problem", "compressor", "algorithm"), CASES, ids=one_line)
def test_a_repetition_continues_from_a_checkpoint(
    world: World, tmp_path: Path, problem: str, compressor: Table, algorithm: str
) -> None:
    """The repetition is continued twice from the same checkpoint: by all ranks, and then by the root alone.

    The iterate, the averages, the memories of all clients and the ledger are compared.
    """
    (configuration,) = configurations(tmp_path, problem, (compressor,), rounds=ROUNDS, algorithm=algorithm)
    log = Path(world.comm.bcast(str(tmp_path))) / "a.h5"
    simulation = new_simulation(world, configuration)
    simulation.start(0)
    simulation.advance(SAVED_AT)
    checkpoint.save(world, log, simulation)
    simulation.advance(ROUNDS)
    whole = arrays_of(simulation)

    other = new_simulation(world, configuration)
    other.start(0)
    other.advance(3)  # the state before `restore` must not matter
    checkpoint.restore(world, checkpoint.load(log, configuration) if world.is_root else None, other)
    assert other.done == SAVED_AT
    other.advance(ROUNDS)
    for name, array in arrays_of(other).items():
        if world.is_root or name in other.clients_arrays() or name == "w":
            assert array.tobytes() == whole[name].tobytes(), name

    if world.is_root:
        here = alone(world)
        single = new_simulation(here, configuration)
        checkpoint.restore(here, checkpoint.load(log, configuration), single)
        single.advance(ROUNDS)
        for name in ("w", "sum", "client_payload", "histogram"):
            assert arrays_of(single)[name].tobytes() == whole[name].tobytes(), name
        for name, array in single.clients_arrays().items():
            assert array[: len(whole[name])].tobytes() == whole[name].tobytes(), name
    world.comm.Barrier()


@pytest.mark.mpi(ranks=2)
def test_contents_of_a_checkpoint(world: World, tmp_path: Path) -> None:
    """NumPy opens a checkpoint without pickle. The checkpoint has one row for each client, in the clients' order."""
    problem, compressor, algorithm = ALGORITHMS[0]
    (configuration,) = configurations(tmp_path, problem, (compressor,), rounds=ROUNDS, algorithm=algorithm)
    simulation = new_simulation(world, configuration)
    simulation.start(0)
    simulation.advance(SAVED_AT)
    checkpoint.save(world, tmp_path / "a.h5", simulation)
    ((name, memory),) = simulation.clients_arrays().items()
    memories = world.comm.gather(memory)
    if memories is not None:
        with np.load(tmp_path / "a.checkpoint", allow_pickle=False) as file:
            meta = json.loads(file["meta"].tobytes())
            assert (meta["seed"], meta["done"], meta["ranks"]) == (0, SAVED_AT, 2)
            assert meta["configuration"] == configuration.tables
            np.testing.assert_array_equal(file[name], np.concatenate(memories))
            np.testing.assert_array_equal(file["w"], simulation.state.w)


@pytest.mark.mpi(ranks=3)
def test_a_rank_whose_iterate_differs_is_reported(world: World, tmp_path: Path) -> None:
    (configuration,) = configurations(tmp_path, "gaussian", ('kind = "none"',), rounds=ROUNDS)
    simulation = new_simulation(world, configuration)
    simulation.start(0)
    simulation.advance(SAVED_AT)
    checkpoint.compare_iterates(world, simulation)
    if world.rank == 1:
        simulation.state.w[3] = np.nextafter(simulation.state.w[3], 9)
    with pytest.raises(
        RunError, match=rf"after {SAVED_AT} rounds the iterate of rank 1 on \S+ differs from the root's"
    ):
        checkpoint.save(world, tmp_path / "a.h5", simulation)
    assert not (tmp_path / "a.checkpoint").exists()


LONG_ROUNDS = 400_000
"""Rounds of a repetition that takes some seconds."""
LONG_STUDY = {
    "rounds": LONG_ROUNDS,
    "clients": 4,
    "problem": {"dimension": 20, "shift": "optimum", "batch_size": 4},
    "algorithm": "control-variates",
    "log": {"points_per_decade": 20},
}
"""Tables of a study that uses memories and takes some seconds."""
BERNOULLI = {"kind": "bernoulli", "p": 0.3}
RANK_DEPENDENT = {"uplink_transported_bytes", "downlink_transported_bytes", *command.TIMED}
"""Datasets that depend on the number of ranks or on time."""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path / "test.toml", BERNOULLI, repetitions=2, **LONG_STUDY)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The log of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    study = write_study(folder / "test.toml", BERNOULLI, repetitions=2, **LONG_STUDY)
    command.run("run", study, "--ranks=2", f"--out={folder}", "--no-analyze")
    (log,) = command.logs(folder / "test").values()
    return log


def interrupted(study: Path, python: str, signum: int, ranks: int) -> tuple[int, str]:
    """Run the study, send a signal after the next checkpoint, and return the exit status and the standard error.

    A checkpoint is written every 0.2 s, so that the signal comes early in the first repetition, which takes several
    seconds.
    """
    out = study.parent / "runs"
    before = saved(out / "test")
    options = (f"--ranks={ranks}", f"--out={out}", "--no-analyze", "--checkpoint-seconds=0.2")
    job = command.start("run", study, *options, python=python)
    end = time.monotonic() + command.PATIENCE
    while saved(out / "test") <= before:
        assert job.poll() is None, job.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    job.send_signal(signum)
    _, errors = job.communicate(timeout=command.PATIENCE)
    return job.returncode, errors


def saved(folder: Path) -> tuple[int, int]:
    """Return the checkpoint's seed and number of rounds, or (0, 0) without a checkpoint."""
    for path in folder.glob("*.checkpoint"):
        meta = meta_of(path.read_bytes())
        return meta["seed"], meta["done"]
    return 0, 0


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGUSR1], ids=["SIGINT", "SIGUSR1"])
def test_a_run_stopped_by_a_signal_saves_a_checkpoint_and_can_be_continued(
    mpi_python: str, study: Path, whole: dict[str, Any], signum: int
) -> None:
    """After two interruptions on different numbers of ranks, the log is equal to the log of an uninterrupted run."""
    folder = study.parent / "runs" / "test"
    done = (0, 0)
    for ranks in (2, 3):
        status, errors = interrupted(study, mpi_python, signum, ranks)
        assert status == CHECKPOINTED, errors
        assert "mpi-fed: interrupted, with nothing lost; run the same command again to continue" in errors
        (log,) = folder.glob("*.h5")
        with h5py.File(log) as file:
            assert file.attrs["status"] == b"interrupted"
            assert file["repetition_status"][1] == 0
        assert {path.name for path in folder.iterdir()} == {log.name, f"{log.stem}.checkpoint"}
        before, done = done, saved(folder)
        assert done > before
    options = ("--ranks=2", f"--out={study.parent / 'runs'}", "--no-analyze")
    command.run("run", study, *options, python=mpi_python)
    (log,) = folder.iterdir()  # the checkpoint is removed
    contents = command.arrays(log)
    assert_same(contents, whole, RANK_DEPENDENT)
    assert (np.diff(contents["wall_seconds"], axis=1) >= 0).all()
    with h5py.File(log) as file:
        assert file.attrs["status"] == b"complete"
        assert file.attrs["restarts"] == 2


@pytest.mark.slow
def test_a_killed_run_with_a_compressed_downlink_is_continued(study: Path) -> None:
    """The next run continues on another number of ranks. Its log is equal to the log of an uninterrupted run."""
    write_study(study, BERNOULLI, downlinks=[{"kind": "bernoulli", "p": 0.5}], **LONG_STUDY)
    status, errors = interrupted(study, sys.executable, signal.SIGKILL, 2)
    assert status == -signal.SIGKILL, errors
    folder = study.parent / "runs" / "test"
    seed, done = saved(folder)
    assert (seed, 0 < done < LONG_ROUNDS) == (0, True)
    command.run("run", study, "--ranks=3", f"--out={study.parent / 'runs'}", "--no-analyze")
    command.run("run", study, "--ranks=2", f"--out={study.parent / 'whole'}", "--no-analyze")
    (contents,), (expected,) = (command.logs(study.parent / out / "test").values() for out in ("runs", "whole"))
    assert_same(contents, expected, RANK_DEPENDENT)
    assert contents["repetition_status"].all()
    with h5py.File(next(folder.iterdir())) as file:
        assert file.attrs["restarts"] == 1


@pytest.mark.slow
def test_a_damaged_checkpoint_or_one_of_another_study_is_refused(study: Path) -> None:
    folder = study.parent / "runs" / "test"
    status, errors = interrupted(study, sys.executable, signal.SIGTERM, 2)
    assert status == CHECKPOINTED, errors
    (path,) = folder.glob("*.checkpoint")
    options = ("--ranks=2", f"--out={study.parent / 'runs'}", "--no-analyze")
    undamaged = path.read_bytes()

    def refusal(**changes: object) -> str:
        rewrite(path, undamaged, **changes)
        ended = command.run("run", study, *options, status=2)
        (line,) = (line for line in ended.stderr.splitlines() if line.startswith("mpi-fed: "))
        assert str(path) in line
        assert "delete the file" in line
        assert path.exists()
        return line

    assert "was written by mpi-fed 0.0.1" in refusal(package_version="0.0.1")
    meta = meta_of(undamaged)
    tables = meta["configuration"]
    for table, key, value in (("study", "clients", 3), ("problem", "dimension", 7), ("compressor", "p", 0.5)):
        other = {**tables, table: {**tables[table], key: value}}
        assert f"[{table}] {key} was {value}" in refusal(configuration=other)
    assert "had a table [downlink]" in refusal(configuration={**tables, "downlink": {"kind": "none"}})
    path.write_bytes(undamaged[:-100])
    ended = command.run("run", study, *options, status=2)
    assert "cannot be read as a checkpoint" in ended.stderr
    assert path.read_bytes() == undamaged[:-100]


def meta_of(data: bytes) -> dict[str, Any]:
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        meta: dict[str, Any] = json.loads(file["meta"].tobytes())
    return meta


def rewrite(path: Path, undamaged: bytes, **changes: object) -> None:
    """Write an undamaged checkpoint with some entries of its meta changed."""
    with np.load(io.BytesIO(undamaged), allow_pickle=False) as archive:
        arrays: dict[str, Any] = dict(archive)
    meta = {**json.loads(arrays["meta"].tobytes()), **changes}
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path: Path) -> None:
    (configuration,) = configurations(tmp_path, "gaussian", ('kind = "none"',), rounds=ROUNDS)
    assert checkpoint.load(tmp_path / "a.h5", configuration) is None
    (tmp_path / "a.checkpoint").write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"a\.checkpoint: cannot be read as a checkpoint \(File is not a zip file\)"):
        checkpoint.load(tmp_path / "a.h5", configuration)
