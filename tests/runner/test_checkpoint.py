"""A repetition that is interrupted and taken up again ends with the bits of one that was not."""

from __future__ import annotations

import io
import json
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from support import command
from support.command import assert_same
from support.study_text import write_study
from support.trajectories import ALGORITHMS, SOME_COMPRESSORS, configurations

from mpi_fed.errors import InputError, RunError
from mpi_fed.runner import checkpoint
from mpi_fed.runner.simulation import Simulation

ROUNDS, BEFORE = 120, 47
CASES = [("epochs", SOME_COMPRESSORS[1], 'averaging = "tail"'), *(ALGORITHMS[i] for i in (0, 2, 5, 6))]


def one_line(text):
    return text.replace("\n", ", ")


def made(world, configuration):
    population = configuration.problem.prepare(configuration.clients)
    simulation = Simulation(configuration, population, world.comm, np.arange(0, configuration.rounds + 1, 10))
    simulation.compile()
    return simulation


def everything(simulation):
    arrays = simulation.roots_arrays() | simulation.clients_arrays()
    return {name: array.copy() for name, array in arrays.items() if name != "seconds"}


def alone(world):
    """The root's world of one."""
    from mpi4py import MPI

    return replace(world, comm=MPI.COMM_SELF, node=MPI.COMM_SELF, rank=0, size=1)


@pytest.mark.mpi(ranks=[2, 3], slow=[2])
@pytest.mark.parametrize(("problem", "compressor", "algorithm"), CASES, ids=one_line)
def test_going_on_from_a_checkpoint(world, tmp_path: Path, problem, compressor, algorithm) -> None:
    """In this world, and at the root on a single rank; memories of all clients, averages and the ledger included."""
    (configuration,) = configurations(tmp_path, problem, (compressor,), rounds=ROUNDS, algorithm=algorithm)
    log = Path(world.comm.bcast(str(tmp_path))) / "a.h5"
    simulation = made(world, configuration)
    simulation.start(0)
    simulation.advance(BEFORE)
    checkpoint.save(world, log, simulation)
    simulation.advance(ROUNDS)
    whole = everything(simulation)

    other = made(world, configuration)
    other.start(0)
    other.advance(3)  # whatever it did before
    checkpoint.restore(world, checkpoint.load(log, configuration) if world.is_root else None, other)
    assert other.done == BEFORE
    other.advance(ROUNDS)
    for name, array in everything(other).items():
        if world.is_root or name in other.clients_arrays() or name == "w":
            assert array.tobytes() == whole[name].tobytes(), name

    if world.is_root:
        here = alone(world)
        single = made(here, configuration)
        checkpoint.restore(here, checkpoint.load(log, configuration), single)
        single.advance(ROUNDS)
        for name in ("w", "sum", "client_payload", "histogram"):
            assert everything(single)[name].tobytes() == whole[name].tobytes(), name
        for name, array in single.clients_arrays().items():
            assert array[: len(whole[name])].tobytes() == whole[name].tobytes(), name
    world.comm.Barrier()


@pytest.mark.mpi(ranks=2)
def test_contents_of_a_checkpoint(world, tmp_path: Path) -> None:
    """NumPy opens it without pickle; clients' rows stand in their order, whatever rank held them."""
    problem, compressor, algorithm = ALGORITHMS[0]
    (configuration,) = configurations(tmp_path, problem, (compressor,), rounds=ROUNDS, algorithm=algorithm)
    simulation = made(world, configuration)
    simulation.start(0)
    simulation.advance(BEFORE)
    checkpoint.save(world, tmp_path / "a.h5", simulation)
    ((name, memory),) = simulation.clients_arrays().items()
    memories = world.comm.gather(memory)
    if world.is_root:
        with np.load(tmp_path / "a.checkpoint", allow_pickle=False) as file:
            meta = json.loads(file["meta"].tobytes())
            assert (meta["seed"], meta["done"], meta["ranks"]) == (0, BEFORE, 2)
            assert meta["configuration"] == configuration.tables
            np.testing.assert_array_equal(file[name], np.concatenate(memories))
            np.testing.assert_array_equal(file["w"], simulation.state.w)


@pytest.mark.mpi(ranks=3)
def test_ranks_whose_iterates_differ_are_named(world, tmp_path: Path) -> None:
    (configuration,) = configurations(tmp_path, "gaussian", ('kind = "none"',), rounds=ROUNDS)
    simulation = made(world, configuration)
    simulation.start(0)
    simulation.advance(BEFORE)
    checkpoint.compare_iterates(world, simulation)
    if world.rank == 1:
        simulation.state.w[3] = np.nextafter(simulation.state.w[3], 9)
    with pytest.raises(RunError, match=rf"after {BEFORE} rounds the iterate of rank 1 on \S+ is not the root's"):
        checkpoint.save(world, tmp_path / "a.h5", simulation)
    assert not (tmp_path / "a.checkpoint").exists()


ROUNDS_OF_SECONDS = 400_000
MEMORIES = {
    "rounds": ROUNDS_OF_SECONDS,
    "clients": 4,
    "problem": {"dimension": 20, "shift": "optimum", "batch_size": 4},
    "algorithm": "control-variates",
    "log": {"points_per_decade": 20},
}
"""The tables of a study of seconds."""
BERNOULLI = {"kind": "bernoulli", "p": 0.3}
BY_RANKS = {"uplink_transported_bytes", "downlink_transported_bytes", *command.TIMED}


@pytest.fixture
def study(tmp_path: Path):
    return write_study(tmp_path / "test.toml", BERNOULLI, repetitions=2, **MEMORIES)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory):
    """The log of a run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    study = write_study(folder / "test.toml", BERNOULLI, repetitions=2, **MEMORIES)
    command.run("run", study, "--ranks=2", f"--out={folder}", "--no-analyze")
    (log,) = command.logs(folder / "test").values()
    return log


def interrupted(study, python, signum, ranks):
    """Run, and send a signal once the repetition has been saved again; exit status and what was said.

    It is saved every fifth of a second, so that this happens early in the first repetition, which takes seconds.
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


def saved(folder):
    """Seed and rounds done of the checkpoint."""
    for path in folder.glob("*.checkpoint"):
        meta = meta_of(path.read_bytes())
        return meta["seed"], meta["done"]
    return 0, 0


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGUSR1], ids=["interrupt", "user"])
def test_signals_save_what_was_done(mpi_python, study, whole, signum) -> None:
    """Twice, and then to the end on another number of ranks: the log is that of a run that nothing interrupted."""
    folder = study.parent / "runs" / "test"
    done = (0, 0)
    for ranks in (2, 3):
        status, errors = interrupted(study, mpi_python, signum, ranks)
        assert status == 85, errors
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
    (log,) = folder.iterdir()  # the checkpoint is gone
    found = command.arrays(log)
    assert_same(found, whole, BY_RANKS)
    assert (np.diff(found["wall_seconds"], axis=1) >= 0).all()
    with h5py.File(log) as file:
        assert file.attrs["status"] == b"complete"
        assert file.attrs["restarts"] == 2


@pytest.mark.slow
def test_a_killed_run_with_a_compressed_downlink_goes_on(study) -> None:
    """From the last checkpoint, on another number of ranks: the log is that of a run that nothing interrupted."""
    write_study(study, BERNOULLI, downlinks=[{"kind": "bernoulli", "p": 0.5}], **MEMORIES)
    status, errors = interrupted(study, sys.executable, signal.SIGKILL, 2)
    assert status == -signal.SIGKILL, errors
    folder = study.parent / "runs" / "test"
    seed, done = saved(folder)
    assert (seed, 0 < done < ROUNDS_OF_SECONDS) == (0, True)
    command.run("run", study, "--ranks=3", f"--out={study.parent / 'runs'}", "--no-analyze")
    command.run("run", study, "--ranks=2", f"--out={study.parent / 'whole'}", "--no-analyze")
    (found,), (expected,) = (command.logs(study.parent / out / "test").values() for out in ("runs", "whole"))
    assert_same(found, expected, BY_RANKS)
    assert found["repetition_status"].all()
    with h5py.File(next(folder.iterdir())) as file:
        assert file.attrs["restarts"] == 1


@pytest.mark.slow
def test_a_checkpoint_that_does_not_fit_is_refused(study) -> None:
    folder = study.parent / "runs" / "test"
    status, errors = interrupted(study, sys.executable, signal.SIGTERM, 2)
    assert status == 85, errors
    (path,) = folder.glob("*.checkpoint")
    options = ("--ranks=2", f"--out={study.parent / 'runs'}", "--no-analyze")
    sound = path.read_bytes()

    def refused(**changes):
        rewrite(path, sound, **changes)
        ended = command.run("run", study, *options, status=2)
        (line,) = (line for line in ended.stderr.splitlines() if line.startswith("mpi-fed: "))
        assert str(path) in line
        assert "delete it" in line
        assert path.exists()
        return line

    assert "was written by mpi-fed 0.0.1" in refused(package_version="0.0.1")
    meta = meta_of(sound)
    tables = meta["configuration"]
    for table, key, value in (("study", "clients", 3), ("problem", "dimension", 7), ("compressor", "p", 0.5)):
        other = {**tables, table: {**tables[table], key: value}}
        assert f"[{table}] {key} was {value}" in refused(configuration=other)
    assert "had a table [downlink]" in refused(configuration={**tables, "downlink": {"kind": "none"}})
    path.write_bytes(sound[:-100])
    ended = command.run("run", study, *options, status=2)
    assert "cannot be read as a checkpoint" in ended.stderr
    assert path.read_bytes() == sound[:-100]


def meta_of(data: bytes) -> dict:
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return json.loads(file["meta"].tobytes())


def rewrite(path: Path, sound: bytes, **changes: object) -> None:
    """The checkpoint with other entries of its meta."""
    with np.load(io.BytesIO(sound), allow_pickle=False) as file:
        arrays = dict(file)
    meta = {**json.loads(arrays["meta"].tobytes()), **changes}
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def test_a_missing_or_foreign_checkpoint(tmp_path: Path) -> None:
    (configuration,) = configurations(tmp_path, "gaussian", ('kind = "none"',), rounds=ROUNDS)
    assert checkpoint.load(tmp_path / "a.h5", configuration) is None
    (tmp_path / "a.checkpoint").write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"a\.checkpoint: cannot be read as a checkpoint \(File is not a zip file\)"):
        checkpoint.load(tmp_path / "a.h5", configuration)
