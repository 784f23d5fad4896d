"""Logs that are continued, extended or refused."""

from __future__ import annotations

import fcntl
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from support.command import arrays, assert_same
from support.small_study import D, K, run_in_world, small_study
from support.study_text import write_study

from mpi_fed.errors import InputError
from mpi_fed.log import schema
from mpi_fed.log.layout import Layout
from mpi_fed.log.log_points import log_rounds
from mpi_fed.log.origin import ORIGIN, origin_of
from mpi_fed.log.schema import Status
from mpi_fed.log.writer import Block, is_finished, log_path, open_writer
from mpi_fed.study.configuration import Configuration
from mpi_fed.study.load import load_study

if TYPE_CHECKING:
    from mpi_fed.launch.world import World

MakeFile = Callable[[Configuration, Path, Path], object]
"""Makes a file at the path of a configuration's log; the last argument is the folder of the test."""


@pytest.mark.mpi(ranks=2)
def test_running_again_does_only_the_missing_repetitions(world: World, tmp_path: Path) -> None:
    study = small_study()
    path = run_in_world(world.comm, tmp_path, study)["none"]
    data, before = (path.read_bytes(), arrays(path)) if world.is_root else (b"", {})
    run_in_world(world.comm, tmp_path, study)
    if world.is_root:
        assert path.read_bytes() == data
    run_in_world(world.comm, tmp_path, study, "study.repetitions=4")
    if world.is_root:
        extended = arrays(path)
        assert extended["repetition"].tolist() == [0, 1, 2, 3]
        assert extended["repetition_status"].tolist() == [1] * 4
        for name, old in before.items():
            rows = slice(0, len(old) if name not in ("repetition", "repetition_status") else 2)
            np.testing.assert_array_equal(extended[name][rows], old, err_msg=name)  # seconds as well
    run_in_world(world.comm, tmp_path, study, "study.repetitions=[9, 1]")  # one new seed, one old seed
    (tmp_path / "new").mkdir()
    fresh = run_in_world(world.comm, tmp_path / "new", study, "study.repetitions=[0, 1, 2, 3, 9]")["none"]
    if world.is_root:
        assert_same(arrays(path), arrays(fresh))


@pytest.mark.mpi(ranks=1)
def test_only_requested_repetitions_are_run(world: World, tmp_path: Path) -> None:
    study = small_study()
    path = run_in_world(world.comm, tmp_path, study, "study.repetitions=3")["none"]
    with h5py.File(path, "r+") as file:
        file["repetition_status"][:] = [1, 0, 0]
        file["excess_risk"][1:] = np.nan
    run_in_world(world.comm, tmp_path, study, "study.repetitions=2")
    with h5py.File(path) as file:
        assert file["repetition_status"][:].tolist() == [1, 1, 0]
        assert file.attrs["status"] == b"interrupted"
        assert np.isfinite(file["excess_risk"][1]).all()
        assert np.isnan(file["excess_risk"][2]).all()


@pytest.mark.mpi(ranks=1)
def test_a_log_that_grows_keeps_its_last_iterates(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = small_study()
    path = run_in_world(world.comm, tmp_path, study, "study.repetitions=1")["none"]
    before = arrays(path)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "ITERATES_LIMIT", 1.5 * 16 * len(before["round"]) * D)
        run_in_world(world.comm, tmp_path, study, "study.repetitions=2")
    after = arrays(path)
    assert not {"iterate", "iterate_averaged"} & after.keys()
    np.testing.assert_array_equal(after["last_iterate"][0], before["iterate"][0, -1])
    np.testing.assert_array_equal(after["last_iterate_averaged"][0], before["iterate_averaged"][0, -1])
    with h5py.File(path, "r+") as file:
        file["repetition_status"][1] = 0
    run_in_world(
        world.comm, tmp_path, study, "study.repetitions=2"
    )  # "auto" now means all, but the log does not change
    assert_same(arrays(path), after)


@pytest.fixture
def place(tmp_path: Path) -> tuple[Configuration, Path]:
    """A configuration, and the path of its log, which does not exist."""
    (tmp_path / "test.toml").write_text(small_study())
    (configuration,) = load_study(tmp_path / "test.toml").configurations
    return configuration, tmp_path / configuration.file_name


def create(configuration: Configuration, path: Path) -> None:
    layout = Layout.of(configuration, D, 5, 1)
    open_writer(path, configuration, layout, np.zeros(D), {}).close(Status.INTERRUPTED)


@pytest.mark.parametrize(("name", "difference"), sorted((attribute.name, text) for attribute, text in ORIGIN.items()))
def test_repetitions_of_different_origin_are_not_mixed(
    place: tuple[Configuration, Path], name: str, difference: str
) -> None:
    configuration, path = place
    layout, optimum = Layout.of(configuration, D, 5, 1), np.zeros(D)
    open_writer(path, configuration, layout, optimum, {name: "before"}).close(Status.INTERRUPTED)
    open_writer(path, configuration, layout, optimum, {name: "before"}).close(Status.INTERRUPTED)
    with pytest.raises(InputError, match=f"its repetitions were run with {difference}; move it away or give another"):
        open_writer(path, configuration, layout, optimum, {name: "after"})


def test_the_origin_depends_on_data_and_start(tmp_path: Path) -> None:
    study, data, start = tmp_path / "test.toml", tmp_path / "data.npz", tmp_path / "start.npy"
    write_study(study, problem={"kind": "file", "path": "data.npz"}, algorithm={"initial": "start.npy"})
    origins = []
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        np.savez(data, features=rng.standard_normal((30, 2)), targets=rng.standard_normal(30))
        np.save(start, rng.standard_normal(2))
        (configuration,) = load_study(study).configurations
        origins.append((configuration.id, origin_of(configuration)))
    (first_id, first), (second_id, second) = origins
    assert first_id == second_id
    assert all(first[name] != second[name] for name in ("dataset_digest", "initial_digest"))


def test_auto_iterates_depend_on_all_repetitions_of_the_log(
    place: tuple[Configuration, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration, path = place
    points = len(log_rounds(K, 100))
    monkeypatch.setattr(schema, "ITERATES_LIMIT", 16 * points * D * 2)  # room for two repetitions
    optimum, layout = np.zeros(D), Layout.of(configuration, D, 5, 1)
    open_writer(path, replace(configuration, seeds=(0, 1, 2)), layout, optimum, {}).close(Status.INTERRUPTED)
    with h5py.File(path, "r+") as file:
        assert "last_iterate" in file
        file["last_iterate"][0] = 7.0
    open_writer(path, replace(configuration, seeds=(5,)), layout, optimum, {}).close(Status.INTERRUPTED)
    with h5py.File(path) as file:
        assert file["repetition"][:].tolist() == [0, 1, 2, 5]
        assert (file["last_iterate"][0] == 7.0).all()


def other_log(configuration: Configuration, path: Path, tmp_path: Path) -> None:
    (tmp_path / "test.toml").write_text(small_study())
    (other,) = load_study(tmp_path / "test.toml", ["problem.noise_variance=2.0"]).configurations
    create(other, path)


def without(name: str) -> MakeFile:
    def make(configuration: Configuration, path: Path, tmp_path: Path) -> None:
        create(configuration, path)
        with h5py.File(path, "r+") as file:
            del file[name]

    return make


def cut(share: float) -> MakeFile:
    def make(configuration: Configuration, path: Path, tmp_path: Path) -> None:
        create(configuration, path)
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    return make


OTHER_FILES: dict[str, MakeFile] = {
    "text": lambda configuration, path, tmp_path: path.write_text("my notes"),
    "nothing": lambda configuration, path, tmp_path: path.touch(),
    "another HDF5 file": lambda configuration, path, tmp_path: h5py.File(path, "w").close(),
    "another log": other_log,
    "no seeds": without("repetition"),
    "no status": without("repetition_status"),
    "cut in half": cut(0.5),
    "cut at the start": cut(0.001),
    "a folder": lambda configuration, path, tmp_path: path.mkdir(),
}


@pytest.mark.parametrize("case", OTHER_FILES)
def test_another_file_at_the_path_of_a_log_is_refused_and_not_changed(
    place: tuple[Configuration, Path], tmp_path: Path, case: str
) -> None:
    configuration, path = place
    OTHER_FILES[case](configuration, path, tmp_path)
    before = path.is_file() and path.read_bytes()
    attempts: tuple[Callable[[], object], ...] = (
        lambda: is_finished(path, configuration),
        lambda: create(configuration, path),
    )
    for attempt in attempts:
        with pytest.raises(InputError, match=re.escape(str(path))) as refusal:
            attempt()
        assert "move it away or give another --out" in str(refusal.value)
        assert "\n" not in str(refusal.value)
    assert (path.is_file() and path.read_bytes()) == before
    assert not list(tmp_path.glob(".*"))


def test_a_log_in_use_is_refused(place: tuple[Configuration, Path]) -> None:
    configuration, path = place
    create(configuration, path)
    with open(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="in use"):
            create(configuration, path)


@pytest.mark.parametrize("name", ["excess_risk", "uplink_payload_bytes", "wall_seconds"])
def test_a_log_without_a_dataset_is_not_written(place: tuple[Configuration, Path], name: str) -> None:
    configuration, path = place
    without(name)(configuration, path, path.parent)
    writer = open_writer(path, configuration, Layout.of(configuration, D, 5, 1), np.zeros(D), {})
    iterates, clients = np.zeros((1, D)), np.zeros((1, configuration.clients), np.int64)
    counts = np.zeros((1, len(schema.COUNTS)), np.int64)
    block = Block(
        first=0,
        excess_risk=np.zeros(1),
        excess_risk_averaged=np.zeros(1),
        iterate=iterates,
        iterate_averaged=iterates,
        totals=counts,
        client_payload=clients,
        seconds=np.zeros(1),
    )
    with pytest.raises(KeyError, match=name):
        writer.write(0, block)


def test_unfinished_files_of_a_killed_run_are_removed(place: tuple[Configuration, Path]) -> None:
    configuration, path = place
    left, others = path.with_name(f".{path.name}.1.part"), path.with_name(".other.h5.1.part")
    in_use = path.with_name(f".{path.name}.2.part")
    for part in (left, others, in_use):
        part.touch()
    with open(in_use) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        create(configuration, path)
    assert not left.exists()
    assert in_use.exists()
    assert others.exists()


def test_a_log_is_found_under_another_label(place: tuple[Configuration, Path], tmp_path: Path) -> None:
    """If a study varies more keys, its labels get longer, and its file names change."""
    configuration, path = place
    create(configuration, path)
    moved = path.with_name(f"none-clients-3-{path.name.rpartition('-')[2]}")
    shutil.move(path, moved)
    assert log_path(tmp_path, configuration) == moved
