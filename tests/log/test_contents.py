"""The contents of a log: its attributes, and all its numbers computed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5netcdf  # type: ignore[import-untyped]
import h5py
import numpy as np
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as some
from numpy.typing import NDArray
from support.command import arrays
from support.small_study import RANKS, SLOTS, D, K, N, R, run_in_world, small_study

from mpi_fed.log import schema
from mpi_fed.log.log_points import log_rounds
from mpi_fed.log.schema import AttributeKind
from mpi_fed.study.configuration import configuration_from_tables
from mpi_fed.study.load import load_study

if TYPE_CHECKING:
    from mpi_fed.launch.world import World

Logs = dict[str, Path]
"""Paths of logs, by their labels."""

ALL = (
    'kind = "none"',
    'kind = "quantization"\nlevels = [1, 4]',
    'kind = "bernoulli"\np = 0.3\nindices = ["shared", "explicit"]',
    'kind = "rand-h"\nh = 3\nindices = ["shared", "explicit"]',
    'kind = "sketch"\nh = 3',
    'kind = "partial-participation"\np = 0.3',
)


@pytest.fixture(scope="module")
def all_logs(tmp_path_factory: pytest.TempPathFactory) -> Logs:
    """Logs of all compressors. Every rank takes part."""
    from mpi_fed.launch.world import start

    return run_in_world(start().comm, tmp_path_factory.mktemp("all"), small_study(*ALL))


@pytest.fixture
def log(all_logs: Logs, world: World) -> Path:
    return all_logs["none"]


@pytest.mark.mpi(ranks=2)
def test_a_log_has_the_attributes_of_the_schema(log: Path, world: World) -> None:
    if not world.is_root:
        return
    with h5py.File(log) as file:
        attributes = dict(file.attrs)
        status = dict(zip(file["repetition"][:], file["repetition_status"][:], strict=True))
    entries = [attribute for attribute in schema.ATTRIBUTES if attribute.always]
    assert attributes.keys() == {attribute.name for attribute in entries}
    types = {AttributeKind.INTEGER: np.integer, AttributeKind.FLOAT: np.floating}
    for attribute in entries:
        assert isinstance(attributes[attribute.name], types.get(attribute.kind, bytes)), attribute.name
        if attribute.kind is AttributeKind.JSON:
            json.loads(attributes[attribute.name])
    configuration = configuration_from_tables(json.loads(attributes["configuration"]))
    assert configuration.id.encode() == attributes["configuration_id"]
    assert attributes["format"] == b"mpi-fed log"
    assert attributes["format_version"] == 1
    assert attributes["status"] == b"complete"
    assert attributes["ranks"] == str(RANKS).encode()
    assert attributes["omega"] == 0
    assert attributes["R2"] == pytest.approx(np.sum(1 / np.arange(1, D + 1)))
    assert attributes["step_scale"] == pytest.approx(1 / (2 * attributes["R2"]))
    assert status == {0: 1, 1: 1}


@pytest.mark.mpi(ranks=2)
def test_xarray_and_h5netcdf_open_a_log(log: Path, world: World) -> None:
    if not world.is_root:
        return
    contents = arrays(log)
    with xarray.open_dataset(log, engine="h5netcdf") as opened:
        assert opened["excess_risk"].dims == ("repetition", "round")
        assert opened["iterate"].dims == ("repetition", "round", "coordinate")
        assert opened["client_uplink_payload_bytes"].dims == ("repetition", "round", "client")
        assert opened["phase_seconds"].dims == ("repetition", "phase", "statistic")
        assert list(opened["statistic"].values) == ["min", "mean", "max"]
        assert opened.attrs["label"] == "none"
        assert opened["wall_seconds"].attrs["units"] == "s"
        last = opened["excess_risk"].sel(repetition=1, round=K)
        assert float(last) == contents["excess_risk"][1, -1]
    with h5netcdf.File(log, "r") as opened:
        assert opened.dimensions["round"].size == len(contents["round"])
        assert opened.variables["message_count"].dimensions == ("repetition", "size")


@pytest.mark.mpi(ranks=2)
def test_viewers_show_the_convergence_curve_first(log: Path, world: World) -> None:
    """By NeXus' rules, the file's `default` names a group, whose `signal` and `axes` name the curve and its axes."""
    if world.is_root:
        with h5py.File(log) as file:
            view = file[file.attrs["default"]]
            assert (file.attrs["NX_class"], view.attrs["NX_class"]) == (b"NXroot", b"NXdata")
            signal = view[view.attrs["signal"]]
            assert signal == file["excess_risk_averaged"]
            assert signal.attrs["interpretation"] == b"spectrum"
            axes = [view[name] for name in view.attrs["axes"]]
            assert [len(axis) for axis in axes] == list(signal.shape)
            assert axes[1] == file["round"]


@pytest.mark.mpi(ranks=2)
def test_risks_are_computed_from_the_iterates(all_logs: Logs, world: World) -> None:
    if not world.is_root:
        return
    h = 1 / np.arange(1, D + 1)
    (configuration,) = load_study(Path(all_logs["none"]).parents[1] / "test.toml").configurations[:1]
    covariance = configuration.problem.prepare(N).covariance.dense
    np.testing.assert_allclose(np.linalg.eigvalsh(covariance)[::-1], h)
    for path in all_logs.values():
        log = arrays(path)
        for risk, iterate in (("excess_risk", "iterate"), ("excess_risk_averaged", "iterate_averaged")):
            error = log[iterate] - log["optimum"]
            np.testing.assert_allclose(log[risk], np.einsum("rpi,ij,rpj->rp", error, covariance, error) / 2)
        assert (log["iterate"][:, 0] == 0).all()
        first = [list(log["round"]).index(k) for k in (0, 1, 2)]
        w = log["iterate"][:, first]
        means = np.stack([w[:, 0], w[:, 0], (w[:, 0] + w[:, 1]) / 2], axis=1)  # of the iterates before each
        np.testing.assert_array_equal(log["iterate_averaged"][:, first], means)


@pytest.mark.mpi(ranks=2)
def test_counts_start_at_zero_and_never_fall(all_logs: Logs, world: World) -> None:
    if not world.is_root:
        return
    for path in all_logs.values():
        log = arrays(path)
        np.testing.assert_array_equal(log["round"], log_rounds(K, 100))
        for name in ("wall_seconds", *(count.name for count in schema.COUNTS), "client_uplink_payload_bytes"):
            assert (log[name][:, 0] == 0).all(), name
            assert (np.diff(log[name], axis=1) >= 0).all(), name
        assert (log["wall_seconds"][:, 1:] > 0).all()
        assert (log["phase_seconds"] >= 0).all()
        least, mean, most = np.moveaxis(log["phase_seconds"], 2, 0)
        assert (least <= mean).all()
        assert (mean <= most).all()
        np.testing.assert_array_equal(log["client_uplink_payload_bytes"].sum(axis=2), log["uplink_payload_bytes"])
        sizes = (log["message_size"] * log["message_count"]).sum(axis=1)
        np.testing.assert_array_equal(sizes, log["uplink_payload_bytes"][:, -1])
        assert (log["uplink_transported_bytes"] >= log["uplink_payload_bytes"]).all()
        assert (8 * log["uplink_payload_bytes"] >= log["uplink_information_bits"]).all()


FIXED = {
    "none": (32 * 20, 80),
    "quantization levels=1": (32 + 2 * 20, 4 + 2 * 3),  # a norm; the signs and one bit a level, each 20 bits in 3 bytes
    "quantization levels=4": (32 + 4 * 20, 4 + 4 * 3),  # 0..4 takes three bits
    "rand-h h=3 indices=shared": (3 * 32, 12),
    "rand-h h=3 indices=explicit": (3 * (32 + 5), 14),  # 111 bits
    "sketch h=3": (3 * 32, 12),
}
"""Bits and bytes of each message, computed by hand."""


@pytest.mark.mpi(ranks=2)
@pytest.mark.parametrize("label", FIXED)
def test_bytes_of_messages_of_one_length(all_logs: Logs, world: World, label: str) -> None:
    if not world.is_root:
        return
    bits, size = FIXED[label]
    log = arrays(all_logs[label])
    messages = np.broadcast_to(log["round"] * N, (R, len(log["round"])))
    np.testing.assert_array_equal(log["uplink_information_bits"], messages * bits)
    np.testing.assert_array_equal(log["uplink_payload_bytes"], messages * size)
    np.testing.assert_array_equal(log["uplink_transported_bytes"], messages // N * RANKS * SLOTS * size)
    np.testing.assert_array_equal(log["downlink_transported_bytes"], messages // N * RANKS * 8 * D)
    assert log["message_count"][:, size].tolist() == [N * K] * R
    assert log["message_count"].sum() == R * N * K


@pytest.mark.mpi(ranks=2)
def test_bytes_of_messages_of_varying_length(all_logs: Logs, world: World) -> None:
    if not world.is_root:
        return
    shared, explicit, participation = (
        arrays(all_logs[label])
        for label in (
            "bernoulli p=0.3 indices=shared",
            "bernoulli p=0.3 indices=explicit",
            "partial-participation p=0.3",
        )
    )
    for log, bits in ((shared, 32), (explicit, 32 + 5)):
        kept = np.arange(D + 1)
        count = log["message_count"][:, -(-kept * bits // 8)]
        assert (count.sum(axis=1) == N * K).all()
        np.testing.assert_array_equal(log["uplink_information_bits"][:, -1], (count * kept * bits).sum(axis=1))
        within_six_sigma((count * kept).sum(axis=1), D * N * K, 0.3)
    np.testing.assert_array_equal(shared["uplink_transported_bytes"], shared["uplink_payload_bytes"])
    counts = 4 * RANKS * SLOTS * explicit["round"]  # bytes of the int32 lengths, which the root does not know
    expected = explicit["uplink_payload_bytes"] + counts
    np.testing.assert_array_equal(explicit["uplink_transported_bytes"], expected)
    messages = participation["message_count"][:, 80]
    np.testing.assert_array_equal(participation["uplink_payload_bytes"][:, -1], 80 * messages)
    np.testing.assert_array_equal(participation["uplink_information_bits"], 8 * participation["uplink_payload_bytes"])
    within_six_sigma(messages, N * K, 0.3)
    rounds = participation["downlink_transported_bytes"][:, -1] / (
        8 * D * RANKS
    )  # in which at least one client takes part
    within_six_sigma(rounds, K, 1 - 0.7**N)


def within_six_sigma(successes: NDArray[Any], trials: int, p: float) -> None:
    """Check binomial counts with an error probability of 1e-9."""
    assert (np.abs(successes - trials * p) < 6 * np.sqrt(trials * p * (1 - p))).all()


@given(some.integers(1, 10**9), some.integers(1, 300))
def test_log_rounds(rounds: int, points_per_decade: int) -> None:
    points = log_rounds(rounds, points_per_decade)
    assert points.dtype == np.int64
    assert points[0] == 0
    assert points[-1] == rounds
    assert (np.diff(points) > 0).all()
    assert len(points) <= points_per_decade * np.log10(rounds) + 3
    ratio = 10 ** (1 / points_per_decade)
    assert (points[2:] <= (points[1:-1] + 0.5) * ratio + 0.5 + 1e-6 * points[2:]).all()  # both are rounded


@pytest.mark.mpi(ranks=1)
@pytest.mark.parametrize("iterates", ["all", "last", "none"])
def test_a_log_stores_the_iterates_that_the_study_asks_for(world: World, tmp_path: Path, iterates: str) -> None:
    path = run_in_world(world.comm, tmp_path, small_study(), f'log.iterates="{iterates}"')["none"]
    names = {"all": {"iterate", "iterate_averaged"}, "last": {"last_iterate", "last_iterate_averaged"}, "none": set()}
    assert {name for name in arrays(path) if "iterate" in name} == names[iterates]


@pytest.mark.mpi(ranks=1)
def test_many_clients_have_only_total_counts(world: World, tmp_path: Path) -> None:
    path = run_in_world(world.comm, tmp_path, small_study(), "study.clients=1001", "study.rounds=3")["none"]
    log = arrays(path)
    assert "client_uplink_payload_bytes" not in log
    np.testing.assert_array_equal(log["client_uplink_payload_bytes_total"], np.full((R, 1001), 3 * 80))
