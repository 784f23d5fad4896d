"""Reading logs with known contents, complete and incomplete ones."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
from support.synthetic_log import ROUNDS, D, K, N, R, tables, write_log

from mpi_fed.analysis import read_log


def test_a_log_is_read_as_written(tmp_path: Path) -> None:
    written = write_log(tmp_path / "a.h5", averages=np.ones((R, D)), label="quantization levels=1", omega=3.0)
    log = read_log(tmp_path / "a.h5")
    for name in ("round", "repetition", "excess_risk_averaged", "uplink_information_bits", "wall_seconds"):
        np.testing.assert_array_equal(getattr(log, name), written[name])
    assert (log.rounds, log.clients, log.dimension, log.label) == (K, N, D, "quantization levels=1")
    assert log.configuration == tables()
    assert log.attributes["omega"] == 3.0
    assert log.complete.all()
    assert not log.diverged.any()
    np.testing.assert_array_equal(log.final_average(), np.ones((R, D)))
    np.testing.assert_array_equal(log.dataset("phase_seconds"), written["phase_seconds"])
    assert log.dataset("iterate") is None


def test_the_last_average_of_a_log_with_all_iterates(tmp_path: Path) -> None:
    write_log(tmp_path / "a.h5")
    iterates = np.random.default_rng(0).standard_normal((R, len(ROUNDS), D))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["iterate_averaged"] = iterates
    np.testing.assert_array_equal(read_log(tmp_path / "a.h5").final_average(), iterates[:, -1])


def test_only_log_points_that_all_datasets_have_count(tmp_path: Path) -> None:
    write_log(tmp_path / "a.h5", reached=[len(ROUNDS), 100, 0])
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["uplink_payload_bytes"][1, 99] = -1
    log = read_log(tmp_path / "a.h5")
    assert log.reached.tolist() == [len(ROUNDS), 99, 0]
    assert log.complete.tolist() == [True, False, False]


def test_a_repetition_is_complete_only_if_it_is_marked_so(tmp_path: Path) -> None:
    write_log(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["repetition_status"][...] = [0, 1, 2]
    log = read_log(tmp_path / "a.h5")
    assert log.complete.tolist() == [False, True, False]
    assert log.diverged.tolist() == [False, False, True]
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["repetition_status"]
    assert read_log(tmp_path / "a.h5").complete.all()


def test_a_log_that_is_being_written_can_be_read(tmp_path: Path) -> None:
    write_log(tmp_path / "a.h5", status="running")
    code = f"import h5py; f = h5py.File({str(tmp_path / 'a.h5')!r}, 'a'); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        assert read_log(tmp_path / "a.h5").status == "running"
        writer.communicate(b"\n", timeout=20)
